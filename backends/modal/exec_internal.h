/*
 * Private to this room: the parts of an exec. Each of the readers and the writer of stdin is its own small machine that
 * resumes by offset; exec.c starts the process, waits for its exit, and ends it all.
 */
#ifndef ATP_MODAL_EXEC_INTERNAL_H
#define ATP_MODAL_EXEC_INTERNAL_H

#include "backends/modal/exec.h"
#include "backends/modal/task_internal.h"
#include "compat/base/buf.h"
#include "compat/base/err.h"

#define OVERTAKES_MAX 3 /* how often a call that came before its start is asked again (design 5) */

/* One of the two streams of output. */
struct exec_reader {
    struct modal_exec *exec;
    int fd; /* TaskExecStdioFileDescriptor */
    bool wanted, done;
    uint64_t offset;
    struct grpc_call *call;
    struct loop_timer *timer; /* the next attempt */
    struct modal_waiter waiter;
    unsigned generation, attempts, not_found, refusals;
    bool renewed;
    bool waits_for_start;
    int64_t opened_at, failing_since; /* 0: it works */
};

/* stdin: one write in flight, the next one takes all that came meanwhile. */
struct exec_writer {
    struct buf pending;
    size_t at;        /* bytes of pending that are through */
    size_t in_flight; /* bytes of the write under way */
    uint64_t offset;  /* bytes that are through since the start */
    struct modal_rpc *rpc;
    struct loop_timer *timer;
    unsigned not_found;
    bool eof_wanted, eof_in_flight, eof_done;
    bool closed; /* the process takes no more */
    bool waits_for_start;
};

struct modal_exec {
    struct modal_task *task;
    struct modal_exec_handlers handlers;
    void *arg;
    char id[MODAL_UUID_LEN + 1];
    bool no_wait, paused, over;
    bool sequential; /* nothing before the start has been answered */
    bool started;
    unsigned overtaken;
    int64_t patience_ms;
    struct modal_rpc *start, *wait;
    bool exit_known;
    int code;
    struct exec_reader out, err;
    struct exec_writer in;
};

/* exec.c */
void exec_fail(struct modal_exec *exec, const struct err *err); /* the exec may be freed after it */
void exec_check_end(struct modal_exec *exec);                   /* likewise */
void exec_overtaken(struct modal_exec *exec);

/* exec_read.c */
void reader_init(struct exec_reader *r, struct modal_exec *exec, int fd, bool wanted);
void reader_open(struct exec_reader *r);
void reader_started(struct exec_reader *r); /* the start has been answered */
void reader_pause(struct exec_reader *r, bool pause);
void reader_clear(struct exec_reader *r);

/* exec_write.c */
void writer_init(struct modal_exec *exec);
void writer_kick(struct modal_exec *exec); /* sends from the loop's next turn */
void writer_clear(struct modal_exec *exec);

#endif
