#include "shim/copy_host.h"

#include "backends/tree/reader.h"
#include "backends/tree/writer.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"
#include "compat/docker/quote.h"
#include "translate/tree/place.h"
#include "translate/tree/tree.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 10 /* that docker follows at a destination */

/* "what path: no such file or directory", as Go writes it. */
static int go_errno(struct err *err, int errnum, const char *what, const char *path)
{
    cleanup_free char *text = xstrdup(strerror(errnum));

    text[0] = (char)tolower((unsigned char)text[0]);
    return *what ? err_set(err, 1, "%s %s: %s", what, path, text) : err_set(err, 1, "%s", text);
}

char *host_path(const char *cwd, const char *given)
{
    cleanup_free char *clean = path_absolute(cwd, given);

    return place_keep_end(clean, given);
}

/* ---- destinations ---- */

int host_check_dest(const char *path, struct err *err)
{
    cleanup_free char *clean = path_clean(path), *parent = place_parent(clean);
    struct stat st;

    if (stat(parent, &st) < 0 && errno == ENOENT) {
        cleanup_free char *quoted = quote_go_str(parent);

        return err_set(err, 1, "invalid output path: directory %s does not exist", quoted);
    }
    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : go_errno(err, errno, "stat", path);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
        cleanup_free char *quoted = quote_go_str(path);

        return err_set(err, 1, "invalid output path: %s must be a directory or a regular file: got a device", quoted);
    }
    return 0;
}

/* Follows the links that stand at the destination; the last may lead nowhere. */
static int follow_dest(const char *given, char **ret_path, struct place_dest *ret, struct err *err)
{
    cleanup_free char *path = xstrdup(given);
    struct stat st;

    for (int links = 0;; links++) {
        char text[PATH_MAX + 1], *joined;
        cleanup_free char *parent = place_parent(path);
        ssize_t n;

        if (lstat(path, &st) < 0) {
            if (errno != ENOENT)
                return go_errno(err, errno, "lstat", path);
            if (stat(parent, &st) < 0)
                return go_errno(err, errno, "stat", parent);
            if (!S_ISDIR(st.st_mode))
                return err_set(err, 1, "not a directory");
            *ret = (struct place_dest){.exists = false};
            break;
        }
        if (!S_ISLNK(st.st_mode)) {
            *ret = (struct place_dest){.exists = true, .is_dir = S_ISDIR(st.st_mode)};
            break;
        }
        if (links > LINKS_MAX)
            return err_set(err, 1, "too many symlinks in %s", given);
        n = readlink(path, text, PATH_MAX);
        if (n < 0)
            return go_errno(err, errno, "readlink", path);
        text[n] = '\0';
        joined = path_absolute(parent, text);
        free(path);
        path = joined;
    }
    ret->path = *ret_path = steal(&path);
    return 0;
}

int host_place(void *arg, const struct tree_head *head, const struct tree_entry *root, struct tree_dest *ret,
               struct err *err)
{
    cleanup_free char *path = NULL;
    cleanup_with(place_clear) struct place place = {NULL, NULL};
    struct place_dest dest;

    if (!root)
        return err_set(err, 1, "the container sent an archive where a tree was asked for");
    if (root->type == TREE_FIFO || root->type == TREE_DEVICE)
        return err_set(err, 1, "docker cp of a fifo or a device to this machine is not carried out by atp-docker");
    if (follow_dest(arg, &path, &dest, err) < 0 || place_choose(head, root->type, &dest, &place, err) < 0)
        return -1;
    ret->dir = open(place.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->dir < 0)
        return go_errno(err, errno, "open", place.dir);
    ret->shown = path_clean(place.dir);
    ret->name = steal(&place.name);
    ret->in_place = true;
    return 0;
}

/* ---- sources ---- */

void host_source_clear(struct host_source *s)
{
    tree_reader_free(s->reader);
    if (s->dir >= 0)
        close(s->dir);
    free(s->real);
    free(s->name);
    free(s->base);
    *s = (struct host_source){.dir = -1};
}

/* Names the first part of path that is not there, as Go's EvalSymlinks does; errnum is what realpath() said. */
static int name_missing(const char *path, int errnum, struct err *err)
{
    cleanup_free char *prefix = xstrdup(path);
    struct stat st;

    for (char *slash = prefix; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        if (lstat(prefix, &st) < 0)
            return go_errno(err, errno, "lstat", prefix);
        if (!S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
            return go_errno(err, ENOTDIR, "", "");
        *slash = '/';
    }
    if (lstat(prefix, &st) < 0)
        return go_errno(err, errno, "lstat", prefix);
    if (S_ISLNK(st.st_mode)) {
        cleanup_free char *parent = place_parent(prefix), *target = NULL;
        char text[PATH_MAX + 1];
        ssize_t n = readlink(prefix, text, PATH_MAX);

        text[n < 0 ? 0 : n] = '\0';
        target = path_absolute(parent, text);
        if (lstat(target, &st) < 0)
            return go_errno(err, errno, "lstat", target);
    }
    return go_errno(err, errnum, "lstat", path);
}

/* The path without links on its way; owned by caller; NULL with err. */
static char *resolve(const char *path, struct err *err)
{
    char *real = realpath(path, NULL);
    int errnum = errno;

    if (!real)
        name_missing(path, errnum, err);
    return real;
}

/* Resolves what stands before the last component, or all of it. */
static char *resolve_source(const char *path, bool whole, struct err *err)
{
    cleanup_free char *parent = NULL, *dir = NULL, *base = NULL;
    struct stat st;

    if (whole)
        return resolve(path, err);
    parent = place_parent(path);
    dir = resolve(parent, err);
    if (!dir)
        return NULL;
    if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode)) {
        go_errno(err, ENOTDIR, "", "");
        return NULL;
    }
    base = place_base(path);
    return xasprintf("%s/%s", strcmp(dir, "/") ? dir : "", base);
}

int host_source_open(const char *path, bool follow, struct host_source *ret, struct err *err)
{
    bool asserts = place_asserts_dir(path), dir;
    struct tree_source source;
    struct tree_head head;
    struct stat st;
    cleanup_free char *parent = NULL;

    *ret = (struct host_source){.dir = -1};
    ret->base = place_base(path);
    ret->real = resolve_source(path, follow || asserts, err);
    if (!ret->real)
        return -1;
    if (lstat(ret->real, &st) < 0)
        return go_errno(err, errno, "lstat", ret->real);
    dir = S_ISDIR(st.st_mode);
    if (asserts && !dir)
        return go_errno(err, ENOTDIR, "", "");
    parent = dir ? xstrdup(ret->real) : place_parent(ret->real);
    ret->name = dir ? xstrdup("") : place_base(ret->real);
    ret->dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
#ifdef O_PATH
    if (ret->dir < 0 && errno == EACCES && !dir)
        ret->dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
#endif
    if (ret->dir < 0)
        return go_errno(err, errno, "open", parent);
    head = (struct tree_head){.flags = strcmp(ret->base, ".") ? 0 : TREE_CONTENTS, .base = ret->base};
    source = (struct tree_source){.dir = ret->dir, .name = ret->name, .shown = ret->real};
    ret->reader = tree_reader_new(&source, &head, err);
    return ret->reader ? 0 : -1;
}
