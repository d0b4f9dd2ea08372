/* What waits for the end of the stream: deletions, links, attributes, and what is now agreed. */
#include "backends/sync/receiver_impl.h"

#include "backends/sync/copy.h"
#include "backends/sync/extent.h"
#include "backends/sync/local.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- deletions ---- */

/* The peer deleted it, and it stays here. */
static void keep_deleted(struct sync_receiver *r, struct row *row)
{
    row->outcome = ROW_ABSENT;
    r->report.kept_deletions++;
}

static int delete_row(struct sync_receiver *r, struct row *row, struct err *err)
{
    const char *name;
    int dir;

    if (receiver_reconsider(r, row, err) < 0)
        return -1;
    row->outcome = ROW_ABSENT;
    if (row->verdict == MERGE_SAME)
        return 0;
    if (row->verdict != MERGE_TAKE) {
        keep_deleted(r, row);
        return 0;
    }
    dir = receiver_parent(r, row->path, &name, err);
    if (dir < 0)
        return -1;
    if (row->here.type == MANIFEST_DIR) {
        if (beneath_rmdir(dir, name) < 0 && errno != ENOENT) {
            /* Something of ours is in it. */
            if (errno != ENOTEMPTY && errno != EEXIST)
                return receiver_errno("deleting", row->path, err);
            keep_deleted(r, row);
            return 0;
        }
        dirs_drop(r->dirs, row->path);
    } else if (receiver_remove(r, row, dir, name) < 0) {
        return receiver_errno("deleting", row->path, err);
    }
    r->report.deleted++;
    return 0;
}

/* The deepest first, so that directories are empty when their turn comes. */
static int delete_rows(struct sync_receiver *r, struct err *err)
{
    for (size_t i = r->row_count; i-- > 0;) {
        struct row *row = &r->rows[i];

        if (row->kind == SYNC_OP_DELETE && delete_row(r, row, err) < 0)
            return -1;
    }
    return 0;
}

/* Where the peer's word is law: removes every name below the directory (consumed) that the stream did not announce. */
static int remove_unannounced(struct sync_receiver *r, int list, char *path, size_t len, struct err *err)
{
    cleanup_dir DIR *d = fdopendir(list);
    const struct dirent *entry;

    if (!d) {
        close(list);
        return receiver_errno("reading", path, err);
    }
    while ((errno = 0, entry = readdir(d))) {
        size_t part = strlen(entry->d_name), slash = len > 0;
        const struct row *row;
        const char *name;
        int child;

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || len + slash + part >= LIMIT_PATH)
            continue;
        if (slash)
            path[len] = '/';
        memcpy(path + len + slash, entry->d_name, part + 1);
        row = receiver_row(r, path);
        if (manifest_path_excluded(path, r->policy.exclude)) {
            ; /* not ours to look at */
        } else if (!row || !row->peer) {
            /* By the ordinary way, so that the directory's time is remembered. */
            int dir = receiver_parent(r, path, &name, err);

            if (dir < 0)
                return -1;
            if (beneath_remove_tree(dir, name) < 0)
                return receiver_errno("deleting", path, err);
            dirs_drop(r->dirs, path);
            r->report.deleted++;
        } else if (row->peer->type == MANIFEST_DIR && (child = beneath_child_list(dirfd(d), entry->d_name)) >= 0 &&
                   remove_unannounced(r, child, path, len + slash + part, err) < 0) {
            return -1;
        }
        path[len] = '\0';
    }
    return errno ? receiver_errno("reading", path, err) : 0;
}

static int make_equal(struct sync_receiver *r, struct err *err)
{
    char path[LIMIT_PATH] = "";
    int list;

    if (!r->policy.replace || r->tree.file || !(stream_begin_flags(r->parser) & STREAM_FULL))
        return 0;
    list = beneath_list_open(r->tree.dirfd);
    return list < 0 ? receiver_errno("reading", "", err) : remove_unannounced(r, list, path, 0, err);
}

/* ---- files that waited for a directory to go ---- */

