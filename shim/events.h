/*
 * What happened, for `docker events`: whoever makes a thing happen writes it down here, in the state's table of events
 * (backends/state/events.h). An event that cannot be written costs nobody anything: these functions have no errors.
 *
 * Docker's words for type and action: container create, start, die, stop, kill, destroy, rename, restart, pause...;
 * image pull, tag, untag, delete, push...; network create, connect, disconnect, destroy; volume create, mount, unmount,
 * destroy.
 */
#ifndef ATP_SHIM_EVENTS_H
#define ATP_SHIM_EVENTS_H

struct app;
struct container;

/*
 * Of a container: its image, name and labels are added. What follows the action are pairs of name and value, up to a
 * NULL: event_container(c, "kill", "signal", "9", NULL).
 */
void event_container(struct container *c, const char *action, ...) __attribute__((sentinel));

/* The same at most once in this life of it (row.started_ns), whoever sees it first: "start", "die". */
void event_container_once(struct container *c, const char *action, ...) __attribute__((sentinel));

/* "signal" in Docker's words: its number. */
void event_kill(struct container *c, int signo);

/* What an exec does: exec_create and exec_start, with its words; and exec_die. id: its own, of event_exec_id(). */
struct strlist;
#define EVENT_EXEC_ID_MAX 65
void event_exec_id(char ret[EVENT_EXEC_ID_MAX]);
void event_exec_started(struct container *c, const struct strlist *argv, const char *id);
void event_exec_died(struct container *c, const char *id, int code);

/* Its process has ended, row says how: "die", once. Whoever writes "exited" into a row calls it. */
void event_died(struct container *c);

/* id: what Docker gives as Actor.ID: the id or the reference; name: the attribute, NULL = id. */
void event_image(struct app *app, const char *action, const char *id, const char *name);

/* At its start: what Docker connects and mounts for it, the bridge where it asked for no network of its own, and its
 * volumes. Its end tells the other half. */
void event_joins(struct container *c);

/* container: id of who is connected or disconnected; NULL otherwise. */
void event_network(struct app *app, const char *action, const char *id, const char *name, const char *container);

/* create and destroy: container NULL. mount: with its target and whether it may be written to. */
void event_volume(struct app *app, const char *action, const char *name, const char *container, const char *target,
                  int writable);

#endif
