#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/listing.h"
#include "translate/record.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS             INT64_C(1000000000)
#define CREATED_BY_MAX 45                    /* characters, unless --no-trunc */
#define MAX_PARENTS    500                   /* as many as layers */
#define ZERO_TIME      INT64_C(-62135596800) /* the year 1: what Go has where nothing is said */

struct history {
    struct strlist ids;    /* of the image, then of those that it was committed from, one of another */
    const json_t *entries; /* oldest first */
    json_t *sizes;         /* of the layers; NULL: nobody knows them any more */
    bool human, no_trunc;
};

static const char *text_of(const json_t *entry, const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));

    return text ? text : "";
}

/* RFC 3339 in our own time zone, as Go prints it; 0: never. */
static char *stamp(int64_t seconds)
{
    time_t t = seconds ? seconds : ZERO_TIME;
    cleanup_free char *zone = NULL;
    long ahead;
    struct tm tm;

    localtime_r(&t, &tm);
    ahead = labs(tm.tm_gmtoff) / 60;
    zone =
        tm.tm_gmtoff ? xasprintf("%c%02ld:%02ld", tm.tm_gmtoff < 0 ? '-' : '+', ahead / 60, ahead % 60) : xstrdup("Z");
    return xasprintf("%04d-%02d-%02dT%02d:%02d:%02d%s", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                     tm.tm_min, tm.tm_sec, zone);
}

static char *age(int64_t seconds)
{
    cleanup_free char *since = units_age(((int64_t)time(NULL) - seconds) * NS);

    return seconds ? xasprintf("%s ago", since) : xstrdup("N/A");
}

/* Tabs would make columns; what is long is cut, the last character being its sign. */
static char *created_by(const char *text, bool whole)
{
    char *line = xstrdup(text);
    size_t at = 0, count = 0, len = strlen(line);

    for (char *p = line; *p; p++)
        if (*p == '\t')
            *p = ' ';
    if (whole || rune_count(line, len) <= CREATED_BY_MAX)
        return line;
    while (++count < CREATED_BY_MAX) {
        uint32_t rune;

        at += rune_decode(line + at, len - at, &rune);
    }
    line[at] = '\0';
    return xasprintf("%s\u2026", line);
}

/* The size of the next layer, of which *layer counts. */
static char *size_of(const struct history *h, const json_t *entry, size_t *layer)
{
    int64_t size = 0;

    if (!json_is_true(json_object_get(entry, "empty_layer"))) {
        if (!h->sizes)
            return xstrdup("N/A");
        size = json_integer_value(json_array_get(h->sizes, (*layer)++));
    }
    return h->human ? units_size_digits((double)size, 3) : xasprintf("%lld", (long long)size);
}

/* The id of the entry that is so far from the newest; Docker gives one to each image here, from the top. Owned by
 * caller. */
static char *id_of(const struct history *h, size_t from_top)
{
    const char *id = from_top < h->ids.len ? h->ids.items[from_top] : NULL;

    if (!id)
        return xstrdup("<missing>");
    return h->no_trunc ? xstrdup(id) : xstrndup(id + strlen("sha256:"), CONTAINER_SHORT_ID_LEN);
}

static json_t *row_of(const struct history *h, const json_t *entry, size_t from_top, size_t *layer)
{
    cleanup_free char *by = created_by(text_of(entry, "created_by"), h->no_trunc), *size = size_of(h, entry, layer);
    cleanup_free char *id = id_of(h, from_top), *at = NULL, *since = NULL;
    int64_t ns = 0;

    if (units_parse_stamp(text_of(entry, "created"), &ns, NULL) < 0)
        ns = 0;
    at = stamp(ns / NS);
    since = h->human ? age(ns / NS) : xstrdup(at);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "Comment", text_of(entry, "comment"), "CreatedAt", at,
                     "CreatedBy", by, "CreatedSince", since, "ID", id, "Size", size);
}

/* Newest first. NULL and err for a configuration that contradicts itself. */
static json_t *collect(const struct history *h, struct err *err)
{
    size_t len = json_array_size(h->entries), layer = 0;
    json_t *rows = json_array();

    for (size_t i = 0; i < len; i++)
        json_array_insert_new(rows, 0, row_of(h, json_array_get(h->entries, i), len - 1 - i, &layer));
    if (!h->sizes || layer <= json_array_size(h->sizes))
        return rows;
    json_decref(rows);
    err_set(err, 1, "Error response from daemon: too many non-empty layers in History section");
    return NULL;
}

static const struct format_column columns[] = {
    {"Comment", "COMMENT"},
    {"CreatedAt", "CREATED AT"},
    {"CreatedBy", "CREATED BY"},
    {"CreatedSince", "CREATED"},
    {"ID", "IMAGE"},
    {"Size", "SIZE"},
    {NULL, NULL},
};

static int print_rows(const struct history *h, const struct opt_parsed *opts, json_t *rows, struct err *err)
{
    const char *format = opt_str(opts, "format");
    json_t *row;
    size_t i;

    if (!opt_bool(opts, "quiet") || (*format && strcmp(format, "table") != 0))
        return listing_print(format,
                             h->human ? "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
                                      : "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
                             columns, "*image.historyContext", rows, err);
    json_array_foreach(rows, i, row) puts(json_string_value(json_object_get(row, "ID")));
    return 0;
}

/* The sizes of the layers; an older atp-docker kept only their sum, which is enough for one layer. */
static json_t *layer_sizes(const struct state_image *image, const json_t *config)
{
    json_t *sizes = image->layers ? json_loads(image->layers, 0, NULL) : NULL;
    size_t layers = json_array_size(json_object_get(json_object_get(config, "rootfs"), "diff_ids"));

    if (!sizes && layers == 1)
        sizes = json_pack("[I]", (json_int_t)image->size);
    return sizes;
}

/* The image and what it was committed from, as far as it is here. */
static void find_ids(struct app *app, const struct state_image *image, struct strlist *ret)
{
    cleanup_free char *next = image->parent && !strcmp(image->source, "commit") ? xstrdup(image->parent) : NULL;

    strlist_add(ret, image->id);
    while (next && ret->len < MAX_PARENTS) {
        struct state_image parent = {0};
        int got = state_image_by_id(app->state, next, &parent, NULL);

        free(steal(&next));
        if (got > 0) {
            strlist_add(ret, parent.id);
            if (parent.parent && !strcmp(parent.source, "commit"))
                next = steal(&parent.parent);
        }
        state_image_clear(&parent);
    }
}

static int history_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct history h = {.human = opt_bool(opts, "human"), .no_trunc = opt_bool(opts, "no-trunc")};
    json_auto_t *config = NULL, *rows = NULL;
    struct state_image image = {0};
    int ret;

    if (catalog_check_platform(opt_str(opts, "platform"), err) < 0 || app_state(app, err) < 0 ||
        catalog_find_word(app, opt_args(opts)->items[0], &image, err) < 0)
        return -1;
    config = json_loads(image.config, 0, NULL);
    find_ids(app, &image, &h.ids);
    h.entries = json_object_get(config, "history");
    h.sizes = layer_sizes(&image, config);
    rows = collect(&h, err);
    ret = rows ? print_rows(&h, opts, rows, err) : -1;
    json_decref(h.sizes);
    strlist_clear(&h.ids);
    state_image_clear(&image);
    return ret;
}

extern const struct cmd_def cmd_def_history;

const struct command cmd_history = {.def = &cmd_def_history, .errors = ERROR_PLAIN, .run = history_run};
