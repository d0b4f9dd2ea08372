#include "shim/prune.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/docker/units.h"
#include "shim/when.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define DAEMON "Error response from daemon: "

void prune_filter_clear(struct prune_filter *f)
{
    strlist_clear(&f->labels);
    strlist_clear(&f->without_labels);
    strlist_clear(&f->dangling);
}

static int add_until(struct prune_filter *f, const char *value, struct err *err)
{
    if (f->until_ns)
        return err_set(err, 1, DAEMON "more than one until filter specified");
    if (when_parse(value, &f->until_ns, err) < 0)
        return err_wrap(err, "Error response from daemon");
    return 0;
}

int prune_filter_parse(const struct opt_parsed *opts, bool images, struct prune_filter *ret, struct err *err)
{
    const struct strlist *list = opt_list(opts, "filter");

    for (size_t i = 0; i < list->len; i++) {
        const char *item = list->items[i], *value = strchr(item, '=');
        int len = value ? (int)(value - item) : (int)strlen(item);

        value = value ? value + 1 : "";
        if (len == 5 && !strncmp(item, "until", 5)) {
            if (add_until(ret, value, err) < 0)
                return -1;
        } else if (len == 5 && !strncmp(item, "label", 5)) {
            strlist_add(&ret->labels, value);
        } else if (len == 6 && !strncmp(item, "label!", 6)) {
            strlist_add(&ret->without_labels, value);
        } else if (images && len == 8 && !strncmp(item, "dangling", 8)) {
            strlist_add(&ret->dangling, value);
        } else {
            return err_set(err, 1, DAEMON "invalid filter '%.*s'", len, item);
        }
    }
    return 0;
}

/* Whether the labels hold what a filter names. */
static bool has_label(const struct strlist *labels, const char *wanted)
{
    return strchr(wanted, '=') ? strlist_has(labels, wanted) : strlist_env_get(labels, wanted) != NULL;
}

bool prune_filter_takes(const struct prune_filter *f, int64_t created_ns, const struct strlist *labels)
{
    bool ok = !f->until_ns || created_ns < f->until_ns, all = true;

    for (size_t i = 0; i < f->labels.len; i++)
        ok = ok && has_label(labels, f->labels.items[i]);
    for (size_t i = 0; i < f->without_labels.len; i++)
        all = all && has_label(labels, f->without_labels.items[i]);
    return ok && !(f->without_labels.len && all); /* what has all of them is spared, as Docker reads it */
}

bool prune_confirmed(const struct opt_parsed *opts, const char *warning)
{
    char line[64] = "", *answer = line;
    size_t len;

    if (opt_bool(opts, "force"))
        return true;
    printf("%s\nAre you sure you want to continue? [y/N] ", warning);
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        return false;
    answer += strspn(answer, " \t\r\n");
    len = strcspn(answer, " \t\r\n");
    return len == 1 && tolower((unsigned char)*answer) == 'y' && !answer[len + strspn(answer + len, " \t\r\n")];
}

void prune_heading(struct pruned *pruned, const char *heading)
{
    if (pruned->headed)
        return;
    printf("%s%s\n", pruned->any ? "\n" : "", heading);
    pruned->headed = pruned->any = true;
}

void prune_total(const struct pruned *pruned)
{
    cleanup_free char *reclaimed = units_size((double)pruned->bytes);

    printf("%sTotal reclaimed space: %s\n", pruned->any ? "\n" : "", reclaimed);
}
