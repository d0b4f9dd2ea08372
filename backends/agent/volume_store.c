#include "backends/agent/volume_store.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <zstd.h>

#define PACK_MAX   (64u << 20) /* a new one is begun then */
#define LEVEL      1           /* of compression: a save has to keep up with a database */
#define KEPT       2           /* generations */
#define NUMBER_LEN 20
#define SALT_LEN   16

/* ---- the folder ---- */

static int open_below(const char *dir, const char *name, bool make, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, name);
    int fd;

    if (make && fs_mkdirs(path, 0700, err) < 0)
        return -1;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 || (!make && errno == ENOENT) ? fd : err_set_errno(err, 125, errno, "opening %s", path);
}

static int lock(int dir, const char *key, struct err *err)
{
    cleanup_free char *name = xasprintf("%s.lock", key);
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    while (fd >= 0 && flock(fd, LOCK_EX) < 0)
        if (errno != EINTR) {
            close(steal_fd(&fd));
            break;
        }
    return fd >= 0 ? fd : err_set_errno(err, 125, errno, "locking the volume");
}

int volume_store_open(const struct volume_dirs *dirs, const char *key, bool write, struct volume_store *ret,
                      struct err *err)
{
    struct volume_store s = {-1, -1, -1, -1};
    cleanup_free char *folder = xasprintf("%s/%s", dirs->store, key);
    struct err why = ERR_INIT;

    s.looks = open_below(dirs->run_dir, "volumes", /* make= */ true, &why);
    if (s.looks >= 0)
        s.lock = lock(s.looks, key, &why);
    if (s.lock >= 0) {
        s.packs = open_below(folder, "packs", write, &why);
        s.generations = open_below(folder, "generations", write, &why);
    }
    if (why.msg) {
        volume_store_close(&s);
        return err_move(err, &why);
    }
    *ret = s;
    return 0;
}

void volume_store_close(struct volume_store *s)
{
    int *const fds[] = {&s->packs, &s->generations, &s->looks, &s->lock};

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (*fds[i] >= 0)
            close(steal_fd(fds[i]));
}

/* ---- generations ---- */

static int add_number(void *arg, const char *name, uint8_t type)
{
    (void)type;
    if (strlen(name) == NUMBER_LEN && strspn(name, "0123456789") == NUMBER_LEN)
        strlist_add(arg, name);
    return 0;
}

/* The numbers there are, as names, the lowest first. */
static void numbers(const struct volume_store *s, struct strlist *ret)
{
    cleanup_close int list = s->generations >= 0 ? beneath_list_open(s->generations) : -1;

    if (list >= 0)
        beneath_names(list, add_number, ret);
    strlist_sort(ret);
}

static bool has_packs(const struct volume_store *s, const struct volume_manifest *m)
{
    for (size_t i = 0; i < m->n_packs; i++) {
        char name[2 * SHA256_LEN + 1];
        struct stat st;

        sha256_hex(m->packs[i].hash, name);
        if (s->packs < 0 || beneath_stat(s->packs, name, &st) < 0 || !S_ISREG(st.st_mode) ||
            (uint64_t)st.st_size != m->packs[i].size)
            return false;
    }
    return true;
}

/* Of the first `len` numbers the highest that is whole. */
static int highest(const struct volume_store *s, const struct strlist *names, size_t len, struct volume_manifest *ret)
{
    while (len-- > 0) {
        if (volume_manifest_load(s->generations, names->items[len], ret, NULL) < 0)
            continue;
        if (has_packs(s, ret))
            return 1;
        volume_manifest_clear(ret);
    }
    return 0;
}

int volume_store_newest(const struct volume_store *s, struct volume_manifest *ret, uint64_t *ret_last, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    int got;

    numbers(s, &names);
    *ret_last = names.len ? strtoull(names.items[names.len - 1], NULL, 10) : 0;
    got = highest(s, &names, names.len, ret);
    if (!got && names.len)
        return err_set(err, 125, "none of the %zu saved states of the volume is whole: it is damaged", names.len);
    return got;
}

int volume_store_before(const struct volume_store *s, uint64_t generation, struct volume_manifest *ret)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    size_t len = 0;

    numbers(s, &names);
    while (len < names.len && strtoull(names.items[len], NULL, 10) < generation)
        len++;
    return highest(s, &names, len, ret);
}

int volume_store_add(const struct volume_store *s, const struct volume_manifest *m, struct err *err)
{
    char name[NUMBER_LEN + 1];

    snprintf(name, sizeof(name), "%020llu", (unsigned long long)m->generation);
    if (volume_manifest_save(s->generations, name, m, err) < 0)
        return -1;
    fsync(s->generations); /* file stores without it are synced by their own rules */
    return 0;
}

struct needed {
    const struct volume_store *store;
    const struct volume_manifest *keep[KEPT];
};

static bool is_needed(const struct needed *n, const char *name)
{
    for (size_t k = 0; k < KEPT; k++)
        for (size_t i = 0; n->keep[k] && i < n->keep[k]->n_packs; i++) {
            char hex[2 * SHA256_LEN + 1];

            sha256_hex(n->keep[k]->packs[i].hash, hex);
            if (strcmp(hex, name) == 0)
                return true;
        }
    return false;
}

static int drop_pack(void *arg, const char *name, uint8_t type)
{
    const struct needed *n = arg;

    (void)type;
    if (strlen(name) == 2 * SHA256_LEN && !is_needed(n, name))
        beneath_unlink(n->store->packs, name);
    return 0;
}

