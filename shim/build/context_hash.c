/* What files hold: hashed once, remembered by what the system says of them. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/beneath.h"
#include "backends/state/state.h"
#include "shim/app.h"
#include "shim/build/context.h"
#include "shim/build/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define KEEP_S    (30 * 86400)
#define KEEP_MAX  (32u << 20) /* some 200,000 files */
#define SETTLED_S 2           /* what changed within these seconds may change again without another time stamp */
#define PIECE     (256u << 10)

static char *cache_key(const struct build_context *c)
{
    return xasprintf("build-hashes %s", c->source->path);
}

/* One remembered file: "dev ino size mtime ctime hex", sorted by nothing; looked up by dev and ino. */
struct known {
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
    char hex[65];
};

static int by_inode(const void *a, const void *b)
{
    const struct known *x = a, *y = b;

    if (x->ino != y->ino)
        return x->ino < y->ino ? -1 : 1;
    return x->dev < y->dev ? -1 : x->dev > y->dev;
}

/* What the state has of this context; owned by caller. */
static struct known *recall(const struct build_context *c, struct app *app, size_t *ret_len)
{
    cleanup_free char *key = cache_key(c), *text = NULL;
    struct known *list = NULL;
    size_t len = 0, cap = 0;

    *ret_len = 0;
    if (c->source->own || app_state(app, NULL) < 0 || state_cache_get(app->state, key, &text, time(NULL), NULL) <= 0)
        return NULL;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        struct known k;

        if (len == cap)
            list = xreallocarray(list, cap = cap ? 2 * cap : 64, sizeof(*list));
        if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNu64 " %" SCNd64 " %" SCNd64 " %64[0-9a-f]", &k.dev, &k.ino,
                   &k.size, &k.mtime_ns, &k.ctime_ns, k.hex) == 6 &&
            strlen(k.hex) == 64)
            list[len++] = k;
    }
    if (len)
        qsort(list, len, sizeof(*list), by_inode);
    *ret_len = len;
    return list;
}

/* Keeps what has settled: the file cannot have been changed since without showing another time. */
static void keep(const struct build_context *c, struct app *app)
{
    cleanup_free char *key = cache_key(c);
    cleanup_buf struct buf text = BUF_INIT(KEEP_MAX);
    int64_t settled = ((int64_t)time(NULL) - SETTLED_S) * 1000000000;

    for (size_t i = 0; i < c->len && !text.overflowed; i++) {
        const struct build_entry *e = &c->entries[i];

        if (S_ISREG(e->mode) && e->mtime_ns < settled && e->ctime_ns < settled)
            buf_addf(&text, "%" PRIx64 " %" PRIx64 " %" PRIu64 " %" PRId64 " %" PRId64 " %s\n", e->dev, e->ino, e->size,
                     e->mtime_ns, e->ctime_ns, e->hex);
    }
    if (!text.overflowed)
        state_cache_put(app->state, key, text.data, (int64_t)time(NULL) + KEEP_S, NULL);
}

static int open_entry(const struct build_context *c, const struct build_entry *e, struct stat *st)
{
    const char *name;
    cleanup_close int parent = beneath_open_parent(c->source->dir, e->path, &name);

    return parent < 0 ? -1 : beneath_read_open(parent, name, st);
}

static int hash_file(const struct build_context *c, struct build_entry *e, char *piece, struct err *err)
{
    struct stat st;
    cleanup_close int fd = open_entry(c, e, &st);
    uint8_t digest[SHA256_LEN];
    struct sha256 s;
    ssize_t n;

    if (fd < 0) {
        cleanup_free char *reason = xstrdup(errno == EACCES ? "permission denied" : strerror(errno));

        return err_set(err, 1, "failed to solve: error from sender: open %s: %s", e->path, reason);
    }
    sha256_init(&s);
    e->size = 0;
    while ((n = read(fd, piece, PIECE)) > 0 || (n < 0 && errno == EINTR)) {
        if (build_cancelled)
            return build_signalled(err);
        if (n > 0) {
            sha256_update(&s, piece, (size_t)n);
            e->size += (uint64_t)n;
        }
    }
    if (n < 0)
        return err_set_errno(err, 1, errno, "failed to solve: error from sender: read %s", e->path);
    sha256_final(&s, digest);
    sha256_hex(digest, e->hex);
    return 0;
}

int build_context_hash(struct build_context *c, struct app *app, struct err *err)
{
    cleanup_free char *piece = xmalloc(PIECE);
    size_t known_len;
    cleanup_free struct known *known = recall(c, app, &known_len);
    bool news = false;

    for (size_t i = 0; i < c->len; i++) {
        struct build_entry *e = &c->entries[i];
        struct known want = {.dev = e->dev, .ino = e->ino}, *found;

        if (!S_ISREG(e->mode))
            continue;
        found = known_len ? bsearch(&want, known, known_len, sizeof(*known), by_inode) : NULL;
        if (found && found->size == e->size && found->mtime_ns == e->mtime_ns && found->ctime_ns == e->ctime_ns) {
            memcpy(e->hex, found->hex, sizeof(e->hex));
            continue;
        }
        if (hash_file(c, e, piece, err) < 0)
            return -1;
        news = true;
    }
    if (news && !c->source->own)
        keep(c, app);
    return 0;
}
