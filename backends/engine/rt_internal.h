/*
 * What the files of the runtime share: the containers' bookkeeping (rt_sandbox.c, rt_exec.c), and under them small
 * parts that know nothing of one another: the loop's tools (rt_loop.c), processes (rt_spawn.c), streams (rt_stdio.c),
 * the bundle (rt_bundle.c, rt_seccomp.c, rt_root.c), cgroups (rt_cgroup.c), network (rt_net.c, rt_netlink.c,
 * rt_firewall.c), recovery (rt_recover.c) and files (rt_files.c, rt_trash.c). Nobody outside includes this.
 */
#ifndef ATP_ENGINE_RT_INTERNAL_H
#define ATP_ENGINE_RT_INTERNAL_H

#include "backends/engine/runtime.h"
#include "backends/engine/timer.h"
#include "compat/base/buf.h"

#include <jansson.h>

#define RT_STDIN_LOW (1u << 20)  /* below this much queued input a writer is told to go on */
#define RT_STDIN_MAX (64u << 20) /* input queued for one process: Modal's clients send 16 MiB at a time */
#define RT_DRAIN_TURN                                                                                                  \
    (1u << 20) /* output moved per turn of the loop, so that one talker does not starve the others                     \
                */
#define RT_OUTPUT_MAX       (512u << 20) /* kept of one stream; see runtime.h */
#define RT_JOBS             8            /* containers made or removed at the same time */
#define RT_AWAITED          64           /* children that threads wait for: RT_JOBS and the loop's thread, with room */
#define RT_KILL_DEADLINE    10000        /* ms that killed processes get to disappear: a core dump or a slow disk */
#define RT_LINE_MAX         4096u        /* a runtime's error line */
#define RT_STARTER_PATIENCE 5000         /* ms for a starter to say that it has started something */
#define RT_STARTER_BREAKS   3            /* starters that break without having started anything, one after the other */
#define RT_CONTROLLERS      4

enum rt_kind { RT_CRUN, RT_RUNC, RT_RUNSC };

/* ---- rt_loop.c: descriptors, child processes and threads on the loop ---- */

struct rt_poll;
struct rt_child;
struct rt_job;

typedef void rt_poll_fn(void *arg);
typedef void rt_child_fn(int status, void *arg);
typedef void rt_job_fn(void *arg);

/* Calls fn whenever fd is ready for events (UV_READABLE...). fd is borrowed and must be open until rt_poll_stop(). */
struct rt_poll *rt_poll_start(struct rt *rt, int fd, int events, rt_poll_fn *fn, void *arg);
void rt_poll_stop(struct rt_poll **poll); /* NULL inside is fine; *poll becomes NULL */

/*
 * Calls fn once, from the loop, with waitpid's status; -1 when pid is not our child. *slot is set until then, so that
 * "does it run?" is "is the slot set?".
 */
void rt_child_watch(struct rt *rt, struct rt_child **slot, pid_t pid, rt_child_fn *fn, void *arg);
void rt_child_forget(struct rt_child **slot); /* still reaped, nobody told; an empty slot is fine */
/* Whether pid is a child of ours, alive or just ended, that nobody watches. */
bool rt_child_is_new(struct rt *rt, pid_t pid);

/* Runs work(arg) in a thread of its own, then done(arg) in the loop. At most RT_JOBS at once, first come first served.
 */
void rt_job_run(struct rt *rt, rt_job_fn *work, rt_job_fn *done, void *arg);
/* Calls fn(arg) from the loop, soon, never before this function returns. */
void rt_later(struct rt *rt, rt_job_fn *fn, void *arg);

int rt_loop_init(struct rt *rt, struct err *err);
void rt_loop_finish(struct rt *rt); /* closes what is open and turns the loop until it is closed */

/* ---- rt_spawn.c ---- */

struct rt_spawn {
    char *const *argv;
    const char *program; /* NULL = argv[0] */
    const char *cwd;     /* NULL = ours */
    int fds[3];          /* stdin, stdout, stderr; -1 = /dev/null */
    const int *join;     /* cgroup.procs descriptors: the child puts itself in before it execs */
    size_t join_len;
    int mount_ns; /* namespace to enter, -1 = none */
    int third;    /* descriptor 3, 0 = none */
};

