/*
 * The client's half of a session: one command in a container, its mounts pushed before and pulled after. A core without
 * transport: it is given a loop, takes the bytes that the remote agent wrote (session_feed) and hands out the bytes
 * that the agent must get (callback out). What travels is written down in translate/wire/wire.h.
 *
 * Order of calls:
 *     s = session_new(...)            starts at once: HELLO, then the host trees are read and pushed, then START. Begin
 *                                     it before the transport is up; the bytes wait in the owner's queue.
 *     session_feed(), session_writable()            from the transport
 *     session_stdin(), _stdin_eof(), _resize(), _signal(), _output_ready()    from the user's side
 *     session_lost()                  when the transport ended or gave up
 *     callback done                   exactly once, from the loop or from within one of the calls above; after it
 *                                     nothing is called back any more. Bytes handed to out just before it (PULLED and
 *                                     BYE or FINISH) still have to be written, with a deadline, not to be waited for
 * long. session_free(s)                 at any time, not from within a callback; before done it abandons the session:
 *                                     the process goes on, nothing half-made stays on the host.
 *
 * Everything is incremental: no call blocks on anything but a bounded piece of local disk work; trees are read in a
 * thread. No call prints.
 *
 * The agent's stdin must stay open until done: its end is the end of the remote session. Until the agent's first byte
 * only the transport knows how long to wait; from then on the session itself gives up a peer that is silent for 15 s.
 * An agent that keeps talking and does nothing else is given up too, after SESSION_ANSWER_MS for a question and
 * SESSION_TREES_MS where trees are read; what may last for ever (a command, ATTACH, a log that is followed) may.
 * Mounts may come in any order: what is mounted inside another one is left out of that one.
 *
 * MOUNTS. Any number of commands may exchange one mount with one container at once, and each may be killed at any
 * instant. The host's lock of a mount (flock) is held by one of them at a time: from before the tree is read until the
 * agent's PUSHED has been stored, and again from the first frame of the container's changes until they are stored.
 * Where nothing changed it is let go as soon as the tree is read, and the pull does not take it. Waiting for it never
 * depends on another mount's lock being had, so their order does not matter, and the agent holds no lock while it waits
 * for us. A lock that is not had for ten minutes is an error; meanwhile heartbeats go on.
 *     A command that is killed after the agent stored its push and before the host did leaves the agent a state ahead.
 * The next push or pull then exchanges everything. What one side alone changed is no conflict all the same: the agent
 * tells what it has not touched since, the host sees what it has not. Such a pull undoes a deletion in the container.
 * A push that ends before the agent stored it may have placed files that neither side has a record of. One that the
 * host changes again before a pull meets it is called a conflict, though the container's version is only the host's
 * older one; both are kept.
 *     The first push of the container's process (MAIN) without a stored state makes the target equal (REPLACE); any
 * other command without one sends everything and deletes nothing. What is stored is stored after the data. Several
 * containers on one folder: each has its own state and lock, the folder is the hub, and changes flow at each one's next
 * barrier. There is no lock for the folder, as a container could hold it against all others by being slow: each file is
 * looked at again just before it is replaced, whole, by renaming. So a file that both changed is a conflict for the
 * second; only where both rename in the same few microseconds the later one wins, as with a bind mount.
 *
 * The result (sync-rules 15): a failed push is 125 and the command did not run. A failed pull is 125 if the command
 * gave 0, otherwise the command's own code; err says what happened in both cases and the result says that the pull
 * failed, so that the owner keeps the container. Then FINISH is not sent.
 */
#ifndef ATP_SESSION_SESSION_H
#define ATP_SESSION_SESSION_H

#include "backends/sync/sync.h"
#include "compat/base/err.h"
#include "translate/wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct session;
struct strlist;

