/*
 * Containers on this machine: one container per sandbox, any number of execs in it. Knows nothing of Modal, gRPC or images:
 * it is given layer directories and process words, and reports through callbacks on the libuv loop.
 *
 * Isolation: own pid, mount, ipc, uts and network namespaces, an overlay root over read-only layers, Docker's default
 * capability set and seccomp profile, Docker's default masked and read-only paths, cgroup limits (v1 controllers or v2),
 * a bridge with NAT egress where the engine is root. Runtimes: crun, runc, and gVisor's runsc (`--platform=ptrace
 * --network=none --ignore-cgroups`; where it cannot do something it says so at rt_new or at create, never silently).
 *
 * Everything that a container leaves on the machine (mounts, veth, cgroups, iptables rules, runtime state, processes) is found again from
 * the state folder: rt_new() removes what an engine that was killed left behind, before it returns.
 *
 * Output is drained to files at once and for ever, so that a process is never blocked by an unread pipe and any offset
 * can be read again (protocol 6.6).
 */
#ifndef ATP_ENGINE_RUNTIME_H
#define ATP_ENGINE_RUNTIME_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct err;
struct rt;
struct rt_sandbox;
struct rt_exec;

struct rt_config {
    const char *dir;      /* private state folder (0700), exists; rt uses dir/run, dir/containers */
    const char *runtime;  /* "crun", "runc", "runsc" or a path; NULL = $ATP_ENGINE_RUNTIME, else crun, else runc */
    bool network;         /* give sandboxes a bridge where possible */
};

struct rt *rt_new(uv_loop_t *loop, const struct rt_config *config, struct err *err);
void rt_free(struct rt *rt); /* kills and removes every sandbox first; blocking */
const char *rt_name(const struct rt *rt); /* "crun", for docker info */

enum rt_network { RT_NETWORK_OPEN, RT_NETWORK_BLOCKED, RT_NETWORK_ALLOWLIST };

struct rt_mount { /* a host directory or file bound read-only into the container (the platform's own files) */
    const char *source, *target;
};

struct rt_sandbox_spec { /* everything borrowed for the call */
    const char *id;                 /* unique, [A-Za-z0-9-]; names the cgroup, the folder and the runtime's container */
    const char *hostname;
    const struct strlist *lowers;   /* absolute layer directories, topmost first, at least one */
    const struct strlist *args;     /* argv of the first process, already ENTRYPOINT + args */
    const struct strlist *env;
    const char *workdir;            /* absolute; created when missing */
    const struct rt_mount *mounts;
    size_t mounts_len;
    uint64_t memory_bytes, milli_cpu, pids; /* hard limits, 0 = none */
    enum rt_network network;
    const struct strlist *allowed_cidrs;    /* with ALLOWLIST */
    bool pty;
    uint16_t pty_rows, pty_cols;
};

enum rt_end { RT_END_EXITED, RT_END_SIGNALED, RT_END_KILLED, RT_END_START_FAILED, RT_END_LOST };

struct rt_sandbox_events {
    void (*on_started)(struct rt_sandbox *s, void *arg);
    /* Called once, also when the start failed; code = exit code, or signal number, message = one line for START_FAILED. */
    void (*on_end)(struct rt_sandbox *s, enum rt_end how, int code, const char *message, void *arg);
    void (*on_output)(struct rt_sandbox *s, void *arg); /* the first process wrote something: read the streams */
};

/* Starts making the container; returns at once. On a spec that cannot be carried out: NULL and err (a limit without cgroups...). */
struct rt_sandbox *rt_sandbox_create(struct rt *rt, const struct rt_sandbox_spec *spec,
                                     const struct rt_sandbox_events *events, void *arg, struct err *err);
void rt_sandbox_kill(struct rt_sandbox *s); /* SIGKILL to all of it; on_end follows with KILLED */
/* Releases the handle after on_end and removes the container's files. */
void rt_sandbox_free(struct rt_sandbox *s);
/* Directory of the container's upper layer (its changes), for snapshots; borrowed. */
const char *rt_sandbox_upper(const struct rt_sandbox *s);

/* ---- output and input: fd 1 or 2; offsets count bytes from the first ---- */

struct rt_stream; /* one drained output */

struct rt_stream *rt_sandbox_stream(struct rt_sandbox *s, int fd);
/* Copies at most cap bytes from offset. 0 = nothing there yet, or the end (see rt_stream_ended). */
ssize_t rt_stream_read(struct rt_stream *st, uint64_t offset, void *bytes, size_t cap);
uint64_t rt_stream_len(const struct rt_stream *st);
bool rt_stream_ended(const struct rt_stream *st); /* end of file was seen: len is final */

/*
 * Writes to the first process's stdin with the rules of protocol 6.6: offset = bytes accepted before; a repeat is
 * dropped, a gap is -1 (err), a finished process is -1 (err->code EPIPE). Bytes are queued without blocking; accepted
 * counts queued ones. done (may be NULL) is called when the queue is below 1 MiB again: answer the RPC then.
 */
int rt_sandbox_stdin(struct rt_sandbox *s, uint64_t offset, const void *bytes, size_t len, bool eof,
                     void (*done)(void *arg), void *arg, struct err *err);

struct rt_exec_spec { /* borrowed for the call */
    const struct strlist *args;
    const struct strlist *env;   /* complete environment of the process */
    const char *workdir;         /* NULL = the container's */
    bool pty;
    uint16_t pty_rows, pty_cols;
    bool discard_stdout, discard_stderr;
    uint32_t timeout_secs;       /* 0 = none; then SIGKILL to the exec's whole process group */
};

struct rt_exec_events {
    void (*on_output)(struct rt_exec *e, int fd, void *arg); /* new bytes, or end of file, on fd */
    /* how: EXITED (code), SIGNALED (signal), LOST (the sandbox is gone). Output may still follow on_exit (children hold the pipe). */
    void (*on_exit)(struct rt_exec *e, enum rt_end how, int code, void *arg);
};

struct rt_exec *rt_exec_start(struct rt_sandbox *s, const struct rt_exec_spec *spec, const struct rt_exec_events *events,
                              void *arg, struct err *err);
struct rt_stream *rt_exec_stream(struct rt_exec *e, int fd);
int rt_exec_stdin(struct rt_exec *e, uint64_t offset, const void *bytes, size_t len, bool eof,
                  void (*done)(void *arg), void *arg, struct err *err);
void rt_exec_stdin_status(const struct rt_exec *e, uint64_t *ret_accepted, bool *ret_closed);
/* Releases the handle and its files; a process that still runs is killed. rt_sandbox_free() frees the execs of its sandbox. */
void rt_exec_free(struct rt_exec *e);

#endif
