#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/go_regex.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/listing.h"
#include "shim/network.h"
#include "translate/names.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
#define TYPE  "*formatter.networkContext"

#define OUT_MAX    (64u << 20) /* more text than any list of ours has */
#define LABELS_MAX (1u << 20)
#define NS         INT64_C(1000000000)

static const struct format_column columns[] = {
    {"CreatedAt", "CREATED AT"}, {"Driver", "DRIVER"}, {"ID", "NETWORK ID"}, {"IPv4", "IPV4"},   {"IPv6", "IPV6"},
    {"Internal", "INTERNAL"},    {"Labels", "LABELS"}, {"Name", "NAME"},     {"Scope", "SCOPE"}, {NULL, NULL},
};

/* One network and what the filters look at. */
struct subject {
    const struct state_network *n;
    struct strlist labels; /* K=V */
    bool used;             /* a container that runs is in it */
};

static bool takes_label(const struct subject *s, const char *value)
{
    return strchr(value, '=') ? strlist_has(&s->labels, value) : strlist_env_get(&s->labels, value) != NULL;
}

/* 1 = the filter takes it, 0 = not, -1 = it is no filter. */
static int takes(const struct subject *s, const char *key, const char *value, struct err *err)
{
    bool own = !network_is_predefined(s->n), dangling = false;

    if (!strcmp(key, "driver"))
        return !strcmp(s->n->driver, value);
    if (!strcmp(key, "id"))
        return go_regex_finds(value, s->n->id);
    if (!strcmp(key, "label"))
        return takes_label(s, value);
    if (!strcmp(key, "name"))
        return go_regex_finds(value, s->n->name);
    if (!strcmp(key, "scope"))
        return !strcmp(value, "local");
    if (!strcmp(key, "type")) {
        if (!strcmp(value, "custom") || !strcmp(value, "builtin"))
            return own == !strcmp(value, "custom");
        return err_set(err, 1, "Error response from daemon: invalid filter: 'type'='%s'", value);
    }
    if (strcmp(key, "dangling") != 0)
        return err_set(err, 1, "Error response from daemon: invalid filter '%s'", key);
    if (units_parse_bool(value, &dangling, NULL) < 0)
        return err_set(err, 1,
                       "Error response from daemon: invalid value for filter 'dangling', must be \"true\" (or \"1\"), "
                       "or \"false\" (or \"0\")");
    return dangling == (own && !s->used);
}

/* Every key must have a value that takes it; of labels every value must. */
static int wanted(const struct subject *s, const struct strlist *filters, struct err *err)
{
    cleanup_strlist struct strlist held = STRLIST_INIT, failed = STRLIST_INIT;

    for (size_t i = 0; i < filters->len; i++) {
        const char *equals = strchr(filters->items[i], '=');
        cleanup_free char *key = xstrndup(filters->items[i], (size_t)(equals - filters->items[i]));
        int got = takes(s, key, equals + 1, err);

        if (got < 0)
            return -1;
        if (!got && !strcmp(key, "label"))
            return 0;
        strlist_add(got ? &held : &failed, key);
    }
    for (size_t i = 0; i < failed.len; i++)
        if (!strlist_has(&held, failed.items[i]))
            return 0;
    return 1;
}

/* As Go's time.Time prints itself, with what it has of a second; owned by caller. */
static char *go_time(int64_t ns)
{
    cleanup_free char *whole = listing_time(ns / NS), *fraction = xasprintf(".%09lld", (long long)(ns % NS));
    size_t len = strlen(fraction);
    const char *zone = strchr(strchr(whole, ' ') + 1, ' ');

    while (fraction[len - 1] == '0')
        len--;
    return xasprintf("%.*s%.*s%s", (int)(zone - whole), whole, len > 1 ? (int)len : 0, fraction, zone);
}

