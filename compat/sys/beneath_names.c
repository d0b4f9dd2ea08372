/*
 * The names in a directory, straight from the system where it has a call for that: readdir() brings a stream with a
 * buffer of its own for each directory, and that costs more than the names of a small one.
 */
#include "compat/sys/beneath.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* True for what every directory holds. */
static bool itself(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

#if defined(__linux__)

#include <sys/syscall.h>

#define BUFFER (16u << 10) /* some 400 names; on the stack */

/* What the system writes; libc's headers have no name for it everywhere. */
struct linux_dirent {
    uint64_t ino;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
};

int beneath_names(int list, int (*each)(void *arg, const char *name, uint8_t type), void *arg)
{
    _Alignas(struct linux_dirent) char buffer[BUFFER];
    long len;

    while ((len = syscall(SYS_getdents64, list, buffer, sizeof(buffer))) > 0)
        for (long at = 0; at < len;) {
            const struct linux_dirent *e = (const struct linux_dirent *)(const void *)(buffer + at);

            at += e->length;
            if (!itself(e->name) && each(arg, e->name, e->type) < 0)
                return -1;
        }
    /* A directory that was removed meanwhile holds nothing. */
    return len < 0 && errno != ENOENT ? -1 : 0;
}

#else

#include <dirent.h>

int beneath_names(int list, int (*each)(void *arg, const char *name, uint8_t type), void *arg)
{
    int again = beneath_list_open(list), status = 0;
    DIR *d = again < 0 ? NULL : fdopendir(again);
    const struct dirent *e;

    if (!d) {
        if (again >= 0)
            close(again);
        return -1;
    }
    while (!status && (errno = 0, e = readdir(d)))
        if (!itself(e->d_name))
            status = each(arg, e->d_name, e->d_type) < 0 ? -1 : 0;
    if (!status && errno && errno != ENOENT)
        status = -1;
    closedir(d);
    return status;
}

#endif
