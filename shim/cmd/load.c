#include "backends/registry/archive.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/input.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* A name in an archive says its tag, or it is none. Normalised, owned by caller. */
static char *archived_name(const char *word, struct err *err)
{
    struct reference ref = {0};
    char *name = NULL;

    if (reference_parse(word, &ref, err) < 0)
        return NULL;
    if (ref.tag && !ref.digest)
        name = reference_string(&ref);
    else
        err_set(err, 1, "invalid tag \"%s\"", word);
    reference_clear(&ref);
    return name;
}

/* Puts one image of the archive on the server and names it. */
static int load_image(struct app *app, struct image_archive *archive, size_t index, struct err *err)
{
    const struct archived_image *from = image_archive_get(archive, index);
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    cleanup_free char *layers = catalog_layer_sizes(from->layer_sizes, from->layers.len);
    struct state_image image = {
        .id = from->id,
        .config = from->config,
        .source = (char *)"load",
        .layers = layers,
        .size = from->size,
        .created = catalog_created(from->config),
        .added = time(NULL),
    };

    if (image_archive_layers(archive, index, &paths, err) < 0)
        return -1;
    if (!from->tags.len) {
        if (catalog_add(app, &image, NULL, &paths, err) < 0)
            return -1;
        printf("Loaded image ID: %s\n", from->id);
    }
    for (size_t i = 0; i < from->tags.len; i++) {
        cleanup_free char *name = archived_name(from->tags.items[i], err);

        if (!name || catalog_add(app, &image, name, &paths, err) < 0)
            return -1;
        printf("Loaded image: %s\n", from->tags.items[i]);
    }
    return 0;
}

static int load_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *path = opt_str(opts, "input");
    cleanup_free char *dir = fs_state_dir();
    cleanup_close int fd = -1;
    struct image_archive *archive;
    int ret = 0;

    if (catalog_check_platform(opt_str(opts, "platform"), err) < 0)
        return -1;
    fd = *path ? input_open(path, err) : input_stdin("requested load from stdin, but stdin is empty", err);
    if (fd < 0 || app_modal(app, err) < 0)
        return -1;
    archive = image_archive_read(fd, dir, err);
    if (!archive)
        return -1;
    for (size_t i = 0; ret == 0 && i < image_archive_count(archive); i++)
        ret = load_image(app, archive, i, err);
    image_archive_free(archive);
    return ret;
}

extern const struct cmd_def cmd_def_load;

const struct command cmd_load = {.def = &cmd_def_load, .errors = ERROR_PLAIN, .run = load_run};
