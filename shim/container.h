/*
 * A container's life, for all verbs: found, started, joined, ended, put away, removed. The state is a memory; the truth
 * is what the server and the agent say, and this room brings the two together.
 *
 * LOCKS, both flock(2) on files below <state>/containers/<id>/, so a killed process holds none:
 *     lock    who changes the life (start, stop's last part, settle, rm, restart, rename). Short; never held while a
 *             command of the user runs.
 *     owner   held by whoever watches the end: a foreground `run`, or the monitor. While it is held the row in the
 *             state is right; when it is free, container_refresh() asks the server. It belongs to one life: a monitor
 *             whose sandbox is no longer the row's lets go of it and touches nothing, and who starts the container
 *             again has it before there is a new sandbox.
 *
 * THE END of a container is carried out by container_settle(), under the lock, by whoever comes first (the monitor, the
 * stopper, the next command): changes of its mounts are pulled, its log is fetched, its file system is saved as an
 * image (unless --rm), the sandbox is terminated, the row says exited and has no sandbox_id any more; with --rm it is
 * removed. Each step may be repeated; a kill in between leaves the row "exited, with sandbox_id" for the next one.
 */
#ifndef ATP_SHIM_CONTAINER_H
#define ATP_SHIM_CONTAINER_H

#include "backends/state/state.h"
#include "shim/binds.h"
#include "translate/record.h"

#include <stdbool.h>

struct app;
struct err;
struct forward_sockets;
struct inquiry_tree;
struct modal_task;
struct wire_ask;

enum {
    CONTAINER_NO_SUCH = 0x6101,
    CONTAINER_NOT_RUNNING = 0x6102,
    CONTAINER_PULL_FAILED = 0x6103,
    CONTAINER_AGENT_FAILED = 0x6104
}; /* err->code */

struct container {
    struct app *app;
    struct state_container row;
    struct container_spec spec; /* decoded from row.record by container_load() */
    struct process_spec process;
    bool loaded;
    int lock_fd, owner_fd;           /* -1 */
    struct modal_task *task;         /* by container_open() */
    struct forward_sockets *sockets; /* of its published ports, bound and not given to their process yet */
    char *intent;                    /* name of a sandbox that is about to be asked for (sandbox_intend) */
    bool woken;                      /* the sandbox was made by container_wake() */
    int seen; /* what its agent said of its process to the last question (WIRE_MAIN_*); -1: nothing */
};

void container_init(struct container *c, struct app *app);
void container_clear(struct container *c); /* releases locks too */
bool container_is(const struct container *c, const char *status);
/* A sandbox is, or may be, there and its process too. */
bool container_may_run(const struct container *c);

/* <state>/containers/<id>[/name]; owned by caller. container_dir_make() makes the folder, 0700. */
char *container_path(const char *id, const char *name);
int container_dir_make(const char *id, struct err *err);
void container_dir_remove(const char *id); /* with all that is in it */

int64_t container_now_ns(void);

/* status, exit_code and finished_ns of the value: it has ended. ended_ns 0: now. One that has ended already keeps how.
 */
void container_set_exited(struct state_container *row, int code, int64_t ended_ns);
void container_set_status(struct state_container *row, const char *status);
/* Whoever has written the end of a life into the state calls it: the ports are free then, and it is an event. */
void container_died(struct container *c);

/*
 * By id, name or unique prefix. -1: "Error response from daemon: No such container: x" (CONTAINER_NO_SUCH). A state
 * that is new, or a shared scope, asks the server for containers of this scope first (container_recover()). The row may
 * be out of date: container_refresh().
 */
int container_find(struct container *c, const char *word, struct err *err);
int container_load(struct container *c, struct err *err); /* spec and process from the record */

/* Waits for the lock; re-reads the row afterwards. CONTAINER_NO_SUCH if it is gone then. */
int container_lock(struct container *c, struct err *err);
int container_lock_now(struct container *c, bool *ret_had, struct err *err); /* does neither */
int container_reread(struct container *c, struct err *err);
void container_unlock(struct container *c);
bool container_watched(const struct container *c); /* somebody holds `owner` */
int container_own(struct container *c);            /* takes `owner`; -1 if somebody else has it */
/*
 * The same for who begins the next life, under the lock, with the last one's sandbox gone from the row: a monitor of
 * that life may still be there, on its way out, and is waited for. Without `owner` a life that has no process yet would
 * be taken for what a killed client left (container_settle()). One that hangs is not waited for longer than a moment:
 * it will find its life gone, and leaves the new one to whoever started it.
 */
