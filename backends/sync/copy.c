#include "backends/sync/copy.h"

#include "backends/sync/extent.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Writes all of it at `at`. */
static int write_all(int fd, const uint8_t *bytes, size_t len, uint64_t at)
{
    while (len) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)at);

        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
            at += (uint64_t)n;
        }
    }
    return 0;
}

/* What was there before must not show through a hole, so a hole over old data is made by cutting the file first. */
static int hole_at(int to, uint64_t at, uint64_t len)
{
    static const uint8_t zeros[4096];
    struct stat st;

    if (fstat(to, &st) < 0)
        return -1;
    if ((uint64_t)st.st_size <= at)
        return 0;
    for (uint64_t end = at + len; at < end && at < (uint64_t)st.st_size;) {
        size_t part = end - at < sizeof(zeros) ? (size_t)(end - at) : sizeof(zeros);

        if (write_all(to, zeros, part, at) < 0)
            return -1;
        at += part;
    }
    return 0;
}

int copy_content(int from, int to)
{
    cleanup_free uint8_t *bytes = xmalloc(EXTENT_BUFFER);
    struct extent_reader r;
    struct stat st;
    uint64_t hole;
    ssize_t n;

    if (fstat(from, &st) < 0)
        return -1;
    extent_init(&r, from, &st);
    while ((n = extent_read(&r, bytes, EXTENT_BUFFER, &hole)) > 0 || hole) {
        if (n > 0 ? write_all(to, bytes, (size_t)n, r.at - (uint64_t)n) < 0 : hole_at(to, r.at - hole, hole) < 0)
            return -1;
    }
    return n < 0 || ftruncate(to, (off_t)r.at) < 0 ? -1 : 0;
}

/* Mode, owner and time of st; an owner that may not be given is no failure. */
static int copy_look(int fd, const struct stat *st)
{
    if (geteuid() == 0 && beneath_chown(fd, st->st_uid, st->st_gid) < 0 && errno != EPERM && errno != EINVAL)
        return -1;
    return beneath_chmod(fd, st->st_mode & 07777) < 0 || beneath_set_mtime(fd, beneath_mtime(st)) < 0 ? -1 : 0;
}

int copy_file(int from, const char *from_name, int to, const char *to_name)
{
    cleanup_close int in = -1, out = -1;
    char temp[BENEATH_TEMP_MAX];
    struct stat st;
    int saved;

    in = beneath_read_open(from, from_name, &st);
    if (in < 0 || (out = beneath_temp_open(to, temp)) < 0)
        return -1;
    if (copy_content(in, out) == 0 && copy_look(out, &st) == 0 && beneath_rename(to, temp, to, to_name) == 0)
        return 0;
    saved = errno;
    beneath_unlink(to, temp);
    errno = saved;
    return -1;
}

static int copy_link(int from, const char *from_name, int to, const char *to_name, const struct stat *st)
{
    cleanup_free char *text = beneath_readlink(from, from_name);

    if (!text || beneath_symlink(text, to, to_name) < 0)
        return -1;
    if (geteuid() == 0)
        beneath_link_chown(to, to_name, st->st_uid, st->st_gid);
    beneath_link_set_mtime(to, to_name, beneath_mtime(st));
    return 0;
}

static int copy_any(int from, const char *from_name, int to, const char *to_name);

static int copy_dir(int from, const char *from_name, int to, const char *to_name, const struct stat *st)
{
    cleanup_close int target = -1;
    cleanup_dir DIR *d = NULL;
    const struct dirent *entry;
    int list = beneath_child_list(from, from_name);

    if (list < 0)
        return -1;
    d = fdopendir(list);
    if (!d) {
        close(list);
        return -1;
    }
    if (beneath_mkdir(to, to_name, 0700) < 0 || (target = beneath_child_dir(to, to_name)) < 0)
        return -1;
    while ((errno = 0, entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
            copy_any(dirfd(d), entry->d_name, target, entry->d_name) < 0)
            return -1;
    }
    return errno ? -1 : copy_look(target, st);
}

static int copy_any(int from, const char *from_name, int to, const char *to_name)
{
    struct stat st;

    if (beneath_stat(from, from_name, &st) < 0)
        return -1;
    if (S_ISDIR(st.st_mode))
        return copy_dir(from, from_name, to, to_name, &st);
    if (S_ISLNK(st.st_mode))
        return copy_link(from, from_name, to, to_name, &st);
    return S_ISREG(st.st_mode) ? copy_file(from, from_name, to, to_name) : 0;
}

int copy_tree(int from, const char *from_name, int to, const char *to_name)
{
    int saved;

    if (copy_any(from, from_name, to, to_name) == 0)
        return 0;
    saved = errno;
    beneath_remove_tree(to, to_name);
    errno = saved;
    return -1;
}
