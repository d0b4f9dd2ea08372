#include "shim/compose/members.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/compose/compose.h"
#include "shim/container.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *member_label(const struct member *m, const char *key)
{
    return strlist_env_get(&m->labels, key);
}

bool member_is(const struct member *m, const char *status)
{
    return !strcmp(m->row.status, status);
}

bool member_runs(const struct member *m)
{
    return member_is(m, "running") || member_is(m, "restarting") || member_is(m, "paused");
}

char *member_title(const struct member *m)
{
    return xasprintf("Container %s", m->row.name);
}

char *member_short_name(struct app *app, const struct member *m)
{
    const char *sep = compose_separator(app), *project = member_label(m, LABEL_PROJECT);
    cleanup_free char *usual = xasprintf("%s%s%s%s%d", project ? project : "", sep, m->service, sep, m->number);

    if (!project || strcmp(usual, m->row.name) != 0)
        return xstrdup(m->row.name);
    return xstrdup(m->row.name + strlen(project) + 1);
}

void member_clear(struct member *m)
{
    state_container_clear(&m->row);
    strlist_clear(&m->labels);
    *m = (struct member){0};
}

void members_clear(struct members *list)
{
    for (size_t i = 0; i < list->len; i++)
        member_clear(&list->items[i]);
    free(list->items);
    *list = (struct members)MEMBERS_INIT;
}

void labels_read(const char *json, struct strlist *ret)
{
    json_auto_t *labels = json_loads(json ? json : "[]", 0, NULL);
    json_t *label;
    size_t i;

    json_array_foreach(labels, i, label)
    {
        if (json_is_string(label))
            strlist_add(ret, json_string_value(label));
    }
}

static void read_labels(struct member *m)
{
    const char *number, *oneoff;

    labels_read(m->row.labels, &m->labels);
    m->service = member_label(m, LABEL_SERVICE);
    m->service = m->service ? m->service : "";
    number = member_label(m, LABEL_NUMBER);
    m->number = number ? (int)strtol(number, NULL, 10) : 0;
    oneoff = member_label(m, LABEL_ONEOFF);
    m->oneoff = oneoff && !strcmp(oneoff, "True");
}

/* Whether the verb means it, but for whether it runs. */
static bool is_wanted(const struct member *m, const char *project, const struct strlist *services, unsigned flags)
{
    const char *of = member_label(m, LABEL_PROJECT);

    if (!of || (!(flags & MEMBERS_ANY_PROJECT) && strcmp(of, project)) || !member_label(m, LABEL_HASH))
        return false;
    if (services && services->len && !strlist_has(services, m->service))
        return false;
    if (flags & MEMBERS_ONLY_ONEOFF)
        return m->oneoff;
    return !m->oneoff || (flags & MEMBERS_ONEOFF);
}

/* The row as it is now. False: it is gone. */
static bool refresh(struct app *app, struct member *m)
{
    cleanup_with(container_clear) struct container c;
    cleanup_err struct err why = ERR_INIT;

    container_init(&c, app);
    if (!m->row.sandbox_id)
        return true;
    if (container_find(&c, m->row.id, &why) < 0)
        return why.code != CONTAINER_NO_SUCH;
    if (container_refresh(&c, &why) < 0 && why.code == CONTAINER_NO_SUCH)
        return false;
    state_container_clear(&m->row);
    m->row = c.row;
    c.row = (struct state_container){0};
    return true;
}

int members_list(struct app *app, const char *project, const struct strlist *services, unsigned flags,
                 struct members *ret, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    *ret = (struct members)MEMBERS_INIT;
    if (app_state(app, err) < 0 || (container_may_recover(app) && container_recover(app, err) < 0) ||
        state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    ret->items = xcalloc(len + 1, sizeof(*ret->items));
    for (size_t i = 0; i < len; i++) {
        struct member m = {.row = rows[i]};

        read_labels(&m);
        if (is_wanted(&m, project, services, flags) && ((flags & MEMBERS_AS_IT_IS) || refresh(app, &m)) &&
            (!(flags & MEMBERS_RUNNING) || member_runs(&m)))
            ret->items[ret->len++] = m;
        else
            member_clear(&m);
    }
    free(rows);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->row.name, ((const struct member *)b)->row.name);
}

void members_sort(struct members *list)
{
    if (list->len)
        qsort(list->items, list->len, sizeof(*list->items), by_name);
}

/* Numbers go up, those of `run` come last. */
static bool comes_before(const struct member *a, const struct member *b)
{
    return a->oneoff || b->oneoff ? !a->oneoff && b->oneoff : a->number < b->number;
}

int members_one(struct app *app, const char *project, const char *service, int64_t index, unsigned flags,
                struct member *ret, struct err *err)
{
    cleanup_with(members_clear) struct members list = MEMBERS_INIT;
    cleanup_strlist struct strlist services = STRLIST_INIT;
    struct member *best = NULL;

    strlist_add(&services, service);
    if (members_list(app, project, &services, flags, &list, err) < 0)
        return -1;
    for (size_t i = 0; i < list.len; i++)
        if ((index <= 0 || list.items[i].number == index) && (!best || comes_before(&list.items[i], best)))
            best = &list.items[i];
    if (!best && index > 0)
        return err_set(err, 1, "service \"%s\" is not running container #%lld", service, (long long)index);
    if (!best)
        return err_set(err, 1, "service \"%s\" is not running", service);
    *ret = *best;
    *best = (struct member){0};
    return 0;
}

void members_services(const struct members *list, struct strlist *ret)
{
    for (size_t i = 0; i < list->len; i++)
        if (!strlist_has(ret, list->items[i].service))
            strlist_add(ret, list->items[i].service);
    strlist_sort(ret);
}
