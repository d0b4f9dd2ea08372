/*
 * A context that comes as an archive: laid out in a private folder. The archive may be hostile: every write goes to one
 * plain name in a held directory, links are made as text and never followed, and it ends when the disk does.
 */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"
#include "compat/base/strlist.h"
#include "compat/base/tame.h"
#include "compat/docker/units.h"
#include "compat/lib/archive.h"
#include "compat/sys/beneath.h"
#include "shim/build/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#define PIECE (64u << 10)

/* A directory's mode and time, set when nothing is written below it any more. */
struct dir_look {
    char *path;
    mode_t mode;
    int64_t mtime_ns;
};

struct unpacking {
    int fd;
    const struct buf *first;
    bool first_given;
    char piece[PIECE];
    int root;
    uint64_t written;
    size_t entries;
    struct dir_look *dirs;
    size_t dirs_len;
};

static const struct {
    const char *bytes;
    size_t len;
} magics[] = {{"\x1f\x8b", 2},
              {"BZh", 3},
              {"\xfd"
               "7zXZ",
               5},
              {"\x28\xb5\x2f\xfd", 4}};

/* A tar header's checksum is the sum of its bytes, those of the field itself taken as blanks. */
static bool is_tar_header(const unsigned char *b)
{
    unsigned sum = 0;
    char field[9] = {0};

    for (size_t i = 0; i < BUILD_SOURCE_HEAD; i++)
        sum += i >= 148 && i < 156 ? ' ' : b[i];
    memcpy(field, b + 148, 8);
    return strtoul(field + strspn(field, " "), NULL, 8) == sum && sum != 8u * ' ';
}

bool build_source_is_archive(const char *bytes, size_t len)
{
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
        if (len >= magics[i].len && !memcmp(bytes, magics[i].bytes, magics[i].len))
            return true;
    return len >= BUILD_SOURCE_HEAD && is_tar_header((const unsigned char *)bytes);
}

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
    struct unpacking *u = arg;
    ssize_t n;

    if (!u->first_given) {
        u->first_given = true;
        *ret = u->first->data;
        if (u->first->len)
            return (la_ssize_t)u->first->len;
    }
    do
        n = read(u->fd, u->piece, PIECE);
    while (n < 0 && errno == EINTR && !build_cancelled);
    if (build_cancelled || n < 0) {
        archive_set_error(a, errno, "%s", build_cancelled ? "cancelled" : strerror(errno));
        return -1;
    }
    *ret = u->piece;
    return n;
}

/* The entry's path as a clean one below the root; NULL: the root itself. *ret_bad: it leads out. */
static char *clean_name(const char *name, bool *ret_bad)
{
    cleanup_free char *joined = xasprintf("/%s", name), *clean = path_clean(joined);
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    int depth = 0;

    *ret_bad = strlen(name) >= LIMIT_PATH;
    strlist_split(&parts, name, '/');
    for (size_t i = 0; i < parts.len; i++) {
        depth += !strcmp(parts.items[i], "..") ? -1 : *parts.items[i] && strcmp(parts.items[i], ".") ? 1 : 0;
        *ret_bad = *ret_bad || depth < 0;
    }
    return clean[1] ? xstrdup(clean + 1) : NULL;
}

/* The directory of path's last name; what is missing on the way is made. */
static int open_parent(int root, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *dir = xstrndup(path, slash ? (size_t)(slash - path) : 0);
    int at;

    *ret_name = slash ? slash + 1 : path;
    at = beneath_open_dir(root, dir);
    if (at >= 0 || errno != ENOENT)
        return at;
    for (char *p = dir;; p++) {
        char was = *p;

        if (was && was != '/')
            continue;
        *p = '\0';
        cleanup_close int parent = -1;
        const char *name;

        parent = beneath_open_parent(root, dir, &name);
        if (parent < 0 || (beneath_mkdir(parent, name, 0755) < 0 && errno != EEXIST))
            return -1;
        *p = was;
        if (!was)
            return beneath_open_dir(root, dir);
    }
}

