/*
 * A project's files are watched, and its services follow what changes: `develop.watch` of the file, for `compose watch`
 * and `up --watch`. The containers are there.
 *
 * What it has to say are lines on stdout. What is being done when it is ended is done by processes of their own
 * (jobs.h), which see it through; nothing else is left.
 */
#ifndef ATP_SHIM_COMPOSE_WATCHING_H
#define ATP_SHIM_COMPOSE_WATCHING_H

#include "shim/compose/team.h"

struct watching_how {
    const char *prefix; /* in front of each line */
    bool quiet;         /* builds say nothing */
    bool prune;         /* images that nobody needs any more go after a build */
    bool no_build;
};

/* Whether one of the services has something to be watched. */
bool watching_wanted(const struct team *w);

/* Until a signal comes: its number; -1 and err. */
int watching_run(struct team *w, const struct watching_how *how, struct err *err);

#endif