/* Returns the child's pid once it has execed, or -1. */
pid_t rt_spawn(const struct rt_spawn *spawn, struct err *err);
/* Closes a descriptor in children at once, not only when they exec. */
void rt_spawn_hide(int fd);
void rt_spawn_unhide(int fd);
/* While held, no child of rt_spawn_wait() appears or goes unnoted. */
void rt_spawn_lock(void);
void rt_spawn_unlock(void);
bool rt_spawn_awaited(pid_t pid);
/* Runs to the end (for threads, not the loop). Returns waitpid's status, or -1. */
int rt_spawn_wait(const struct rt_spawn *spawn, struct err *err);

/* ---- rt_stdio.c ---- */

struct rt_input;

struct rt_stream *rt_stream_new(struct rt *rt, rt_poll_fn *on_output, void *arg);
void rt_stream_free(struct rt_stream *st);
void rt_stream_never_full(struct rt_stream *st); /* what is oldest goes, read or not */
/* Makes the pipe; the write end for the process comes back. */
int rt_stream_pipe(struct rt_stream *st, int *ret_write_end, struct err *err);
void rt_stream_tty(struct rt_stream *st, int master); /* takes master: the stream is what a terminal shows */
void rt_stream_end(struct rt_stream *st);             /* nothing will come: ended, length final */
void rt_stream_drain(struct rt_stream *st);           /* moves what is there now, without telling anybody */

struct rt_input *rt_input_new(struct rt *rt);
void rt_input_free(struct rt_input *in);
int rt_input_pipe(struct rt_input *in, int *ret_read_end, struct err *err);
void rt_input_tty(struct rt_input *in, int master); /* takes master */
void rt_input_end(struct rt_input *in); /* the process is gone: waiting writers are told, later writes are EPIPE */
int rt_input_write(struct rt_input *in, uint64_t offset, const void *bytes, size_t len, bool eof, void (*done)(void *),
                   void *arg, struct err *err);
void rt_input_status(const struct rt_input *in, uint64_t *ret_accepted, bool *ret_closed);

/* A listening Unix socket for the runtime's --console-socket, and the terminal that it sends. */
int rt_console_listen(const char *path, int *ret_fd, struct err *err);
/* Takes the runtime's connection, then the master side of the terminal, whose size is set; -1 and EAGAIN when not there
 * yet. */
int rt_console_accept(int listener);
int rt_console_take(int connection, uint16_t rows, uint16_t cols);

/* ---- rt_cgroup.c ---- */

struct rt_cgroups { /* what this machine offers */
    bool v2;
    char *dirs[RT_CONTROLLERS]; /* this engine's directory per controller (v2: [0] only); NULL = not there */
    bool limits[3];             /* memory, cpu, pids: can be set */
    struct strlist mounts;      /* every hierarchy's mount point */
    char *key;
    int kill_at;  /* index of the directory whose members are the sandbox's processes, -1 = none */
    char *reason; /* why limits cannot be enforced, NULL = they can */
};

struct rt_cgroup { /* one container's */
    const struct rt_cgroups *all;
    char *id;                   /* SANDBOX, or SANDBOX/CONTAINER for one more of it */
    bool held[RT_CONTROLLERS];  /* where it has a directory */
    int procs[RT_CONTROLLERS]; /* descriptors of cgroup.procs to join by */
    size_t procs_len;
};

void rt_cgroups_init(struct rt_cgroups *all, const char *key);
void rt_cgroups_clear(struct rt_cgroups *all); /* removes this engine's empty directories too */
/* Refuses limits that this machine cannot keep. */
int rt_cgroup_check(const struct rt_cgroups *all, uint64_t memory, uint64_t milli_cpu, uint64_t pids, struct err *err);
/* Makes the sandbox's cgroups with their limits. */
int rt_cgroup_make(struct rt_cgroup *cg, const struct rt_cgroups *all, const char *id, uint64_t memory,
                   uint64_t milli_cpu, uint64_t pids, struct err *err);
