/*
 * Tunnels of a container that asked for some (modal.encrypted_ports, h2_ports, unencrypted_ports): `docker inspect`
 * shows them as Atp.Tunnels, [{"Port": 8000, "Kind": "encrypted", "Url": "https://..."}], and `docker port` as lines,
 * "8000/tcp -> https://...". A raw one's Url is HOST:PORT. The server is asked once, when the container's sandbox is there.
 */
#ifndef ATP_SHIM_TUNNELS_H
#define ATP_SHIM_TUNNELS_H

#include "backends/state/state.h"

#include <jansson.h>

struct app;
struct container;
struct strlist;

/* c is loaded and has a place. What the server does not say is asked again by tunnels_learn(). */
void tunnels_remember(struct container *c);
/* The same if nothing is known yet. */
void tunnels_learn(struct container *c);

/* Into a record whose container runs: Atp.Tunnels, from what is known. */
void tunnels_show(struct app *app, const struct state_container *row, json_t *record);

/* Lines of `docker port` for all, or for one port ("80", "80/tcp"). */
void tunnels_lines(const json_t *record, const char *private, struct strlist *ret);

#endif
