/*
 * The session protocol: what the client and `atp-agent session` say to each other on the stdin and stdout of one remote
 * exec. This file is its manual and its codec; both ends and the agent's own socket use it. Pure: bytes in, values out.
 *
 * THE STREAM. Each direction is a sequence of frames: one byte type, four bytes length (little endian), payload of at
 * most LIMIT_FRAME bytes. All integers are little endian. The transport below is reliable, ordered and resumes by byte
 * offset, so nothing is acknowledged or repeated here. Whatever the client says up to START and its first STDIN may be
 * sent back to back, without waiting for an answer: a whole command costs one round trip.
 *
 *     client                                         agent
 *     HELLO   version, capabilities, clock    <->    HELLO   the same, and facts about the container
 *     MOUNT   index, target, what is known; with SAME that is all
 *     DELTA.. the host's changes
 *     DELTA_END                                ->
 *                                             <-     PUSHED  nonce and generation of the state now agreed, or
 *                                                    STALE   "what you know is not what I have": MOUNT of a newer
 *                                                            state, or with REPLACE or without ancestor and all of
 *                                                            DELTA; START waits
 *     START.. argv, env, user...               ->
 *                                             <-     STARTED the process runs
 *     STDIN STDIN_EOF RESIZE SIGNAL CLOSE      ->
 *                                             <-     STDOUT STDERR
 *     CREDIT                                  <->    CREDIT
 *                                             <-     OFFER DELTA.. DELTA_END (per mount that is not read-only), or
 *                                                    DELTA_END alone if nothing changed, or PULL_FAILED
 *                                             <-     EXIT    how it ended, or why it did not start; last but for PULL
 *     PULL    "I have that state meanwhile"    ->
 *                                             <-     OFFER DELTA.. DELTA_END, DELTA_END or PULL_FAILED again
 *     PULLED  generation, per mount            ->
 *     BYE or FINISH                            ->            the session ends; FINISH ends the container as well
 *
 * ASK stands in the place of START when no new process is wanted: to join the container's own (attach, wait), its log,
 * its end, its record, its files. Mounts are pushed before it is answered and pulled after, as around a command; its
 * answer ends with EXIT too. See enum wire_ask_kind.
 *
 * ERROR, from either side, ends the session. It is the last frame of its direction.
 *
 * VERSIONS. HELLO says which versions its sender speaks (`oldest` to `newest`); both use the highest that they share
 * and end with ERROR if there is none. The client knows the agent's version beforehand (it is in the agent's path), so
 * it does not wait. HELLO may grow at its end: a reader ignores bytes that follow the fields it knows. No other frame
 * may have bytes too many, and an unknown type is an error: what is new needs a capability bit or a version.
 *
 * CREDIT. STDOUT, STDERR, LOG and TREE (payload bytes) together are sent only within what the client granted:
 * WIRE_WINDOW bytes at first, more by CREDIT (stream OUTPUT) as the reader takes them. So a slow or gone reader holds
 * the process as a pipe would. STDIN and TREE are granted in the same way by the agent (stream STDIN), so that SIGNAL
 * and RESIZE never wait behind a process that does not read. DELTA is not metered: it goes to a disk.
 *
 * PORTS. After ASK FORWARD the session carries TCP connections, many at once, each with an id that the client draws:
 * strictly increasing, never used again. PORT_OPEN names a port; the agent connects to the container's own address,
 * then to 127.0.0.1, and says PORT_OPENED, or PORT_CLOSED with the errno of why not. PORT_DATA may follow PORT_OPEN at
 * once. Both ways of a connection have a credit of their own, WIRE_PORT_WINDOW bytes of PORT_DATA at first, more by
 * PORT_CREDIT: a slow reader holds its own connection and no other. PORT_EOF ends the sender's half. When both halves
 * have ended and the client's bytes are written the agent says PORT_CLOSED with 0. PORT_CLOSED at any other moment is a
 * reset: both drop what they still hold. Whoever gets it says nothing more of that id; frames that were under way
 * meanwhile are ignored. At most WIRE_PORTS_MAX connections at once; one more is closed with EMFILE. The session ends
 * with EXIT 0 when the main process has ended for good; all connections are over then.
 *
 * NAMES. The agents of one pod know each other by the hub, the agent of the sandbox's main container. Each keeps one
 * TCP connection to it (AGENT_HUB_PORT), says JOIN, and is sent TABLE whenever somebody comes or goes: all that are
 * linked now. Both say HEARTBEAT as above. JOIN without the hub's token ends the connection; another JOIN of the same
 * `self` takes the older one's place. Addresses are not told: each finds `self` in its own /etc/hosts.
 *
 * LEASE. Each side says HEARTBEAT if it said nothing else for LEASE_CLIENT_SPEAKS. The agent orphans a session that was
 * silent for LEASE_ORPHANED: the process goes on, its output is dropped. The client calls such a session lost.
 *
 * MOUNTS. The state both sides last agreed on is an ancestor, bound to a random nonce that the agent made at the first
 * push and to a generation. Generations are drawn by the agent, strictly increasing for a target; each names one state
 * for ever. MOUNT names the state that the client knows; with REPLACE there is none and the target's tree is made
 * equal; with SAME the host has not changed since and nothing follows. Where nothing changed no generation is drawn and
 * neither side stores anything.
 *
 * What the agent OFFERs is pending: it becomes the agreed state when the client says that it has it, by PULLED or, if
 * that was lost or is late, by the MOUNT or PULL of any later moment that names the new generation. An offer starts
 * from what the agent held to be agreed. A client that has another state by then (a second command was faster) drops
 * the offer and says PULL with the state that it has; the answer starts from that one, or is FULL if the agent cannot
 * tell what it is. Against a FULL offer, and without a nonce that both know, nothing is ever deleted on the host. Where
 * the nonce is known to both, a FULL offer marks what the container has not changed since the agent's agreed state: of
 * those paths the host's version is the newer one, and no conflict.
 */
