#include "backends/blobs/blobs.h"

#include "backends/blobs/blobs_impl.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BLOCK  (128u << 10)
#define TEMP_DIGITS 16
#define TEMP_TRIES  100 /* a sweeper of leftovers that takes a file for one before its writer has it locked */

struct blob_writer {
    struct blobs *store; /* borrowed */
    char *path;
    int fd; /* locked: what is locked is nobody's leftover */
    struct sha256 sum;
    bool foreign; /* somebody else has written to fd: the sum is taken at the end */
};

DEFINE_CLEANUP(struct blobs *, blobs_free)
DEFINE_CLEANUP(struct blob_writer *, blob_writer_free)

/* ---- names ---- */

const char *blobs_hex(const char *digest)
{
    size_t prefix = strlen(BLOBS_PREFIX);
    const char *hex;

    if (!digest || strncmp(digest, BLOBS_PREFIX, prefix) != 0)
        return NULL;
    hex = digest + prefix;
    return strspn(hex, "0123456789abcdef") == BLOBS_HEX && !hex[BLOBS_HEX] ? hex : NULL;
}

char *blobs_path(const struct blobs *b, const char *kind, const char *digest)
{
    const char *hex = blobs_hex(digest);

    return hex ? xasprintf("%s/%s/%.2s/%s", b->dir, kind, hex, hex + 2) : NULL;
}

char *blobs_temp(const struct blobs *b, struct err *err)
{
    char name[TEMP_DIGITS + 1];

    return random_hex(name, TEMP_DIGITS, err) < 0 ? NULL : xasprintf("%s/tmp/%s", b->dir, name);
}

/* ---- the store ---- */

static int lock_retry(int fd, int how)
{
    int r;

    do
        r = flock(fd, how);
    while (r < 0 && errno == EINTR);
    return r;
}

/* Removes what writers have left who are dead: nobody has it locked. */
static void remove_leftovers(const struct blobs *b)
{
    cleanup_free char *path = xasprintf("%s/tmp", b->dir);
    cleanup_dir DIR *dir = opendir(path);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        cleanup_close int fd = -1;

        if (entry->d_name[0] == '.')
            continue;
        fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
}

struct blobs *blobs_open(const char *dir, struct err *err)
{
    static const char *const kinds[] = {"sha256", "notes", "tmp"};
    cleanup_with(blobs_freep) struct blobs *b = xcalloc(1, sizeof(*b));
    cleanup_free char *lock = xasprintf("%s/lock", dir);

    b->dir = xstrdup(dir);
    b->lock = -1;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        cleanup_free char *path = xasprintf("%s/%s", dir, kinds[i]);

        if (fs_mkdirs(path, 0700, err) < 0)
            return NULL;
    }
    b->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (b->lock < 0 || lock_retry(b->lock, LOCK_SH) < 0) {
        err_set_errno(err, 125, errno, "open %s", lock);
        return NULL;
    }
    remove_leftovers(b);
    return steal(&b);
}

void blobs_free(struct blobs *b)
{
    if (!b)
        return;
    if (b->lock >= 0)
        close(b->lock);
    free(b->dir);
    free(b);
}

int blobs_alone(struct blobs *b, struct err *err)
{
    if (lock_retry(b->lock, LOCK_EX | LOCK_NB) == 0) {
        b->alone = true;
        return 1;
    }
    if (errno != EWOULDBLOCK)
        return err_set_errno(err, 125, errno, "locking %s", b->dir);
    /* the attempt may have cost the lock that there was */
    return lock_retry(b->lock, LOCK_SH) < 0 ? err_set_errno(err, 125, errno, "locking %s", b->dir) : 0;
}

/* ---- reading ---- */

int64_t blobs_size(const struct blobs *b, const char *digest)
{
    cleanup_free char *path = blobs_path(b, "sha256", digest);
    struct stat st;

    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
}

int blobs_read(const struct blobs *b, const char *digest, struct err *err)
{
    cleanup_free char *path = blobs_path(b, "sha256", digest);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    return fd >= 0 ? fd : err_set_errno(err, 125, path ? errno : ENOENT, "the blob %.80s", digest ? digest : "(none)");
}

char *blobs_file(const struct blobs *b, const char *digest)
{
    return blobs_size(b, digest) < 0 ? NULL : blobs_path(b, "sha256", digest);
}

int blobs_read_text(const struct blobs *b, const char *digest, struct buf *out, struct err *err)
{
    cleanup_free char *path = blobs_path(b, "sha256", digest);

    return path ? fs_read_file(path, out, err) : err_set(err, 125, "%.80s is no digest", digest);
}

/* ---- writing ---- */

static int sync_folder(const char *path, struct err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && fsync(fd) == 0 ? 0 : err_set_errno(err, 125, errno, "fsync %s", path);
}

int blobs_settle(const char *from, const char *to, struct err *err)
{
    cleanup_free char *folder = xstrndup(to, (size_t)(strrchr(to, '/') - to));

    if (fs_mkdirs(folder, 0700, err) < 0)
        return -1;
    if (rename(from, to) < 0)
        return err_set_errno(err, 125, errno, "rename %s", from);
    unlink(from); /* still there if it was another link of the same file */
    return sync_folder(folder, err);
}

