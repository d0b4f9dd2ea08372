/*
 * Modes, owners and times, by descriptor. A descriptor made with O_PATH can be used for *at() calls but not for fchmod:
 * newer kernels have fchmodat2, older ones go by the descriptor's own name below /proc, which names the open file and
 * not a path.
 */
#include "compat/sys/beneath.h"
#include "compat/sys/beneath_impl.h"

#include "compat/base/alloc.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#define NS           1000000000LL
#define NR_FCHMODAT2 452 /* the same on every architecture, since Linux 6.6 */

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

/* Access time omitted, modification time exact; a negative time has a positive fraction, as the system wants it. */
static void mtime_to_times(int64_t ns, struct timespec times[2])
{
    int64_t s = ns / NS, rest = ns % NS;

    if (rest < 0) {
        rest += NS;
        s--;
    }
    times[0] = (struct timespec){.tv_sec = 0, .tv_nsec = UTIME_OMIT};
    times[1] = (struct timespec){.tv_sec = (time_t)s, .tv_nsec = (long)rest};
}

/* The name of a descriptor of ours; the kernel resolves it to the open file itself, so nothing can be swapped. */
static const char *proc_name(int fd, char name[64])
{
    snprintf(name, 64, "/proc/self/fd/%d", fd);
    return name;
}

/* Stops: chmod by name following a link that was put there after the file was made. */
int beneath_chmod(int fd, mode_t mode)
{
    if (fchmod(fd, mode) == 0)
        return 0;
#if defined(__linux__)
    char name[64];

    if (errno != EBADF)
        return -1;
    if (syscall(NR_FCHMODAT2, fd, "", mode, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != ENOSYS && errno != EINVAL && errno != EPERM)
        return -1;
    return chmod(proc_name(fd, name), mode);
#else
    return -1;
#endif
}

/* Stops: giving a file outside the tree away, by the same swap. */
int beneath_chown(int fd, uid_t uid, gid_t gid)
{
#if defined(__linux__)
    return fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
#else
    return fchown(fd, uid, gid);
#endif
}

int beneath_set_mtime(int fd, int64_t ns)
{
    struct timespec times[2];

    mtime_to_times(ns, times);
    if (futimens(fd, times) == 0)
        return 0;
#if defined(__linux__)
    char name[64];

    if (errno != EBADF)
        return -1;
    if (utimensat(fd, "", times, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOENT)
        return -1;
    return utimensat(AT_FDCWD, proc_name(fd, name), times, 0);
#else
    return -1;
#endif
}

int beneath_link_chown(int dir, const char *name, uid_t uid, gid_t gid)
{
    return fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

int beneath_link_set_mtime(int dir, const char *name, int64_t ns)
{
    struct timespec times[2];

    mtime_to_times(ns, times);
    return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
}

char *beneath_fd_path(int fd)
{
#if defined(__linux__)
    char name[64], path[LIMIT_PATH];
    ssize_t len = readlink(proc_name(fd, name), path, sizeof(path));

    return len > 0 && (size_t)len < sizeof(path) && path[0] == '/' ? xstrndup(path, (size_t)len) : NULL;
#else
    (void)fd;
    return NULL;
#endif
}
