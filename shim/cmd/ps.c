#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/container.h"
#include "shim/listing.h"
#include "shim/listing_filter.h"
#include "translate/container_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX (256u << 20) /* more text than any list of ours has */
#define NS      INT64_C(1000000000)
#define TYPE    "*formatter.ContainerContext"

#define TABLE "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
#define RAW                                                                                                            \
    "container_id: {{.ID}}\\nimage: {{.Image}}\\ncommand: {{.Command}}\\ncreated_at: {{.CreatedAt}}\\n"                \
    "state: {{- pad .State 1 0}}\\nstatus: {{- pad .Status 1 0}}\\nnames: {{.Names}}\\n"                               \
    "labels: {{- pad .Labels 1 0}}\\nports: {{- pad .Ports 1 0}}\\n"

static const struct format_column columns[] = {
    {"Command", "COMMAND"},   {"CreatedAt", "CREATED AT"},
    {"ID", "CONTAINER ID"},   {"Image", "IMAGE"},
    {"Labels", "LABELS"},     {"LocalVolumes", "LOCAL VOLUMES"},
    {"Mounts", "MOUNTS"},     {"Names", "NAMES"},
    {"Networks", "NETWORKS"}, {"Platform", "PLATFORM"},
    {"Ports", "PORTS"},       {"RunningFor", "CREATED"},
    {"Size", "SIZE"},         {"State", "STATE"},
    {"Status", "STATUS"},     {NULL, NULL},
};

/* What the line asks for. */
struct ps {
    struct app *app;
    struct listing_filter *filter;
    const char *format;
    bool all, quiet, size, no_trunc;
    int64_t last;          /* <= 0: no limit */
    const json_t *inspect; /* of the row in hand, for {{.Label}} */
};

/* The template of the words of --format and the flags. */
static const char *format_of(const struct ps *ps)
{
    if (strcmp(ps->format, "raw") == 0)
        return ps->quiet ? "container_id: {{.ID}}" : ps->size ? RAW "size: {{.Size}}\\n" : RAW;
    return ps->quiet ? "{{.ID}}" : ps->format;
}

/* Docker tries the template on no container first, whether there are any or not. */
static int try_format(const struct ps *ps, struct err *err)
{
    const json_t *nothing = NULL;
    const struct tmpl_options options = {
        .missing = TMPL_MISSING_FIELD, .type = TYPE, .method = container_row_label, .method_arg = &nothing};
    cleanup_buf struct buf text = BUF_INIT(OUT_MAX);
    struct tmpl *t = tmpl_parse("", ps->format, err);
    json_auto_t *empty = json_object();
    int ret;

    if (!t)
        return err_wrap(err, "failed to parse template");
    for (const struct format_column *c = columns; c->field; c++)
        json_object_set_new(empty, c->field, strcmp(c->field, "Platform") == 0 ? json_null() : json_string(""));
    ret = tmpl_exec(t, empty, &options, &text, err);
    tmpl_free(t);
    return ret < 0 ? err_wrap(err, "failed to execute template") : 0;
}

/* Whether the name that the container was made from still means its image. */
static bool name_stands(const struct ps *ps, const struct state_container *row)
{
    struct state_image image = {0};
    struct image_ref ref = {0};
    bool stands = true;

    if (image_ref_parse(row->image, &ref, NULL) == 0) {
        if (ref.kind == IMAGE_REFERENCE && row->image_id)
            stands = catalog_find(ps->app, &ref, &image, NULL) > 0 && strcmp(image.id, row->image_id) == 0;
        image_ref_clear(&ref);
    }
    state_image_clear(&image);
    return stands;
}

/* Docker counts sizes when the template may show them; its own "json" does not. */
static bool wants_size(const struct ps *ps)
{
    return ps->size ||
           (strcmp(ps->format, "json") != 0 && (strstr(ps->format, ".Size") || strstr(ps->format, "json .")));
}

static bool is_live(const struct state_container *row)
{
    return strcmp(row->status, "running") == 0 || strcmp(row->status, "restarting") == 0 ||
           strcmp(row->status, "paused") == 0;
}