/* A new file of ours in tmp, locked. One that was taken for a leftover between the two is made anew. */
static int make_temp(struct blob_writer *w, struct err *err)
{
    for (int i = 0; i < TEMP_TRIES; i++) {
        struct stat st;

        free(steal(&w->path));
        w->path = blobs_temp(w->store, err);
        if (!w->path)
            return -1;
        w->fd = open(w->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (w->fd < 0 || lock_retry(w->fd, LOCK_EX) < 0 || fstat(w->fd, &st) < 0)
            return err_set_errno(err, 125, errno, "open %s", w->path);
        if (st.st_nlink)
            return 0;
        close(steal_fd(&w->fd));
    }
    return err_set(err, 125, "%s is removed again and again", w->path);
}

struct blob_writer *blob_writer_new(struct blobs *b, struct err *err)
{
    cleanup_with(blob_writer_freep) struct blob_writer *w = xcalloc(1, sizeof(*w));

    w->store = b;
    w->fd = -1;
    sha256_init(&w->sum);
    return make_temp(w, err) < 0 ? NULL : steal(&w);
}

void blob_writer_free(struct blob_writer *w)
{
    if (!w)
        return;
    if (w->path)
        unlink(w->path);
    if (w->fd >= 0)
        close(w->fd);
    free(w->path);
    free(w);
}

int blob_writer_add(struct blob_writer *w, const void *bytes, size_t len, struct err *err)
{
    const char *at = bytes;

    sha256_update(&w->sum, bytes, len);
    while (len) {
        ssize_t n = write(w->fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 125, errno, "write %s", w->path);
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int blob_writer_fd(struct blob_writer *w)
{
    w->foreign = true;
    return w->fd;
}

/* The digest of all that a file holds. */
static int sum_file(int fd, struct sha256 *sum, const char *path, struct err *err)
{
    cleanup_free char *chunk = xmalloc(READ_BLOCK);
    off_t offset = 0;
    ssize_t n;

    sha256_init(sum);
    while ((n = pread(fd, chunk, READ_BLOCK, offset)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 125, errno, "read %s", path);
        sha256_update(sum, chunk, (size_t)n);
        offset += n;
    }
    return 0;
}

/* The digest as text, owned by caller; NULL when it is not the one that was wanted. */
static char *check_sum(struct sha256 *sum, const char *want, struct err *err)
{
    cleanup_free char *digest = NULL;
    char hex[BLOBS_HEX + 1];
    uint8_t bytes[SHA256_LEN];

    sha256_final(sum, bytes);
    sha256_hex(bytes, hex);
    digest = xasprintf(BLOBS_PREFIX "%s", hex);
    if (!want || strcmp(want, digest) == 0)
        return steal(&digest);
    err_set(err, 125, "the blob has the digest %s, not %.80s", digest, want);
    return NULL;
}

int blob_writer_commit(struct blob_writer *w, const char *want, char **ret_digest, struct err *err)
{
    cleanup_free char *digest = NULL, *to = NULL;

    if (w->foreign && sum_file(w->fd, &w->sum, w->path, err) < 0)
        return -1;
    digest = check_sum(&w->sum, want, err);
    if (!digest)
        return -1;
    if (fsync(w->fd) < 0)
        return err_set_errno(err, 125, errno, "fsync %s", w->path);
    to = blobs_path(w->store, "sha256", digest);
    if (blobs_settle(w->path, to, err) < 0)
        return -1;
    free(steal(&w->path));
    if (ret_digest)
        *ret_digest = steal(&digest);
    return 0;
}

int blobs_write_text(struct blobs *b, const char *to, const char *text, struct err *err)
{
    cleanup_with(blob_writer_freep) struct blob_writer *w = blob_writer_new(b, err);

    if (!w || blob_writer_add(w, text, strlen(text), err) < 0)
        return -1;
    if (fsync(w->fd) < 0)
        return err_set_errno(err, 125, errno, "fsync %s", w->path);
    if (blobs_settle(w->path, to, err) < 0)
        return -1;
    free(steal(&w->path));
    return 0;
}

/* Another file system: the bytes go over. */
static int put_copy(struct blobs *b, int from, const char *path, const char *digest, struct err *err)
{
    cleanup_with(blob_writer_freep) struct blob_writer *w = blob_writer_new(b, err);
    cleanup_free char *chunk = xmalloc(READ_BLOCK);
    off_t offset = 0;
    ssize_t n;

    if (!w)
        return -1;
    while ((n = pread(from, chunk, READ_BLOCK, offset)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 125, errno, "read %s", path);
        if (blob_writer_add(w, chunk, (size_t)n, err) < 0)
            return -1;
        offset += n;
    }
    return blob_writer_commit(w, digest, NULL, err);
}

int blobs_put_file(struct blobs *b, const char *path, const char *digest, struct err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    cleanup_free char *temp = NULL, *to = blobs_path(b, "sha256", digest), *sum_text = NULL;
    struct sha256 sum;

    if (fd < 0 || lock_retry(fd, LOCK_EX) < 0)
        return err_set_errno(err, 125, errno, "open %s", path);
    if (!to)
        return err_set(err, 125, "%.80s is no digest", digest);
    temp = blobs_temp(b, err);
    if (!temp)
        return -1;
    if (link(path, temp) < 0)
        return put_copy(b, fd, path, digest, err);
    if (sum_file(fd, &sum, path, err) < 0 || !(sum_text = check_sum(&sum, digest, err)) ||
        (fsync(fd) < 0 && err_set_errno(err, 125, errno, "fsync %s", path) < 0) || blobs_settle(temp, to, err) < 0) {
        unlink(temp);
        return -1;
    }
    return 0;
}
