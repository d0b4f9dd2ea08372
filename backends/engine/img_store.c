#include "backends/engine/img_store.h"

#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Called by nftw, deepest first. */
static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)ftw;
    if (type == FTW_DP || type == FTW_DNR)
        rmdir(path);
    else
        unlink(path);
    return 0;
}

void img_store_remove(const char *path)
{
    nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

int img_store_open(const char *dir, struct err *err)
{
    static const char *const folders[] = {"files", "blobs", "mounts", "l", "images", "cache", "tmp"};
    cleanup_free char *tmp = xasprintf("%s/tmp", dir);

    img_store_remove(tmp);
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        cleanup_free char *path = xasprintf("%s/%s", dir, folders[i]);

        if (fs_mkdirs(path, 0700, err) < 0)
            return -1;
    }
    return 0;
}

char *img_store_tmp(const char *dir, struct err *err)
{
    char name[17];

    if (random_hex(name, 16, err) < 0)
        return NULL;
    return xasprintf("%s/tmp/%s", dir, name);
}

char *img_store_file(const char *dir, const char *sha256_hex)
{
    return xasprintf("%s/files/%.2s/%s", dir, sha256_hex, sha256_hex + 2);
}

/* A digest differs from what was promised. */
static int mismatch(const char *want, const char *got, struct err *err)
{
    err_set(err, 0, "the contents have the digest %s, not %s", got, want);
    if (err)
        err->code = EBADMSG;
    return -1;
}

/* Gives a finished file its name. */
static int settle(const char *dir, const char *sha256_hex, const char *from, struct err *err)
{
    cleanup_free char *folder = xasprintf("%s/files/%.2s", dir, sha256_hex);
    cleanup_free char *to = img_store_file(dir, sha256_hex);

    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, 0, errno, "making %s", folder);
    if (chmod(from, 0644) < 0 || rename(from, to) < 0)
        return err_set_errno(err, 0, errno, "keeping %s", to);
    return 0;
}

int img_store_put(const char *dir, const char *sha256_hex, const void *bytes, size_t len, struct err *err)
{
    cleanup_free char *tmp = NULL;
    char hex[DIGEST_HEX + 1];

    digest_of(bytes, len, hex);
    if (strcmp(hex, sha256_hex) != 0)
        return mismatch(sha256_hex, hex, err);
    tmp = img_store_tmp(dir, err);
    if (!tmp || fs_write_file(tmp, bytes, len, 0644, err) < 0)
        return -1;
    return settle(dir, sha256_hex, tmp, err);
}

/* Copies all of from (from its position on) to the end of to. */
static int copy_fd(int from, int to, struct err *err)
{
    char chunk[65536];
    ssize_t n;

    while ((n = copy_file_range(from, NULL, to, NULL, 1u << 30, 0)) > 0)
        ;
    if (n == 0)
        return 0;
    /* Different file systems, or one that cannot. */
    while ((n = read(from, chunk, sizeof(chunk))) > 0) {
        for (ssize_t done = 0, w; done < n; done += w) {
            w = write(to, chunk + done, (size_t)(n - done));
            if (w < 0)
                return err_set_errno(err, 0, errno, "writing");
        }
    }
    return n < 0 ? err_set_errno(err, 0, errno, "reading") : 0;
}

/* A copy of a file in tmp/, with the mode; *ret_tmp is owned by caller. */
static int copy_to_tmp(const char *dir, const char *path, mode_t mode, char **ret_tmp, struct err *err)
{
    cleanup_close int in = open(path, O_RDONLY | O_CLOEXEC);
    cleanup_free char *tmp = img_store_tmp(dir, err);
    cleanup_close int out = -1;

    if (!tmp)
        return -1;
    if (in < 0)
        return err_set_errno(err, 0, errno, "opening %s", path);
    out = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return err_set_errno(err, 0, errno, "creating %s", tmp);
    if (copy_fd(in, out, err) < 0 || fchmod(out, mode) < 0) {
        unlink(tmp);
        return err && err->msg ? -1 : err_set_errno(err, 0, errno, "chmod %s", tmp);
    }
    *ret_tmp = steal(&tmp);
    return 0;
}