static int place_waiting(struct sync_receiver *r, struct waiting *w, struct err *err)
{
    struct row *row = &r->rows[w->row];
    struct merge_meta m = receiver_wanted(r, row);
    const char *slash = strrchr(row->path, '/'), *name = slash ? slash + 1 : row->path;
    struct stat st;

    /* A directory that still holds something of ours does not go; then it is a conflict like any other. */
    if ((beneath_rmdir(w->dir, name) == 0 || errno == ENOENT || errno == ENOTDIR) &&
        beneath_rename(w->dir, w->name, w->dir, name) == 0 && fstat(w->fd, &st) == 0) {
        dirs_drop(r->dirs, row->path);
        w->name[0] = '\0';
        receiver_note_placed(row, &st, m.mtime);
        return 0;
    }
    if (errno != ENOTEMPTY && errno != EEXIST && errno != EISDIR)
        return receiver_errno("writing", row->path, err);
    if (!keep_possible(r->keep) || keep_move(r->keep, KEEP_CONFLICTS, row->path, w->dir, w->name) < 0) {
        receiver_conflict(r, row, false);
        return 0;
    }
    w->name[0] = '\0';
    receiver_conflict(r, row, true);
    return 0;
}

static int place_all_waiting(struct sync_receiver *r, struct err *err)
{
    for (size_t i = 0; i < r->waiting_count; i++)
        if (place_waiting(r, &r->waiting[i], err) < 0)
            return -1;
    return 0;
}

/* ---- links ---- */

/* Clears the place of a link that is to be made: a directory there must be empty by now, or the peer's word is law. */
static int clear_place(struct sync_receiver *r, const struct row *row, int dir, const char *name)
{
    if (row->here_kind != HERE_ENTRY || row->here.type != MANIFEST_DIR)
        return 0;
    if ((r->policy.replace ? beneath_remove_tree(dir, name) : beneath_rmdir(dir, name)) < 0 && errno != ENOENT)
        return -1;
    dirs_drop(r->dirs, row->path);
    return 0;
}

int receiver_symlink(const struct sync_receiver *r, const struct row *row, int dir, const char *name,
                     const struct merge_meta *m, struct stat *ret_st)
{
    cleanup_close int alive = -1;
    char temp[BENEATH_TEMP_MAX];
    int saved;

    alive = beneath_temp_symlink(row_peer(row)->link, dir, temp);
    if (alive < 0)
        return -1;
    if (r->as_root)
        beneath_link_chown(dir, temp, m->uid, m->gid);
    if (beneath_link_set_mtime(dir, temp, m->mtime) == 0 && beneath_rename(dir, temp, dir, name) == 0)
        return beneath_stat(dir, name, ret_st);
    saved = errno;
    beneath_unlink(dir, temp);
    errno = saved;
    return -1;
}

static int take_symlink(struct sync_receiver *r, struct row *row, struct err *err)
{
    struct merge_meta m = receiver_wanted(r, row);
    const char *name;
    int dir = receiver_parent(r, row->path, &name, err);
    struct stat st;

    if (dir < 0)
        return -1;
    if (row->verdict == MERGE_CONFLICT &&
        (receiver_put_aside(r, row, dir, name, err) < 0 || (dir = receiver_parent(r, row->path, &name, err)) < 0))
        return -1;
    if (clear_place(r, row, dir, name) < 0) {
        if (errno != ENOTEMPTY && errno != EEXIST)
            return receiver_errno("replacing", row->path, err);
        receiver_conflict(r, row, false);
        return 0;
    }
    dir = receiver_parent(r, row->path, &name, err);
    if (dir < 0)
        return -1;
    if (receiver_symlink(r, row, dir, name, &m, &st) < 0)
        return receiver_errno("linking", row->path, err);
    r->report.files++;
    receiver_watch_risky(r, row->path);
    receiver_note_placed(row, &st, m.mtime);
    return 0;
}

static int keep_symlink(struct sync_receiver *r, struct row *row)
{
    struct merge_meta m = receiver_wanted(r, row);
    cleanup_close int dir = -1;
    const char *name;
    struct stat st;

    if (keep_possible(r->keep))
        dir = keep_dir(r->keep, KEEP_CONFLICTS, row->path, &name);
    receiver_conflict(r, row, dir >= 0 && receiver_symlink(r, row, dir, name, &m, &st) == 0);
    return 0;
}

static int symlink_row(struct sync_receiver *r, struct row *row, struct err *err)
{
    if (receiver_reconsider(r, row, err) < 0)
        return -1;
    switch (row->verdict) {
    case MERGE_TAKE:
        return take_symlink(r, row, err);
    case MERGE_META:
        return receiver_apply_meta(r, row, err);
    case MERGE_CONFLICT:
        return receiver_yields(r, row) ? take_symlink(r, row, err) : keep_symlink(r, row);
    default:
        row->outcome = ROW_PEER;
        return 0;
    }
}