/* One container, if it is wanted: a line of f. Returns 1 when it was. */
static int add_row(struct ps *ps, const struct state_container *row, struct format *f, struct err *err)
{
    json_auto_t *inspect = NULL, *line = NULL;
    cleanup_free char *created_at = NULL;
    struct container_row shown;

    if (!ps->all && ps->last <= 0 && !is_live(row))
        return 0;
    inspect = listing_container(ps->app, row, false);
    if (!listing_filter_takes(ps->filter, row, inspect))
        return 0;
    created_at = listing_time(row->created_ns / NS);
    shown = (struct container_row){row->id,
                                   row->name,
                                   row->image,
                                   row->image_id ? row->image_id : "",
                                   row->status,
                                   row->exit_code,
                                   row->created_ns,
                                   row->started_ns,
                                   row->finished_ns,
                                   created_at,
                                   inspect,
                                   wants_size(ps) ? listing_image_size(ps->app, row->image_id) : 0,
                                   name_stands(ps, row)};
    line = container_row_json(&shown, ps->no_trunc, container_now_ns());
    ps->inspect = inspect;
    return format_row(f, line, err) < 0 ? -1 : 1;
}

static int add_rows(struct ps *ps, struct format *f, struct err *err)
{
    struct state_container *list = NULL;
    int64_t listed = 0;
    size_t len = 0;
    int ret = state_container_list(ps->app->state, &list, &len, err);

    for (size_t i = 0; i < len; i++) {
        if (ret >= 0 && (ps->last <= 0 || listed < ps->last)) {
            ret = add_row(ps, &list[i], f, err);
            listed += ret > 0;
        }
        state_container_clear(&list[i]);
    }
    free(list);
    return ret < 0 ? -1 : 0;
}

static int print_all(struct ps *ps, struct err *err)
{
    const struct tmpl_options options = {.missing = TMPL_MISSING_FIELD,
                                         .type = TYPE,
                                         .method = container_row_label,
                                         .method_arg = &ps->inspect,
                                         .html_root = true};
    cleanup_buf struct buf text = BUF_INIT(OUT_MAX);
    struct format *f = format_new(format_of(ps), ps->size ? TABLE "\t{{.Size}}" : TABLE, columns, &options, err);
    int ret = f ? add_rows(ps, f, err) : -1;

    if (ret == 0)
        ret = format_finish(f, &text, err);
    format_free(f);
    if (ret == 0)
        fwrite(text.data, 1, text.len, stdout);
    return ret;
}

/* -n N, and -l for one. */
static int64_t last_of(const struct opt_parsed *opts)
{
    int64_t last = opt_int(opts, "last");

    return opt_bool(opts, "latest") && !opt_given(opts, "last") ? 1 : last;
}

static int ps_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct ps ps = {.app = app,
                    .format = opt_str(opts, "format"),
                    .all = opt_bool(opts, "all"),
                    .quiet = opt_bool(opts, "quiet"),
                    .size = opt_bool(opts, "size"),
                    .no_trunc = opt_bool(opts, "no-trunc"),
                    .last = last_of(opts)};
    int ret;

    if (ps.quiet && *ps.format)
        fputs("WARNING: Ignoring custom format, because both --format and --quiet are set.\n", stderr);
    if (*ps.format && try_format(&ps, err) < 0)
        return -1;
    if (app_config(app, err) < 0 || app_state(app, err) < 0 || container_refresh_all(app, err) < 0)
        return -1;
    ps.filter = listing_filter_new(app, opt_list(opts, "filter"), err);
    if (!ps.filter)
        return -1;
    ps.all = ps.all || listing_filter_has(ps.filter, "status");
    ret = print_all(&ps, err);
    listing_filter_free(ps.filter);
    return ret;
}

extern const struct cmd_def cmd_def_ps;

const struct command cmd_ps = {.def = &cmd_def_ps, .errors = ERROR_PLAIN, .run = ps_run};