/* The fields of `docker network ls --format json`, all of them strings. */
static json_t *row_json(const struct subject *s, bool no_trunc)
{
    cleanup_buf struct buf labels = BUF_INIT(LABELS_MAX);
    cleanup_free char *id = no_trunc ? xstrdup(s->n->id) : xstrndup(s->n->id, CONTAINER_SHORT_ID_LEN);
    cleanup_free char *created = go_time(s->n->created_ns);

    for (size_t i = 0; i < s->labels.len; i++)
        buf_addf(&labels, "%s%s", i ? "," : "", s->labels.items[i]);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "CreatedAt", created, "Driver", s->n->driver,
                     "ID", id, "IPv4", "true", "IPv6", "false", "Internal", s->n->internal ? "true" : "false", "Labels",
                     labels.data ? labels.data : "", "Name", s->n->name, "Scope", "local");
}

/* {{.Label "k"}} of the row in hand. */
static json_t *label_method(const char *name, const json_t *args, void *arg)
{
    const struct subject *s = *(const struct subject *const *)arg;
    const char *key = json_string_value(json_array_get(args, 0)), *value;

    if (strcmp(name, "Label") != 0 || !key)
        return NULL;
    value = s ? strlist_env_get(&s->labels, key) : NULL;
    return json_string(value ? value : "");
}

/* What the line asks for. */
struct ls {
    struct app *app;
    const struct strlist *filters;
    bool no_trunc;
    struct state_container *containers;
    size_t containers_len;
    const struct subject *in_hand; /* for label_method() */
};

static bool is_used(const struct ls *ls, const struct state_network *n)
{
    for (size_t i = 0; i < ls->containers_len; i++)
        if (ls->containers[i].sandbox_id && network_has(n, &ls->containers[i]))
            return true;
    return false;
}

static int add_row(struct ls *ls, const struct state_network *n, struct format *f, struct err *err)
{
    struct subject s = {.n = n, .used = is_used(ls, n)};
    json_auto_t *labels = json_loads(n->labels, 0, NULL), *row = NULL;
    const json_t *item;
    size_t i;
    int ret;

    json_array_foreach(labels, i, item)
    {
        if (json_is_string(item))
            strlist_add(&s.labels, json_string_value(item));
    }
    ret = wanted(&s, ls->filters, err);
    if (ret > 0) {
        row = row_json(&s, ls->no_trunc);
        ls->in_hand = &s;
        ret = format_row(f, row, err);
        ls->in_hand = NULL;
    }
    strlist_clear(&s.labels);
    return ret < 0 ? -1 : 0;
}

static int add_rows(struct ls *ls, struct format *f, struct err *err)
{
    struct state_network *list = NULL;
    size_t len = 0;
    int ret = network_list(ls->app, &list, &len, err);

    for (size_t i = 0; i < len; i++) {
        if (ret == 0)
            ret = add_row(ls, &list[i], f, err);
        state_network_clear(&list[i]);
    }
    free(list);
    return ret;
}

static int print_all(struct ls *ls, const char *format, struct err *err)
{
    const struct tmpl_options options = {.missing = TMPL_MISSING_FIELD,
                                         .type = TYPE,
                                         .method = label_method,
                                         .method_arg = &ls->in_hand,
                                         .html_root = true};
    cleanup_buf struct buf text = BUF_INIT(OUT_MAX);
    struct format *f = format_new(format, TABLE, columns, &options, err);
    int ret = f ? add_rows(ls, f, err) : -1;

    if (ret == 0)
        ret = format_finish(f, &text, err);
    format_free(f);
    if (ret == 0)
        fwrite(text.data, 1, text.len, stdout);
    return ret;
}

static int ls_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct ls ls = {.app = app, .filters = opt_list(opts, "filter"), .no_trunc = opt_bool(opts, "no-trunc")};
    int ret = -1;

    if (app_state(app, err) == 0 && state_container_list(app->state, &ls.containers, &ls.containers_len, err) == 0)
        ret = print_all(&ls, opt_bool(opts, "quiet") ? "{{.ID}}" : opt_str(opts, "format"), err);
    for (size_t i = 0; i < ls.containers_len; i++)
        state_container_clear(&ls.containers[i]);
    free(ls.containers);
    return ret;
}

extern const struct cmd_def cmd_def_network_ls;

const struct command cmd_network_ls = {.def = &cmd_def_network_ls, .errors = ERROR_PLAIN, .run = ls_run};
