/* Files and /proc entries that the runtime's parts read and write. */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define REMOVE_DEPTH 64 /* folders held open at once */

/* What a removal needs to know: deeper folders than REMOVE_DEPTH are lifted into top and met there again. */
struct removal {
    int top;
    unsigned lifted;
    bool again;
    int errnum;
};

static int remove_below(struct removal *r, int dir, unsigned depth);

/* A container may leave folders without permission bits or with the immutable flag's like; root needs only the mode. */
static int remove_folder(struct removal *r, int dir, const char *name, unsigned depth)
{
    char lifted[32];
    int fd;

    if (depth > REMOVE_DEPTH) {
        snprintf(lifted, sizeof(lifted), ".atp-lifted-%u", r->lifted++);
        if (renameat(dir, name, r->top, lifted) < 0)
            return -1;
        r->again = true;
        return 0;
    }
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || remove_below(r, fd, depth + 1) < 0)
        return -1;
    return unlinkat(dir, name, AT_REMOVEDIR);
}

/* Empties a folder; takes dir. */
static int remove_below(struct removal *r, int dir, unsigned depth)
{
    DIR *entries = fdopendir(dir);
    const struct dirent *e;
    int result = 0;

    if (!entries) {
        close(dir);
        return -1;
    }
    while ((e = readdir(entries))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(dir, e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if ((errno == EISDIR || errno == EPERM) && remove_folder(r, dir, e->d_name, depth) == 0)
            continue;
        r->errnum = errno;
        result = -1;
    }
    closedir(entries);
    return result;
}

int rt_remove_tree(const char *path, struct err *err)
{
    struct removal r = {.top = -1};
    int result;

    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    do {
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
            return errno == ENOENT ? 0 : err_set_errno(err, 125, errno, "removing %s", path);
        r.again = false;
        r.top = fd;
        result = remove_below(&r, fd, 1);
    } while (r.again && result == 0);
    if (result == 0 && rmdir(path) == 0)
        return 0;
    return err_set_errno(err, 125, r.errnum ? r.errnum : errno, "removing %s", path);
}

int rt_write_text(const char *path, const char *text, mode_t mode, struct err *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    size_t len = strlen(text);

    if (fd < 0)
        return err_set_errno(err, 125, errno, "%s", path);
    fchmod(fd, mode); /* the umask must not decide what a container can read */
    while (len) {
        ssize_t put = write(fd, text, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_set_errno(err, 125, errno, "%s", path);
        text += put;
        len -= (size_t)put;
    }
    return 0;
}

int rt_sealed_program(const char *name, const void *bytes, size_t len)
{
    cleanup_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    for (const char *p = bytes; len;) {
        ssize_t put = write(fd, p, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        p += put;
        len -= (size_t)put;
    }
    if (fchmod(fd, 0555) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -1;
    return steal_fd(&fd);
}

char *rt_read_line(const char *path)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char line[RT_LINE_MAX];
    ssize_t got;

    if (fd < 0)
        return NULL;
    got = read(fd, line, sizeof(line) - 1);
    if (got < 0)
        return NULL;
    line[got] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return xstrdup(line);
}

char *rt_log_message(const char *path)
{
    cleanup_file FILE *f = fopen(path, "re");
    cleanup_free char *line = NULL;
    char *message = NULL;
    size_t room = 0;
    ssize_t len;

    while (f && (len = getline(&line, &room, f)) >= 0) {
        json_t *record = len <= (ssize_t)RT_LINE_MAX ? json_loads(line, 0, NULL) : NULL;
        const char *level = json_string_value(json_object_get(record, "level"));
        const char *text = json_string_value(json_object_get(record, "msg"));

        if (text && level && (strcmp(level, "error") == 0 || strcmp(level, "fatal") == 0)) {
            free(message);
            message = xstrdup(text);
        }
        json_decref(record);
    }
    for (char *p = message; p && *p; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    return message;
}

/* The fields of /proc/PID/stat after the command name, which may hold anything; field 3 is the first. */
static bool read_stat(pid_t pid, char *text, size_t room, char **ret_fields)
{
    char path[64];
    ssize_t got;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    got = read(fd, text, room - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    *ret_fields = strrchr(text, ')');
    if (!*ret_fields)
        return false;
    (*ret_fields)++;
    return true;
}

uint64_t rt_process_start(pid_t pid)
{
    char text[1024], *field;

    if (pid <= 0 || !read_stat(pid, text, sizeof(text), &field))
        return 0;
    for (int n = 2; field && n < 22; n++) {
        field = strchr(field, ' ');
        field = field ? field + 1 : NULL;
    }
    return field ? strtoull(field, NULL, 10) : 0;
}

bool rt_process_stat(pid_t pid, pid_t *ret_parent, pid_t *ret_session, bool *ret_exiting)
{
    enum { PF_EXITING_ = 4 }; /* the kernel's flag, set before a namespace's init takes the others with it */
    char text[1024], *fields, state;
    int parent, session;
    unsigned flags;

    if (pid <= 0 || !read_stat(pid, text, sizeof(text), &fields))
        return false;
    if (sscanf(fields, " %c %d %*d %d %*d %*d %u", &state, &parent, &session, &flags) != 4)
        return false;
    *ret_parent = parent;
    *ret_session = session;
    *ret_exiting = (flags & PF_EXITING_) || state == 'Z' || state == 'X';
    return true;
}
