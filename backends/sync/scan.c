/* Reads a tree into a manifest. */
#include "backends/sync/sync.h"

#include "backends/sync/extent.h"
#include "backends/sync/local.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/beneath.h"
#include "translate/sync/diff.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where the first name of a file with several names is: a table by inode. */
struct link_table {
    struct link_slot {
        uint64_t ino, dev;
        size_t entry; /* 1 + index; 0 = free */
    } * slots;
    size_t len, cap; /* cap is a power of two */
};

struct scan {
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
static int add(struct scan *s, const struct manifest_entry *e, const char *leader)
{
    const struct manifest_entry *known = known_entry(s);
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

/* Fills e's digest: from what is known, from another name of the same file, or by reading. 1: it is not there to be
 * read. */
static int find_digest(struct scan *s, int dir, const char *name, struct manifest_entry *e,
                       const struct manifest_entry *first)
{
    const struct manifest_entry *known = known_entry(s);
    struct stat st;
    int status;

    if (local_untouched(known, e)) {
        memcpy(e->digest, known->digest, sizeof(e->digest));
        return 0;
    }
    if (first && first->size == e->size && first->mtime == e->mtime && first->ctime == e->ctime) {
        memcpy(e->digest, first->digest, sizeof(e->digest));
        return 0;
    }
    status = extent_digest(dir, name, &st, e->digest);
    if (status < 0 && (errno == ENOENT || errno == ELOOP || errno == EISDIR || errno == EINVAL))
        return 1; /* gone or swapped since the look: the next scan will tell what it is */
    if (status < 0)
        return scan_errno(s, "reading");
    if (status == 0) {
        uint8_t digest[MANIFEST_DIGEST_LEN];

        memcpy(digest, e->digest, sizeof(digest));
        local_entry(e, s->path, &st);
        memcpy(e->digest, digest, sizeof(digest));
        s->stats.hashed_files++;
        s->stats.hashed_bytes += e->size;
        return 0;
    }
    /* It keeps changing: it stays as agreed until the next barrier (rule 5). */
    s->stats.moving++;
    if (!known || known->type != MANIFEST_FILE)
        return 1;
    *e = *known;
    e->flags |= MANIFEST_UNSURE;
    return 0;
}

static int scan_file(struct scan *s, int dir, const char *name, struct manifest_entry *e, const struct stat *st)
{
    size_t first = st->st_nlink > 1 ? first_name(&s->links, e->ino, e->dev, s->m.len) : 0;
    const struct manifest_entry *leader = first && first <= s->m.len ? &s->m.entries[first - 1] : NULL;
    int status = find_digest(s, dir, name, e, leader);

    if (status)
        return status < 0 ? -1 : 0;
    local_mark_racy(e, s->start);
    /* The slot may name an entry that was dropped because its file went away; then it is another file's. */
    if (leader && (leader->ino != e->ino || leader->type != MANIFEST_FILE))
        leader = NULL;
    return add(s, e, leader ? leader->path : NULL);
}

static int scan_link(struct scan *s, int dir, const char *name, struct manifest_entry *e)
{
    cleanup_free char *text = beneath_readlink(dir, name);

    if (!text)
        return errno == ENOENT || errno == EINVAL ? 0 : scan_errno(s, "reading");
    e->link = text;
    return add(s, e, NULL);
}

static int scan_dir(struct scan *s, int list);

static int scan_name(struct scan *s, int dir, const char *name)
{
    struct manifest_entry e;
    struct stat st;
    int list;

    if (manifest_path_excluded(s->path, s->exclude))
        return carry_known(s);
    if (beneath_stat(dir, name, &st) < 0)
        return errno == ENOENT ? 0 : scan_errno(s, "reading");
    if (!local_entry(&e, s->path, &st)) {
        s->stats.skipped_special++;
        return 0;
    }
    if (e.type == MANIFEST_FILE)
        return scan_file(s, dir, name, &e, &st);
    if (e.type == MANIFEST_SYMLINK)
        return scan_link(s, dir, name, &e);
    list = beneath_child_list(dir, name);
    if (list < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : scan_errno(s, "reading");
    if (fstat(list, &st) < 0 || !local_entry(&e, s->path, &st) || add(s, &e, NULL) < 0) {
        close(list);
        return -1;
    }
    return scan_dir(s, list);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Reads the names of a directory; unfinished files of ours are swept if forgotten, and never named. */
static int list_names(struct scan *s, DIR *d, struct strlist *names)
{
    const struct dirent *entry;

    while ((errno = 0, entry = readdir(d))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (strncmp(entry->d_name, BENEATH_TEMP_PREFIX, strlen(BENEATH_TEMP_PREFIX)) == 0) {
            beneath_temp_sweep(dirfd(d), entry->d_name);
            continue;
        }
        if (names->len >= LIMIT_ENTRIES)
            return err_set(s->err, 125, "the tree has more than %u files and directories", LIMIT_ENTRIES);
        strlist_add(names, entry->d_name);
    }
    if (errno && errno != ENOENT)
        return scan_errno(s, "reading");
    qsort(strlist_argv(names), names->len, sizeof(char *), by_bytes);
    return 0;
}

/* Everything below the directory behind list, which is consumed. Depth is bounded by what manifest_add() takes. */
static int scan_dir(struct scan *s, int list)
{
    cleanup_dir DIR *d = fdopendir(list);
    cleanup_strlist struct strlist names = STRLIST_INIT;
    size_t before = s->path_len;

    if (!d) {
        close(list);
        return scan_errno(s, "reading");
    }
    if (list_names(s, d, &names) < 0)
        return -1;
    for (size_t i = 0; i < names.len; i++) {
        size_t len = strlen(names.items[i]), slash = before > 0;

        if (before + slash + len >= sizeof(s->path))
            return err_set(s->err, 125, "a path below %s is too long", s->path);
        if (slash)
            s->path[before] = '/';
        memcpy(s->path + before + slash, names.items[i], len + 1);
        s->path_len = before + slash + len;
        if (scan_name(s, dirfd(d), names.items[i]) < 0)
            return -1;
        s->path_len = before;
        s->path[before] = '\0';
    }
    return 0;
}

static int scan_root_dir(struct scan *s, int dirfd)
{
    struct manifest_entry e;
    struct stat st;
    int list;

    if (dirfd < 0 || fstat(dirfd, &st) < 0 || !st.st_nlink) {
        s->m.root_missing = true;
        return 0;
    }
    list = beneath_list_open(dirfd);
    if (list < 0)
        return scan_errno(s, "reading");
    if (!local_entry(&e, "", &st) || add(s, &e, NULL) < 0) {
        close(list);
        return -1;
    }
    return scan_dir(s, list);
}

/* A mount of one file. Anything but a regular file in its place is as good as nothing. */
static int scan_root_file(struct scan *s, const struct sync_tree *tree)
{
    struct manifest_entry e;
    struct stat st;

    s->m.root_missing = true;
    if (beneath_stat(tree->dirfd, tree->file, &st) < 0)
        return errno == ENOENT ? 0 : scan_errno(s, "reading");
    if (!S_ISREG(st.st_mode)) {
        s->stats.skipped_special++;
        return 0;
    }
    local_entry(&e, "", &st);
    /* Links to a single file lead out of what is shared. */
    st.st_nlink = 1;
    if (scan_file(s, tree->dirfd, tree->file, &e, &st) < 0)
        return -1;
    s->m.root_missing = s->m.len == 0;
    return 0;
}

int sync_scan(const struct sync_tree *tree, const struct manifest *known, const struct strlist *exclude,
              struct manifest *ret, struct sync_scan_stats *ret_stats, struct err *err)
{
    struct scan s = {.known = known, .exclude = exclude, .m = MANIFEST_INIT, .start = local_now(), .err = err};
    int status = tree->file ? scan_root_file(&s, tree) : scan_root_dir(&s, tree->dirfd);

    free(s.links.slots);
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
