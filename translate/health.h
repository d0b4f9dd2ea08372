/*
 * Health checks: the words of --health-* and an image's HEALTHCHECK, as the JSON object that Docker shows as
 * Config.Healthcheck ({"Test":["CMD-SHELL","..."],"Interval":ns,...}; what nobody said is left out).
 */
#ifndef ATP_TRANSLATE_HEALTH_H
#define ATP_TRANSLATE_HEALTH_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stdint.h>

struct err;
struct opt_parsed;

/* What the line says, owned by caller; NULL in *ret: nothing. Texts are those of docker's client and daemon. */
int health_from_opts(const struct opt_parsed *p, char **ret, struct err *err);

/* The line's over the image's, field by field, as the daemon does; either may be NULL. Owned by caller. */
char *health_merge(const char *line, const char *image);

/* An object taken apart. false: there is no check (NULL, no test, NONE, or of a kind that nobody knows). */
struct health_plan {
    struct strlist test; /* "CMD" or "CMD-SHELL", then the words */
    int64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns;
    uint32_t retries; /* 0 everywhere: the default */
};
bool health_plan_read(const char *json, struct health_plan *ret);
void health_plan_clear(struct health_plan *p);

#endif
