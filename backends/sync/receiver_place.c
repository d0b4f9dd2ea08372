/* Directories, files and attributes, as the stream brings them. */
#include "backends/sync/receiver_impl.h"

#include "backends/sync/copy.h"
#include "backends/sync/local.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- parents ---- */

/* How a directory that has to be made again shall look: as the peer says, or as it was agreed. */
static struct merge_meta look_of_dir(struct sync_receiver *r, const char *path)
{
    const struct row *row = receiver_row(r, path);
    const struct manifest_entry *e = manifest_find(r->policy.ancestor, path);

    if (row && row->peer && row->peer->type == MANIFEST_DIR)
        return receiver_wanted(r, row);
    if (e && e->type == MANIFEST_DIR)
        return (struct merge_meta){.mode = e->mode, .uid = e->uid, .gid = e->gid, .mtime = e->mtime};
    return (struct merge_meta){.mode = 0755, .uid = geteuid(), .gid = getegid(), .mtime = local_now()};
}

/* Makes the directory if it is missing; how it shall look in the end is remembered. -1 and errno. */
static int make_dir(struct sync_receiver *r, const char *path)
{
    const char *name;
    int dir = dirs_parent_rw(r->dirs, path, &name);
    struct merge_meta meta;

    if (dir < 0)
        return -1;
    meta = look_of_dir(r, path);
    if (beneath_mkdir(dir, name, (meta.mode & 0777) | 0700) < 0)
        return errno == EEXIST ? 0 : -1;
    dirs_set(r->dirs, path, &meta);
    return 0;
}

static int make_parents(struct sync_receiver *r, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        cleanup_free char *prefix = xstrndup(path, (size_t)(slash - path));

        if (make_dir(r, prefix) < 0)
            return -1;
    }
    return 0;
}

int receiver_parent(struct sync_receiver *r, const char *path, const char **ret_name, struct err *err)
{
    int dir;

    if (r->tree.file) {
        *ret_name = r->tree.file;
        return r->tree.dirfd;
    }
    dir = dirs_parent_rw(r->dirs, path, ret_name);
    if (dir < 0 && errno == ENOENT && make_parents(r, path) == 0)
        dir = dirs_parent_rw(r->dirs, path, ret_name);
    return dir < 0 ? receiver_errno("writing", path, err) : dir;
}

/* ---- conflicts ---- */

bool receiver_yields(const struct sync_receiver *r, const struct row *row)
{
    bool dir = row->here_kind == HERE_ENTRY && row->here.type == MANIFEST_DIR;

    return r->policy.host && r->policy.conflict == SYNC_CONFLICT_CONTAINER && row->here_kind != HERE_BLOCKED &&
           (keep_possible(r->keep) || !dir);
}

int receiver_put_aside(struct sync_receiver *r, struct row *row, int dir, const char *name, struct err *err)
{
    cleanup_free char *path = receiver_quoted(row->path), *where = NULL, *quoted = NULL;

    r->report.conflicts++;
    if (!keep_possible(r->keep)) {
        receiver_note(r, "conflict: %s: changed here and in the container; the container's version replaced yours",
                      path);
        return 0;
    }
    if (keep_move(r->keep, KEEP_CONFLICTS, row->path, dir, name) < 0)
        return receiver_errno("keeping the host's version of", row->path, err);
    dirs_forget(r->dirs);
    where = keep_where(r->keep, KEEP_CONFLICTS, row->path);
    quoted = receiver_quoted(where);
    receiver_note(
        r, "conflict: %s: changed here and in the container; the container's version is in place, yours is kept in %s",
        path, quoted);
    row->here_kind = HERE_NOTHING;
    return 0;
}