/* A place without limits of its own within another's: that one's limits hold for both. id = parent->id/NAME. */
int rt_cgroup_make_below(struct rt_cgroup *cg, const struct rt_cgroup *parent, const char *id, struct err *err);
void rt_cgroup_clear(struct rt_cgroup *cg);
void rt_cgroup_kill(const struct rt_cgroups *all, const char *id); /* SIGKILL to every member, once */
bool rt_cgroup_empty(const struct rt_cgroups *all, const char *id);
/* Kills until nobody is left, then removes the directories and those below; 0, or -1 at the deadline. For threads. */
int rt_cgroup_remove(const struct rt_cgroups *all, const char *id, struct err *err);
void rt_cgroups_list(const struct rt_cgroups *all, struct strlist *ret_ids); /* sandboxes that have a directory */
/* Adds the pids of the members; false when the machine has no cgroup for it. */
bool rt_cgroup_members(const struct rt_cgroups *all, const char *id, pid_t **ret_pids, size_t *ret_len);
/* What the container's path is called for a runtime that does its cgroups itself (runc). */
char *rt_cgroup_path(const struct rt_cgroups *all, const char *id);

/* ---- rt_net.c ---- */

struct rt_net;

struct rt_net_slot { /* one sandbox's network: a namespace and maybe a veth in it */
    int ns;          /* descriptor, -1 = none */
    unsigned index;  /* address number in the subnet, 0 = loopback only */
    unsigned group;  /* those of one group reach one another: the number of the sandbox's first container, 0 = none */
    bool joined;     /* it is not the first of its group */
    char address[16];
    struct strlist rules; /* of the allow list, to be taken out again */
    int keeper;           /* while it is open slirp4netns serves the namespace; 0 = none */
};

/* Sets up the subnet and the rules; NULL and *ret_reason (owned by caller) when sandboxes can have loopback only. */
struct rt_net *rt_net_new(const struct strlist *nameservers, char **ret_reason);
/* The same by slirp4netns, without root; *ret_refusal then says why sandboxes with a network are refused. */
struct rt_net *rt_net_new_rootless(char **ret_refusal);
void rt_net_free(struct rt_net *net); /* removes rules and what is left of veths */
/* Removes what engines that were killed left. */
void rt_net_recover(void);
/*
 * A network namespace with lo up and, with net, a veth; group and joined are set when it joins a group. For
 * threads; the thread's own namespace is unchanged.
 */
int rt_net_attach(struct rt_net *net, enum rt_network mode, const struct strlist *cidrs, struct rt_net_slot *slot,
                  struct err *err);
/* The group whose first container has this slot; it ends when that is detached. 0 = none. */
unsigned rt_net_group(struct rt_net *net, struct rt_net_slot *slot);
void rt_net_detach(struct rt_net *net, struct rt_net_slot *slot);
/* Replaces the allow list of a slot with an address; NULL = it may reach everything. */
int rt_net_restrict(struct rt_net *net, struct rt_net_slot *slot, const struct strlist *cidrs, struct err *err);
bool rt_net_joins(const struct rt_net *net); /* whether containers can be put into one group */
int rt_net_check_cidrs(const struct strlist *cidrs, struct err *err);

/* ---- rt_slirp.c ---- */

/* Gives slot->ns a device with the way out; slot->keeper and slot->address are set. */
int rt_slirp_start(const char *program, struct rt_net_slot *slot, struct err *err);
/* Replaces the name servers of a resolv.conf by slirp4netns's own. */
void rt_slirp_resolv(struct buf *text);

/* ---- rt_netlink.c: the few messages that rt_net.c needs; fd is an rtnetlink socket, which belongs to a namespace ----
 */

