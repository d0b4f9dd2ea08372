#include "backends/state/state.h"
#include "backends/state/volumes.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/listing.h"
#include "shim/volume.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE      "table {{.Driver}}\t{{.Name}}"
#define TYPE       "*formatter.volumeContext"
#define OUT_MAX    (64u << 20) /* more text than any list of ours has */
#define LABELS_MAX (1u << 20)

static const struct format_column columns[] = {
    {"Availability", "AVAILABILITY"},
    {"Driver", "DRIVER"},
    {"Group", "GROUP"},
    {"Labels", "LABELS"},
    {"Links", "LINKS"},
    {"Mountpoint", "MOUNTPOINT"},
    {"Name", "VOLUME NAME"},
    {"Scope", "SCOPE"},
    {"Size", "SIZE"},
    {"Status", "STATUS"},
    {NULL, NULL},
};

struct subject {
    const struct state_volume *v;
    struct strlist labels; /* K=V */
};

struct ls {
    struct app *app;
    const struct strlist *filters;
    const struct subject *in_hand; /* for label_method() */
};

static bool takes_label(const struct subject *s, const char *value)
{
    return strchr(value, '=') ? strlist_has(&s->labels, value) : strlist_env_get(&s->labels, value) != NULL;
}

static int takes_dangling(struct ls *ls, const struct subject *s, const char *value, struct err *err)
{
    cleanup_strlist struct strlist users = STRLIST_INIT;
    bool dangling = false;

    if (units_parse_bool(value, &dangling, NULL) < 0)
        return err_set(err, 1,
                       "Error response from daemon: invalid value for filter 'dangling', must be \"true\" (or \"1\"), "
                       "or \"false\" (or \"0\")");
    if (volume_users(ls->app, s->v->name, &users, err) < 0)
        return -1;
    return dangling == !users.len;
}

/* 1 = the filter takes it, 0 = not, -1 = it is no filter. */
static int takes(struct ls *ls, const struct subject *s, const char *key, const char *value, struct err *err)
{
    if (!strcmp(key, "driver"))
        return !strcmp("local", value);
    if (!strcmp(key, "label"))
        return takes_label(s, value);
    if (!strcmp(key, "name"))
        return strstr(s->v->name, value) != NULL;
    if (!strcmp(key, "dangling"))
        return takes_dangling(ls, s, value, err);
    return err_set(err, 1, "Error response from daemon: invalid filter '%s'", key);
}

/* Every key must have a value that takes it; of labels every value must. */
static int wanted(struct ls *ls, const struct subject *s, struct err *err)
{
    cleanup_strlist struct strlist held = STRLIST_INIT, failed = STRLIST_INIT;

    for (size_t i = 0; i < ls->filters->len; i++) {
        const char *equals = strchr(ls->filters->items[i], '=');
        cleanup_free char *key = xstrndup(ls->filters->items[i], (size_t)(equals - ls->filters->items[i]));
        int got = takes(ls, s, key, equals + 1, err);

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

/* The fields of `docker volume ls --format json`, all of them strings. */
static json_t *row_json(const struct subject *s)
{
    cleanup_buf struct buf labels = BUF_INIT(LABELS_MAX);
    cleanup_free char *mountpoint = volume_mountpoint(s->v->name);

    for (size_t i = 0; i < s->labels.len; i++)
        buf_addf(&labels, "%s%s", i ? "," : "", s->labels.items[i]);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Availability", "N/A", "Driver", "local",
                     "Group", "N/A", "Labels", labels.data, "Links", "N/A", "Mountpoint", mountpoint, "Name",
                     s->v->name, "Scope", "local", "Size", "N/A", "Status", "N/A");
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

static int add_row(struct ls *ls, const struct state_volume *v, struct format *f, struct err *err)
{
    struct subject s = {.v = v};
    json_auto_t *row = NULL;
    int ret;

    volume_labels(v, &s.labels);
    ret = wanted(ls, &s, err);
    if (ret > 0) {
        row = row_json(&s);
        ls->in_hand = &s;
        ret = format_row(f, row, err);
        ls->in_hand = NULL;
    }
    strlist_clear(&s.labels);
    return ret < 0 ? -1 : 0;
}

static int add_rows(struct ls *ls, struct format *f, struct err *err)
{
    struct state_volume *list = NULL;
    size_t len = 0;
    int ret = state_volume_list(ls->app->state, &list, &len, err);

    for (size_t i = 0; i < len; i++) {
        if (ret == 0)
            ret = add_row(ls, &list[i], f, err);
        state_volume_clear(&list[i]);
    }
    free(list);
    return ret;
}

static int ls_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct ls ls = {.app = app, .filters = opt_list(opts, "filter")};
    const struct tmpl_options options = {.missing = TMPL_MISSING_FIELD,
                                         .type = TYPE,
                                         .method = label_method,
                                         .method_arg = &ls.in_hand,
                                         .html_root = true};
    const char *format = opt_str(opts, "format");
    cleanup_buf struct buf text = BUF_INIT(OUT_MAX);
    struct format *f;
    int ret;

    if (app_state(app, err) < 0 || volumes_recover(app, err) < 0)
        return -1;
    f = format_new(opt_bool(opts, "quiet") ? "{{.Name}}" : format, TABLE, columns, &options, err);
    ret = f ? add_rows(&ls, f, err) : -1;
    if (ret == 0)
        ret = format_finish(f, &text, err);
    format_free(f);
    if (ret == 0)
        fwrite(text.data, 1, text.len, stdout);
    return ret;
}

extern const struct cmd_def cmd_def_volume_ls;

const struct command cmd_volume_ls = {.def = &cmd_def_volume_ls, .errors = ERROR_PLAIN, .run = ls_run};
