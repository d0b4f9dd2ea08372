#include "backends/engine/log.h"

#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int fd = STDERR_FILENO;

int log_open(const char *path, struct err *err)
{
    int opened = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (opened < 0)
        return err_set_errno(err, 125, errno, "open %s", path);
    if (fd != STDERR_FILENO)
        close(fd);
    fd = opened;
    return 0;
}

int log_fd(void)
{
    return fd;
}

/* One write per line, so that lines of several processes never mix; a longer line is cut. */
void log_line(const char *fmt, ...)
{
    char line[1024];
    struct timespec now;
    struct tm tm;
    size_t len;
    ssize_t ignored;
    va_list ap;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    len += (size_t)snprintf(line + len, sizeof(line) - len, ".%03ldZ ", now.tv_nsec / 1000000);
    va_start(ap, fmt);
    len += (size_t)vsnprintf(line + len, sizeof(line) - len, fmt, ap);
    va_end(ap);
    if (len > sizeof(line) - 1)
        len = sizeof(line) - 1;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
    line[len++] = '\n';
    ignored = write(fd, line, len);
    (void)ignored;
}
