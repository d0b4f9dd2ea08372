#include "backends/registry/archive_files.h"

#include "backends/registry/digest.h"
#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/lib/archive.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILES 100000u /* an archive of 1000 images with 100 layers each */
#define MAX_TRIES 100     /* to make a folder that nobody takes for a leftover */
#define FOLDER    "atp-archive-"
#define MAX_LINKS 10 /* docker save's links point at files, skopeo's too */

struct file {
    char *name;
    char *path;               /* where its contents are; NULL for a link */
    char *plain;              /* where they are unpacked, or NULL */
    char *target;             /* of a link, as a clean name */
    char hex[DIGEST_HEX + 1]; /* of the uncompressed contents; "" = not known yet */
    int64_t size;
};

struct archive_files {
    char *folder;
    int lock; /* on the folder, while it is used */
    unsigned next;
    struct file *list;
    size_t len, cap;
};

DEFINE_CLEANUP(struct tar_reader *, tar_close)
DEFINE_CLEANUP(struct archive_files *, archive_files_free)

char *archive_files_new(struct archive_files *f)
{
    return xasprintf("%s/%u", f->folder, f->next++);
}

void archive_files_free(struct archive_files *f)
{
    if (!f)
        return;
    for (unsigned i = 0; f->folder && i < f->next; i++) {
        cleanup_free char *path = xasprintf("%s/%u", f->folder, i);

        unlink(path);
    }
    if (f->folder)
        rmdir(f->folder);
    if (f->lock >= 0)
        close(f->lock);
    for (size_t i = 0; i < f->len; i++) {
        free(f->list[i].name);
        free(f->list[i].path);
        free(f->list[i].plain);
        free(f->list[i].target);
    }
    free(f->list);
    free(f->folder);
    free(f);
}

/* ---- spooling ---- */

static int write_piece(int fd, const char *bytes, size_t len, int64_t offset, struct err *err)
{
    while (len) {
        ssize_t n = pwrite(fd, bytes, len, offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 0, errno, "write");
        bytes += n;
        len -= (size_t)n;
        offset += n;
    }
    return 0;
}

static int spool_contents(struct archive_files *f, struct tar_reader *t, struct archive_entry *e, char **ret_path,
                          struct err *err)
{
    cleanup_free char *path = archive_files_new(f);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const void *bytes;
    int64_t offset = 0;
    ssize_t n;

    if (fd < 0)
        return err_set_errno(err, 0, errno, "creating %s", path);
    while ((n = tar_data(t, &bytes, &offset, err)) > 0) {
        if (write_piece(fd, bytes, (size_t)n, offset, err) < 0)
            return -1;
    }
    if (n < 0)
        return -1;
    if (ftruncate(fd, archive_entry_size(e)) < 0)
        return err_set_errno(err, 0, errno, "write");
    *ret_path = steal(&path);
    return 0;
}

/* Where a symbolic link in the archive points, as a clean name; NULL when it leads out of it. */
static char *link_target(const char *name, const char *text)
{
    const char *slash = strrchr(name, '/');
    cleanup_free char *joined = NULL;
    char *clean;

    if (*text == '/')
        return NULL;
    joined = xasprintf("%.*s%s", slash ? (int)(slash - name + 1) : 0, name, text);
    return tar_name(joined, &clean, NULL) < 0 ? NULL : clean;
}

/* Keeps one entry; what is neither file nor link says nothing. */
static int keep(struct archive_files *f, struct tar_reader *t, struct archive_entry *e, struct err *err)
{
    struct file file = {0};
    int ret = 0;

    if (f->len >= MAX_FILES)
        return err_set(err, 0, "more than %u files in the archive", MAX_FILES);
    if (tar_name(archive_entry_pathname(e), &file.name, err) < 0)
        return -1;
    if (archive_entry_hardlink(e))
        ret = tar_name(archive_entry_hardlink(e), &file.target, err);
    else if (archive_entry_filetype(e) == AE_IFLNK)
        file.target = link_target(file.name, archive_entry_symlink(e));
    else if (archive_entry_filetype(e) == AE_IFREG)
        ret = spool_contents(f, t, e, &file.path, err);
    if (ret < 0 || (!file.path && !file.target)) {
        free(file.name);
        return ret;
    }
    if (f->len == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 64;
        f->list = xreallocarray(f->list, f->cap, sizeof(*f->list));
    }
    f->list[f->len++] = file;
    return 0;
}

