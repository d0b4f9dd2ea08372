/* What mounts of a container are bound from, where that has to be made first. */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

struct rt_mount *rt_mounts_copy(const struct rt_mount *mounts, size_t len)
{
    struct rt_mount *copy = len ? xcalloc(len, sizeof(*copy)) : NULL;

    for (size_t i = 0; i < len; i++) {
        copy[i] = mounts[i];
        copy[i].source = xstrdup(mounts[i].source);
        copy[i].target = xstrdup(mounts[i].target);
        copy[i].bytes = mounts[i].bytes ? xmemdup(mounts[i].bytes, mounts[i].len) : NULL;
        if (mounts[i].lowers) {
            struct strlist *lowers = xcalloc(1, sizeof(*lowers));

            strlist_copy(lowers, mounts[i].lowers);
            copy[i].lowers = lowers;
        }
    }
    return copy;
}

void rt_mounts_free(struct rt_mount *mounts, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct strlist *lowers = (struct strlist *)(uintptr_t)mounts[i].lowers;

        free((char *)(uintptr_t)mounts[i].source);
        free((char *)(uintptr_t)mounts[i].target);
        if (mounts[i].bytes)
            explicit_bzero((void *)(uintptr_t)mounts[i].bytes, mounts[i].len);
        free((void *)(uintptr_t)mounts[i].bytes);
        if (lowers)
            strlist_clear(lowers);
        free(lowers);
    }
    free(mounts);
}

/* The layers in a folder of their own, like the container's root. */
static int make_overlay(const char *dir, const struct rt_mount *m, size_t number, char **ret, struct err *err)
{
    cleanup_free char *folder = xasprintf("%s/m%zu", dir, number);

    if (mkdir(folder, 0700) < 0)
        return err_set_errno(err, 125, errno, "%s", folder);
    if (rt_root_mount(folder, m->lowers, err) < 0)
        return -1;
    *ret = xasprintf("%s/root%s%s", folder, m->source && *m->source ? "/" : "", m->source ? m->source : "");
    return 0;
}

/* A file on a tmpfs that nobody else can see. */
static int make_file(const char *dir, const struct rt_mount *m, size_t number, char **ret, struct err *err)
{
    cleanup_free char *folder = xasprintf("%s/memory", dir), *path = xasprintf("%s/%zu", folder, number);
    cleanup_close int fd = -1;
    const char *bytes = m->bytes;

    if (mkdir(folder, 0700) == 0) {
        if (mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0)
            return err_set_errno(err, 125, errno, "memory for secrets");
    } else if (errno != EEXIST) {
        return err_set_errno(err, 125, errno, "%s", folder);
    }
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_errno(err, 125, errno, "%s", path);
    for (size_t left = m->len; left;) {
        ssize_t n = write(fd, bytes, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 125, errno, "%s", path);
        bytes += n;
        left -= (size_t)n;
    }
    if (fchown(fd, m->uid, m->gid) < 0 || fchmod(fd, m->mode & 07777) < 0)
        return err_set_errno(err, 125, errno, "%s", m->target);
    *ret = steal(&path);
    return 0;
}

int rt_mounts_make(const char *dir, const struct rt_mount *mounts, size_t len, struct strlist *ret_sources,
                   struct err *err)
{
    for (size_t i = 0; i < len; i++) {
        const struct rt_mount *m = &mounts[i];
        char *source = NULL;

        if (m->kind == RT_MOUNT_LAYERS && make_overlay(dir, m, i, &source, err) < 0)
            return -1;
        if (m->kind == RT_MOUNT_FILE && make_file(dir, m, i, &source, err) < 0)
            return -1;
        strlist_add_owned(ret_sources, source ? source : xstrdup(m->source ? m->source : ""));
    }
    return 0;
}
