/* Turns a difference into the bytes of a stream, reading contents on the way. Memory does not grow with file sizes. */
#include "backends/sync/sync.h"

#include "backends/sync/extent.h"
#include "backends/sync/local.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/beneath.h"
#include "translate/sync/diff.h"
#include "translate/sync/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Pieces of files that one call reads: gigabytes that say the same again and again become a few bytes, and whoever
 * sends them must be heard of meanwhile.
 */
#define PIECES_MAX 32

enum phase { PHASE_BEGIN, PHASE_OPS, PHASE_FILES, PHASE_CONTENT, PHASE_ENDED };

struct sync_sender {
    struct sync_tree tree;
    const struct manifest *base, *now;
    struct sync_diff diff;
    struct stream_writer *writer;
    enum phase phase;
    size_t at; /* next operation */

    /* Per operation: what was sent in the end, where that differs from `now`. */
    struct sent {
        bool gone;
        struct manifest_entry *instead; /* owned */
    } * sent;

    /* The file being read. */
    int fd;
    unsigned tries;
    struct stat before;
    struct extent_reader extents;
    struct content content;
    uint8_t *bytes;

    /* The directory that files are read from; contents come in path order, so it is used again and again. */
    int dir;
    char dir_path[LIMIT_PATH];
};

struct sync_sender *sync_sender_new(const struct sync_tree *tree, const struct manifest *base,
                                    const struct manifest *now)
{
    struct sync_sender *s = xcalloc(1, sizeof(*s));

    s->tree = *tree;
    s->base = base;
    s->now = now;
    s->fd = -1;
    s->dir = -1;
    s->writer = stream_writer_new();
    s->bytes = xmalloc(EXTENT_BUFFER);
    sync_diff_make(&s->diff, base, now);
    s->sent = xcalloc(s->diff.len ? s->diff.len : 1, sizeof(*s->sent));
    return s;
}

void sync_sender_mark_untouched(struct sync_sender *s, const struct manifest *agreed)
{
    sync_diff_mark_untouched(&s->diff, agreed);
}

bool sync_sender_empty(const struct sync_sender *s)
{
    return s->base && !s->diff.len;
}

void sync_sender_free(struct sync_sender *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->diff.len; i++)
        free(s->sent[i].instead);
    free(s->sent);
    if (s->fd >= 0)
        close(s->fd);
    if (s->dir >= 0)
        close(s->dir);
    sync_diff_clear(&s->diff);
    stream_writer_free(s->writer);
    free(s->bytes);
    free(s);
}

static int sender_errno(const struct sync_sender *s, struct err *err)
{
    int errnum = errno;
    const char *path = s->diff.ops[s->at].now->path;
    struct buf name = BUF_INIT(4 * LIMIT_PATH);

    sync_quote(&name, *path ? path : s->tree.file);
    err_set_errno(err, 125, errnum, "reading %s", name.data);
    buf_clear(&name);
    return -1;
}

/* Opens the file of the present operation by its held parent. */
static int open_file(struct sync_sender *s)
{
    const char *path = s->diff.ops[s->at].now->path, *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;

    if (s->tree.file)
        return beneath_read_open(s->tree.dirfd, s->tree.file, &s->before);
    if (s->dir < 0 || strlen(s->dir_path) != len || memcmp(s->dir_path, path, len) != 0) {
        if (s->dir >= 0)
            close(s->dir);
        memcpy(s->dir_path, path, len);
        s->dir_path[len] = '\0';
        s->dir = beneath_open_dir(s->tree.dirfd, s->dir_path);
        if (s->dir < 0)
            return -1;
    }
    return beneath_read_open(s->dir, slash ? slash + 1 : path, &s->before);
}

