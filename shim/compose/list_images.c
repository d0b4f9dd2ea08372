/* compose images: what the containers of a project were made from. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/compose/compose.h"
#include "shim/compose/members.h"
#include "shim/compose/table.h"
#include "shim/listing.h"
#include "translate/reference.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define NS       INT64_C(1000000000)
#define SHORT_ID 12

/* "busybox:1" in its two halves, each "" when there is none. Owned by caller. */
static void split_name(const char *word, char **ret_repository, char **ret_tag)
{
    struct image_ref ref = {0};
    cleanup_free char *familiar = NULL;
    char *colon;

    *ret_repository = xstrdup("");
    *ret_tag = xstrdup("");
    if (image_ref_parse(word, &ref, NULL) < 0)
        return;
    familiar = image_ref_familiar(&ref);
    image_ref_clear(&ref);
    familiar[strcspn(familiar, "@")] = '\0';
    colon = strrchr(familiar, ':');
    if (colon && !strchr(colon, '/')) {
        free(*ret_tag);
        *ret_tag = xstrdup(colon + 1);
        *colon = '\0';
    }
    free(*ret_repository);
    *ret_repository = xstrdup(familiar);
}

/* "linux/amd64", or with a variant behind it. Owned by caller. */
static char *platform_of(const json_t *inspect)
{
    const char *os = json_string_value(json_object_get(inspect, "Os"));
    const char *arch = json_string_value(json_object_get(inspect, "Architecture"));
    const char *variant = json_string_value(json_object_get(inspect, "Variant"));

    return xasprintf("%s/%s%s%s", os ? os : "unknown", arch ? arch : "unknown", variant && *variant ? "/" : "",
                     variant ? variant : "");
}

/* Both forms of a line: what the table shows, and what JSON has. NULL with err. */
static json_t *row_of(struct app *app, const struct member *m, bool json, struct err *err)
{
    const char *word = m->row.image_id && *m->row.image_id ? m->row.image_id : m->row.image;
    struct state_image image = {0};
    cleanup_free char *repository = NULL, *tag = NULL, *platform = NULL, *size = NULL, *age = NULL, *ago = NULL;
    json_auto_t *inspect = NULL;
    json_t *row = NULL;

    if (catalog_find_word(app, word, &image, err) < 0)
        return NULL;
    inspect = listing_image(app, &image, err);
    if (inspect) {
        split_name(m->row.image, &repository, &tag);
        platform = platform_of(inspect);
        size = units_size_digits((double)image.size, 3);
        age = units_age(((int64_t)time(NULL) - image.created) * NS);
        ago = xasprintf("%s ago", age);
    }
    if (inspect && json) {
        cleanup_free char *stamp = units_stamp(image.created * NS);

        row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s}", "ID", image.id, "ContainerName", m->row.name,
                        "Repository", repository, "Tag", tag, "Platform", platform, "Size", (json_int_t)image.size,
                        "LastTagTime", stamp);
    } else if (inspect) {
        cleanup_free char *id = xstrndup(image.id + strlen("sha256:"), SHORT_ID);

        row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "ContainerName", m->row.name, "Repository",
                        *repository ? repository : "<none>", "Tag", *tag ? tag : "<none>", "Platform", platform, "ID",
                        id, "Size", size, "Created", ago);
    }
    state_image_clear(&image);
    return row;
}

/* -q: each id once. */
static void print_ids(const struct members *list)
{
    cleanup_strlist struct strlist said = STRLIST_INIT;

    for (size_t i = 0; i < list->len; i++) {
        const char *id = list->items[i].row.image_id;

        if (!id || strlist_has(&said, id))
            continue;
        strlist_add(&said, id);
        puts(!strncmp(id, "sha256:", 7) ? id + 7 : id);
    }
}

static int images_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    static const struct table_column columns[] = {{"ContainerName", "CONTAINER"},
                                                  {"Repository", "REPOSITORY"},
                                                  {"Tag", "TAG"},
                                                  {"Platform", "PLATFORM"},
                                                  {"ID", "IMAGE ID"},
                                                  {"Size", "SIZE"},
                                                  {"Created", "CREATED"},
                                                  {NULL, NULL}};
    bool json = !strcasecmp(opt_str(opts, "format"), "json");
    cleanup_free char *project = compose_name(app, err);
    cleanup_with(members_clear) struct members list = MEMBERS_INIT;
    json_auto_t *rows = json_array();

    if (!project || members_list(app, project, opt_args(opts), MEMBERS_ONEOFF | MEMBERS_AS_IT_IS, &list, err) < 0 ||
        app_state(app, err) < 0)
        return -1;
    members_sort(&list);
    if (opt_bool(opts, "quiet")) {
        print_ids(&list);
        return 0;
    }
    for (size_t i = 0; i < list.len; i++) {
        json_t *row = row_of(app, &list.items[i], json, err);

        if (!row)
            return -1;
        json_array_append_new(rows, row);
    }
    return table_print(rows, opt_str(opts, "format"), columns, err);
}

extern const struct cmd_def cmd_def_compose_images;

const struct command cmd_compose_images = {.def = &cmd_def_compose_images, .errors = ERROR_PLAIN, .run = images_run};
