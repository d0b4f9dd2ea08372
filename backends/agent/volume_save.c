#include "backends/agent/volume.h"

#include "backends/agent/share_mate.h"
#include "backends/agent/target.h"
#include "backends/agent/volume_store.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define TRIES      3           /* for a file that changes while it is read */
#define FRESH_NS   100000000   /* a file that changed so short ago may change again without its time showing it */
#define SYNC_FROM  (64u << 10) /* files of this size may be written through a mapping: their times are made right */
#define SMALL_PACK (4u << 20)
#define SMALL_MAX  32 /* more small packs than this are put together */

/* One save. */
struct save {
    const struct wire_volume *volume;
    struct volume_store store;
    struct volume_manifest base; /* what is there; with looks if they are this container's */
    struct volume_manifest next;
    struct volume_packer packer;
    uint32_t *names;          /* base's entries, by path */
    struct volume_piece *all; /* that lie in packs, each once */
    uint32_t *known;          /* of them by digest: open addressing, index + 1 */
    size_t n_all, room_all, known_size;
    struct link_name *links;
    size_t n_links, room_links;
    bool changed;
    int64_t now;
    uint64_t floor; /* generations of ours are above it; below it are such that others may have saved elsewhere */
    uint8_t *piece;
    struct volume_report *report;
    struct err *err;
};

struct link_name {
    uint64_t ino;
    uint32_t entry;
};

static int64_t wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- what is known ---- */

static const struct volume_manifest *sorted_by;

static int compare_names(const void *a, const void *b)
{
    return strcmp(sorted_by->entries[*(const uint32_t *)a].path, sorted_by->entries[*(const uint32_t *)b].path);
}

static void index_names(struct save *s)
{
    s->names = xcalloc(s->base.n_entries + 1, sizeof(*s->names));
    for (size_t i = 0; i < s->base.n_entries; i++)
        s->names[i] = (uint32_t)i;
    sorted_by = &s->base;
    qsort(s->names, s->base.n_entries, sizeof(*s->names), compare_names);
}

