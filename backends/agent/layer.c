/*
 * What an image holds, for servers that do not tell: a list of all of it, the layer that makes it out of another image
 * whose list the client sends, and the configuration that came with it. Asked in a sandbox where nothing else runs.
 */
#include "backends/agent/answer.h"
#include "backends/agent/layer_walk.h"
#include "backends/agent/link.h"
#include "backends/sync/extent.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/beneath.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUT_ROUND   (256u << 10)             /* gathered before it is sent */
#define OUT_MAX     (OUT_ROUND + (8u << 20)) /* and one entry with all its extended attributes */
#define CREDIT_STEP (WIRE_WINDOW / 8)
#define BASE_MAX    (WIRE_WINDOW + LIMIT_FRAME)

/* A file with several names that is in the layer already: a table by inode. */
struct written {
    uint64_t ino, dev;
    char *path; /* owned; NULL = free slot */
};

struct layer {
    struct layer_walk *walk;
    struct buf out;
    size_t sent;
    bool said;     /* all of it is in `out` */
    bool contents; /* LIST: their digests too */

    /* LAYER only */
    struct look_reader base;
    struct tree_look below; /* of base, when `waiting` */
    bool waiting, base_ended;
    size_t uncredited;
    struct tree_look look; /* of ours, when `have` */
    bool have, walked;
    char *gone; /* owned: a path of base whose end was said, with all below it */
    struct written *written;
    size_t written_len, written_cap;
    int file;
    struct extent_reader extent;
    uint8_t bytes[TREE_CHUNK];
};

static struct layer *layer_of(struct answer *a)
{
    return a->state;
}

static struct layer *layer_begin(struct answer *a, struct err *err)
{
    struct layer *l = xcalloc(1, sizeof(*l));

    a->state = l;
    l->file = -1;
    buf_init(&l->out, OUT_MAX);
    look_reader_init(&l->base, BASE_MAX);
    l->walk = layer_walk_new(err);
    return l->walk ? l : NULL;
}

static void layer_clear(struct answer *a)
{
    struct layer *l = a->state;

    if (!l)
        return;
    layer_walk_free(l->walk);
    buf_clear(&l->out);
    look_reader_clear(&l->base);
    for (size_t i = 0; i < l->written_cap; i++)
        free(l->written[i].path);
    free(l->written);
    free(l->gone);
    if (l->file >= 0)
        close(l->file);
    free(l);
}

/* Sends what was gathered: true when all of it is gone and there may be more. */
static bool send_gathered(struct answer *a)
{
    struct layer *l = layer_of(a);

    while (l->sent < l->out.len) {
        size_t room = answer_room(a), n = l->out.len - l->sent;

        if (!room)
            return false;
        if (n > WIRE_CHUNK)
            n = WIRE_CHUNK;
        if (n > room)
            n = room;
        answer_send(a, WIRE_TREE, l->out.data + l->sent, n);
        l->sent += n;
    }
    buf_reset(&l->out);
    l->sent = 0;
    if (!l->said)
        return true;
    answer_send(a, WIRE_TREE_END, NULL, 0);
    answer_done(a);
    return false;
}

/* Gathers by step (1: go on, 0: what is missing comes later, -1) and sends, as far as it goes. */
static void run(struct answer *a, int (*step)(struct layer *l, struct err *err))
{
    cleanup_err struct err err = ERR_INIT;
    struct layer *l = layer_of(a);
    int got = 1;

    while (!a->over && got > 0 && send_gathered(a)) {
        while (got > 0 && !l->said && l->out.len < OUT_ROUND)
            got = step(l, &err);
        if (got == 0)
            send_gathered(a);
    }
    if (got < 0 && !a->over) {
        if (!err.msg)
            err_set(&err, 1, "no room for what the image holds");
        answer_refuse(a, &err);
    }
}

/* ---- the list ---- */

static int list_step(struct layer *l, struct err *err)
{
    struct tree_look look;
    int got = layer_walk_next(l->walk, &look, err);

    l->said = got == 0;
    if (got > 0 && l->contents && look.entry.size && layer_walk_digest(l->walk, &look.contents, err) < 0)
        return -1;
    if (got > 0)
        got = tree_put_look(&l->out, &look);
    return got < 0 ? -1 : 1;
}

static void list_go_on(struct answer *a)
{
    run(a, list_step);
}

