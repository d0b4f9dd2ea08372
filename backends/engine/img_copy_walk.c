/* COPY's way through a source: what is chosen, what its digest is, and how it comes into the layer. */
#include "backends/engine/img_copy.h"

#include "backends/engine/img_layer.h"
#include "backends/engine/img_mode.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/dockerfile/ignore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define VALUE_MAX (64u << 10) /* of an extended attribute: the kernel's own limit */

static char *join(const char *dir, const char *name)
{
    return xasprintf("%s%s%s", dir, *dir && *name ? "/" : "", name);
}

/* ---- what is chosen ---- */

/* Whether a pattern fits the path or a directory above it. */
static bool fits(const char *pattern, const char *path)
{
    cleanup_free char *part = xstrdup(path);

    for (;;) {
        char *slash;

        if (df_pattern_match(pattern, part) > 0)
            return true;
        slash = strrchr(part, '/');
        if (!slash)
            return false;
        *slash = '\0';
    }
}

/* The last pattern that fits decides; "!" takes back. */
static bool chosen(const struct strlist *patterns, const char *path)
{
    bool is = false;

    for (size_t i = 0; i < patterns->len; i++) {
        const char *p = patterns->items[i];
        bool no = *p == '!';

        if (is == no && fits(p + no, path))
            is = !no;
    }
    return is;
}

bool copy_excluded(const struct copying *c, const char *path)
{
    return c->excludes.len && chosen(&c->excludes, path);
}

static bool has_exceptions(const struct strlist *patterns)
{
    for (size_t i = 0; i < patterns->len; i++) {
        if (*patterns->items[i] == '!')
            return true;
    }
    return false;
}

/* ---- into the layer ---- */

static mode_t mode_of(const struct copying *c, const struct stat *st)
{
    if (S_ISLNK(st->st_mode))
        return st->st_mode & 07777;
    if (c->mode_words)
        return img_mode_apply(c->mode_words, st->st_mode) & 07777;
    return c->mode >= 0 ? (mode_t)c->mode : st->st_mode & 07777;
}

static struct img_attributes attributes(const struct copying *c, const char *path, const struct stat *st)
{
    bool context = c->item->source->is_context;

    return (struct img_attributes){
        .uid = c->own    ? c->uid
               : context ? 0
                         : st->st_uid,
        .gid = c->own    ? c->gid
               : context ? 0
                         : st->st_gid,
        .mode = mode_of(c, st),
        .mtime = img_source_time(c->item->source, path, st),
    };
}

int copy_mkdirs(struct copying *c, const char *path, struct err *err)
{
    struct img_attributes a = {.uid = c->uid, .gid = c->gid, .mode = c->mode >= 0 ? (mode_t)c->mode : 0755};

    a.mtime = c->now;
    for (size_t len = 0; path[len];) {
        cleanup_free char *part = NULL;
        struct stat st;
        int found;

        len += path[len] == '/';
        len += strcspn(path + len, "/");
        part = xstrndup(path, len);
        found = img_view_look(c->so_far, part, &st, NULL, NULL, err);
        if (found < 0)
            return -1;
        if (found && !S_ISDIR(st.st_mode))
            return err_set(err, 1, "mkdir /%s: not a directory", part);
        if (!found && img_writer_dir(c->w, part, &a, err) < 0)
            return -1;
    }
    return 0;
}

static int copy_xattrs(struct copying *c, const struct img_entry *e, const char *to, struct err *err)
{
    cleanup_free char *path = img_entry_path(e), *value = NULL;
    char names[4096];
    ssize_t len = path ? llistxattr(path, names, sizeof(names)) : 0;

    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
        ssize_t n;

        if (!value)
            value = xmalloc(VALUE_MAX);
        n = lgetxattr(path, names + at, value, VALUE_MAX);
        if (n >= 0 && img_writer_xattr(c->w, to, names + at, value, (size_t)n, err) < 0)
            return -1;
    }
    return 0;
}

