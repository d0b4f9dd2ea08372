#include "backends/engine/mounts.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define MOUNTS_MAX 1000 /* single binds: each is a mount point in the container */

/* True if the image has a real directory of that name. The topmost layer that has the name decides. */
static bool image_has_dir(const struct strlist *lowers, const char *path)
{
    for (size_t i = 0; i < lowers->len; i++) {
        cleanup_free char *full = xasprintf("%s%s", lowers->items[i], path);
        struct stat st;

        if (lstat(full, &st) == 0)
            return S_ISDIR(st.st_mode);
    }
    return false;
}

/* Everything directly in dir, whose path in the container is path ("" = the root). */
static int add_below(const char *dir, const char *path, const struct strlist *lowers, struct strlist *sources,
                     struct strlist *targets, unsigned depth, struct err *err)
{
    cleanup_dir DIR *d = opendir(dir);
    struct dirent *entry;

    if (!d)
        return err_set_errno(err, 125, errno, "open %s", dir);
    if (depth > LIMIT_DEPTH)
        return err_set(err, 125, "a mount is nested more than %u directories deep", LIMIT_DEPTH);
    while ((entry = readdir(d)) != NULL) {
        cleanup_free char *source = NULL, *target = NULL;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        source = xasprintf("%s/%s", dir, entry->d_name);
        target = xasprintf("%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR && image_has_dir(lowers, target)) {
            if (add_below(source, target, lowers, sources, targets, depth + 1, err) < 0)
                return -1;
            continue;
        }
        if (sources->len >= MOUNTS_MAX)
            return err_set(err, 125, "mounts put more than %d single files into directories of the image", MOUNTS_MAX);
        strlist_add(sources, source);
        strlist_add(targets, target);
    }
    return 0;
}

int mounts_add(const char *dir, const struct strlist *lowers, struct strlist *sources, struct strlist *targets,
               struct err *err)
{
    return add_below(dir, "", lowers, sources, targets, 0, err);
}
