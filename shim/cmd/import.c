#include "backends/registry/archive.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/fs.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/input.h"
#include "translate/changes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* The configuration of an image of one layer; *ret_id is its digest. Both owned by caller. */
static char *make_config(const struct opt_parsed *opts, const char *diff_id, time_t now, char **ret_id, struct err *err)
{
    json_t *config = json_object(), *root;
    const char *message = opt_str(opts, "message");
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1], when[32];
    struct tm tm;
    char *text;

    if (changes_apply(opt_list(opts, "change"), config, err) < 0) {
        err_wrap(err, "Error response from daemon");
        json_decref(config);
        return NULL;
    }
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    root = json_pack("{s:s, s:s, s:s, s:o, s:{s:s, s:[s]}, s:[{s:s, s:s}]}", "architecture", "amd64", "os", "linux",
                     "created", when, "config", config, "rootfs", "type", "layers", "diff_ids", diff_id, "history",
                     "created", when, "comment", *message ? message : "Imported from -");
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    sha256(text, strlen(text), digest);
    sha256_hex(digest, hex);
    *ret_id = xasprintf("sha256:%s", hex);
    return text;
}

/* The archive named on the line, or stdin. */
static int open_archive(const char *word, struct err *err)
{
    if (!strcmp(word, "-"))
        return input_stdin("cannot import from a terminal", err);
    if (strstr(word, "://"))
        return err_set(err, 1, "docker import of a URL is not carried out by atp-docker: download %s first", word);
    return input_open(word, err);
}

/* With the layer in a temporary file. */
static int import_layer(struct app *app, const struct opt_parsed *opts, int fd, const char *path, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    cleanup_free char *diff_id = NULL, *id = NULL, *config = NULL, *name = NULL;
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    cleanup_free char *layers = NULL;
    time_t now = time(NULL);
    struct state_image image;
    struct stat st;
    int64_t size;

    if (args->len > 1 && !(name = catalog_normal_name(args->items[1], err)))
        return -1;
    if (image_archive_import(fd, path, &diff_id, err) < 0)
        return -1;
    config = make_config(opts, diff_id, now, &id, err);
    if (!config)
        return -1;
    strlist_add(&paths, path);
    size = stat(path, &st) == 0 ? st.st_size : 0;
    layers = catalog_layer_sizes(&size, 1);
    image = (struct state_image){
        .id = id,
        .config = config,
        .source = (char *)"import",
        .layers = layers,
        .size = size,
        .created = now,
        .added = now,
    };
    if (catalog_add(app, &image, name, &paths, err) < 0)
        return -1;
    puts(id);
    return 0;
}

static int import_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_close int fd = -1, temp = -1;
    cleanup_free char *dir = fs_state_dir(), *path = NULL;
    int ret;

    if (catalog_check_platform(opt_str(opts, "platform"), err) < 0)
        return -1;
    fd = open_archive(opt_args(opts)->items[0], err);
    if (fd < 0 || app_modal(app, err) < 0)
        return -1;
    path = xasprintf("%s/import-XXXXXX", dir);
    temp = mkstemp(path);
    if (temp < 0)
        return err_set_errno(err, 1, errno, "open %s", path);
    ret = import_layer(app, opts, fd, path, err);
    unlink(path);
    return ret;
}

extern const struct cmd_def cmd_def_import;

const struct command cmd_import = {.def = &cmd_def_import, .errors = ERROR_PLAIN, .run = import_run};