static int copy_contents(const struct img_entry *e, int to, struct err *err)
{
    cleanup_close int in = openat(e->holder, e->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char chunk[65536];
    ssize_t n;

    if (in < 0)
        return err_set_errno(err, 0, errno, "opening");
    while ((n = copy_file_range(in, NULL, to, NULL, 1u << 30, 0)) > 0)
        ;
    if (n == 0)
        return 0;
    /* Different file systems, or one that cannot. */
    while ((n = read(in, chunk, sizeof(chunk))) > 0) {
        for (ssize_t done = 0, w; done < n; done += w) {
            w = write(to, chunk + done, (size_t)(n - done));
            if (w < 0)
                return err_set_errno(err, 0, errno, "writing");
        }
    }
    return n < 0 ? err_set_errno(err, 0, errno, "reading") : 0;
}

static struct copy_link **link_slot(struct copying *c, const struct stat *st)
{
    return &c->links[(st->st_ino ^ (st->st_ino >> 10)) % COPY_LINK_SLOTS];
}

/* Where another name of this file went; NULL = nowhere yet. Files of the context share contents, not identity. */
static const char *linked(struct copying *c, const struct stat *st)
{
    if (st->st_nlink < 2 || c->item->source->is_context)
        return NULL;
    for (const struct copy_link *l = *link_slot(c, st); l; l = l->next) {
        if (l->dev == st->st_dev && l->ino == st->st_ino)
            return l->path;
    }
    return NULL;
}

static void remember_link(struct copying *c, const struct stat *st, const char *to)
{
    struct copy_link **slot = link_slot(c, st), *l;

    if (st->st_nlink < 2 || c->item->source->is_context)
        return;
    l = xcalloc(1, sizeof(*l));
    *l = (struct copy_link){.next = *slot, .dev = st->st_dev, .ino = st->st_ino, .path = xstrdup(to)};
    *slot = l;
}

void copy_forget_links(struct copying *c)
{
    for (size_t i = 0; i < COPY_LINK_SLOTS; i++) {
        for (struct copy_link *l = c->links[i], *next; l; l = next) {
            next = l->next;
            free(l->path);
            free(l);
        }
        c->links[i] = NULL;
    }
}

static int copy_file(struct copying *c, const struct img_entry *e, const char *from, const char *to, struct err *err)
{
    struct img_attributes a = attributes(c, from, &e->st);
    const char *first = linked(c, &e->st);
    cleanup_close int fd = -1;

    if (first)
        return img_writer_link(c->w, to, first, err);
    if (img_writer_file(c->w, to, &fd, err) < 0 || copy_contents(e, fd, err) < 0)
        return err_wrap(err, "copying /%s to /%s", from, to);
    remember_link(c, &e->st, to);
    if (img_writer_file_done(c->w, fd, &a, err) < 0)
        return -1;
    return copy_xattrs(c, e, to, err);
}

static int copy_symlink(struct copying *c, const struct img_entry *e, const char *from, const char *to, struct err *err)
{
    struct img_attributes a = attributes(c, from, &e->st);
    char text[LIMIT_PATH];
    ssize_t n = readlinkat(e->holder, e->name, text, sizeof(text) - 1);

    if (n < 0)
        return err_set_errno(err, 0, errno, "reading link /%s", from);
    text[n] = '\0';
    return img_writer_symlink(c->w, to, text, &a, err);
}

/* A directory: over one that is there, or new. The one that COPY names itself keeps what it has. */
static int copy_dir(struct copying *c, const struct img_entry *e, const struct stat *st, const char *from,
                    const char *to, bool top, struct err *err)
{
    struct img_attributes a = attributes(c, from, st);
    struct stat there;
    int found = img_view_look(c->so_far, to, &there, NULL, NULL, err);

    if (found < 0)
        return -1;
    if (found && !S_ISDIR(there.st_mode))
        return err_set(err, 1, "cannot copy to non-directory: /%s", to);
    if (found && top) { /* but for the time, which is the source's */
        a = (struct img_attributes){
            .uid = there.st_uid, .gid = there.st_gid, .mode = there.st_mode & 07777, .mtime = a.mtime};
        return img_writer_dir(c->w, to, &a, err);
    }
    if (img_writer_dir(c->w, to, &a, err) < 0)
        return -1;
    return e ? copy_xattrs(c, e, to, err) : 0;
}

static int copy_other(struct copying *c, const struct img_entry *e, const char *from, const char *to, struct err *err)
{
    struct img_attributes a = attributes(c, from, &e->st);
    struct stat there;
    int found = img_view_look(c->so_far, to, &there, NULL, NULL, err);

    if (found < 0)
        return -1;
    if (found && S_ISDIR(there.st_mode))
        return err_set(err, 1, "cannot replace to directory /%s with file", to);
    if (S_ISREG(e->st.st_mode))
        return copy_file(c, e, from, to, err);
    if (S_ISLNK(e->st.st_mode))
        return copy_symlink(c, e, from, to, err);
    if (S_ISSOCK(e->st.st_mode))
        return 0; /* no layer can hold one */
    return img_writer_node(c->w, to, e->st.st_mode & S_IFMT, e->st.st_rdev, &a, err);
}

/* ---- the walk ---- */

/* Forgets the directories that the walk has left. */
static void leave_parents(struct copying *c, const char *path)
{
    while (c->parents_len) {
        struct copy_parent *p = &c->parents[c->parents_len - 1];
        size_t len = strlen(p->path);

        if (!len || (strncmp(p->path, path, len) == 0 && path[len] == '/'))
            return;
        free(p->path);
        c->parents_len--;
    }
}

static void push_parent(struct copying *c, const struct img_entry *e, bool done)
{
    c->parents = xreallocarray(c->parents, c->parents_len + 1, sizeof(*c->parents));
    c->parents[c->parents_len++] = (struct copy_parent){.path = xstrdup(e->path), .st = e->st, .done = done};
}

/* Directories above that were not chosen themselves come with what is in them. */
static int finish_parents(struct copying *c, struct err *err)
{
    for (size_t i = 0; i < c->parents_len; i++) {
        struct copy_parent *p = &c->parents[i];
        cleanup_free char *from = join(c->real, p->path), *to = join(c->target, p->path);

        if (p->done)
            continue;
        p->done = true;
        if (c->digest) {
            const struct img_entry e = {.path = p->path, .name = "", .holder = -1, .dir = -1, .st = p->st};

            if (img_source_digest(c->item->source, p->path, from, &e, c->digest, err) < 0)
                return -1;
        } else if (copy_dir(c, NULL, &p->st, from, to, !*p->path, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int on_entry(const struct img_entry *e, void *arg, struct err *err)
{
    struct copying *c = arg;
    cleanup_free char *from = join(c->real, e->path), *to = join(c->target, e->path);
    bool dir = S_ISDIR(e->st.st_mode), top = !*e->path, take = true;

    if (img_cancelled(c->b->job, err) < 0)
        return -1;
    leave_parents(c, e->path);
    if (!top && c->includes.len)
        take = chosen(&c->includes, e->path);
    if (top && c->includes.len)
        take = false;
    if (!top && copy_excluded(c, e->path)) {
        if (!dir || !has_exceptions(&c->excludes))
            return dir;
        take = false;
    }
    if (dir)
        push_parent(c, e, take);
    if (!take)
        return 0;
    if (finish_parents(c, err) < 0)
        return -1;
    if (c->digest)
        return img_source_digest(c->item->source, e->path, from, e, c->digest, err);
    return dir ? copy_dir(c, e, &e->st, from, to, top, err) : copy_other(c, e, from, to, err);
}

int copy_walk(struct copying *c, const struct copy_item *item, const char *real, const char *target, struct err *err)
{
    int r;

    c->item = item;
    c->real = real;
    c->target = target;
    copy_forget_links(c); /* links are kept within one copy */
    r = img_view_walk(item->source->view, real, on_entry, c, err);
    for (size_t i = 0; i < c->parents_len; i++)
        free(c->parents[i].path);
    free(c->parents);
    c->parents = NULL;
    c->parents_len = 0;
    return r;
}
