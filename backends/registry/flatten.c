#include "backends/registry/flatten.h"

#include "backends/registry/path_map.h"
#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/lib/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WHITEOUT  ".wh."
#define OPAQUE    ".wh..wh..opq"
#define MAX_PATHS 8000000u /* names of all layers together: twice what one layer may have (img_writer.c) */

/*
 * Two passes. The first, from the top layer down, notes what each layer hides of those below it, and which files must
 * be written under another name because their own is hidden while a hard link to them is not. The second, from the
 * bottom up, writes what is seen. Directories are written once for every layer that has them: the last one's owner and
 * mode are the ones that stay, which is what unpacking in this order gives.
 */
struct flatten {
    const struct strlist *layers;
    struct path_map *seen;    /* path -> facts */
    struct path_map *renamed; /* "layer/path" -> name under which its contents are written */
    struct archive *out;
};

DEFINE_CLEANUP(struct tar_reader *, tar_close)

/* What is done with each entry: its clean path, and the number of its layer from 1. */
typedef int entry_fn(struct flatten *f, struct tar_reader *t, struct archive_entry *e, const char *path, unsigned layer,
                     struct err *err);

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool is_whiteout(const char *path)
{
    return strncmp(base_name(path), WHITEOUT, strlen(WHITEOUT)) == 0;
}

/* Calls fn for every entry of one layer. */
static int each_entry(struct flatten *f, unsigned layer, entry_fn *fn, struct err *err)
{
    const char *file = f->layers->items[layer - 1];
    cleanup_close int fd = open(file, O_RDONLY | O_CLOEXEC);
    cleanup_with(tar_closep) struct tar_reader *t = NULL;
    struct archive_entry *e;
    int r;

    if (fd < 0)
        return err_set_errno(err, 0, errno, "opening %s", file);
    t = tar_open(fd, err);
    if (!t)
        return -1;
    while ((r = tar_next(t, &e, err)) > 0) {
        cleanup_free char *path = NULL;

        if (tar_name(archive_entry_pathname(e), &path, err) < 0)
            return -1;
        r = fn(f, t, e, path, layer, err);
        if (r != 0)
            return r;
    }
    return r;
}

static int raise_to(unsigned *number, unsigned layer)
{
    if (*number < layer)
        *number = layer;
    return 0;
}

/* Whether something above the layer hides its entry. */
static bool hidden(const struct flatten *f, const char *path, bool dir, unsigned layer)
{
    const struct path_facts *facts = path_map_get(f->seen, path, strlen(path));

    if (facts && (facts->hides > layer || (!dir && facts->dir > layer)))
        return true;
    facts = path_map_get(f->seen, "", 0);
    if (*path && facts && facts->opaque > layer)
        return true;
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        facts = path_map_get(f->seen, path, (size_t)(slash - path));
        if (facts && (facts->hides > layer || facts->opaque > layer))
            return true;
    }
    return false;
}

static struct path_facts *put(struct path_map *map, const char *path, size_t len, struct err *err)
{
    struct path_facts *facts = path_map_put(map, path, len);

    if (!facts)
        err_set(err, 0, "more than %u files in the image", MAX_PATHS);
    return facts;
}

/* A .wh. file: what it takes away. */
static int note_whiteout(struct flatten *f, const char *path, unsigned layer, struct err *err)
{
    const char *name = base_name(path), *gone = name + strlen(WHITEOUT);
    size_t dir_len = name > path ? (size_t)(name - path - 1) : 0;
    cleanup_free char *target = NULL;
    struct path_facts *facts;

    if (strcmp(name, OPAQUE) == 0) {
        facts = put(f->seen, path, dir_len, err);
        return facts ? raise_to(&facts->opaque, layer) : -1;
    }
    if (strncmp(gone, WHITEOUT, strlen(WHITEOUT)) == 0)
        return 0; /* aufs's own files */
    if (!*gone || strcmp(gone, ".") == 0 || strcmp(gone, "..") == 0)
        return err_set(err, 0, "invalid whiteout");
    target = xasprintf("%.*s%s%s", (int)dir_len, path, dir_len ? "/" : "", gone);
    facts = put(f->seen, target, strlen(target), err);
    return facts ? raise_to(&facts->hides, layer) : -1;
}

/* The key of a file whose contents are written under another name. */
static char *renamed_key(unsigned layer, const char *path)
{
    return xasprintf("%u/%s", layer, path);
}

/* A visible hard link to a hidden file: the first such takes the contents over. */
static int note_link(struct flatten *f, struct archive_entry *e, const char *path, unsigned layer, struct err *err)
{
    cleanup_free char *target = NULL;
    cleanup_free char *key = NULL;
    struct path_facts *facts;

    if (tar_name(archive_entry_hardlink(e), &target, err) < 0)
        return -1;
    if (!hidden(f, target, false, layer))
        return 0;
    key = renamed_key(layer, target);
    facts = put(f->renamed, key, strlen(key), err);
    if (!facts)
        return -1;
    if (!facts->name)
        facts->name = xstrdup(path);
    return 0;
}

static int note(struct flatten *f, struct tar_reader *t, struct archive_entry *e, const char *path, unsigned layer,
                struct err *err)
{
    bool dir = archive_entry_filetype(e) == AE_IFDIR && !archive_entry_hardlink(e);
    struct path_facts *facts;

    (void)t;
    if (is_whiteout(path))
        return note_whiteout(f, path, layer, err);
    if (archive_entry_hardlink(e) && !hidden(f, path, false, layer) && note_link(f, e, path, layer, err) < 0)
        return -1;
    facts = put(f->seen, path, strlen(path), err);
    if (!facts)
        return -1;
    return raise_to(dir ? &facts->dir : &facts->hides, layer);
}

