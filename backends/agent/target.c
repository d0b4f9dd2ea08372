#include "backends/agent/target.h"

#include "backends/agent/agent.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void target_clear(struct target *t)
{
    if (t->dirfd >= 0)
        close(t->dirfd);
    free(t->file);
    *t = (struct target){.dirfd = -1};
}

static bool same_dir(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is dirfd `hidden` or below it? Walks up, so that no link in the path that led here can deceive us. */
static bool is_below(int dirfd, const char *hidden)
{
    struct stat inner, outer, forbidden;
    cleanup_close int fd = -1;

    if (stat(hidden, &forbidden) < 0)
        return false;
    fd = openat(dirfd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &inner) < 0)
        return true;
    for (unsigned depth = 0; depth < 2 * LIMIT_DEPTH; depth++) {
        int up;

        if (same_dir(&inner, &forbidden))
            return true;
        up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (up < 0 || fstat(up, &outer) < 0) {
            if (up >= 0)
                close(up);
            return true;
        }
        close(fd);
        fd = up;
        if (same_dir(&inner, &outer)) /* the root */
            return false;
        inner = outer;
    }
    return true;
}

/* "/a//b/./c/" is "/a/b/c"; ".." and the root are refused. */
static char *clean(const char *path, struct err *err)
{
    cleanup_free char *out = xcalloc(strlen(path) + 2, 1);
    size_t len = 0;

    while (*path) {
        size_t skip = strspn(path, "/"), part = strcspn(path + skip, "/");

        path += skip;
        if (part == 2 && !memcmp(path, "..", 2)) {
            err_set(err, 125, "a mount's target may not have '..' in it");
            return NULL;
        }
        if (part && !(part == 1 && *path == '.')) {
            out[len++] = '/';
            memcpy(out + len, path, part);
            len += part;
        }
        path += part;
    }
    if (!len) {
        err_set(err, 125, "invalid specification: destination can't be '/'");
        return NULL;
    }
    return steal(&out);
}

static int open_dir(const char *path, struct target *t, struct err *err)
{
    struct stat st;

    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return err_set(err, 125,
                       "%s: not a directory: Are you trying to mount a directory onto a file (or vice-versa)?", path);
    if (fs_mkdirs(path, 0755, err) < 0)
        return -1;
    t->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return t->dirfd < 0 ? err_set_errno(err, 125, errno, "opening %s", path) : 0;
}

/* An existing target may be a link: the file it leads to is written. */
static int open_file(const char *path, struct target *t, struct err *err)
{
    cleanup_free char *real = realpath(path, NULL);
    struct stat st;
    char *slash;

    if (real && stat(real, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(err, 125, "%s: is a directory: Are you trying to mount a directory onto a file (or vice-versa)?",
                       path);
    if (!real)
        real = xstrdup(path);
    slash = strrchr(real, '/');
    t->file = xstrdup(slash + 1);
    slash[slash == real] = '\0';
    return open_dir(real, t, err);
}

int target_open(const char *path, bool is_file, const char *run_dir, struct target *ret, struct err *err)
{
    cleanup_with(target_clear) struct target t = {.dirfd = -1};
    cleanup_free char *cleaned = clean(path, err);

    if (!cleaned)
        return -1;
    if (!strcmp(cleaned, AGENT_HIDDEN_DIR) || !strncmp(cleaned, AGENT_HIDDEN_DIR "/", strlen(AGENT_HIDDEN_DIR) + 1))
        return err_set(err, 125, "%s belongs to atp-docker and cannot be a mount's target", cleaned);
    if ((is_file ? open_file(cleaned, &t, err) : open_dir(cleaned, &t, err)) < 0)
        return -1;
    if (is_below(t.dirfd, AGENT_HIDDEN_DIR) || is_below(t.dirfd, run_dir))
        return err_set(err, 125, "%s leads into " AGENT_HIDDEN_DIR ", which cannot be a mount's target", cleaned);
    *ret = (struct target){.dirfd = t.dirfd, .file = t.file};
    t = (struct target){.dirfd = -1};
    return 0;
}
