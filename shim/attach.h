/*
 * One command in a container, seen from the terminal: the session (its mounts pushed and pulled), the exec that carries
 * it, the user's stdin, stdout, stderr, terminal and signals, all on one loop until the command has ended.
 */
#ifndef ATP_SHIM_ATTACH_H
#define ATP_SHIM_ATTACH_H

#include "backends/session/session.h"

#include <stdbool.h>

struct app;
struct buf;
struct modal_task;

struct attach_request {
    const char *agent;      /* the agent's path in the container */
    const char *sandbox_id; /* whose end is the command's, whatever the connection still says */
    struct session_start start;
    const struct wire_ask *ask; /* instead of start: to join the container's process (ATTACH), its log (LOGS) */
    bool tty;                   /* with ask: the process has a terminal */
    const struct session_mount *mounts;
    size_t mounts_len;
    bool stdin_attached, stdout_attached, stderr_attached; /* what is not attached is read from nowhere, or dropped */
    bool raw_terminal;                                     /* our stdin is a terminal and the process has one: -it */
    bool sig_proxy;
    /* As docker exec: INT and TERM end us and nothing else, and so does a reader that has gone, if the command does not
     * end of its own accord then. */
    bool leaves;
    const char *detach_keys; /* with a terminal: NULL is Docker's default */
    bool quick;              /* no watch of the sandbox: the connection's own end is enough */
    const bool *enough;      /* set by log(): no more of it is wanted, the session is left. May be NULL */
    int64_t deadline_ms;     /* then the session is given up as lost, by the agent's doing; 0 = none */
    int64_t lifetime_ms; /* then the command is stopped, its changes are pulled and the code is ATTACH_TIME_OVER; 0 = no
                            limit */
    /* A piece of the log; what is to be printed of it is appended to out. NULL: none is expected. */
    void (*log)(void *arg, int64_t time_ns, int stream, const void *bytes, size_t len, struct buf *out);
    void (*started)(void *arg); /* the command runs. May be NULL */
    /* A state was agreed for a mount: store it. May be NULL. */
    void (*agreed)(void *arg, size_t index, const uint8_t nonce[SYNC_NONCE_LEN], uint64_t generation,
                   const struct manifest *manifest);
    void *arg;
};

#define ATTACH_TIME_OVER 124 /* as Modal and timeout(1) have it */
#define ATTACH_NO_READER 141 /* the shell's word for a program that SIGPIPE ended */

struct attach_result {
    enum session_end end;
    int code;
    int refusal; /* SESSION_REFUSED: enum wire_refusal */
    bool pull_failed;
    bool agent_failed; /* see session.h */
    bool by_keys;      /* SESSION_DETACHED by the detach keys */
    struct err err;    /* owned by caller; msg NULL when there is nothing to tell */
};

/*
 * Turns the loop until the command has ended, or was left. Notes go to stderr, one line each. The session's last words
 * are handed to the exec and not waited for: who ran the container's main process ends the sandbox next, which says the
 * same.
 */
void attach_run(struct app *app, struct modal_task *task, const struct attach_request *req, struct attach_result *ret);

#endif
