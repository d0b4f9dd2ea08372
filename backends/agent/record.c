#include "backends/agent/record.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

int record_save(const char *run_dir, const char *record, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/record", run_dir);
    cleanup_free char *temp = xasprintf("%s/record.%d", run_dir, (int)getpid());
    cleanup_close int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd >= 0 && write_all(fd, record, strlen(record)) == 0 && rename(temp, path) == 0)
        return 0;
    err_set_errno(err, 125, errno, "keeping the container's record in %s", path);
    unlink(temp);
    return -1;
}

char *record_load(const char *run_dir)
{
    cleanup_free char *path = xasprintf("%s/record", run_dir);
    cleanup_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    cleanup_buf struct buf b = BUF_INIT(WIRE_RECORD_MAX);
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0) {
        char *room = buf_reserve(&b, 65536);

        if (!room)
            return NULL;
        n = read(fd, room, 65536);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            buf_advance(&b, (size_t)n);
    }
    return n < 0 ? NULL : buf_detach(&b);
}
