#include "translate/input.h"

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