uint64_t build_source_room(int fd)
{
    struct statvfs vfs;

    if (fstatvfs(fd, &vfs) < 0 || vfs.f_blocks == 0)
        return UINT64_MAX;
    return (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

static int no_room(const struct unpacking *u, struct err *err)
{
    cleanup_free char *had = units_size((double)u->written), *left = units_size((double)build_source_room(u->root));

    return err_set(err, 1,
                   "the archive does not fit onto the disk: %s were laid out, %s are "
                   "left",
                   had, left);
}

static int write_data(struct unpacking *u, struct archive *a, int fd, const char *name, struct err *err)
{
    const void *block;
    size_t len;
    la_int64_t at;
    int got;

    while ((got = archive_read_data_block(a, &block, &len, &at)) == ARCHIVE_OK || got == ARCHIVE_WARN) {
        const char *from = block;
        off_t to = at;

        u->written += len;
        if (build_source_room(u->root) < BUILD_SOURCE_MARGIN)
            return no_room(u, err);
        while (len) {
            ssize_t n = pwrite(fd, from, len, to);

            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno == ENOSPC)
                return no_room(u, err);
            if (n < 0)
                return err_set_errno(err, 1, errno, "writing %s", name);
            from += n;
            to += n;
            len -= (size_t)n;
        }
    }
    if (got != ARCHIVE_EOF)
        return build_cancelled ? build_signalled(err) : err_set(err, 1, "%s: %s", name, archive_error_string(a));
    return 0;
}

static int64_t mtime_of(struct archive_entry *e)
{
    return (int64_t)archive_entry_mtime(e) * 1000000000 + archive_entry_mtime_nsec(e);
}

static int put_file(struct unpacking *u, struct archive *a, struct archive_entry *e, int parent, const char *name,
                    struct err *err)
{
    char temp[BENEATH_TEMP_MAX];
    cleanup_close int fd = beneath_temp_open(parent, temp);
    /* we have to read it again, also where its owner is not to */
    mode_t mode = (archive_entry_perm(e) & 07777) | S_IRUSR;

    if (fd < 0)
        return err_set_errno(err, 1, errno, "%s", name);
    if (write_data(u, a, fd, name, err) < 0)
        return -1;
    if (archive_entry_size(e) > 0 && ftruncate(fd, (off_t)archive_entry_size(e)) < 0)
        return err_set_errno(err, 1, errno, "%s", name);
    if (fchmod(fd, mode) < 0 || beneath_set_mtime(fd, mtime_of(e)) < 0 ||
        beneath_rename(parent, temp, parent, name) < 0)
        return err_set_errno(err, 1, errno, "%s", name);
    return 0;
}

static int put_dir(struct unpacking *u, struct archive_entry *e, int parent, const char *name, const char *path)
{
    struct stat st;

    if (beneath_stat(parent, name, &st) == 0 && !S_ISDIR(st.st_mode) && beneath_unlink(parent, name) < 0)
        return -1;
    if (beneath_mkdir(parent, name, 0700) < 0 && errno != EEXIST)
        return -1;
    u->dirs = xreallocarray(u->dirs, u->dirs_len + 1, sizeof(*u->dirs));
    u->dirs[u->dirs_len++] = (struct dir_look){xstrdup(path), (archive_entry_perm(e) & 07777) | S_IRWXU, mtime_of(e)};
    return 0;
}

/* Another name of a file that was laid out already. */
static int put_link(struct unpacking *u, const char *target, int parent, const char *name)
{
    bool bad;
    cleanup_free char *clean = clean_name(target, &bad);
    const char *last;
    cleanup_close int from = clean && !bad ? beneath_open_parent(u->root, clean, &last) : -1;

    if (from < 0) {
        errno = clean && !bad ? errno : EINVAL;
        return -1;
    }
    return beneath_link(from, last, parent, name);
}

static int put_entry(struct unpacking *u, struct archive *a, struct archive_entry *e, const char *path, struct err *err)
{
    const char *hard = archive_entry_hardlink(e), *text = archive_entry_symlink(e), *name;
    cleanup_close int parent = open_parent(u->root, path, &name);
    int got = 0;

    if (parent < 0)
        return err_set_errno(err, 1, errno, "%s", path);
    if (!hard && archive_entry_filetype(e) == AE_IFREG)
        return put_file(u, a, e, parent, name, err);
    if (!hard && archive_entry_filetype(e) == AE_IFDIR) {
        got = put_dir(u, e, parent, name, path);
    } else if (hard || archive_entry_filetype(e) == AE_IFLNK || archive_entry_filetype(e) == AE_IFIFO) {
        beneath_remove_tree(parent, name); /* a later entry of the same name wins */
        if (hard)
            got = put_link(u, hard, parent, name);
        else if (text)
            got = beneath_symlink(text, parent, name);
        else
            got = beneath_mkfifo(parent, name, archive_entry_perm(e) & 07777);
    }
    return got < 0 ? err_set_errno(err, 1, errno, "%s", path) : 0;
}

static int unpack_all(struct unpacking *u, struct archive *a, struct err *err)
{
    struct archive_entry *e;
    int got;

    while ((got = archive_read_next_header(a, &e)) == ARCHIVE_OK || got == ARCHIVE_WARN) {
        const char *name = archive_entry_pathname(e);
        cleanup_free char *clean = NULL, *shown = xstrdup(name ? name : "");
        bool bad = false;

        tame(shown, /* keep_lines= */ false);
        if (++u->entries > LIMIT_ENTRIES)
            return err_set(err, 1, "more than %u entries in the archive", LIMIT_ENTRIES);
        clean = name ? clean_name(name, &bad) : NULL;
        if (!name || bad)
            return err_set(err, 1, "the archive's name \"%.200s\" leads out of it", shown);
        if (clean && put_entry(u, a, e, clean, err) < 0)
            return -1;
    }
    if (build_cancelled)
        return build_signalled(err);
    return got == ARCHIVE_EOF ? 0 : err_set(err, 1, "%s", archive_error_string(a));
}

/* Modes and times of directories, the deepest first: they were written to until now. */
static void finish_dirs(struct unpacking *u)
{
    for (size_t i = u->dirs_len; i-- > 0;) {
        cleanup_close int dir = beneath_open_dir(u->root, u->dirs[i].path);

        if (dir >= 0) {
            beneath_chmod(dir, u->dirs[i].mode);
            beneath_set_mtime(dir, u->dirs[i].mtime_ns);
        }
        free(u->dirs[i].path);
    }
    free(u->dirs);
}

int build_unpack(int fd, const struct buf *first, int root, struct err *err)
{
    cleanup_free struct unpacking *u = NULL;
    struct archive *a;
    int ret;

    if (lib_archive(err) < 0)
        return -1;
    u = xcalloc(1, sizeof(*u));
    u->fd = fd;
    u->first = first;
    u->root = root;
    a = archive_read_new();
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_format_tar(a);
    archive_read_support_format_empty(a);
    if (archive_read_open2(a, u, NULL, on_read, NULL, NULL) == ARCHIVE_OK)
        ret = unpack_all(u, a, err);
    else if (build_cancelled)
        ret = build_signalled(err);
    else
        ret = err_set(err, 1, "%s", archive_error_string(a));
    finish_dirs(u);
    archive_read_free(a);
    return ret;
}

int build_source_unpack(int fd, const struct buf *first, struct build_source *s, struct err *err)
{
    if (build_temp_new(&s->temp, err) < 0)
        return -1;
    if (beneath_mkdir(s->temp.dir, "context", 0700) < 0)
        return err_set_errno(err, 1, errno, "unable to prepare context: mkdir %s", s->temp.path);
    s->dir = beneath_child_list(s->temp.dir, "context");
    s->path = xasprintf("%s/context", s->temp.path);
    s->own = true;
    if (s->dir < 0)
        return err_set_errno(err, 1, errno, "unable to prepare context: %s", s->path);
    if (build_unpack(fd, first, s->dir, err) < 0)
        return build_cancelled ? -1 : err_wrap(err, "unable to prepare context");
    return 0;
}
