/* Walking a path below a held directory, and the choice between the two ways to do it. */
#include "compat/sys/beneath.h"
#include "compat/sys/beneath_impl.h"

#include "compat/base/limits.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool forced_walk;
static bool no_openat2; /* the system said so once */

void beneath_force_walk(bool walk)
{
    forced_walk = walk;
}

bool beneath_uses_openat2(void)
{
    return !forced_walk && !no_openat2;
}

/* True for a component that stays where it is: not empty, "." or "..". */
static bool plain_component(const char *name, size_t len)
{
    return len && !(len == 1 && name[0] == '.') && !(len == 2 && name[0] == '.' && name[1] == '.');
}

/* True if every component of path is plain; "a//b" and "a/" are not. */
static bool plain_path(const char *path)
{
    if (strlen(path) >= LIMIT_PATH)
        return false;
    for (;;) {
        size_t len = strcspn(path, "/");

        if (!plain_component(path, len))
            return false;
        if (!path[len])
            return true;
        path += len + 1;
    }
}

/*
 * Stops: a directory on the way being swapped for a link between two looks. Each step opens one component of the
 * directory just opened, refuses links, and never looks at the earlier part of the path again.
 */
static int walk(int root, const char *path)
{
    char name[LIMIT_PATH];
    int dir = -1;

    for (;;) {
        size_t len = strcspn(path, "/");
        int next;

        memcpy(name, path, len);
        name[len] = '\0';
        next = openat(dir < 0 ? root : dir, name, BENEATH_DIR_FLAGS);
        if (dir >= 0) {
            int saved = errno;

            close(dir);
            errno = saved;
        }
        if (next < 0 || !path[len])
            return next;
        dir = next;
        path += len + 1;
    }
}

int beneath_open_dir(int root, const char *path)
{
    int fd;

    if (!*path)
        return openat(root, ".", BENEATH_DIR_FLAGS);
    if (!plain_path(path)) {
        errno = strlen(path) >= LIMIT_PATH ? ENAMETOOLONG : EINVAL;
        return -1;
    }
    /* A single component needs no walk, and one call fewer to know about. */
    if (forced_walk || no_openat2 || !strchr(path, '/'))
        return walk(root, path);
    fd = beneath_openat2_dir(root, path);
    if (fd >= 0 || errno != ENOSYS)
        return fd;
    no_openat2 = true;
    return walk(root, path);
}

int beneath_open_parent(int root, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    char parent[LIMIT_PATH];
    int fd;

    if (!plain_path(path)) {
        errno = strlen(path) >= LIMIT_PATH ? ENAMETOOLONG : EINVAL;
        return -1;
    }
    if (slash) {
        memcpy(parent, path, (size_t)(slash - path));
        parent[slash - path] = '\0';
    } else {
        parent[0] = '\0';
    }
    fd = beneath_open_dir(root, parent);
    if (fd >= 0)
        *ret_name = slash ? slash + 1 : path;
    return fd;
}
