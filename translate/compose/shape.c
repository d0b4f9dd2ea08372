#include "translate/compose/shape.h"

#include <string.h>

const struct shape *shape_as(const struct shape *s, unsigned type)
{
    if (!s)
        return NULL;
    if (s->types & type)
        return s;
    for (size_t i = 0; i < sizeof(s->one_of) / sizeof(*s->one_of) && s->one_of[i]; i++)
        if (s->one_of[i]->types & type)
            return s->one_of[i];
    return NULL;
}

const struct key *shape_key(const struct shape *s, const char *name)
{
    const struct shape *object = shape_as(s, TYPE_OBJECT);

    if (!object || !object->keys)
        return NULL;
    for (const struct key *k = object->keys; k->name; k++)
        if (strcmp(k->name, name) == 0)
            return k;
    return NULL;
}

bool shape_is_extension(const char *name)
{
    return strncmp(name, "x-", 2) == 0;
}