int rt_nl_open(struct err *err);
int rt_nl_veth(int fd, const char *host, const char *inside, int ns, const uint8_t mac[6], struct err *err);
int rt_nl_index(int fd, const char *name, struct err *err);
int rt_nl_up(int fd, int index, struct err *err);
int rt_nl_address(int fd, int index, uint32_t local, uint32_t peer, int prefix, struct err *err);
int rt_nl_default_route(int fd, uint32_t gateway, struct err *err);
int rt_nl_delete(int fd, const char *name, struct err *err);
int rt_nl_links(int fd, struct strlist *ret_names, struct err *err);
/* Whether any address or route (but the default one) overlaps base/prefix (host order). */
int rt_nl_overlaps(int fd, uint32_t base, int prefix, bool *ret, struct err *err);

/* ---- rt_firewall.c ---- */

int rt_firewall_setup(unsigned number, const char *subnet, const struct strlist *nameservers, struct err *err);
void rt_firewall_remove(unsigned number);
int rt_firewall_allow(unsigned number, const char *link, const struct strlist *cidrs, struct strlist *ret_rules,
                      struct err *err);
void rt_firewall_disallow(const struct strlist *rules);
/* Lets devices whose names begin so send to one another; or no longer. */
int rt_firewall_join(unsigned number, const char *prefix, struct err *err);
void rt_firewall_part(unsigned number, const char *prefix);

/* ---- rt_seccomp.c, rt_bundle.c, rt_root.c ---- */

json_t *rt_seccomp_profile(void); /* owned by caller */
/*
 * Compiling the profile is a quarter of what crun does to start a container. It leaves the result in its state folder,
 * which nobody else can write to, and takes it again from an annotation: base64, owned by caller, NULL without.
 */
char *rt_seccomp_made(const struct rt *rt, const char *id);

struct rt_bundle {
    const struct rt_sandbox_spec *spec;
    enum rt_kind kind;
    json_t *seccomp;            /* borrowed */
    const char *seccomp_made;   /* the same as crun has compiled it (rt_seccomp_made), NULL = not known yet */
    const char *const *sources; /* of the spec's mounts, as rt_mounts_make() left them */
    const char *root, *etc;     /* the root's mount point; the folder of the generated resolv.conf, hosts, hostname */
    const char *netns;          /* path of the network namespace, NULL = the machine's own */
    const char *cgroup_path;    /* NULL = the runtime leaves cgroups alone */
    const char *cgroup_mount;   /* type to mount at /sys/fs/cgroup, NULL = none */
};

int rt_bundle_write(const struct rt_bundle *b, const char *path, struct err *err);
int rt_process_write(const struct rt_exec_spec *spec, const char *workdir, const char *path, struct err *err);
/* Says what rt_process_write() would say of these words, and writes nothing. */
int rt_process_check(const struct rt_exec_spec *spec, const char *workdir, struct err *err);

/* The usual text of /etc/hosts. address "" = loopback only; owned by caller. */
char *rt_root_hosts(const char *hostname, const char *address);
/* Makes dir/hosts, dir/hostname, dir/resolv.conf. */
int rt_root_etc(const char *dir, const char *hostname, const char *resolv, const char *hosts, struct err *err);
/* Mounts the overlay at dir/root; upper and work are made below dir. links is a folder for short names of the layers.
 */
int rt_root_mount(const char *dir, const struct strlist *lowers, struct err *err);
/*
 * Makes what mounts are to be bound from, in the calling thread's own mount namespace, below dir: overlays, files in
 * memory. Appends one path for each mount ("" for those that need none).
 */
int rt_mounts_make(const char *dir, const struct rt_mount *mounts, size_t len, struct strlist *ret_sources,
                   struct err *err);
/* Deep copies, in an array that is owned by caller; NULL when len is 0. */
struct rt_mount *rt_mounts_copy(const struct rt_mount *mounts, size_t len);
void rt_mounts_free(struct rt_mount *mounts, size_t len);
/* resolv.conf for containers (see runtime.h), and the addresses in it. */
void rt_resolv_conf(const char *path, const char *stub_path, struct buf *ret_text, struct strlist *ret_servers);

/* ---- rt_files.c ---- */

