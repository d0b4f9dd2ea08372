#include "backends/engine/vol_tree.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#define DIR_MODE (S_IFDIR | 0755)

void vol_entry_clear(struct vol_entry *e)
{
    free(e->path);
    free(e->link);
    *e = (struct vol_entry){0};
}

void vol_tree_clear(struct vol_tree *t)
{
    for (size_t i = 0; i < t->len; i++)
        vol_entry_clear(&t->items[i]);
    free(t->items);
    *t = (struct vol_tree){0};
}

void vol_tree_append(struct vol_tree *t, struct vol_entry *e)
{
    if (t->len == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 16;
        t->items = xreallocarray(t->items, t->cap, sizeof(*t->items));
    }
    t->items[t->len++] = *e;
    *e = (struct vol_entry){0};
}

void vol_tree_copy(struct vol_tree *to, const struct vol_tree *from)
{
    for (size_t i = 0; i < from->len; i++) {
        struct vol_entry e = from->items[i];

        e.path = xstrdup(e.path);
        e.link = e.link ? xstrdup(e.link) : NULL;
        vol_tree_append(to, &e);
    }
}

/* A directory directly in front of what lies in it: a slash is less than any other byte. */
static int compare_paths(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    if (*a == *b)
        return 0;
    if (!*a || !*b)
        return *a ? 1 : -1;
    if (*a == '/' || *b == '/')
        return *a == '/' ? -1 : 1;
    return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

static int compare_entries(const void *a, const void *b)
{
    return compare_paths(((const struct vol_entry *)a)->path, ((const struct vol_entry *)b)->path);
}

void vol_tree_sort(struct vol_tree *t)
{
    if (t->len)
        qsort(t->items, t->len, sizeof(*t->items), compare_entries);
}

size_t vol_tree_at(const struct vol_tree *t, const char *path, bool *ret_found)
{
    size_t low = 0, high = t->len;

    *ret_found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = compare_paths(t->items[mid].path, path);

        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct vol_entry *vol_tree_find(const struct vol_tree *t, const char *path)
{
    bool found;
    size_t at = vol_tree_at(t, path, &found);

    return found ? &t->items[at] : NULL;
}

size_t vol_tree_below(const struct vol_tree *t, size_t at)
{
    size_t len = strlen(t->items[at].path), end = at + 1;

    while (end < t->len && strncmp(t->items[end].path, t->items[at].path, len) == 0 && t->items[end].path[len] == '/')
        end++;
    return end;
}

void vol_tree_remove(struct vol_tree *t, const char *path)
{
    bool found;
    size_t at = vol_tree_at(t, path, &found), end;

    if (!found)
        return;
    end = vol_tree_below(t, at);
    for (size_t i = at; i < end; i++)
        vol_entry_clear(&t->items[i]);
    memmove(t->items + at, t->items + end, (t->len - end) * sizeof(*t->items));
    t->len -= end - at;
}

/* In its place; nothing has that path. */
static int insert(struct vol_tree *t, struct vol_entry *e, struct err *err)
{
    struct vol_entry moving = *e;
    bool found;
    size_t at = vol_tree_at(t, e->path, &found);

    if (t->len >= LIMIT_ENTRIES)
        return err_set(err, 125, "a volume has %u entries at most", LIMIT_ENTRIES);
    *e = (struct vol_entry){0};
    vol_tree_append(t, &moving);
    moving = t->items[t->len - 1];
    memmove(t->items + at + 1, t->items + at, (t->len - 1 - at) * sizeof(*t->items));
    t->items[at] = moving;
    return 0;
}

/* Each directory above path. */
static int put_parents(struct vol_tree *t, const char *path, int64_t mtime_ns, struct err *err)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        struct vol_entry dir = {.path = xstrndup(path, (size_t)(slash - path)), .mode = DIR_MODE, .mtime_ns = mtime_ns};
        const struct vol_entry *there = vol_tree_find(t, dir.path);

        if (there && S_ISDIR(there->mode)) {
            vol_entry_clear(&dir);
            continue;
        }
        vol_tree_remove(t, dir.path);
        if (insert(t, &dir, err) < 0) {
            vol_entry_clear(&dir);
            return -1;
        }
    }
    return 0;
}

int vol_tree_put(struct vol_tree *t, struct vol_entry *e, struct err *err)
{
    struct vol_entry *there = vol_tree_find(t, e->path);

    if (there && S_ISDIR(there->mode) == S_ISDIR(e->mode)) {
        vol_entry_clear(there);
        *there = *e;
        *e = (struct vol_entry){0};
        return 0;
    }
    vol_tree_remove(t, e->path);
    if (put_parents(t, e->path, e->mtime_ns, err) == 0 && insert(t, e, err) == 0)
        return 0;
    vol_entry_clear(e);
    return -1;
}