void receiver_conflict(struct sync_receiver *r, struct row *row, bool kept)
{
    cleanup_free char *path = receiver_quoted(row->path), *where = NULL, *from = NULL, *root = NULL, *to = NULL,
                      *target = NULL;

    r->report.conflicts++;
    row->outcome = ROW_PEER;
    row->verdict = MERGE_CONFLICT;
    if (!r->policy.host)
        return;
    if (!kept) {
        receiver_note(
            r, "conflict: %s: changed here and in the container; yours stays, the container's version is not kept",
            path);
        return;
    }
    where = keep_where(r->keep, KEEP_CONFLICTS, row->path);
    from = receiver_quoted(where);
    root = beneath_fd_path(r->tree.dirfd);
    to = xasprintf("%s/%s", root ? root : ".", r->tree.file ? r->tree.file : row->path);
    target = receiver_quoted(to);
    receiver_note(r,
                  "conflict: %s: changed here and in the container; yours stays, the container's version is kept; "
                  "to take it: cp -a %s %s",
                  path, from, target);
}

/* ---- directories ---- */

int receiver_remove(struct sync_receiver *r, const struct row *row, int dir, const char *name)
{
    if (r->policy.host && keep_possible(r->keep) && row->here.size <= LIMIT_SYNC_TRASH)
        return keep_move(r->keep, KEEP_TRASH, row->path, dir, name) == 0 || errno == ENOENT ? 0 : -1;
    return beneath_unlink(dir, name) == 0 || errno == ENOENT ? 0 : -1;
}

/* The directory of a row that the plan takes: what stands in its place goes first. */
static int take_dir(struct sync_receiver *r, struct row *row, struct err *err)
{
    const char *name;
    int dir = receiver_parent(r, row->path, &name, err);

    if (dir < 0)
        return -1;
    if (row->verdict == MERGE_CONFLICT && receiver_put_aside(r, row, dir, name, err) < 0)
        return -1;
    if (row->verdict == MERGE_CONFLICT && (dir = receiver_parent(r, row->path, &name, err)) < 0)
        return -1;
    /* A file or link that became a directory there; it equals the ancestor, or the peer's word is law. */
    if (row->here_kind != HERE_NOTHING && receiver_remove(r, row, dir, name) < 0)
        return receiver_errno("replacing", row->path, err);
    if (make_dir(r, row->path) < 0)
        return receiver_errno("making the directory", row->path, err);
    row->outcome = ROW_LOCAL;
    return 0;
}

int receiver_make_dirs(struct sync_receiver *r, struct err *err)
{
    for (size_t i = 0; i < r->row_count; i++) {
        struct row *row = &r->rows[i];

        if (row->kind != SYNC_OP_DIR || !*row->path || row->fixed || row->verdict == MERGE_META)
            continue;
        if (receiver_reconsider(r, row, err) < 0)
            return -1;
        if (row->verdict == MERGE_TAKE || (row->verdict == MERGE_CONFLICT && receiver_yields(r, row))) {
            if (take_dir(r, row, err) < 0)
                return -1;
        } else if (row->verdict == MERGE_CONFLICT) {
            const char *name;
            int dir = keep_possible(r->keep) ? keep_dir(r->keep, KEEP_CONFLICTS, row->path, &name) : -1;
            bool kept = dir >= 0 && (beneath_mkdir(dir, name, 0700) == 0 || errno == EEXIST);

            if (dir >= 0)
                close(dir);
            receiver_conflict(r, row, kept);
        }
    }
    return 0;
}

/* ---- the file that is coming ---- */

void receiver_drop_file(struct sync_receiver *r)
{
    if (r->dir >= 0) {
        if (r->name[0])
            beneath_unlink(r->dir, r->name);
        close(r->dir);
    }
    if (r->fd >= 0)
        close(r->fd);
    r->fd = r->dir = -1;
    r->name[0] = '\0';
}

/* Opens a temporary file beside where the row's file shall be. */
static int open_beside(struct sync_receiver *r, const struct row *row, struct err *err)
{
    const char *name;
    int dir = receiver_parent(r, row->path, &name, err);

    if (dir < 0)
        return -1;
    r->dir = beneath_open_dir(dir, "");
    r->fd = r->dir < 0 ? -1 : beneath_temp_open(r->dir, r->name);
    return r->fd < 0 ? receiver_errno("writing", row->path, err) : 0;
}

