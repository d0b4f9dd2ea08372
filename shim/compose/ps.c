#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/format.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/team.h"
#include "shim/container.h"
#include "shim/listing.h"
#include "translate/container_row.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX (256u << 20)
#define NS      INT64_C(1000000000)
#define TYPE    "*formatter.ContainerContext"
#define TABLE   "table {{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}"

static const struct format_column columns[] = {
    {"Command", "COMMAND"}, {"CreatedAt", "CREATED AT"},
    {"ID", "CONTAINER ID"}, {"Image", "IMAGE"},
    {"Labels", "LABELS"},   {"Name", "NAME"},
    {"Ports", "PORTS"},     {"Project", "PROJECT"},
    {"Service", "SERVICE"}, {"RunningFor", "CREATED"},
    {"Size", "SIZE"},       {"State", "STATE"},
    {"Status", "STATUS"},   {NULL, NULL},
};

/* "80/tcp" and one address of it. */
static json_t *publisher(const char *key, const json_t *address)
{
    const char *slash = strchr(key, '/'), *port = json_string_value(json_object_get(address, "HostPort"));
    const char *ip = json_string_value(json_object_get(address, "HostIp"));

    return json_pack("{s:s, s:i, s:i, s:s}", "URL", ip ? ip : "", "TargetPort", (int)strtol(key, NULL, 10),
                     "PublishedPort", port ? (int)strtol(port, NULL, 10) : 0, "Protocol", slash ? slash + 1 : "tcp");
}

static int by_target(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;

    return (int)(json_integer_value(json_object_get(x, "TargetPort")) -
                 json_integer_value(json_object_get(y, "TargetPort")));
}