#ifndef ATP_WIRE_WIRE_H
#define ATP_WIRE_WIRE_H

#include "compat/base/buf.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define WIRE_VERSION    1
#define WIRE_HEADER     5 /* bytes in front of each payload */
#define WIRE_WINDOW     LIMIT_CREDIT
#define WIRE_NONCE      16          /* SYNC_NONCE_LEN */
#define WIRE_CHUNK      (64u << 10) /* what both ends put into one data frame: small enough to interleave */
#define WIRE_START_MAX  (8u << 20)  /* all of START: what Linux takes for argv and env (6 MiB at most), and the rest */
#define WIRE_RECORD_MAX (8u << 20)  /* and its record, which repeats them */
#define WIRE_MOUNTS_MAX 256u        /* mounts of one container */

enum wire_type {
    WIRE_HELLO = 1,
    WIRE_MOUNT = 2,
    WIRE_DELTA = 3,
    WIRE_DELTA_END = 4,
    WIRE_PUSHED = 5,
    WIRE_STALE = 6,
    WIRE_PULL_FAILED = 7,
    WIRE_PULLED = 8,
    WIRE_START = 9, /* fields; the last START frame has `last` set */
    WIRE_STARTED = 10,
    WIRE_STDIN = 11,     /* bytes */
    WIRE_STDIN_EOF = 12, /* empty */
    WIRE_STDOUT = 13,    /* bytes; with a terminal everything comes here */
    WIRE_STDERR = 14,    /* bytes */
    WIRE_CLOSE = 15,     /* the reader of an output stream is gone: the process gets SIGPIPE as from a pipe */
    WIRE_RESIZE = 16,
    WIRE_SIGNAL = 17,
    WIRE_CREDIT = 18,
    WIRE_HEARTBEAT = 19, /* empty */
    WIRE_EXIT = 20,
    WIRE_BYE = 21,    /* empty */
    WIRE_FINISH = 22, /* empty; only after the main process has ended: init ends, and so the sandbox */
    WIRE_ERROR = 23,
    WIRE_ASK = 24,         /* in the place of START: something of the container that is no process of its own */
    WIRE_LOG = 25,         /* a piece of the log: when, which stream, bytes */
    WIRE_TREE = 26,        /* cp: bytes of a tree stream (translate/tree), either way */
    WIRE_TREE_END = 27,    /* cp: the stream is complete */
    WIRE_STAT = 28,        /* cp: what a path is */
    WIRE_PULL = 29,        /* the client asks for a mount's changes again, from the state that it has now */
    WIRE_OFFER = 30,       /* the container's changes of a mount follow: from which state, to which */
    WIRE_PORT_OPEN = 31,   /* FORWARD: the client wants a connection; see PORTS */
    WIRE_PORT_OPENED = 32, /* it is there */
    WIRE_PORT_CLOSED = 33, /* either way: it is over; the last frame of that id in its direction */
    WIRE_PORT_DATA = 34,   /* either way: bytes */
    WIRE_PORT_EOF = 35,    /* either way: the sender's half is over */
    WIRE_PORT_CREDIT = 36, /* either way: so much more may be sent */
    WIRE_JOIN = 37,        /* between agents, from a member to the hub: who it is; see NAMES */
    WIRE_TABLE = 38,       /* and back: all that are there now */
    WIRE_SHARE = 39,       /* between agents, either way: a volume that several have (translate/wire/share.h) */
    WIRE_TYPE_MAX
};

