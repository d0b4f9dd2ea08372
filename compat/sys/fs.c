#include "compat/sys/fs.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fs_mkdirs(const char *path, mode_t mode, struct err *err)
{
    cleanup_free char *part = xstrdup(path);
    struct stat st;

    for (char *slash = part + 1;; slash++) {
        bool last = *slash == '\0';

        if (!last && *slash != '/')
            continue;
        *slash = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return err_set_errno(err, 125, errno, "mkdir %s", part);
        if (last)
            break;
        *slash = '/';
    }
    if (stat(path, &st) < 0)
        return err_set_errno(err, 125, errno, "stat %s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set_errno(err, 125, ENOTDIR, "mkdir %s", path);
    return 0;
}

int fs_read_file(const char *path, struct buf *out, struct err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set_errno(err, 125, errno, "open %s", path);
    for (;;) {
        size_t room = out->max - out->len < 65536 ? out->max - out->len : 65536;
        char *to = buf_reserve(out, room ? room : 1);
        ssize_t n;

        if (!to) {
            err_set(err, 125, "%s is larger than %zu bytes", path, out->max);
            if (err)
                err->code = EFBIG;
            return -1;
        }
        n = read(fd, to, room ? room : 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 125, errno, "read %s", path);
        if (n == 0)
            return 0;
        buf_advance(out, (size_t)n);
    }
}

/* Writes everything. */
static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int fs_write_file(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
    cleanup_free char *temp = xasprintf("%s.tmp-XXXXXX", path);
    cleanup_close int fd = mkostemp(temp, O_CLOEXEC);

    if (fd < 0)
        return err_set_errno(err, 125, errno, "open %s", temp);
    if (write_all(fd, data, len) < 0 || fchmod(fd, mode) < 0 || rename(temp, path) < 0) {
        err_set_errno(err, 125, errno, "write %s", path);
        unlink(temp);
        return -1;
    }
    return 0;
}

bool fs_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

char *fs_program_dir(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash;

    if (n <= 0)
        return NULL;
    path[n] = '\0';
    slash = strrchr(path, '/');
    return slash ? xstrndup(path, (size_t)(slash - path)) : NULL;
}

/* HOME, or what the password file says, or "/". Borrowed. */
static const char *home(void)
{
    const char *dir = getenv("HOME");
    const struct passwd *pw;

    if (dir && *dir == '/')
        return dir;
    pw = getpwuid(getuid());
    return pw && pw->pw_dir && *pw->pw_dir == '/' ? pw->pw_dir : "/";
}

/* $variable/atp-docker when the variable is an absolute path (XDG ignores relative ones), else
 * HOME/fallback/atp-docker. */
static char *xdg_dir(const char *variable, const char *fallback)
{
    const char *dir = getenv(variable);

    if (dir && *dir == '/')
        return xasprintf("%s/atp-docker", dir);
    return xasprintf("%s/%s/atp-docker", home(), fallback);
}

char *fs_state_dir(void)
{
    return xdg_dir("XDG_STATE_HOME", ".local/state");
}

char *fs_config_dir(void)
{
    return xdg_dir("XDG_CONFIG_HOME", ".config");
}

/* After su or sudo the variable may still name the folder of the user from before: nothing of ours can be there. */
char *fs_runtime_dir(void)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    struct stat st;

    if (dir && stat(dir, &st) == 0 && st.st_uid != geteuid())
        return xasprintf("%s/.local/state/atp-docker", home());
    return xdg_dir("XDG_RUNTIME_DIR", ".local/state");
}
