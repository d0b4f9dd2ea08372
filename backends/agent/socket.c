#include "backends/agent/socket.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG     128
#define RETRY_FIRST 1 /* ms: init is usually there, or will be at once */
#define RETRY_MOST  50

static int fill_address(const char *run_dir, struct sockaddr_un *addr, struct err *err)
{
    int n;

    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    n = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/agent.sock", run_dir);
    if (n < 0 || (size_t)n >= sizeof(addr->sun_path))
        return err_set(err, 125, "the path of the agent's socket is too long: %s/agent.sock", run_dir);
    return 0;
}

static int try_connect(const struct sockaddr_un *addr)
{
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
        return -1;
    return steal_fd(&fd);
}

/* The directory must be ours alone, whoever made it. */
static int make_run_dir(const char *run_dir, struct err *err)
{
    struct stat st;

    if (fs_mkdirs(run_dir, 0700, err) < 0)
        return -1;
    if (lstat(run_dir, &st) < 0)
        return err_set_errno(err, 125, errno, "stat %s", run_dir);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return err_set(err, 125, "%s is not a directory of ours", run_dir);
    if ((st.st_mode & 07777) != 0700 && chmod(run_dir, 0700) < 0)
        return err_set_errno(err, 125, errno, "chmod %s", run_dir);
    return 0;
}

/* What an init before us left: its files may come from a snapshot. The ancestors of mounts stay, they go with them. */
static void forget(const char *run_dir)
{
    static const char *const names[] = {"agent.sock", "record", "log", "fifo"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        cleanup_free char *path = xasprintf("%s/%s", run_dir, names[i]);

        unlink(path);
    }
}

int socket_listen(const char *run_dir, struct err *err)
{
    cleanup_close int fd = -1;
    struct sockaddr_un addr;
    int other;

    if (make_run_dir(run_dir, err) < 0 || fill_address(run_dir, &addr, err) < 0)
        return -1;
    other = try_connect(&addr);
    if (other >= 0) {
        close(other);
        return err_set(err, 125, "another init answers at %s", addr.sun_path);
    }
    forget(run_dir);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, BACKLOG) < 0)
        return err_set_errno(err, 125, errno, "listening at %s", addr.sun_path);
    return steal_fd(&fd);
}

int socket_connect(const char *run_dir, int64_t wait_ms, struct err *err)
{
    int64_t until = loop_now() + wait_ms, pause = RETRY_FIRST;
    struct sockaddr_un addr;
    int fd;

    if (fill_address(run_dir, &addr, err) < 0)
        return -1;
    while ((fd = try_connect(&addr)) < 0) {
        struct timespec ts = {.tv_nsec = pause * 1000000};

        if (loop_now() >= until)
            return err_set_errno(err, 125, errno, "the container's first process does not answer at %s", addr.sun_path);
        nanosleep(&ts, NULL);
        pause = pause * 2 < RETRY_MOST ? pause * 2 : RETRY_MOST;
    }
    return fd;
}

bool socket_trusted(int fd)
{
    struct ucred who;
    socklen_t len = sizeof(who);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.uid == geteuid();
}
