/* Ancestors on disk: magic, nonce, generation, encoded manifest (which carries its own digest), SHA-256 of all. */
#include "backends/sync/sync.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/sha256.h"
#include "compat/sys/beneath.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MAGIC     "ATPANC1\n"
#define MAGIC_LEN 8
#define HEAD_LEN  (MAGIC_LEN + SYNC_NONCE_LEN + 8)

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* Whole or not at all: a temporary file beside it is renamed over the old one. */
static int write_file(int dirfd, const char *key, const struct buf *b)
{
    cleanup_close int fd = -1;
    char temp[BENEATH_TEMP_MAX];
    int saved;

    fd = beneath_temp_open(dirfd, temp);
    if (fd < 0)
        return -1;
    if (write_all(fd, b->data, b->len) == 0 && beneath_rename(dirfd, temp, dirfd, key) == 0)
        return 0;
    saved = errno;
    beneath_unlink(dirfd, temp);
    errno = saved;
    return -1;
}

int sync_ancestor_save(int dirfd, const char *key, const uint8_t nonce[SYNC_NONCE_LEN], uint64_t generation,
                       const struct manifest *m, struct err *err)
{
    cleanup_buf struct buf b = BUF_INIT(LIMIT_SYNC_MANIFEST);
    uint8_t number[8], digest[SHA256_LEN];

    for (int i = 0; i < 8; i++)
        number[i] = (uint8_t)(generation >> 8 * i);
    buf_add(&b, MAGIC, MAGIC_LEN);
    buf_add(&b, nonce, SYNC_NONCE_LEN);
    buf_add(&b, number, sizeof(number));
    if (manifest_encode(m, &b) < 0)
        return err_set(err, 125, "saving the sync state %s: it is too large", key);
    sha256(b.data, b.len, digest);
    if (buf_add(&b, digest, sizeof(digest)) < 0)
        return err_set(err, 125, "saving the sync state %s: it is too large", key);
    if (write_file(dirfd, key, &b) < 0)
        return err_set_errno(err, 125, errno, "saving the sync state %s", key);
    return 0;
}

/* Reads a file of at most the ceiling; 1, 0 if there is none or it is too large, -1 and errno. */
static int read_file(int dirfd, const char *key, struct buf *b)
{
    cleanup_close int fd = -1;
    struct stat st;
    ssize_t n;
    char *to;

    fd = beneath_read_open(dirfd, key, &st);
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP || errno == EISDIR || errno == EINVAL ? 0 : -1;
    if (st.st_size < (off_t)(HEAD_LEN + SHA256_LEN) || !(to = buf_reserve(b, (size_t)st.st_size)))
        return 0;
    while (b->len < (size_t)st.st_size) {
        n = read(fd, to + b->len, (size_t)st.st_size - b->len);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n == 0)
            return 0;
        if (n > 0)
            buf_advance(b, (size_t)n);
    }
    return 1;
}

int sync_ancestor_load(int dirfd, const char *key, uint8_t ret_nonce[SYNC_NONCE_LEN], uint64_t *ret_generation,
                       struct manifest *ret, struct err *err)
{
    cleanup_buf struct buf b = BUF_INIT(LIMIT_SYNC_MANIFEST);
    cleanup_err struct err ignored = ERR_INIT;
    uint8_t digest[SHA256_LEN];
    uint64_t generation = 0;
    size_t len;
    int status = read_file(dirfd, key, &b);

    if (status < 0)
        return err_set_errno(err, 125, errno, "reading the sync state %s", key);
    if (status == 0)
        return 0;
    len = b.len - SHA256_LEN;
    sha256(b.data, len, digest);
    if (memcmp(b.data, MAGIC, MAGIC_LEN) != 0 || memcmp(digest, b.data + len, SHA256_LEN) != 0 ||
        manifest_decode(b.data + HEAD_LEN, len - HEAD_LEN, ret, &ignored) < 0)
        return 0;
    for (int i = 0; i < 8; i++)
        generation |= (uint64_t)(uint8_t)b.data[MAGIC_LEN + SYNC_NONCE_LEN + i] << 8 * i;
    memcpy(ret_nonce, b.data + MAGIC_LEN, SYNC_NONCE_LEN);
    *ret_generation = generation;
    return 1;
}

int sync_ancestor_mark(int dirfd, const char *key, uint8_t ret_nonce[SYNC_NONCE_LEN], uint64_t *ret_generation,
                       struct err *err)
{
    uint8_t head[HEAD_LEN];
    cleanup_close int fd = -1;
    uint64_t generation = 0;
    struct stat st;
    ssize_t n;

    fd = beneath_read_open(dirfd, key, &st);
    if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == EISDIR || errno == EINVAL))
        return 0;
    n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
    if (n < 0)
        return err_set_errno(err, 125, errno, "reading the sync state %s", key);
    if (n != (ssize_t)sizeof(head) || memcmp(head, MAGIC, MAGIC_LEN) != 0)
        return 0;
    for (int i = 0; i < 8; i++)
        generation |= (uint64_t)head[MAGIC_LEN + SYNC_NONCE_LEN + i] << 8 * i;
    memcpy(ret_nonce, head + MAGIC_LEN, SYNC_NONCE_LEN);
    *ret_generation = generation;
    return 1;
}
