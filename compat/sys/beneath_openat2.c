/*
 * The walk in one system call (Linux 5.6). Not every libc has it, and neither do all kernels or sandboxes (gVisor has
 * none, old container profiles forbid it): ENOSYS tells the caller to walk by itself.
 */
#include "compat/sys/beneath_impl.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#if defined(__linux__)

#include <sys/syscall.h>

#define NR_OPENAT2 437 /* the same on every architecture; libc headers of older systems lack it */

#define RESOLVE_NO_MAGICLINKS_ 0x02
#define RESOLVE_NO_SYMLINKS_   0x04
#define RESOLVE_BENEATH_       0x08

struct open_how_ {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

int beneath_openat2_dir(int root, const char *path)
{
    struct open_how_ how = {
        .flags = BENEATH_DIR_FLAGS,
        .resolve = RESOLVE_BENEATH_ | RESOLVE_NO_SYMLINKS_ | RESOLVE_NO_MAGICLINKS_,
    };
    int fd;

    /* EAGAIN: something was renamed on the way while the kernel looked; it may be asked again. */
    for (int tries = 0; tries < 16; tries++) {
        fd = (int)syscall(NR_OPENAT2, root, path, &how, sizeof(how));
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    if (fd < 0 && (errno == EPERM || errno == EAGAIN || errno == EINVAL || errno == E2BIG))
        errno = ENOSYS;
    return fd;
}

#else

int beneath_openat2_dir(int root, const char *path)
{
    (void)root;
    (void)path;
    errno = ENOSYS;
    return -1;
}

#endif