/* The ports, by number, published or not. */
static json_t *publishers(const json_t *inspect, bool runs)
{
    json_t *ports = json_object_get(json_object_get(inspect, "NetworkSettings"), "Ports"), *list = json_array();
    json_t **sorted, *bound, *address;
    const char *key;
    size_t len = 0, i;

    if (!runs)
        return list;
    json_object_foreach(ports, key, bound)
    {
        if (!json_array_size(bound))
            json_array_append_new(list, publisher(key, NULL));
        json_array_foreach(bound, i, address) json_array_append_new(list, publisher(key, address));
    }
    len = json_array_size(list);
    sorted = xcalloc(len + 1, sizeof(*sorted));
    json_array_foreach(list, i, address) sorted[i] = json_incref(address);
    qsort(sorted, len, sizeof(*sorted), by_target);
    json_array_clear(list);
    for (i = 0; i < len; i++)
        json_array_append_new(list, sorted[i]);
    free(sorted);
    return list;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The same object with its keys in order, as Go prints a map; takes it. */
static json_t *sorted_keys(json_t *object)
{
    size_t len = json_object_size(object), i = 0;
    const char **keys = xcalloc(len + 1, sizeof(*keys)), *key;
    json_t *sorted = json_object(), *value;

    json_object_foreach(object, key, value) keys[i++] = key;
    qsort(keys, len, sizeof(*keys), by_text);
    for (i = 0; i < len; i++)
        json_object_set(sorted, keys[i], json_object_get(object, keys[i]));
    free(keys);
    json_decref(object);
    return sorted;
}

/* What docker's list says of it, and what compose adds. */
static json_t *row_of(struct app *app, const struct member *m, const json_t *inspect, bool no_trunc)
{
    cleanup_free char *created_at = listing_time(m->row.created_ns / NS);
    const json_t *health = json_object_get(json_object_get(json_object_get(inspect, "State"), "Health"), "Status");
    const char *project = member_label(m, LABEL_PROJECT);
    struct container_row shown = {.id = m->row.id,
                                  .name = m->row.name,
                                  .image = m->row.image,
                                  .image_id = m->row.image_id ? m->row.image_id : "",
                                  .status = m->row.status,
                                  .exit_code = m->row.exit_code,
                                  .created_ns = m->row.created_ns,
                                  .started_ns = m->row.started_ns,
                                  .finished_ns = m->row.finished_ns,
                                  .created_at = created_at,
                                  .inspect = inspect,
                                  .image_name_stands = true};
    json_t *row = container_row_json(&shown, no_trunc, container_now_ns());
    bool ended = member_is(m, "exited") || member_is(m, "dead");

    (void)app;
    json_object_del(row, "Platform");
    json_object_set_new(row, "Name", json_string(m->row.name));
    json_object_set_new(row, "Project", json_string(project ? project : ""));
    json_object_set_new(row, "Service", json_string(m->service));
    json_object_set_new(row, "ExitCode", json_integer(ended ? m->row.exit_code : 0));
    json_object_set_new(row, "Health",
                        json_is_string(health) && member_is(m, "running") ? json_copy((json_t *)health)
                                                                          : json_string(""));
    json_object_set_new(row, "Publishers", publishers(inspect, member_runs(m)));
    return sorted_keys(row);
}

/* --status and --filter status=...: any of them. */
static int wanted_statuses(const struct opt_parsed *opts, struct strlist *ret, struct err *err)
{
    const char *filter = opt_str(opts, "filter");

    strlist_copy(ret, opt_list(opts, "status"));
    if (!*filter)
        return 0;
    if (!strchr(filter, '='))
        return err_set(err, 1, "arguments to --filter should be in form KEY=VAL");
    if (!strncmp(filter, "source=", 7))
        return err_set(err, 1, "not implemented");
    if (strncmp(filter, "status=", 7) != 0)
        return err_set(err, 1, "unknown filter %.*s", (int)strcspn(filter, "="), filter);
    strlist_add(ret, filter + 7);
    return 0;
}

/* Only what has one of the statuses stays. */
static void filter(struct members *list, const struct strlist *statuses)
{
    size_t kept = 0;

    for (size_t i = 0; statuses->len && i < list->len; i++) {
        if (strlist_has(statuses, list->items[i].row.status)) {
            struct member m = list->items[i];

            list->items[i] = list->items[kept];
            list->items[kept++] = m;
        }
    }
    for (size_t i = kept; statuses->len && i < list->len; i++)
        member_clear(&list->items[i]);
    list->len = statuses->len ? kept : list->len;
}

static int print_rows(struct app *app, const struct opt_parsed *opts, const struct members *list, struct err *err)
{
    const json_t *current = NULL;
    const struct tmpl_options options = {.missing = TMPL_MISSING_FIELD,
                                         .type = TYPE,
                                         .method = container_row_label,
                                         .method_arg = &current,
                                         .html_root = true};
    const char *format = opt_given(opts, "format") ? opt_str(opts, "format") : "";
    cleanup_buf struct buf text = BUF_INIT(OUT_MAX);
    struct format *f = format_new(format, TABLE, columns, &options, err);
    int ret = f ? 0 : -1;

    for (size_t i = 0; ret == 0 && i < list->len; i++) {
        json_auto_t *inspect = listing_container(app, &list->items[i].row, false);
        json_auto_t *row = row_of(app, &list->items[i], inspect, opt_bool(opts, "no-trunc"));

        current = inspect;
        ret = format_row(f, row, err);
    }
    if (ret == 0)
        ret = format_finish(f, &text, err);
    format_free(f);
    if (ret == 0)
        fwrite(text.data, 1, text.len, stdout);
    return ret;
}

/* -q and --services */
static void print_words(const struct opt_parsed *opts, const struct members *list)
{
    cleanup_strlist struct strlist said = STRLIST_INIT;

    for (size_t i = 0; i < list->len; i++) {
        const struct member *m = &list->items[i];

        if (opt_bool(opts, "quiet"))
            puts(m->row.id);
        else if (!strlist_has(&said, m->service)) {
            strlist_add(&said, m->service);
            puts(m->service);
        }
    }
    if (!opt_bool(opts, "quiet") && !said.len)
        putchar('\n');
}

static int ps_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist statuses = STRLIST_INIT, services = STRLIST_INIT;
    cleanup_with(team_clear) struct team w;
    bool all;

    team_init(&w, app);
    if (wanted_statuses(opts, &statuses, err) < 0 || team_load_or_name(&w, opt_args(opts), err) < 0)
        return -1;
    for (size_t i = 0; w.loaded && i < opt_args(opts)->len; i++)
        if (!services_find(&w.services, opt_args(opts)->items[i]))
            return err_set(err, 1, "no such service: %s", opt_args(opts)->items[i]);
    strlist_copy(&services, opt_args(opts));
    for (size_t i = 0; w.loaded && !opt_bool(opts, "orphans") && !opt_args(opts)->len && i < w.services.len; i++)
        strlist_add(&services, w.services.items[i].name);
    all = opt_bool(opts, "all") || statuses.len;
    if (team_look(&w, &services, all ? MEMBERS_ONEOFF : MEMBERS_RUNNING, err) < 0)
        return -1;
    filter(&w.members, &statuses);
    members_sort(&w.members);
    if (!opt_bool(opts, "quiet") && !opt_bool(opts, "services"))
        return print_rows(app, opts, &w.members, err);
    print_words(opts, &w.members);
    return 0;
}

extern const struct cmd_def cmd_def_compose_ps;

const struct command cmd_compose_ps = {.def = &cmd_def_compose_ps, .errors = ERROR_PLAIN, .run = ps_run};