/* ---- hard links ---- */

/* The row that decides what the leader is now: 0 if it is here as the peer has it, else -1. */
static int leader_is_here(struct sync_receiver *r, struct row *row, struct stat *st)
{
    struct row *leader = receiver_row(r, row->leader);
    const struct manifest_entry *known = manifest_find(r->policy.ancestor, row->leader);
    struct manifest_entry now;
    const char *name;
    int dir;

    if (leader && leader->outcome != ROW_LOCAL)
        return -1;
    dir = dirs_parent(r->dirs, row->leader, &name);
    if (dir < 0 || beneath_stat(dir, name, st) < 0 || !S_ISREG(st->st_mode))
        return -1;
    if (leader)
        return leader->here.ino == st->st_ino && leader->here.size == (uint64_t)st->st_size &&
                       leader->here.mtime == beneath_mtime(st)
                   ? 0
                   : -1;
    local_entry(&now, row->leader, st);
    if (known && local_untouched(known, &now))
        return 0;
    if (!known || extent_digest(dir, name, st, now.digest) != 0)
        return -1;
    return memcmp(known->digest, now.digest, MANIFEST_DIGEST_LEN) == 0 ? 0 : -1;
}

/* Links (or, where the file system cannot, copies) the leader to the row's path. */
static int make_link(struct sync_receiver *r, struct row *row, struct err *err)
{
    cleanup_close int from = -1;
    const char *from_name, *name;
    char temp[BENEATH_TEMP_MAX];
    int dir = beneath_open_parent(r->tree.dirfd, row->leader, &from_name);

    from = dir;
    if (from < 0)
        return receiver_errno("linking", row->path, err);
    dir = receiver_parent(r, row->path, &name, err);
    if (dir < 0)
        return -1;
    beneath_temp_name(temp);
    if (beneath_link(from, from_name, dir, temp) == 0) {
        /* Renaming onto another name of the same file does nothing and leaves both; then the temporary one goes. */
        if (beneath_rename(dir, temp, dir, name) == 0) {
            beneath_unlink(dir, temp);
            return 0;
        }
        receiver_errno("linking", row->path, err);
        beneath_unlink(dir, temp);
        return -1;
    }
    if (errno != EPERM && errno != EMLINK && errno != EXDEV && errno != ENOTSUP && errno != EACCES)
        return receiver_errno("linking", row->path, err);
    return copy_file(from, from_name, dir, name) < 0 ? receiver_errno("copying", row->path, err) : 0;
}

/* Linking changed the leader's ctime; what is known of it follows, so that the next scan need not read it. */
static void refresh_leader(struct sync_receiver *r, const struct row *row)
{
    struct row *leader = receiver_row(r, row->leader);
    const char *name;
    struct stat st;
    int dir = leader && leader->outcome == ROW_LOCAL ? dirs_parent(r->dirs, row->leader, &name) : -1;

    if (dir >= 0 && beneath_stat(dir, name, &st) == 0 && leader->here.ino == st.st_ino &&
        leader->here.mtime == beneath_mtime(&st))
        leader->here.ctime = beneath_ctime(&st);
}

/* A name whose file is what its leader was when it was sent. */
static void follow_leader(struct sync_receiver *r, struct row *row)
{
    const struct row *leader = receiver_row(r, row->leader);

    if (!leader || !leader->peer_instead)
        return;
    row->peer_instead = xmemdup(leader->peer_instead, sizeof(*leader->peer_instead));
    row->peer_instead->path = row->path;
}

/*
 * The leader is the host's own, changed version; what the container had was kept aside. The other name, which the host
 * did not change, gets a copy of that. 1 if it could not.
 */
static int copy_kept_leader(struct sync_receiver *r, struct row *row, struct err *err)
{
    const struct row *leader = receiver_row(r, row->leader);
    struct merge_meta m = receiver_wanted(r, row);
    cleanup_close int kept = -1, fd = -1;
    const char *kept_name, *name;
    struct stat st;
    int dir;

    if (!leader || leader->verdict != MERGE_CONFLICT || row->verdict != MERGE_TAKE || !keep_possible(r->keep))
        return 1;
    kept = keep_dir(r->keep, KEEP_CONFLICTS, row->leader, &kept_name);
    dir = kept < 0 ? -1 : receiver_parent(r, row->path, &name, err);
    if (dir < 0)
        return kept < 0 ? 1 : -1;
    if (clear_place(r, row, dir, name) < 0 || copy_file(kept, kept_name, dir, name) < 0)
        return 1;
    dir = receiver_parent(r, row->path, &name, err);
    fd = dir < 0 ? -1 : beneath_handle(dir, name, &st);
    if (fd < 0 || beneath_chmod(fd, m.mode) < 0 || beneath_set_mtime(fd, m.mtime) < 0 || fstat(fd, &st) < 0)
        return receiver_errno("copying", row->path, err);
    r->report.files++;
    receiver_note_placed(row, &st, m.mtime);
    return 0;
}