/* Name of a type for messages; "unknown" outside the enum. */
const char *wire_type_name(uint8_t type);

/* ---- frames ---- */

struct wire_frame {
    uint8_t type;
    const uint8_t *data; /* borrowed from the parser; valid until the next call on it */
    size_t len;
};

/* Cuts a byte stream into frames. Holds at most one frame beyond what it was last fed. */
struct wire_parser {
    struct buf in;
    size_t taken; /* bytes at the start of `in` that were handed out already */
};

void wire_parser_init(struct wire_parser *p);
void wire_parser_clear(struct wire_parser *p);
/* Adds bytes from the stream (at most LIMIT_FRAME at once). Call wire_parser_next() until it returns 0 before the next.
 */
int wire_parser_feed(struct wire_parser *p, const void *bytes, size_t len, struct err *err);
/* 1 = a frame, 0 = more bytes are needed, -1 = the stream is not ours (type or length impossible). */
int wire_parser_next(struct wire_parser *p, struct wire_frame *ret, struct err *err);

/* Appends a frame with this payload. Returns -1 if it does not fit (len over LIMIT_FRAME, or b's ceiling). */
int wire_put(struct buf *b, uint8_t type, const void *payload, size_t len);

/*
 * ---- payloads ----
 *
 * wire_put_x() appends the whole frame to b (0, or -1 at b's ceiling or when a value is over its limit). wire_get_x()
 * reads the payload of a frame of that type: -1 with a message if anything about it is wrong. Strings and lists that a
 * get returns are owned by the value and released by its clear.
 */

/* What an end can do; found out at run time, not assumed. */
enum wire_capability {
    WIRE_CAP_TTY = 1 << 0,       /* terminals can be made */
    WIRE_CAP_USERS = 1 << 1,     /* may change to other users */
    WIRE_CAP_SUBREAPER = 1 << 2, /* orphans of the container come to init */
    WIRE_CAP_OPENAT2 = 1 << 3,
    WIRE_CAP_MOUNT = 1 << 4, /* may mount: a :ro target can be made read-only */
    WIRE_CAP_PROC = 1 << 5,  /* /proc is there: all processes of the container can be found */
    WIRE_CAP_SYNC = 1 << 6,  /* mounts are carried */
    WIRE_CAP_HEALTH = 1 << 7,
    WIRE_CAP_NAMES = 1 << 8,
    WIRE_CAP_FORWARD = 1 << 9,
    WIRE_CAP_VOLUMES = 1 << 10,
};

enum wire_health_status {
    WIRE_HEALTH_NONE,
    WIRE_HEALTH_STARTING,
    WIRE_HEALTH_HEALTHY,
    WIRE_HEALTH_UNHEALTHY,
    WIRE_HEALTH_MAX
};
/* As docker says it: "none", "starting", "healthy", "unhealthy". */
const char *wire_health_name(uint8_t status);

enum wire_main_state { WIRE_MAIN_NONE, WIRE_MAIN_RUNNING, WIRE_MAIN_ENDED };

struct wire_hello {
    uint16_t oldest, newest; /* protocol versions spoken */
    uint64_t capabilities;   /* enum wire_capability */
    int64_t clock_ns;        /* sender's real-time clock, for the skew */
    /* facts; the client leaves them empty */
    uint8_t main_state; /* enum wire_main_state */
    int32_t main_code;  /* exit code of the container's process once it ended (128 + n for a signal) */
    int32_t init_pid;
    int64_t main_started_ns, main_ended_ns; /* the container's real-time clock; 0: never */
    uint32_t restarts;                      /* how often the restart policy has started it again */
    uint8_t health;                         /* enum wire_health_status; stays as it was when the process has ended */
    bool paused;                            /* RUNNING, but all its processes are stopped (ASK PAUSE) */
    char *program;                          /* "atp-agent 0.1.0", "atp-docker 0.1.0": for messages */
    char *machine;                          /* "Linux 6.1.0 x86_64" */
};
void wire_hello_clear(struct wire_hello *h);
int wire_put_hello(struct buf *b, const struct wire_hello *h);
int wire_get_hello(const struct wire_frame *f, struct wire_hello *ret, struct err *err);
/* The version both speak, 0 if none. */
uint16_t wire_hello_version(const struct wire_hello *ours, const struct wire_hello *theirs);

