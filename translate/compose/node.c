#include "translate/compose/node.h"

#include "compat/base/alloc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Maps of more keys than this are looked through by way of an index. */
#define INDEX_FROM 24

/* Where each key stands: open addressing, positions + 1, 0 is free. Rebuilt when the map has changed its length. */
struct cnode_index {
    size_t size, len;
    uint32_t slots[];
};

struct cnode *cnode_new(enum cnode_kind kind)
{
    struct cnode *n = xcalloc(1, sizeof(*n));

    n->kind = kind;
    return n;
}

struct cnode *cnode_string(const char *text)
{
    struct cnode *n = cnode_new(CNODE_STRING);

    n->text = xstrdup(text);
    return n;
}

struct cnode *cnode_int(int64_t value)
{
    struct cnode *n = cnode_new(CNODE_INT);

    n->text = xasprintf("%" PRId64, value);
    return n;
}

struct cnode *cnode_bool(bool value)
{
    struct cnode *n = cnode_new(CNODE_BOOL);

    n->text = xstrdup(value ? "true" : "false");
    return n;
}

void cnode_free(struct cnode *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->len; i++) {
        cnode_free(n->items[i]);
        if (n->keys)
            free(n->keys[i]);
    }
    free(n->items);
    free(n->keys);
    free(n->index);
    free(n->text);
    free(n);
}

void cnode_place(struct cnode *n, const struct cnode *from)
{
    n->file = from->file;
    n->line = from->line;
    n->column = from->column;
}

struct cnode *cnode_copy(const struct cnode *n)
{
    struct cnode *copy;

    if (!n)
        return NULL;
    copy = cnode_new(n->kind);
    copy->tag = n->tag;
    copy->text = xstrdup(n->text);
    cnode_place(copy, n);
    copy->len = copy->size = n->len;
    if (n->len == 0)
        return copy;
    copy->items = xreallocarray(NULL, n->len, sizeof(*copy->items));
    if (n->keys)
        copy->keys = xreallocarray(NULL, n->len, sizeof(*copy->keys));
    for (size_t i = 0; i < n->len; i++) {
        copy->items[i] = cnode_copy(n->items[i]);
        if (n->keys)
            copy->keys[i] = xstrdup(n->keys[i]);
    }
    return copy;
}

/* ---- maps ---- */