static int link_row(struct sync_receiver *r, struct row *row, struct err *err)
{
    const struct row *leader_row = receiver_row(r, row->leader);
    struct stat leader, st;
    const char *name;
    int dir;

    if (leader_row && leader_row->outcome == ROW_LEFT_OUT) {
        row->outcome = ROW_LEFT_OUT;
        return 0;
    }
    follow_leader(r, row);
    if (receiver_reconsider(r, row, err) < 0)
        return -1;
    if (row->verdict == MERGE_KEEP) {
        row->outcome = ROW_PEER;
        return 0;
    }
    /* Only we changed the content: it stays, under its own inode. */
    if (row->verdict == MERGE_META && row->differs)
        return receiver_apply_meta(r, row, err);
    if (leader_is_here(r, row, &leader) < 0) {
        int status = copy_kept_leader(r, row, err);

        if (status == 1)
            receiver_conflict(r, row, false);
        return status < 0 ? -1 : 0;
    }
    if (row->verdict == MERGE_CONFLICT && !receiver_yields(r, row)) {
        receiver_conflict(r, row, false);
        return 0;
    }
    dir = receiver_parent(r, row->path, &name, err);
    if (dir < 0 || (row->verdict == MERGE_CONFLICT && receiver_put_aside(r, row, dir, name, err) < 0))
        return -1;
    dir = receiver_parent(r, row->path, &name, err);
    if (dir < 0)
        return -1;
    if (clear_place(r, row, dir, name) < 0) {
        receiver_conflict(r, row, false);
        return 0;
    }
    if ((row->here_kind != HERE_ENTRY || row->here.ino != leader.st_ino) && make_link(r, row, err) < 0)
        return -1;
    dir = dirs_parent(r->dirs, row->path, &name);
    if (dir < 0 || beneath_stat(dir, name, &st) < 0)
        return receiver_errno("linking", row->path, err);
    r->report.files++;
    receiver_watch_risky(r, row->path);
    receiver_note_placed(row, &st, beneath_mtime(&leader));
    refresh_leader(r, row);
    return 0;
}

/* ---- attributes ---- */

static int meta_row(struct sync_receiver *r, struct row *row, struct err *err)
{
    if (receiver_reconsider(r, row, err) < 0)
        return -1;
    if (row->verdict == MERGE_META)
        return receiver_apply_meta(r, row, err);
    /* Something else stands here, or nothing. */
    row->outcome = ROW_PEER;
    return 0;
}

