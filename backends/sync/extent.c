#include "backends/sync/extent.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/beneath.h"
#include "translate/sync/content.h"
#include "translate/sync/stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ZEROS_MIN 4096 /* what a hole saves at least */

void extent_init(struct extent_reader *r, int fd, const struct stat *st)
{
    *r = (struct extent_reader){.fd = fd, .size = (uint64_t)st->st_size};
    /* Fewer blocks than bytes: there are holes, or the file system compresses; asking is cheap either way. */
    r->sparse = (uint64_t)st->st_blocks * 512 < r->size;
    r->data_end = r->sparse ? 0 : r->size;
}

/* Finds the hole or the data that begins at r->at; returns the length of the hole, 0 if there is data. */
static uint64_t next_extent(struct extent_reader *r)
{
#ifdef SEEK_DATA
    off_t data = lseek(r->fd, (off_t)r->at, SEEK_DATA), hole;

    if (data < 0 && errno == ENXIO)
        return r->size - r->at;
    if (data >= 0 && (uint64_t)data > r->at)
        return ((uint64_t)data < r->size ? (uint64_t)data : r->size) - r->at;
    hole = data < 0 ? -1 : lseek(r->fd, (off_t)r->at, SEEK_HOLE);
    r->data_end = hole > data ? (uint64_t)hole : r->size;
    if (r->data_end > r->size)
        r->data_end = r->size;
#else
    r->data_end = r->size;
#endif
    return 0;
}

/* A piece of nothing but zeros is as good as a hole. gVisor knows of no holes: every file is all data there. */
static bool is_zeros(const char *bytes, size_t len)
{
    return len >= ZEROS_MIN && bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

ssize_t extent_read(struct extent_reader *r, void *bytes, size_t cap, uint64_t *ret_hole)
{
    ssize_t n;

    *ret_hole = 0;
    if (r->at >= r->size)
        return 0;
    if (r->at >= r->data_end) {
        *ret_hole = next_extent(r);
        r->at += *ret_hole;
        if (*ret_hole)
            return 0;
    }
    if (cap > r->data_end - r->at)
        cap = (size_t)(r->data_end - r->at);
    do
        n = pread(r->fd, bytes, cap, (off_t)r->at);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n;
    r->at += (uint64_t)n;
    if (!is_zeros(bytes, (size_t)n))
        return n;
    *ret_hole = (uint64_t)n;
    return 0;
}

bool extent_unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_ino == b->st_ino && a->st_mode == b->st_mode &&
           beneath_mtime(a) == beneath_mtime(b) && beneath_ctime(a) == beneath_ctime(b);
}

/* One pass; 0, 1 if it was cut short by a change, -1 and errno. */
static int digest_once(int fd, const struct stat *st, uint8_t ret[SHA256_LEN])
{
    cleanup_free uint8_t *bytes = xmalloc(EXTENT_BUFFER);
    struct extent_reader r;
    struct content c;
    uint64_t hole;
    ssize_t n;

    content_init(&c);
    extent_init(&r, fd, st);
    while ((n = extent_read(&r, bytes, EXTENT_BUFFER, &hole)) > 0 || hole) {
        if (n > 0)
            content_update(&c, bytes, (size_t)n);
        else
            content_zeros(&c, hole);
    }
    if (n < 0)
        return -1;
    content_final(&c, ret);
    return r.at < r.size;
}

int extent_digest(int dir, const char *name, struct stat *ret_st, uint8_t ret_digest[32])
{
    for (int i = 0; i < STREAM_TRIES; i++) {
        cleanup_close int fd = -1;
        struct stat before, after;
        int status;

        fd = beneath_read_open(dir, name, &before);
        if (fd < 0)
            return -1;
        status = digest_once(fd, &before, ret_digest);
        if (status < 0 || fstat(fd, &after) < 0)
            return -1;
        if (status == 0 && extent_unchanged(&before, &after)) {
            *ret_st = before;
            return 0;
        }
    }
    return 1;
}
