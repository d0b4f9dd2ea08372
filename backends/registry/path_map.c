#include "backends/registry/path_map.h"

#include "compat/base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Open addressing; never more than half full. */
struct slot {
    char *path;
    size_t len;
    struct path_facts facts;
};

struct path_map {
    struct slot *slots;
    size_t cap, used, max;
};

/* FNV-1a. Names come from an image, whose maker gains nothing from a slow table but a slow load of his own image. */
static size_t hash(const char *path, size_t len)
{
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)path[i]) * 1099511628211u;
    return (size_t)(h ^ (h >> 32));
}

struct path_map *path_map_new(size_t max)
{
    struct path_map *m = xcalloc(1, sizeof(*m));

    *m = (struct path_map){.cap = 1024, .max = max};
    m->slots = xcalloc(m->cap, sizeof(*m->slots));
    return m;
}

void path_map_free(struct path_map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->cap; i++) {
        free(m->slots[i].path);
        free(m->slots[i].facts.name);
    }
    free(m->slots);
    free(m);
}

/* The slot of a path, or the empty one where it would go. */
static struct slot *find(const struct path_map *m, const char *path, size_t len)
{
    size_t i = hash(path, len) & (m->cap - 1);

    while (m->slots[i].path && (m->slots[i].len != len || memcmp(m->slots[i].path, path, len) != 0))
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

static void grow(struct path_map *m)
{
    struct path_map bigger = {.cap = m->cap * 2, .max = m->max, .used = m->used};

    bigger.slots = xcalloc(bigger.cap, sizeof(*bigger.slots));
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].path)
            *find(&bigger, m->slots[i].path, m->slots[i].len) = m->slots[i];
    }
    free(m->slots);
    *m = bigger;
}

struct path_facts *path_map_put(struct path_map *m, const char *path, size_t len)
{
    struct slot *slot = find(m, path, len);

    if (slot->path)
        return &slot->facts;
    if (m->used >= m->max)
        return NULL;
    if ((m->used + 1) * 2 > m->cap) {
        grow(m);
        slot = find(m, path, len);
    }
    m->used++;
    slot->path = xmemdup(path, len);
    slot->len = len;
    return &slot->facts;
}

const struct path_facts *path_map_get(const struct path_map *m, const char *path, size_t len)
{
    const struct slot *slot = find(m, path, len);

    return slot->path ? &slot->facts : NULL;
}
