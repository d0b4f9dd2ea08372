#include "backends/engine/detach.h"

#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY "ready\n"

/* The starter: reads what the engine says, until it says no more. */
static int listen_to_engine(int fd, struct err *err)
{
    cleanup_buf struct buf said = BUF_INIT(65536);

    for (;;) {
        char *to = buf_reserve(&said, 4096);
        ssize_t n = to ? read(fd, to, 4096) : 0;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        buf_advance(&said, (size_t)n);
        if (strcmp(said.data, READY) == 0)
            return -2;
    }
    if (said.len && said.data[said.len - 1] == '\n')
        buf_truncate(&said, said.len - 1);
    return err_set(err, 125, "%s", said.len ? said.data : "the engine ended while it was starting; see its log");
}

/* The engine: no terminal, no folder held, nothing inherited on 0 to 2. */
static void leave(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    if (chdir("/") < 0)
        return; /* the folder it was started in stays busy: no reason to fail */
}

int detach_start(struct err *err)
{
    int fds[2];
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set_errno(err, 125, errno, "pipe");
    child = fork();
    if (child < 0) {
        close(fds[0]);
        close(fds[1]);
        return err_set_errno(err, 125, errno, "fork");
    }
    if (child > 0) {
        cleanup_close int from = fds[0];

        close(fds[1]);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
        return listen_to_engine(from, err);
    }
    close(fds[0]);
    setsid();
    if (fork() != 0)
        _exit(0);
    leave();
    return fds[1];
}

static void say(int fd, const char *text)
{
    ssize_t ignored = write(fd, text, strlen(text));

    (void)ignored;
    close(fd);
}

void detach_ready(int fd)
{
    say(fd, READY);
}

void detach_failed(int fd, const char *message)
{
    say(fd, message);
}
