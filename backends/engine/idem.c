#include "backends/engine/idem.h"

#include "compat/base/alloc.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define IDEM_SLOTS  4096 /* a retry comes within seconds; this many creates do not */
#define IDEM_ANSWER 65536

/* One per slot, chosen by a hash: a newer answer in the same slot replaces the older one. */
struct entry {
    char *key; /* "method\nkey" */
    void *answer;
    size_t len;
};

struct idem {
    struct entry slots[IDEM_SLOTS];
};

struct idem *idem_new(void)
{
    return xcalloc(1, sizeof(struct idem));
}

void idem_free(struct idem *i)
{
    if (!i)
        return;
    for (size_t n = 0; n < IDEM_SLOTS; n++) {
        free(i->slots[n].key);
        free(i->slots[n].answer);
    }
    free(i);
}

/* FNV-1a over "method\nkey". */
static size_t slot_of(const char *full)
{
    uint64_t hash = 14695981039346656037u;

    for (; *full; full++)
        hash = (hash ^ (unsigned char)*full) * 1099511628211u;
    return (size_t)(hash % IDEM_SLOTS);
}

const void *idem_get(const struct idem *i, const char *method, const char *key, size_t *ret_len)
{
    char *full = xasprintf("%s\n%s", method, key);
    const struct entry *entry = &i->slots[slot_of(full)];
    bool found = entry->key && strcmp(entry->key, full) == 0;

    free(full);
    if (!found)
        return NULL;
    *ret_len = entry->len;
    return entry->answer;
}

void idem_put(struct idem *i, const char *method, const char *key, const void *answer, size_t len)
{
    char *full;
    struct entry *entry;

    if (len > IDEM_ANSWER)
        return;
    full = xasprintf("%s\n%s", method, key);
    entry = &i->slots[slot_of(full)];
    free(entry->key);
    free(entry->answer);
    *entry = (struct entry){.key = full, .answer = xmemdup(answer, len), .len = len};
}
