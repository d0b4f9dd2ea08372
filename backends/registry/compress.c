#include "backends/registry/compress.h"

#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/lib/archive.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

struct gzip_file {
    struct archive *archive;
    struct digest *digest;
    int64_t size;
    int fd, failed; /* errno of a write */
};

/* What comes out of the compressor. */
static la_ssize_t on_bytes(struct archive *a, void *arg, const void *bytes, size_t len)
{
    struct gzip_file *g = arg;
    const char *p = bytes;

    (void)a;
    for (size_t left = len; left;) {
        ssize_t n = write(g->fd, p, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            g->failed = errno;
            return -1;
        }
        p += n;
        left -= (size_t)n;
    }
    digest_add(g->digest, bytes, len);
    g->size += (int64_t)len;
    return (la_ssize_t)len;
}

static int fail(const struct gzip_file *g, struct err *err)
{
    if (g->failed)
        return err_set_errno(err, 0, g->failed, "writing a compressed layer");
    return err_set(err, 0, "compressing a layer: %s", archive_error_string(g->archive));
}

/* The one raw entry that the bytes are. */
static int begin(struct gzip_file *g, struct err *err)
{
    struct archive_entry *entry = archive_entry_new();
    int ok;

    archive_entry_set_pathname(entry, "layer");
    archive_entry_set_filetype(entry, S_IFREG);
    ok = archive_write_set_format_raw(g->archive) == ARCHIVE_OK &&
         archive_write_add_filter_gzip(g->archive) == ARCHIVE_OK &&
         archive_write_set_options(g->archive, "gzip:compression-level=6,gzip:!timestamp") == ARCHIVE_OK &&
         archive_write_set_bytes_in_last_block(g->archive, 1) == ARCHIVE_OK &&
         archive_write_open(g->archive, g, NULL, on_bytes, NULL) == ARCHIVE_OK &&
         archive_write_header(g->archive, entry) == ARCHIVE_OK;
    archive_entry_free(entry);
    return ok ? 0 : fail(g, err);
}

struct gzip_file *gzip_file_new(int fd, struct err *err)
{
    cleanup_with(gzip_file_freep) struct gzip_file *g = NULL;

    if (lib_archive(err) < 0)
        return NULL;
    g = xcalloc(1, sizeof(*g));
    g->fd = fd;
    g->digest = digest_new();
    g->archive = archive_write_new();
    if (!g->archive) {
        err_set(err, 0, "no memory to compress a layer");
        return NULL;
    }
    return begin(g, err) < 0 ? NULL : steal(&g);
}

int gzip_file_add(struct gzip_file *g, const void *bytes, size_t len, struct err *err)
{
    return archive_write_data(g->archive, bytes, len) == (la_ssize_t)len ? 0 : fail(g, err);
}

int gzip_file_end(struct gzip_file *g, char **ret_digest, int64_t *ret_size, struct err *err)
{
    char hex[DIGEST_HEX + 1];

    if (archive_write_close(g->archive) != ARCHIVE_OK)
        return fail(g, err);
    digest_hex(g->digest, hex);
    *ret_digest = xasprintf(DIGEST_PREFIX "%s", hex);
    *ret_size = g->size;
    return 0;
}

void gzip_file_free(struct gzip_file *g)
{
    if (!g)
        return;
    if (g->archive)
        archive_write_free(g->archive);
    digest_free(g->digest);
    free(g);
}