static void close_file(struct sync_sender *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

/* Leaves the present file out; what the peer has of it stays agreed. */
static void leave_out(struct sync_sender *s)
{
    close_file(s);
    s->sent[s->at].gone = true;
    stream_put_gone(s->writer);
    s->at++;
    s->phase = PHASE_FILES;
}

/* Opens the present file and begins to read it. 0, or -1 for a fault that is not a file moving away. */
static int begin_read(struct sync_sender *s, struct err *err)
{
    close_file(s);
    s->fd = open_file(s);
    if (s->fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != EISDIR && errno != EINVAL)
        return sender_errno(s, err);
    if (s->fd < 0) {
        leave_out(s);
        return 0;
    }
    extent_init(&s->extents, s->fd, &s->before);
    content_init(&s->content);
    return 0;
}

/* Goes to the next operation that has content, or ends the stream. */
static int next_file(struct sync_sender *s, struct err *err)
{
    while (s->at < s->diff.len && s->diff.ops[s->at].kind != SYNC_OP_FILE)
        s->at++;
    if (s->at == s->diff.len) {
        stream_put_end(s->writer);
        s->phase = PHASE_ENDED;
        return 0;
    }
    stream_put_file(s->writer, s->at);
    s->tries = 1;
    s->phase = PHASE_CONTENT;
    return begin_read(s, err);
}

/* The file was read to its end, in one state: says what it was, and remembers it if it is not what the scan saw. */
static void finish_file(struct sync_sender *s)
{
    const struct manifest_entry *now = s->diff.ops[s->at].now;
    struct manifest_entry e;

    local_entry(&e, now->path, &s->before);
    content_final(&s->content, e.digest);
    stream_put_done(s->writer, &e);
    if (!local_untouched(now, &e)) {
        local_mark_racy(&e, local_now());
        s->sent[s->at].instead = xmemdup(&e, sizeof(e));
    }
    close_file(s);
    s->at++;
    s->phase = PHASE_FILES;
}

/* The next piece of the present file. */
static int read_piece(struct sync_sender *s, struct err *err)
{
    struct stat after;
    uint64_t hole;
    ssize_t n = extent_read(&s->extents, s->bytes, EXTENT_BUFFER, &hole);

    if (n < 0)
        return sender_errno(s, err);
    if (n > 0) {
        content_update(&s->content, s->bytes, (size_t)n);
        stream_put_data(s->writer, s->bytes, (size_t)n);
        return 0;
    }
    if (hole) {
        content_zeros(&s->content, hole);
        stream_put_hole(s->writer, hole);
        return 0;
    }
    if (fstat(s->fd, &after) < 0)
        return sender_errno(s, err);
    if (s->extents.at == s->extents.size && extent_unchanged(&s->before, &after)) {
        finish_file(s);
        return 0;
    }
    if (++s->tries > STREAM_TRIES) {
        leave_out(s);
        return 0;
    }
    stream_put_again(s->writer);
    return begin_read(s, err);
}

static void begin(struct sync_sender *s)
{
    uint8_t digest[MANIFEST_DIGEST_LEN];

    manifest_shared_digest(s->base, digest);
    stream_put_begin(s->writer, s->base ? 0 : STREAM_FULL, digest, s->diff.len);
    s->phase = PHASE_OPS;
}

static void announce(struct sync_sender *s)
{
    if (s->at < s->diff.len) {
        stream_put_op(s->writer, &s->diff.ops[s->at++]);
        return;
    }
    stream_put_announced(s->writer);
    s->at = 0;
    s->phase = PHASE_FILES;
}

ssize_t sync_sender_read(struct sync_sender *s, void *bytes, size_t cap, struct err *err)
{
    size_t len = 0, pieces = 0;

    while (len < cap && (pieces < PIECES_MAX || !len)) {
        int status = 0;

        if (stream_writer_full(s->writer)) {
            len += stream_writer_take(s->writer, (uint8_t *)bytes + len, cap - len);
            continue;
        }
        if (s->phase == PHASE_ENDED)
            break;
        if (s->phase == PHASE_BEGIN)
            begin(s);
        else if (s->phase == PHASE_OPS)
            announce(s);
        else if (s->phase == PHASE_FILES)
            status = next_file(s, err);
        else {
            status = read_piece(s, err);
            pieces++;
        }
        if (status < 0)
            return -1;
    }
    return (ssize_t)len;
}

/* How the file of that path was sent; NULL if its content did not travel. */
static const struct sent *sent_file(const struct sync_sender *s, const char *path)
{
    size_t low = 0, high = s->diff.len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct sync_op *op = &s->diff.ops[mid];
        int order = manifest_path_cmp(op->now ? op->now->path : op->old->path, path);

        if (order == 0)
            return op->kind == SYNC_OP_FILE ? &s->sent[mid] : NULL;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* Adds what is agreed about a path of `now`: as sent, or, if it was left out, as the base had it (if that was a file).
 */
static void add_agreed(const struct sync_sender *s, struct manifest *m, const struct manifest_entry *e,
                       const struct sync_op *op)
{
    const struct manifest_entry *leader = manifest_leader(s->now, e);
    const struct sent *sent = NULL;
    struct manifest_entry copy = *e;

    /* Another name of a file is what that file was when it was sent. */
    if (op && (op->kind == SYNC_OP_FILE || op->kind == SYNC_OP_LINK))
        sent = sent_file(s, op->kind == SYNC_OP_LINK ? op->leader : e->path);
    if (sent && sent->gone) {
        if (op->old && op->old->type == MANIFEST_FILE)
            manifest_add(m, op->old, NULL);
        return;
    }
    if (sent && sent->instead) {
        copy = *sent->instead;
        copy.path = e->path;
    }
    copy.flags &= (uint8_t)~MANIFEST_CONTESTED;
    manifest_add(m, &copy, leader && leader != e ? leader->path : NULL);
}

void sync_sender_agreed(const struct sync_sender *s, struct manifest *ret)
{
    struct manifest m = MANIFEST_INIT;
    size_t k = 0;

    for (size_t i = 0; i < s->now->len; i++) {
        const struct manifest_entry *e = &s->now->entries[i];

        while (k < s->diff.len && (!s->diff.ops[k].now || manifest_path_cmp(s->diff.ops[k].now->path, e->path) < 0))
            k++;
        add_agreed(s, &m, e, k < s->diff.len && s->diff.ops[k].now == e ? &s->diff.ops[k] : NULL);
    }
    m.root_missing = s->now->root_missing;
    manifest_move(ret, &m);
}