bool vol_entry_same(const struct vol_entry *a, const struct vol_entry *b)
{
    if (a->mode != b->mode || strcmp(a->link ? a->link : "", b->link ? b->link : "") != 0)
        return false;
    if (!S_ISREG(a->mode))
        return true;
    return a->size == b->size && a->mtime_ns == b->mtime_ns && strcmp(a->hash, b->hash) == 0;
}

char *vol_path(const char *path, struct err *err)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    cleanup_buf struct buf out = BUF_INIT(LIMIT_PATH);

    strlist_split(&parts, path, '/');
    for (size_t i = 0; i < parts.len; i++) {
        const char *part = parts.items[i];

        if (!*part || strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") == 0 || strlen(part) > LIMIT_NAME || i > LIMIT_DEPTH) {
            err_set(err, 125, "not a path in a volume: \"%s\"", path);
            return NULL;
        }
        buf_addf(&out, "%s%s", out.len ? "/" : "", part);
    }
    if (out.overflowed) {
        err_set(err, 125, "a path in a volume has %u bytes at most", LIMIT_PATH);
        return NULL;
    }
    return xstrdup(out.data);
}

/* ---- on disk ---- */

/* Names need not be UTF-8, JSON does: bytes from 0x80 on are written as code points of their own. */
static json_t *bytes_json(const char *s)
{
    struct buf b = BUF_INIT(4 * LIMIT_PATH);
    json_t *text;

    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c < 0x80) {
            buf_addc(&b, (char)c);
        } else {
            buf_addc(&b, (char)(0xc0 | c >> 6));
            buf_addc(&b, (char)(0x80 | (c & 0x3f)));
        }
    }
    text = json_stringn(b.data, b.len);
    buf_clear(&b);
    return text;
}

static char *json_bytes(const json_t *text)
{
    const char *s = json_string_value(text);
    char *out = xstrdup(s ? s : ""), *to = out;

    for (; s && *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c >= 0xc0 && s[1])
            c = (unsigned char)((c & 3) << 6 | ((unsigned char)*++s & 0x3f));
        *to++ = (char)c;
    }
    *to = '\0';
    return out;
}

int vol_tree_save(int dir, const char *name, const struct vol_tree *t, struct err *err)
{
    cleanup_free char *temp = xasprintf("%s.new", name);
    json_t *list = json_array();
    int fd, rc = -1;

    for (size_t i = 0; i < t->len; i++) {
        const struct vol_entry *e = &t->items[i];
        json_t *item = json_pack("[o, i, I, I, s]", bytes_json(e->path), (int)e->mode, (json_int_t)e->size,
                                 (json_int_t)e->mtime_ns, e->hash);

        if (e->link)
            json_array_append_new(item, bytes_json(e->link));
        json_array_append_new(list, item);
    }
    fd = openat(dir, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && json_dumpfd(list, fd, JSON_COMPACT) == 0 && fsync(fd) == 0 && renameat(dir, temp, dir, name) == 0)
        rc = fsync(dir);
    if (rc < 0)
        err_set_errno(err, 125, errno, "writing the state of a volume");
    if (fd >= 0)
        close(fd);
    json_decref(list);
    return rc < 0 ? -1 : 0;
}

static void load_entry(const json_t *item, struct vol_tree *t)
{
    const char *hash = json_string_value(json_array_get(item, 4));
    struct vol_entry e = {
        .path = json_bytes(json_array_get(item, 0)),
        .mode = (mode_t)json_integer_value(json_array_get(item, 1)),
        .size = (uint64_t)json_integer_value(json_array_get(item, 2)),
        .mtime_ns = json_integer_value(json_array_get(item, 3)),
        .link = json_array_size(item) > 5 ? json_bytes(json_array_get(item, 5)) : NULL,
    };

    if (hash && strlen(hash) < sizeof(e.hash))
        memcpy(e.hash, hash, strlen(hash));
    vol_tree_append(t, &e);
}

int vol_tree_load(int dir, const char *name, struct vol_tree *ret, struct err *err)
{
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    json_t *list, *item;
    size_t i;

    if (fd < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, 125, errno, "reading the state of a volume");
    list = json_loadfd(fd, 0, NULL);
    if (!json_is_array(list)) {
        json_decref(list);
        return err_set(err, 125, "the state of a volume is damaged");
    }
    json_array_foreach(list, i, item) load_entry(item, ret);
    json_decref(list);
    vol_tree_sort(ret);
    return 0;
}
