#include "backends/registry/archive.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/events.h"
#include "shim/input.h"
#include "shim/keep.h"
#include "shim/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

/* Gives the image one more name, and says so when another one had it. */
static int name_image(struct app *app, const char *id, const char *word, struct err *err)
{
    cleanup_free char *name = archived_name(word, err);
    struct state_image before = {0};
    int got = name ? state_image_by_ref(app->state, name, &before, err) : -1;

    if (got > 0 && strcmp(before.id, id) != 0)
        printf("The image %s already exists, renaming the old one with ID %s to empty string\n", word, before.id);
    state_image_clear(&before);
    if (got < 0 || state_image_tag(app->state, id, name, err) < 0)
        return -1;
    printf("Loaded image: %s\n", word);
    return 0;
}

/* Keeps one image of the archive, puts it on the server and names it. */
static int load_image(struct app *app, struct image_archive *archive, size_t index, struct progress *progress,
                      struct err *err)
{
    const struct archived_image *from = image_archive_get(archive, index);
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    cleanup_free char *layers = catalog_layer_sizes(from->layer_sizes, from->layers.len);
    const struct state_image image = {
        .id = from->id,
        .config = from->config,
        .source = (char *)"load",
        .layers = layers,
        .size = from->size,
        .created = catalog_created(from->config),
        .added = time(NULL),
    };

    if (keep_archived(app, archive, index, progress, err) < 0 ||
        image_archive_layers(archive, index, &paths, err) < 0 || catalog_add(app, &image, NULL, &paths, err) < 0)
        return -1;
    event_image(app, "load", from->id, NULL);
    if (!from->tags.len)
        printf("Loaded image ID: %s\n", from->id);
    for (size_t i = 0; i < from->tags.len; i++)
        if (name_image(app, from->id, from->tags.items[i], err) < 0)
            return -1;
    return 0;
}

static int load_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *path = opt_str(opts, "input");
    cleanup_free char *dir = fs_state_dir();
    cleanup_close int fd = -1;
    struct image_archive *archive;
    struct progress *progress;
    int ret = 0;

    if (catalog_check_platform(opt_str(opts, "platform"), err) < 0)
        return -1;
    fd = *path ? input_open(path, err) : input_stdin("requested load from stdin, but stdin is empty", err);
    if (fd < 0 || app_modal(app, err) < 0)
        return -1;
    archive = image_archive_read(fd, dir, err);
    if (!archive)
        return -1;
    progress = progress_new(opt_bool(opts, "quiet") || !tty_is(STDOUT_FILENO) ? NULL : stdout);
    for (size_t i = 0; ret == 0 && i < image_archive_count(archive); i++)
        ret = load_image(app, archive, i, progress, err);
    progress_free(progress);
    image_archive_free(archive);
    return ret;
}

extern const struct cmd_def cmd_def_load;

const struct command cmd_load = {.def = &cmd_def_load, .errors = ERROR_PLAIN, .run = load_run};