/* ---- writing ---- */

static int write_failed(struct flatten *f, struct err *err)
{
    const char *text = archive_error_string(f->out);

    return err_set(err, 0, "writing a merged layer: %s", text ? text : "unknown error");
}

static int write_bytes(struct flatten *f, const char *bytes, size_t len, struct err *err)
{
    while (len) {
        la_ssize_t n = archive_write_data(f->out, bytes, len);

        if (n <= 0)
            return write_failed(f, err);
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* An entry's contents, with zeros where the archive left holes. */
static int write_contents(struct flatten *f, struct tar_reader *t, int64_t size, struct err *err)
{
    static const char zeros[65536];
    int64_t at = 0, offset = 0;
    const void *bytes;
    ssize_t n;

    do {
        n = tar_data(t, &bytes, &offset, err);
        if (n < 0)
            return -1;
        if (n == 0)
            offset = size;
        while (at < offset) {
            size_t hole = offset - at < (int64_t)sizeof(zeros) ? (size_t)(offset - at) : sizeof(zeros);

            if (write_bytes(f, zeros, hole, err) < 0)
                return -1;
            at += (int64_t)hole;
        }
        if (n > 0 && write_bytes(f, bytes, (size_t)n, err) < 0)
            return -1;
        at += n;
    } while (n > 0);
    return 0;
}

/* Writes one entry under a name. */
static int emit(struct flatten *f, struct tar_reader *t, struct archive_entry *e, const char *name, struct err *err)
{
    cleanup_free char *shown = xasprintf("%s%s", *name ? name : ".", archive_entry_filetype(e) == AE_IFDIR ? "/" : "");
    int r;

    archive_entry_set_pathname(e, shown);
    archive_entry_sparse_clear(e);
    r = archive_write_header(f->out, e);
    if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
        return write_failed(f, err);
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e))
        return 0;
    return write_contents(f, t, archive_entry_size(e), err);
}

static const char *renamed_to(const struct flatten *f, unsigned layer, const char *path)
{
    cleanup_free char *key = renamed_key(layer, path);
    const struct path_facts *facts = path_map_get(f->renamed, key, strlen(key));

    return facts ? facts->name : NULL;
}

/* A visible hard link: to its target, or to the name under which the target was written. */
static int write_link(struct flatten *f, struct tar_reader *t, struct archive_entry *e, const char *path,
                      unsigned layer, struct err *err)
{
    cleanup_free char *target = NULL;
    const char *renamed;

    if (tar_name(archive_entry_hardlink(e), &target, err) < 0)
        return -1;
    renamed = renamed_to(f, layer, target);
    if (renamed && strcmp(renamed, path) == 0)
        return 0; /* it was written where its target stood */
    archive_entry_set_hardlink(e, renamed ? renamed : target);
    return emit(f, t, e, path, err);
}

static int write_entry(struct flatten *f, struct tar_reader *t, struct archive_entry *e, const char *path,
                       unsigned layer, struct err *err)
{
    bool link = archive_entry_hardlink(e) != NULL;
    bool dir = archive_entry_filetype(e) == AE_IFDIR && !link;
    const char *renamed;

    if (is_whiteout(path))
        return 0;
    if (!hidden(f, path, dir, layer))
        return link ? write_link(f, t, e, path, layer, err) : emit(f, t, e, path, err);
    renamed = link ? NULL : renamed_to(f, layer, path);
    return renamed ? emit(f, t, e, renamed, err) : 0;
}

/* Both passes, under the C locale: names stay the bytes that they are. */
static int run(struct flatten *f, int fd, struct err *err)
{
    int ret = 0;

    for (size_t i = f->layers->len; i-- > 0 && ret == 0;)
        ret = each_entry(f, (unsigned)i + 1, note, err);
    if (ret < 0)
        return -1;
    archive_write_set_format_pax_restricted(f->out);
    archive_write_set_options(f->out, "hdrcharset=BINARY,xattrheader=SCHILY");
    if (archive_write_open_fd(f->out, fd) != ARCHIVE_OK)
        return write_failed(f, err);
    for (size_t i = 0; i < f->layers->len && ret == 0; i++)
        ret = each_entry(f, (unsigned)i + 1, write_entry, err);
    if (ret == 0 && archive_write_close(f->out) != ARCHIVE_OK)
        ret = write_failed(f, err);
    return ret;
}

int flatten_layers(const struct strlist *layers, int fd, struct err *err)
{
    struct flatten f = {.layers = layers};
    locale_t c, before;
    int ret;

    if (lib_archive(err) < 0)
        return -1;
    f.seen = path_map_new(MAX_PATHS);
    f.renamed = path_map_new(MAX_PATHS);
    f.out = archive_write_new();
    c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    before = uselocale(c);
    ret = run(&f, fd, err);
    if (ret < 0)
        archive_write_fail(f.out); /* no end mark under half an archive */
    archive_write_free(f.out);
    uselocale(before);
    freelocale(c);
    path_map_free(f.seen);
    path_map_free(f.renamed);
    return ret;
}

static int stop_at_whiteout(struct flatten *f, struct tar_reader *t, struct archive_entry *e, const char *path,
                            unsigned layer, struct err *err)
{
    (void)f, (void)t, (void)e, (void)layer, (void)err;
    return is_whiteout(path) ? 1 : 0;
}

int flatten_needed(const struct strlist *layers, bool *ret, struct err *err)
{
    struct flatten f = {.layers = layers};
    int r = 0;

    for (size_t i = 0; i < layers->len && r == 0; i++)
        r = each_entry(&f, (unsigned)i + 1, stop_at_whiteout, err);
    if (r < 0)
        return -1;
    *ret = r > 0;
    return 0;
}
