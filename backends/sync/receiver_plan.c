/* Looks at what is here and decides, row by row, before anything is changed. */
#include "backends/sync/receiver_impl.h"

#include "backends/sync/extent.h"
#include "backends/sync/local.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

const struct manifest_entry *row_peer(const struct row *row)
{
    return row->peer_instead ? row->peer_instead : row->peer;
}

struct row *receiver_row(struct sync_receiver *r, const char *path)
{
    size_t low = 0, high = r->row_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = manifest_path_cmp(r->rows[mid].path, path);

        if (order == 0)
            return &r->rows[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* ---- rows ---- */

static bool is_full(const struct sync_receiver *r)
{
    return stream_begin_flags(r->parser) & STREAM_FULL;
}

/* A row for operation i; path order is that of the operations. */
static void add_op_row(struct sync_receiver *r, const struct stream_ops *ops, size_t i)
{
    const struct manifest_entry *e = &ops->entries.entries[i];
    bool deletion = ops->kind[i] == SYNC_OP_DELETE;

    r->row_of_op[i] = r->row_count;
    r->rows[r->row_count++] = (struct row){
        .path = e->path,
        .leader = ops->leader[i],
        .peer = deletion ? NULL : e,
        .base = manifest_find(r->policy.ancestor, e->path),
        .past = manifest_find(r->policy.past, e->path),
        .kind = ops->kind[i],
        .flags = ops->flags[i],
    };
}

/*
 * Merges the operations with what a full listing implies: what the ancestor had and the listing has not is gone there.
 * The root is never gone.
 */
static void make_rows(struct sync_receiver *r)
{
    const struct stream_ops *ops = stream_ops(r->parser);
    const struct manifest *a = is_full(r) ? r->policy.ancestor : NULL;
    size_t i = 0, k = 0;

    r->rows = xcalloc(ops->entries.len + (a ? a->len : 0) + 1, sizeof(*r->rows));
    r->row_of_op = xcalloc(ops->entries.len + 1, sizeof(*r->row_of_op));
    while (i < ops->entries.len || (a && k < a->len)) {
        const struct manifest_entry *old = a && k < a->len ? &a->entries[k] : NULL;
        int order = !old ? -1 : i >= ops->entries.len ? 1 : manifest_path_cmp(ops->entries.entries[i].path, old->path);

        if (order <= 0)
            add_op_row(r, ops, i++);
        else if (*old->path)
            r->rows[r->row_count++] = (struct row){.path = old->path, .base = old, .kind = SYNC_OP_DELETE};
        k += order >= 0;
    }
}

/* ---- what is here ---- */

/* True if the ancestor's or the peer's size is that of the file here, so that its content may be one of theirs. */
static bool size_matters(const struct row *row)
{
    const struct manifest_entry *peer = row_peer(row);
    const struct manifest_entry *base = row->base ? row->base : row->past;

    return (base && base->type == MANIFEST_FILE && base->size == row->here.size) ||
           (peer && peer->type == MANIFEST_FILE && peer->size == row->here.size);
}

/* The digest of the file here; all zeros, which equals nothing, if it need not or cannot be known. */
static int look_at_content(struct row *row, int dir, const char *name, struct err *err)
{
    struct stat st;
    int status;

    if (local_untouched(row->base, &row->here)) {
        memcpy(row->here.digest, row->base->digest, MANIFEST_DIGEST_LEN);
        return 0;
    }
    if (!size_matters(row))
        return 0;
    status = extent_digest(dir, name, &st, row->here.digest);
    if (status < 0 && errno != ENOENT && errno != ELOOP && errno != EINVAL && errno != EISDIR)
        return receiver_errno("reading", row->path, err);
    if (status) {
        memset(row->here.digest, 0, MANIFEST_DIGEST_LEN);
        return 0;
    }
    row->here.size = (uint64_t)st.st_size;
    row->here.mtime = beneath_mtime(&st);
    row->here.ctime = beneath_ctime(&st);
    return 0;
}

/* Finds the place of a row's path: a held directory and a name in it. -1 and errno. */
static int place_of(struct sync_receiver *r, const struct row *row, const char **ret_name)
{
    if (r->tree.file) {
        *ret_name = r->tree.file;
        return r->tree.dirfd;
    }
    return dirs_parent(r->dirs, row->path, ret_name);
}

/* What the file system says of the row's path; the root is its descriptor. 0, 1 = nothing there; -1 and errno. */
static int stat_row(struct sync_receiver *r, const struct row *row, struct stat *st, int *ret_dir,
                    const char **ret_name)
{
    if (!r->tree.file && !*row->path)
        return fstat(r->tree.dirfd, st);
    *ret_dir = place_of(r, row, ret_name);
    return *ret_dir < 0 ? -1 : beneath_stat(*ret_dir, *ret_name, st);
}

/* Fills here and here_kind; *ret_link (owned by caller) is a link's text. */
static int look(struct sync_receiver *r, struct row *row, bool content, char **ret_link, struct err *err)
{
    const char *name = NULL;
    struct stat st;
    int dir = -1;

    row->here = (struct manifest_entry){.path = row->path};
    row->here_kind = HERE_NOTHING;
    if (row->in_new_dir && !r->planned)
        return 0;
    if (stat_row(r, row, &st, &dir, &name) < 0) {
        if (errno == ENOTDIR || errno == ELOOP)
            row->here_kind = HERE_BLOCKED;
        else if (errno != ENOENT)
            return receiver_errno("looking at", row->path, err);
        return 0;
    }
    row->links = st.st_nlink;
    row->here_kind = local_entry(&row->here, row->path, &st) ? HERE_ENTRY : HERE_SPECIAL;
    if (row->here_kind == HERE_SPECIAL || !content)
        return 0;
    if (row->here.type == MANIFEST_SYMLINK) {
        *ret_link = beneath_readlink(dir, name);
        if (!*ret_link)
            row->here_kind = HERE_NOTHING;
        return 0;
    }
    /* Where the peer's word is law, what stands here matters only as far as it would save work; it is not read. */
    return row->here.type == MANIFEST_FILE && !r->policy.replace ? look_at_content(row, dir, name, err) : 0;
}

struct merge_meta receiver_wanted(const struct sync_receiver *r, const struct row *row)
{
    const struct manifest_entry *peer = row_peer(row);
    struct merge_meta m = {.mode = peer->mode, .uid = peer->uid, .gid = peer->gid, .mtime = peer->mtime};

    if (r->policy.host)
        m.mode &= 0777;
    /* Special bits that are the host's own and that the peer did not touch are not the peer's to drop. */
    if (r->policy.host && row->kind == SYNC_OP_META && row->base && row->base->mode == peer->mode)
        m.mode = peer->mode;
    if (!r->as_root) {
        m.uid = row->here_kind == HERE_ENTRY ? row->here.uid : geteuid();
        m.gid = row->here_kind == HERE_ENTRY ? row->here.gid : getegid();
    }
    return m;
}

/*
 * What the two versions are measured against. A full listing without an ancestor still tells what the peer did not
 * touch: the older version is the peer's, then. And what nobody touched here since the past state, not even to write
 * the same again, is no change of ours: the inode and its ctime are those of then.
 */
static const struct manifest_entry *ancestor_of(const struct sync_receiver *r, const struct row *row)
{
    const struct manifest_entry *past = row->past;

    if (r->policy.ancestor)
        return row->base;
    if (row->peer && row->flags & SYNC_OP_UNTOUCHED)
        return row->peer;
    if (!past || row->here_kind != HERE_ENTRY || !past->ctime || past->ctime != row->here.ctime ||
        past->ino != row->here.ino || past->flags & MANIFEST_CONTESTED || !manifest_same_content(past, &row->here))
        return NULL;
    return past;
}

/* Looks and decides. */
static int consider(struct sync_receiver *r, struct row *row, struct err *err)
{
    cleanup_free char *link = NULL;
    struct merge_input in = {
        .incoming = row_peer(row),
        .contested = row->flags & SYNC_OP_CONTESTED,
        .replace = r->policy.replace,
    };
    struct merge_meta wanted;

    if (look(r, row, true, &link, err) < 0)
        return -1;
    row->here.link = link;
    in.local = row->here_kind == HERE_ENTRY ? &row->here : NULL;
    in.local_special = row->here_kind == HERE_SPECIAL;
    in.ancestor = ancestor_of(r, row);
    row->verdict = (uint8_t)merge_decide(&in);
    /* Our own change stands above it: as if it were at the path itself. */
    if (row->here_kind == HERE_BLOCKED && row->verdict == MERGE_TAKE && !r->policy.replace)
        row->verdict = row->peer ? MERGE_CONFLICT : MERGE_SAME;
    row->differs = row->verdict == MERGE_META && !manifest_same_content(&row->here, row_peer(row));
    if (row->verdict == MERGE_META) {
        wanted = receiver_wanted(r, row);
        row->meta = merge_meta(&in, &wanted);
    }
    row->here.link = NULL;
    return 0;
}

int receiver_reconsider(struct sync_receiver *r, struct row *row, struct err *err)
{
    struct manifest_entry planned = row->here;
    uint8_t planned_kind = row->here_kind;
    char *link = NULL;

    if (row->fixed)
        return 0;
    if (look(r, row, false, &link, err) < 0)
        return -1;
    /* A file is the same if nothing about it moved; a directory if it is one. Links are cheap to read again. */
    if (row->here_kind == planned_kind && row->here.type == planned.type && !row->peer_instead &&
        (row->here_kind != HERE_ENTRY || row->here.type == MANIFEST_DIR ||
         (row->here.type == MANIFEST_FILE && row->here.ino == planned.ino && row->here.ctime == planned.ctime &&
          row->here.mtime == planned.mtime && row->here.size == planned.size))) {
        memcpy(row->here.digest, planned.digest, MANIFEST_DIGEST_LEN);
        return 0;
    }
    return consider(r, row, err);
}

/* ---- the plan as a whole ---- */

/* The stream must begin where the ancestor ends, and speak of the kind of tree that this is. */
static int check_begin(const struct sync_receiver *r, struct err *err)
{
    uint8_t digest[MANIFEST_DIGEST_LEN];

    if (!is_full(r)) {
        manifest_shared_digest(r->policy.ancestor, digest);
        if (memcmp(digest, stream_begin_base(r->parser), sizeof(digest)) != 0) {
            err_set(err, 125, "sync: the two sides do not agree on the last state; a full exchange is needed");
            if (err)
                err->code = ESTALE;
            return -1;
        }
    }
    for (size_t i = 0; i < r->row_count; i++) {
        const struct row *row = &r->rows[i];
        bool root = !*row->path;

        if (r->tree.file ? !root || (row->peer && row->peer->type != MANIFEST_FILE)
                         : root && (!row->peer || row->peer->type != MANIFEST_DIR))
            return err_set(err, 125, "unacceptable sync stream: it is not for this kind of mount");
    }
    return 0;
}

/* A hard link must name a file that comes with the stream or is known from before. */
static int check_leaders(struct sync_receiver *r, struct err *err)
{
    for (size_t i = 0; i < r->row_count; i++) {
        const struct row *row = &r->rows[i], *leader;
        const struct manifest_entry *e;

        if (!row->leader)
            continue;
        leader = receiver_row(r, row->leader);
        e = leader ? leader->peer : manifest_find(r->policy.ancestor, row->leader);
        if (!e || e->type != MANIFEST_FILE || !manifest_same_content(e, row->peer))
            return err_set(err, 125, "unacceptable sync stream: a hard link to something that is no such file");
    }
    return 0;
}

/* True if the row will make a directory where there is none now. */
static bool makes_dir(const struct sync_receiver *r, const struct row *row)
{
    if (row->kind != SYNC_OP_DIR || (row->here_kind == HERE_ENTRY && row->here.type == MANIFEST_DIR))
        return false;
    return row->verdict == MERGE_TAKE || (row->verdict == MERGE_CONFLICT && receiver_yields(r, row));
}

static int decide_rows(struct sync_receiver *r, struct err *err)
{
    const struct row *new_dir = NULL;

    for (size_t i = 0; i < r->row_count; i++) {
        struct row *row = &r->rows[i];

        /* A mount point is not removed: docker would say that it is busy. */
        if (manifest_path_excluded(row->path, r->policy.exclude) || (!*row->path && !row->peer)) {
            row->verdict = MERGE_KEEP;
            row->fixed = true;
            continue;
        }
        row->in_new_dir = new_dir && manifest_path_below(row->path, new_dir->path);
        if (consider(r, row, err) < 0)
            return -1;
        if (!row->in_new_dir && makes_dir(r, row))
            new_dir = row;
    }
    return 0;
}

static int by_digest(const void *a, const void *b)
{
    return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, MANIFEST_DIGEST_LEN);
}

/* The digests of files that are new here, sorted: a deletion whose content is among them is a move. */
static size_t arriving(const struct sync_receiver *r, const uint8_t **digests)
{
    size_t n = 0;

    for (size_t i = 0; i < r->row_count; i++) {
        const struct row *row = &r->rows[i];

        if (row->peer && !row->base && row->peer->type == MANIFEST_FILE)
            digests[n++] = row->peer->digest;
    }
    qsort(digests, n, sizeof(*digests), by_digest);
    return n;
}

/* Rule 3: so many deletions at once look like a tree that vanished. Then none is carried out, and the user is told. */
static void guard_deletions(struct sync_receiver *r)
{
    const struct manifest *a = r->policy.ancestor;
    const uint8_t **digests;
    size_t entries = 0, deletions = 0, gone = 0, fresh = 0, n;

    if (!r->policy.host || r->policy.bulk_delete || !a)
        return;
    digests = xcalloc(r->row_count + 1, sizeof(*digests));
    n = arriving(r, digests);
    for (size_t i = 0; i < r->row_count; i++) {
        const struct row *row = &r->rows[i];
        const uint8_t *digest = row->base ? row->base->digest : NULL;

        fresh += row->peer && !row->base;
        gone += !row->peer && row->base;
        if (row->kind == SYNC_OP_DELETE && row->verdict == MERGE_TAKE && row->base->type != MANIFEST_DIR)
            deletions += !bsearch(&digest, digests, n, sizeof(*digests), by_digest);
    }
    free(digests);
    for (size_t i = 0; i < a->len; i++)
        entries += a->entries[i].type != MANIFEST_DIR;
    if (!merge_bulk_deletion(entries, deletions, a->len - gone + fresh - (a->len && !*a->entries[0].path)))
        return;
    for (size_t i = 0; i < r->row_count; i++) {
        struct row *row = &r->rows[i];

        if (row->kind == SYNC_OP_DELETE && row->verdict == MERGE_TAKE) {
            row->verdict = MERGE_KEEP;
            row->fixed = true;
        }
    }
    receiver_note(r,
                  "sync: the container deleted %zu of %zu files at once; they are kept here, as this may be a tree "
                  "that vanished; remove them here if it was meant",
                  deletions, entries);
}

/* conflict=fail: nothing is changed if there is a conflict anywhere. */
static int check_conflicts(const struct sync_receiver *r, struct err *err)
{
    for (size_t i = 0; i < r->row_count; i++) {
        cleanup_free char *name = NULL;

        if (r->rows[i].verdict != MERGE_CONFLICT || !r->policy.host || r->policy.conflict != SYNC_CONFLICT_FAIL)
            continue;
        name = receiver_quoted(r->rows[i].path);
        return err_set(err, 125, "conflict: %s was changed here and in the container; nothing was copied", name);
    }
    return 0;
}

/* What may be written: as asked, or what is free now and what replaced files give back. */
static uint64_t byte_limit(const struct sync_receiver *r)
{
    struct statvfs vfs;
    uint64_t limit;

    if (r->policy.max_bytes)
        return r->policy.max_bytes;
    if (fstatvfs(r->tree.dirfd, &vfs) < 0)
        return UINT64_MAX;
    limit = (uint64_t)(r->as_root ? vfs.f_bfree : vfs.f_bavail) * vfs.f_frsize;
    for (size_t i = 0; i < r->row_count; i++)
        if (r->rows[i].kind == SYNC_OP_FILE && r->rows[i].here_kind == HERE_ENTRY)
            limit += r->rows[i].here.size;
    return limit;
}

int receiver_plan(struct sync_receiver *r, struct err *err)
{
    make_rows(r);
    if (check_begin(r, err) < 0 || check_leaders(r, err) < 0 || decide_rows(r, err) < 0)
        return -1;
    guard_deletions(r);
    r->limit = byte_limit(r);
    r->planned = true;
    return check_conflicts(r, err);
}
