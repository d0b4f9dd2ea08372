#include "backends/agent/log.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define READ_AHEAD (256u << 10) /* more than any record */

struct log {
    int fd;
    off_t end;        /* of the last whole record */
    uint64_t missing; /* bytes that found no room */
    int why;
};

struct log *log_open(const char *run_dir, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/log", run_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct log *log;

    if (fd < 0) {
        err_set_errno(err, 125, errno, "making the container's log %s", path);
        return NULL;
    }
    log = xcalloc(1, sizeof(*log));
    log->fd = fd;
    log->end = lseek(fd, 0, SEEK_END);
    return log;
}

void log_close(struct log *log)
{
    if (!log)
        return;
    close(log->fd);
    free(log);
}

/* One record, all of it or nothing. */
static bool append(struct log *log, int stream, const void *bytes, size_t len)
{
    uint8_t head[WIRE_LOG_HEAD];
    struct iovec parts[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)bytes, len}};
    struct timespec ts;
    ssize_t n;

    clock_gettime(CLOCK_REALTIME, &ts);
    wire_log_head(head, (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec, (uint8_t)stream, len);
    n = writev(log->fd, parts, 2);
    if (n == (ssize_t)(sizeof(head) + len)) {
        log->end += n;
        return true;
    }
    log->why = n < 0 ? errno : ENOSPC;
    if (n > 0)
        (void)!ftruncate(log->fd, log->end);
    return false;
}

/* Says what is missing, once that can be written. */
static bool mend(struct log *log)
{
    char line[160];
    int n;

    if (!log->missing)
        return true;
    n = snprintf(line, sizeof(line), "atp-agent: %llu bytes of log are missing here: %s\n",
                 (unsigned long long)log->missing, strerror(log->why));
    if (!append(log, WIRE_STREAM_STDERR, line, (size_t)n))
        return false;
    log->missing = 0;
    return true;
}

void log_write(struct log *log, int stream, const void *bytes, size_t len)
{
    if (!mend(log) || !append(log, stream, bytes, len))
        log->missing += len;
}

void log_reader_init(struct log_reader *r, int fd)
{
    *r = (struct log_reader){.fd = fd, .piece = xmalloc(READ_AHEAD)};
}

void log_reader_clear(struct log_reader *r)
{
    free(r->piece);
    r->piece = NULL;
}

/* Reads on behind what is there; false at the end of the file. */
static bool read_more(struct log_reader *r)
{
    ssize_t n;

    memmove(r->piece, r->piece + r->used, r->have - r->used);
    r->have -= r->used;
    r->used = 0;
    do
        n = pread(r->fd, r->piece + r->have, READ_AHEAD - r->have, r->at);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    r->have += (size_t)n;
    r->at += n;
    return true;
}

int log_reader_next(struct log_reader *r, struct wire_log_record *ret)
{
    ssize_t n;

    while ((n = wire_log_record(r->piece + r->used, r->have - r->used, ret)) == 0)
        if (!read_more(r))
            return 0;
    if (n < 0)
        return -1;
    r->used += (size_t)n;
    return 1;
}
