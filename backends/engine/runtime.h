/*
 * Containers on this machine: one container per sandbox, or several, and any number of execs in each. Knows nothing of
 * Modal, gRPC or images: it is given layer directories and process words, and reports through callbacks on the libuv
 * loop.
 *
 * Isolation: own pid, mount, ipc, uts, cgroup and network namespaces, an overlay root over read-only layers, Docker's
 * default capability set and seccomp profile, Docker's default masked and read-only paths, cgroup limits (v1
 * controllers or v2), and NAT egress over a veth of its own where the engine is root. Sandboxes reach neither one
 * another nor the host's own addresses (name servers of resolv.conf excepted, and ping); they have no IPv6 but ::1.
 * Runtimes: crun, runc, and gVisor's runsc (`--platform=ptrace --network=host --ignore-cgroups`, or what
 * $ATP_ENGINE_RUNSC_FLAGS says). runsc's "host" network is the network namespace that it is given, which is each
 * container's own, behind the same firewall as for the others: TCP and UDP go through, ping does not, for gVisor has no
 * raw sockets there. Debian 12's runsc refuses --network=sandbox on recent kernels (it takes every network namespace
 * for the host's); a start then fails with its message. With --network=none, which is the default without root, every
 * container has loopback only and rt_network_reason() says so. Under runsc the end of a process by signal n is reported
 * as EXITED with 128 + n: gVisor tells no more. It also keeps CAP_NET_RAW to itself.
 *
 * Several containers of one sandbox (`beside`) are handles of their own, each with its own namespaces and root. They
 * share the limits: the first one's cgroup holds them all. They reach one another at any port over TCP, UDP and ICMP,
 * whatever their own network may reach, and nobody else's. /etc/hosts in each of them says `main` and every other's
 * name, and is written anew when one comes or goes: what was changed in it is lost; it stays the file that is mounted
 * there, is written in one piece and is never empty or shorter in between. They end with the first one. Where
 * containers have loopback only (rt_network_reason(), so under runsc with --network=none) they cannot reach one another
 * and no names are written. Without root containers are not joined: one more is refused.
 *
 * Without root (rootless.h) the engine does the same as root of a user namespace. Egress is then by slirp4netns, one
 * process for each sandbox, so sandboxes are apart from one another and from the host's loopback, but reach whatever
 * the user reaches, the host's other addresses included; without slirp4netns a sandbox that asks for a network is
 * refused, and an allow list always is. Limits need a cgroup v2 directory that was given to the user (as systemd does
 * for sessions); elsewhere a sandbox that asks for them is refused.
 *
 * The root is mounted in a mount namespace of its own, so the host sees no mount; a network namespace lives as long as
 * its processes. What does stay when an engine is killed (processes, veths, cgroups, iptables chains, runtime state) is
 * found again from the state folder: rt_new() removes it before it returns.
 *
 * Name servers: the host's resolv.conf without loopback addresses (with systemd's stub, the list behind it); when none
 * is left, 8.8.8.8 and 8.8.4.4, as Docker does. net.ipv4.ip_forward is switched on and stays on. The engine becomes a
 * child sub-reaper: it is the parent of every container process.
 *
 * Output is drained to files at once, so that a process is not blocked by an unread pipe and any offset can be read
 * again (protocol 6.6). Of one stream 512 MiB are kept. Then what is oldest goes, if it has been read once; an exec
 * whose output nobody reads waits, as for a full pipe, until somebody does. A sandbox's first process never waits: it
 * may run for months, and what it says is gone when it is too much, read or not.
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
    const char *dir;     /* private state folder (0700), exists; rt uses dir/run, dir/containers, dir/trash */
    const char *runtime; /* "crun", "runc", "runsc" or a path; NULL = $ATP_ENGINE_RUNTIME, else crun, else runc */
    bool network;        /* give sandboxes egress where possible; the subnet is free or in $ATP_ENGINE_SUBNET */
};

struct rt *rt_new(uv_loop_t *loop, const struct rt_config *config, struct err *err);
/*
 * Kills and removes every sandbox first; blocking, and turns the loop itself until the room's handles are closed: call
 * it when uv_run() has returned. No events are delivered any more; handles of sandboxes and execs become invalid.
 */
