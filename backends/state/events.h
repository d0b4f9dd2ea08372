/*
 * What happened, for `docker events`: a table that whoever follows reads from where it stands. Only the newest
 * STATE_EVENTS_MAX are kept.
 */
#ifndef ATP_STATE_EVENTS_H
#define ATP_STATE_EVENTS_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct state;

#define STATE_EVENTS_MAX 10000 /* a day of a busy machine; a few MiB */

struct state_event {
    int64_t seq; /* rising, never used twice */
    int64_t time_ns;
    char *type, *action, *actor;
    char *attributes; /* a JSON object of strings */
};
void state_event_clear(struct state_event *e);

/* seq is given here. once: not NULL: only if no event with the same text is there. 1 = written, 0 = it was there. */
int state_event_add(struct state *s, const struct state_event *e, const char *once, struct err *err);

/* Whether one with this `once` is there: 1, 0, -1. */
int state_event_has(struct state *s, const char *once, struct err *err);

/* Those with a seq above `after` and a time of at least since_ns, oldest first, `max` at most; *ret is an array owned
 * by caller, each to be cleared. */
int state_event_list(struct state *s, int64_t after, int64_t since_ns, size_t max, struct state_event **ret,
                     size_t *ret_len, struct err *err);

/* The seq of the newest; 0: there was never one. */
int state_event_last(struct state *s, int64_t *ret_seq, struct err *err);

/* Another value than before: another process has written something into the state. A cheap look. */
int state_changes(struct state *s, int64_t *ret, struct err *err);

#endif