struct session_start {
    bool main;                  /* the container's process (run); otherwise one more process in it (exec) */
    const struct strlist *argv; /* all of it: entrypoint and command */
    const struct strlist *env;  /* K=V, complete; the agent adds HOME, and TERM=xterm with a terminal, when absent */
    const char *cwd;            /* NULL or "": / */
    const char *user;           /* NULL or "": root; name|uid[:group|gid], resolved in the container */
    bool tty;
    uint16_t rows, cols;  /* with tty; 0: unknown */
    bool attach_stdin;    /* otherwise the process reads /dev/null */
    bool keep_stdin_open; /* its stdin outlives this session (run -d -i) */
    bool detached;        /* nobody reads its output: the session ends with SESSION_DETACHED once it runs */
    /* main only */
    bool log;
    uint8_t restart; /* enum wire_restart */
    uint32_t restart_max;
    uint8_t stop_signal;              /* 0: TERM */
    const char *record;               /* NULL: none */
    const struct wire_health *health; /* NULL: none */
    const struct wire_names *names;   /* NULL: the container's own names are left alone */
    const char *volumes;              /* NULL: none; the text is backends/agent/volume.h's */
    const struct strlist *terms;      /* NULL: none; backends/agent/terms.h */
    bool keep; /* at its end the container is kept: BYE instead of FINISH; somebody else ends it */
};

struct session_mount {
    struct sync_tree host;         /* dirfd is borrowed until session_free() */
    const char *label;             /* the host path as the user knows it, for messages */
    const char *target;            /* absolute path in the container, clean (no "..", no "//") */
    bool read_only;                /* pushed, never pulled */
    bool absent;                   /* not exchanged this time, only left out of the mounts around it */
    const struct strlist *exclude; /* may be NULL; mounts nested in this one are excluded by the session itself */
    enum sync_conflict conflict;
    int keep_dirfd; /* where conflict copies and deleted files are kept; -1: nowhere */
    /*
     * Where what was last agreed with this very container is kept between commands, as NAME, and locked, by NAME.lock;
     * -1 or NULL: nowhere, then each command is a first push, which replaces. The session reads and writes both itself,
     * at the right moments (see MOUNTS above). Borrowed until session_free() and copied.
     */
    int state_dirfd;
    const char *state_name;
};

enum session_end {
    SESSION_EXITED,  /* code is the process's, 128 + n for a signal; or 125 because of pull_failed */
    SESSION_REFUSED, /* it never ran: code 126, 127 or 125 and err as Docker says it, after "Error response from daemon:
                        " */
    SESSION_PUSH_FAILED, /* it never ran: 125 */
    SESSION_LOST,        /* the peer or the transport is gone, or spoke nonsense: 125; the process may still run */
    SESSION_DETACHED,    /* session_detach(), or a detached start that has succeeded */
};

struct session_result {
    enum session_end end;
    int code;    /* what the command returns */
    int signal;  /* SESSION_EXITED by a signal, else 0 */
    int refusal; /* SESSION_REFUSED: enum wire_refusal; NOT_RUNNING's text lacks the container's name */
    /* SESSION_LOST, _REFUSED: by the agent's own doing; asking once more makes no sense, and its sandbox is not known
     * to have ended. False for a transport that ended. */
    bool agent_failed;
    bool pull_failed; /* err says why; keep the container so that the files can be recovered */
    struct err err;   /* owned by the session; msg NULL if there is nothing to tell */
};

/* What the agent said of itself and of its container; strings are borrowed for the call. */
struct session_peer {
    uint64_t capabilities; /* enum wire_capability (translate/wire/wire.h) */
    const char *program;   /* "atp-agent 0.1.0" */
    const char *machine;   /* "Linux 6.1.0 x86_64" */
    int main_state;        /* enum wire_main_state: of the container's process when this session came */
    int main_code;
    int64_t main_started_ns, main_ended_ns; /* by the container's clock */
    uint32_t restarts;
    int health; /* enum wire_health_status */
    bool paused;
};

