#include "translate/sync/manifest.h"

#include "compat/base/alloc.h"
#include "compat/base/limits.h"
#include "compat/base/sha256.h"
#include "compat/base/strlist.h"

#include <stdlib.h>
#include <string.h>

/* Strings live in chunks that are freed together: 100,000 small allocations would cost more than the names. */
struct manifest_chunk {
    struct manifest_chunk *next;
    size_t used, cap;
    char bytes[];
};

#define CHUNK_BYTES (64u << 10)

void manifest_init(struct manifest *m)
{
    *m = (struct manifest)MANIFEST_INIT;
}

void manifest_clear(struct manifest *m)
{
    while (m->chunks) {
        struct manifest_chunk *next = m->chunks->next;

        free(m->chunks);
        m->chunks = next;
    }
    free(m->entries);
    manifest_init(m);
}

void manifest_move(struct manifest *to, struct manifest *from)
{
    manifest_clear(to);
    *to = *from;
    manifest_init(from);
}

/* Copies s into the manifest; NULL past the ceiling. */
static const char *keep_string(struct manifest *m, const char *s)
{
    size_t len = strlen(s) + 1;
    struct manifest_chunk *chunk = m->chunks;
    char *copy;

    if (len > LIMIT_SYNC_NAMES - m->string_bytes)
        return NULL;
    if (!chunk || len > chunk->cap - chunk->used) {
        size_t cap = len > CHUNK_BYTES ? len : CHUNK_BYTES;

        chunk = xmalloc(sizeof(*chunk) + cap);
        *chunk = (struct manifest_chunk){.next = m->chunks, .used = 0, .cap = cap};
        m->chunks = chunk;
    }
    copy = chunk->bytes + chunk->used;
    memcpy(copy, s, len);
    chunk->used += len;
    m->string_bytes += len;
    return copy;
}

/* '/' sorts before all other bytes, the end of the string before that. */
static int order_of(char c)
{
    return c == '/' ? 1 : c ? 1 + (unsigned char)c : 0;
}

int manifest_path_cmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    /* The root is the parent of everything, so "" comes first by itself. */
    return order_of(*a) - order_of(*b);
}

bool manifest_path_valid(const char *path)
{
    size_t depth = 0;

    if (!*path)
        return true;
    if (strnlen(path, LIMIT_PATH) >= LIMIT_PATH)
        return false;
    for (;;) {
        size_t len = strcspn(path, "/");

        if (!len || len > LIMIT_NAME || (len == 1 && path[0] == '.') ||
            (len == 2 && path[0] == '.' && path[1] == '.') || ++depth > LIMIT_DEPTH)
            return false;
        if (!path[len])
            return true;
        path += len + 1;
    }
}

bool manifest_path_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return !len || (strncmp(path, dir, len) == 0 && (!path[len] || path[len] == '/'));
}

bool manifest_path_excluded(const char *path, const struct strlist *exclude)
{
    for (size_t i = 0; exclude && i < exclude->len; i++)
        if (*exclude->items[i] && manifest_path_below(path, exclude->items[i]))
            return true;
    return false;
}

/* True if the entry says what an entry of its type may say. */
static bool valid_entry(const struct manifest_entry *e)
{
    if (e->type < MANIFEST_FILE || e->type > MANIFEST_SYMLINK || e->mode > 07777 || !manifest_path_valid(e->path))
        return false;
    if (e->type == MANIFEST_SYMLINK)
        return e->link && *e->link && strnlen(e->link, LIMIT_PATH) < LIMIT_PATH;
    return e->link == NULL && (e->type == MANIFEST_FILE ? e->size <= INT64_MAX : !e->size);
}

size_t manifest_lower_bound(const struct manifest *m, const char *path)
{
    size_t low = 0, high = m->len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (manifest_path_cmp(m->entries[mid].path, path) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct manifest_entry *manifest_find(const struct manifest *m, const char *path)
{
    size_t at = m ? manifest_lower_bound(m, path) : 0;

    return m && at < m->len && strcmp(m->entries[at].path, path) == 0 ? &m->entries[at] : NULL;
}

const struct manifest_entry *manifest_leader(const struct manifest *m, const struct manifest_entry *e)
{
    return e->group ? &m->entries[e->group - 1] : NULL;
}

/* Joins the new last entry to its leader's group, if there is such a leader. */
static void join_group(struct manifest *m, const char *leader)
{
    struct manifest_entry *e = &m->entries[m->len - 1];
    size_t at = manifest_lower_bound(m, leader);
    struct manifest_entry *first = &m->entries[at];

    if (at >= m->len - 1 || strcmp(first->path, leader) != 0 || first->type != MANIFEST_FILE ||
        e->type != MANIFEST_FILE || (first->group && first->group != at + 1))
        return;
    first->group = (uint32_t)at + 1;
    e->group = (uint32_t)at + 1;
}

struct manifest_entry *manifest_add(struct manifest *m, const struct manifest_entry *e, const char *leader)
{
    struct manifest_entry copy = *e;

    if (m->len >= LIMIT_ENTRIES || !valid_entry(e) ||
        (m->len && manifest_path_cmp(m->entries[m->len - 1].path, e->path) >= 0))
        return NULL;
    copy.group = 0;
    copy.path = keep_string(m, e->path);
    copy.link = e->link ? keep_string(m, e->link) : NULL;
    if (!copy.path || (e->link && !copy.link))
        return NULL;
    if (m->len == m->cap) {
        m->cap = m->cap ? m->cap + m->cap / 2 : 64;
        m->entries = xreallocarray(m->entries, m->cap, sizeof(*m->entries));
    }
    m->entries[m->len++] = copy;
    if (leader)
        join_group(m, leader);
    return &m->entries[m->len - 1];
}

bool manifest_same_content(const struct manifest_entry *a, const struct manifest_entry *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case MANIFEST_FILE:
        return a->size == b->size && memcmp(a->digest, b->digest, MANIFEST_DIGEST_LEN) == 0;
    case MANIFEST_SYMLINK:
        return strcmp(a->link, b->link) == 0;
    default:
        return true;
    }
}

void manifest_shared_digest(const struct manifest *m, uint8_t ret[MANIFEST_DIGEST_LEN])
{
    struct sha256 s;

    sha256_init(&s);
    for (size_t i = 0; m && i < m->len; i++) {
        const struct manifest_entry *e = &m->entries[i];

        /* The root's presence says nothing: a side that has no tree yet agrees with one that has an empty one. */
        if (!*e->path && e->type == MANIFEST_DIR)
            continue;
        sha256_update(&s, e->path, strlen(e->path) + 1);
        sha256_update(&s, &e->type, 1);
        if (e->type == MANIFEST_FILE)
            sha256_update(&s, e->digest, sizeof(e->digest));
        else if (e->type == MANIFEST_SYMLINK)
            sha256_update(&s, e->link, strlen(e->link) + 1);
    }
    sha256_final(&s, ret);
}
