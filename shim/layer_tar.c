#include "shim/layer_tar.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/base/strlist.h"
#include "compat/lib/archive.h"
#include "translate/tree/look.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NS        INT64_C(1000000000)
#define WHITEOUT  ".wh."
#define LAYER_MAX (INT64_C(1) << 40) /* holes cost an opponent nothing, and us what they stand for */

/* An extended attribute of the entry that comes next. */
struct xattr {
    char *name, *value; /* owned */
    size_t len;
};

struct layer_tar {
    struct tree_parser parser;
    struct archive *archive;
    struct archive_entry *entry;
    struct xattr xattrs[TREE_XATTRS_MAX];
    size_t xattrs_len;
    const struct strlist *closed; /* NULL: nothing is left out */
    bool dropping;                /* the contents of this file */
    int fd;
    int64_t size;
    int errnum; /* of the last write */
    locale_t utf8;
};

static la_ssize_t on_write(struct archive *a, void *arg, const void *bytes, size_t len)
{
    struct layer_tar *t = arg;
    const char *at = bytes;

    (void)a;
    for (size_t left = len; left;) {
        ssize_t n = write(t->fd, at, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            t->errnum = errno;
            return -1;
        }
        at += n;
        left -= (size_t)n;
    }
    t->size += (int64_t)len;
    return (la_ssize_t)len;
}

static int fail(const struct layer_tar *t, struct err *err)
{
    const char *why = archive_error_string(t->archive);

    if (t->errnum)
        return err_set_errno(err, 1, t->errnum, "writing the layer");
    return err_set(err, 1, "writing the layer: %s", why ? why : "it is too long");
}

static void clear_xattrs(struct layer_tar *t)
{
    while (t->xattrs_len) {
        struct xattr *x = &t->xattrs[--t->xattrs_len];

        free(x->name);
        free(x->value);
    }
}

static int on_head(void *arg, const struct tree_head *head, struct err *err)
{
    (void)arg;
    return head->flags == TREE_LOOSE ? 0 : err_set(err, 1, "the agent sent a tree that is no layer");
}

/* The parser has counted them. */
static int on_xattr(void *arg, const char *name, const void *value, size_t len, struct err *err)
{
    struct layer_tar *t = arg;
    char *copy = xmalloc(len + 1);

    (void)err;
    memcpy(copy, value, len);
    t->xattrs[t->xattrs_len++] = (struct xattr){.name = xstrdup(name), .value = copy, .len = len};
    return 0;
}

static void fill(struct layer_tar *t, const struct tree_entry *e, const char *name)
{
    struct archive_entry *to = archive_entry_clear(t->entry);

    archive_entry_set_pathname(to, name);
    archive_entry_set_filetype(to, tree_file_type(e));
    archive_entry_set_perm(to, e->mode);
    archive_entry_set_uid(to, e->uid);
    archive_entry_set_gid(to, e->gid);
    archive_entry_set_mtime(to, (time_t)(e->mtime / NS - (e->mtime % NS < 0)), 0);
    archive_entry_set_size(to, (la_int64_t)e->size);
    archive_entry_set_rdevmajor(to, e->major);
    archive_entry_set_rdevminor(to, e->minor);
    if (e->type == TREE_SYMLINK)
        archive_entry_set_symlink(to, e->link);
    if (e->type == TREE_HARDLINK)
        archive_entry_set_hardlink(to, e->link);
    for (size_t i = 0; i < t->xattrs_len; i++)
        archive_entry_xattr_add_entry(to, t->xattrs[i].name, t->xattrs[i].value, t->xattrs[i].len);
}

/* Whether the path, or what a whiteout of it takes away, lies where nothing is to be looked at. */
static bool is_closed(const struct layer_tar *t, const char *path, bool dir)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    bool whiteout = !strncmp(name, WHITEOUT, strlen(WHITEOUT));
    cleanup_free char *real =
        whiteout ? xasprintf("/%.*s%s", (int)(name - path), path, name + strlen(WHITEOUT)) : xasprintf("/%s", path);

    for (size_t i = 0; t->closed && i < t->closed->len; i++)
        if (path_within(real, t->closed->items[i]) && !(dir && !strcmp(real, t->closed->items[i])))
            return true;
    return false;
}

