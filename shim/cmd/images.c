#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/listing.h"
#include "translate/image_config.h"

#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NONE "<none>"
#define NS   INT64_C(1000000000)

/* What the line asks for; times are bounds on an image's creation. */
struct wanted {
    const char *repository; /* the argument: repository[:tag], or NULL */
    struct strlist labels, references;
    int dangling; /* -1 = no matter */
    int64_t before, since;
    bool all, no_trunc, digests;
};

/* One line of the listing. */
struct row {
    char *repository, *tag, *digest;
};

static void row_clear(struct row *r)
{
    free(r->repository);
    free(r->tag);
    free(r->digest);
}

/* The creation time of the image that a before= or since= filter names. */
static int time_of(struct app *app, const char *word, int64_t *ret, struct err *err)
{
    struct state_image image = {0};
    cleanup_free char *familiar = NULL;
    struct image_ref ref = {0};
    int got;

    if (image_ref_parse(word, &ref, err) < 0)
        return -1;
    familiar = image_ref_familiar(&ref);
    got = catalog_find(app, &ref, &image, err);
    image_ref_clear(&ref);
    if (got == 0)
        return err_set(err, 1, "Error response from daemon: No such image: %s", familiar);
    if (got < 0)
        return -1;
    *ret = image.created;
    state_image_clear(&image);
    return 0;
}

/* "label=x=y" and the like. */
static int add_filter(struct app *app, struct wanted *w, const char *filter, struct err *err)
{
    const char *equals = strchr(filter, '=');
    cleanup_free char *key = xstrndup(filter, (size_t)(equals - filter));
    const char *value = equals + 1;

    if (!strcmp(key, "label")) {
        strlist_add(&w->labels, value);
    } else if (!strcmp(key, "reference")) {
        strlist_add(&w->references, value);
    } else if (!strcmp(key, "dangling")) {
        bool yes;

        if (units_parse_bool(value, &yes, NULL) < 0)
            return err_set(err, 1, "Error response from daemon: invalid filter 'dangling=%s'", value);
        w->dangling = yes;
    } else if (!strcmp(key, "before")) {
        return time_of(app, value, &w->before, err);
    } else if (!strcmp(key, "since")) {
        return time_of(app, value, &w->since, err);
    } else {
        return err_set(err, 1, "Error response from daemon: invalid filter '%s'", key);
    }
    return 0;
}

/* Whether the image's labels hold every one that is asked for ("k" or "k=v"). */
static bool has_labels(const struct state_image *image, const struct strlist *labels)
{
    struct oci_config config = {0};
    size_t found = 0;

    if (!labels->len)
        return true;
    if (oci_config_parse(image->config, strlen(image->config), &config, NULL) < 0)
        return false;
    for (size_t i = 0; i < labels->len; i++) {
        const char *equals = strchr(labels->items[i], '=');

        found += equals ? strlist_has(&config.labels, labels->items[i])
                        : strlist_env_get(&config.labels, labels->items[i]) != NULL;
    }
    oci_config_clear(&config);
    return found == labels->len;
}

/* Docker's patterns: against the whole familiar name, and against the repository alone. */
static bool matches(const char *pattern, const char *repository, const char *tag)
{
    cleanup_free char *full = xasprintf("%s:%s", repository, tag);

    return !fnmatch(pattern, full, FNM_PATHNAME) || !fnmatch(pattern, repository, FNM_PATHNAME);
}

static bool row_wanted(const struct wanted *w, const struct row *r)
{
    bool listed = !w->references.len;

    for (size_t i = 0; i < w->references.len; i++)
        listed = listed || matches(w->references.items[i], r->repository, r->tag);
    return listed && (!w->repository || matches(w->repository, r->repository, r->tag));
}

static bool image_wanted(const struct wanted *w, const struct state_image *image, bool tagged, bool has_children)
{
    if (has_children && !tagged && (!w->all || w->dangling > 0)) /* it is only there for others' sake */
        return false;
    return (w->dangling < 0 || w->dangling == !tagged) && (!w->before || image->created < w->before) &&
           (!w->since || image->created > w->since) && has_labels(image, &w->labels);
}

/* "docker.io/library/x:1" as its familiar repository and tag. */
static void split_name(const char *name, const char *digest, struct row *ret)
{
    struct reference ref = {0};

    *ret = (struct row){.digest = xstrdup(*digest ? digest : NONE)};
    if (image_name_is_modal(name)) {
        ret->repository = xstrndup(name, (size_t)(strrchr(name, ':') - name));
        ret->tag = xstrdup(strrchr(name, ':') + 1);
    } else if (reference_parse(name, &ref, NULL) == 0) {
        ret->tag = xstrdup(ref.tag ? ref.tag : NONE);
        free(steal(&ref.tag));
        free(steal(&ref.digest));
        ret->repository = reference_familiar(&ref);
        reference_clear(&ref);
    } else {
        ret->repository = xstrdup(name);
        ret->tag = xstrdup(NONE);
    }
}