/* True if the row's content is only in the way: it is not the peer's to send, or it will not be needed whatever it is.
 */
static bool content_unwanted(const struct sync_receiver *r, const struct row *row)
{
    return row->fixed || (!r->policy.host && (row->verdict == MERGE_CONFLICT || row->verdict == MERGE_KEEP));
}

int receiver_begin_file(struct sync_receiver *r, size_t i, struct err *err)
{
    struct row *row = &r->rows[i];
    const char *name;

    r->current = i;
    r->at = 0;
    if (content_unwanted(r, row)) {
        row->fixed = true;
        return 0;
    }
    if (row->verdict == MERGE_CONFLICT && !receiver_yields(r, row) && keep_possible(r->keep)) {
        r->dir = keep_dir(r->keep, KEEP_CONFLICTS, row->path, &name);
        r->fd = r->dir < 0 ? -1 : beneath_temp_open(r->dir, r->name);
        return r->fd < 0 ? receiver_errno("keeping the container's version of", row->path, err) : 0;
    }
    if (!r->tree.file && (row->verdict == MERGE_TAKE || row->verdict == MERGE_CONFLICT) &&
        row->here_kind != HERE_BLOCKED)
        return open_beside(r, row, err);
    /* It will most likely not be placed, or it is written in place: no name is needed, and nothing in the tree is
     * touched. */
    r->fd = beneath_unnamed_open(r->tree.dirfd);
    return r->fd < 0 ? receiver_errno("writing", row->path, err) : 0;
}

int receiver_data(struct sync_receiver *r, const uint8_t *bytes, uint64_t len, struct err *err)
{
    const struct row *row = &r->rows[r->current];

    if (len > r->limit - r->taken)
        return err_set(err, 125, "writing %s: more data than there is room for (%llu bytes)",
                       *row->path ? row->path : r->tree.file, (unsigned long long)r->limit);
    r->taken += len;
    r->report.bytes += len;
    while (r->fd >= 0 && len) {
        ssize_t n = pwrite(r->fd, bytes, len, (off_t)r->at);

        if (n < 0 && errno != EINTR)
            return receiver_errno("writing", row->path, err);
        if (n > 0) {
            bytes += n;
            len -= (uint64_t)n;
            r->at += (uint64_t)n;
        }
    }
    return 0;
}

int receiver_hole(struct sync_receiver *r, uint64_t len, struct err *err)
{
    r->at += len;
    if (r->fd >= 0 && ftruncate(r->fd, (off_t)r->at) < 0)
        return receiver_errno("writing", r->rows[r->current].path, err);
    return 0;
}

int receiver_again(struct sync_receiver *r, struct err *err)
{
    r->at = 0;
    if (r->fd >= 0 && ftruncate(r->fd, 0) < 0)
        return receiver_errno("writing", r->rows[r->current].path, err);
    return 0;
}

void receiver_left_out(struct sync_receiver *r)
{
    r->rows[r->current].outcome = ROW_LEFT_OUT;
    receiver_drop_file(r);
}

/* ---- attributes ---- */

int receiver_own_fd(const struct sync_receiver *r, int fd, const struct merge_meta *m)
{
    struct stat st;

    if (!r->as_root || (fstat(fd, &st) == 0 && st.st_uid == m->uid && st.st_gid == m->gid))
        return 0;
    /* A user namespace may not know the number, and a file system may know no owners. */
    return beneath_chown(fd, m->uid, m->gid) < 0 && errno != EPERM && errno != EINVAL && errno != ENOTSUP ? -1 : 0;
}

void receiver_note_placed(struct row *row, const struct stat *st, int64_t expected_mtime)
{
    const struct manifest_entry *peer = row_peer(row);

    local_entry(&row->here, row->path, st);
    memcpy(row->here.digest, peer->digest, MANIFEST_DIGEST_LEN);
    if (row->here.mtime != expected_mtime || row->here.size != peer->size)
        row->here.flags |= MANIFEST_UNSURE;
    row->here.size = row->here.type == MANIFEST_FILE ? peer->size : 0;
    local_mark_racy(&row->here, local_now());
    row->here_kind = HERE_ENTRY;
    row->outcome = ROW_LOCAL;
}

