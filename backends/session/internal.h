/* Private to this room: the state of a session, shared by its parts: session.c, output.c, push.c, pull.c, tree.c. */
#ifndef ATP_SESSION_INTERNAL_H
#define ATP_SESSION_INTERNAL_H

#include "backends/session/session.h"
#include "compat/base/buf.h"
#include "compat/base/strlist.h"
#include "translate/wire/wire.h"

#include <stdatomic.h>

struct loop_timer;
struct work;

/* Bytes of an offer that are held while the host's lock is waited for; beyond it they are asked for again. */
#define MOUNT_HELD_MAX (4u << 20)

enum mount_phase {
    MOUNT_IDLE,
    MOUNT_SCANNING, /* waits for the lock, reads what was agreed and the host's tree; in a thread */
    MOUNT_READY,
    MOUNT_SENDING,
    MOUNT_SENT,
    MOUNT_AGREED,
};

enum pull_phase {
    PULL_NONE,
    PULL_WAITING,   /* an offer comes, and what was pushed is still being saved */
    PULL_LOCKING,   /* an offer comes, and the lock is waited for; in a thread */
    PULL_RECEIVING, /* an offer is being carried out */
    PULL_ASKED,     /* PULL was said; the lock is held */
    PULL_FINISHING, /* in a thread */
    PULL_DONE,
};

/* The name of a state; generation 0: there is none. */
struct state {
    uint8_t nonce[SYNC_NONCE_LEN];
    uint64_t generation;
};
bool state_same(const struct state *a, const struct state *b);

/* One mount: what its owner said, and where its exchange stands. */
struct smount {
    struct session *session;
    uint16_t index;
    struct session_mount words; /* strings below are ours; descriptors are borrowed */
    char *label, *target, *file, *state_name;
    struct strlist exclude;
    enum mount_phase phase;
    struct work *work; /* one piece at a time; what it uses is its own until it is done */
    struct err work_err;
    atomic_bool give_up; /* the thread shall not wait for the lock any longer */
    /* between commands */
    bool stored; /* there is a place for it */
    int lock_fd;
    struct state state;    /* what was last agreed */
    struct manifest known; /* its manifest */
    /* push */
    struct manifest now; /* the host's tree; borrowed by the sender */
    struct sync_scan_stats stats;
    struct sync_sender *sender;
    bool same;              /* nothing is to be sent */
    bool full;              /* everything is to be sent */
    unsigned stale;         /* how often the agent did not have what we said */
    bool container_is_new;  /* it said that it has nothing at all */
    struct state announced; /* what MOUNT said when that came */
    struct manifest next;   /* what is agreed once the exchange is over */
    /* pull */
    enum pull_phase pull;
    struct wire_offer offer;
    struct buf held;
    bool held_over;    /* there was more than that */
    bool end_came;     /* DELTA_END of the offer */
    unsigned asked;    /* PULL was said so often */
    bool behind;       /* the agent has a later state of ours than we: its client died before it could store it */
    bool passing_over; /* what comes until the next DELTA_END belongs to an offer that was not taken */
    bool moving_on;    /* the new state is saved: the agent may know */
    struct sync_receiver *receiver;
    struct sync_report report;
    struct err pull_err;
};

/* One output stream of the process, with what the user has not taken yet. */
struct outstream {
    struct buf waiting;
    size_t sent;   /* bytes at its start that the user has */
    bool closed;   /* the user's side is gone */
    bool flushing; /* a reader may turn out to be gone in the middle of it */
};

struct session {
    struct loop *loop;
    const struct session_callbacks *cb;
    void *arg;
    struct wire_start start;
    struct wire_ask ask; /* instead of start */
    bool asks;
    bool keep; /* BYE, not FINISH */
    bool attach_stdin;
    struct smount *mounts;
    size_t n_mounts;

