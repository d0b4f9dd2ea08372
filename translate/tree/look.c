#include "translate/tree/look.h"

#include "compat/base/err.h"

#include <string.h>

#define FIXED    64u /* bytes in front of the two strings */
#define LOOK_MAX (FIXED + 4 + 2 * LIMIT_PATH)

/* '/' comes before every other byte. */
static int rank(char c)
{
    return c == '\0' ? -1 : c == '/' ? 0 : (int)(unsigned char)c + 1;
}

int tree_path_compare(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return rank(*a) - rank(*b);
}

bool tree_path_within(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/' || len == 0);
}

/* ---- writing ---- */

static void put(struct buf *b, uint64_t v, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_addc(b, (char)(v >> (8 * i)));
}

static void put_string(struct buf *b, const char *s)
{
    put(b, strlen(s), 2);
    buf_add(b, s, strlen(s));
}

int tree_put_look(struct buf *b, const struct tree_look *look)
{
    const struct tree_entry *e = &look->entry;
    size_t start = b->len, path = strlen(e->path), link = strlen(e->link);

    if (path >= LIMIT_PATH || link >= LIMIT_PATH)
        return -1;
    put(b, FIXED + 4 + path + link, 4);
    put(b, e->type, 1);
    put(b, e->block, 1);
    put(b, e->mode, 2);
    put(b, e->uid, 4);
    put(b, e->gid, 4);
    put(b, e->size, 8);
    put(b, (uint64_t)e->mtime, 8);
    put(b, e->major, 4);
    put(b, e->minor, 4);
    put(b, look->links, 4);
    put(b, look->xattrs, 8);
    put(b, (uint64_t)look->changed, 8);
    put(b, look->contents, 8);
    put_string(b, e->path);
    put_string(b, e->link);
    if (!b->overflowed)
        return 0;
    buf_truncate(b, start);
    return -1;
}

bool tree_look_same(const struct tree_look *a, const struct tree_look *b)
{
    const struct tree_entry *x = &a->entry, *y = &b->entry;

    return x->type == y->type && x->block == y->block && x->mode == y->mode && x->uid == y->uid && x->gid == y->gid &&
           x->size == y->size && x->mtime == y->mtime && x->major == y->major && x->minor == y->minor &&
           a->links == b->links && a->xattrs == b->xattrs && strcmp(x->link, y->link) == 0;
}

bool tree_look_doubtful(const struct tree_look *a, const struct tree_look *b)
{
    return a->changed != b->changed;
}

/* ---- reading ---- */

void look_reader_init(struct look_reader *r, size_t ceiling)
{
    *r = (struct look_reader){.in = BUF_INIT(ceiling)};
}

void look_reader_clear(struct look_reader *r)
{
    buf_clear(&r->in);
}

bool look_reader_empty(const struct look_reader *r)
{
    return r->taken == r->in.len;
}

int look_reader_feed(struct look_reader *r, const void *bytes, size_t len, struct err *err)
{
    buf_consume(&r->in, r->taken);
    r->taken = 0;
    return buf_add(&r->in, bytes, len) < 0 ? err_set(err, 1, "more of a list of files than was asked for") : 0;
}

static uint64_t get(const char **at, size_t len)
{
    uint64_t v = 0;

    for (size_t i = 0; i < len; i++)
        v |= (uint64_t)(uint8_t)(*at)[i] << (8 * i);
    *at += len;
    return v;
}

/* A string of the record into its room; false if it does not fit or has a NUL byte inside. */
static bool get_string(const char **at, size_t *left, char room[LIMIT_PATH])
{
    size_t len;

    if (*left < 2)
        return false;
    len = (size_t)get(at, 2);
    *left -= 2;
    if (len > *left || len >= LIMIT_PATH || memchr(*at, '\0', len))
        return false;
    memcpy(room, *at, len);
    room[len] = '\0';
    *at += len;
    *left -= len;
    return true;
}

static int damaged(struct err *err)
{
    return err_set(err, 1, "a damaged list of files");
}

/* The fields agree with each other. */
static bool look_ok(const struct tree_look *l)
{
    const struct tree_entry *e = &l->entry;

    return e->type && e->type < TREE_TYPE_MAX && e->type != TREE_HARDLINK && !(e->mode & ~07777) && *e->path &&
           tree_path_ok(e->path) && e->size <= INT64_MAX && (e->type == TREE_SYMLINK) == (*e->link != '\0');
}

int look_reader_next(struct look_reader *r, struct tree_look *ret, size_t *ret_size, struct err *err)
{
    const char *at = r->in.data + r->taken;
    size_t left = r->in.len - r->taken, len;
    char path[LIMIT_PATH];
    struct tree_look l = {.entry.link = r->link};

    if (left < 4)
        return 0;
    len = (size_t)get(&at, 4);
    if (len < FIXED + 4 || len > LOOK_MAX)
        return damaged(err);
    if (left - 4 < len)
        return 0;
    r->taken += 4 + len;
    left = len - FIXED;
    l.entry.type = (uint8_t)get(&at, 1);
    l.entry.block = get(&at, 1) != 0;
    l.entry.mode = (uint16_t)get(&at, 2);
    l.entry.uid = (uint32_t)get(&at, 4);
    l.entry.gid = (uint32_t)get(&at, 4);
    l.entry.size = get(&at, 8);
    l.entry.mtime = (int64_t)get(&at, 8);
    l.entry.major = (uint32_t)get(&at, 4);
    l.entry.minor = (uint32_t)get(&at, 4);
    l.links = (uint32_t)get(&at, 4);
    l.xattrs = get(&at, 8);
    l.changed = (int64_t)get(&at, 8);
    l.contents = get(&at, 8);
    if (!get_string(&at, &left, path) || !get_string(&at, &left, r->link) || left ||
        (r->begun && tree_path_compare(r->path, path) >= 0))
        return damaged(err);
    memcpy(r->path, path, strlen(path) + 1);
    l.entry.path = r->path;
    if (!look_ok(&l))
        return damaged(err);
    r->begun = true;
    if (ret_size)
        *ret_size = 4 + len;
    *ret = l;
    return 1;
}
