#include "backends/engine/img_uploads.h"

#include "backends/engine/img_blobs.h"
#include "backends/engine/img_store.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/strlist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER_CHARS 2u
#define JSON         ".json"

/* Between a last look at when a file was asked for and its removal nobody must be told that it is there. */
static pthread_mutex_t removal = PTHREAD_MUTEX_INITIALIZER;

bool img_upload_exists(const char *dir, const char *sha256_hex)
{
    cleanup_free char *path = img_store_file(dir, sha256_hex);
    struct stat st;
    bool there;

    pthread_mutex_lock(&removal);
    there = stat(path, &st) == 0;
    /* One that is laid out in a mount is seen in containers, with its time. */
    if (there && st.st_nlink == 1)
        utimensat(AT_FDCWD, path, NULL, 0);
    pthread_mutex_unlock(&removal);
    return there;
}

struct sweep {
    const char *dir;
    int64_t before; /* what was used later stays */
    struct strlist needed;
    int64_t freed;
};

static bool is_old(const struct sweep *s, const struct stat *st)
{
    return st->st_mtim.tv_sec < s->before;
}

/* Removes a list, and the folder that it was laid out in: out of sight first. */
static void drop_mount(struct sweep *s, const char *id)
{
    cleanup_free char *list = xasprintf("%s/mounts/%s" JSON, s->dir, id), *laid = xasprintf("%s/mounts/%s", s->dir, id);
    cleanup_free char *tmp = img_store_tmp(s->dir, NULL);

    unlink(list);
    if (tmp && rename(laid, tmp) == 0)
        img_store_remove(tmp);
}

/* The contents that the lists still need. */
static void need_mount(struct sweep *s, const char *id)
{
    struct img_mount m = {0};

    if (img_mount_read(s->dir, id, &m, NULL) < 0)
        return;
    for (size_t i = 0; i < m.len; i++)
        strlist_add(&s->needed, m.entries[i].sha256_hex);
    img_mount_clear(&m);
}

static void sweep_mounts(struct sweep *s)
{
    cleanup_free char *path = xasprintf("%s/mounts", s->dir);
    cleanup_dir DIR *d = opendir(path);
    const struct dirent *e;
    struct stat st;

    while (d && (e = readdir(d))) {
        size_t len = strlen(e->d_name), end = strlen(JSON);
        cleanup_free char *id = xstrndup(e->d_name, len > end ? len - end : 0);

        if (len <= end || strcmp(e->d_name + len - end, JSON) != 0)
            continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_old(s, &st))
            drop_mount(s, id);
        else
            need_mount(s, id);
    }
    strlist_sort(&s->needed);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One file of contents, or a copy of it with other permission bits ("...-755"). */
static void sweep_file(int fd, const char *folder, const char *name, const struct stat *seen, void *arg)
{
    struct sweep *s = arg;
    cleanup_free char *hex = xasprintf("%s%.*s", folder, (int)(DIGEST_HEX - FOLDER_CHARS), name);
    const char *want = hex;
    struct stat st;

    if (!is_old(s, seen) || (s->needed.len && bsearch(&want, s->needed.items, s->needed.len, sizeof(char *), by_text)))
        return;
    pthread_mutex_lock(&removal);
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink == 1 && is_old(s, &st) &&
        unlinkat(fd, name, 0) == 0)
        s->freed += (int64_t)st.st_blocks * 512;
    pthread_mutex_unlock(&removal);
}

int64_t img_uploads_sweep(const char *dir, int64_t unused_secs)
{
    struct sweep s = {.dir = dir};

    s.before = time(NULL) - (unused_secs > IMG_UPLOADS_SECS ? unused_secs : IMG_UPLOADS_SECS);
    sweep_mounts(&s);
    img_blobs_each(dir, "files", sweep_file, &s);
    strlist_clear(&s.needed);
    return s.freed;
}