enum wire_mount_flag {
    WIRE_MOUNT_RO = 1 << 0,      /* push only */
    WIRE_MOUNT_FILE = 1 << 1,    /* target is a single file, written in place */
    WIRE_MOUNT_REPLACE = 1 << 2, /* first push: the target is made equal; nonce and generation are unset */
    WIRE_MOUNT_SAME = 1 << 3,    /* the host is as it was at this generation: neither DELTA nor DELTA_END follow */
};

struct wire_mount {
    uint16_t index; /* how the other frames name this mount; < WIRE_MOUNTS_MAX */
    uint8_t flags;
    uint8_t nonce[WIRE_NONCE];
    uint64_t generation;
    char *target;           /* absolute */
    struct strlist exclude; /* paths below target that are not part of the mount */
};
void wire_mount_clear(struct wire_mount *m);
int wire_put_mount(struct buf *b, const struct wire_mount *m);
int wire_get_mount(const struct wire_frame *f, struct wire_mount *ret, struct err *err);

/* DELTA: opaque bytes of a sync_sender. put takes at most LIMIT_FRAME - 2 bytes. get borrows from the frame. */
int wire_put_delta(struct buf *b, uint16_t index, const void *bytes, size_t len);
int wire_get_delta(const struct wire_frame *f, uint16_t *ret_index, const uint8_t **ret_bytes, size_t *ret_len,
                   struct err *err);

struct wire_delta_end {
    uint16_t index;
    uint64_t base_generation;         /* the generation that the delta starts from; 0 with REPLACE */
    uint64_t skipped_special, moving; /* left out: special files; files that kept changing */
};
int wire_put_delta_end(struct buf *b, const struct wire_delta_end *e);
int wire_get_delta_end(const struct wire_frame *f, struct wire_delta_end *ret, struct err *err);

struct wire_pushed {
    uint16_t index;
    uint8_t nonce[WIRE_NONCE];
    uint64_t generation;
    uint64_t files, bytes, deleted, conflicts;
};
int wire_put_pushed(struct buf *b, const struct wire_pushed *p);
int wire_get_pushed(const struct wire_frame *f, struct wire_pushed *ret, struct err *err);

/* STALE. known: the agent has a state of this mount, though another one; otherwise the container is new. */
int wire_put_stale(struct buf *b, uint16_t index, bool known);
int wire_get_stale(const struct wire_frame *f, uint16_t *ret_index, bool *ret_known, struct err *err);

/* The state that a mount's changes start from, and the one that they lead to. */
struct wire_offer {
    uint16_t index;
    bool full; /* everything there is; base is 0 */
    uint8_t nonce[WIRE_NONCE];
    uint64_t base, generation;
};
int wire_put_offer(struct buf *b, const struct wire_offer *o);
int wire_get_offer(const struct wire_frame *f, struct wire_offer *ret, struct err *err);

/* PULL. generation 0: the client has no state that it could name; the answer is FULL. */
struct wire_pull {
    uint16_t index;
    uint8_t nonce[WIRE_NONCE];
    uint64_t generation;
};
int wire_put_pull(struct buf *b, const struct wire_pull *p);
int wire_get_pull(const struct wire_frame *f, struct wire_pull *ret, struct err *err);

int wire_put_pull_failed(struct buf *b, uint16_t index, const char *text);
int wire_get_pull_failed(const struct wire_frame *f, uint16_t *ret_index, char **ret_text, struct err *err);
int wire_put_pulled(struct buf *b, uint16_t index, uint64_t generation);
int wire_get_pulled(const struct wire_frame *f, uint16_t *ret_index, uint64_t *ret_generation, struct err *err);

