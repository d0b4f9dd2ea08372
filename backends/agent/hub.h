/*
 * The hub of a pod's names: `init --hub --hub-token TOKEN` listens on AGENT_HUB_PORT, and every other agent of the pod
 * that says the token is a member for as long as its connection lasts (translate/wire/wire.h, NAMES); JOIN again tells
 * new names. Whoever does not say it within HUB_PATIENCE is dropped. A member whose `self` is there already takes the
 * older one's place: the older one's end was not seen yet.
 */
#ifndef ATP_AGENT_HUB_H
#define ATP_AGENT_HUB_H

#include <stddef.h>
#include <stdint.h>

struct agent_options;
struct err;
struct hub;
struct loop;

#define HUB_PATIENCE 5000   /* ms for JOIN */
#define HUB_NAMES    800000 /* bytes of all names: a TABLE is one frame */

/* changed is called when a member has come or gone. NULL: the port cannot be had. */
struct hub *hub_new(struct loop *loop, const struct agent_options *options, void (*changed)(void *arg), void *arg,
                    struct err *err);
void hub_free(struct hub *h); /* NULL is fine */
/* Members that are linked now; 0 for NULL. */
size_t hub_members(const struct hub *h);
/* Frees those that ended: to be called between two turns of the loop. NULL is fine. */
void hub_sweep(struct hub *h);

#endif
