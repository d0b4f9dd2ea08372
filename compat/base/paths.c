#include "compat/base/paths.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"

#include <stdlib.h>
#include <string.h>

/* Removes the last component of out[0..len), which begins at root; returns the new length. */
static size_t drop_last(const char *out, size_t root, size_t len)
{
    while (len > root && out[len - 1] != '/')
        len--;
    return len > root ? len - 1 : root;
}

/* Whether the last component of out[0..len) is "..", which cannot be taken back. */
static bool ends_in_dotdot(const char *out, size_t root, size_t len)
{
    return len >= root + 2 && out[len - 1] == '.' && out[len - 2] == '.' && (len == root + 2 || out[len - 3] == '/');
}

char *path_clean(const char *path)
{
    size_t root = path[0] == '/', len = root;
    char *out = xmalloc(strlen(path) + 2);

    if (root)
        out[0] = '/';
    while (*path) {
        size_t n = strcspn(path, "/");

        if (n == 2 && path[0] == '.' && path[1] == '.' && (root || (len > 0 && !ends_in_dotdot(out, root, len)))) {
            len = drop_last(out, root, len);
        } else if (n > 0 && !(n == 1 && path[0] == '.')) {
            if (len > root)
                out[len++] = '/';
            memcpy(out + len, path, n);
            len += n;
        }
        path += n + (path[n] == '/');
    }
    if (len == 0)
        out[len++] = '.';
    out[len] = '\0';
    return out;
}

char *path_absolute(const char *cwd, const char *path)
{
    cleanup_free char *joined = path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", cwd, path);

    return path_clean(joined);
}

bool path_within(const char *path, const char *parent)
{
    size_t len = strlen(parent);

    if (len == 1 && parent[0] == '/')
        return path[0] == '/';
    return strncmp(path, parent, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

unsigned path_depth(const char *path)
{
    unsigned depth = 0;

    for (size_t i = 0; path[i]; i++)
        if (path[i] == '/' && path[i + 1] != '\0')
            depth++;
    return depth;
}