    struct wire_parser parser;
    struct buf frame; /* one or a few frames on their way to out() */
    struct outstream streams[2];
    size_t granted;    /* output bytes that the agent may still send */
    size_t uncredited; /* taken by the user, and the agent not told yet */
    size_t stdin_credit;
    bool stdin_eof, stdin_eof_sent, stdin_full;

    bool start_sent;
    uint64_t early_signals, early_group_signals;

    bool greeted;
    int64_t hello_sent_ns;
    struct wire_exit exit;
    bool exit_came;

    struct loop_timer *pump_timer, *beat_timer;
    int64_t speak_every, lost_after;
    int64_t heard, spoke, beat_at;
    bool has_beaten; /* a HEARTBEAT was said */
    int64_t moved; /* the agent said something else than HEARTBEAT, or it was our turn */
    int64_t patience;
    size_t pending; /* at the last beat */
    bool started;
    struct session_result result;
    bool too_many; /* mounts */
    bool over;     /* done was called or is about to be */
};

/* Gives what was put into s->frame to the owner. */
void session_send(struct session *s);
bool session_out_full(const struct session *s);
/* START or ASK into s->frame; -1 if it is too large. */
int session_put_request(struct session *s);
/* Work is left that needs no outside event: comes back through the loop. */
void session_pump_soon(struct session *s);
void session_note(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Ends the session; err is taken. */
void session_end(struct session *s, enum session_end end, int code, struct err *err);
/* Ends it if EXIT came, every mount is pulled and the user has taken all output. */
void session_maybe_end(struct session *s);

/* output.c: what the agent sends within our credit */
int output_take(struct session *s, const struct wire_frame *f, struct err *err); /* STDOUT, STDERR */
int output_take_log(struct session *s, const struct wire_frame *f, struct err *err);
/* -1: more came than was granted. */
int output_spend(struct session *s, size_t len, struct err *err);
/* The user has taken this much: the agent is told now and then. */
void output_credit(struct session *s, size_t taken);
bool output_waits(const struct session *s);
/* STDIN or TREE, within the agent's credit; returns how much was taken. */
size_t session_put_bytes(struct session *s, uint8_t type, const void *bytes, size_t len);

/* tree.c: TREE, TREE_END, STAT */
int tree_take(struct session *s, const struct wire_frame *f, struct err *err);

/* mounts.c */
void mounts_init(struct session *s, const struct session_mount *mounts, size_t n);
void session_mounts_clear(struct session *s);
struct sync_tree mount_tree(const struct smount *m);
/* In threads. The lock is this mount's and this container's; without a place to keep things all is void of effect. */
int mount_lock(struct smount *m, struct err *err);
void mount_unlock(struct smount *m);
int mount_load(struct smount *m, struct err *err); /* state and known, unless they are up to date */
int mount_save(struct smount *m, struct err *err);

/* push.c: host to container, before the command */
void push_begin(struct session *s); /* starts reading the first tree */
void push_pump(struct session *s);  /* sends while there is room; START after the last mount */
int push_take_pushed(struct session *s, const struct wire_frame *f, struct err *err);
int push_take_stale(struct session *s, const struct wire_frame *f, struct err *err);

/* pull.c: container to host, after it */
int pull_take_offer(struct session *s, const struct wire_frame *f, struct err *err);
void pull_saved(struct smount *m); /* what was pushed is saved: an offer that came meanwhile goes on */
bool pull_expects(const struct session *s, uint8_t type); /* also after EXIT */
int pull_take_delta(struct session *s, const struct wire_frame *f, struct err *err);
int pull_take_delta_end(struct session *s, const struct wire_frame *f, struct err *err);
int pull_take_failed(struct session *s, const struct wire_frame *f, struct err *err);
bool pull_finished(const struct session *s);
/* The first failure, with its mount named; false if there was none. */
bool pull_error(const struct session *s, struct err *ret);
/* What was agreed last for a mount goes to the owner. */
void session_agreed(struct smount *m);

#endif