enum wire_start_flag {
    WIRE_START_MAIN = 1 << 0, /* the container's process: there is one, and its end ends all others */
    WIRE_START_TTY = 1 << 1,
    WIRE_START_STDIN = 1 << 2,       /* stdin is a pipe from the client; otherwise /dev/null */
    WIRE_START_STDIN_STAYS = 1 << 3, /* and stays open when this session goes away */
    WIRE_START_LOG = 1 << 4,         /* MAIN: what it writes is kept in the agent's log as well */
    WIRE_START_DETACHED = 1 << 5,    /* nobody reads: output goes to the log (MAIN) or nowhere; EXIT is not waited for,
                                        the session may leave after STARTED without holding anything */
};

enum wire_restart { WIRE_RESTART_NO, WIRE_RESTART_ON_FAILURE, WIRE_RESTART_ALWAYS, WIRE_RESTART_UNLESS_STOPPED };

/*
 * What tells whether the container's process is well (Docker's HEALTHCHECK). No test: there is none. test[0] is "CMD",
 * "CMD-SHELL" (with one command line) or "NONE"; an image's default is the client's to find out. A time or retries of 0
 * stand for Docker's defaults: 30 s, 30 s, 0, 5 s, 3.
 */
struct wire_health {
    struct strlist test;
    int64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns;
    uint32_t retries;
};

/*
 * By which names the containers of one pod know each other. self NULL or "": the agent leaves names alone. An agent
 * with names runs a resolver on 127.0.0.11, points /etc/resolv.conf at it, and keeps a link to the hub (an agent that
 * was started with --hub) where all tell their names; the hub and the others are found by `hub` and by their
 * `self` in /etc/hosts, which the platform writes.
 */
struct wire_names {
    char *token;            /* what the hub lets a member in by: it was started with `init --hub --hub-token TOKEN` */
    char *hub;              /* the hub's name in /etc/hosts: "main" */
    char *self;             /* this container's own: its short id */
    struct strlist members; /* NETWORK/NAME: answered to those that share NETWORK; names may be had by several */
    struct strlist hosts;   /* NAME:ADDRESS: answered here, before all others (--add-host); several for one name */
    bool internal;          /* all its networks are internal: nothing is forwarded to the old servers */
};
/* A member "@tunnel/PORT" is no name: what comes to the hub at PORT (init --hub --tunnel PORT) is for this container. */
#define WIRE_TUNNEL    "@tunnel/"
#define WIRE_NAMES_MAX 4096u /* items of either list */

struct wire_start {
    uint32_t flags;
    uint16_t rows, cols; /* 0: unknown */
    char *user;          /* "", name or uid, then optionally :group or :gid */
    char *cwd;           /* "" is / */
    struct strlist argv; /* not empty */
    struct strlist env;  /* K=V, given as they are; HOME, and TERM with a terminal, are added when absent */
    /* MAIN only */
    uint8_t restart;      /* enum wire_restart */
    uint32_t restart_max; /* ON_FAILURE: how often at most; 0: no limit */
    uint8_t stop_signal;  /* what init sends it when the sandbox itself is told to end; 0: TERM */
    char *record;         /* the container's identity, opaque to the agent: kept, and given back by ASK RECORD */
    struct wire_health health;
    struct wire_names names;
    char *volumes; /* named volumes, NULL or "": none; the text is backends/agent/volume.h's; WIRE_VOLUMES_MAX bytes */
    struct strlist terms; /* what holds for all the container's processes: "WORD value", see backends/agent/terms.h */
};
#define WIRE_VOLUMES_MAX (256u << 10)
#define WIRE_TERMS_MAX   4096u /* items */
void wire_health_clear(struct wire_health *h);
void wire_health_copy(struct wire_health *to, const struct wire_health *from); /* to is empty */
void wire_names_clear(struct wire_names *n);
void wire_names_copy(struct wire_names *to, const struct wire_names *from);
/*
 * For ASK NAMES: members and hosts as lines, "m NETWORK/NAME" and "h NAME:ADDRESS"; owned by caller. Read: both are
 * added to *ret, which is empty; -1 if a line is none of these.
 */
char *wire_names_text(const struct wire_names *n);
int wire_names_read(const char *text, struct wire_names *ret, struct err *err);
void wire_start_clear(struct wire_start *s);
/* Appends as many START frames as needed. */
int wire_put_start(struct buf *b, const struct wire_start *s);