/* Removes a folder of numbered files. */
static void remove_folder(int parent, const char *name, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    cleanup_dir DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;

    if (copy >= 0 && !dir)
        close(copy);
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            unlinkat(fd, entry->d_name, 0);
    unlinkat(parent, name, AT_REMOVEDIR);
}

/* Folders that nobody has locked any more are of readers that were killed. */
static void remove_leftovers(const char *tmpdir)
{
    cleanup_dir DIR *dir = opendir(tmpdir);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        cleanup_close int fd = -1;

        if (strncmp(entry->d_name, FOLDER, strlen(FOLDER)) != 0)
            continue;
        fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            remove_folder(dirfd(dir), entry->d_name, fd);
    }
}

/* One of our own, locked. One that was taken for a leftover between the two is made anew. */
static int make_folder(struct archive_files *f, const char *tmpdir, struct err *err)
{
    for (int i = 0; i < MAX_TRIES; i++) {
        cleanup_free char *folder = xasprintf("%s/" FOLDER "XXXXXX", tmpdir);

        if (!mkdtemp(folder))
            return err_set_errno(err, 0, errno, "making a folder in %s", tmpdir);
        f->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (f->lock >= 0 && flock(f->lock, LOCK_EX) == 0 && access(folder, F_OK) == 0) {
            f->folder = steal(&folder);
            return 0;
        }
        if (f->lock >= 0)
            close(steal_fd(&f->lock));
    }
    return err_set(err, 0, "no folder can be made in %s", tmpdir);
}

struct archive_files *archive_files_spool(int fd, const char *tmpdir, struct err *err)
{
    cleanup_with(archive_files_freep) struct archive_files *f = xcalloc(1, sizeof(*f));
    cleanup_with(tar_closep) struct tar_reader *t = NULL;
    struct archive_entry *e;
    int r;

    f->lock = -1;
    remove_leftovers(tmpdir);
    if (make_folder(f, tmpdir, err) < 0)
        return NULL;
    t = tar_open(fd, err);
    if (!t)
        return NULL;
    while ((r = tar_next(t, &e, err)) > 0) {
        if (keep(f, t, e, err) < 0)
            return NULL;
    }
    return r < 0 ? NULL : steal(&f);
}

/* ---- asking ---- */

/* The last entry of a name counts, as when it is unpacked. */
static struct file *find_plain(const struct archive_files *f, const char *name)
{
    for (size_t i = f->len; i-- > 0;) {
        if (strcmp(f->list[i].name, name) == 0)
            return &f->list[i];
    }
    return NULL;
}

static struct file *find(const struct archive_files *f, const char *name)
{
    cleanup_free char *clean = NULL;
    struct file *file;

    if (tar_name(name, &clean, NULL) < 0)
        return NULL;
    file = find_plain(f, clean);
    for (int i = 0; file && file->target && i < MAX_LINKS; i++)
        file = find_plain(f, file->target);
    return file && file->path ? file : NULL;
}

static struct file *need(const struct archive_files *f, const char *name, struct err *err)
{
    struct file *file = find(f, name);

    if (!file)
        err_set(err, 0, "open %.200s: no such file or directory", name);
    return file;
}

bool archive_files_has(const struct archive_files *f, const char *name)
{
    return find(f, name) != NULL;
}

int archive_files_read(struct archive_files *f, const char *name, struct buf *out, struct err *err)
{
    const struct file *file = need(f, name, err);

    if (!file)
        return -1;
    return fs_read_file(file->path, out, err) < 0 ? err_wrap(err, "%.200s", name) : 0;
}