void rt_free(struct rt *rt);
const char *rt_name(const struct rt *rt); /* "crun", for docker info */
const char *rt_version(struct rt *rt);    /* "1.8.1", asked once; "" when the runtime does not say */
/* NULL: OPEN sandboxes have egress. Else one line saying why they have loopback only. */
const char *rt_network_reason(const struct rt *rt);
/* Whether a limit on the number of processes can be kept. */
bool rt_limits_pids(const struct rt *rt);
/* NULL: limits are enforced. Else one line saying why a sandbox with limits is refused. */
const char *rt_limits_reason(const struct rt *rt);

enum rt_network {
    RT_NETWORK_OPEN,
    RT_NETWORK_BLOCKED,
    RT_NETWORK_ALLOWLIST,
    RT_NETWORK_HOST, /* the machine's own, for builds: refused without root and under runsc */
};

struct rt_mount { /* what is made and what it is made of are kept apart: a zeroed one is a read-only bind */
    enum {
        RT_MOUNT_BIND,   /* source: a directory or file of the host */
        RT_MOUNT_LAYERS, /* source: a path without links in lowers, "" = all; what is written is thrown away */
        RT_MOUNT_TMPFS,
        RT_MOUNT_FILE, /* bytes, on no disk */
    } kind;
    const char *source, *target;
    bool read_write;              /* BIND, LAYERS */
    const struct strlist *lowers; /* LAYERS: topmost first */
    uint64_t size;                /* TMPFS: a limit, 0 = none */
    const void *bytes;            /* FILE */
    size_t len;
    mode_t mode;
    uid_t uid;
    gid_t gid;
};

struct rt_sandbox_spec { /* everything borrowed for the call */
    const char *id;      /* unique, [A-Za-z0-9-]; names the cgroup, the folder and the runtime's container */
    const char *hostname;
    const struct strlist *lowers; /* absolute layer directories, topmost first, at least one */
    const struct strlist *args;   /* argv of the first process, already ENTRYPOINT + args */
    const struct strlist *env;
    const char *workdir; /* absolute; created when missing */
    const struct rt_mount *mounts;
    size_t mounts_len;
    uint64_t memory_bytes, milli_cpu, pids; /* hard limits, 0 = none */
    enum rt_network network;
    const struct strlist *allowed_cidrs; /* with ALLOWLIST */
    bool pty;
    uint16_t pty_rows, pty_cols;
    uid_t uid; /* of the first process */
    gid_t gid;
    const gid_t *groups; /* supplementary */
    size_t groups_len;
    const char *hosts; /* the text of /etc/hosts; NULL = the usual one */
    bool one_shot;     /* for one process: no execs will come, and /etc/hostname is the image's */
    /*
     * The first container of a sandbox, which runs: this is one more of that sandbox. It has no limits of its own and
     * takes neither RT_NETWORK_BLOCKED nor RT_NETWORK_HOST. NULL = a sandbox of its own.
     */
    struct rt_sandbox *beside;
    bool silent;      /* without a pty: what the first process writes is thrown away */
    const char *name; /* with beside: what the others know it by; [A-Za-z0-9._-], not "main" */
};

enum rt_end { RT_END_EXITED, RT_END_SIGNALED, RT_END_KILLED, RT_END_START_FAILED, RT_END_LOST };

struct rt_sandbox_events {
    void (*on_started)(struct rt_sandbox *s, void *arg);
    /*
     * Called once, also when the start failed; code = exit code, signal number, or Docker's code for START_FAILED (127,
     * 126, 125) with message = one line. All output is in the streams by then.
     */
    void (*on_end)(struct rt_sandbox *s, enum rt_end how, int code, const char *message, void *arg);
    void (*on_output)(struct rt_sandbox *s, void *arg); /* the first process wrote something: read the streams */
};

/* Starts making the container; returns at once. On a spec that cannot be carried out: NULL and err (a limit without
 * cgroups...). */
struct rt_sandbox *rt_sandbox_create(struct rt *rt, const struct rt_sandbox_spec *spec,
                                     const struct rt_sandbox_events *events, void *arg, struct err *err);
void rt_sandbox_kill(struct rt_sandbox *s); /* SIGKILL to all of it; on_end follows with KILLED */
/*
 * Releases the handle after on_end. The container's files go by themselves once it has ended; what its processes wrote
 * to their outputs stays readable until the handle is released.
 */
void rt_sandbox_free(struct rt_sandbox *s);
/*
 * A non-blocking connection to a port of a running container, made within its network: what listens on its loopback is
 * reached too, and it needs no address. It stands, or is on its way; -1 and err when nobody listens there. Under runsc
 * with --network=none nobody is ever reached.
 */
