#include "backends/registry/tar.h"

#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/lib/archive.h"

#include <errno.h>
#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BLOCK (128u << 10) /* one read(2): large enough that system calls do not show in a profile */

struct tar_reader {
    struct archive *raw; /* takes the compression off */
    struct archive *tar; /* parses what comes out */
    struct digest *digest;
    int64_t size;
    bool ended; /* the uncompressed stream is at its end */
    locale_t c_locale;
    char *raw_error; /* what the lower reader complained of: the tar parser only sees a failed read */
};

DEFINE_CLEANUP(struct tar_reader *, tar_close)

/* What went wrong, in the words of Docker's own tar reader where it has some. */
static int tar_fail(struct tar_reader *t, struct archive *a, struct err *err)
{
    const char *text = t->raw_error ? t->raw_error : archive_error_string(a);

    if (!text)
        return err_set(err, 0, "archive/tar: invalid tar header");
    if (strstr(text, "runcated") || strstr(text, "remature"))
        return err_set(err, 0, "unexpected EOF");
    if (strstr(text, "Unrecognized archive") || strstr(text, "amaged tar") || strstr(text, "checksum"))
        return err_set(err, 0, "archive/tar: invalid tar header");
    return err_set(err, 0, "archive/tar: %s", text);
}

/* Uncompressed bytes on their way to the tar parser; they are counted and hashed here. */
static la_ssize_t feed(struct archive *a, void *arg, const void **ret)
{
    struct tar_reader *t = arg;
    size_t len = 0;
    la_int64_t offset;
    int r;

    if (t->ended)
        return 0;
    do
        r = archive_read_data_block(t->raw, ret, &len, &offset);
    while (r == ARCHIVE_OK && len == 0);
    if (r == ARCHIVE_EOF) {
        t->ended = true;
        return 0;
    }
    if (r != ARCHIVE_OK) {
        const char *text = archive_error_string(t->raw);

        free(t->raw_error);
        t->raw_error = xstrdup(text ? text : "damaged compression");
        archive_set_error(a, EIO, "%s", t->raw_error);
        return -1;
    }
    digest_add(t->digest, *ret, len);
    t->size += (int64_t)len;
    return (la_ssize_t)len;
}

/* A reader that only takes the compression off. */
static struct tar_reader *open_raw(int fd, struct err *err)
{
    cleanup_with(tar_closep) struct tar_reader *t = NULL;
    struct archive_entry *entry;
    int r;

    if (lib_archive(err) < 0)
        return NULL;
    t = xcalloc(1, sizeof(*t));
    t->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    t->digest = digest_new();
    t->raw = archive_read_new();
    archive_read_support_filter_gzip(t->raw);
    archive_read_support_filter_zstd(t->raw);
    archive_read_support_filter_xz(t->raw);
    archive_read_support_filter_bzip2(t->raw);
    archive_read_support_format_raw(t->raw);
    archive_read_support_format_empty(t->raw);
    if (archive_read_open_fd(t->raw, fd, READ_BLOCK) != ARCHIVE_OK) {
        tar_fail(t, t->raw, err);
        return NULL;
    }
    r = archive_read_next_header(t->raw, &entry);
    if (r == ARCHIVE_EOF) {
        t->ended = true;
    } else if (r != ARCHIVE_OK) {
        tar_fail(t, t->raw, err);
        return NULL;
    }
    return steal(&t);
}

struct tar_reader *tar_open(int fd, struct err *err)
{
    cleanup_with(tar_closep) struct tar_reader *t = open_raw(fd, err);

    if (!t)
        return NULL;
    t->tar = archive_read_new();
    archive_read_support_format_tar(t->tar);
    archive_read_support_format_empty(t->tar);
    if (archive_read_open2(t->tar, t, NULL, feed, NULL, NULL) != ARCHIVE_OK) {
        tar_fail(t, t->tar, err);
        return NULL;
    }
    return steal(&t);
}

void tar_close(struct tar_reader *t)
{
    if (!t)
        return;
    if (t->tar)
        archive_read_free(t->tar);
    archive_read_free(t->raw);
    digest_free(t->digest);
    freelocale(t->c_locale);
    free(t->raw_error);
    free(t);
}

int tar_next(struct tar_reader *t, struct archive_entry **ret, struct err *err)
{
    locale_t before = uselocale(t->c_locale);
    int r = archive_read_next_header(t->tar, ret);

    uselocale(before);
    if (r == ARCHIVE_EOF && !t->raw_error)
        return 0;
    /* A warning is about names that are not ASCII: they are handed on as the bytes that they are. */
    if ((r == ARCHIVE_OK || r == ARCHIVE_WARN) && archive_entry_pathname(*ret))
        return 1;
    return tar_fail(t, t->tar, err);
}

int tar_name(const char *name, char **ret, struct err *err)
{
    struct buf clean = BUF_INIT(LIMIT_PATH);
    bool absolute = *name == '/';
    const char *part = name;

    while (*part) {
        size_t len = strcspn(part, "/");

        if (len == 2 && part[0] == '.' && part[1] == '.') {
            char *cut = strrchr(clean.data, '/');

            if (!clean.len && !absolute) {
                buf_clear(&clean);
                return err_set(err, 0, "invalid tar entry: \"%s\" is outside of the archive", name);
            }
            buf_truncate(&clean, cut ? (size_t)(cut - clean.data) : 0);
        } else if (len && !(len == 1 && *part == '.')) {
            if (clean.len)
                buf_addc(&clean, '/');
            buf_add(&clean, part, len);
        }
        part += len + (part[len] == '/');
    }
    if (clean.overflowed) {
        buf_clear(&clean);
        return err_set(err, 0, "invalid tar entry: file name too long");
    }
    *ret = buf_detach(&clean);
    return 0;
}

ssize_t tar_data(struct tar_reader *t, const void **ret_bytes, int64_t *ret_offset, struct err *err)
{
    size_t len = 0;
    la_int64_t offset = 0;
    int r;

    do
        r = archive_read_data_block(t->tar, ret_bytes, &len, &offset);
    while (r == ARCHIVE_OK && len == 0);
    if (r == ARCHIVE_EOF && !t->raw_error)
        return 0;
    if (r != ARCHIVE_OK)
        return tar_fail(t, t->tar, err);
    *ret_offset = offset;
    return (ssize_t)len;
}

int tar_finish(struct tar_reader *t, char ret_hex[65], int64_t *ret_size, struct err *err)
{
    const void *bytes;
    la_ssize_t n;

    while ((n = feed(t->raw, t, &bytes)) > 0)
        ;
    if (n < 0)
        return tar_fail(t, t->raw, err);
    digest_hex(t->digest, ret_hex);
    if (ret_size)
        *ret_size = t->size;
    return 0;
}

/* Writes all of it. */
static int write_all(int fd, const char *bytes, size_t len, struct err *err)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 0, errno, "writing");
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

int tar_uncompress(int in, int out, char ret_hex[65], int64_t *ret_size, struct err *err)
{
    cleanup_with(tar_closep) struct tar_reader *t = open_raw(in, err);
    const void *bytes;
    la_ssize_t n;

    if (!t)
        return -1;
    while ((n = feed(t->raw, t, &bytes)) > 0) {
        if (out >= 0 && write_all(out, bytes, (size_t)n, err) < 0)
            return -1;
    }
    if (n < 0)
        return tar_fail(t, t->raw, err);
    return tar_finish(t, ret_hex, ret_size, err);
}
