/* `docker events`: which events are asked for, and how one is shown. Pure. */
#ifndef ATP_TRANSLATE_EVENT_FILTER_H
#define ATP_TRANSLATE_EVENT_FILTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct buf;
struct err;
struct strlist;

struct event_shown { /* borrowed */
    int64_t time_ns;
    const char *type, *action, *actor;
    const json_t *attributes; /* an object of strings */
};

struct event_filter;
/* words: "key=value" of --filter; NULL and the daemon's text. */
struct event_filter *event_filter_new(const struct strlist *words, struct err *err);
void event_filter_free(struct event_filter *f); /* NULL is fine */
bool event_filter_takes(const struct event_filter *f, const struct event_shown *e);

/* As the daemon writes it: status, id and from where they belong, Type, Action, Actor...; owned by caller. */
json_t *event_json(const struct event_shown *e);
/* A field of Go's structure that the JSON does not have, or spells otherwise: a tmpl_absent_fn. */
json_t *event_absent(const json_t *object, const char *name);

/* "2026-11-21T19:34:42.965583980Z container create <id> (image=bb, name=im)", with a newline; in local time. */
void event_line(const struct event_shown *e, struct buf *out);

#endif
