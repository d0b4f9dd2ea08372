#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct filter {
    int64_t until_ns;                      /* 0: any age */
    struct strlist labels, without_labels; /* K or K=V */
};

static void filter_clear(struct filter *f)
{
    strlist_clear(&f->labels);
    strlist_clear(&f->without_labels);
}

/* until: a point in time, Unix seconds, or how long ago. */
static int parse_until(const char *value, int64_t *ret, struct err *err)
{
    char *end;
    long long seconds = strtoll(value, &end, 10);
    int64_t ago;

    if (*value && !*end) {
        *ret = (int64_t)seconds * 1000000000;
        return 0;
    }
    if (units_parse_duration(value, &ago, NULL) == 0) {
        *ret = container_now_ns() - ago;
        return 0;
    }
    if (units_parse_stamp(value, ret, NULL) == 0)
        return 0;
    return err_set(err, 1, "Error response from daemon: invalid filter 'until=%s'", value);
}

static int parse_filter(const struct opt_parsed *opts, struct filter *ret, struct err *err)
{
    const struct strlist *list = opt_list(opts, "filter");

    for (size_t i = 0; i < list->len; i++) {
        const char *item = list->items[i], *value = strchr(item, '=');
        size_t len = value ? (size_t)(value - item) : strlen(item);

        if (len == 5 && !strncmp(item, "until", 5) && value) {
            if (parse_until(value + 1, &ret->until_ns, err) < 0)
                return -1;
        } else if (len == 5 && !strncmp(item, "label", 5) && value) {
            strlist_add(&ret->labels, value + 1);
        } else if (len == 6 && !strncmp(item, "label!", 6) && value) {
            strlist_add(&ret->without_labels, value + 1);
        } else {
            return err_set(err, 1, "Error response from daemon: invalid filter '%.*s'", (int)len, item);
        }
    }
    return 0;
}

/* Whether the row's labels (a JSON array of "k=v") hold what a filter names. */
static bool has_label(const json_t *labels, const char *wanted)
{
    bool whole = strchr(wanted, '=') != NULL;
    const json_t *item;
    size_t i;

    json_array_foreach(labels, i, item)
    {
        const char *label = json_string_value(item);
        size_t len = label ? strcspn(label, "=") : 0;

        if (label && (whole ? !strcmp(label, wanted) : len == strlen(wanted) && !strncmp(label, wanted, len)))
            return true;
    }
    return false;
}

static bool matches(const struct filter *f, const struct state_container *row)
{
    json_t *labels = json_loads(row->labels, 0, NULL);
    bool ok = !f->until_ns || row->created_ns < f->until_ns;

    for (size_t i = 0; i < f->labels.len; i++)
        ok = ok && has_label(labels, f->labels.items[i]);
    for (size_t i = 0; i < f->without_labels.len; i++)
        ok = ok && !has_label(labels, f->without_labels.items[i]);
    json_decref(labels);
    return ok;
}

/* Docker's question; anything but y or Y is no. */
static bool confirmed(void)
{
    char answer[16] = "";

    fputs("WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ", stdout);
    fflush(stdout);
    return fgets(answer, sizeof(answer), stdin) && tolower((unsigned char)answer[0]) == 'y' &&
           (answer[1] == '\n' || !answer[1]);
}

static int prune_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(filter_clear) struct filter filter = {0};
    struct state_container *rows = NULL;
    bool any = false;
    size_t len = 0;

    if (parse_filter(opts, &filter, err) < 0)
        return -1;
    if (!opt_bool(opts, "force") && !confirmed())
        return err_set(err, 1, "container prune has been cancelled");
    if (container_refresh_all(app, err) < 0 || state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_with(container_clear) struct container c;
        cleanup_err struct err why = ERR_INIT;

        container_init(&c, app);
        c.row = rows[i];
        if (container_may_run(&c) || container_is(&c, "removing") || !matches(&filter, &c.row) ||
            container_remove(&c, /* force= */ false, &why) < 0)
            continue;
        if (!any)
            puts("Deleted Containers:");
        any = true;
        puts(c.row.id);
    }
    free(rows);
    puts(any ? "\nTotal reclaimed space: 0B" : "Total reclaimed space: 0B");
    return 0;
}

extern const struct cmd_def cmd_def_container_prune;

const struct command cmd_container_prune = {.def = &cmd_def_container_prune, .errors = ERROR_PLAIN, .run = prune_run};
