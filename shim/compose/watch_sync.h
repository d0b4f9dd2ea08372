/* Files of this machine are put into the containers of a service, and taken out of them, as `watch` has it. */
#ifndef ATP_SHIM_COMPOSE_WATCH_SYNC_H
#define ATP_SHIM_COMPOSE_WATCH_SYNC_H

#include "shim/compose/team.h"

/* from[i] (this machine's) is to[i] in the containers; what is not here any more is taken away there. */
int watch_sync(struct team *w, const char *service, const struct strlist *from, const struct strlist *to,
               struct err *err);

#endif
