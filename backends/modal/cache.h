/*
 * What the client remembers between two commands so that a round trip can be saved: auth token, app id, builder
 * version, image and mount ids, a task's router. All are small strings under a key, with a time to live. A cache may
 * forget anything at any time; it must never return an entry after its time. Some values are secrets (tokens), so a
 * cache on disk belongs in a file that only its owner can read.
 */
#ifndef ATP_MODAL_CACHE_H
#define ATP_MODAL_CACHE_H

#include <stdint.h>

struct modal_cache {
    char *(*get)(void *arg, const char *key); /* owned by caller; NULL: not there */
    void (*put)(void *arg, const char *key, const char *value, int64_t ttl_s);
    void (*drop)(void *arg, const char *key);
    void *arg;
};

#define MODAL_CACHE_DAY   86400
#define MODAL_CACHE_MONTH (30 * MODAL_CACHE_DAY)

/* A cache that lives as long as the process. modal_cache_memory_free(NULL) is fine. */
struct modal_cache *modal_cache_memory_new(void);
void modal_cache_memory_free(struct modal_cache *cache);

#endif