/* Mode, owner and time on a descriptor; *ret_st is how it looks then. */
static int dress(const struct sync_receiver *r, int fd, const struct merge_meta *m, struct stat *ret_st)
{
    if (receiver_own_fd(r, fd, m) < 0 || fstat(fd, ret_st) < 0)
        return -1;
    if ((ret_st->st_mode & 07777) != m->mode && beneath_chmod(fd, m->mode) < 0)
        return -1;
    if (beneath_mtime(ret_st) != m->mtime && beneath_set_mtime(fd, m->mtime) < 0)
        return -1;
    return fstat(fd, ret_st);
}

/* The same for a link, which has no mode. */
static int dress_link(const struct sync_receiver *r, const struct row *row, int dir, const char *name,
                      struct stat *ret_st)
{
    if (beneath_stat(dir, name, ret_st) < 0)
        return -1;
    if (r->as_root && (ret_st->st_uid != row->meta.uid || ret_st->st_gid != row->meta.gid) &&
        beneath_link_chown(dir, name, row->meta.uid, row->meta.gid) < 0 && errno != EPERM && errno != EINVAL)
        return -1;
    if (beneath_mtime(ret_st) != row->meta.mtime && beneath_link_set_mtime(dir, name, row->meta.mtime) < 0)
        return -1;
    return beneath_stat(dir, name, ret_st);
}

int receiver_apply_meta(struct sync_receiver *r, struct row *row, struct err *err)
{
    cleanup_close int fd = -1;
    const char *name;
    struct stat st;
    int dir, status;

    row->outcome = row->differs ? ROW_PEER : ROW_LOCAL;
    if (row->here.type == MANIFEST_DIR) {
        dirs_set(r->dirs, row->path, &row->meta);
        return 0;
    }
    dir = r->tree.file ? r->tree.dirfd : dirs_parent_rw(r->dirs, row->path, &name);
    if (r->tree.file)
        name = r->tree.file;
    if (dir < 0)
        return receiver_errno("changing", row->path, err);
    if (row->here.type == MANIFEST_SYMLINK && row->links > 1) {
        /* Symbolic links with several names travel as several links, so one must not change with the other. */
        if (row->differs)
            return 0;
        status = receiver_symlink(r, row, dir, name, &row->meta, &st);
    } else if (row->here.type == MANIFEST_SYMLINK) {
        status = dress_link(r, row, dir, name, &st);
    } else {
        fd = beneath_handle(dir, name, &st);
        status = fd < 0 ? -1 : dress(r, fd, &row->meta, &st);
    }
    if (status < 0 && errno == EPERM) {
        cleanup_free char *path = receiver_quoted(row->path);

        r->report.skipped++;
        receiver_note(r, "sync: mode and time of %s are not ours to change", path);
        return 0;
    }
    if (status < 0)
        return receiver_errno("changing", row->path, err);
    if (!row->differs)
        receiver_note_placed(row, &st, row->meta.mtime);
    return 0;
}

/* ---- placing ---- */

/* Gives content without a name a temporary one beside its place. */
static int give_name(struct sync_receiver *r, const struct row *row, struct err *err)
{
    cleanup_close int content = r->fd;

    r->fd = -1;
    if (open_beside(r, row, err) < 0)
        return -1;
    return copy_content(content, r->fd) < 0 ? receiver_errno("writing", row->path, err) : 0;
}

/* How many names in the tree the file here has, as far as is agreed. */
static uint64_t names_in_tree(const struct sync_receiver *r, const struct row *row)
{
    const struct manifest *a = r->policy.ancestor;
    uint64_t n = 0;

    if (!row->base || !row->base->group)
        return 1;
    for (size_t i = 0; i < a->len; i++)
        n += a->entries[i].group == row->base->group;
    return n;
}

