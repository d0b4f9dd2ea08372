/* Values to records. */
#include "translate/tree/record.h"

#include "compat/base/limits.h"

#include <string.h>

#define TAR_BLOCK 512u

static void store(char *to, uint64_t v, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (char)(v >> (8 * i));
}

static void add_integer(struct buf *b, uint64_t v, size_t len)
{
    char bytes[8];

    store(bytes, v, len);
    buf_add(b, bytes, len);
}

static void add_string(struct buf *b, const char *s)
{
    size_t len = strlen(s);

    add_integer(b, len, 2);
    buf_add(b, s, len);
}

static size_t begin(struct buf *b, uint8_t kind)
{
    size_t start = b->len;

    add_integer(b, kind, 1);
    add_integer(b, 0, 4); /* the length, known at the end */
    return start;
}

/* Writes the length; takes the record back if it did not fit. */
static int end(struct buf *b, size_t start)
{
    size_t len = b->len - start;

    if (b->overflowed || len - TREE_PREFIX > TREE_RECORD_MAX) {
        buf_truncate(b, start);
        return -1;
    }
    store(b->data + start + 1, len - TREE_PREFIX, 4);
    return 0;
}

int tree_put_head(struct buf *b, const struct tree_head *head)
{
    size_t start;

    if (strlen(head->base) > LIMIT_NAME)
        return -1;
    start = begin(b, RECORD_HEAD);
    add_integer(b, TREE_FORMAT, 1);
    add_integer(b, head->flags, 1);
    add_string(b, head->base);
    return end(b, start);
}

int tree_put_entry(struct buf *b, const struct tree_entry *e)
{
    size_t start;

    if (strlen(e->path) > LIMIT_PATH || strlen(e->link) > LIMIT_PATH)
        return -1;
    start = begin(b, RECORD_ENTRY);
    add_integer(b, e->type, 1);
    add_integer(b, e->block, 1);
    add_integer(b, e->mode, 2);
    add_integer(b, e->uid, 4);
    add_integer(b, e->gid, 4);
    add_integer(b, (uint64_t)e->mtime, 8);
    add_integer(b, e->size, 8);
    add_integer(b, e->major, 4);
    add_integer(b, e->minor, 4);
    add_string(b, e->path);
    add_string(b, e->link);
    return end(b, start);
}

int tree_put_xattr(struct buf *b, const char *name, const void *value, size_t len)
{
    size_t start;

    if (strlen(name) > LIMIT_NAME || len > TREE_CHUNK)
        return -1;
    start = begin(b, RECORD_XATTR);
    add_string(b, name);
    buf_add(b, value, len);
    return end(b, start);
}

int tree_put_data(struct buf *b, const void *bytes, size_t len)
{
    size_t start;

    if (len > TREE_CHUNK)
        return -1;
    start = begin(b, RECORD_DATA);
    buf_add(b, bytes, len);
    return end(b, start);
}

int tree_put_hole(struct buf *b, uint64_t len)
{
    size_t start = begin(b, RECORD_HOLE);

    add_integer(b, len, 8);
    return end(b, start);
}

int tree_put_end(struct buf *b)
{
    return end(b, begin(b, RECORD_END));
}

uint64_t tree_tar_size(const struct tree_entry *e)
{
    return TAR_BLOCK + (e->size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}