/* Puts START frames together again. */
struct wire_start_reader {
    struct wire_start start;
    size_t size; /* bytes taken so far; WIRE_START_MAX at most */
    bool complete;
};
void wire_start_reader_clear(struct wire_start_reader *r);
/* Takes one START frame; `complete` is set by the last. -1: malformed, over the limit, or a frame after the last. */
int wire_start_read(struct wire_start_reader *r, const struct wire_frame *f, struct err *err);
/* For who passes START on without reading it. */
bool wire_start_is_last(const struct wire_frame *f);
/* Whether the first START frame has the flag MAIN. */
bool wire_start_is_main(const struct wire_frame *f);

/*
 * What ASK asks for. Unless said otherwise the answer is EXIT with code 0 or REFUSED. "The main process" is the one
 * that START with MAIN made.
 */
enum wire_ask_kind {
    WIRE_ASK_BARRIER, /* nothing: only the mounts are pushed and pulled */
    WIRE_ASK_ATTACH,  /* joins the main process: with OUTPUT what it writes from now on comes as STDOUT and STDERR, with
                         STDIN it is fed; SIGNAL and RESIZE reach it. EXIT says how it ended, at once if it has, after
                         the restart policy's last attempt. Refused if it never ran. Several may be attached: output goes
                         to each, the slowest holds the process */
    WIRE_ASK_LOGS,   /* LOG frames in order: since_ns <= time < until_ns (0: no bound), the last `tail` lines (-1: all),
                        the streams named by flags; with FOLLOW until the main process has ended for good */
    WIRE_ASK_STOP,   /* signo to the main process, KILL after grace_ms (-1: never); no restart follows. EXIT is the main
                        process's own, also if it had ended before. Goes on if the session goes away */
    WIRE_ASK_SIGNAL, /* signo to the main process; answered at once, for KILL when it has ended. Refused if it does not
                        run */
    WIRE_ASK_RESTART,    /* STOP, then the main process is started again as START had it, in the same files. STARTED and
                            EXIT 0, or REFUSED. Also after its end; pending restarts are dropped */
    WIRE_ASK_TOP,        /* the container's processes: STDOUT frames, one line of JSON each (backends/agent/top.h) */
    WIRE_ASK_RECORD,     /* STDOUT frames: the record of START, or what SET_RECORD made of it */
    WIRE_ASK_SET_RECORD, /* `text` is the record from now on */
    WIRE_ASK_STAT,       /* cp: STAT for the path `text` */
    WIRE_ASK_READ,    /* cp: STAT, then the tree at `text` as TREE frames, TREE_END. FOLLOW: the last link is followed.
                         "dir/." is called "." in the tree's head. Links on the way are followed always */
    WIRE_ASK_WRITE,   /* cp: TREE frames from the client, to be laid out at `text` as Docker does it, until TREE_END.
                         With ARCHIVE `text` is a user (as in START; no "/" in it), "/", then the path: all that is
                         made belongs to that user */
    WIRE_ASK_LIST,    /* the image's whole root as TREE frames of records (translate/tree/look.h), TREE_END. With
                         CONTENTS their digests too */
    WIRE_ASK_LAYER,   /* TREE frames from the client: such a list, TREE_END. TREE frames from the agent: what makes the
                         root out of that list, as a loose tree stream with ".wh." files for what is gone, TREE_END.
                         REFUSED with WIRE_LAYER_CONTENTS: the list must have the contents */
    WIRE_ASK_CONFIG,  /* STDOUT frames: the newest /.atp/<version>/image.json; without one what a process sees of the
                         image: its working directory and each K=V, all with a NUL byte behind */
    WIRE_ASK_HEALTH,  /* STDOUT: one line of JSON as docker inspect has it: {"Status":..,"FailingStreak":n,"Log":[..]};
                         without a health check the status is "none". FOLLOW: one such line now and one whenever the
                         status changes, until the main process has ended for good. Refused if it never ran */
    WIRE_ASK_FORWARD, /* PORT_* frames, see PORTS. Refused if the main process does not run */
    WIRE_ASK_PAUSE,   /* all the container's processes are stopped (SIGSTOP); execs are refused until UNPAUSE. STOP,
                         RESTART and a SIGNAL that may end it make them go on. Refused if it does not run or is
                         paused: text belongs behind "container <id> " */
    WIRE_ASK_UNPAUSE, /* and go on (SIGCONT). Refused if it is not paused, likewise */
    WIRE_ASK_STATS,   /* STDOUT: one line of JSON, the sum of all the container's processes as far as /proc tells
                         (backends/agent/stats.c): {"read_ns","cpu_ns","system_cpu_ns","online_cpus","mem_bytes",
                         "mem_limit","pids","net_rx","net_tx","blk_read","blk_write"}. FOLLOW: a line each second
                         until the main process has ended for good */
    WIRE_ASK_VOLUME_SAVE, /* the volume named by `text`, or all if "", is saved as a new generation. STDOUT: what
                             backends/agent/volume.h says */
    WIRE_ASK_NAMES,       /* `text`: who the container is from now on (wire_names_text()); "": only asked. STDOUT: its
                             own address in the pod and a newline, nothing without one. Answered when the hub has told
                             the others, or has not for a while. Refused if START gave it no names */
    WIRE_ASK_MAX
};

