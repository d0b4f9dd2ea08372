#include "backends/agent/spawn.h"

#include "backends/agent/spawn_child.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

/* Both ends of what is made here, until the parent closes the child's. */
struct streams {
    int parent[3];
    int child[3];
};

static void close_all(int fds[3])
{
    for (int i = 0; i < 3; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* Opens a terminal's slave: by ioctl where the kernel can (no path needed), else by name. */
static int open_slave(int master)
{
    int fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[64];

    if (fd >= 0)
        return fd;
    if (ptsname_r(master, name, sizeof(name)) != 0)
        return -1;
    return open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* A new terminal of the given size; both ends are returned. */
static int open_terminal(uint16_t rows, uint16_t cols, int *ret_master, int *ret_slave, struct err *err)
{
    struct winsize size = {.ws_row = rows, .ws_col = cols};
    cleanup_close int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    int slave, off = 0;

    if (master < 0)
        master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        return err_set_errno(err, 126, errno, "this container cannot have a terminal: opening /dev/ptmx");
    if (ioctl(master, TIOCSPTLCK, &off) < 0)
        return err_set_errno(err, 126, errno, "this container cannot have a terminal: unlocking /dev/ptmx");
    slave = open_slave(master);
    if (slave < 0)
        return err_set_errno(err, 126, errno, "this container cannot have a terminal: opening its slave");
    ioctl(slave, TIOCSWINSZ, &size);
    *ret_master = steal_fd(&master);
    *ret_slave = slave;
    return 0;
}

static int make_terminal(const struct wire_start *start, struct streams *s, struct err *err)
{
    if (open_terminal(start->rows, start->cols, &s->parent[1], &s->child[0], err) < 0)
        return -1;
    s->child[1] = fcntl(s->child[0], F_DUPFD_CLOEXEC, 3);
    s->child[2] = fcntl(s->child[0], F_DUPFD_CLOEXEC, 3);
    if (start->flags & WIRE_START_STDIN)
        s->parent[0] = fcntl(s->parent[1], F_DUPFD_CLOEXEC, 3);
    if (s->child[1] < 0 || s->child[2] < 0 || ((start->flags & WIRE_START_STDIN) && s->parent[0] < 0))
        return err_set_errno(err, 125, errno, "making a terminal");
    return 0;
}

/* gVisor does not let a pipe change hands, and then no user but root could open /dev/stdout. */
static bool pipes_can_be_owned(void)
{
    static int known = -1;
    int fds[2];
    struct stat st;

    if (known >= 0 || pipe2(fds, O_CLOEXEC) < 0)
        return known != 0;
    known = geteuid() != 0 || (fchown(fds[1], 1, (gid_t)-1) == 0 && fstat(fds[1], &st) == 0 && st.st_uid == 1);
    close(fds[0]);
    close(fds[1]);
    return known;
}

/* A pipe that had a name for a moment: its inode is an ordinary one, with an owner. */
static int open_fifo(const char *run_dir, int fds[2])
{
    cleanup_free char *path = xasprintf("%s/fifo", run_dir);

    unlink(path);
    if (mkfifo(path, 0600) < 0)
        return -1;
    fds[0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fds[1] = fds[0] < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC);
    unlink(path);
    if (fds[1] < 0) {
        if (fds[0] >= 0)
            close(fds[0]);
        return -1;
    }
    return fcntl(fds[0], F_SETFL, 0);
}

/* One pipe; the child reads it as stdin (i = 0) or writes it. */
static int make_pipe(const char *run_dir, struct streams *s, int i, struct err *err)
{
    int fds[2];

    if ((pipes_can_be_owned() || open_fifo(run_dir, fds) < 0) && pipe2(fds, O_CLOEXEC) < 0)
        return err_set_errno(err, 125, errno, "making a pipe");
    s->child[i] = fds[i ? 1 : 0];
    s->parent[i] = fds[i ? 0 : 1];
    return 0;
}

/* Without -i the process reads /dev/null, or an empty pipe where the image has no /dev. */
static int make_empty_stdin(const char *run_dir, struct streams *s, struct err *err)
{
    s->child[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (s->child[0] >= 0)
        return 0;
    if (make_pipe(run_dir, s, 0, err) < 0)
        return -1;
    close(s->parent[0]);
    s->parent[0] = -1;
    return 0;
}

static int make_streams(const struct wire_start *start, const char *run_dir, struct streams *s, struct err *err)
{
    if (start->flags & WIRE_START_TTY)
        return make_terminal(start, s, err);
    if (make_pipe(run_dir, s, 1, err) < 0 || make_pipe(run_dir, s, 2, err) < 0)
        return -1;
    return start->flags & WIRE_START_STDIN ? make_pipe(run_dir, s, 0, err) : make_empty_stdin(run_dir, s, err);
}

/* Forks with every signal blocked, so that the child never runs one of our handlers. */
static pid_t fork_blocked(void)
{
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid != 0) {
        int saved = errno;

        sigprocmask(SIG_SETMASK, &before, NULL);
        errno = saved;
    }
    return pid;
}

int spawn(const struct wire_start *start, const char *run_dir, struct spawned *ret, struct err *err)
{
    struct streams s = {{-1, -1, -1}, {-1, -1, -1}};
    int report[2] = {-1, -1};
    pid_t pid;

    if (make_streams(start, run_dir, &s, err) < 0)
        goto failed;
    if (pipe2(report, O_CLOEXEC) < 0) {
        err_set_errno(err, 125, errno, "making a pipe");
        goto failed;
    }
    pid = fork_blocked();
    if (pid < 0) {
        err_set_errno(err, 125, errno, "making a process");
        goto failed;
    }
    if (pid == 0) {
        close(report[0]);
        spawn_child(start, s.child, report[1]);
    }
    close_all(s.child);
    close(report[1]);
    for (int i = 0; i < 3; i++)
        if (s.parent[i] >= 0)
            fcntl(s.parent[i], F_SETFL, O_NONBLOCK);
    *ret = (struct spawned){pid, s.parent[0], s.parent[1], s.parent[2], report[0]};
    return 0;
failed:
    close_all(s.child);
    close_all(s.parent);
    if (report[0] >= 0) {
        close(report[0]);
        close(report[1]);
    }
    return -1;
}

int spawn_report(int fd, struct wire_exit *ret)
{
    cleanup_buf struct buf b = BUF_INIT(64u << 10);
    struct wire_frame f = {.type = WIRE_EXIT};
    ssize_t n;

    for (;;) {
        char *room = buf_reserve(&b, 4096);

        if (!room)
            break;
        n = read(fd, room, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        buf_advance(&b, (size_t)n);
    }
    if (b.len < WIRE_HEADER)
        return 0;
    f.data = (const uint8_t *)b.data + WIRE_HEADER;
    f.len = b.len - WIRE_HEADER;
    return wire_get_exit(&f, ret, NULL) < 0 ? 0 : 1;
}
