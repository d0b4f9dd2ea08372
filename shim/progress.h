/*
 * Progress of pull, push and load as Docker draws it: one line per layer that is drawn anew on a terminal, one plain
 * line per change of state otherwise, nothing when quiet.
 */
#ifndef ATP_SHIM_PROGRESS_H
#define ATP_SHIM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress;

/* to NULL: quiet. A terminal is noticed. */
struct progress *progress_new(FILE *to);
void progress_free(struct progress *p); /* NULL is fine; leaves the last state on the terminal */

/* A line of its own, between the layers' lines: "latest: Pulling from library/x". */
void progress_line(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* id: 12 characters; state: "Waiting", "Pushed"...; total < 0: no bar. Cheap: draws at most some ten times a second. */
void progress_state(struct progress *p, const char *id, const char *state);
void progress_bytes(struct progress *p, const char *id, const char *state, int64_t done, int64_t total);

/* A server's log, as it comes: its lines of the form "<12 hex digits>: Pull complete" are states, the rest is not
 * shown.
 */
void progress_log(struct progress *p, const char *text);
/* Whether the layer's last state is this one. */
bool progress_is(const struct progress *p, const char *id, const char *state);
/* Whether lines are drawn over one another. */
bool progress_draws(const struct progress *p);

#endif
