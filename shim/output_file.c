#include "shim/output_file.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder of a path as Go's filepath.Dir has it; owned by caller. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* What stands at the path and is no regular file, as Docker calls it; NULL: it may be written to. */
static const char *what_is(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return NULL;
    case S_IFDIR:
        return "cannot write to a directory";
    case S_IFLNK:
        return "cannot write to a symbolic link directly";
    case S_IFIFO:
        return "cannot write to a named pipe (FIFO)";
    case S_IFSOCK:
        return "cannot write to a socket";
    case S_IFCHR:
        return "cannot write to a character device file";
    default:
        return "cannot write to a block device file";
    }
}

static int check(const char *path, const char *folder, struct err *err)
{
    struct stat st;
    int why = stat(folder, &st) < 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;

    if (why)
        return err_set(err, 1, "invalid output path: stat %s: %s", folder,
                       why == ENOTDIR  ? "not a directory"
                       : why == ENOENT ? "no such file or directory"
                                       : strerror(why));
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, 1, errno, "failed to stat output path: lstat %s", path);
    return what_is(st.st_mode) ? err_set(err, 1, "%s", what_is(st.st_mode)) : 0;
}

int output_file_open(const char *path, const char *what, struct output_file *ret, struct err *err)
{
    cleanup_free char *folder = folder_of(path), *temp = NULL;
    const char *slash = strrchr(path, '/');
    int fd;

    if (!*path) {
        if (tty_is(STDOUT_FILENO))
            return err_set(err, 1, "cowardly refusing to save to a terminal. Use the -o flag or redirect");
        *ret = (struct output_file){.fd = STDOUT_FILENO};
        return 0;
    }
    if (check(path, folder, err) < 0)
        return err_wrap(err, "failed to %s", what);
    temp = xasprintf("%s/.tmp-%sXXXXXX", folder, slash ? slash + 1 : path);
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) {
        err_set_errno(err, 1, errno, "open %s", temp);
        return err_wrap(err, "failed to %s", what);
    }
    *ret = (struct output_file){.fd = fd, .temp = steal(&temp), .path = xstrdup(path)};
    return 0;
}

int output_file_commit(struct output_file *f, struct err *err)
{
    if (!f->path)
        return 0;
    if (fsync(f->fd) < 0 || rename(f->temp, f->path) < 0)
        return err_set_errno(err, 1, errno, "write %s", f->path);
    free(steal(&f->temp));
    return 0;
}

void output_file_clear(struct output_file *f)
{
    if (f->temp)
        unlink(f->temp);
    if (f->path && f->fd >= 0)
        close(f->fd);
    free(f->temp);
    free(f->path);
    *f = (struct output_file)OUTPUT_FILE_INIT;
}
