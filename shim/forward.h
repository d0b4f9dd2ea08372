/*
 * Published ports. Whoever starts a container binds the listening sockets first, so that a port in use is told at the
 * start and nothing was made then; the sockets are inherited by a small process, `atp-docker atp forward ID SANDBOX`,
 * which carries each connection through one session with the container's agent (WIRE_ASK_FORWARD). It follows the
 * health check of the container too, if there is one, and writes what changes into the row (shim/health.h).
 *
 * Nothing depends on this process but the connections that it carries: the next command that looks at the container
 * starts another, on the same ports. It lives as long as row.sandbox_id stays the same and the container runs. It holds
 * the flock <state>/containers/<id>/forward, from before its start, passed on by the one who starts it.
 *
 * Nothing here asks the server for a port: the create request of the sandbox never has open ports because of -p.
 */
#ifndef ATP_SHIM_FORWARD_H
#define ATP_SHIM_FORWARD_H

#include <stdbool.h>

struct app;
struct container;
struct err;
struct forward_sockets;
struct strlist;

/*
 * Binds what the spec asks for, under the lock, before there is a sandbox: c->sockets; row.ports says what was bound
 * (in the value, not in the state: it goes there with STATE_PART_PORTS). Docker's error for a port in use, exit code
 * 125. A container without ports: 0 and nothing is done.
 */
int forward_bind(struct container *c, struct err *err);
void forward_sockets_free(struct forward_sockets *s); /* closes them; NULL is fine */

/* The process, with the sockets (they are its own from then on), for the life that row.sandbox_id says. */
void forward_start(struct container *c);

/*
 * For whoever looks at a container that runs: if its ports or its health are nobody's, the process is started again, on
 * the ports that the row says. Cheap otherwise. Ports that somebody else has taken meanwhile are left out.
 */
void forward_revive(struct container *c);
/* Whether its process is there. */
bool forward_lives(const struct container *c);

/* The container has ended: the process goes, and its ports are free when this returns. row.ports is cleared in the
 * value. */
void forward_stop(struct container *c);
void forward_stop_id(const char *id); /* the same where there is no more than its id */

/* The process itself; nobody reads its exit code. sockets: "FD=PORT", what it inherited and the ports of the container
 * that they are for. */
int forward_run(struct app *app, const char *id, const char *sandbox_id, const struct strlist *sockets,
                struct err *err);

#endif
