/* A document when it is whole: merge keys, !reset and !override. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/yaml.h"

#include <stdlib.h>
#include <string.h>

#define MERGE_KEY   "<<"
#define CUTS_LENGTH (4u << 20) /* bytes of all paths together */

struct finish {
    struct yaml_doc *doc;
    struct buf path; /* parts with dots between them; a dot inside a key is \1 */
    size_t cuts_len;
    struct err *err;
};

/* Adds a part to the path; returns the length to go back to. */
static size_t push(struct finish *f, const char *key)
{
    size_t before = f->path.len;

    if (before)
        buf_addc(&f->path, '.');
    for (; *key; key++)
        buf_addc(&f->path, *key == '.' && before ? '\1' : *key);
    return before;
}

/* Notes the place: what is merged in by "<<" stands where the map stands. */
static int note_cut(struct finish *f)
{
    const char *merged = strstr(f->path.data, "." MERGE_KEY);
    size_t skip = strlen("." MERGE_KEY);

    f->cuts_len += f->path.len;
    if (f->doc->cuts.len >= LIMIT_COMPOSE_CUTS || f->cuts_len > CUTS_LENGTH || f->path.overflowed)
        return err_set(f->err, 1, "yaml: more than %u uses of !reset and !override", LIMIT_COMPOSE_CUTS);
    if (merged)
        strlist_addf(&f->doc->cuts, "%.*s%s", (int)(merged - f->path.data), f->path.data, merged + skip);
    else
        strlist_add(&f->doc->cuts, f->path.data);
    return 0;
}

/* Adds the pairs of a merged map that the map has not itself. */
static int merge_one(struct cnode *map, struct cnode *from, struct err *err)
{
    if (from->kind != CNODE_MAP)
        return err_set(err, 1, "yaml: map merge requires map or sequence of maps as the value");
    for (size_t i = 0; i < from->len; i++) {
        if (cnode_get(map, from->keys[i]))
            continue;
        cnode_set(map, from->keys[i], from->items[i]);
        from->items[i] = cnode_new(CNODE_NULL);
    }
    return 0;
}

static int merge_key(struct cnode *map, struct err *err)
{
    struct cnode *from = cnode_take(map, MERGE_KEY);
    int rc = 0;

    if (!from)
        return 0;
    if (from->kind == CNODE_LIST) {
        for (size_t i = 0; rc == 0 && i < from->len; i++)
            rc = merge_one(map, from->items[i], err);
    } else {
        rc = merge_one(map, from, err);
    }
    cnode_free(from);
    return rc;
}

static int finish(struct finish *f, struct cnode *n, bool noting);

/* One child; *ret_gone: it was reset, so it is no part of the document. */
static int finish_child(struct finish *f, const struct cnode *parent, size_t i, bool noting, bool *ret_gone)
{
    struct cnode *child = parent->items[i];
    char number[24];
    size_t before;
    int rc = 0;

    *ret_gone = false;
    snprintf(number, sizeof(number), "%zu", i);
    before = push(f, parent->kind == CNODE_MAP ? parent->keys[i] : number);
    if (noting && child->tag != CNODE_PLAIN)
        rc = note_cut(f);
    *ret_gone = noting && child->tag == CNODE_RESET;
    if (rc == 0 && !*ret_gone)
        rc = finish(f, child, noting && child->tag == CNODE_PLAIN);
    child->tag = CNODE_PLAIN;
    buf_truncate(&f->path, before);
    return rc;
}

/* Below !override nothing more is noted: the whole of it replaces. */
static int finish(struct finish *f, struct cnode *n, bool noting)
{
    struct cnode *kept;

    if (n->kind != CNODE_LIST && n->kind != CNODE_MAP)
        return 0;
    kept = cnode_new(n->kind);
    for (size_t i = 0; i < n->len; i++) {
        bool gone;

        if (finish_child(f, n, i, noting, &gone) < 0) {
            cnode_free(kept);
            return -1;
        }
        if (gone)
            continue;
        if (n->kind == CNODE_MAP)
            cnode_set(kept, n->keys[i], n->items[i]);
        else
            cnode_add(kept, n->items[i]);
        n->items[i] = NULL;
    }
    cnode_swap_children(n, kept);
    cnode_free(kept);
    return n->kind == CNODE_MAP ? merge_key(n, f->err) : 0;
}

int yaml_finish(struct yaml_doc *doc, struct err *err)
{
    struct finish f = {.doc = doc, .path = BUF_INIT(CUTS_LENGTH), .err = err};
    int rc = doc->root ? finish(&f, doc->root, /* noting= */ true) : 0;

    buf_clear(&f.path);
    return rc;
}