struct session_callbacks {
    /* Bytes for the agent; take all of them (copy). */
    void (*out)(void *arg, const void *bytes, size_t len);
    /* How many bytes given to out are not yet written. Above SESSION_OUT_HIGH the session holds bulk data back until
     * session_writable() is called. */
    size_t (*out_pending)(void *arg);
    /* Output of the process; stream is 1 or 2. Returns how much was taken (0 = no room now: call session_output_ready()
     * later). What is not taken waits in the session, WIRE_WINDOW at most, and holds the process. */
    size_t (*output)(void *arg, int stream, const void *bytes, size_t len);
    /* A piece of the log (ASK LOGS), in order. All of it is taken; call session_log_taken() when it has been written.
     * May be NULL for other sessions. */
    void (*log)(void *arg, int64_t time_ns, int stream, const void *bytes, size_t len);
    /* Bytes of a tree stream (ASK READ), all taken, credited by session_tree_taken(); what ASK STAT said. May be NULL.
     */
    void (*tree)(void *arg, const void *bytes, size_t len);
    void (*tree_end)(void *arg);
    void (*stat)(void *arg, const struct wire_frame *stat);
    /* A PORT_* frame (ASK FORWARD; backends/session/forward.h); -1: it must not come. May be NULL. */
    int (*port)(void *arg, const struct wire_frame *f, struct err *err);
    /* The request has been handed to out: the session may be spoken to. May be NULL. */
    void (*asked)(void *arg);
    /* The session can take stdin (again). May be NULL without attach_stdin. */
    void (*stdin_ready)(void *arg);
    /* The agent has answered. May be NULL. */
    void (*greeted)(void *arg, const struct session_peer *peer);
    /* The process runs. May be NULL. */
    void (*started)(void *arg);
    /* One line for the user's stderr, without prefix or newline: conflicts, clock skew, files left out. May be NULL. */
    void (*note)(void *arg, const char *line);
    /* A new state was agreed for mount `index`, after its push or after its pull, and stored. manifest is borrowed. For
     * who wants to watch; may be NULL. */
    void (*agreed)(void *arg, size_t index, const uint8_t nonce[SYNC_NONCE_LEN], uint64_t generation,
                   const struct manifest *manifest);
    void (*done)(void *arg, const struct session_result *result);
};

#define SESSION_ANSWER_MS 30000      /* an agent that lives answers in a moment, its machine may be busy */
#define SESSION_TREES_MS  300000     /* a million files on a slow disk, between two signs of life */
#define SESSION_OUT_HIGH  (1u << 20) /* enough to fill a fast link for a few milliseconds, little to lose */

/* Everything is copied except what is said to be borrowed. callbacks and loop are borrowed until session_free(). */
struct session *session_new(struct loop *loop, const struct session_start *start, const struct session_mount *mounts,
                            size_t n_mounts, const struct session_callbacks *callbacks, void *arg);
/* The same for what is no process of its own (translate/wire/wire.h, enum wire_ask_kind): attach, logs, stop, cp... */
struct session *session_ask(struct loop *loop, const struct wire_ask *ask, const struct session_mount *mounts,
                            size_t n_mounts, const struct session_callbacks *callbacks, void *arg);
void session_free(struct session *s);

/* ---- the transport's side ---- */
void session_feed(struct session *s, const void *bytes, size_t len); /* any length */
void session_writable(struct session *s);
/* The transport ended; why may be NULL. Harmless after done. */
void session_lost(struct session *s, const char *why);

/*
 * Whether all that can be said before the first answer (HELLO, the mounts' changes, START) has been handed to out, or
 * takes so long (a large tree is read) that the peer has to hear of us meanwhile. An owner whose transport takes a round
 * trip for each write gathers the bytes until then, or until there are many.
 */
bool session_prelude_done(const struct session *s);

/* ---- the user's side ---- */
size_t session_stdin_room(const struct session *s); /* how much session_stdin() takes now; 0 before the start */
size_t session_stdin(struct session *s, const void *bytes, size_t len); /* returns how much was taken */
void session_stdin_eof(struct session *s);
void session_output_ready(struct session *s);
void session_log_taken(struct session *s, size_t bytes);
/* ASK WRITE: like session_stdin(), room by session_stdin_room(); then the end. */
size_t session_tree(struct session *s, const void *bytes, size_t len);
void session_tree_end(struct session *s);
void session_tree_taken(struct session *s, size_t bytes);
/* The user's side of stream 1 or 2 is gone (EPIPE): the process gets SIGPIPE when it writes, and output is dropped. */
void session_output_closed(struct session *s, int stream);
void session_resize(struct session *s, uint16_t rows, uint16_t cols);
/* Sent to the process itself, as Docker does; with group, to its whole process group. Kept until the process runs. */
void session_signal(struct session *s, int signo, bool group);
/* Leaves the process running and ends the session with SESSION_DETACHED (detach keys; after `started` for -d). Mounts
 * are not pulled. */
void session_detach(struct session *s);

/* Shortens the lease's times and the others, in milliseconds; for tests. */
void session_set_patience(struct session *s, int64_t ms);
void session_set_lease(struct session *s, int64_t speak_every, int64_t lost_after);

#endif