int container_own_next(struct container *c);

/* If nobody watches and the row says that it runs: asks; if it has ended the row says so afterwards and a monitor is
 * started for the rest. Cheap otherwise. What a killed client left half-made is undone. */
int container_refresh(struct container *c, struct err *err);
/* The same for all rows, several questions at once; for ps. */
int container_refresh_all(struct app *app, struct err *err);
/* Its process has ended, its agent says: returns when the row says so too, which whoever watches sees to. Who waited
 * for the end and asks then is not told that it runs. */
void container_see_end(struct container *c);
/*
 * Containers of this scope that the server knows and the state does not: their records are asked of their agents. Such
 * a record is the container's word (translate/record.h), so container_load() leaves its mounts out.
 * container_may_recover(): worth it, because this state has never asked this server or shares its scope.
 */
bool container_may_recover(struct app *app);
int container_recover(struct app *app, struct err *err);

/* It is being started at this moment: the row says that it runs and its process may not be there yet. */
bool container_is_starting(struct container *c);

/* The server that its sandbox is on is the one that this command speaks to (connects to it). */
int container_reach(struct container *c, struct err *err);
/* The way to its running sandbox in c->task. CONTAINER_NOT_RUNNING with Docker's text "container <id> is not running".
 */
int container_open(struct container *c, struct err *err);
/*
 * A sandbox on its files in which its process does not run, for cp with a container that is not running; `save` then
 * keeps what was changed. The lock is held from one to the other. One that turns out to run, or to have a sandbox
 * still, is opened as it is.
 */
int container_wake(struct container *c, struct err *err);
int container_sleep(struct container *c, bool save, struct err *err);

/*
 * Something asked of its agent, without terminal (WIRE_ASK_*); mounts are exchanged around it when with_mounts.
 * CONTAINER_NOT_RUNNING; CONTAINER_PULL_FAILED: it was carried out, *ret_code is set, and what the container changed
 * was not brought back; CONTAINER_AGENT_FAILED: its agent does not answer, or not as an agent must (who is root in the
 * container can see to that), and the server says that its sandbox is there.
 */
int container_ask(struct container *c, const struct wire_ask *ask, bool with_mounts, int *ret_code, struct err *err);

/* Its agent keeps row.record from now on. One that cannot be told keeps the old one, which only a state that is lost
 * would ask for. */
void container_tell_record(struct container *c);

/* The same with a tree that comes or goes meanwhile (cp). */
int container_copy(struct container *c, const struct wire_ask *ask, const struct inquiry_tree *tree, void *arg,
                   bool with_mounts, int *ret_code, struct err *err);

/*
 * Sees the end through; see above. Under the lock. 0 = it has ended and all is away; 1 = its process runs. -1: not all
 * could be brought away (the server is gone, a pull failed); it can be tried again. With --rm the row is removed.
 */
int container_settle(struct container *c, struct err *err);
/* On stderr, once: the last life ended with its sandbox, and its volumes go back to their last save. */
void container_tell_loss(struct container *c);
/* Its file system as an image, in the row; c->task is the way to it. */
int container_keep_files(struct container *c, struct err *err);
/*
 * Said before a stop by who removes the container as soon as it has ended: its end need not keep its files, which takes
 * longer than all the rest. If that never comes to be, a later start begins with its image; it takes the word back.
 */
void container_doom(const char *id, bool doomed);
/*
 * What stop and kill come to when the agent has failed: the server ends the sandbox, whatever is said in it. Its files
 * are kept first, unless --rm; its log, and what it changed in its mounts since the last exchange, are not. `why` is
 * told on stderr and cleared.
 */
int container_end_by_server(struct container *c, struct err *why, struct err *err);
/*
 * rm, not under the lock: with force a running one is killed first, its changes pulled. CONTAINER_NO_SUCH if somebody
 * else was faster.
 */
int container_remove(struct container *c, bool force, struct err *err);
/* Starts the process that watches the end of this life, row.sandbox_id's (shim/monitor.c), unless somebody does. */
void container_watch(struct container *c);

#endif
