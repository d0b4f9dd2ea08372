/*
 * Who gets what a process writes: the sessions that listen, each within its own credit. The slowest holds the process;
 * nobody listening holds nothing. What is left in the pipes when a process has gone is kept here for whoever is slow,
 * so that nobody else has to wait for them.
 */
#ifndef ATP_AGENT_VIEW_H
#define ATP_AGENT_VIEW_H

#include "translate/wire/wire.h"

#include <stdbool.h>

struct err;
struct link;

/* One session that has joined a process; part of its connection. */
struct view {
    struct view *next;
    struct link *link;
    size_t credit;
    bool listens;      /* output goes here */
    bool owns;         /* it started the process: its reader's end is the process's SIGPIPE */
    bool closed[2];    /* its reader of this stream is gone */
    bool feeds;        /* may send STDIN */
    bool feed_ended;   /* and has ended it */
    size_t uncredited; /* stdin that was taken, and the client not told */
    struct buf late[2];
    bool exit_known, exit_sent;
    struct wire_exit exit;
};

struct views {
    struct view *first;
};

void view_init(struct view *v, struct link *link, bool listens, bool feeds);
void view_clear(struct view *v);

void views_join(struct views *l, struct view *v);
void views_leave(struct views *l, struct view *v); /* harmless if it never joined */

/* How much of stream 0 (stdout) or 1 (stderr) everybody has room for; want if nobody listens. */
size_t views_room(const struct views *l, int stream, size_t want);
bool views_listen(const struct views *l);
/* len is at most views_room(), or beyond: what a session has no credit for is kept for it. */
void views_write(struct views *l, int stream, const void *bytes, size_t len);
void views_started(struct views *l, int32_t pid);
/* EXIT for everybody, after all output. */
void views_exit(struct views *l, const struct wire_exit *e);

/* CREDIT from the session. -1: it granted more than was used. */
int view_take_credit(struct view *v, const struct wire_frame *f, struct err *err);
/* stdin was taken: the session is told now and then, or at once with all. */
void view_credit_stdin(struct view *v, size_t taken, bool all);
void view_started(struct view *v, int32_t pid);
/* For one that has joined nothing. */
void view_write(struct view *v, int stream, const void *bytes, size_t len);
/* EXIT, as soon as all output is sent. */
void view_exit(struct view *v, const struct wire_exit *e);

#endif
