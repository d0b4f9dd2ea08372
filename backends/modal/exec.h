/*
 * One process in a running task, as a duplex stream of bytes (protocol 6.3 to 6.8). Start, first stdin and the read of
 * stdout leave back to back on one connection, so the first answer is one round trip away. Every part resumes by
 * offset after a broken connection, until nothing has worked for DEADLINE_LOST_PEER.
 *
 * Handlers are called from the loop only, never from within a modal_exec_* function. Exactly one of on_exit and
 * on_error comes, last; after it the exec is inert and waits for modal_exec_free(), which handlers may call.
 */
#ifndef ATP_MODAL_EXEC_H
#define ATP_MODAL_EXEC_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct modal_exec;
struct modal_pty;
struct modal_task;

struct modal_exec_options {
    struct strlist argv; /* sum of lengths at most LIMIT_EXEC_ARGS */
    struct strlist env;  /* K=V */
    struct strlist secret_ids;
    const char *workdir;      /* NULL: the container's */
    const char *container_id; /* a sidecar; NULL: the task's (modal_task_set_container) */
    const struct modal_pty *pty;
    uint32_t timeout_s; /* the server kills the process after this; 0: never */
    bool drop_stderr;   /* discarded on the server; otherwise it comes through on_stderr */
    bool no_wait;       /* the stream itself carries the exit: no TaskExecWait, on_exit gets -1 */
    int64_t
        patience_ms; /* how long a worker may refuse connections: a sandbox that is being made; 0: DEADLINE_LOST_PEER */
};

struct modal_exec_handlers {
    void (*on_stdout)(struct modal_exec *exec, const void *data, size_t len, void *arg);
    void (*on_stderr)(struct modal_exec *exec, const void *data, size_t len, void *arg); /* may be NULL */
    /* All that was written has been accepted by the server. May be NULL. */
    void (*on_drained)(struct modal_exec *exec, void *arg);
    /* Output has been delivered to its end. code: the exit code, 128 + signal, or -1 with no_wait. */
    void (*on_exit)(struct modal_exec *exec, int code, void *arg);
    /* err->code is a grpc_status; GRPC_NOT_FOUND: the task is gone. err is borrowed. */
    void (*on_error)(struct modal_exec *exec, const struct err *err, void *arg);
};

/* Only arguments are checked here (too long: NULL and err); everything else arrives through the handlers. */
struct modal_exec *modal_exec_start(struct modal_task *task, const struct modal_exec_options *options,
                                    const struct modal_exec_handlers *handlers, void *arg, struct err *err);

/* Drops the exec and its calls. The process in the task is not touched. NULL is fine. */
void modal_exec_free(struct modal_exec *exec);

/*
 * Queues bytes for stdin (copied). Several small writes travel as one. -1, with nothing queued, above
 * MODAL_EXEC_STDIN_MAX pending bytes, or after eof.
 */
#define MODAL_EXEC_STDIN_MAX (32u << 20)
int modal_exec_write(struct modal_exec *exec, const void *data, size_t len);
void modal_exec_write_eof(struct modal_exec *exec);       /* after what is pending */
size_t modal_exec_pending(const struct modal_exec *exec); /* bytes not yet accepted by the server */

/* Stops on_stdout and on_stderr; the server keeps what it could not send. */
void modal_exec_pause(struct modal_exec *exec);
void modal_exec_resume(struct modal_exec *exec);

void modal_exec_options_clear(struct modal_exec_options *options); /* the lists */

/* Runs to the end and collects the output; stops with an error above max bytes of either stream. Turns the loop. */
struct modal_exec_output {
    char *out, *err;
    size_t out_len, err_len;
    int code;
};
void modal_exec_output_clear(struct modal_exec_output *output);
int modal_exec_run(struct modal_task *task, const struct modal_exec_options *options, const void *input,
                   size_t input_len, size_t max, struct modal_exec_output *ret_output, struct err *err);

#endif
