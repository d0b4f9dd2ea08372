/* What `watch` does for services whose image is to be built again, and how it speaks. */
#ifndef ATP_SHIM_COMPOSE_WATCH_BUILD_H
#define ATP_SHIM_COMPOSE_WATCH_BUILD_H

#include "shim/compose/watching.h"

/* A line, or several, on stdout. */
void watch_say(const char *prefix, const char *text);

/* A docker command in a process of its own that prints what it has to say. Its exit code. */
int watch_call(struct app *app, const char *path, const struct strlist *words);

/* Images and containers of these services are made anew, and started; shown: their names for texts. */
int watch_rebuild(struct team *w, const struct strlist *names, const char *shown, const struct watching_how *how,
                  struct err *err);

#endif