/* Carries out the rows of one kind. A leader's looks are settled before its other names are linked to it. */
static int finish_rows(struct sync_receiver *r, uint8_t kind,
                       int (*fn)(struct sync_receiver *, struct row *, struct err *), struct err *err)
{
    for (size_t i = 0; i < r->row_count; i++) {
        struct row *row = &r->rows[i];

        if (row->kind != kind || row->outcome != ROW_OPEN)
            continue;
        if (row->fixed) {
            row->outcome = ROW_PEER;
            r->report.skipped++;
        } else if (fn(r, row, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Directories have their final look now; reads it back, since it is what the next scan will see. */
static void read_dirs_back(struct sync_receiver *r)
{
    for (size_t i = 0; i < r->row_count; i++) {
        struct row *row = &r->rows[i];
        cleanup_close int fd = -1;
        struct stat st;

        if (!row->peer || row->peer->type != MANIFEST_DIR || row->outcome != ROW_LOCAL || r->tree.file)
            continue;
        fd = beneath_open_dir(r->tree.dirfd, row->path);
        if (fd < 0 || fstat(fd, &st) < 0)
            row->outcome = ROW_PEER;
        else
            local_entry(&row->here, row->path, &st);
    }
}

int receiver_finish_all(struct sync_receiver *r, struct err *err)
{
    size_t failed;

    if (delete_rows(r, err) < 0 || make_equal(r, err) < 0 || place_all_waiting(r, err) < 0 ||
        finish_rows(r, SYNC_OP_META, meta_row, err) < 0 || finish_rows(r, SYNC_OP_LINK, link_row, err) < 0 ||
        finish_rows(r, SYNC_OP_SYMLINK, symlink_row, err) < 0 || finish_rows(r, SYNC_OP_DIR, meta_row, err) < 0)
        return -1;
    failed = dirs_restore(r->dirs, r->as_root);
    if (failed)
        receiver_note(r, "sync: mode or time of %zu directories are not ours to change", failed);
    read_dirs_back(r);
    keep_prune_trash(r->keep, LIMIT_SYNC_TRASH);
    return 0;
}

/* ---- what is agreed ---- */

/* The entry of a path where this side has something else: the peer's, in this side's terms. */
static struct manifest_entry peer_entry(const struct sync_receiver *r, const struct row *row)
{
    struct manifest_entry e = *row_peer(row);
    struct merge_meta m = receiver_wanted(r, row);

    e.mode = m.mode;
    e.uid = m.uid;
    e.gid = m.gid;
    e.ctime = 0;
    e.ino = e.dev = 0;
    e.flags = MANIFEST_UNSURE;
    /* The host must learn that ours was made without knowledge of its version; only the host can keep both. */
    if (!r->policy.host && (row->verdict == MERGE_CONFLICT || (row->base && row->base->flags & MANIFEST_CONTESTED)))
        e.flags |= MANIFEST_CONTESTED;
    return e;
}

/* The entry of a path where this side has what the peer has. Where a field of ours won, the peer's is what is agreed.
 */
static struct manifest_entry local_agreed(const struct sync_receiver *r, const struct row *row)
{
    struct manifest_entry e = row->here;
    struct merge_meta wanted;

    e.path = row->path;
    e.link = row_peer(row)->link;
    if (row->verdict != MERGE_META)
        return e;
    wanted = receiver_wanted(r, row);
    if (row->meta.mode != wanted.mode || row->meta.uid != wanted.uid || row->meta.gid != wanted.gid ||
        row->meta.mtime != wanted.mtime)
        e.flags |= MANIFEST_UNSURE;
    if (row->meta.mode != wanted.mode)
        e.mode = wanted.mode;
    if (row->meta.uid != wanted.uid)
        e.uid = wanted.uid;
    if (row->meta.gid != wanted.gid)
        e.gid = wanted.gid;
    if (row->meta.mtime != wanted.mtime)
        e.mtime = wanted.mtime;
    return e;
}

static void add_row(const struct sync_receiver *r, struct manifest *m, const struct row *row)
{
    const struct manifest_entry *leader = row->base ? manifest_leader(r->policy.ancestor, row->base) : NULL;
    const char *leader_path = leader && leader != row->base ? leader->path : NULL;
    struct manifest_entry e;

    if (row->outcome == ROW_LEFT_OUT && row->base && row->base->type == MANIFEST_FILE)
        manifest_add(m, row->base, NULL);
    if (row->outcome == ROW_LEFT_OUT || row->outcome == ROW_ABSENT || !row->peer)
        return;
    e = row->outcome == ROW_LOCAL ? local_agreed(r, row) : peer_entry(r, row);
    if (row->kind != SYNC_OP_META)
        leader_path = row->leader;
    manifest_add(m, &e, leader_path);
}

static void add_base(const struct sync_receiver *r, struct manifest *m, const struct manifest_entry *e)
{
    const struct manifest_entry *leader = manifest_leader(r->policy.ancestor, e);

    manifest_add(m, e, leader && leader != e ? leader->path : NULL);
}

void receiver_agreed(const struct sync_receiver *r, struct manifest *ret)
{
    const struct manifest *a = r->policy.ancestor;
    struct manifest m = MANIFEST_INIT;
    size_t i = 0, k = 0;

    while (i < r->row_count || (a && k < a->len)) {
        const struct manifest_entry *old = a && k < a->len ? &a->entries[k] : NULL;
        int order = !old ? -1 : i >= r->row_count ? 1 : manifest_path_cmp(r->rows[i].path, old->path);

        if (order <= 0)
            add_row(r, &m, &r->rows[i++]);
        else
            add_base(r, &m, old);
        k += order >= 0;
    }
    manifest_move(ret, &m);
}