/*
 * A file keeps its inode where that is all there is to keep it by: a mount of a single file, and a file that the peer
 * wrote in place and that has names outside the tree. Everything else is replaced by renaming, which a kill cannot
 * leave half done.
 */
static bool keeps_inode(const struct sync_receiver *r, const struct row *row)
{
    if (row->here_kind != HERE_ENTRY || row->here.type != MANIFEST_FILE)
        return false;
    return r->tree.file || (row->flags & SYNC_OP_SAME_INODE && !r->policy.replace && row->links > 1 &&
                            row->links > names_in_tree(r, row));
}

/* Copies the complete content over the file here. */
static int place_in_place(struct sync_receiver *r, struct row *row, const struct merge_meta *m, struct err *err)
{
    cleanup_close int fd = -1;
    const char *name;
    int dir = receiver_parent(r, row->path, &name, err);
    struct stat st;

    if (dir < 0)
        return -1;
    fd = beneath_write_open(dir, name, &st);
    if (fd < 0 && errno == EACCES) {
        cleanup_close int handle = beneath_handle(dir, name, &st);

        if (handle >= 0 && beneath_chmod(handle, (st.st_mode & 07777) | 0200) == 0)
            fd = beneath_write_open(dir, name, &st);
        else
            errno = EACCES;
    }
    if (fd < 0 || copy_content(r->fd, fd) < 0 || dress(r, fd, m, &st) < 0)
        return receiver_errno("writing", row->path, err);
    receiver_note_placed(row, &st, m->mtime);
    receiver_drop_file(r);
    return 0;
}

/* The place is still a directory's; it is emptied and removed at the end, and then the file comes. */
static void wait_for_place(struct sync_receiver *r)
{
    struct waiting *w;

    if (r->waiting_count == r->waiting_cap) {
        r->waiting_cap = r->waiting_cap ? r->waiting_cap * 2 : 8;
        r->waiting = xreallocarray(r->waiting, r->waiting_cap, sizeof(*r->waiting));
    }
    w = &r->waiting[r->waiting_count++];
    *w = (struct waiting){.row = r->current, .dir = r->dir, .fd = r->fd};
    memcpy(w->name, r->name, sizeof(w->name));
    r->fd = r->dir = -1;
    r->name[0] = '\0';
}

static int place_file(struct sync_receiver *r, struct row *row, struct err *err)
{
    struct merge_meta m = receiver_wanted(r, row);
    const char *slash = strrchr(row->path, '/'), *name = r->tree.file ? r->tree.file : slash ? slash + 1 : row->path;
    struct stat st;

    r->report.files++;
    receiver_watch_risky(r, row->path);
    if (keeps_inode(r, row))
        return place_in_place(r, row, &m, err);
    if (r->dir < 0 && give_name(r, row, err) < 0)
        return -1;
    if (dress(r, r->fd, &m, &st) < 0)
        return receiver_errno("writing", row->path, err);
    if (row->here_kind == HERE_ENTRY && row->here.type == MANIFEST_DIR) {
        if (!r->policy.replace) {
            wait_for_place(r);
            return 0;
        }
        if (beneath_remove_tree(r->dir, name) < 0)
            return receiver_errno("replacing", row->path, err);
        dirs_forget(r->dirs);
    }
    if (beneath_rename(r->dir, r->name, r->dir, name) < 0 || fstat(r->fd, &st) < 0)
        return receiver_errno("writing", row->path, err);
    r->name[0] = '\0';
    receiver_note_placed(row, &st, m.mtime);
    receiver_drop_file(r);
    return 0;
}

/* Moves the content to name in dir: by renaming where it has a name on that file system, else by copying. */
static int move_content(struct sync_receiver *r, int dir, const char *name)
{
    cleanup_close int fd = -1;
    char temp[BENEATH_TEMP_MAX];
    struct stat st;
    int saved;

    if (r->name[0] && beneath_rename(r->dir, r->name, dir, name) == 0) {
        r->name[0] = '\0';
        return 0;
    }
    if ((r->name[0] && errno != EXDEV) || fstat(r->fd, &st) < 0 || (fd = beneath_temp_open(dir, temp)) < 0)
        return -1;
    if (copy_content(r->fd, fd) == 0 && beneath_chmod(fd, st.st_mode & 07777) == 0 &&
        beneath_set_mtime(fd, beneath_mtime(&st)) == 0 && beneath_rename(dir, temp, dir, name) == 0)
        return 0;
    saved = errno;
    beneath_unlink(dir, temp);
    errno = saved;
    return -1;
}