int rt_sandbox_connect(struct rt_sandbox *s, uint16_t port, struct err *err);
/*
 * Replaces what a running container may reach beside its neighbours: OPEN or ALLOWLIST. Connections that are no longer
 * allowed are cut: nothing of them passes any more. done(arg, error) is called once from the loop, error NULL when it
 * holds; not when -1 was returned. One at a time.
 */
int rt_sandbox_set_network(struct rt_sandbox *s, enum rt_network network, const struct strlist *cidrs,
                           void (*done)(void *arg, const char *error), void *arg, struct err *err);
/* Directory of the container's upper layer (its changes), for snapshots; borrowed. */
const char *rt_sandbox_upper(const struct rt_sandbox *s);
/* Keeps the files of one that has not ended until as many releases, or until the handle is released. */
void rt_sandbox_hold(struct rt_sandbox *s);
void rt_sandbox_unhold(struct rt_sandbox *s);

/* ---- output and input: fd 1 or 2; offsets count bytes from the first ---- */

struct rt_stream; /* one drained output */

struct rt_stream *rt_sandbox_stream(struct rt_sandbox *s, int fd);
/*
 * Copies at most cap bytes from offset. 0 = nothing there yet, or the end (see rt_stream_ended). -1 and errno: the
 * bytes could not be kept (ENOSPC: the disk was full); the process was not held up, what came after is dropped.
 * ENODATA: they are no longer kept, see rt_stream_base().
 */
ssize_t rt_stream_read(struct rt_stream *st, uint64_t offset, void *bytes, size_t cap);
uint64_t rt_stream_len(const struct rt_stream *st);
uint64_t rt_stream_base(const struct rt_stream *st); /* the first offset that is still kept */
bool rt_stream_ended(const struct rt_stream *st);    /* end of file was seen: len is final */

/*
 * Writes to the first process's stdin with the rules of protocol 6.6: offset = bytes accepted before; a repeat is
 * dropped, a gap is -1 (err->code ERANGE), a finished process or a stdin that its reader closed is -1 (EPIPE), and more
 * than 64 MiB waiting is -1 (ENOBUFS). Bytes are queued without blocking; accepted counts queued ones. done (may be
 * NULL) is called once when the queue is below 1 MiB again, or can never be written any more: answer the RPC then. It
 * is called from the loop, never before this function returns; not when -1 was returned, and not after the handle was
 * freed. Bytes after an eof are refused (EPIPE), a second eof is ignored. With a pty, eof types the end-of-file
 * character.
 */
int rt_sandbox_stdin(struct rt_sandbox *s, uint64_t offset, const void *bytes, size_t len, bool eof,
                     void (*done)(void *arg), void *arg, struct err *err);

struct rt_exec_spec { /* borrowed for the call */
    const struct strlist *args;
    const struct strlist *env; /* complete environment of the process */
    const char *workdir;       /* NULL = the container's */
    bool pty;
    uint16_t pty_rows, pty_cols;
    bool discard_stdout, discard_stderr;
    uint32_t timeout_secs; /* 0 = none; then SIGKILL to the exec's session and to all its descendants */
};

struct rt_exec_events {
    void (*on_output)(struct rt_exec *e, int fd, void *arg); /* new bytes, or end of file, on fd */
    /*
     * how: EXITED (code), SIGNALED (signal), LOST (the sandbox is gone; code 137), START_FAILED (Docker's code: 127 not
     * found, 126 not executable, 128 else; see rt_exec_message). Output may still follow on_exit (children hold the
     * pipe); what the process itself wrote is in the stream by then.
     */
    void (*on_exit)(struct rt_exec *e, enum rt_end how, int code, void *arg);
};

struct rt_exec *rt_exec_start(struct rt_sandbox *s, const struct rt_exec_spec *spec,
                              const struct rt_exec_events *events, void *arg, struct err *err);
struct rt_stream *rt_exec_stream(struct rt_exec *e, int fd);
const char *rt_exec_message(const struct rt_exec *e); /* the runtime's line after START_FAILED, else NULL */
int rt_exec_stdin(struct rt_exec *e, uint64_t offset, const void *bytes, size_t len, bool eof, void (*done)(void *arg),
                  void *arg, struct err *err);
void rt_exec_stdin_status(const struct rt_exec *e, uint64_t *ret_accepted, bool *ret_closed);
/* Releases the handle and its files; a process that still runs is killed. rt_sandbox_free() frees the execs of its
 * sandbox. */
void rt_exec_free(struct rt_exec *e);

#endif
