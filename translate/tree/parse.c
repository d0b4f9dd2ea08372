/* Records to values. Everything that comes in is from the other side, which may be hostile. */
#include "translate/tree/record.h"

#include "compat/base/cleanup.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <string.h>

#define SIZE_MAX_FILE ((uint64_t)INT64_MAX)

/* One record's payload; turns bad when it runs out, and yields zeros from then on. */
struct slice {
    const char *at;
    size_t left;
    bool bad;
};

static uint64_t take_integer(struct slice *s, size_t len)
{
    uint64_t v = 0;

    if (s->bad || s->left < len) {
        s->bad = true;
        return 0;
    }
    for (size_t i = 0; i < len; i++)
        v |= (uint64_t)(uint8_t)s->at[i] << (8 * i);
    s->at += len;
    s->left -= len;
    return v;
}

/* owned by caller; NULL and bad when too long or with a NUL byte inside. */
static char *take_string(struct slice *s, size_t max)
{
    size_t len = (size_t)take_integer(s, 2);
    const char *at = s->at;

    if (s->bad || len > max || s->left < len || memchr(at, '\0', len)) {
        s->bad = true;
        return NULL;
    }
    s->at += len;
    s->left -= len;
    return xmemdup(at, len);
}

static bool component_ok(const char *at, size_t len)
{
    return len && len <= LIMIT_NAME && !(len == 1 && at[0] == '.') && !(len == 2 && at[0] == '.' && at[1] == '.');
}

bool tree_path_ok(const char *path)
{
    unsigned depth = 0;

    if (!*path)
        return true;
    if (strlen(path) >= LIMIT_PATH)
        return false;
    for (const char *at = path;; at++) {
        size_t len = strcspn(at, "/");

        if (!component_ok(at, len) || ++depth > LIMIT_DEPTH)
            return false;
        at += len;
        if (!*at)
            return true;
    }
}

static int malformed(struct err *err, const char *what)
{
    return err_set(err, 1, "malformed tree stream: %s", what);
}

/* One name, or what stands for none. */
static bool base_ok(const struct tree_head *head)
{
    if (!strcmp(head->base, "/"))
        return true;
    if (head->flags & (TREE_CONTENTS | TREE_LOOSE))
        return !strcmp(head->base, ".");
    return component_ok(head->base, strlen(head->base)) && !strchr(head->base, '/');
}

static int take_head(struct tree_parser *p, struct slice *s, struct err *err)
{
    uint64_t format = take_integer(s, 1);
    struct tree_head head = {.flags = (uint8_t)take_integer(s, 1)};
    cleanup_free char *base = take_string(s, LIMIT_NAME);

    if (p->headed)
        return malformed(err, "a second head");
    if (s->bad || s->left || format != TREE_FORMAT || head.flags & ~(TREE_CONTENTS | TREE_LOOSE))
        return malformed(err, "an unknown format");
    head.base = base;
    if (!base_ok(&head))
        return malformed(err, "a name that is none");
    p->headed = true;
    p->flags = head.flags;
    return p->events->head(p->arg, &head, err);
}

/* Whether the fields agree with each other. */
static const char *entry_fault(const struct tree_parser *p, const struct tree_entry *e)
{
    bool root = !*e->path, first = !p->entries;

    if (!e->type || e->type >= TREE_TYPE_MAX || e->mode & ~07777)
        return "an unknown type or mode";
    if (!tree_path_ok(e->path))
        return "an impossible path";
    if (p->flags & TREE_LOOSE ? root : root != first)
        return "entries out of order";
    if ((e->type != TREE_FILE && e->size) || e->size > SIZE_MAX_FILE)
        return "an impossible size";
    if (e->type == TREE_HARDLINK && (first || !tree_path_ok(e->link)))
        return "a hard link that leads out of it";
    if ((e->type == TREE_SYMLINK) != (*e->link != '\0') && e->type != TREE_HARDLINK)
        return "a link without text, or a text without link";
    return NULL;
}

