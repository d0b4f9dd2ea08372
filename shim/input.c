#include "shim/input.h"

#include "compat/base/err.h"
#include "compat/sys/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int input_open(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd >= 0 ? fd : err_set_errno(err, 1, errno, "open %s", path);
}

int input_stdin(const char *refusal, struct err *err)
{
    int fd;

    if (tty_is(STDIN_FILENO))
        return err_set(err, 1, "%s", refusal);
    fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    return fd >= 0 ? fd : err_set_errno(err, 1, errno, "stdin");
}
