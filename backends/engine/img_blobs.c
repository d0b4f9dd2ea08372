#include "backends/engine/img_blobs.h"

#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Between a last look at when a blob was used and its removal nobody must begin to use it. */
static pthread_mutex_t removal = PTHREAD_MUTEX_INITIALIZER;

char *img_blob_path(const char *dir, const char *digest)
{
    const char *hex = digest + strlen(DIGEST_PREFIX);

    return xasprintf("%s/blobs/%.2s/%s", dir, hex, hex + 2);
}

int64_t img_blob_size(const char *dir, const char *digest)
{
    cleanup_free char *path = img_blob_path(dir, digest);
    struct stat st;
    bool there;

    pthread_mutex_lock(&removal);
    there = utimensat(AT_FDCWD, path, NULL, 0) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
    pthread_mutex_unlock(&removal);
    return there ? (int64_t)st.st_size : -1;
}

int img_blob_keep(const char *dir, const char *digest, const char *path, struct err *err)
{
    cleanup_free char *to = img_blob_path(dir, digest);
    char *slash = strrchr(to, '/');

    *slash = '\0';
    if (fs_mkdirs(to, 0700, err) < 0)
        return -1;
    *slash = '/';
    return rename(path, to) < 0 ? err_set_errno(err, 0, errno, "keeping %s", to) : 0;
}

static void each_in(int top, const char *folder, img_each_fn *fn, void *arg)
{
    int fd = openat(top, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    struct stat st;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((e = readdir(d))) {
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            fn(fd, folder, e->d_name, &st, arg);
    }
    closedir(d);
}

void img_blobs_each(const char *dir, const char *what, img_each_fn *fn, void *arg)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, what);
    cleanup_dir DIR *d = opendir(path);
    const struct dirent *e;

    while (d && (e = readdir(d))) {
        if (e->d_name[0] != '.')
            each_in(dirfd(d), e->d_name, fn, arg);
    }
}

struct sweep {
    const struct strlist *needed;
    const struct timespec *since;
    int64_t freed;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_older(const struct timespec *t, const struct timespec *than)
{
    return t->tv_sec < than->tv_sec || (t->tv_sec == than->tv_sec && t->tv_nsec < than->tv_nsec);
}

static void sweep_one(int fd, const char *folder, const char *name, const struct stat *seen, void *arg)
{
    struct sweep *s = arg;
    cleanup_free char *digest = xasprintf(DIGEST_PREFIX "%s%s", folder, name);
    const char *want = digest;
    struct stat st;

    if (s->needed->len && bsearch(&want, s->needed->items, s->needed->len, sizeof(char *), by_text))
        return;
    pthread_mutex_lock(&removal);
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_older(&st.st_mtim, s->since) &&
        unlinkat(fd, name, 0) == 0)
        s->freed += (int64_t)seen->st_blocks * 512;
    pthread_mutex_unlock(&removal);
}

int64_t img_blobs_sweep(const char *dir, const struct strlist *needed, const struct timespec *since)
{
    struct sweep s = {.needed = needed, .since = since};

    img_blobs_each(dir, "blobs", sweep_one, &s);
    return s.freed;
}

static void weigh_one(int fd, const char *folder, const char *name, const struct stat *st, void *arg)
{
    (void)fd, (void)folder, (void)name;
    *(int64_t *)arg += (int64_t)st->st_blocks * 512;
}

int64_t img_blobs_weigh(const char *dir, const char *name)
{
    int64_t sum = 0;

    img_blobs_each(dir, name, weigh_one, &sum);
    return sum;
}
