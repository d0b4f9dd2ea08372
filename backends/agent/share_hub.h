/*
 * The hub's side of volumes that several containers have (translate/wire/share.h): it orders and passes on what the
 * members say, lets one in at a time while the others hold still, and says who saves. It keeps no files; what it holds
 * of a slow member's is bounded, as the others wait then.
 *
 *     the first SHARE frame:   share_guest_join(); every other one: share_guest_frame()
 *     the link's end:          share_guest_gone(), at once; share_hub_sweep() between two turns of the loop, before the
 *                              link's memory goes
 */
#ifndef ATP_AGENT_SHARE_HUB_H
#define ATP_AGENT_SHARE_HUB_H

struct err;
struct link;
struct share;
struct share_guest;
struct share_hub;
struct wire_frame;

struct share_hub *share_hub_new(void);
void share_hub_free(struct share_hub *h); /* NULL is fine */
void share_hub_sweep(struct share_hub *h);

/* The token was looked at. link is borrowed until the sweep behind share_guest_gone(). */
struct share_guest *share_guest_join(struct share_hub *h, struct link *link, const struct share *join);
int share_guest_frame(struct share_guest *g, const struct wire_frame *f, struct err *err);
void share_guest_drained(struct share_guest *g);
void share_guest_gone(struct share_guest *g); /* NULL is fine */

#endif
