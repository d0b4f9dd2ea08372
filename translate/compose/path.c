#include "compat/base/paths.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "translate/compose/load.h"

#include <stdlib.h>
#include <string.h>

char *path_join(const char *dir, const char *path)
{
    cleanup_free char *both = NULL;

    if (!*dir || !*path)
        return *dir || *path ? path_clean(*dir ? dir : path) : xstrdup("");
    both = xasprintf("%s/%s", dir, path);
    return path_clean(both);
}

char *path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *dir = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup("");

    return path_clean(dir);
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

/* Length of what two clean paths have in common, whole components only. */
static size_t common(const char *a, const char *b)
{
    size_t i = 0, whole = 0;

    for (;; i++) {
        bool end_a = a[i] == '\0' || a[i] == '/', end_b = b[i] == '\0' || b[i] == '/';

        if (end_a && end_b)
            whole = i;
        if (a[i] != b[i] || a[i] == '\0')
            return whole;
    }
}

char *path_relative(const char *base, const char *path)
{
    cleanup_free char *from = path_clean(base), *to = path_clean(path);
    cleanup_buf struct buf out = BUF_INIT(LIMIT_CONFIG_FILE * 3);
    const char *f = strcmp(from, ".") != 0 ? from : "", *t = strcmp(to, ".") != 0 ? to : "";
    size_t shared;

    if (!strcmp(f, t))
        return xstrdup(".");
    shared = *f ? common(f, t) : 0;
    f += shared;
    t += shared;
    f += *f == '/';
    t += *t == '/';
    for (; *f; f += strcspn(f, "/"), f += *f == '/')
        buf_adds(&out, out.len ? "/.." : "..");
    if (*t)
        buf_addf(&out, "%s%s", out.len ? "/" : "", t);
    return buf_detach(&out);
}
