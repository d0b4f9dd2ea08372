/*
 * The output of several containers on our stdout and stderr, line by line, each with the name of its container in front
 * if wanted. Each container is followed by a process of its own, which does what `docker logs` does.
 *
 *     struct streams *s = streams_new(app, prefix, colours);
 *     streams_add(s, "web-1", id, &options, true, token); ...
 *     while (streams_turn(s, 1000, &token)) ...
 *     streams_free(s);
 */
#ifndef ATP_SHIM_COMPOSE_STREAMS_H
#define ATP_SHIM_COMPOSE_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app;
struct strlist;
struct streams;

struct streams *streams_new(struct app *app, bool prefix, bool colours);
void streams_free(struct streams *s); /* ends those that still follow */

struct stream_request {
    const char *name; /* in front of its lines */
    const char *id;
    const struct strlist *options; /* of `docker logs` */
    bool both_to_stdout;           /* as `compose logs` has it */
    bool stamps;                   /* our time in front of each line (up --timestamps) */
    /* Wait for its next life before following: it runs, or started later than this. -1: no. */
    int64_t after_ns;
    void *token;
};
void streams_add(struct streams *s, const struct stream_request *r);
/* How wide the names in front of the lines are, and at least so much from now on. */
size_t streams_width(struct streams *s, size_t at_least);
bool streams_busy(const struct streams *s);

/* Something happened, or the time is over, or a signal came. 1: the one with *ret_token has ended. */
int streams_turn(struct streams *s, int64_t timeout_ms, void **ret_token);

#endif
