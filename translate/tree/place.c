#include "translate/tree/place.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"

#include <stdlib.h>
#include <string.h>

void place_clear(struct place *p)
{
    free(p->dir);
    free(p->name);
    *p = (struct place){NULL, NULL};
}

static bool ends_in_slash(const char *path)
{
    size_t len = strlen(path);

    return len && path[len - 1] == '/';
}

/* Its last component is ".", as Go's filepath.Base sees it: slashes at the end do not count, and nothing is ".". */
static bool ends_in_dot(const char *path)
{
    size_t len = strlen(path);

    while (len && path[len - 1] == '/')
        len--;
    if (!len)
        return !*path;
    return path[len - 1] == '.' && (len == 1 || path[len - 2] == '/');
}

bool place_asserts_dir(const char *path)
{
    return ends_in_slash(path) || ends_in_dot(path);
}

char *place_keep_end(const char *clean, const char *given)
{
    const char *slash = ends_in_slash(clean) ? "" : "/";

    if (!ends_in_dot(clean) && ends_in_dot(given))
        return xasprintf("%s%s.%s", clean, slash, ends_in_slash(given) ? "/" : "");
    return xasprintf("%s%s", clean, ends_in_slash(given) ? slash : "");
}

char *place_base(const char *path)
{
    cleanup_free char *clean = path_clean(path);
    const char *slash = strrchr(clean, '/');

    if (ends_in_dot(path))
        return xstrdup(".");
    return xstrdup(slash && slash[1] ? slash + 1 : clean);
}

char *place_parent(const char *path)
{
    cleanup_free char *clean = path_clean(path);
    char *slash = strrchr(clean, '/');

    if (ends_in_dot(path))
        return xstrdup(clean);
    if (!slash)
        return xstrdup(".");
    slash[slash == clean] = '\0';
    return xstrdup(clean);
}

/* What the copied thing is called inside a directory; NULL if only what it holds is meant. */
static char *name_of(const char *base)
{
    return !strcmp(base, ".") || !strcmp(base, "/") ? NULL : xstrdup(base);
}

int place_choose(const struct tree_head *head, uint8_t root_type, const struct place_dest *dest, struct place *ret,
                 struct err *err)
{
    bool dir = root_type == TREE_DIR;
    cleanup_free char *base = NULL;

    if (dest->exists && dest->is_dir) {
        *ret = (struct place){.dir = xstrdup(dest->path), .name = name_of(head->base)};
        return 0;
    }
    if (dest->exists && dir)
        return err_set(err, 1, "cannot copy directory");
    if (!dest->exists && !dir && place_asserts_dir(dest->path))
        return err_set(err, 1, "no such directory");
    base = place_base(dest->path);
    *ret = (struct place){.dir = place_parent(dest->path), .name = name_of(base)};
    return 0;
}

int place_check_link(const char *root, const char *path, const char *text, struct err *err)
{
    cleanup_free char *where = NULL, *full = xasprintf("%s%s%s", root, strcmp(root, "/") ? "/" : "", path);
    cleanup_free char *parent = place_parent(full), *joined = xasprintf("%s/%s", parent, text);

    where = path_clean(joined);
    if (path_within(where, root))
        return 0;
    return err_set(err, 1, "invalid symlink \"%s\" -> \"%s\"", full, text);
}
