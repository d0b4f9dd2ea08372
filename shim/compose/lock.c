#include "shim/compose/lock.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_PLAIN 100 /* a longer name is told by its digest */

/* The project's file; owned by caller. A name that is no file name is told by its digest. */
static char *path_of(const char *project, const char *kind, struct err *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    cleanup_free char *state = fs_state_dir(), *dir = xasprintf("%s/projects", state);
    size_t len = strlen(project);
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    if (fs_mkdirs(dir, 0700, err) < 0)
        return NULL;
    if (len && len <= NAME_MAX_PLAIN && strspn(project, plain) == len)
        return xasprintf("%s/%s.%s", dir, project, kind);
    sha256(project, len, digest);
    sha256_hex(digest, hex);
    return xasprintf("%s/=%s.%s", dir, hex, kind);
}

int project_lock(const char *project, struct err *err)
{
    cleanup_free char *path = path_of(project, "lock", err);

    while (path) {
        cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat held, there;

        if (fd < 0) {
            err_set_errno(err, 1, errno, "%s", path);
            return -1;
        }
        while (flock(fd, LOCK_EX) < 0)
            if (errno != EINTR)
                return err_set_errno(err, 1, errno, "%s", path);
        /* whoever held it may have taken the file away */
        if (fstat(fd, &held) == 0 && stat(path, &there) == 0 && held.st_ino == there.st_ino &&
            held.st_dev == there.st_dev)
            return steal_fd(&fd);
    }
    return -1;
}

void project_unlock(const char *project, int fd, int gone)
{
    if (fd < 0)
        return;
    if (gone) {
        cleanup_free char *path = path_of(project, "lock", NULL);

        if (path)
            unlink(path);
    }
    close(fd);
}

/* The file says who holds it; it stays, since it is the lock that counts. */
int project_watch_lock(const char *project, struct err *err)
{
    cleanup_free char *path = path_of(project, "watch", err);
    cleanup_close int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    char pid[32] = "";
    ssize_t len;

    if (!path)
        return -1;
    if (fd < 0)
        return err_set_errno(err, 1, errno, "%s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        len = pread(fd, pid, sizeof(pid) - 1, 0);
        pid[len > 0 ? len : 0] = '\0';
        return err_set(err, 1, "cannot take exclusive lock for project \"%s\": process with PID %ld is still running",
                       project, strtol(pid, NULL, 10));
    }
    len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len)
        return err_set_errno(err, 1, errno, "%s", path);
    return steal_fd(&fd);
}
