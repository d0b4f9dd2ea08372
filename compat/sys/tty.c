#include "compat/sys/tty.h"

#include "compat/base/err.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const int deadly[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static struct termios saved;
static volatile sig_atomic_t raw_fd = -1;

bool tty_is(int fd)
{
    return isatty(fd);
}

bool tty_size(int fd, uint16_t *ret_rows, uint16_t *ret_cols)
{
    struct winsize size;

    if (ioctl(fd, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col)
        return false;
    *ret_rows = size.ws_row;
    *ret_cols = size.ws_col;
    return true;
}

void tty_restore(void)
{
    int fd = raw_fd;

    raw_fd = -1;
    if (fd >= 0)
        tcsetattr(fd, TCSANOW, &saved);
}

/* tcsetattr is async-signal-safe; the signal then does what it would have done. */
static void on_deadly(int signo)
{
    tty_restore();
    signal(signo, SIG_DFL);
    raise(signo);
}

/* Catches the deadly signals that nobody else handles. */
static void guard_signals(void)
{
    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        struct sigaction now;

        if (sigaction(deadly[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
            struct sigaction action = {.sa_handler = on_deadly};

            sigemptyset(&action.sa_mask);
            sigaction(deadly[i], &action, NULL);
        }
    }
}

/* Changes the mode until tty_restore(). */
static int change(int fd, void (*how)(struct termios *mode), struct err *err)
{
    static bool at_exit;
    struct termios mode;

    if (tcgetattr(fd, &saved) < 0)
        return err_set_errno(err, 1, errno, "reading the terminal's mode");
    mode = saved;
    how(&mode);
    guard_signals();
    if (!at_exit)
        at_exit = atexit(tty_restore) == 0;
    raw_fd = fd;
    if (tcsetattr(fd, TCSANOW, &mode) < 0) {
        raw_fd = -1;
        return err_set_errno(err, 1, errno, "setting the terminal's mode");
    }
    return 0;
}

int tty_raw(int fd, struct err *err)
{
    return change(fd, cfmakeraw, err);
}

static void without_echo(struct termios *mode)
{
    mode->c_lflag &= ~(tcflag_t)ECHO;
}

int tty_hide(int fd, struct err *err)
{
    return change(fd, without_echo, err);
}