static uint32_t hash(const char *s)
{
    uint32_t h = 2166136261u;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

static void index_put(struct cnode_index *index, const char *key, size_t position)
{
    size_t at = hash(key) & (index->size - 1);

    while (index->slots[at])
        at = (at + 1) & (index->size - 1);
    index->slots[at] = (uint32_t)position + 1;
    index->len++;
}

static void index_build(struct cnode *map)
{
    size_t size = 64;

    while (size < map->len * 3)
        size *= 2;
    free(map->index);
    map->index = xcalloc(1, sizeof(*map->index) + size * sizeof(map->index->slots[0]));
    map->index->size = size;
    for (size_t i = 0; i < map->len; i++)
        index_put(map->index, map->keys[i], i);
}

/* Forgets where the keys stand: they have moved. */
static void index_drop(struct cnode *map)
{
    free(map->index);
    map->index = NULL;
}

/* Position of a key, or -1. */
static ptrdiff_t find(const struct cnode *map, const char *key)
{
    size_t at;

    if (!map || map->kind != CNODE_MAP)
        return -1;
    if (map->len < INDEX_FROM) {
        for (size_t i = 0; i < map->len; i++)
            if (!strcmp(map->keys[i], key))
                return (ptrdiff_t)i;
        return -1;
    }
    if (!map->index || map->index->len != map->len)
        index_build((struct cnode *)(uintptr_t)map);
    at = hash(key) & (map->index->size - 1);
    for (; map->index->slots[at]; at = (at + 1) & (map->index->size - 1))
        if (!strcmp(map->keys[map->index->slots[at] - 1], key))
            return (ptrdiff_t)map->index->slots[at] - 1;
    return -1;
}

struct cnode *cnode_get(const struct cnode *map, const char *key)
{
    ptrdiff_t i = find(map, key);

    return i < 0 ? NULL : map->items[i];
}

struct cnode *cnode_path(const struct cnode *map, const char *path)
{
    const struct cnode *n = map;

    while (n && *path) {
        size_t len = strcspn(path, ".");
        char *key = xstrndup(path, len);

        n = cnode_get(n, key);
        free(key);
        path += len + (path[len] == '.');
    }
    return (struct cnode *)(uintptr_t)n;
}

/* Makes room for one more child. */
static void grow(struct cnode *n)
{
    if (n->len < n->size)
        return;
    n->size = n->size ? n->size * 2 : 4;
    n->items = xreallocarray(n->items, n->size, sizeof(*n->items));
    if (n->kind == CNODE_MAP)
        n->keys = xreallocarray(n->keys, n->size, sizeof(*n->keys));
}

void cnode_set(struct cnode *map, const char *key, struct cnode *value)
{
    ptrdiff_t i = find(map, key);

    if (i >= 0) {
        if (map->items[i] != value)
            cnode_free(map->items[i]);
        map->items[i] = value;
        return;
    }
    grow(map);
    map->keys[map->len] = xstrdup(key);
    map->items[map->len] = value;
    if (map->index && map->index->len == map->len && map->index->size > map->len * 2)
        index_put(map->index, key, map->len);
    map->len++;
}

static struct cnode *take_at(struct cnode *n, size_t i)
{
    struct cnode *value = n->items[i];

    memmove(&n->items[i], &n->items[i + 1], (n->len - i - 1) * sizeof(*n->items));
    if (n->keys) {
        free(n->keys[i]);
        memmove(&n->keys[i], &n->keys[i + 1], (n->len - i - 1) * sizeof(*n->keys));
    }
    n->len--;
    index_drop(n);
    return value;
}

struct cnode *cnode_take(struct cnode *map, const char *key)
{
    ptrdiff_t i = find(map, key);

    return i < 0 ? NULL : take_at(map, (size_t)i);
}

struct cnode *cnode_take_value(struct cnode *map, const char *key)
{
    ptrdiff_t i = find(map, key);
    struct cnode *value;

    if (i < 0)
        return NULL;
    value = map->items[i];
    map->items[i] = NULL;
    return value;
}

void cnode_remove(struct cnode *map, const char *key)
{
    cnode_free(cnode_take(map, key));
}

struct pair {
    char *key;
    struct cnode *item;
};

static int compare_pairs(const void *a, const void *b)
{
    return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

void cnode_sort(struct cnode *map)
{
    struct pair *pairs;

    if (!map || map->kind != CNODE_MAP || map->len < 2)
        return;
    pairs = xreallocarray(NULL, map->len, sizeof(*pairs));
    for (size_t i = 0; i < map->len; i++)
        pairs[i] = (struct pair){map->keys[i], map->items[i]};
    qsort(pairs, map->len, sizeof(*pairs), compare_pairs);
    for (size_t i = 0; i < map->len; i++) {
        map->keys[i] = pairs[i].key;
        map->items[i] = pairs[i].item;
    }
    free(pairs);
    index_drop(map);
}

/* ---- lists ---- */

void cnode_add(struct cnode *list, struct cnode *value)
{
    grow(list);
    list->items[list->len++] = value;
}

void cnode_list_remove(struct cnode *list, size_t i)
{
    if (i < list->len)
        cnode_free(take_at(list, i));
}

void cnode_swap_children(struct cnode *a, struct cnode *b)
{
    struct cnode was = *a;

    a->items = b->items;
    a->keys = b->keys;
    a->len = b->len;
    a->size = b->size;
    a->index = b->index;
    b->items = was.items;
    b->keys = was.keys;
    b->len = was.len;
    b->size = was.size;
    b->index = was.index;
}

/* ---- reading ---- */

bool cnode_is(const struct cnode *n, enum cnode_kind kind)
{
    return n && n->kind == kind;
}

const char *cnode_text(const struct cnode *n)
{
    return n && n->kind != CNODE_LIST && n->kind != CNODE_MAP ? n->text : NULL;
}

const char *cnode_str(const struct cnode *map, const char *key)
{
    return cnode_text(cnode_get(map, key));
}

bool cnode_true(const struct cnode *map, const char *key)
{
    const struct cnode *n = cnode_get(map, key);

    return cnode_is(n, CNODE_BOOL) && !strcmp(n->text, "true");
}

int64_t cnode_number(const struct cnode *map, const char *key, int64_t otherwise)
{
    const char *text = cnode_str(map, key);
    char *end;
    int64_t value;

    if (!text || !*text)
        return otherwise;
    errno = 0;
    value = strtoll(text, &end, 10);
    return errno || *end ? otherwise : value;
}

bool cnode_same(const struct cnode *a, const struct cnode *b)
{
    if (!a || !b)
        return a == b;
    if (a->kind != b->kind || a->len != b->len || (!a->text != !b->text) || (a->text && strcmp(a->text, b->text)))
        return false;
    for (size_t i = 0; i < a->len; i++) {
        const struct cnode *other = a->kind == CNODE_MAP ? cnode_get(b, a->keys[i]) : b->items[i];

        if (!other || !cnode_same(a->items[i], other))
            return false;
    }
    return true;
}

/* ---- names of files ---- */

struct file_name {
    struct file_name *next;
    char name[];
};

const char *compose_file_name(const char *name)
{
    static struct file_name *all; /* as many as a load has files; places point at them until the process ends */
    struct file_name *f;
    size_t size = strlen(name) + 1;

    for (f = all; f; f = f->next)
        if (!strcmp(f->name, name))
            return f->name;
    f = xmalloc(sizeof(*f) + size);
    memcpy(f->name, name, size);
    f->next = all;
    all = f;
    return f->name;
}