/* The container's content goes to the kept conflicts, complete, with its own name. */
static int keep_content(struct sync_receiver *r, struct row *row, struct err *err)
{
    const struct manifest_entry *peer = row_peer(row);
    cleanup_close int dir = -1;
    const char *name;

    if (keep_possible(r->keep)) {
        dir = keep_dir(r->keep, KEEP_CONFLICTS, row->path, &name);
        if (dir < 0 || beneath_chmod(r->fd, (peer->mode & 0777) | 0600) < 0 ||
            beneath_set_mtime(r->fd, peer->mtime) < 0 || move_content(r, dir, name) < 0)
            return receiver_errno("keeping the container's version of", row->path, err);
    }
    receiver_conflict(r, row, dir >= 0);
    receiver_drop_file(r);
    return 0;
}

static int settle_conflict(struct sync_receiver *r, struct row *row, struct err *err)
{
    const char *name;
    int dir;

    if (!receiver_yields(r, row))
        return keep_content(r, row, err);
    dir = receiver_parent(r, row->path, &name, err);
    if (dir < 0)
        return -1;
    /* A mount point's inode stays; its old content is copied away instead. */
    if (r->tree.file && keep_possible(r->keep)) {
        cleanup_close int to = -1;
        const char *kept;

        to = keep_dir(r->keep, KEEP_CONFLICTS, row->path, &kept);
        if (to < 0 || copy_file(dir, name, to, kept) < 0)
            return receiver_errno("keeping the host's version of", r->tree.file, err);
        r->report.conflicts++;
        receiver_note(r, "conflict: %s: changed here and in the container; the container's version is in place", name);
    } else if (receiver_put_aside(r, row, dir, name, err) < 0) {
        return -1;
    }
    return place_file(r, row, err);
}

/* True if the file was another name of one and now is a file of its own: the same bytes, and yet a new file. */
static bool leaves_group(const struct sync_receiver *r, const struct row *row)
{
    return row->base && row->base->group && manifest_leader(r->policy.ancestor, row->base) != row->base &&
           row->here_kind == HERE_ENTRY && row->links > 1 && manifest_same_content(&row->here, row_peer(row));
}

int receiver_done(struct sync_receiver *r, const struct manifest_entry *done, struct err *err)
{
    struct row *row = &r->rows[r->current];
    const struct manifest_entry *peer = row->peer;

    if (!manifest_same_content(done, peer) || done->mtime != peer->mtime || done->mode != peer->mode ||
        done->uid != peer->uid || done->gid != peer->gid) {
        row->peer_instead = xmemdup(done, sizeof(*done));
        row->peer_instead->path = row->path;
    }
    if (row->fixed) {
        /* Excluded, or the container keeps its own: nothing was stored. */
        row->outcome = ROW_PEER;
        if (row->peer_instead && !manifest_path_excluded(row->path, r->policy.exclude))
            row->verdict = MERGE_CONFLICT;
        if (row->verdict == MERGE_CONFLICT)
            receiver_conflict(r, row, false);
        receiver_drop_file(r);
        return 0;
    }
    if (receiver_reconsider(r, row, err) < 0)
        return -1;
    switch (row->verdict) {
    case MERGE_TAKE:
        return place_file(r, row, err);
    case MERGE_CONFLICT:
        return settle_conflict(r, row, err);
    case MERGE_META:
        if (leaves_group(r, row))
            return place_file(r, row, err);
        receiver_drop_file(r);
        return receiver_apply_meta(r, row, err);
    default:
        row->outcome = ROW_PEER;
        receiver_drop_file(r);
        return 0;
    }
}
