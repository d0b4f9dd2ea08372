#include "backends/engine/lock.h"

#include "backends/engine/listen.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_WAIT_MS 15000 /* an engine that ends first terminates its sandboxes */
#define LOCK_STEP_MS 25

/* Who has the lock, as it wrote itself; 0 = it did not. */
static long holder(int fd)
{
    char text[32] = "";
    long pid = 0;

    if (pread(fd, text, sizeof(text) - 1, 0) > 0 && sscanf(text, "%ld", &pid) != 1)
        return 0;
    return pid;
}

/* The lock of an engine that was killed is held until its last child has gone, which takes a moment. */
static bool is_alive(long pid)
{
    return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
}

int lock_state(const char *dir, const char *socket_path, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/lock", dir);
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const struct timespec step = {.tv_nsec = LOCK_STEP_MS * 1000000};
    char text[32];
    int len;

    if (fd < 0)
        return err_set_errno(err, 125, errno, "open %s", path);
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += LOCK_STEP_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set_errno(err, 125, errno, "lock %s", path);
        if (socket_path && listen_is_served(socket_path))
            return -2;
        if (waited >= LOCK_WAIT_MS || (!socket_path && is_alive(holder(fd))))
            return err_set(err, 125, "another engine (pid %ld) uses the state folder %s", holder(fd), dir);
        nanosleep(&step, NULL);
    }
    len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
        return err_set_errno(err, 125, errno, "write %s", path);
    return steal_fd(&fd);
}

bool lock_stands(const char *dir, int fd)
{
    cleanup_free char *path = xasprintf("%s/lock", dir);
    struct stat ours, there;

    if (fstat(fd, &ours) < 0)
        return true;
    if (stat(path, &there) < 0)
        return errno != ENOENT && errno != ENOTDIR;
    return ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}
