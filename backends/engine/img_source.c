#include "backends/engine/img_source.h"

#include "backends/engine/img_layer.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

int img_source_context(const struct img_job *job, struct img_source *ret, struct err *err)
{
    cleanup_free char *dir = NULL;

    *ret = (struct img_source){.is_context = true};
    if (!job->context_mount) {
        ret->view = img_view_open(&ret->dirs, err);
        return ret->view ? 0 : -1;
    }
    if (img_mount_load(job->dir, job->context_mount, &ret->mount, err) < 0 ||
        img_mount_lay_out(job->dir, job->context_mount, &dir, err) < 0) {
        img_source_clear(ret);
        return -1;
    }
    strlist_add(&ret->dirs, dir);
    ret->view = img_view_open(&ret->dirs, err);
    if (ret->view)
        return 0;
    img_source_clear(ret);
    return -1;
}

int img_source_layers(const struct img_job *job, const struct strlist *layers, struct img_source *ret, struct err *err)
{
    *ret = (struct img_source){0};
    img_layer_dirs(job, layers, &ret->dirs);
    ret->view = img_view_open(&ret->dirs, err);
    if (ret->view)
        return 0;
    img_source_clear(ret);
    return -1;
}

int img_source_folder(const char *dir, struct img_source *ret, struct err *err)
{
    *ret = (struct img_source){0};
    strlist_add(&ret->dirs, dir);
    ret->view = img_view_open(&ret->dirs, err);
    if (ret->view)
        return 0;
    img_source_clear(ret);
    return -1;
}

void img_source_clear(struct img_source *s)
{
    strlist_clear(&s->dirs);
    img_view_free(s->view);
    img_mount_clear(&s->mount);
    *s = (struct img_source){0};
}

int img_source_resolve(const struct img_source *s, const char *path, char **ret, struct stat *ret_st, struct err *err)
{
    cleanup_free char *real = NULL;
    int found;

    if (img_view_resolve(s->view, path, &real, err) < 0)
        return -1;
    found = img_view_look(s->view, real, ret_st, NULL, NULL, err);
    if (found < 0)
        return -1;
    if (!found) {
        err_set(err, 1, "failed to compute cache key: failed to calculate checksum of %s: \"%s\": not found",
                s->is_context ? "the build context" : "the stage or image", path);
        if (err)
            err->code = ENOENT;
        return -1;
    }
    *ret = steal(&real);
    return 0;
}

struct timespec img_source_time(const struct img_source *s, const char *path, const struct stat *st)
{
    const struct img_mount_entry *e = s->is_context ? img_mount_find(&s->mount, path) : NULL;
    struct timespec now;

    if (!s->is_context)
        return st->st_mtim;
    if (e && e->mtime_ns) {
        int64_t seconds = e->mtime_ns / 1000000000, rest = e->mtime_ns % 1000000000;

        if (rest < 0) {
            seconds--;
            rest += 1000000000;
        }
        return (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
    }
    clock_gettime(CLOCK_REALTIME, &now);
    return now;
}

/* ---- digests ---- */

static int add_contents(const struct img_source *s, const char *path, const struct img_entry *e, struct digest *d,
                        struct err *err)
{
    const struct img_mount_entry *known = s->is_context ? img_mount_find(&s->mount, path) : NULL;
    cleanup_close int fd = -1;
    char hex[DIGEST_HEX + 1];

    if (known) {
        digest_add(d, known->sha256_hex, DIGEST_HEX);
        return 0;
    }
    fd = openat(e->holder, e->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, 0, errno, "reading /%s", path);
    if (digest_of_fd(fd, hex, err) < 0)
        return err_wrap(err, "/%s", path);
    digest_add(d, hex, DIGEST_HEX);
    return 0;
}

/* The attributes that a copy keeps. */
static void add_xattrs(const struct img_entry *e, struct digest *d)
{
    cleanup_free char *path = img_entry_path(e);
    char names[4096], value[4096];
    ssize_t len = path ? llistxattr(path, names, sizeof(names)) : 0;

    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
        const char *name = names + at;
        ssize_t n;

        if ((strncmp(name, "user.", 5) != 0 && strcmp(name, "security.capability") != 0) ||
            strncmp(name, "user.overlay.", 13) == 0)
            continue;
        n = lgetxattr(path, name, value, sizeof(value));
        digest_add(d, name, strlen(name) + 1);
        digest_add(d, value, n > 0 ? (size_t)n : 0);
    }
}

int img_source_digest(const struct img_source *s, const char *label, const char *path, const struct img_entry *e,
                      struct digest *d, struct err *err)
{
    char head[128];
    int len = snprintf(head, sizeof(head), "%o %u:%u %llu", (unsigned)e->st.st_mode,
                       s->is_context ? 0 : (unsigned)e->st.st_uid, s->is_context ? 0 : (unsigned)e->st.st_gid,
                       S_ISREG(e->st.st_mode) || S_ISDIR(e->st.st_mode) ? 0ULL : (unsigned long long)e->st.st_rdev);

    digest_add(d, label, strlen(label) + 1);
    digest_add(d, head, (size_t)len + 1);
    add_xattrs(e, d);
    if (S_ISLNK(e->st.st_mode)) {
        char text[LIMIT_PATH];
        ssize_t n = readlinkat(e->holder, e->name, text, sizeof(text));

        if (n < 0)
            return err_set_errno(err, 0, errno, "reading link /%s", path);
        digest_add(d, text, (size_t)n);
    }
    return S_ISREG(e->st.st_mode) ? add_contents(s, path, e, d, err) : 0;
}

struct tree_digest {
    const struct img_source *source;
    const char *top;
    struct digest *d;
};

static int digest_entry(const struct img_entry *e, void *arg, struct err *err)
{
    const struct tree_digest *t = arg;
    cleanup_free char *path = xasprintf("%s%s%s", t->top, *t->top && *e->path ? "/" : "", e->path);

    return img_source_digest(t->source, e->path, path, e, t->d, err);
}

int img_source_digest_tree(const struct img_source *s, const char *path, struct digest *d, struct err *err)
{
    struct tree_digest t = {s, path, d};

    return img_view_walk(s->view, path, digest_entry, &t, err);
}
