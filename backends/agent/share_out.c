#include "backends/agent/share_out.h"

#include "backends/agent/link.h"
#include "backends/agent/share_tree.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/beneath.h"
#include "compat/sys/loop.h"
#include "translate/wire/share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRIES     3 /* for a file that changes while it is read; then it is sent as it was read */
#define SOON      30
#define UNWATCHED 500  /* ms between two looks where nobody says that something has changed */
#define WATCHED   5000 /* and where it is said, but for what is written through mappings */
#define SOON_COST 4    /* looking takes a fourth of the time at most, a twentieth without cause */
#define LATE_COST 20
#define FRESH_NS  100000000

void share_out_init(struct share_out *o, struct share_tree *tree, struct link *link, bool ro)
{
    *o = (struct share_out){.tree = tree, .link = link, .ro = ro, .fd = -1};
    o->bytes = xmalloc(SHARE_PIECE);
}

void share_out_reset(struct share_out *o)
{
    if (o->fd >= 0)
        close(steal_fd(&o->fd));
    share_tree_forget_changes(o->tree);
    o->at = o->gone_at = 0;
    o->n_words = 0;
    o->bringing = o->wanted = false;
    o->sent = 0;
    for (size_t i = 0; i < o->tree->n_slots; i++)
        for (struct share_node *n = o->tree->slots[i]; n; n = n->next)
            if (n->pending) { /* nobody may have got it */
                n->pending = 0;
                n->ctime_ns = 0;
            }
}

void share_out_clear(struct share_out *o)
{
    if (o->fd >= 0)
        close(steal_fd(&o->fd));
    free(o->words);
    free(o->bytes);
    *o = (struct share_out){.fd = -1};
}

void share_out_active(struct share_out *o, bool active)
{
    o->active = active;
}

int64_t share_out_soon(const struct share_out *o)
{
    return o->cost * SOON_COST > SOON ? o->cost * SOON_COST : SOON;
}

int64_t share_out_later(const struct share_out *o)
{
    int64_t every = o->tree->unwatched ? UNWATCHED : WATCHED;

    return o->cost * LATE_COST > every ? o->cost * LATE_COST : every;
}

bool share_out_idle(const struct share_out *o)
{
    return o->fd < 0 && o->at >= o->tree->n_changed && o->gone_at >= o->tree->gone.len && !o->bringing;
}

void share_out_look(struct share_out *o)
{
    o->wanted = true;
}

void share_out_after(struct share_out *o, uint8_t op, uint64_t number)
{
    if (o->n_words == o->room_words) {
        o->room_words = o->room_words ? 2 * o->room_words : 8;
        o->words = xreallocarray(o->words, o->room_words, sizeof(*o->words));
    }
    o->words[o->n_words++] = (struct share_word){op, number, o->looks + 1};
}

static void say(struct share_out *o, const struct share *s)
{
    share_put(&o->link->queue, s);
    link_send(o->link);
}

/* ---- one entry ---- */

static struct share describe(uint8_t kind, const char *path, const struct stat *st)
{
    return (struct share){.op = SHARE_ENTRY,
                          .kind = kind,
                          .mode = (uint16_t)(st->st_mode & 07777),
                          .uid = st->st_uid,
                          .gid = st->st_gid,
                          .mtime_ns = beneath_mtime(st),
                          .size = kind == SHARE_FILE ? (uint64_t)st->st_size : 0,
                          .path = (char *)path};
}

static struct share_node *told(struct share_out *o, uint8_t kind, const char *path, const struct stat *st,
                               const char *link)
{
    struct share_node *n = share_tree_add(o->tree, path);

    share_node_set(n, kind, st, link);
    n->seen = o->tree->scan;
    n->fresh = false;
    if (!o->bringing)
        n->pending = ++o->sent;
    return n;
}

static void begin_file(struct share_out *o, const char *path)
{
    struct share s;

    lseek(o->fd, 0, SEEK_SET);
    o->offset = 0;
    sha256_init(&o->sum);
    s = describe(SHARE_FILE, path, &o->st);
    say(o, &s);
}

static void send_entry(struct share_out *o, const struct share_change *c)
{
    const char *name = "";
    cleanup_close int dir = *c->path ? beneath_open_parent(o->tree->root, c->path, &name) : -1;
    const struct share_node *n = share_tree_find(o->tree, c->path);
    cleanup_free char *text = NULL;
    struct stat st;
    struct share s;

    o->at++;
    if (*c->path ? dir < 0 || beneath_stat(dir, name, &st) < 0 : fstat(o->tree->root, &st) < 0)
        return; /* gone by now: the next look tells */
    if (o->ro && !(n && n->kind && share_node_is(n, &st)))
        return; /* a read-only member's own changes are nobody's business */
    if (S_ISREG(st.st_mode) && !c->link) {
        o->fd = beneath_read_open(dir, name, &o->st);
        o->tries = 0;
        if (o->fd >= 0) {
            o->at--; /* until it is sent */
            begin_file(o, c->path);
        }
        return;
    }
    s = describe(c->link               ? SHARE_LINK
                 : S_ISDIR(st.st_mode) ? SHARE_DIR
                 : S_ISLNK(st.st_mode) ? SHARE_SYMLINK
                                       : SHARE_FIFO,
                 c->path, &st);
    if (s.kind == SHARE_SYMLINK) {
        text = beneath_readlink(dir, name);
        if (!text)
            return;
    }
    s.link = text ? text : c->link;
    say(o, &s);
    told(o, s.kind, c->path, &st, s.link);
}

