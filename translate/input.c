#include "translate/input.h"

#include "compat/base/err.h"

#include <string.h>

static const char *environ_get(char *const *environ, const char *key)
{
    size_t len = strlen(key);

    for (char *const *e = environ; e && *e; e++)
        if (strncmp(*e, key, len) == 0 && (*e)[len] == '=')
            return *e + len + 1;
    return NULL;
}

const char *input_env(const struct input *in, const char *key)
{
    return environ_get(in->environ, key);
}

const char *environ_nonempty(char *const *environ, const char *key)
{
    const char *value = environ_get(environ, key);

    return value && *value ? value : NULL;
}

int input_check_path(const struct input *in, const char *path, struct err *err)
{
    if (path[0] == '/' || in->cwd)
        return 0;
    return err_set(err, 125, "%s: the current directory is gone: use an absolute path", path);
}