/* Removes path and all below it, whatever is there, without following links; 0 when it is gone. */
int rt_remove_tree(const char *path, struct err *err);
int rt_write_text(const char *path, const char *text, mode_t mode, struct err *err);
/* One line of a small file, without the newline, owned by caller; NULL when it cannot be read. */
char *rt_read_line(const char *path);
/* The runtime's last error line out of its JSON log, owned by caller; NULL when it has none. */
char *rt_log_message(const char *path);
/* Start time of a process in clock ticks since boot, 0 when there is none: with the pid it names a process for ever. */
uint64_t rt_process_start(pid_t pid);
/* Parent and session of a process, and whether it is on its way out; false when there is none. */
bool rt_process_stat(pid_t pid, pid_t *ret_parent, pid_t *ret_session, bool *ret_exiting);

/* A program's bytes in memory, executable, that nobody can change; -1 and errno. */
int rt_sealed_program(const char *name, const void *bytes, size_t len);

/* ---- rt_trash.c ---- */

int rt_trash_init(struct rt *rt, struct err *err);
/* Moves a folder away for good; in any thread. */
int rt_trash_put(const struct rt *rt, const char *dir, struct err *err);
void rt_trash_sweep(struct rt *rt); /* begins to remove what was moved away; from the loop */

/* ---- rt_pod.c: the containers of one sandbox ---- */

int rt_pod_check(const struct rt *rt, const struct rt_sandbox_spec *spec, struct err *err);
struct rt_sandbox *rt_pod_main(struct rt_sandbox *s); /* its first container, maybe itself */
/* The lines of /etc/hosts about all that run now, s included once it has an address. */
void rt_pod_names(struct rt_sandbox *s, struct buf *ret);
void rt_pod_name_line(const struct rt_sandbox *s, struct buf *ret); /* about itself; "" without address */
void rt_pod_changed(struct rt_sandbox *s); /* one has come or gone: names are written anew in all that run */
void rt_pod_kill(struct rt_sandbox *s);    /* with the first container the others go; nothing for another */
bool rt_pod_is_empty(const struct rt_sandbox *s); /* nobody is left on the machine beside this first container */

/* ---- rt_recover.c ---- */

int rt_recover(struct rt *rt, struct err *err);

/* ---- the room itself: rt.c, rt_sandbox.c, rt_exec.c ---- */

enum rt_state { RT_STARTING, RT_RUNNING, RT_ENDED };

struct rt {
    uv_loop_t *loop;
    enum rt_kind kind;
    char *name, *path, *version;
    char *dir;   /* absolute */
    char *trash; /* folder of what is to be removed */
    bool sweeping, sweep_again;
    char *state_root;    /* the runtime's own */
    int copy;            /* of crun, in memory; -1 = none */
    char *program;       /* what is executed: path, or the copy's name */
    char *seccomp_made;  /* base64, set once */
    bool gvisor_alone;   /* runsc that gives containers no network */
    struct strlist base; /* the words that every call of the runtime begins with, without --log */
    int lock;            /* one engine per state folder */
    int mount_ns;        /* where the runtime's calls are made, -1 = in ours */
    int starter_program; /* -1 = there are no starters */
    uint64_t output_max; /* RT_OUTPUT_MAX; tests take less */
    struct rt_cgroups cgroups;
    struct rt_net *net;
    char *net_reason;
    bool net_refused; /* sandboxes that ask for a network are refused for that reason */
    struct buf resolv;
    json_t *seccomp;
    struct rt_sandbox *sandboxes;
    bool closing;
    struct rt_loop *tools;
};

struct rt_sandbox {
    struct rt *rt;
    struct rt_sandbox *next;
    struct rt_sandbox_events events;
    void *arg;
    char *id, *dir, *upper, *workdir;
    char *cgroup_id, *hostname, *name; /* name: of one that is not the first, else NULL */
    struct rt_sandbox *main;           /* of one that is not the first, until it is cleaned; else NULL */
    bool cleaning;
    bool changing; /* a thread works on its network */
    enum rt_state state;
    bool killed;   /* by us */
    bool released; /* rt_sandbox_free() was called */
    bool cleaned;  /* nothing of it is left but the files */
    bool keep;     /* the files stay for now; set before the cleaning thread looks */
    unsigned holds;
    struct rt_cgroup cgroup;
    struct rt_net_slot net;
    pid_t init;
    struct rt_child *child;
    struct rt_stream *streams[2];
    struct rt_input *input;
    struct rt_exec *execs;
    struct rt_starter *starter; /* NULL until the first is put there */
    struct rt_start *start;     /* while starting */
};