int archive_files_diff_id(struct archive_files *f, const char *name, char *ret_hex, int64_t *ret_size, struct err *err)
{
    struct file *file = need(f, name, err);
    cleanup_close int fd = file ? open(file->path, O_RDONLY | O_CLOEXEC) : -1;

    if (!file)
        return -1;
    if (fd < 0)
        return err_set_errno(err, 0, errno, "opening %s", file->path);
    if (!*file->hex && tar_uncompress(fd, -1, file->hex, &file->size, err) < 0)
        return err_wrap(err, "%.200s", name);
    memcpy(ret_hex, file->hex, sizeof(file->hex));
    if (ret_size)
        *ret_size = file->size;
    return 0;
}

enum form { PLAIN, GZIP, ZSTD, OTHER };

/* What a file begins as; anything else is a plain tar, or will be found to be none. */
static enum form form_of(int fd)
{
    static const struct {
        const char *magic;
        size_t len;
        enum form form;
    } forms[] = {
        {"\x1f\x8b", 2, GZIP},
        {"\x28\xb5\x2f\xfd", 4, ZSTD},
        {"\xfd\x37\x7a\x58\x5a", 5, OTHER}, /* xz */
        {"BZh", 3, OTHER},
    };
    char m[6] = {0};

    if (pread(fd, m, sizeof(m), 0) < 3)
        return PLAIN;
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
        if (memcmp(m, forms[i].magic, forms[i].len) == 0)
            return forms[i].form;
    return PLAIN;
}

/* The file unpacked, beside the one that it came as. */
static int unpack(struct archive_files *f, struct file *file, int in, struct err *err)
{
    cleanup_free char *path = archive_files_new(f);
    cleanup_close int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char hex[DIGEST_HEX + 1];

    if (out < 0)
        return err_set_errno(err, 0, errno, "creating %s", path);
    if (tar_uncompress(in, out, hex, NULL, err) < 0)
        return -1;
    file->plain = steal(&path);
    return 0;
}

int archive_files_plain(struct archive_files *f, const char *name, char **ret_path, struct err *err)
{
    struct file *file = need(f, name, err);
    cleanup_close int in = file ? open(file->path, O_RDONLY | O_CLOEXEC) : -1;

    if (!file)
        return -1;
    if (in < 0)
        return err_set_errno(err, 0, errno, "opening %s", file->path);
    if (!file->plain && form_of(in) >= ZSTD && unpack(f, file, in, err) < 0) /* once is enough */
        return err_wrap(err, "%.200s", name);
    *ret_path = xstrdup(file->plain ? file->plain : file->path);
    return 0;
}

/* Digest and length of the file as it is. */
static int sum_own(int fd, char *ret_hex, int64_t *ret_size, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_set_errno(err, 0, errno, "reading");
    *ret_size = st.st_size;
    return digest_of_fd(fd, ret_hex, err);
}

int archive_files_own(struct archive_files *f, const char *name, const char **ret_path, char *ret_hex,
                      int64_t *ret_size, enum archive_form *ret_form, struct err *err)
{
    struct file *file = need(f, name, err);
    cleanup_close int fd = file ? open(file->path, O_RDONLY | O_CLOEXEC) : -1;
    enum form form;

    if (!file)
        return -1;
    if (fd < 0)
        return err_set_errno(err, 0, errno, "opening %s", file->path);
    form = form_of(fd);
    if (form == OTHER && !file->plain && unpack(f, file, fd, err) < 0)
        return err_wrap(err, "%.200s", name);
    *ret_path = form == OTHER ? file->plain : file->path;
    *ret_form = form == GZIP ? ARCHIVE_GZIP : form == ZSTD ? ARCHIVE_ZSTD : ARCHIVE_PLAIN;
    if (*ret_form != ARCHIVE_PLAIN)
        return sum_own(fd, ret_hex, ret_size, err) < 0 ? err_wrap(err, "%.200s", name) : 0;
    return archive_files_diff_id(f, name, ret_hex, ret_size, err);
}