static int list_start(struct answer *a, struct err *err)
{
    struct layer *l = layer_begin(a, err);

    if (!l)
        return -1;
    l->contents = a->ask.flags & WIRE_ASK_CONTENTS;
    list_go_on(a);
    return 0;
}

const struct answer_kind answer_list = {.start = list_start, .go_on = list_go_on, .clear = layer_clear};

/* ---- one file of the layer ---- */

static struct written *slot_of(const struct layer *l, uint64_t ino, uint64_t dev)
{
    size_t at = (size_t)((ino ^ dev << 32) * 0x9e3779b97f4a7c15u >> 20) & (l->written_cap - 1);

    while (l->written[at].path && (l->written[at].ino != ino || l->written[at].dev != dev))
        at = (at + 1) & (l->written_cap - 1);
    return &l->written[at];
}

static void grow_written(struct layer *l)
{
    struct written *old = l->written;
    size_t cap = l->written_cap;

    l->written_cap = cap ? cap * 2 : 64;
    l->written = xcalloc(l->written_cap, sizeof(*l->written));
    for (size_t i = 0; i < cap; i++)
        if (old[i].path)
            *slot_of(l, old[i].ino, old[i].dev) = old[i];
    free(old);
}

/* The name under which the file is in the layer already, NULL if it is not; then it is from now on. */
static const char *other_name(struct layer *l, const struct stat *st, const char *path)
{
    struct written *slot;

    if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
        return NULL;
    if (l->written_len * 2 >= l->written_cap)
        grow_written(l);
    slot = slot_of(l, st->st_ino, st->st_dev);
    if (slot->path)
        return slot->path;
    *slot = (struct written){.ino = st->st_ino, .dev = st->st_dev, .path = xstrdup(path)};
    l->written_len++;
    return NULL;
}

static int put_xattr(void *arg, const char *name, const void *value, size_t len, struct err *err)
{
    (void)err;
    return tree_put_xattr(arg, name, value, len);
}

/* The file's contents come piece by piece after this. Its size is that of the opened file. */
static int open_file(struct layer *l, struct tree_entry *e)
{
    struct stat st;

    l->file = layer_walk_open(l->walk, &st);
    if (l->file < 0)
        return -1;
    e->size = (uint64_t)st.st_size;
    extent_init(&l->extent, l->file, &st);
    return 0;
}

static void end_file(struct layer *l)
{
    close(l->file);
    l->file = -1;
}

/* Ours goes into the layer. ".wh." is what a layer says removals by: such a file cannot be in one. */
static int write_entry(struct layer *l, struct err *err)
{
    struct tree_entry e = l->look.entry;
    const char *slash = strrchr(e.path, '/'), *first;

    if (!strncmp(slash ? slash + 1 : e.path, ".wh.", 4))
        return 0;
    e.mtime = beneath_mtime(layer_walk_stat(l->walk));
    first = other_name(l, layer_walk_stat(l->walk), e.path);
    if (first) {
        e.type = TREE_HARDLINK;
        e.link = first;
        e.size = 0;
        return tree_put_entry(&l->out, &e);
    }
    if (e.type == TREE_FILE && open_file(l, &e) < 0)
        return err_set(err, 1, "/%s cannot be read", e.path);
    if (layer_xattrs(e.path, put_xattr, &l->out, err) < 0 || tree_put_entry(&l->out, &e) < 0)
        return -1;
    if (e.type == TREE_FILE && !e.size)
        end_file(l);
    return 0;
}

/* The next piece of the open file; one that shrank is filled up. */
static int write_contents(struct layer *l, struct err *err)
{
    uint64_t hole = 0, size = l->extent.size, at = l->extent.at;
    ssize_t n = extent_read(&l->extent, l->bytes, sizeof(l->bytes), &hole);
    int status;

    if (n < 0)
        return err_set(err, 1, "/%s cannot be read", l->look.entry.path);
    if (n > 0) {
        status = tree_put_data(&l->out, l->bytes, (size_t)n);
    } else {
        hole = hole ? hole : size - at;
        l->extent.at = at + hole;
        status = tree_put_hole(&l->out, hole);
    }
    if (l->extent.at >= size)
        end_file(l);
    return status < 0 ? -1 : 1;
}

/* ---- the comparison ---- */

