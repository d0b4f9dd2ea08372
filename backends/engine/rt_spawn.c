/*
 * Starting a runtime. The child shares our memory until it execs (vfork), so it calls system calls only; between the
 * two it takes its place: mount namespace, cgroups, descriptors, folder.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runtimes get a search path and nothing else of the engine's environment: no token, no proxy, no NOTIFY_SOCKET. */
static char path_variable[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static char *runtime_environment[] = {path_variable, NULL};

/* Handlers of the parent must not run in the child, and what it ignores must not stay ignored. */
static void default_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int signo = 1; signo < NSIG; signo++)
        if (signo != SIGKILL && signo != SIGSTOP)
            sigaction(signo, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * Descriptors whose locks say that this engine lives. A child would hold them until it execs, beyond our end if we are
 * killed just then.
 */
static int ours_alone[8] = {-1, -1, -1, -1, -1, -1, -1, -1};

void rt_spawn_hide(int fd)
{
    for (size_t i = 0; i < sizeof(ours_alone) / sizeof(*ours_alone); i++)
        if (ours_alone[i] < 0) {
            ours_alone[i] = fd;
            return;
        }
}

void rt_spawn_unhide(int fd)
{
    for (size_t i = 0; i < sizeof(ours_alone) / sizeof(*ours_alone); i++)
        if (ours_alone[i] == fd)
            ours_alone[i] = -1;
}

/* The child's part; returns the step that failed, with errno. descriptors are 3 or higher (see rt_spawn). */
static const char *become(const struct rt_spawn *spawn, const int fds[3])
{
    for (size_t i = 0; i < sizeof(ours_alone) / sizeof(*ours_alone); i++)
        if (ours_alone[i] >= 0)
            close(ours_alone[i]);
    if (spawn->mount_ns >= 0 && setns(spawn->mount_ns, CLONE_NEWNS) < 0)
        return "entering the mount namespace";
    for (size_t i = 0; i < spawn->join_len; i++)
        if (write(spawn->join[i], "0", 1) != 1)
            return "joining the container's cgroup";
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            return "setting up standard input and output";
    if (spawn->third && (spawn->third == 3 ? fcntl(3, F_SETFD, 0) : dup2(spawn->third, 3)) < 0)
        return "passing a descriptor on";
    if (spawn->cwd && chdir(spawn->cwd) < 0)
        return "entering the container's folder";
    setsid(); /* orphans of the runtime are known by not being of our session */
    default_signals();
    execve(spawn->program ? spawn->program : spawn->argv[0], spawn->argv, runtime_environment);
    return "executing it";
}

/* Lets the child take its place with all signals blocked, so that no handler of ours runs in it. */
static pid_t fork_and_become(const struct rt_spawn *spawn, const int fds[3], const char *volatile *ret_step,
                             volatile int *ret_errno)
{
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = vfork();
    if (pid == 0) {
        *ret_step = become(spawn, fds);
        *ret_errno = errno;
        _exit(127);
    }
    if (pid < 0) {
        *ret_step = "starting a process";
        *ret_errno = errno;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

pid_t rt_spawn(const struct rt_spawn *spawn, struct err *err)
{
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const char *volatile step = NULL;
    volatile int errnum = 0;
    int fds[3];
    pid_t pid;

    if (null < 0)
        return err_set_errno(err, 125, errno, "/dev/null");
    for (int i = 0; i < 3; i++)
        fds[i] = spawn->fds[i] >= 0 ? spawn->fds[i] : null;
    pid = fork_and_become(spawn, fds, &step, &errnum);
    if (!step)
        return pid;
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return err_set_errno(err, 125, errnum, "%s: %s", spawn->argv[0], step);
}

/*
 * Children that a thread waits for; the loop must not take them for strays. Whoever starts one holds the lock until it
 * is noted. Global, like the above, because a process has one set of children.
 */
static pthread_mutex_t awaited_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t awaited[RT_AWAITED];

static void note(pid_t pid, pid_t instead)
{
    for (size_t i = 0; i < RT_AWAITED; i++)
        if (awaited[i] == instead) {
            awaited[i] = pid;
            return;
        }
}

void rt_spawn_lock(void)
{
    pthread_mutex_lock(&awaited_lock);
}

bool rt_spawn_awaited(pid_t pid)
{
    for (size_t i = 0; i < RT_AWAITED; i++)
        if (awaited[i] == pid)
            return true;
    return false;
}

void rt_spawn_unlock(void)
{
    pthread_mutex_unlock(&awaited_lock);
}

int rt_spawn_wait(const struct rt_spawn *spawn, struct err *err)
{
    int status = 0, result;
    pid_t pid;

    rt_spawn_lock();
    pid = rt_spawn(spawn, err);
    if (pid > 0)
        note(pid, 0);
    rt_spawn_unlock();
    if (pid < 0)
        return -1;
    do {
        result = waitpid(pid, &status, 0);
    } while (result < 0 && errno == EINTR);
    if (result < 0)
        err_set_errno(err, 125, errno, "waiting for %s", spawn->argv[0]);
    rt_spawn_lock();
    note(0, pid);
    rt_spawn_unlock();
    return result < 0 ? -1 : status;
}