static int on_entry(void *arg, const struct tree_entry *e, struct err *err)
{
    struct layer_tar *t = arg;
    cleanup_free char *name = xasprintf("%s%s", e->path, e->type == TREE_DIR ? "/" : "");
    locale_t before;
    int r;

    if (tree_path_within(e->path, ".atp"))
        return err_set(err, 1, "the agent sent a file of its own");
    if (t->size > LAYER_MAX || e->size > (uint64_t)(LAYER_MAX - t->size)) /* heads count too, and may pass it */
        return err_set(err, 1, "the layer is larger than %lld bytes", (long long)LAYER_MAX);
    t->dropping = is_closed(t, e->path, e->type == TREE_DIR) ||
                  (e->type == TREE_HARDLINK && is_closed(t, e->link, /* dir= */ false));
    if (t->dropping) {
        clear_xattrs(t);
        return 0;
    }
    fill(t, e, name);
    before = t->utf8 ? uselocale(t->utf8) : (locale_t)0; /* so that names that are UTF-8 need no word about it */
    r = archive_write_header(t->archive, t->entry);
    if (before)
        uselocale(before);
    clear_xattrs(t);
    return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 0 : fail(t, err);
}

static int on_data(void *arg, const void *bytes, size_t len, struct err *err)
{
    struct layer_tar *t = arg;

    if (t->dropping)
        return 0;
    return archive_write_data(t->archive, bytes, len) == (la_ssize_t)len ? 0 : fail(t, err);
}

/* A layer has no holes: they become the zeros that they stand for. */
static int on_hole(void *arg, uint64_t len, struct err *err)
{
    static const char zeros[64u << 10];

    while (len) {
        size_t n = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);

        if (on_data(arg, zeros, n, err) < 0)
            return -1;
        len -= n;
    }
    return 0;
}

static int on_nothing(void *arg, struct err *err)
{
    (void)arg;
    (void)err;
    return 0;
}

static const struct tree_events events = {.head = on_head,
                                          .entry = on_entry,
                                          .data = on_data,
                                          .hole = on_hole,
                                          .file_end = on_nothing,
                                          .end = on_nothing,
                                          .xattr = on_xattr};

struct layer_tar *layer_tar_new(int fd, struct err *err)
{
    struct layer_tar *t;

    if (lib_archive(err) < 0)
        return NULL;
    t = xcalloc(1, sizeof(*t));
    t->fd = fd;
    t->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    tree_parser_init(&t->parser, &events, t);
    t->entry = archive_entry_new();
    t->archive = archive_write_new();
    archive_write_set_format_pax_restricted(t->archive);
    archive_write_set_options(t->archive, "xattrheader=SCHILY"); /* what every reader of layers knows */
    if (archive_write_open(t->archive, t, NULL, on_write, NULL) == ARCHIVE_OK)
        return t;
    fail(t, err);
    layer_tar_free(t);
    return NULL;
}

void layer_tar_leave_out(struct layer_tar *t, const struct strlist *closed)
{
    t->closed = closed;
}

void layer_tar_free(struct layer_tar *t)
{
    if (!t)
        return;
    clear_xattrs(t);
    archive_write_fail(t->archive); /* freeing it must not write an end */
    archive_write_free(t->archive);
    archive_entry_free(t->entry);
    tree_parser_clear(&t->parser);
    if (t->utf8)
        freelocale(t->utf8);
    free(t);
}

int layer_tar_feed(struct layer_tar *t, const void *bytes, size_t len, struct err *err)
{
    return tree_parser_feed(&t->parser, bytes, len, err);
}

int layer_tar_finish(struct layer_tar *t, int64_t *ret_size, struct err *err)
{
    if (tree_parser_finish(&t->parser, err) < 0)
        return -1;
    if (archive_write_close(t->archive) != ARCHIVE_OK)
        return fail(t, err);
    *ret_size = t->size;
    return 0;
}