static int take_entry(struct tree_parser *p, struct slice *s, struct err *err)
{
    struct tree_entry e = {.type = (uint8_t)take_integer(s, 1)};
    cleanup_free char *path = NULL, *link = NULL;
    const char *fault;

    e.block = take_integer(s, 1) != 0;
    e.mode = (uint16_t)take_integer(s, 2);
    e.uid = (uint32_t)take_integer(s, 4);
    e.gid = (uint32_t)take_integer(s, 4);
    e.mtime = (int64_t)take_integer(s, 8);
    e.size = take_integer(s, 8);
    e.major = (uint32_t)take_integer(s, 4);
    e.minor = (uint32_t)take_integer(s, 4);
    e.path = path = take_string(s, LIMIT_PATH);
    e.link = link = take_string(s, LIMIT_PATH);
    if (s->bad || s->left)
        return malformed(err, "an entry that is cut");
    fault = entry_fault(p, &e);
    if (fault)
        return malformed(err, fault);
    if (++p->entries > LIMIT_ENTRIES)
        return err_set(err, 1, "the tree has more than %u files and directories", LIMIT_ENTRIES);
    p->tar_size += tree_tar_size(&e);
    p->xattrs = 0;
    if (p->events->entry(p->arg, &e, err) < 0)
        return -1;
    p->in_file = e.type == TREE_FILE && e.size;
    p->left = e.size;
    return e.type == TREE_FILE && !e.size ? p->events->file_end(p->arg, err) : 0;
}

static int take_contents(struct tree_parser *p, uint8_t kind, struct slice *s, struct err *err)
{
    uint64_t len = kind == RECORD_HOLE ? take_integer(s, 8) : s->left;
    int status;

    if (s->bad || (kind == RECORD_HOLE && s->left))
        return malformed(err, "a hole that is cut");
    if (!p->in_file || !len || len > p->left)
        return malformed(err, "more contents than were announced");
    p->left -= len;
    status = kind == RECORD_HOLE ? p->events->hole(p->arg, len, err) : p->events->data(p->arg, s->at, s->left, err);
    if (status < 0 || p->left)
        return status;
    p->in_file = false;
    return p->events->file_end(p->arg, err);
}

static int take_xattr(struct tree_parser *p, struct slice *s, struct err *err)
{
    cleanup_free char *name = take_string(s, LIMIT_NAME);

    if (!p->events->xattr || s->bad || !*name || s->left > TREE_CHUNK || ++p->xattrs > TREE_XATTRS_MAX)
        return malformed(err, "an extended attribute that was not expected");
    return p->events->xattr(p->arg, name, s->at, s->left, err);
}

static int take_record(struct tree_parser *p, uint8_t kind, struct slice *s, struct err *err)
{
    if (p->ended || (kind != RECORD_HEAD && !p->headed))
        return malformed(err, "records out of order");
    if (kind == RECORD_DATA || kind == RECORD_HOLE)
        return take_contents(p, kind, s, err);
    if (p->in_file)
        return malformed(err, "fewer contents than were announced");
    switch (kind) {
    case RECORD_HEAD:
        return take_head(p, s, err);
    case RECORD_ENTRY:
        return take_entry(p, s, err);
    case RECORD_XATTR:
        return take_xattr(p, s, err);
    case RECORD_END:
        if (s->left || p->xattrs || (!p->entries && !(p->flags & TREE_LOOSE)))
            return malformed(err, "an end without a tree");
        p->ended = true;
        return p->events->end(p->arg, err);
    default:
        return malformed(err, "an unknown record");
    }
}

void tree_parser_init(struct tree_parser *p, const struct tree_events *events, void *arg)
{
    *p = (struct tree_parser){.in = BUF_INIT(2 * (TREE_PREFIX + TREE_RECORD_MAX)), .events = events, .arg = arg};
}

void tree_parser_clear(struct tree_parser *p)
{
    buf_clear(&p->in);
    p->taken = 0;
}

/* The records that are complete. */
static int hand_out(struct tree_parser *p, struct err *err)
{
    for (;;) {
        struct slice prefix = {.at = p->in.data + p->taken, .left = p->in.len - p->taken}, s;
        uint8_t kind;
        size_t len;

        if (prefix.left < TREE_PREFIX)
            return 0;
        kind = (uint8_t)take_integer(&prefix, 1);
        len = (size_t)take_integer(&prefix, 4);
        if (len > TREE_RECORD_MAX)
            return malformed(err, "a record that is too long");
        if (prefix.left < len)
            return 0;
        s = (struct slice){.at = prefix.at, .left = len};
        p->taken += TREE_PREFIX + len;
        if (take_record(p, kind, &s, err) < 0)
            return -1;
    }
}

int tree_parser_feed(struct tree_parser *p, const void *bytes, size_t len, struct err *err)
{
    const char *at = bytes;

    while (len) {
        size_t piece = len < TREE_CHUNK ? len : TREE_CHUNK;

        buf_consume(&p->in, p->taken);
        p->taken = 0;
        buf_add(&p->in, at, piece); /* what is left is less than a record: it fits */
        at += piece;
        len -= piece;
        if (hand_out(p, err) < 0)
            return -1;
    }
    return 0;
}

int tree_parser_finish(const struct tree_parser *p, struct err *err)
{
    return p->ended ? 0 : malformed(err, "it ends too early");
}
