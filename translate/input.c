#include "translate/input.h"

#include <string.h>

const char *input_env(const struct input *in, const char *key)
{
    size_t len = strlen(key);

    for (char *const *e = in->environ; e && *e; e++)
        if (strncmp(*e, key, len) == 0 && (*e)[len] == '=')
            return *e + len + 1;
    return NULL;
}