static const struct volume_entry *base_entry(const struct save *s, const char *path)
{
    size_t low = 0, high = s->base.n_entries;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct volume_entry *e = &s->base.entries[s->names[mid]];
        int order = strcmp(e->path, path);

        if (!order)
            return e;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* Where the piece with this digest is in `known`, or belongs. */
static size_t slot_of(const struct save *s, const uint8_t hash[SHA256_LEN])
{
    uint64_t at;

    memcpy(&at, hash, sizeof(at));
    at &= s->known_size - 1;
    while (s->known[at] && memcmp(s->all[s->known[at] - 1].hash, hash, SHA256_LEN) != 0)
        at = (at + 1) & (s->known_size - 1);
    return at;
}

/* The piece of that content that lies in a pack; NULL: none does. */
static struct volume_piece *find_piece(const struct save *s, const uint8_t hash[SHA256_LEN])
{
    size_t slot = s->known_size ? slot_of(s, hash) : 0;

    return s->known_size && s->known[slot] ? &s->all[s->known[slot] - 1] : NULL;
}

static void grow_known(struct save *s)
{
    free(s->known);
    s->known_size = s->known_size ? 2 * s->known_size : 1024;
    s->known = xcalloc(s->known_size, sizeof(*s->known));
    for (uint32_t i = 0; i < s->n_all; i++)
        s->known[slot_of(s, s->all[i].hash)] = i + 1;
}

static void know(struct save *s, const struct volume_piece *p)
{
    if (p->pack == VOLUME_HOLE || find_piece(s, p->hash))
        return;
    if (s->n_all == s->room_all) {
        s->room_all = s->room_all ? 2 * s->room_all : 256;
        s->all = xreallocarray(s->all, s->room_all, sizeof(*s->all));
    }
    s->all[s->n_all++] = *p;
    if (2 * s->n_all >= s->known_size)
        grow_known(s);
    else
        s->known[slot_of(s, p->hash)] = (uint32_t)s->n_all;
}

/* ---- files ---- */

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return !bytes[0] && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* One piece of a file, found among the known or packed. */
static int add_piece(struct save *s, size_t len)
{
    struct volume_piece p = {.len = (uint32_t)len, .pack = VOLUME_HOLE};

    if (!is_zero(s->piece, len)) {
        const struct volume_piece *known;

        sha256(s->piece, len, p.hash);
        known = find_piece(s, p.hash);
        if (known)
            p = *known;
        else if (volume_packer_add(&s->packer, s->piece, &p, s->err) < 0)
            return -1;
        s->report->bytes += known ? 0 : len;
    }
    *volume_add_piece(&s->next) = p;
    know(s, &p);
    return 0;
}

/* As many bytes as there are, up to a piece. */
static ssize_t read_piece(struct save *s, int fd)
{
    size_t got = 0;

    while (got < VOLUME_PIECE) {
        ssize_t n = read(fd, s->piece + got, VOLUME_PIECE - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

/* Reads it once. 0 = it cannot be read any more. */
static int read_file(struct save *s, int fd, struct volume_entry *e)
{
    ssize_t n;

    e->size = 0;
    s->next.n_pieces = e->first_piece; /* what an earlier try has read is nobody's */
    if (lseek(fd, 0, SEEK_SET) < 0)
        return 0;
    while ((n = read_piece(s, fd)) > 0) {
        if (add_piece(s, (size_t)n) < 0)
            return -1;
        e->size += (uint64_t)n;
        if ((size_t)n < VOLUME_PIECE)
            break;
    }
    e->pieces = (uint32_t)s->next.n_pieces - e->first_piece;
    return n < 0 ? 0 : 1;
}

static bool same_look(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && beneath_ctime(a) == beneath_ctime(b) && beneath_mtime(a) == beneath_mtime(b);
}

static int pack_file(struct save *s, int dir, const char *name, struct volume_entry *e, struct stat *st)
{
    cleanup_close int fd = beneath_read_open(dir, name, st);
    int got = 0;

    if (fd < 0)
        return 0;
    e->first_piece = (uint32_t)s->next.n_pieces;
    for (int i = 0; i < TRIES; i++) {
        struct stat after;

        if (st->st_size >= (off_t)SYNC_FROM)
            fdatasync(fd);
        if (fstat(fd, st) < 0)
            return 0;
        got = read_file(s, fd, e);
        if (got <= 0 || fstat(fd, &after) < 0 || same_look(st, &after))
            break;
        *st = after;
    }
    return got;
}

/* The pieces of a file that looks as it did. */
static void take_over(struct save *s, const struct volume_entry *was, struct volume_entry *e)
{
    e->first_piece = (uint32_t)s->next.n_pieces;
    e->pieces = was->pieces;
    e->size = was->size;
    for (uint32_t i = 0; i < was->pieces; i++)
        *volume_add_piece(&s->next) = s->base.pieces[was->first_piece + i];
}

static bool is_as_saved(const struct volume_entry *was, const struct stat *st)
{
    return was && was->kind == VOLUME_FILE && was->ctime_ns && was->ctime_ns == beneath_ctime(st) &&
           was->ino == st->st_ino && was->size == (uint64_t)st->st_size;
}

/* The first name of a file with several, if it was met already. */
static const char *first_name(const struct save *s, uint64_t ino)
{
    for (size_t i = 0; i < s->n_links; i++)
        if (s->links[i].ino == ino)
            return s->next.entries[s->links[i].entry].path;
    return NULL;
}

static void note_name(struct save *s, uint64_t ino)
{
    if (s->n_links == s->room_links) {
        s->room_links = s->room_links ? 2 * s->room_links : 16;
        s->links = xreallocarray(s->links, s->room_links, sizeof(*s->links));
    }
    s->links[s->n_links++] = (struct link_name){ino, (uint32_t)s->next.n_entries};
}

static int add_file(struct save *s, int dir, const char *name, struct volume_entry *e, struct stat *st)
{
    const struct volume_entry *was = base_entry(s, e->path);
    const char *first = st->st_nlink > 1 ? first_name(s, st->st_ino) : NULL;
    int got = 1;

    if (first) {
        e->kind = VOLUME_LINK;
        e->link = xstrdup(first);
        return 1;
    }
    e->kind = VOLUME_FILE;
    if (is_as_saved(was, st))
        take_over(s, was, e);
    else
        got = pack_file(s, dir, name, e, st);
    e->mtime_ns = beneath_mtime(st);
    e->ino = st->st_ino;
    e->ctime_ns = s->now - beneath_ctime(st) < FRESH_NS ? 0 : beneath_ctime(st);
    if (got > 0 && st->st_nlink > 1)
        note_name(s, st->st_ino);
    return got;
}

/* ---- the tree ---- */

static bool same_entry(const struct save *s, const struct volume_entry *a, const struct volume_entry *b)
{
    if (a->kind != b->kind || a->mode != b->mode || a->uid != b->uid || a->gid != b->gid || a->size != b->size ||
        a->mtime_ns != b->mtime_ns || a->pieces != b->pieces || strcmp(a->link ? a->link : "", b->link ? b->link : ""))
        return false;
    for (uint32_t i = 0; i < a->pieces; i++) {
        const struct volume_piece *p = &s->base.pieces[a->first_piece + i], *q = &s->next.pieces[b->first_piece + i];

        if (p->len != q->len || memcmp(p->hash, q->hash, SHA256_LEN) != 0)
            return false;
    }
    return true;
}

/* Takes e's strings. */
static void add_entry(struct save *s, const struct volume_entry *e)
{
    const struct volume_entry *was = base_entry(s, e->path);

    *volume_add_entry(&s->next) = *e;
    s->changed = s->changed || !was || !same_entry(s, was, e);
    s->report->files++;
}

static void fill(struct volume_entry *e, const struct stat *st)
{
    e->mode = (uint16_t)(st->st_mode & 07777);
    e->uid = st->st_uid;
    e->gid = st->st_gid;
    e->mtime_ns = beneath_mtime(st);
}

struct level {
    struct save *save;
    const char *path;
    struct strlist names;
};

static int add_name(void *arg, const char *name, uint8_t type)
{
    struct level *l = arg;

    (void)type;
    if (!beneath_temp_ours(name) && l->names.len < LIMIT_ENTRIES)
        strlist_add(&l->names, name);
    return 0;
}

static int walk(struct save *s, int dir, const char *path, unsigned depth);

static int walk_child(struct save *s, int dir, const char *name, const char *path, unsigned depth)
{
    cleanup_close int child = beneath_child_list(dir, name);

    if (child < 0 || strlist_has(&s->volume->closed, path))
        return 0;
    if (depth >= LIMIT_DEPTH)
        return err_set(s->err, 125, "%s is nested more than %u directories deep", path, LIMIT_DEPTH);
    return walk(s, child, path, depth + 1);
}

/* One name. What vanishes meanwhile is left out. */
static int add_child(struct save *s, int dir, const char *name, const char *path, unsigned depth)
{
    struct volume_entry e = {.path = *path ? xasprintf("%s/%s", path, name) : xstrdup(name)};
    cleanup_free char *child = xstrdup(e.path);
    struct stat st;
    int got = beneath_stat(dir, name, &st) == 0 && strlen(child) <= LIMIT_PATH;

    if (got && s->next.n_entries >= LIMIT_ENTRIES)
        got = err_set(s->err, 125, "it has more than %u files", LIMIT_ENTRIES);
    if (got > 0) {
        fill(&e, &st);
        if (S_ISREG(st.st_mode))
            got = add_file(s, dir, name, &e, &st);
        else if (S_ISDIR(st.st_mode))
            e.kind = VOLUME_DIR;
        else if (S_ISFIFO(st.st_mode))
            e.kind = VOLUME_FIFO;
        else if (S_ISLNK(st.st_mode) && (e.link = beneath_readlink(dir, name)) && strlen(e.link) <= LIMIT_PATH)
            e.kind = VOLUME_SYMLINK;
        else
            got = 0;
    }
    if (got <= 0) {
        free(e.path);
        free(e.link);
        return got;
    }
    add_entry(s, &e);
    return S_ISDIR(st.st_mode) ? walk_child(s, dir, name, child, depth) : 0;
}

static int walk(struct save *s, int dir, const char *path, unsigned depth)
{
    struct level l = {s, path, STRLIST_INIT};
    int rc = 0;

    beneath_names(dir, add_name, &l);
    strlist_sort(&l.names);
    for (size_t i = 0; rc == 0 && i < l.names.len; i++)
        rc = add_child(s, dir, l.names.items[i], path, depth);
    strlist_clear(&l.names);
    return rc;
}

static int walk_target(struct save *s, int target)
{
    struct volume_entry e = {.path = xstrdup(""), .kind = VOLUME_DIR};
    cleanup_close int list = beneath_list_open(target);
    struct stat st;

    if (list < 0 || fstat(list, &st) < 0) {
        free(e.path);
        return err_set_errno(s->err, 125, errno, "reading %s", s->volume->target);
    }
    fill(&e, &st);
    add_entry(s, &e);
    return walk(s, list, "", 0);
}

/* ---- packs that are worth no more what they cost ---- */

/* Which packs are written anew: those of which most is needed no more, and small ones when there are many. */
static bool *choose(const struct save *s)
{
    const struct volume_manifest *m = &s->next;
    bool *chosen = xcalloc(m->n_packs + 1, sizeof(*chosen));
    uint64_t *live = xcalloc(m->n_packs + 1, sizeof(*live));
    bool *counted = xcalloc(s->n_all + 1, sizeof(*counted));
    size_t small = 0;

    for (size_t i = 0; i < m->n_pieces; i++) {
        const struct volume_piece *p = m->pieces[i].pack == VOLUME_HOLE ? NULL : find_piece(s, m->pieces[i].hash);

        if (p && !counted[p - s->all]) {
            counted[p - s->all] = true;
            live[p->pack] += p->stored;
        }
    }
    for (size_t i = 0; i < s->base.n_packs; i++)
        small += live[i] && m->packs[i].size < SMALL_PACK;
    for (size_t i = 0; i < s->base.n_packs; i++)
        chosen[i] = live[i] && (live[i] < m->packs[i].size / 2 || (small > SMALL_MAX && m->packs[i].size < SMALL_PACK));
    free(live);
    free(counted);
    return chosen;
}

/* Each piece of theirs goes into a new pack once, and all that have it follow. */
static int move_pieces(struct save *s, const bool *chosen)
{
    struct volume_open open = {.fd = -1};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < s->next.n_pieces; i++) {
        struct volume_piece *p = &s->next.pieces[i], *first;

        if (p->pack == VOLUME_HOLE || p->pack >= s->base.n_packs || !chosen[p->pack])
            continue;
        first = find_piece(s, p->hash);
        if (first->pack < s->base.n_packs && chosen[first->pack]) {
            rc = volume_piece_read(&s->store, &s->base, first, &open, s->piece, s->err);
            if (rc == 0)
                rc = volume_packer_add(&s->packer, s->piece, first, s->err);
        }
        *p = *first;
    }
    volume_open_close(&open);
    return rc;
}

/* Packs that nothing lies in any more are not the new generation's. */
static void drop_packs(struct volume_manifest *m)
{
    uint32_t *to = xcalloc(m->n_packs + 1, sizeof(*to));
    uint32_t len = 0;

    for (size_t i = 0; i < m->n_pieces; i++)
        if (m->pieces[i].pack != VOLUME_HOLE)
            to[m->pieces[i].pack] = 1;
    for (size_t i = 0; i < m->n_packs; i++)
        if (to[i]) {
            m->packs[len] = m->packs[i];
            to[i] = len++;
        }
    for (size_t i = 0; i < m->n_pieces; i++)
        if (m->pieces[i].pack != VOLUME_HOLE)
            m->pieces[i].pack = to[m->pieces[i].pack];
    m->n_packs = len;
    free(to);
}

/* ---- all of it ---- */

/*
 * The newest generation, with how the files looked where it was saved or restored here. The looks file is the manifest
 * as this container wrote it down; it counts only for its own generation.
 */
static int load_base(struct save *s, uint64_t *ret_last)
{
    struct volume_manifest looks;
    int got = volume_store_newest(&s->store, &s->base, ret_last, s->err);

    if (got < 0)
        return -1;
    if (*ret_last < s->floor || (got && s->base.generation < s->floor)) {
        volume_manifest_clear(&s->base); /* what is here may have been taken away by who saved last: all of it anew */
        s->packer.salted = true;
        *ret_last = *ret_last > s->floor ? *ret_last : s->floor;
        return 0;
    }
    if (got && volume_manifest_load(s->store.looks, s->volume->key, &looks, NULL) == 0) {
        if (looks.generation == s->base.generation) {
            volume_manifest_clear(&s->base);
            s->base = looks;
            return 1;
        }
        volume_manifest_clear(&looks);
    }
    for (size_t i = 0; i < s->base.n_entries; i++)
        s->base.entries[i].ctime_ns = 0;
    return got;
}

static int write_generation(struct save *s, uint64_t last)
{
    cleanup_free bool *chosen = s->known_size ? choose(s) : NULL;

    if (chosen && move_pieces(s, chosen) < 0)
        return -1;
    if (volume_packer_finish(&s->packer, s->err) < 0)
        return -1;
    drop_packs(&s->next);
    s->next.generation = last + 1;
    if (volume_store_add(&s->store, &s->next, s->err) < 0)
        return -1;
    volume_store_prune(&s->store, &s->next);
    s->report->saved = true;
    s->report->generation = s->next.generation;
    s->report->pack_bytes = s->packer.total;
    return 0;
}

static int save_all(struct save *s, int target)
{
    uint64_t last = 0;
    int had = load_base(s, &last);

    if (had < 0)
        return -1;
    index_names(s);
    for (size_t i = 0; i < s->base.n_pieces; i++)
        know(s, &s->base.pieces[i]);
    for (size_t i = 0; i < s->base.n_packs; i++)
        *volume_add_pack(&s->next) = s->base.packs[i];
    if (walk_target(s, target) < 0)
        return -1;
    s->report->generation = s->base.generation;
    s->next.generation = s->base.generation;
    if (!had || s->changed || s->next.n_entries != s->base.n_entries) {
        if (write_generation(s, last) < 0)
            return -1;
    } else {
        volume_packer_clear(&s->packer); /* what looked different and was not */
        drop_packs(&s->next);
    }
    return volume_manifest_save(s->store.looks, s->volume->key, &s->next, s->err);
}

int volume_save(const struct volume_dirs *dirs, const struct wire_volume *v, struct volume_report *ret, struct err *err)
{
    cleanup_with(target_clear) struct target target = {.dirfd = -1};
    struct err why = ERR_INIT;
    struct save s = {.volume = v, .now = wall_ns(), .report = ret, .err = &why};
    struct mate_role role;
    int rc;

    *ret = (struct volume_report){0};
    mate_role_read(dirs->run_dir, v->key, &role);
    if (role.known && !role.saves)
        return 0;
    s.floor = role.floor;
    if (target_open(v->target, /* is_file= */ false, dirs->run_dir, &target, err) < 0 ||
        volume_store_open(dirs, v->key, /* write= */ true, &s.store, err) < 0)
        return -1;
    s.piece = xmalloc(VOLUME_PIECE);
    volume_packer_init(&s.packer, &s.store, &s.next);
    rc = save_all(&s, target.dirfd);
    volume_packer_clear(&s.packer);
    volume_store_close(&s.store);
    volume_manifest_clear(&s.base);
    volume_manifest_clear(&s.next);
    free(s.names);
    free(s.all);
    free(s.known);
    free(s.links);
    free(s.piece);
    return rc < 0 ? err_move(err, &why) : 0;
}

int volumes_save(const struct volume_dirs *dirs, const struct wire_volumes *list, const char *only, struct buf *out,
                 struct err *err)
{
    struct err first = ERR_INIT;

    for (size_t i = 0; i < list->len; i++) {
        const struct wire_volume *v = &list->items[i];
        cleanup_err struct err why = ERR_INIT;
        struct volume_report report;

        if (v->read_only || v->scratch || (*only && strcmp(only, v->key) != 0))
            continue;
        if (volume_save(dirs, v, &report, &why) == 0) {
            buf_addf(out, "%s\t%llu\t%s\n", v->key, (unsigned long long)report.generation,
                     report.saved ? "saved" : "same");
            continue;
        }
        err_wrap(&why, "saving the volume at %s", v->target);
        if (!first.msg)
            err_move(&first, &why);
    }
    return first.msg ? err_move(err, &first) : 0;
}
