/* Links, fifos and odd directories of a context as a small tar: a mount holds regular files only. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/lib/archive.h"
#include "shim/build/context.h"

#include <string.h>

#define META_MAX (256u << 20) /* a link takes a kilobyte: a quarter of a million of them */

static la_ssize_t on_write(struct archive *a, void *arg, const void *bytes, size_t len)
{
    struct buf *out = arg;

    if (buf_add(out, bytes, len) < 0) {
        archive_set_error(a, 0, "too many links");
        return -1;
    }
    return (la_ssize_t)len;
}

/* Whether a directory says more than the files in it do. The entries are sorted: what lies in it may follow later only
 * because of names like "a-b", which sort between "a" and "a/b". */
static bool odd_directory(const struct build_context *c, size_t at, size_t use)
{
    const struct build_entry *e = &c->entries[at];
    size_t len = strlen(e->path);

    if ((e->mode & 07777) != 0755)
        return true;
    for (size_t i = at + 1; i < c->len && !strncmp(c->entries[i].path, e->path, len); i++)
        if (c->entries[i].path[len] == '/' && S_ISREG(c->entries[i].mode) && build_context_covers(c, use, i))
            return false;
    return true;
}

/* Whether a mount cannot hold it. */
static bool belongs(const struct build_context *c, size_t at, size_t use, bool all_dirs)
{
    const struct build_entry *e = &c->entries[at];

    if (S_ISREG(e->mode) || !build_context_covers(c, use, at))
        return false;
    return !S_ISDIR(e->mode) || all_dirs || odd_directory(c, at, use);
}

static bool any_belongs(const struct build_context *c, size_t use, bool all_dirs)
{
    for (size_t i = 0; i < c->len; i++)
        if (belongs(c, i, use, all_dirs))
            return true;
    return false;
}

static int add(struct archive *a, struct archive_entry *entry, const struct build_entry *e, struct err *err)
{
    archive_entry_clear(entry);
    archive_entry_set_pathname(entry, e->path);
    archive_entry_set_filetype(entry, e->link ? AE_IFLNK : S_ISDIR(e->mode) ? AE_IFDIR : AE_IFIFO);
    archive_entry_set_perm(entry, e->mode & 07777);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    archive_entry_set_mtime(entry, (time_t)(e->mtime_ns / 1000000000), (long)(e->mtime_ns % 1000000000));
    if (e->link)
        archive_entry_set_symlink(entry, e->link);
    if (archive_write_header(a, entry) < ARCHIVE_WARN)
        return err_set(err, 1, "failed to solve: %s: %s", e->path, archive_error_string(a));
    return 0;
}

static int write_all(const struct build_context *c, size_t use, bool all_dirs, struct archive *a, struct err *err)
{
    struct archive_entry *entry = archive_entry_new();
    int got = 0;

    for (size_t i = 0; i < c->len && got == 0; i++)
        if (belongs(c, i, use, all_dirs) || (all_dirs && S_ISDIR(c->entries[i].mode) && build_context_leads(c, use, i)))
            got = add(a, entry, &c->entries[i], err);
    archive_entry_free(entry);
    if (got == 0 && archive_write_close(a) != ARCHIVE_OK)
        got = err_set(err, 1, "failed to solve: %s", archive_error_string(a));
    return got;
}

int build_context_meta(const struct build_context *c, size_t use, bool all_dirs, char **ret, size_t *ret_len,
                       struct err *err)
{
    cleanup_buf struct buf out = BUF_INIT(META_MAX);
    struct archive *a;
    int got;

    if (!any_belongs(c, use, all_dirs))
        return 0;
    if (lib_archive(err) < 0)
        return -1;
    a = archive_write_new();
    archive_write_set_format_pax_restricted(a);
    archive_write_set_bytes_in_last_block(a, 1);
    if (archive_write_open(a, &out, NULL, on_write, NULL) == ARCHIVE_OK)
        got = write_all(c, use, all_dirs, a, err);
    else
        got = err_set(err, 1, "failed to solve: %s", archive_error_string(a));
    archive_write_free(a);
    if (got < 0)
        return -1;
    *ret_len = out.len;
    *ret = buf_detach(&out);
    return 1;
}
