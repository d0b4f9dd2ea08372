/* The parts of canonical.c; compose.h has what others call. */
#ifndef ATP_COMPOSE_CANONICAL_H
#define ATP_COMPOSE_CANONICAL_H

#include "translate/compose/compose.h"

/* loose: variables are still in the texts, so what is not understood stays. */
int compose_canonical_loose(struct cnode *file, bool loose, struct err *err);

struct cnode *canonical_map1(const char *key, const char *text); /* {key: text} */

/* "src:dst:ro" -> {type, source, target, ...}; NULL with err. */
struct cnode *canonical_mount(const char *spec, struct err *err);
/* The service's list of ports, each range taken apart. */
int canonical_ports(struct cnode *service, const char *where, bool loose, struct err *err);

#endif
