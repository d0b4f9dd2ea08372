#include "backends/modal/cache.h"

#include "compat/base/alloc.h"
#include "compat/sys/loop.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct entry *next;
    char *key, *value;
    int64_t until; /* loop_now() */
};

struct memory {
    struct modal_cache cache; /* first: the caller's handle */
    struct entry *entries;
};

static void entry_free(struct entry *e)
{
    free(e->key);
    free(e->value);
    free(e);
}

/* The place that points to the entry, or to the NULL at the end. Entries that are over go on the way. */
static struct entry **find(struct memory *m, const char *key)
{
    struct entry **p = &m->entries;

    while (*p) {
        struct entry *e = *p;

        if (e->until <= loop_now()) {
            *p = e->next;
            entry_free(e);
            continue;
        }
        if (strcmp(e->key, key) == 0)
            break;
        p = &e->next;
    }
    return p;
}

static char *memory_get(void *arg, const char *key)
{
    struct entry *e = *find(arg, key);

    return e ? xstrdup(e->value) : NULL;
}

static void memory_drop(void *arg, const char *key)
{
    struct entry **p = find(arg, key), *e = *p;

    if (!e)
        return;
    *p = e->next;
    entry_free(e);
}

static void memory_put(void *arg, const char *key, const char *value, int64_t ttl_s)
{
    struct memory *m = arg;
    struct entry *e;

    memory_drop(arg, key);
    if (ttl_s <= 0)
        return;
    e = xcalloc(1, sizeof(*e));
    *e = (struct entry){.next = m->entries, .key = xstrdup(key), .value = xstrdup(value)};
    e->until = loop_now() + ttl_s * 1000;
    m->entries = e;
}

struct modal_cache *modal_cache_memory_new(void)
{
    struct memory *m = xcalloc(1, sizeof(*m));

    m->cache = (struct modal_cache){.get = memory_get, .put = memory_put, .drop = memory_drop, .arg = m};
    return &m->cache;
}

void modal_cache_memory_free(struct modal_cache *cache)
{
    struct memory *m = (struct memory *)cache;

    while (m && m->entries) {
        struct entry *e = m->entries;

        m->entries = e->next;
        entry_free(e);
    }
    free(m);
}
