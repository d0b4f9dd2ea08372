/*
 * Execs: processes started in a running sandbox by a client's id (protocol 6). Of an exec that has ended, a small
 * record with its exit status is kept while the sandbox lives (of the last thousand), and its output for five minutes
 * more, of the last few hundred of all sandboxes: each holds open files. When the sandbox ends, whoever waits is told
 * NOT_FOUND, and output that is being read is read to its end.
 */
#ifndef ATP_ENGINE_EXEC_H
#define ATP_ENGINE_EXEC_H

#include "backends/engine/runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;
struct err;
struct sandbox;
struct sidecar;
struct stdin_write;
struct waiter;

struct exec {
    struct sandbox *sandbox;
    struct sidecar *sidecar; /* whose container it is in, NULL = the first one */
    struct exec *next;       /* older ones */
    char *id;
    struct rt_exec *rt; /* NULL: ended, and its output is no longer kept */
    bool ended;
    enum rt_end how;
    int code;
    struct waiter *waiters;    /* for the exit */
    struct waiter *readers[2]; /* for output on stdout, stderr */
    struct stdin_write *writes;
    struct call *upload; /* the streaming stdin write under way, at most one */
    size_t reading;
    struct timer *expiry;                    /* of the output, once it has ended */
    struct exec *ended_before, *ended_after; /* in the engine's list of those whose output is kept */
    uint64_t accepted;                       /* of stdin, when rt is gone */
    bool closed;
};

/* Starts a process in a running sandbox, or in a running sidecar of it. spec is borrowed; err->code is a gRPC status.
 */
struct exec *exec_start(struct sandbox *s, struct sidecar *c, const char *id, const struct rt_exec_spec *spec,
                        struct err *err);
struct exec *exec_by_id(const struct sandbox *s, const char *id);

/*
 * Writes to stdin by the rules of rt_exec_stdin(). done(arg) is called once, from the loop, when more may be written;
 * with ok = false when the exec went away. *ret (may be NULL) is the write under way, to be given up with
 * exec_stdin_forget().
 */
int exec_stdin(struct exec *e, uint64_t offset, const void *bytes, size_t len, bool eof,
               void (*done)(void *arg, bool ok), void *arg, struct stdin_write **ret, struct err *err);
void exec_stdin_forget(struct stdin_write *w); /* done is not called any more; NULL is fine */
void exec_stdin_status(const struct exec *e, uint64_t *ret_accepted, bool *ret_closed);

/* For sandbox.c */
void exec_sandbox_ended(struct sandbox *s); /* tells whoever waits */
void exec_free_all(struct sandbox *s);      /* with their files; before the container's handle goes */

/* For sidecar.c: the same for the execs in one sidecar */
void exec_sidecar_ended(struct sandbox *s, const struct sidecar *c);
void exec_free_of(struct sandbox *s, const struct sidecar *c);
bool exec_being_read(const struct sandbox *s, const struct sidecar *c); /* whether any of their outputs is */

#endif