/* argv for one call of the runtime on this container: base, --log, then the caller's words. */
void rt_argv(struct rt *rt, const char *log, struct strlist *ret);
/* A program in the PATH, or where a daemon's PATH may not lead; owned by caller, NULL = not there. */
char *rt_find_program(const char *name);
/* Docker's exit code for a runtime's error line. */
int rt_start_code(const char *message);

void rt_sandbox_changed(struct rt_sandbox *s); /* it is not `changing` any more */

/* Removes what the runtime keeps about a container. */
void rt_remove_state(const struct rt *rt, const char *id);

void rt_exec_begin_waiting(struct rt_sandbox *s); /* the sandbox runs now, or its starter is there, or will not be */
void rt_exec_sandbox_ended(struct rt_exec *e);    /* it ends LOST */
struct rt_exec *rt_exec_first_live(struct rt_sandbox *s); /* not ended, or NULL */
/*
 * A report of the sandbox's starter on the exec of that number; sender is new (rt_child_is_new) if said is
 * STARTER_STARTED. False when it makes no sense.
 */
bool rt_exec_reported(struct rt_sandbox *s, uint64_t number, pid_t sender, uint32_t said, int error);
void rt_exec_starter_lost(struct rt_sandbox *s); /* what it was asked for and has not started waits again */

/* ---- rt_starter.c ---- */

void rt_starters_init(struct rt *rt); /* ATP_ENGINE_EXEC=runtime: no starters, every exec is a run of the runtime */
void rt_starters_finish(struct rt *rt);
struct rt_launch { /* a starter on its way */
    int socket;    /* owned; -1 = there is none */
    pid_t runtime;
};

/* Begins to put a starter into a sandbox whose container runs; in any thread. Then rt_starter_await(), which takes it.
 */
struct rt_launch rt_starter_launch(const struct rt_sandbox *s);
void rt_starter_await(struct rt_sandbox *s, struct rt_launch made);
/* Both, unless there is a starter, or none will do. */
void rt_starter_begin(struct rt_sandbox *s);
bool rt_starter_coming(const struct rt_sandbox *s); /* rt_exec_begin_waiting() is called when it is there, or is not */
bool rt_starter_ready(const struct rt_sandbox *s);
/*
 * Asks for a process with these descriptors (three, or one that is a terminal), which stay the caller's. Then either
 * rt_exec_reported() or rt_exec_starter_lost() is called. -1: it was not asked.
 */
int rt_starter_ask(struct rt_sandbox *s, uint64_t number, const char *folder, const struct strlist *args,
                   const struct strlist *env, const int *fds, bool terminal);
/* A new terminal of the container's; both ends are owned by caller. Only with a ready starter. */
int rt_starter_terminal(const struct rt_sandbox *s, uint16_t rows, uint16_t cols, int *ret_master, int *ret_slave);
void rt_starter_listen(struct rt_sandbox *s); /* passes on what it has said by now */
void rt_starter_broke(struct rt_sandbox *s);  /* it does not do its work */
void rt_starter_stop(struct rt_sandbox *s);   /* the sandbox has ended; nobody is told */
void rt_starter_free(struct rt_sandbox *s);
/* SIGKILL to a process, its descendants and all of its session, within one sandbox. */
void rt_kill_session(const struct rt_sandbox *s, pid_t pid);
/* The same inside gVisor, where pids are its own. For threads. */
void rt_kill_in_gvisor(struct rt *rt, const char *id, const char *dir, pid_t root);
/* The pid in a file, once the runtime has written it; 0 when it ends before. For threads. */
pid_t rt_await_pid(const char *pid_file, pid_t runtime);

#endif
