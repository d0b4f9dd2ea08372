#include "shim/build/resolve.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/beneath.h"

#include <errno.h>
#include <string.h>

#define HOPS 255 /* as many links as BuildKit follows */

/* "a/b" -> "a"; "a" -> "". */
static void go_up(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash)
        *slash = '\0';
    else
        *path = '\0';
}

/* What stands at done/name: 1 = a link, whose text is given; 0 = something else; -1 and errno. */
static int look(int root, const char *path, char **ret_text)
{
    const char *name;
    cleanup_close int parent = beneath_open_parent(root, path, &name);
    struct stat st;

    if (parent < 0 || beneath_stat(parent, name, &st) < 0)
        return -1;
    if (!S_ISLNK(st.st_mode))
        return 0;
    *ret_text = beneath_readlink(parent, name);
    return *ret_text ? 1 : -1;
}

char *build_resolve(int root, const char *path, struct strlist *ret_links)
{
    cleanup_free char *rest = xstrdup(path), *done = xstrdup("");
    int hops = 0;

    while (*rest) {
        size_t len = strcspn(rest, "/");
        cleanup_free char *word = xstrndup(rest, len), *next = NULL, *text = NULL;
        char *left = xstrdup(rest[len] ? rest + len + 1 : "");
        int got;

        free(rest);
        rest = left;
        if (!*word || !strcmp(word, "."))
            continue;
        if (!strcmp(word, "..")) {
            go_up(done);
            continue;
        }
        next = *done ? xasprintf("%s/%s", done, word) : xstrdup(word);
        if (strlen(next) >= LIMIT_PATH) {
            errno = ENAMETOOLONG;
            return NULL;
        }
        got = look(root, next, &text);
        if (got < 0)
            return NULL;
        if (got == 0) {
            free(done);
            done = steal(&next);
            continue;
        }
        if (++hops > HOPS) {
            errno = ELOOP;
            return NULL;
        }
        if (ret_links && !strlist_has(ret_links, next))
            strlist_add(ret_links, next);
        if (*text == '/')
            *done = '\0';
        left = *rest ? xasprintf("%s/%s", text, rest) : xstrdup(text);
        free(rest);
        rest = left;
        if (strlen(rest) >= 4 * LIMIT_PATH) {
            errno = ENAMETOOLONG;
            return NULL;
        }
    }
    return steal(&done);
}
