/*
 * Docker's default system call rules, as data: what a container with Docker's default capabilities may call. Facts
 * taken from Docker's profile with its conditions resolved for those capabilities and kernel 4.8 or later: chroot and
 * ptrace are in; what asks for CAP_SYS_ADMIN, CAP_SYS_MODULE, CAP_SYS_TIME and the like is out. Everything not named
 * gives EPERM.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <openssl/evp.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/socket.h>

#define SECCOMP_MADE_MAX (256u << 10) /* a filter has at most 4096 instructions of 8 bytes */

/* Alphabetical. Names that an architecture does not have are skipped by the runtimes. */
static const char *const allowed[] = {
    "_llseek",
    "_newselect",
    "accept",
    "accept4",
    "access",
    "adjtimex",
    "alarm",
    "bind",
    "brk",
    "cachestat",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "chown32",
    "chroot",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "close",
    "close_range",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "fallocate",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fork",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "futex",
    "futex_requeue",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "futimesat",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getcwd",
    "getdents",
    "getdents64",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getitimer",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getrlimit",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "gettid",
    "gettimeofday",
    "getuid",
    "getuid32",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_setup",
    "io_submit",
    "ioctl",
    "ioprio_get",
    "ioprio_set",
    "ipc",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lchown",
    "lchown32",
    "lgetxattr",
    "link",
    "linkat",
    "listen",
    "listmount",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "lstat64",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mmap2",
    "mprotect",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedreceive_time64",
    "mq_timedsend",
    "mq_timedsend_time64",
    "mq_unlink",
    "mremap",
    "mseal",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "name_to_handle_at",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe",
    "pipe2",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "poll",
    "ppoll",
    "ppoll_time64",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "prlimit64",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "pselect6",
    "pselect6_time64",
    "ptrace",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "remap_file_pages",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "restart_syscall",
    "riscv_hwprobe",
    "rmdir",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "select",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "send",
    "sendfile",
    "sendfile64",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setrlimit",
    "setsid",
    "setsockopt",
    "setuid",
    "setuid32",
    "setxattr",
    "setxattrat",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "sigprocmask",
    "sigreturn",
    "socketcall",
    "socketpair",
    "splice",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statmount",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "sysinfo",
    "tee",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_gettime64",
    "timer_settime",
    "timer_settime64",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_gettime64",
    "timerfd_settime",
    "timerfd_settime64",
    "times",
    "tkill",
    "truncate",
    "truncate64",
    "ugetrlimit",
    "umask",
    "uname",
    "unlink",
    "unlinkat",
    "uretprobe",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
    "vfork",
    "vmsplice",
    "wait4",
    "waitid",
    "waitpid",
    "write",
    "writev",
};

static const char *const allowed_x86[] = {"arch_prctl", "modify_ldt"};
static const char *const allowed_arm[] = {
    "arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2",
};

/* One rule: names, action, and at most one condition on an argument. */
static void add_rule(json_t *rules, const char *const *names, size_t len, const char *action, json_t *condition)
{
    json_t *rule = json_object(), *list = json_array();

    for (size_t i = 0; i < len; i++)
        json_array_append_new(list, json_string(names[i]));
    json_object_set_new(rule, "names", list);
    json_object_set_new(rule, "action", json_string(action));
    if (condition)
        json_object_set_new(rule, "args", json_pack("[o]", condition));
    json_array_append_new(rules, rule);
}

/* "Argument 0 compares so with value" */
static json_t *when(const char *op, json_int_t value)
{
    return json_pack("{s:i, s:I, s:I, s:s}", "index", 0, "value", value, "valueTwo", (json_int_t)0, "op", op);
}

static void add_conditional_rules(json_t *rules)
{
    static const json_int_t personalities[] = {
        PER_LINUX, PER_LINUX32, UNAME26, PER_LINUX32 | UNAME26, 0xffffffff /* asks, changes nothing */,
    };
    const json_int_t namespaces =
        CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
    static const char *const socket_name[] = {"socket"}, *const personality_name[] = {"personality"},
                             *const clone_name[] = {"clone"}, *const clone3_name[] = {"clone3"};

    /* Every family but AF_ALG and AF_VSOCK */
    add_rule(rules, socket_name, 1, "SCMP_ACT_ALLOW", when("SCMP_CMP_LT", AF_ALG));
    add_rule(rules, socket_name, 1, "SCMP_ACT_ALLOW", when("SCMP_CMP_EQ", AF_ALG + 1));
    add_rule(rules, socket_name, 1, "SCMP_ACT_ALLOW", when("SCMP_CMP_GT", AF_VSOCK));
    for (size_t i = 0; i < sizeof(personalities) / sizeof(*personalities); i++)
        add_rule(rules, personality_name, 1, "SCMP_ACT_ALLOW", when("SCMP_CMP_EQ", personalities[i]));
    add_rule(rules, clone_name, 1, "SCMP_ACT_ALLOW", when("SCMP_CMP_MASKED_EQ", namespaces));
    /* clone3's flags are behind a pointer that a filter cannot follow; ENOSYS makes libraries fall back to clone. */
    add_rule(rules, clone3_name, 1, "SCMP_ACT_ERRNO", NULL);
    json_object_set_new(json_array_get(rules, json_array_size(rules) - 1), "errnoRet", json_integer(ENOSYS));
}

json_t *rt_seccomp_profile(void)
{
    json_t *rules = json_array();

    add_rule(rules, allowed, sizeof(allowed) / sizeof(*allowed), "SCMP_ACT_ALLOW", NULL);
#if defined(__x86_64__)
    json_t *machines = json_pack("[s, s, s]", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32");

    (void)allowed_arm;
    add_rule(rules, allowed_x86, sizeof(allowed_x86) / sizeof(*allowed_x86), "SCMP_ACT_ALLOW", NULL);
#elif defined(__aarch64__)
    json_t *machines = json_pack("[s, s]", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM");

    (void)allowed_x86;
    add_rule(rules, allowed_arm, sizeof(allowed_arm) / sizeof(*allowed_arm), "SCMP_ACT_ALLOW", NULL);
#else
#error "the list of system calls of this machine is not written yet"
#endif
    add_conditional_rules(rules);
    return json_pack("{s:s, s:i, s:o, s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", EPERM,
                     "architectures", machines, "syscalls", rules);
}

char *rt_seccomp_made(const struct rt *rt, const char *id)
{
    cleanup_free char *path = xasprintf("%s/%s/seccomp.bpf", rt->state_root, id);
    cleanup_buf struct buf filter = BUF_INIT(SECCOMP_MADE_MAX);
    char *text;

    if (rt->kind != RT_CRUN || fs_read_file(path, &filter, NULL) < 0 || filter.len == 0)
        return NULL;
    text = xmalloc(4 * ((filter.len + 2) / 3) + 1);
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)filter.data, (int)filter.len);
    return text;
}