/* The fields of `docker images --format json`, all of them strings. */
static json_t *row_json(const struct wanted *w, const struct state_image *image, const struct row *r)
{
    cleanup_free char *age = units_age(((int64_t)time(NULL) - image->created) * NS), *since = xasprintf("%s ago", age);
    cleanup_free char *size = units_size_digits((double)image->size, 3);
    cleanup_free char *id =
        w->no_trunc ? xstrdup(image->id) : xstrndup(image->id + strlen("sha256:"), CONTAINER_SHORT_ID_LEN);
    char at[64];
    time_t created = image->created;
    struct tm tm;

    strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S %z %Z", localtime_r(&created, &tm));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Containers", "N/A", "CreatedAt", at,
                     "CreatedSince", image->created ? since : "N/A", "Digest", w->digests ? r->digest : NONE, "ID", id,
                     "Repository", r->repository, "SharedSize", "N/A", "Size", size, "Tag", r->tag, "UniqueSize", "N/A",
                     "VirtualSize", size);
}

/* Adds the image's lines: one per name, or one without a name. */
static int add_rows(struct app *app, const struct wanted *w, const struct state_image *image, json_t *rows,
                    struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT, digests = STRLIST_INIT;
    int children;

    if (state_image_tags(app->state, image->id, &names, &digests, err) < 0)
        return -1;
    children = state_image_has_children(app->state, image->id, err);
    if (children < 0)
        return -1;
    if (!image_wanted(w, image, names.len > 0, children > 0))
        return 0;
    for (size_t i = 0; i < names.len; i++) {
        struct row row;

        split_name(names.items[i], digests.items[i], &row);
        if (row_wanted(w, &row))
            json_array_append_new(rows, row_json(w, image, &row));
        row_clear(&row);
    }
    if (!names.len && !w->repository && !w->references.len) {
        const struct row row = {(char *)NONE, (char *)NONE, (char *)NONE};

        json_array_append_new(rows, row_json(w, image, &row));
    }
    return 0;
}

/* Every line that is wanted, newest first. */
static json_t *collect(struct app *app, const struct wanted *w, struct err *err)
{
    struct state_image *list = NULL;
    json_t *rows = json_array();
    size_t len = 0;
    int ret = state_image_list(app->state, &list, &len, err);

    for (size_t i = 0; i < len; i++) {
        if (ret == 0)
            ret = add_rows(app, w, &list[i], rows, err);
        state_image_clear(&list[i]);
    }
    free(list);
    if (ret == 0)
        return rows;
    json_decref(rows);
    return NULL;
}

/* -q: the ids alone; an image of several names is said several times, as Docker does. */
static int print_ids(json_t *rows)
{
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row) puts(json_string_value(json_object_get(row, "ID")));
    return 0;
}

static const struct format_column columns[] = {
    {"Containers", "CONTAINERS"},
    {"CreatedAt", "CREATED AT"},
    {"CreatedSince", "CREATED"},
    {"Digest", "DIGEST"},
    {"ID", "IMAGE ID"},
    {"Repository", "REPOSITORY"},
    {"SharedSize", "SHARED SIZE"},
    {"Size", "SIZE"},
    {"Tag", "TAG"},
    {"UniqueSize", "UNIQUE SIZE"},
    {"VirtualSize", "SIZE"},
    {NULL, NULL},
};

static int print_rows(const struct opt_parsed *opts, json_t *rows, struct err *err)
{
    const char *format = opt_str(opts, "format");

    if (opt_bool(opts, "quiet") && !*format)
        return print_ids(rows);
    return listing_print(format,
                         opt_bool(opts, "digests")
                             ? "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
                             : "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
                         columns, "*formatter.imageContext", rows, err);
}

static int images_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct wanted w = {.dangling = -1,
                       .all = opt_bool(opts, "all"),
                       .no_trunc = opt_bool(opts, "no-trunc"),
                       .digests = opt_bool(opts, "digests") || strstr(opt_str(opts, "format"), ".Digest")};
    const struct strlist *filters = opt_list(opts, "filter"), *args = opt_args(opts);
    json_t *rows = NULL;
    int ret = app_config(app, err) < 0 || app_state(app, err) < 0 ? -1 : 0;

    for (size_t i = 0; ret == 0 && i < filters->len; i++)
        ret = add_filter(app, &w, filters->items[i], err);
    w.repository = args->len ? args->items[0] : NULL;
    if (ret == 0)
        rows = collect(app, &w, err);
    ret = rows ? print_rows(opts, rows, err) : -1;
    json_decref(rows);
    strlist_clear(&w.labels);
    strlist_clear(&w.references);
    return ret;
}

extern const struct cmd_def cmd_def_images;

const struct command cmd_images = {.def = &cmd_def_images, .errors = ERROR_PLAIN, .run = images_run};