int img_store_put_path(const char *dir, const char *sha256_hex, const char *path, struct err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    cleanup_free char *tmp = NULL;
    char hex[DIGEST_HEX + 1];

    if (fd < 0)
        return err_set_errno(err, 0, errno, "opening %s", path);
    if (digest_of_fd(fd, hex, err) < 0)
        return err_wrap(err, "%s", path);
    if (strcmp(hex, sha256_hex) != 0)
        return mismatch(sha256_hex, hex, err);
    tmp = img_store_tmp(dir, err);
    if (!tmp)
        return -1;
    if (rename(path, tmp) < 0) {
        free(steal(&tmp));
        if (errno != EXDEV)
            return err_set_errno(err, 0, errno, "moving %s", path);
        if (copy_to_tmp(dir, path, 0644, &tmp, err) < 0)
            return -1;
        unlink(path);
    }
    return settle(dir, sha256_hex, tmp, err);
}

/* Path of the file with exactly these permission bits, made when it is not there; owned by caller. */
static char *variant(const char *dir, const char *sha256_hex, mode_t mode, struct err *err)
{
    cleanup_free char *plain = img_store_file(dir, sha256_hex);
    cleanup_free char *path = NULL;
    cleanup_free char *tmp = NULL;

    if (mode == 0644)
        return steal(&plain);
    path = xasprintf("%s-%o", plain, (unsigned)mode);
    if (fs_exists(path))
        return steal(&path);
    if (copy_to_tmp(dir, plain, mode, &tmp, err) < 0)
        return NULL;
    if (rename(tmp, path) < 0) {
        err_set_errno(err, 0, errno, "keeping %s", path);
        unlink(tmp);
        return NULL;
    }
    return steal(&path);
}

/* One file of a mount into its place; names were checked when the mount was registered. */
static int place(const char *dir, const char *root, const struct img_mount_entry *e, struct err *err)
{
    cleanup_free char *to = xasprintf("%s/%s", root, e->name);
    cleanup_free char *from = variant(dir, e->sha256_hex, e->mode, err);
    cleanup_free char *tmp = NULL;
    char *slash = strrchr(to, '/');

    if (!from)
        return -1;
    *slash = '\0';
    if (fs_mkdirs(to, 0755, err) < 0)
        return -1;
    *slash = '/';
    if (link(from, to) == 0)
        return 0;
    if (errno != EMLINK)
        return err_set_errno(err, 0, errno, "linking %s", to);
    if (copy_to_tmp(dir, from, e->mode, &tmp, err) < 0)
        return -1;
    return rename(tmp, to) < 0 ? err_set_errno(err, 0, errno, "placing %s", to) : 0;
}

int img_mount_lay_out(const char *dir, const char *id, char **ret_dir, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/mounts/%s", dir, id);
    struct img_mount m = {0};
    cleanup_free char *tmp = NULL;
    int ret = 0;

    if (img_mount_load(dir, id, &m, err) < 0)
        return -1;
    if (!fs_exists(path)) {
        tmp = img_store_tmp(dir, err);
        ret = tmp ? fs_mkdirs(tmp, 0755, err) : -1;
        for (size_t i = 0; i < m.len && ret == 0; i++)
            ret = place(dir, tmp, &m.entries[i], err);
        if (ret == 0 && rename(tmp, path) < 0 && errno != EEXIST && errno != ENOTEMPTY) /* somebody was faster */
            ret = err_set_errno(err, 0, errno, "keeping %s", path);
        if (tmp)
            img_store_remove(tmp);
    }
    img_mount_clear(&m);
    if (ret == 0)
        *ret_dir = steal(&path);
    return ret;
}
