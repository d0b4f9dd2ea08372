#include "shim/compose/contents.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/fs.h"
#include "translate/compose/compose.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define MODE_FILE 0444 /* whoever the container's user is, it reads them, as docker compose has it */

/* The project's folder; owned by caller. A project's name is a file name: letters, digits, "-" and "_". */
static char *folder_of(const char *project)
{
    cleanup_free char *state = fs_state_dir();

    return xasprintf("%s/contents/%s", state, project);
}

/* The text that is wanted, borrowed; NULL: there is a file, or it is the platform's. -1: err. */
static int text_of(const struct compose_project *p, const struct cnode *object, const char *section, const char *key,
                   const char **ret, struct err *err)
{
    const char *variable = cnode_str(object, "environment");

    *ret = NULL;
    if (!object || cnode_true(object, "external") || cnode_str(object, "file"))
        return 0;
    *ret = variable ? strlist_env_get(&p->environment, variable) : cnode_str(object, "content");
    if (variable && !*ret)
        return err_set(err, 1, "environment variable \"%s\" required by %.*s \"%s\" is not set", variable,
                       (int)strlen(section) - 1, section, key);
    return 0;
}

/* A file for each text, named by it: one that is there is right. */
static int write_text(const struct compose_project *p, struct cnode *object, const char *text, bool dry,
                      struct err *err)
{
    cleanup_free char *folder = folder_of(p->name), *path = NULL;
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    sha256(text, strlen(text), digest);
    sha256_hex(digest, hex);
    path = xasprintf("%s/%s", folder, hex);
    if (!dry && !fs_exists(path) &&
        (fs_mkdirs(folder, 0700, err) < 0 || fs_write_file(path, text, strlen(text), MODE_FILE, err) < 0))
        return -1;
    cnode_set(object, "file", cnode_string(path));
    return 0;
}

int contents_write(struct compose_project *p, const char *service, bool dry, struct err *err)
{
    static const char *const sections[] = {"secrets", "configs"};
    const struct cnode *s = cnode_get(cnode_get(p->model, "services"), service);

    for (size_t k = 0; k < 2; k++) {
        const struct cnode *uses = cnode_get(s, sections[k]);

        for (size_t i = 0; uses && i < uses->len; i++) {
            const char *key = cnode_str(uses->items[i], "source"), *text;
            struct cnode *object = key ? cnode_get(cnode_get(p->model, sections[k]), key) : NULL;

            if (text_of(p, object, sections[k], key, &text, err) < 0 ||
                (text && write_text(p, object, text, dry, err) < 0))
                return -1;
        }
    }
    return 0;
}

void contents_remove(const char *project)
{
    cleanup_free char *folder = folder_of(project);
    cleanup_dir DIR *d = opendir(folder);
    struct dirent *e;

    if (!*project || strchr(project, '/') || !d)
        return;
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    rmdir(folder);
}
