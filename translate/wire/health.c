#include "translate/wire/codec.h"

#include "compat/base/alloc.h"

#include <stdlib.h>

static const char *const status_names[WIRE_HEALTH_MAX] = {
    [WIRE_HEALTH_NONE] = "none",
    [WIRE_HEALTH_STARTING] = "starting",
    [WIRE_HEALTH_HEALTHY] = "healthy",
    [WIRE_HEALTH_UNHEALTHY] = "unhealthy",
};

const char *wire_health_name(uint8_t status)
{
    return status < WIRE_HEALTH_MAX ? status_names[status] : "none";
}

void wire_health_clear(struct wire_health *h)
{
    strlist_clear(&h->test);
    *h = (struct wire_health){0};
}

void wire_health_copy(struct wire_health *to, const struct wire_health *from)
{
    *to = *from;
    to->test = (struct strlist){0};
    strlist_copy(&to->test, &from->test);
}

void wire_names_clear(struct wire_names *n)
{
    free(n->token);
    free(n->hub);
    free(n->self);
    strlist_clear(&n->members);
    strlist_clear(&n->hosts);
    *n = (struct wire_names){0};
}

void wire_names_copy(struct wire_names *to, const struct wire_names *from)
{
    *to = (struct wire_names){.token = xstrdup(from->token),
                              .hub = xstrdup(from->hub),
                              .self = xstrdup(from->self),
                              .internal = from->internal};
    strlist_copy(&to->members, &from->members);
    strlist_copy(&to->hosts, &from->hosts);
}
