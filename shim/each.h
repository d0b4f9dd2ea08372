/*
 * Commands that do one thing to each container of their line: what succeeded is printed as it was typed, what failed as
 * a line on stderr, and the others are done all the same.
 */
#ifndef ATP_SHIM_EACH_H
#define ATP_SHIM_EACH_H

#include "shim/container.h"

struct opt_parsed;
struct strlist;

/* c is found and as the state has it. 0, or -1 with err. */
typedef int each_fn(struct container *c, const char *word, void *arg, struct err *err);

struct each {
    each_fn *fn;
    void *arg;
    bool forgive;     /* a container that is not there is said, and no failure */
    const char *verb; /* in front of the word in the text for it: "cannot kill container"; NULL: none */
};

/*
 * With more than one name the containers are dealt with at the same time, by processes of our own; what they say comes
 * in the line's order. Returns the exit code: 1 if one failed.
 */
int each_container(struct app *app, const struct opt_parsed *opts, const struct each *each);

/* The same one after the other; failed (may be NULL) gets the words that failed. */
int each_in_turn(struct app *app, const struct opt_parsed *opts, const struct each *each, struct strlist *ret_failed);

#endif
