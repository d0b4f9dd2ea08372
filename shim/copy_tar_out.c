/* A tree stream as a tar archive, with the names and the whole seconds that docker gives. */
#include "shim/copy_tar.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/base/strlist.h"
#include "compat/lib/archive.h"
#include "translate/tree/tree.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX (16u << 20) /* one piece of a tree, as an archive: entries without contents grow ten times */
#define NS      INT64_C(1000000000)

struct tar_out {
    struct tree_parser parser;
    struct archive *archive;
    struct archive_entry *entry;
    struct buf out;
    char *root;                   /* owned; of the copied thing: "" for "/" */
    const struct strlist *closed; /* not NULL: the root of a container is exported */
    bool dropping;                /* the contents of this file */
    locale_t utf8;
};

static la_ssize_t on_write(struct archive *a, void *arg, const void *bytes, size_t len)
{
    struct tar_out *t = arg;

    (void)a;
    return buf_add(&t->out, bytes, len) < 0 ? -1 : (la_ssize_t)len;
}

static int fail(const struct tar_out *t, struct err *err)
{
    const char *why = archive_error_string(t->archive);

    return err_set(err, 1, "writing the archive: %s", why ? why : "it is too long");
}

/* "dir/a": the name in the archive; owned by caller. */
static char *name_of(const struct tar_out *t, const char *path, bool dir)
{
    if (t->closed)
        return xasprintf("%s%s", path, dir ? "/" : "");
    if (*path)
        return xasprintf("%s/%s%s", t->root, path, dir ? "/" : "");
    return xasprintf("%s%s", t->root, dir ? "/" : "");
}

static int on_head(void *arg, const struct tree_head *head, struct err *err)
{
    struct tar_out *t = arg;

    (void)err;
    if (!t->root)
        t->root = xstrdup(strcmp(head->base, "/") ? head->base : "");
    return 0;
}

static void fill(struct tar_out *t, const struct tree_entry *e, const char *name, const char *first)
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
    if (first)
        archive_entry_set_hardlink(to, first);
}

/* Where the path is seen from what is left out. */
static enum { OPEN, CLOSED, BELOW } where(const struct tar_out *t, const char *path)
{
    cleanup_free char *absolute = xasprintf("/%s", path);

    for (size_t i = 0; i < t->closed->len; i++)
        if (path_within(absolute, t->closed->items[i]))
            return strcmp(absolute, t->closed->items[i]) ? BELOW : CLOSED;
    return OPEN;
}

static int put_entry(struct tar_out *t, const struct tree_entry *e, struct err *err)
{
    cleanup_free char *name = name_of(t, e->path, e->type == TREE_DIR);
    cleanup_free char *first = e->type == TREE_HARDLINK ? name_of(t, e->link, false) : NULL;
    locale_t before;
    int r;

    fill(t, e, name, first);
    before = t->utf8 ? uselocale(t->utf8) : (locale_t)0; /* so that names that are UTF-8 need no word about it */
    r = archive_write_header(t->archive, t->entry);
    if (before)
        uselocale(before);
    return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 0 : fail(t, err);
}

/* Of a root that is exported: a link to what is left out is left out too. */
static int put_exported(struct tar_out *t, const struct tree_entry *e, struct err *err)
{
    int at = where(t, e->path);
    struct tree_entry shown = *e;

    t->dropping = at != OPEN;
    if (!*e->path || at == BELOW || (e->type == TREE_HARDLINK && where(t, e->link) != OPEN))
        return 0;
    if (at == CLOSED)
        shown.size = 0;
    return put_entry(t, &shown, err);
}

static int on_entry(void *arg, const struct tree_entry *e, struct err *err)
{
    struct tar_out *t = arg;

    return t->closed ? put_exported(t, e, err) : put_entry(t, e, err);
}

static int on_data(void *arg, const void *bytes, size_t len, struct err *err)
{
    struct tar_out *t = arg;

    if (t->dropping)
        return 0;
    return archive_write_data(t->archive, bytes, len) == (la_ssize_t)len ? 0 : fail(t, err);
}

static int on_hole(void *arg, uint64_t len, struct err *err)
{
    (void)arg;
    return err_set(err, 1, "the container sent a hole of %llu bytes, which was not asked for", (unsigned long long)len);
}

static int on_nothing(void *arg, struct err *err)
{
    (void)arg;
    (void)err;
    return 0;
}

static const struct tree_events events = {
    .head = on_head, .entry = on_entry, .data = on_data, .hole = on_hole, .file_end = on_nothing, .end = on_nothing};

struct tar_out *tar_out_new(const char *root, struct err *err)
{
    struct tar_out *t;

    if (lib_archive(err) < 0)
        return NULL;
    t = xcalloc(1, sizeof(*t));
    t->root = xstrdup(root);
    t->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    buf_init(&t->out, OUT_MAX);
    tree_parser_init(&t->parser, &events, t);
    t->entry = archive_entry_new();
    t->archive = archive_write_new();
    archive_write_set_format_pax_restricted(t->archive);
    archive_write_set_bytes_per_block(t->archive, 0);
    archive_write_set_bytes_in_last_block(t->archive, 1);
    if (archive_write_open(t->archive, t, NULL, on_write, NULL) == ARCHIVE_OK)
        return t;
    fail(t, err);
    tar_out_free(t);
    return NULL;
}

void tar_out_free(struct tar_out *t)
{
    if (!t)
        return;
    archive_write_fail(t->archive); /* nothing more is written: an archive that is complete was closed */
    archive_write_free(t->archive);
    archive_entry_free(t->entry);
    tree_parser_clear(&t->parser);
    buf_clear(&t->out);
    if (t->utf8)
        freelocale(t->utf8);
    free(t->root);
    free(t);
}

void tar_out_whole(struct tar_out *t, const struct strlist *closed)
{
    t->closed = closed;
}

int tar_out_feed(struct tar_out *t, const void *bytes, size_t len, struct err *err)
{
    return tree_parser_feed(&t->parser, bytes, len, err);
}

int tar_out_finish(struct tar_out *t, struct err *err)
{
    if (tree_parser_finish(&t->parser, err) < 0)
        return -1;
    return archive_write_close(t->archive) == ARCHIVE_OK ? 0 : fail(t, err);
}

struct buf *tar_out_bytes(struct tar_out *t)
{
    return &t->out;
}