static bool same_look(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && beneath_ctime(a) == beneath_ctime(b) && beneath_mtime(a) == beneath_mtime(b);
}

static int64_t wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* All of it was read; if it is not what it was, once more. */
static void end_file(struct share_out *o)
{
    const char *path = o->tree->changed[o->at].path;
    struct share end = {.op = SHARE_END};
    struct share_node *n;
    struct stat after;
    bool whole = o->offset == (uint64_t)o->st.st_size;

    if (fstat(o->fd, &after) == 0 && (!whole || !same_look(&o->st, &after)) && (++o->tries < TRIES || !whole)) {
        end.flags = SHARE_CANCEL;
        say(o, &end);
        if (o->tries < 2 * TRIES) {
            o->st = after;
            begin_file(o, path);
            return;
        }
    } else {
        say(o, &end);
        n = told(o, SHARE_FILE, path, &o->st, NULL);
        sha256_final(&o->sum, n->digest);
        n->fresh = wall_ns() - n->ctime_ns < FRESH_NS;
    }
    close(steal_fd(&o->fd));
    o->at++;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return !len || (!bytes[0] && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static void send_piece(struct share_out *o)
{
    uint64_t left = (uint64_t)o->st.st_size - o->offset;
    ssize_t n = read(o->fd, o->bytes, left < SHARE_PIECE ? (size_t)left : SHARE_PIECE);

    if (n < 0 && errno == EINTR)
        return;
    if (n > 0) {
        struct share s = {.op = SHARE_DATA, .number = o->offset, .bytes = o->bytes, .len = (size_t)n};

        sha256_update(&o->sum, o->bytes, (size_t)n);
        if (!is_zero(o->bytes, (size_t)n))
            say(o, &s);
        o->offset += (uint64_t)n;
    }
    if (n <= 0 || o->offset == (uint64_t)o->st.st_size)
        end_file(o);
}

static void send_gone(struct share_out *o, const char *path)
{
    const char *name = "";
    cleanup_close int dir = beneath_open_parent(o->tree->root, path, &name);
    struct share_node *n = share_tree_find(o->tree, path);
    struct stat st;

    o->gone_at++;
    if (!n || !n->kind || (dir >= 0 && beneath_stat(dir, name, &st) == 0))
        return;
    say(o, &(struct share){.op = SHARE_GONE, .path = (char *)path});
    n->kind = 0;
    n->pending = ++o->sent;
}

/* ---- in line ---- */

static void look(struct share_out *o, enum share_scan what)
{
    int64_t began = loop_now();

    o->at = o->gone_at = 0;
    share_tree_scan(o->tree, what);
    o->cost = loop_now() - began;
    if (what == SHARE_SCAN_CHANGES) {
        o->looks++;
        o->wanted = false;
    }
}

/* The first word, if nothing that it waits for is left. */
static bool say_word(struct share_out *o)
{
    struct share_word w = o->n_words ? o->words[0] : (struct share_word){0};

    if (!o->n_words || (o->active && !o->ro && o->looks < w.looks))
        return false;
    o->n_words--;
    memmove(o->words, o->words + 1, o->n_words * sizeof(*o->words));
    say(o, &(struct share){.op = w.op, .number = w.number});
    if (w.op == SHARE_BEGIN) {
        o->bringing = true;
        look(o, SHARE_SCAN_ALL);
    }
    return true;
}

void share_out_pump(struct share_out *o)
{
    while (!o->link->closed && link_pending(o->link) < LINK_LOW) {
        if (o->fd >= 0)
            send_piece(o);
        else if (o->at < o->tree->n_changed)
            send_entry(o, &o->tree->changed[o->at]);
        else if (o->gone_at < o->tree->gone.len)
            send_gone(o, o->tree->gone.items[o->gone_at]);
        else if (o->bringing) {
            o->bringing = false;
            say(o, &(struct share){.op = SHARE_COMPLETE});
        } else if (say_word(o))
            continue;
        else if (o->active && !o->ro && (o->wanted || o->n_words))
            look(o, SHARE_SCAN_CHANGES);
        else
            return;
    }
}
