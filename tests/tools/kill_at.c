/* link: atp_base */
/*
 * Kills a program at a chosen step: kill_at N PROGRAM [ARG...] runs it and sends KILL at the N-th system call of its
 * main thread by which it changes something outside itself, before the call is made. Returns 137 then, otherwise the
 * program's own code: counting up from 1 until it is not 137 walks through every state that a kill can leave behind.
 * What the program starts is not followed and lives on.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

/* Whether the call changes something that others can see: files, connections, processes. */
static bool changes(const struct ptrace_syscall_info *call)
{
    switch (call->entry.nr) {
    case SYS_write:
    case SYS_writev:
    case SYS_pwrite64:
    case SYS_pwritev:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_connect:
    case SYS_shutdown:
    case SYS_ftruncate:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_flock:
    case SYS_renameat2:
    case SYS_renameat:
    case SYS_linkat:
    case SYS_symlinkat:
    case SYS_unlinkat:
    case SYS_mkdirat:
    case SYS_clone:
    case SYS_clone3:
    case SYS_kill:
    case SYS_exit_group:
        return true;
#ifdef SYS_open /* what only older machines have */
    case SYS_rename:
    case SYS_link:
    case SYS_symlink:
    case SYS_unlink:
    case SYS_rmdir:
    case SYS_mkdir:
    case SYS_fork:
    case SYS_vfork:
        return true;
    case SYS_open:
        return (call->entry.args[1] & O_CREAT) != 0;
#endif
    case SYS_openat:
        return (call->entry.args[2] & O_CREAT) != 0;
    default:
        return false;
    }
}

static int fail(const char *what)
{
    perror(what);
    return 125;
}

/* One stop of the traced program: true when the call that it is about to make is one that counts. */
static bool counts(pid_t pid)
{
    struct ptrace_syscall_info info;

    return ptrace((enum __ptrace_request)PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) > 0 &&
           info.op == PTRACE_SYSCALL_INFO_ENTRY && changes(&info);
}

/* Follows it from call to call. */
static int follow(pid_t pid, long n)
{
    long seen = 0;
    int status, pass = 0;

    for (;;) {
        if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)pass) < 0 && errno != ESRCH)
            return fail("ptrace");
        if (waitpid(pid, &status, 0) < 0)
            return fail("waitpid");
        if (WIFEXITED(status))
            return WEXITSTATUS(status);
        if (WIFSIGNALED(status))
            return 128 + WTERMSIG(status);
        pass = WSTOPSIG(status);
        if (pass == (SIGTRAP | 0x80)) {
            pass = 0;
            if (counts(pid) && ++seen == n)
                kill(pid, SIGKILL);
        } else if (pass == SIGTRAP) {
            pass = 0; /* the exec itself */
        }
    }
}

int main(int argc, char **argv)
{
    char *end = NULL;
    long n = argc > 2 ? strtol(argv[1], &end, 10) : 0;
    int status;
    pid_t pid;

    if (n < 1 || *end) {
        fprintf(stderr, "usage: kill_at N PROGRAM [ARG...]\n");
        return 125;
    }
    pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return fail("fork");
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
        return fail("ptrace");
    return follow(pid, n);
}