enum wire_ask_flag {
    WIRE_ASK_STDIN = 1 << 0,
    WIRE_ASK_OUTPUT = 1 << 1,
    WIRE_ASK_STDOUT = 1 << 2,   /* LOGS */
    WIRE_ASK_STDERR = 1 << 3,   /* LOGS */
    WIRE_ASK_FOLLOW = 1 << 4,   /* LOGS: and what is still to come; cp: the last link is followed */
    WIRE_ASK_ARCHIVE = 1 << 5,  /* cp -a: owners as the container's user has them */
    WIRE_ASK_CONTENTS = 1 << 6, /* cp: SRC/.; LIST: see there */
    WIRE_ASK_DENSE = 1 << 7,    /* READ: holes come as the zeros that they stand for */
};

#define WIRE_LAYER_CONTENTS 3

struct wire_ask {
    uint8_t kind;  /* enum wire_ask_kind */
    uint8_t flags; /* enum wire_ask_flag */
    uint8_t signo;
    int64_t grace_ms;
    int64_t since_ns, until_ns, tail;
    char *text; /* "" where the kind has none; at most WIRE_ASK_TEXT_MAX */
};
#define WIRE_ASK_TEXT_MAX (768u << 10)
void wire_ask_clear(struct wire_ask *a);
int wire_put_ask(struct buf *b, const struct wire_ask *a);
int wire_get_ask(const struct wire_frame *f, struct wire_ask *ret, struct err *err);

/* LOG: one write of the main process, at most WIRE_CHUNK bytes. get borrows from the frame. */
int wire_put_log(struct buf *b, int64_t time_ns, uint8_t stream, const void *bytes, size_t len);
int wire_get_log(const struct wire_frame *f, int64_t *ret_time_ns, uint8_t *ret_stream, const uint8_t **ret_bytes,
                 size_t *ret_len, struct err *err);

/*
 * STAT: what a path of the container is. Comes before the tree of READ, and where WRITE or STAT found something or
 * missed it; what is missing is no refusal: it is said by `exists` and the path that was looked for, and EXIT is 0.
 */
struct wire_stat {
    bool exists;
    bool followed; /* path is where the last link led, not what was asked for */
    uint8_t type;  /* enum tree_type (translate/tree/tree.h); 0: something that does not travel */
    uint16_t mode; /* 12 bits */
    uint64_t size;
    int64_t mtime_ns;
    char *path; /* without links on the way; of what is missing: as Docker says it */
    char *link; /* of a symbolic link: where it leads, all links followed; otherwise "" */
};
void wire_stat_clear(struct wire_stat *s);
int wire_put_stat(struct buf *b, const struct wire_stat *s);
int wire_get_stat(const struct wire_frame *f, struct wire_stat *ret, struct err *err);

/* NAMES: who is there. */
struct wire_member {
    char *self;
    struct strlist names; /* NETWORK/NAME */
};
struct wire_table {
    struct wire_member *items;
    size_t len;
};
#define WIRE_MEMBERS_MAX 1024u
void wire_table_clear(struct wire_table *t);
int wire_put_table(struct buf *b, const struct wire_table *t);
int wire_get_table(const struct wire_frame *f, struct wire_table *ret, struct err *err);
/* token, self and members of n; the others are nobody's business, and NULL after get. */
int wire_put_join(struct buf *b, const struct wire_names *n);
int wire_get_join(const struct wire_frame *f, struct wire_names *ret, struct err *err);

/* What PORT_CREDIT starts from, each way of each connection, and the most that may ever be granted and not sent. */
#define WIRE_PORT_WINDOW (256u << 10)
#define WIRE_PORTS_MAX   1024u