/* What base has and we have not: said once, for the uppermost of it. */
static int write_removal(struct layer *l, const char *path)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *name = NULL;
    struct tree_entry e = {.type = TREE_FILE, .mode = 0600, .link = ""};

    if (l->gone && tree_path_within(path, l->gone))
        return 0;
    free(l->gone);
    l->gone = xstrdup(path);
    name = slash ? xasprintf("%.*s/.wh.%s", (int)(slash - path), path, slash + 1) : xasprintf(".wh.%s", path);
    e.path = name;
    return tree_put_entry(&l->out, &e);
}

/* A file in the place of a directory takes its contents along. */
static void note_replaced(struct layer *l)
{
    if (l->below.entry.type != TREE_DIR || l->look.entry.type == TREE_DIR)
        return;
    free(l->gone);
    l->gone = xstrdup(l->below.entry.path);
}

/* Both have the same name: is it the same file? 1, 0. */
static int is_same(const struct layer *l, struct err *err)
{
    uint64_t contents;

    if (!tree_look_same(&l->look, &l->below))
        return 0;
    if (!tree_look_doubtful(&l->look, &l->below))
        return 1;
    if (!l->below.contents)
        return err_set(err, WIRE_LAYER_CONTENTS, "the list must have the contents");
    return layer_walk_digest(l->walk, &contents, err) < 0 ? -1 : contents == l->below.contents;
}

/* Both sides have their next one, or have ended: 1. 0: base's is still to come. */
static int refill(struct layer *l, struct err *err)
{
    int got;

    if (!l->waiting) {
        size_t size = 0;

        got = look_reader_next(&l->base, &l->below, &size, err);
        if (got < 0 || (got == 0 && l->base_ended && !look_reader_empty(&l->base)))
            return got < 0 ? -1 : err_set(err, 1, "the list of files is cut");
        if (got == 0 && !l->base_ended)
            return 0;
        l->waiting = got > 0;
        l->uncredited += size;
    }
    if (!l->have && !l->walked) {
        got = layer_walk_next(l->walk, &l->look, err);
        if (got < 0)
            return -1;
        l->have = got > 0;
        l->walked = got == 0;
    }
    return 1;
}

static int layer_step(struct layer *l, struct err *err)
{
    int order, got;

    if (l->file >= 0)
        return write_contents(l, err);
    got = refill(l, err);
    if (got <= 0)
        return got;
    if (!l->have && !l->waiting) {
        l->said = true;
        return tree_put_end(&l->out) < 0 ? -1 : 1;
    }
    order = !l->waiting ? -1 : !l->have ? 1 : tree_path_compare(l->look.entry.path, l->below.entry.path);
    if (order > 0) {
        l->waiting = false;
        return write_removal(l, l->below.entry.path) < 0 ? -1 : 1;
    }
    got = order == 0 ? is_same(l, err) : 0;
    if (got == 0)
        got = write_entry(l, err);
    if (order == 0) {
        note_replaced(l);
        l->waiting = false;
    }
    l->have = false;
    return got < 0 ? -1 : 1;
}

static void layer_go_on(struct answer *a)
{
    struct layer *l = layer_of(a);

    run(a, layer_step);
    if (l->uncredited < CREDIT_STEP || a->over || l->base_ended)
        return;
    wire_put_credit(&a->client->queue, WIRE_STREAM_STDIN, (uint32_t)l->uncredited);
    link_send(a->client);
    l->uncredited = 0;
}

static int layer_start(struct answer *a, struct err *err)
{
    static const struct tree_head head = {.flags = TREE_LOOSE, .base = "."};
    struct layer *l = layer_begin(a, err);

    if (!l)
        return -1;
    tree_put_head(&l->out, &head);
    layer_go_on(a);
    return 0;
}

static int layer_frame(struct answer *a, const struct wire_frame *f, struct err *err)
{
    struct layer *l = layer_of(a);

    if (l->base_ended)
        return err_set(err, 125, "%s frame after the end of the list", wire_type_name(f->type));
    if (f->type == WIRE_TREE_END)
        l->base_ended = true;
    else if (look_reader_feed(&l->base, f->data, f->len, err) < 0)
        return -1;
    layer_go_on(a);
    return 0;
}

const struct answer_kind answer_layer = {
    .start = layer_start, .frame = layer_frame, .go_on = layer_go_on, .clear = layer_clear};
