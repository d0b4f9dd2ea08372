/*
 * The health of containers that have a check (--health-*, HEALTHCHECK). The agent runs the checks; it is asked, or
 * tells when the status changes (WIRE_ASK_HEALTH, with WIRE_ASK_FOLLOW). The row keeps what was last heard: row.health,
 * the JSON text of .State.Health, NULL without a check.
 */
#ifndef ATP_SHIM_HEALTH_H
#define ATP_SHIM_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct container;
struct err;

enum health_status { HEALTH_NONE, HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY, HEALTH_STATUS_MAX };

/* "none", "starting", "healthy", "unhealthy" */
const char *health_status_name(enum health_status status);

struct wire_health;
/* What START says of it; false: there is no check. Cleared by caller all the same. */
bool health_on_wire(const struct container *c, struct wire_health *ret);

/* As the row has it: no question, no wait. */
enum health_status health_of(const struct container *c);

/* Asks its agent now and writes the answer into the row. One that does not run: as the row has it. */
int health_ask(struct container *c, enum health_status *ret, struct err *err);

/* What its agent said, one line of JSON: into the row and, if the status has changed, an event. */
void health_heard(struct container *c, const char *json);
/* The same where only the status is known (HELLO: enum wire_health_status). */
void health_hint(struct container *c, int wire_status);

struct health_watch {
    struct container *c;       /* found and loaded; borrowed */
    enum health_status status; /* what is known; the new one afterwards */
    bool changed;
    bool ended; /* it does not run (any more): c->row says how */
};

/*
 * Waits until the status of at least one of them is another than `status`, one has ended, or loop_now() reaches
 * until_ms (0: for ever). 1 = something changed, 0 = the time is over. For one container as for many, with one question
 * open for each.
 */
int health_wait(struct health_watch *list, size_t len, int64_t until_ms, struct err *err);

#endif