int wire_put_port_open(struct buf *b, uint32_t id, uint16_t port);
int wire_get_port_open(const struct wire_frame *f, uint32_t *ret_id, uint16_t *ret_port, struct err *err);
int wire_put_port_opened(struct buf *b, uint32_t id);
int wire_put_port_eof(struct buf *b, uint32_t id);
/* Linux's number, 0: over as it should be. */
int wire_put_port_closed(struct buf *b, uint32_t id, uint32_t error);
int wire_get_port_closed(const struct wire_frame *f, uint32_t *ret_id, uint32_t *ret_error, struct err *err);
/* 1 to WIRE_CHUNK bytes. get borrows from the frame. */
int wire_put_port_data(struct buf *b, uint32_t id, const void *bytes, size_t len);
int wire_get_port_data(const struct wire_frame *f, uint32_t *ret_id, const uint8_t **ret_bytes, size_t *ret_len,
                       struct err *err);
int wire_put_port_credit(struct buf *b, uint32_t id, uint32_t bytes); /* bytes <= WIRE_PORT_WINDOW */
int wire_get_port_credit(const struct wire_frame *f, uint32_t *ret_id, uint32_t *ret_bytes, struct err *err);
/* PORT_OPENED and PORT_EOF, which carry nothing else. */
int wire_get_port_id(const struct wire_frame *f, uint32_t *ret_id, struct err *err);

int wire_put_started(struct buf *b, int32_t pid);
int wire_get_started(const struct wire_frame *f, int32_t *ret_pid, struct err *err);

enum wire_stream { WIRE_STREAM_STDIN = 0, WIRE_STREAM_STDOUT = 1, WIRE_STREAM_STDERR = 2, WIRE_STREAM_OUTPUT = 3 };

int wire_put_close(struct buf *b, uint8_t stream); /* STDOUT or STDERR */
int wire_get_close(const struct wire_frame *f, uint8_t *ret_stream, struct err *err);
int wire_put_credit(struct buf *b, uint8_t stream, uint32_t bytes); /* STDIN or OUTPUT; bytes <= WIRE_WINDOW */
int wire_get_credit(const struct wire_frame *f, uint8_t *ret_stream, uint32_t *ret_bytes, struct err *err);
int wire_put_resize(struct buf *b, uint16_t rows, uint16_t cols);
int wire_get_resize(const struct wire_frame *f, uint16_t *ret_rows, uint16_t *ret_cols, struct err *err);

enum wire_signal_scope {
    WIRE_SIGNAL_PROCESS, /* the process that START made: what Docker does */
    WIRE_SIGNAL_GROUP,   /* its process group */
};
int wire_put_signal(struct buf *b, uint8_t signo, uint8_t scope);
int wire_get_signal(const struct wire_frame *f, uint8_t *ret_signo, uint8_t *ret_scope, struct err *err);

enum wire_exit_kind {
    WIRE_EXIT_CODE,    /* value is the exit status */
    WIRE_EXIT_SIGNAL,  /* value is the signal */
    WIRE_EXIT_REFUSED, /* the process never ran; value is Docker's exit code and text says why */
};
enum wire_refusal {
    WIRE_REFUSAL_NONE,
    WIRE_REFUSAL_NOT_FOUND,      /* text belongs behind "unable to start container process: " */
    WIRE_REFUSAL_NOT_EXECUTABLE, /* likewise */
    WIRE_REFUSAL_CWD,            /* likewise */
    WIRE_REFUSAL_USER,           /* text stands alone */
    WIRE_REFUSAL_OTHER,          /* text stands alone */
    WIRE_REFUSAL_NOT_RUNNING,    /* text belongs behind "container <id> " */
};
struct wire_exit {
    uint8_t kind;
    uint8_t refusal;
    int32_t value;
    char *text; /* "" unless refused */
};
void wire_exit_clear(struct wire_exit *e);
int wire_put_exit(struct buf *b, const struct wire_exit *e);
int wire_get_exit(const struct wire_frame *f, struct wire_exit *ret, struct err *err);

enum wire_error_kind {
    WIRE_ERROR_PROTOCOL, /* the other end said something impossible */
    WIRE_ERROR_PUSH,     /* a push failed: nothing was started */
    WIRE_ERROR_INIT,     /* the container's first process does not answer */
    WIRE_ERROR_ORPHANED, /* the client was silent for too long */
};
int wire_put_error(struct buf *b, uint8_t kind, const char *text);
int wire_get_error(const struct wire_frame *f, uint8_t *ret_kind, char **ret_text, struct err *err);

#endif
