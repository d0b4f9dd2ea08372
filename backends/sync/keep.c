#include "backends/sync/keep.h"

#include "backends/sync/copy.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/strlist.h"
#include "compat/sys/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct keep {
    int dirfd;
    char batch[64];
    bool made[2];
};

static const char *const kind_names[] = {"conflicts", "trash"};

struct keep *keep_new(int dirfd)
{
    struct keep *k = xcalloc(1, sizeof(*k));
    char unique[BENEATH_TEMP_MAX];
    struct timespec now;
    struct tm tm;

    k->dirfd = dirfd;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    beneath_temp_name(unique);
    /* Sorts by age; the tail keeps two exchanges of one instant apart. */
    snprintf(k->batch, sizeof(k->batch), "%04d%02d%02dT%02d%02d%02d.%09ldZ-%.6s", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec, unique + strlen(BENEATH_TEMP_PREFIX));
    return k;
}

void keep_free(struct keep *k)
{
    free(k);
}

bool keep_possible(const struct keep *k)
{
    return k->dirfd >= 0;
}

/* The child directory `name`, made if it is not there; the parent is consumed. */
static int enter(int dir, const char *name)
{
    int child = -1, saved;

    if (beneath_mkdir(dir, name, 0700) == 0 || errno == EEXIST)
        child = beneath_child_dir(dir, name);
    saved = errno;
    close(dir);
    errno = saved;
    return child;
}

int keep_dir(struct keep *k, enum keep_kind kind, const char *path, const char **ret_name)
{
    int dir = k->dirfd < 0 ? -1 : beneath_open_dir(k->dirfd, "");

    if (k->dirfd < 0)
        errno = ENOENT;
    if (dir >= 0)
        dir = enter(dir, kind_names[kind]);
    if (dir >= 0)
        dir = enter(dir, k->batch);
    if (!*path)
        path = "file";
    for (const char *slash; dir >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
        cleanup_free char *name = xstrndup(path, (size_t)(slash - path));

        dir = enter(dir, name);
    }
    k->made[kind] |= dir >= 0;
    *ret_name = path;
    return dir;
}

int keep_move(struct keep *k, enum keep_kind kind, const char *path, int from, const char *from_name)
{
    cleanup_close int dir = -1;
    const char *name;

    dir = keep_dir(k, kind, path, &name);
    if (dir < 0)
        return -1;
    if (beneath_rename(from, from_name, dir, name) == 0)
        return 0;
    if (errno != EXDEV)
        return -1;
    if (copy_tree(from, from_name, dir, name) < 0)
        return -1;
    return beneath_remove_tree(from, from_name);
}

char *keep_where(struct keep *k, enum keep_kind kind, const char *path)
{
    cleanup_free char *base = k->dirfd < 0 ? NULL : beneath_fd_path(k->dirfd);

    return xasprintf("%s/%s/%s/%s", base ? base : ".", kind_names[kind], k->batch, *path ? path : "file");
}

/* Bytes of the files in the directory behind list, which is consumed. */
static uint64_t tree_bytes(int list)
{
    cleanup_dir DIR *d = fdopendir(list);
    const struct dirent *entry;
    uint64_t sum = 0;

    if (!d) {
        close(list);
        return 0;
    }
    while ((entry = readdir(d))) {
        struct stat st;
        int child;

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            beneath_stat(dirfd(d), entry->d_name, &st) < 0)
            continue;
        /* What is on disk counts, and a little for the name. */
        sum += (uint64_t)st.st_blocks * 512 + 512;
        if (S_ISDIR(st.st_mode) && (child = beneath_child_list(dirfd(d), entry->d_name)) >= 0)
            sum += tree_bytes(child);
    }
    return sum;
}

void keep_prune_trash(struct keep *k, uint64_t max)
{
    cleanup_close int trash = -1;
    cleanup_dir DIR *d = NULL;
    cleanup_strlist struct strlist batches = STRLIST_INIT;
    const struct dirent *entry;
    uint64_t sum = 0;
    int list;

    if (!k->made[KEEP_TRASH] || (trash = beneath_child_dir(k->dirfd, kind_names[KEEP_TRASH])) < 0 ||
        (list = beneath_list_open(trash)) < 0 || !(d = fdopendir(list)))
        return;
    while ((entry = readdir(d)))
        if (entry->d_name[0] != '.')
            strlist_add(&batches, entry->d_name);
    strlist_sort(&batches);
    /* From the newest to the oldest; the first that does not fit goes, and all before it. */
    for (size_t i = batches.len; i-- > 0;) {
        list = sum > max ? -1 : beneath_child_list(trash, batches.items[i]);
        if (list >= 0)
            sum += tree_bytes(list);
        if (sum > max)
            beneath_remove_tree(trash, batches.items[i]);
    }
}