void volume_store_prune(const struct volume_store *s, const struct volume_manifest *now)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    cleanup_close int list = beneath_list_open(s->packs);
    struct volume_manifest before = {0};
    struct needed needed = {s, {now, NULL}};
    bool has = volume_store_before(s, now->generation, &before) > 0;

    numbers(s, &names);
    for (size_t i = 0; i < names.len; i++) {
        uint64_t n = strtoull(names.items[i], NULL, 10);

        if (n < now->generation && !(has && n == before.generation))
            beneath_unlink(s->generations, names.items[i]);
    }
    needed.keep[1] = has ? &before : NULL;
    if (list >= 0)
        beneath_names(list, drop_pack, &needed);
    beneath_temp_sweep_dir(s->packs);
    beneath_temp_sweep_dir(s->generations);
    volume_manifest_clear(&before);
}

/* ---- pieces ---- */

void volume_open_close(struct volume_open *open)
{
    if (open->fd >= 0)
        close(steal_fd(&open->fd));
}

static int open_pack(const struct volume_store *s, const struct volume_manifest *m, uint32_t pack,
                     struct volume_open *open, struct err *err)
{
    char name[2 * SHA256_LEN + 1];
    struct stat st;

    if (open->fd >= 0 && open->pack == pack)
        return 0;
    volume_open_close(open);
    sha256_hex(m->packs[pack].hash, name);
    open->fd = beneath_read_open(s->packs, name, &st);
    open->pack = pack;
    return open->fd >= 0 ? 0 : err_set_errno(err, 125, errno, "the pack %s of the volume", name);
}

static int read_at(int fd, void *bytes, size_t len, uint64_t at)
{
    char *to = bytes;

    while (len) {
        ssize_t n = pread(fd, to, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        to += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int volume_piece_read(const struct volume_store *s, const struct volume_manifest *m, const struct volume_piece *p,
                      struct volume_open *open, void *bytes, struct err *err)
{
    cleanup_free char *stored = NULL;
    uint8_t sum[SHA256_LEN];

    if (p->pack == VOLUME_HOLE) {
        memset(bytes, 0, p->len);
        return 0;
    }
    if (open_pack(s, m, p->pack, open, err) < 0)
        return -1;
    stored = p->stored < p->len ? xmalloc(p->stored) : NULL;
    if (read_at(open->fd, stored ? stored : bytes, p->stored, p->at) < 0)
        return err_set(err, 125, "a pack of the volume cannot be read");
    if (stored && ZSTD_decompress(bytes, p->len, stored, p->stored) != p->len)
        return err_set(err, 125, "a pack of the volume is damaged");
    sha256(bytes, p->len, sum);
    if (memcmp(sum, p->hash, SHA256_LEN) != 0)
        return err_set(err, 125, "a pack of the volume is damaged");
    return 0;
}

/* ---- packing ---- */

void volume_packer_init(struct volume_packer *p, const struct volume_store *store, struct volume_manifest *into)
{
    *p = (struct volume_packer){.store = store, .into = into, .fd = -1};
    p->room = xmalloc(ZSTD_compressBound(VOLUME_PIECE));
}

void volume_packer_clear(struct volume_packer *p)
{
    if (p->fd >= 0) {
        beneath_unlink(p->store->packs, p->temp);
        close(steal_fd(&p->fd));
        p->into->n_packs--;
    }
    free(p->room);
    p->room = NULL;
}

static int append(struct volume_packer *p, const uint8_t *bytes, size_t len, struct err *err)
{
    sha256_update(&p->sum, bytes, len);
    p->size += len;
    while (len) {
        ssize_t n = write(p->fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, 125, errno, "writing to the volume");
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The pack's name is of its contents: with these it is nobody else's. */
static int add_salt(struct volume_packer *p, struct err *err)
{
    char salt[2 * SALT_LEN + 1];

    return random_hex(salt, 2 * SALT_LEN, err) < 0 ? -1 : append(p, (const uint8_t *)salt, 2 * SALT_LEN, err);
}

static int begin(struct volume_packer *p, struct err *err)
{
    p->fd = beneath_temp_open(p->store->packs, p->temp);
    if (p->fd < 0)
        return err_set_errno(err, 125, errno, "writing to the volume");
    sha256_init(&p->sum);
    p->size = 0;
    volume_add_pack(p->into);
    return p->salted ? add_salt(p, err) : 0;
}

int volume_packer_finish(struct volume_packer *p, struct err *err)
{
    struct volume_pack *pack = p->into->n_packs ? &p->into->packs[p->into->n_packs - 1] : NULL;
    char name[2 * SHA256_LEN + 1];

    if (p->fd < 0 || !pack)
        return 0;
    sha256_final(&p->sum, pack->hash);
    pack->size = p->size;
    sha256_hex(pack->hash, name);
    if (fsync(p->fd) < 0 || beneath_rename(p->store->packs, p->temp, p->store->packs, name) < 0)
        return err_set_errno(err, 125, errno, "writing to the volume");
    close(steal_fd(&p->fd));
    p->total += p->size;
    fsync(p->store->packs);
    return 0;
}

int volume_packer_add(struct volume_packer *p, const void *bytes, struct volume_piece *piece, struct err *err)
{
    size_t small = ZSTD_compress(p->room, ZSTD_compressBound(VOLUME_PIECE), bytes, piece->len, LEVEL);
    bool helps = !ZSTD_isError(small) && small < piece->len - piece->len / 16;

    if (p->fd >= 0 && p->size >= PACK_MAX && volume_packer_finish(p, err) < 0)
        return -1;
    if (p->fd < 0 && begin(p, err) < 0)
        return -1;
    piece->pack = (uint32_t)(p->into->n_packs - 1);
    piece->at = p->size;
    piece->stored = helps ? (uint32_t)small : piece->len;
    return append(p, helps ? p->room : bytes, piece->stored, err);
}
