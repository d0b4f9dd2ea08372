#include "compat/sys/beneath.h"
#include "compat/sys/beneath_impl.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define NS          1000000000LL
#define SWEEP_NAMES 4096

/* Stops: a name from outside that carries a path ("../x", "a/b") into a call that expects one component. */
static bool plain(const char *name)
{
    if (*name && strcmp(name, ".") && strcmp(name, "..") && !strchr(name, '/'))
        return true;
    errno = EINVAL;
    return false;
}

/* Stops: learning about, or acting on, the target of a link instead of the link. */
int beneath_stat(int dir, const char *name, struct stat *ret)
{
    return plain(name) ? fstatat(dir, name, ret, AT_SYMLINK_NOFOLLOW) : -1;
}

/* Stops: descending through a link that stands where the directory was a moment ago. */
int beneath_child_dir(int dir, const char *name)
{
    return plain(name) ? openat(dir, name, BENEATH_DIR_FLAGS) : -1;
}

/* "." of a held directory is that directory, whatever its name points to by now. */
int beneath_list_open(int dir)
{
    return openat(dir, ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int beneath_child_list(int dir, const char *name)
{
    return plain(name) ? openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
}

/*
 * Stops: changing mode, owner or time of a link's target. An ordinary descriptor is tried first, since not every system
 * changes modes through one that was opened without the right to read; special files are not opened at all.
 */
int beneath_handle(int dir, const char *name, struct stat *ret)
{
    cleanup_close int fd = -1;

    if (!plain(name) || fstatat(dir, name, ret, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (!S_ISREG(ret->st_mode) && !S_ISDIR(ret->st_mode)) {
        errno = S_ISLNK(ret->st_mode) ? ELOOP : EINVAL;
        return -1;
    }
    fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
#ifdef O_PATH
    if (fd < 0 && errno == EACCES)
        fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
#endif
    if (fd < 0 || fstat(fd, ret) < 0)
        return -1;
    if (!S_ISREG(ret->st_mode) && !S_ISDIR(ret->st_mode)) {
        errno = S_ISLNK(ret->st_mode) ? ELOOP : EINVAL;
        return -1;
    }
    return steal_fd(&fd);
}

/*
 * Stops: reading through a link out of the tree; waiting for ever on a fifo, or waking a device, put in a file's place.
 * O_NONBLOCK makes the open harmless, fstat of what was really opened decides.
 */
static int open_regular(int dir, const char *name, int flags, struct stat *ret)
{
    cleanup_close int fd = -1;

    if (!plain(name))
        return -1;
    fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, ret) < 0)
        return -1;
    if (!S_ISREG(ret->st_mode)) {
        errno = S_ISDIR(ret->st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    return steal_fd(&fd);
}

int beneath_read_open(int dir, const char *name, struct stat *ret)
{
    return open_regular(dir, name, O_RDONLY, ret);
}

/* Stops, besides: truncating or creating anything before it is known to be the regular file that is meant. */
int beneath_write_open(int dir, const char *name, struct stat *ret)
{
    return open_regular(dir, name, O_WRONLY, ret);
}

void beneath_temp_name(char ret_name[BENEATH_TEMP_MAX])
{
    uint64_t random = 0;

    /* Never fails once the system has started; should it, O_EXCL still guards, only the guess gets easier. */
    if (getentropy(&random, sizeof(random)) < 0)
        random = (uint64_t)(uintptr_t)ret_name ^ (uint64_t)clock() << 20 ^ (uint64_t)getpid() << 40;
    snprintf(ret_name, BENEATH_TEMP_MAX, BENEATH_TEMP_PREFIX "%016llx", (unsigned long long)random);
}

/*
 * Stops: writing into a file or through a link that somebody put there beforehand (O_EXCL refuses both), and a sweeper
 * taking the file of a writer that is alive: the lock says that it is, and dies with it.
 */
int beneath_temp_open(int dir, char ret_name[BENEATH_TEMP_MAX])
{
    for (int tries = 0; tries < 100; tries++) {
        char name[BENEATH_TEMP_MAX];
        cleanup_close int fd = -1;
        struct stat st;

        beneath_temp_name(name);
        fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST)
            return -1;
        /* A sweeper may come between the two calls; then the name is gone, and another is made. */
        if (fd < 0 || (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) || fstat(fd, &st) < 0 || !st.st_nlink)
            continue;
        memcpy(ret_name, name, BENEATH_TEMP_MAX);
        return steal_fd(&fd);
    }
    errno = EEXIST;
    return -1;
}

int beneath_unnamed_open(int dir)
{
    char name[BENEATH_TEMP_MAX];
    int fd;

#ifdef O_TMPFILE
    fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
#endif
    fd = beneath_temp_open(dir, name);
    if (fd >= 0) {
        beneath_unlink(dir, name);
        return fd;
    }
#ifdef __linux__
    fd = memfd_create("atp-staging", MFD_CLOEXEC);
#endif
    return fd;
}

/* A link cannot be locked, so its maker shares a lock on the directory meanwhile. */
int beneath_temp_symlink(const char *text, int dir, char ret_name[BENEATH_TEMP_MAX])
{
    cleanup_close int lock = beneath_list_open(dir);

    if (lock < 0 && (errno != EACCES || (lock = beneath_open_dir(dir, "")) < 0))
        return -1;
    /* Without the lock only a sweeper at this very moment is a danger, and then the renaming fails. */
    flock(lock, LOCK_SH | LOCK_NB);
    for (int tries = 0; tries < 100; tries++) {
        beneath_temp_name(ret_name);
        if (symlinkat(text, dir, ret_name) == 0)
            return steal_fd(&lock);
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

bool beneath_temp_ours(const char *name)
{
    size_t prefix = strlen(BENEATH_TEMP_PREFIX);

    return strncmp(name, BENEATH_TEMP_PREFIX, prefix) == 0 && strlen(name + prefix) == 16 &&
           strspn(name + prefix, "0123456789abcdef") == 16;
}

bool beneath_temp_sweep(int dir, const char *name)
{
    cleanup_close int fd = -1;
    struct stat st;

    if (!beneath_temp_ours(name) || beneath_stat(dir, name, &st) < 0)
        return false;
    if (S_ISREG(st.st_mode)) {
        /* The mode may forbid reading by now; then it cannot be known, and is left. */
        fd = beneath_read_open(dir, name, &st);
        return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && beneath_unlink(dir, name) == 0;
    }
    if (!S_ISLNK(st.st_mode))
        return false;
    fd = beneath_list_open(dir);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && beneath_unlink(dir, name) == 0;
}

/* A directory that is being swept. */
struct sweep {
    int dir;
    size_t names;
};

static int sweep_name(void *arg, const char *name, uint8_t type)
{
    struct sweep *s = arg;

    (void)type;
    beneath_temp_sweep(s->dir, name);
    return ++s->names < SWEEP_NAMES ? 0 : -1;
}

void beneath_temp_sweep_dir(int dir)
{
    cleanup_close int list = beneath_list_open(dir);
    struct sweep s = {.dir = dir};

    if (list >= 0)
        beneath_names(list, sweep_name, &s);
}

/* Stops: a parent being made through a raced component; the parent here is a descriptor. */
int beneath_mkdir(int dir, const char *name, mode_t mode)
{
    return plain(name) ? mkdirat(dir, name, mode) : -1;
}

/* Stops: the same for a fifo. */
int beneath_mkfifo(int dir, const char *name, mode_t mode)
{
    return plain(name) ? mkfifoat(dir, name, mode) : -1;
}

/* Stops: a file landing in, or being taken from, a directory that only now bears that name. A link as target is
 * replaced. */
int beneath_rename(int from, const char *from_name, int to, const char *to_name)
{
    return plain(from_name) && plain(to_name) ? renameat(from, from_name, to, to_name) : -1;
}

/* Removes the name itself; a link's target is never touched. */
int beneath_unlink(int dir, const char *name)
{
    return plain(name) ? unlinkat(dir, name, 0) : -1;
}

/* Fails on a link, and on a directory that is not empty. */
int beneath_rmdir(int dir, const char *name)
{
    return plain(name) ? unlinkat(dir, name, AT_REMOVEDIR) : -1;
}

/* The text may say anything; it is stored, never followed. */
int beneath_symlink(const char *text, int dir, const char *name)
{
    return plain(name) ? symlinkat(text, dir, name) : -1;
}

/* Stops: linking to what a link points to (flags are 0: the name itself is linked), such as a file outside the tree. */
int beneath_link(int from, const char *from_name, int to, const char *to_name)
{
    return plain(from_name) && plain(to_name) ? linkat(from, from_name, to, to_name, 0) : -1;
}

char *beneath_readlink(int dir, const char *name)
{
    char text[LIMIT_PATH];
    ssize_t len = plain(name) ? readlinkat(dir, name, text, sizeof(text)) : -1;

    if (len < 0)
        return NULL;
    if ((size_t)len >= sizeof(text)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    return xstrndup(text, (size_t)len);
}

/* Empties the directory behind fd, which is consumed. Depth is bounded by the descriptors of the process. */
static int empty_dir(int fd)
{
    cleanup_dir DIR *d = fdopendir(fd);
    const struct dirent *entry;

    if (!d) {
        close(fd);
        return -1;
    }
    while ((errno = 0, entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
            beneath_remove_tree(dirfd(d), entry->d_name) < 0)
            return -1;
    }
    return errno ? -1 : 0;
}

/*
 * Stops: a directory swapped for a link while its contents are being removed (the removal then goes on in the link's
 * target). What is emptied is a descriptor; what is removed at last is a name in a held directory, by rmdir.
 */
int beneath_remove_tree(int dir, const char *name)
{
    cleanup_close int held = -1;
    int list;

    if (beneath_unlink(dir, name) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    held = beneath_child_dir(dir, name);
    if (held < 0)
        return errno == ENOENT ? 0 : -1;
    list = beneath_list_open(held);
    if (list < 0 && errno == EACCES && beneath_chmod(held, 0700) == 0)
        list = beneath_list_open(held);
    if (list < 0 || empty_dir(list) < 0) {
        if (errno != EACCES || beneath_chmod(held, 0700) < 0 || (list = beneath_list_open(held)) < 0 ||
            empty_dir(list) < 0)
            return -1;
    }
    return beneath_rmdir(dir, name) == 0 || errno == ENOENT ? 0 : -1;
}

int64_t beneath_mtime(const struct stat *st)
{
    int64_t ns;

    if (__builtin_mul_overflow((int64_t)st->st_mtim.tv_sec, NS, &ns) ||
        __builtin_add_overflow(ns, (int64_t)st->st_mtim.tv_nsec, &ns))
        return st->st_mtim.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

int64_t beneath_ctime(const struct stat *st)
{
    int64_t ns;

    if (__builtin_mul_overflow((int64_t)st->st_ctim.tv_sec, NS, &ns) ||
        __builtin_add_overflow(ns, (int64_t)st->st_ctim.tv_nsec, &ns))
        return 0;
    return ns;
}
