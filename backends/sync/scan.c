/* Reads a tree into a manifest: look.c says what is there, here it is compared with what was known, and read. */
#include "backends/sync/sync.h"

#include "backends/sync/extent.h"
#include "backends/sync/local.h"
#include "backends/sync/look.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/beneath.h"
#include "translate/sync/diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the first name of a file with several names is: a table by inode. */
struct link_table {
    struct link_slot {
        uint64_t ino, dev;
        size_t entry; /* 1 + index; 0 = free */
    } * slots;
    size_t len, cap; /* cap is a power of two */
};

struct scan {
    const struct sync_tree *tree;
    struct look *look;
    const struct manifest *known;
    size_t known_at; /* both run in the same order */
    const struct strlist *exclude;
    struct manifest m;
    struct sync_scan_stats stats;
    struct link_table links;
    int64_t start;
    char path[LIMIT_PATH];
    size_t path_len;
    struct err *err;

    /* The directory that contents were last read from: most of the time none is needed. */
    int dir;
    char dir_path[LIMIT_PATH];
};

/* ---- hard links ---- */

static size_t slot_of(const struct link_table *t, uint64_t ino, uint64_t dev)
{
    size_t at = (size_t)((ino ^ dev << 32) * 0x9e3779b97f4a7c15u >> 20) & (t->cap - 1);

    while (t->slots[at].entry && (t->slots[at].ino != ino || t->slots[at].dev != dev))
        at = (at + 1) & (t->cap - 1);
    return at;
}

static void grow_links(struct link_table *t)
{
    struct link_table bigger = {.len = t->len, .cap = t->cap ? t->cap * 2 : 64};

    bigger.slots = xcalloc(bigger.cap, sizeof(*bigger.slots));
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i].entry)
            bigger.slots[slot_of(&bigger, t->slots[i].ino, t->slots[i].dev)] = t->slots[i];
    free(t->slots);
    *t = bigger;
}

/* 1 + index of the entry that showed this inode first, 0 if this is the first; then it is remembered as `entry`. */
static size_t first_name(struct link_table *t, uint64_t ino, uint64_t dev, size_t entry)
{
    size_t at;

    if (t->len * 2 >= t->cap)
        grow_links(t);
    at = slot_of(t, ino, dev);
    if (t->slots[at].entry)
        return t->slots[at].entry;
    t->slots[at] = (struct link_slot){.ino = ino, .dev = dev, .entry = entry + 1};
    t->len++;
    return 0;
}

/* ---- entries ---- */

static int scan_errno(struct scan *s, const char *what)
{
    int errnum = errno;
    struct buf name = BUF_INIT(4 * LIMIT_PATH);

    sync_quote(&name, *s->path ? s->path : ".");
    err_set_errno(s->err, 125, errnum, "%s %s", what, name.data);
    buf_clear(&name);
    return -1;
}

/* What was known of s->path; NULL if nothing was. */
static const struct manifest_entry *known_entry(struct scan *s)
{
    const struct manifest *known = s->known;
    int order = 1;

    while (known && s->known_at < known->len &&
           (order = manifest_path_cmp(known->entries[s->known_at].path, s->path)) < 0)
        s->known_at++;
    return known && order == 0 && s->known_at < known->len ? &known->entries[s->known_at] : NULL;
}

/*
 * Adds an entry. That ours stands against the peer's version is remembered until ours was sent, also where the sender
 * does not compare with what is known.
 */
static int add(struct scan *s, const struct manifest_entry *known, const struct manifest_entry *e, const char *leader)
{
    struct manifest_entry *added = manifest_add(&s->m, e, leader);

    if (added && known && known->flags & MANIFEST_CONTESTED && !manifest_same_content(added, known))
        added->flags |= MANIFEST_CONTESTED;
    if (added)
        return 0;
    if (s->m.len >= LIMIT_ENTRIES)
        return err_set(s->err, 125, "the tree has more than %u files and directories", LIMIT_ENTRIES);
    return err_set(s->err, 125, "the tree is nested too deep, or its names are too long, at %s", s->path);
}

