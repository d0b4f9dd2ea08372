/*
 * What the sync tests share: scratch trees, one exchange from end to end, and words to state what a tree holds. Headers
 * in this folder are not programs of their own.
 */
#ifndef ATP_TEST_SYNC_RIG_H
#define ATP_TEST_SYNC_RIG_H

#include "backends/sync/sync.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/sys/beneath.h"
#include "translate/sync/diff.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* One side of an exchange: a directory, and what it last agreed on. */
struct side {
    int dirfd;
    const char *file; /* a mount of one file */
    struct manifest agreed;
    bool has_agreed;
};

/* A fresh directory below the scratch directory of this program; the caller closes it. */
static inline int rig_dir(void)
{
    char path[64] = "/tmp/atp-sync-test.XXXXXX";
    int fd;

    assert_non_null(mkdtemp(path));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline void rig_remove(int fd)
{
    char *path = beneath_fd_path(fd);

    assert_non_null(path);
    assert_int_equal(strncmp(path, "/tmp/atp-sync-test.", 19), 0);
    {
        int parent = open("/tmp", O_RDONLY | O_DIRECTORY);

        assert_int_equal(beneath_remove_tree(parent, path + 5), 0);
        close(parent);
    }
    free(path);
    close(fd);
}

static inline struct side side_new(void)
{
    return (struct side){.dirfd = rig_dir(), .agreed = MANIFEST_INIT};
}

static inline void side_free(struct side *s)
{
    manifest_clear(&s->agreed);
    rig_remove(s->dirfd);
}

static inline void rig_write(int dirfd, const char *path, const void *bytes, size_t len)
{
    int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static inline void rig_text(int dirfd, const char *path, const char *text)
{
    rig_write(dirfd, path, text, strlen(text));
}

static inline void rig_mkdir(int dirfd, const char *path)
{
    assert_int_equal(mkdirat(dirfd, path, 0755), 0);
}

/* The content as text, "" if there is no such file; owned by caller. */
static inline char *rig_read(int dirfd, const char *path)
{
    struct buf b = BUF_INIT(1 << 20);
    int fd = openat(dirfd, path, O_RDONLY | O_NOFOLLOW);
    char bytes[4096];
    ssize_t n;

    while (fd >= 0 && (n = read(fd, bytes, sizeof(bytes))) > 0)
        buf_add(&b, bytes, (size_t)n);
    if (fd >= 0)
        close(fd);
    return buf_detach(&b);
}

static inline void assert_text(int dirfd, const char *path, const char *expected)
{
    char *text = rig_read(dirfd, path);

    assert_string_equal(text, expected);
    free(text);
}

static inline bool rig_exists(int dirfd, const char *path)
{
    struct stat st;

    return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline struct stat rig_stat(int dirfd, const char *path)
{
    struct stat st;

    assert_int_equal(fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st;
}

static inline void rig_mtime(int dirfd, const char *path, int64_t s, long ns)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)s, .tv_nsec = ns}};

    assert_int_equal(utimensat(dirfd, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* The tree in words, one line an entry: type mode size mtime path [-> text] digest. times: with mtimes. */
static inline char *rig_describe(int dirfd, const char *file, bool owners)
{
    struct sync_tree tree = {.dirfd = dirfd, .file = file};
    struct manifest m = MANIFEST_INIT;
    struct buf b = BUF_INIT(64 << 20);
    struct err err = ERR_INIT;

    if (sync_scan(&tree, NULL, NULL, &m, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < m.len; i++) {
        const struct manifest_entry *e = &m.entries[i];

        buf_addf(&b, "%c %04o %llu %lld.%09lld ", "?fdl"[e->type], e -> type == MANIFEST_SYMLINK ? 0 : e -> mode,
                 (unsigned long long)e -> size, (long long)(e->mtime / 1000000000), (long long)(e->mtime % 1000000000));
        if (owners)
            buf_addf(&b, "%u:%u ", e->uid, e->gid);
        sync_quote(&b, e->path);
        if (e->link) {
            buf_adds(&b, " -> ");
            sync_quote(&b, e->link);
        }
        if (e->group)
            buf_addf(&b, " = %s", m.entries[e->group - 1].path);
        for (size_t k = 0; e->type == MANIFEST_FILE && k < 4; k++)
            buf_addf(&b, "%s%02x", k ? "" : " ", e->digest[k]);
        buf_addc(&b, '\n');
    }
    manifest_clear(&m);
    return buf_detach(&b);
}

static inline void assert_same_tree(const struct side *a, const struct side *b)
{
    char *one = rig_describe(a->dirfd, a->file, true), *two = rig_describe(b->dirfd, b->file, true);

    assert_string_equal(one, two);
    free(one);
    free(two);
}

/* How an exchange may be disturbed, and what it cost. */
struct exchange {
    size_t chunk;              /* bytes handed over at a time; 0: 64 KiB */
    uint64_t stop_after;       /* the stream is cut there; 0: not at all */
    uint64_t bytes;            /* out: length of the stream */
    bool full;                 /* the sender begins from nothing */
    struct err err;            /* out, if it failed */
    struct sync_report report; /* out */
    struct sync_scan_stats stats;
};

static inline void exchange_clear(struct exchange *x)
{
    err_clear(&x->err);
    sync_report_clear(&x->report);
}

/* Hands the sender's bytes to the receiver. 0, -1 with x->err, or 1 if it was cut on purpose. */
static inline int exchange_pump(struct sync_sender *s, struct sync_receiver *r, struct exchange *x)
{
    static char bytes[64 << 10];
    size_t chunk = x->chunk ? x->chunk : sizeof(bytes);
    ssize_t n;

    while ((n = sync_sender_read(s, bytes, chunk, &x->err)) > 0) {
        if (x->stop_after && x->bytes + (uint64_t)n > x->stop_after)
            n = (ssize_t)(x->stop_after - x->bytes);
        x->bytes += (uint64_t)n;
        if (sync_receiver_write(r, bytes, (size_t)n, &x->err) < 0)
            return -1;
        if (x->stop_after && x->bytes >= x->stop_after)
            return 1;
    }
    return n < 0 ? -1 : 0;
}

/*
 * One exchange. policy->ancestor is filled in from `to`. On success both sides' agreements are replaced. Returns 0, -1
 * (x->err), or 1 if it was cut.
 */
static inline int exchange_run(struct side *from, struct side *to, struct sync_policy policy, struct exchange *x)
{
    struct sync_tree from_tree = {.dirfd = from->dirfd, .file = from->file},
                     to_tree = {.dirfd = to->dirfd, .file = to->file};
    struct manifest now = MANIFEST_INIT, agreed = MANIFEST_INIT;
    struct sync_sender *s;
    struct sync_receiver *r;
    int status;

    if (sync_scan(&from_tree, from->has_agreed ? &from->agreed : NULL, policy.exclude, &now, &x->stats, &x->err) < 0)
        return -1;
    policy.ancestor = to->has_agreed ? &to->agreed : NULL;
    s = sync_sender_new(&from_tree, from->has_agreed && !x->full ? &from->agreed : NULL, &now);
    r = sync_receiver_new(&to_tree, &policy);
    status = exchange_pump(s, r, x);
    if (status == 0) {
        assert_true(sync_receiver_done(r));
        status = sync_receiver_finish(r, &agreed, &x->report, &x->err);
    }
    if (status == 0) {
        manifest_move(&to->agreed, &agreed);
        sync_sender_agreed(s, &from->agreed);
        from->has_agreed = to->has_agreed = true;
        if (from->agreed.len || to->agreed.len) {
            uint8_t one[MANIFEST_DIGEST_LEN], two[MANIFEST_DIGEST_LEN];

            manifest_shared_digest(&from->agreed, one);
            manifest_shared_digest(&to->agreed, two);
            assert_memory_equal(one, two, sizeof(one));
        }
    }
    sync_sender_free(s);
    sync_receiver_free(r);
    manifest_clear(&now);
    manifest_clear(&agreed);
    return status;
}

/* An exchange that must succeed; returns its report (to be cleared). */
static inline struct sync_report must(struct side *from, struct side *to, struct sync_policy policy)
{
    struct exchange x = {0};

    if (exchange_run(from, to, policy, &x) != 0)
        fail_msg("%s", x.err.msg);
    return x.report;
}

#define PUSH_FIRST ((struct sync_policy){.replace = true, .keep_dirfd = -1})
#define PUSH       ((struct sync_policy){.keep_dirfd = -1})
#define PULL(keep) ((struct sync_policy){.host = true, .keep_dirfd = (keep)})

static inline void push_first(struct side *host, struct side *box)
{
    struct sync_report r = must(host, box, PUSH_FIRST);

    sync_report_clear(&r);
}

static inline void push(struct side *host, struct side *box)
{
    struct sync_report r = must(host, box, PUSH);

    sync_report_clear(&r);
}

static inline void pull(struct side *host, struct side *box)
{
    struct sync_report r = must(box, host, PULL(-1));

    sync_report_clear(&r);
}

#endif
