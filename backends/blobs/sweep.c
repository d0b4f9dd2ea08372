/* What nobody needs any more goes. */
#include "backends/blobs/blobs.h"
#include "backends/blobs/blobs_impl.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define SHARD_DIGITS 2

struct sweep {
    struct strlist keep; /* sorted; notes are followed */
    int64_t newest;      /* what was made after this stays */
    int64_t bytes;
};

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_kept(const struct sweep *s, const char *digest)
{
    return s->keep.len && bsearch(&digest, s->keep.items, s->keep.len, sizeof(*s->keep.items), compare) != NULL;
}

/* One file of a folder; a name that is no digest's is left alone. */
static void sweep_file(struct sweep *s, int dir, const char *shard, const char *name)
{
    cleanup_free char *digest = xasprintf(BLOBS_PREFIX "%s%s", shard, name);
    struct stat st;

    if (!blobs_hex(digest) || is_kept(s, digest) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode) || st.st_ctime > s->newest)
        return;
    if (unlinkat(dir, name, 0) == 0)
        s->bytes += st.st_size;
}

static void sweep_shard(struct sweep *s, int parent, const char *shard)
{
    int fd = openat(parent, shard, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cleanup_dir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;

    if (fd >= 0 && !dir)
        close(fd);
    while (dir && (entry = readdir(dir)))
        sweep_file(s, dirfd(dir), shard, entry->d_name);
}

static int sweep_kind(struct sweep *s, const struct blobs *b, const char *kind, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/%s", b->dir, kind);
    cleanup_dir DIR *dir = opendir(path);
    const struct dirent *entry;

    if (!dir)
        return err_set_errno(err, 125, errno, "open %s", path);
    while ((entry = readdir(dir)))
        if (strlen(entry->d_name) == SHARD_DIGITS && entry->d_name[0] != '.')
            sweep_shard(s, dirfd(dir), entry->d_name);
    return 0;
}

int blobs_sweep(struct blobs *b, const struct strlist *keep, int64_t min_age_secs, int64_t *ret_bytes, struct err *err)
{
    struct sweep s = {.newest = (int64_t)time(NULL) - min_age_secs};
    int ret = -1;

    if (!b->alone)
        return err_set(err, 125, "%s is not held alone", b->dir);
    for (size_t i = 0; i < keep->len; i++) {
        struct blob_note note;

        strlist_add(&s.keep, keep->items[i]);
        if (blobs_find(b, keep->items[i], &note))
            strlist_add(&s.keep, note.digest);
    }
    strlist_sort(&s.keep);
    if (sweep_kind(&s, b, "notes", err) == 0)
        ret = sweep_kind(&s, b, "sha256", err);
    strlist_clear(&s.keep);
    b->alone = false;
    if (flock(b->lock, LOCK_SH) < 0 && ret == 0)
        ret = err_set_errno(err, 125, errno, "locking %s", b->dir);
    if (ret == 0 && ret_bytes)
        *ret_bytes = s.bytes;
    return ret;
}