/* What is not looked at stays as it was agreed: an exclusion must never look like a deletion. */
static int carry_known(struct scan *s)
{
    known_entry(s);
    for (; s->known && s->known_at < s->known->len; s->known_at++) {
        const struct manifest_entry *e = &s->known->entries[s->known_at];
        const struct manifest_entry *leader = manifest_leader(s->known, e);

        if (!manifest_path_below(e->path, s->path))
            break;
        if (!manifest_add(&s->m, e, leader && leader != e ? leader->path : NULL))
            return err_set(s->err, 125, "the tree has more than %u files and directories", LIMIT_ENTRIES);
    }
    return 0;
}

/* A descriptor of the directory that holds s->path, and the name in it; -1 and errno. */
static int parent_dir(struct scan *s, const char **ret_name)
{
    const char *slash = strrchr(s->path, '/');
    size_t len = slash ? (size_t)(slash - s->path) : 0;

    *ret_name = s->tree->file ? s->tree->file : slash ? slash + 1 : s->path;
    if (s->tree->file || !len)
        return s->tree->dirfd;
    if (s->dir >= 0 && strlen(s->dir_path) == len && memcmp(s->dir_path, s->path, len) == 0)
        return s->dir;
    if (s->dir >= 0)
        close(s->dir);
    memcpy(s->dir_path, s->path, len);
    s->dir_path[len] = '\0';
    s->dir = beneath_open_dir(s->tree->dirfd, s->dir_path);
    return s->dir;
}

/* Reads the file at s->path; e becomes what was read. 1: it is not there to be read. 2: it keeps changing. */
static int read_file(struct scan *s, struct manifest_entry *e)
{
    uint8_t digest[MANIFEST_DIGEST_LEN];
    const char *name;
    struct stat st;
    int dir = parent_dir(s, &name), status = dir < 0 ? -1 : extent_digest(dir, name, &st, digest);

    if (status < 0 && (errno == ENOENT || errno == ELOOP || errno == EISDIR || errno == EINVAL || errno == ENOTDIR))
        return 1; /* gone or swapped since the look: the next scan will tell what it is */
    if (status < 0)
        return scan_errno(s, "reading");
    if (status)
        return 2;
    local_entry(e, s->path, &st);
    memcpy(e->digest, digest, sizeof(digest));
    s->stats.hashed_files++;
    s->stats.hashed_bytes += e->size;
    return 0;
}

/* Fills e's digest: from what is known, from another name of the same file, or by reading. 1: it is not there to be
 * read. */
static int find_digest(struct scan *s, const struct manifest_entry *known, struct manifest_entry *e,
                       const struct manifest_entry *first)
{
    int status;

    if (local_untouched(known, e)) {
        memcpy(e->digest, known->digest, sizeof(e->digest));
        return 0;
    }
    if (first && first->size == e->size && first->mtime == e->mtime && first->ctime == e->ctime) {
        memcpy(e->digest, first->digest, sizeof(e->digest));
        return 0;
    }
    status = read_file(s, e);
    if (status != 2)
        return status;
    /* It keeps changing: it stays as agreed until the next barrier (rule 5). */
    s->stats.moving++;
    if (!known || known->type != MANIFEST_FILE)
        return 1;
    *e = *known;
    e->flags |= MANIFEST_UNSURE;
    return 0;
}

static int scan_file(struct scan *s, struct manifest_entry *e, uint64_t names)
{
    const struct manifest_entry *known = known_entry(s);
    size_t first = names > 1 ? first_name(&s->links, e->ino, e->dev, s->m.len) : 0;
    const struct manifest_entry *leader = first && first <= s->m.len ? &s->m.entries[first - 1] : NULL;
    int status = find_digest(s, known, e, leader);

    if (status)
        return status < 0 ? -1 : 0;
    local_mark_racy(e, s->start);
    /* The slot may name an entry that was dropped because its file went away; then it is another file's. */
    if (leader && (leader->ino != e->ino || leader->type != MANIFEST_FILE))
        leader = NULL;
    return add(s, known, e, leader ? leader->path : NULL);
}

