/* The parts of render_json.c, which the hash of a service uses too. */
#ifndef ATP_COMPOSE_RENDER_H
#define ATP_COMPOSE_RENDER_H

#include "translate/compose/compose.h"

/* The tree that JSON shows of the model, of one service. Owned by caller. */
struct cnode *json_model(const struct cnode *model);
struct cnode *json_service(const struct cnode *service);
struct cnode *json_resource(const struct cnode *resource, const char *kind); /* of "networks" or "volumes" */

/* All maps in the order of JSON: bytes. */
void json_sort(struct cnode *n);
/* depth 0: indented; -1: on one line. */
void json_node(struct buf *out, const struct cnode *n, int depth);

#endif
