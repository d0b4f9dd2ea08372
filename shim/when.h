/* Points in time as people type them: logs --since, prune --filter until=. */
#ifndef ATP_SHIM_WHEN_H
#define ATP_SHIM_WHEN_H

#include <stdint.h>

struct err;

/*
 * Seconds of the epoch ("1700000000.25"), a date with or without a time (of our own zone unless it says one), or how
 * long ago ("1h30m"). Nanoseconds of the epoch.
 */
int when_parse(const char *s, int64_t *ret_ns, struct err *err);

#endif