/* Adds what was seen at s->path. */
static int scan_seen(struct scan *s, const struct look_name *n)
{
    struct manifest_entry e;

    if (n->kind == LOOK_GONE)
        return 0;
    if (n->kind == LOOK_FAILED) {
        if (n->errnum == EOVERFLOW)
            return err_set(s->err, 125, "the tree has more than %u files and directories", LIMIT_ENTRIES);
        if (n->errnum == ENAMETOOLONG)
            return err_set(s->err, 125, "the tree is nested too deep, or its names are too long, at %s", s->path);
        errno = n->errnum;
        return scan_errno(s, "reading");
    }
    if (!local_entry(&e, s->path, &n->st)) {
        s->stats.skipped_special++;
        return 0;
    }
    if (e.type == MANIFEST_FILE)
        return scan_file(s, &e, n->st.st_nlink);
    e.link = n->text;
    return add(s, known_entry(s), &e, NULL);
}

static int scan_dir(struct scan *s, struct look_dir *d);

static int scan_name(struct scan *s, struct look_name *n)
{
    if (n->kind == LOOK_EXCLUDED)
        return carry_known(s);
    return n->kind == LOOK_DIR ? scan_dir(s, n->dir) : scan_seen(s, n);
}

/* The directory at s->path and everything below it. Depth is bounded by what is looked at. */
static int scan_dir(struct scan *s, struct look_dir *d)
{
    size_t before = s->path_len;

    look_at(s->look, d);
    if (scan_seen(s, &d->self) < 0)
        return -1;
    for (size_t i = 0; d->self.kind == LOOK_DIR && i < d->len; i++) {
        size_t len = strlen(d->names[i].name), slash = before > 0;

        if (before + slash + len >= sizeof(s->path))
            return err_set(s->err, 125, "a path below %s is too long", s->path);
        if (slash)
            s->path[before] = '/';
        memcpy(s->path + before + slash, d->names[i].name, len + 1);
        s->path_len = before + slash + len;
        if (scan_name(s, &d->names[i]) < 0)
            return -1;
        s->path_len = before;
        s->path[before] = '\0';
    }
    look_done(s->look, d);
    return 0;
}

static int scan_root_dir(struct scan *s, int dirfd)
{
    struct stat st;
    int list, status;

    if (dirfd < 0 || fstat(dirfd, &st) < 0 || !st.st_nlink) {
        s->m.root_missing = true;
        return 0;
    }
    list = beneath_list_open(dirfd);
    if (list < 0)
        return scan_errno(s, "reading");
    s->look = look_new(list, s->exclude);
    status = scan_dir(s, look_root(s->look));
    look_free(s->look);
    return status;
}

/* A mount of one file. Anything but a regular file in its place is as good as nothing. */
static int scan_root_file(struct scan *s)
{
    struct manifest_entry e;
    struct stat st;

    s->m.root_missing = true;
    if (beneath_stat(s->tree->dirfd, s->tree->file, &st) < 0)
        return errno == ENOENT ? 0 : scan_errno(s, "reading");
    if (!S_ISREG(st.st_mode)) {
        s->stats.skipped_special++;
        return 0;
    }
    local_entry(&e, "", &st);
    /* Links to a single file lead out of what is shared. */
    if (scan_file(s, &e, 1) < 0)
        return -1;
    s->m.root_missing = s->m.len == 0;
    return 0;
}

int sync_scan(const struct sync_tree *tree, const struct manifest *known, const struct strlist *exclude,
              struct manifest *ret, struct sync_scan_stats *ret_stats, struct err *err)
{
    struct scan s = {.tree = tree,
                     .known = known,
                     .exclude = exclude,
                     .m = MANIFEST_INIT,
                     .start = local_now(),
                     .err = err,
                     .dir = -1};
    int status = tree->file ? scan_root_file(&s) : scan_root_dir(&s, tree->dirfd);

    free(s.links.slots);
    if (s.dir >= 0)
        close(s.dir);
    if (status < 0) {
        manifest_clear(&s.m);
        return -1;
    }
    s.stats.entries = s.m.len;
    manifest_move(ret, &s.m);
    if (ret_stats)
        *ret_stats = s.stats;
    return 0;
}
