#include "backends/blobs/blobs.h"
#include "backends/registry/archive.h"
#include "backends/registry/http.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/input.h"
#include "shim/keep.h"
#include "translate/dockerfile/config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DAEMON "Error response from daemon"

DEFINE_CLEANUP(struct http *, http_free)
DEFINE_CLEANUP(struct blob_writer *, blob_writer_free)

/* Where the tar comes from, as the history says it: "-" for whatever this machine sends. */
static bool is_url(const char *word)
{
    return !strncmp(word, "http://", 7) || !strncmp(word, "https://", 8);
}

/* The configuration of an image of one layer, as text; owned by caller. */
static char *make_config(const struct opt_parsed *opts, const char *diff_id, time_t now, struct err *err)
{
    const char *message = opt_str(opts, "message"), *word = opt_args(opts)->items[0];
    cleanup_free char *comment = *message ? xstrdup(message) : xasprintf("Imported from %s", is_url(word) ? word : "-");
    const struct strlist *changes = opt_list(opts, "change");
    cleanup_with(df_config_freep) json_t *root = NULL;
    char when[32];
    struct tm tm;

    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    root = json_pack("{s:s, s:s, s:s, s:s, s:{}, s:{s:s, s:[s]}, s:[{s:s, s:s}]}", "comment", comment, "architecture",
                     "amd64", "os", "linux", "created", when, "config", "rootfs", "type", "layers", "diff_ids", diff_id,
                     "history", "created", when, "comment", comment);
    if (!root) {
        err_set(err, 1, DAEMON ": the message is not UTF-8");
        return NULL;
    }
    if (df_config_changes(root, changes, err) < 0) {
        err_wrap(err, DAEMON);
        return NULL;
    }
    return df_config_text(root);
}

/* ---- where it comes from ---- */

static int to_file(const void *bytes, size_t len, void *arg, struct err *err)
{
    const char *at = bytes;

    while (len) {
        ssize_t n = write(*(int *)arg, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 1, errno, "write");
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* What stands behind the URL, in a file that has no name any more; -1 and err in the daemon's words. */
static int download(const char *url, const char *dir, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/import-XXXXXX", dir);
    cleanup_close int fd = mkostemp(path, O_CLOEXEC);
    cleanup_with(http_freep) struct http *h = http_new(NULL);
    struct http_request request = {.url = url, .sink = to_file, .sink_arg = &fd};
    struct http_reply reply;
    bool again = false;
    int ret = -1;

    if (fd < 0)
        return err_set_errno(err, 1, errno, "open %s", path);
    unlink(path);
    http_reply_init(&reply);
    if (http_do(h, &request, &reply, &again, err) < 0)
        err_wrap(err, DAEMON);
    else if (reply.status != 200)
        err_set(err, 1, DAEMON ": failed to GET %s with status %ld: %.*s", url, reply.status,
                (int)strcspn(reply.body.data, "\n"), reply.body.data);
    else if (lseek(fd, 0, SEEK_SET) == 0 && printf("Downloading from %s\n", url) > 0)
        ret = steal_fd(&fd);
    http_reply_clear(&reply);
    return ret;
}

/* The archive named on the line, or stdin. */
static int open_archive(const char *word, const char *dir, struct err *err)
{
    if (!strcmp(word, "-"))
        return input_stdin("cannot import from a terminal", err);
    return is_url(word) ? download(word, dir, err) : input_open(word, err);
}

/* ---- the image ---- */

/* The tar becomes the only layer of an image. */
static int import_layer(struct app *app, const struct opt_parsed *opts, int fd, const char *name, struct err *err)
{
    struct blobs *blobs = app_blobs(app, err);
    cleanup_with(blob_writer_freep) struct blob_writer *w = blobs ? blob_writer_new(blobs, err) : NULL;
    cleanup_free char *diff_id = NULL, *id = NULL, *config = NULL, *layers = NULL, *path = NULL, *kept = NULL;
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    time_t now = time(NULL);
    int64_t size;

    if (!w)
        return -1;
    if (image_archive_import(fd, blob_writer_fd(w), &diff_id, &size, err) < 0)
        return err_wrap(err, DAEMON);
    config = make_config(opts, diff_id, now, err);
    if (!config || keep_layer(app, w, size, &kept, &path, err) < 0)
        return -1;
    id = keep_image_id(config);
    strlist_add(&paths, path);
    layers = catalog_layer_sizes(&size, 1);
    if (catalog_add(app,
                    &(struct state_image){
                        .id = id,
                        .config = config,
                        .source = (char *)"import",
                        .layers = layers,
                        .size = size,
                        .created = now,
                        .added = now,
                    },
                    name, &paths, err) < 0)
        return -1;
    puts(id);
    return 0;
}

static int import_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    cleanup_free char *dir = fs_state_dir(), *name = NULL;
    cleanup_close int fd = -1;

    if (catalog_check_platform(opt_str(opts, "platform"), err) < 0)
        return -1;
    if (args->len > 1 && !(name = catalog_normal_name(args->items[1], err)))
        return -1;
    if (app_modal(app, err) < 0) /* makes the folder too */
        return -1;
    fd = open_archive(args->items[0], dir, err);
    return fd < 0 ? -1 : import_layer(app, opts, fd, name, err);
}

extern const struct cmd_def cmd_def_import;

const struct command cmd_import = {.def = &cmd_def_import, .errors = ERROR_PLAIN, .run = import_run};
