/*
 * The engine's end of a sandbox's starter (starter/starter.c). The runtime puts it into the container as it would an
 * exec; from then on an exec is one message to it instead of a run of the runtime.
 *
 * All that comes from it is the word of the container, which can take the starter over: a report counts only when its
 * sender, as the kernel names it, is a child of ours that nobody else waits for; terminals are made here; more reports
 * than requests explain, silence, or its end make it broken. Then its socket is shut, what it had not started yet goes
 * to the runtime, and a new one comes with the next exec, but not for ever.
 */
#include "backends/engine/rt_internal.h"

#include "backends/engine/starter/request.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#define TURN       64   /* reports read per turn of the loop */
#define ADOPTION   1    /* ms between looks whether the starter has become our child */
#define ADOPTED_BY 2000 /* looks before that is given up */

enum state { NONE, COMING, READY, GIVEN_UP };

struct rt_starter {
    enum state state;
    int socket;
    pid_t pid;
    struct rt_child *runtime, *process;
    struct rt_poll *poll;
    struct timer *adoption;
    unsigned looks;
    unsigned breaks;  /* in a row */
    uint64_t reports; /* that may still come */
};

extern const char starter_image[], starter_image_end[]; /* starter/image.S */

/* ---- the program: the container sees no file of ours, and all sandboxes share one ---- */

void rt_starters_init(struct rt *rt)
{
    const char *how = getenv("ATP_ENGINE_EXEC");

    rt->starter_program = -1;
    if (rt->kind != RT_RUNSC && (!how || strcmp(how, "runtime") != 0))
        rt->starter_program =
            rt_sealed_program(STARTER_NAME, starter_image, (size_t)(starter_image_end - starter_image));
}

void rt_starters_finish(struct rt *rt)
{
    if (rt->starter_program >= 0)
        close(rt->starter_program);
    rt->starter_program = -1;
}

/* ---- its end ---- */

static void take_reports(struct rt_sandbox *s);

/* Nothing can be said through the socket any more; what was said is heard first. */
static void shut(struct rt_sandbox *s)
{
    struct rt_starter *st = s->starter;

    timer_stop(&st->adoption);
    rt_poll_stop(&st->poll);
    if (st->socket < 0)
        return;
    shutdown(st->socket, SHUT_RDWR);
    take_reports(s);
    if (st->socket >= 0)
        close(st->socket);
    st->socket = -1;
}

/* Its own process; the execs that it started are not its children. */
static void end_process(struct rt_starter *st)
{
    if (st->process && st->pid > 1)
        kill(st->pid, SIGKILL);
    rt_child_forget(&st->process);
    rt_child_forget(&st->runtime);
    st->pid = 0;
}

/* What waited for it, or was asked of it in vain, goes to the runtime. */
static void broke(struct rt_sandbox *s)
{
    struct rt_starter *st = s->starter;

    if (st->state != COMING && st->state != READY)
        return;
    st->state = ++st->breaks >= RT_STARTER_BREAKS ? GIVEN_UP : NONE;
    shut(s);
    end_process(st);
    rt_exec_starter_lost(s);
}

void rt_starter_broke(struct rt_sandbox *s)
{
    broke(s);
}

void rt_starter_free(struct rt_sandbox *s)
{
    struct rt_starter *st = s->starter;

    if (!st)
        return;
    st->state = GIVEN_UP;
    shut(s);
    end_process(st);
    free(st);
    s->starter = NULL;
}

void rt_starter_stop(struct rt_sandbox *s)
{
    if (!s->starter)
        return;
    s->starter->state = GIVEN_UP;
    shut(s);
    end_process(s->starter);
}

/* ---- reports ---- */

/* One report and who sent it; false when there is none now. Descriptors that come along are closed by the kernel, for
 * want of room. */
static bool receive(int socket, struct starter_report *ret, size_t *ret_len, pid_t *ret_sender)
{
    char control[CMSG_SPACE(sizeof(struct ucred))] __attribute__((aligned(sizeof(size_t))));
    struct iovec part = {.iov_base = ret, .iov_len = sizeof(*ret)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    struct ucred who = {0};

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS &&
        header->cmsg_len == CMSG_LEN(sizeof(who)))
        memcpy(&who, CMSG_DATA(header), sizeof(who));
    *ret_len = got > 0 ? (size_t)got : 0;
    *ret_sender = who.pid;
    return true;
}

/* Passes one report on; false when it cannot be true. */
static bool heed(struct rt_sandbox *s, const struct starter_report *r, pid_t sender)
{
    struct rt_starter *st = s->starter;

    if (sender <= 1 || st->reports == 0 || r->said > STARTER_NO_PROCESS || r->error < 0 || r->error > 4095)
        return false;
    st->reports--;
    if (r->said == STARTER_NO_PROCESS)
        st->reports--; /* there is no process that would report more */
    if (r->said == STARTER_STARTED && !rt_child_is_new(s->rt, sender))
        return false;
    return rt_exec_reported(s, r->number, sender, r->said, r->error);
}

/* The last messages of a starter that is being shut are read too, so this must not shut it. */
static bool read_reports(struct rt_sandbox *s)
{
    for (int i = 0; i < TURN && s->starter && s->starter->socket >= 0; i++) {
        struct starter_report report;
        pid_t sender;
        size_t len;

        if (!receive(s->starter->socket, &report, &len, &sender))
            return true;
        if (len != sizeof(report) || !heed(s, &report, sender))
            return false;
        s->starter->breaks = 0;
    }
    return true;
}

static void take_reports(struct rt_sandbox *s)
{
    read_reports(s);
}

static void on_readable(void *arg)
{
    struct rt_sandbox *s = arg;

    if (!read_reports(s) && s->starter)
        broke(s);
}

void rt_starter_listen(struct rt_sandbox *s)
{
    if (s->starter && s->starter->state == READY)
        on_readable(s);
}

/* ---- its beginning ---- */

static void process_ended(int status, void *arg)
{
    (void)status;
    broke(arg);
}

/* Requests wait until it is our child: what it starts before would be its go-between's. */
static void adopt(void *arg)
{
    struct rt_sandbox *s = arg;
    struct rt_starter *st = s->starter;

    if (!rt_child_is_new(s->rt, st->pid)) {
        if (++st->looks < ADOPTED_BY)
            timer_start(&st->adoption, s->rt->loop, ADOPTION, adopt, s);
        else
            broke(s);
        return;
    }
    st->state = READY;
    rt_child_watch(s->rt, &st->process, st->pid, process_ended, s);
    st->poll = rt_poll_start(s->rt, st->socket, UV_READABLE, on_readable, s);
    rt_exec_begin_waiting(s);
}

static void runtime_ended(int status, void *arg)
{
    struct rt_sandbox *s = arg;
    struct rt_starter *st = s->starter;
    cleanup_free char *path = xasprintf("%s/x/starter.pid", s->dir), *line = rt_read_line(path);
    long pid = status == 0 && line ? strtol(line, NULL, 10) : 0;

    if (pid <= 1) {
        broke(s);
        return;
    }
    st->pid = (pid_t)pid;
    adopt(s);
}

/* The runtime's exec of it: the socket on 0, the program on 1, so that no descriptor but these three is passed. */
static pid_t launch(const struct rt_sandbox *s, int socket, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT, args = STRLIST_INIT, env = STRLIST_INIT;
    cleanup_free char *folder = xasprintf("%s/x", s->dir), *json = xasprintf("%s/starter.json", folder);
    cleanup_free char *log = xasprintf("%s/starter.log", folder);
    struct rt_exec_spec spec = {.args = &args, .env = &env, .workdir = "/"};
    struct rt_spawn spawn = {.program = s->rt->program,
                             .cwd = folder,
                             .fds = {socket, s->rt->starter_program, -1},
                             .mount_ns = s->rt->mount_ns};

    strlist_add(&args, "/proc/self/fd/1");
    if (rt_process_write(&spec, "/", json, err) < 0)
        return -1;
    rt_argv(s->rt, log, &words);
    strlist_split(&words, "exec --detach --pid-file starter.pid --process starter.json", ' ');
    strlist_add(&words, s->id);
    spawn.argv = strlist_argv(&words);
    if (s->rt->kind == RT_CRUN) {
        spawn.join = s->cgroup.procs;
        spawn.join_len = s->cgroup.procs_len;
    }
    return rt_spawn(&spawn, err);
}

struct rt_launch rt_starter_launch(const struct rt_sandbox *s)
{
    struct rt_launch made = {.socket = -1};
    int ends[2], on = 1;

    if (s->rt->starter_program < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return made;
    if (setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0)
        made.runtime = launch(s, ends[1], NULL);
    close(ends[1]);
    if (made.runtime > 0)
        made.socket = ends[0];
    else
        close(ends[0]);
    return made;
}

void rt_starter_await(struct rt_sandbox *s, struct rt_launch made)
{
    struct rt_starter *st = s->starter;

    if (!st)
        st = s->starter = xcalloc(1, sizeof(*st));
    st->looks = 0;
    st->reports = 0;
    st->socket = made.socket;
    st->state = made.socket >= 0 ? COMING : GIVEN_UP;
    if (st->state == COMING)
        rt_child_watch(s->rt, &st->runtime, made.runtime, runtime_ended, s);
}

void rt_starter_begin(struct rt_sandbox *s)
{
    if (s->rt->starter_program >= 0 && s->state == RT_RUNNING && (!s->starter || s->starter->state == NONE))
        rt_starter_await(s, rt_starter_launch(s));
}

bool rt_starter_coming(const struct rt_sandbox *s)
{
    return s->starter && s->starter->state == COMING;
}

bool rt_starter_ready(const struct rt_sandbox *s)
{
    return s->starter && s->starter->state == READY;
}

/* ---- requests ---- */

static void add_words(struct buf *out, const struct strlist *words)
{
    for (size_t i = 0; i < words->len; i++)
        buf_add(out, words->items[i], strlen(words->items[i]) + 1);
}

static int send_request(int socket, const struct buf *request, const int *fds, size_t fds_len)
{
    char control[CMSG_SPACE(3 * sizeof(int))] __attribute__((aligned(sizeof(size_t)))) = {0};
    struct iovec part = {.iov_base = request->data, .iov_len = request->len};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(fds_len * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds_len * sizeof(int));
    memcpy(CMSG_DATA(header), fds, fds_len * sizeof(int));
    return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)request->len ? 0 : -1;
}

/* Without a search path the runtime knows what to do. */
static bool can_take(const struct strlist *args, const struct strlist *env)
{
    return args->len <= STARTER_WORDS_MAX && env->len <= STARTER_WORDS_MAX - args->len &&
           (strchr(args->items[0], '/') || strlist_env_get(env, "PATH"));
}

int rt_starter_ask(struct rt_sandbox *s, uint64_t number, const char *folder, const struct strlist *args,
                   const struct strlist *env, const int *fds, bool terminal)
{
    cleanup_buf struct buf bytes = BUF_INIT(STARTER_BYTES_MAX);
    struct starter_request request = {
        .number = number, .args = (uint32_t)args->len, .env = (uint32_t)env->len, .terminal = terminal};

    if (!rt_starter_ready(s) || !can_take(args, env))
        return -1;
    buf_add(&bytes, &request, sizeof(request));
    buf_add(&bytes, folder, strlen(folder) + 1);
    add_words(&bytes, args);
    add_words(&bytes, env);
    if (bytes.overflowed || send_request(s->starter->socket, &bytes, fds, terminal ? 1 : 3) < 0)
        return -1;
    s->starter->reports += 2; /* it started; it could not go on */
    return 0;
}

/*
 * A terminal of the container's own, as seen from outside: opened here, not in there, so that nobody in there shares
 * the master's open file and could make our reads block. The path is walked without following links, and only the
 * kernel's own file system of terminals will do.
 */
int rt_starter_terminal(const struct rt_sandbox *s, uint16_t rows, uint16_t cols, int *ret_master, int *ret_slave)
{
    const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    struct winsize size = {.ws_row = rows, .ws_col = cols};
    cleanup_free char *path = xasprintf("/proc/%d/root", (int)s->starter->pid);
    cleanup_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), folder = -1, master = -1;
    struct statfs fs;
    int unlocked = 0, slave;

    folder = root < 0 ? -1 : (int)syscall(SYS_openat2, root, "dev/pts", &how, sizeof(how));
    if (folder < 0 || fstatfs(folder, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
        return -1;
    master = openat(folder, "ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
        return -1;
    if (rows && cols)
        ioctl(master, TIOCSWINSZ, &size);
    slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return -1;
    *ret_master = steal_fd(&master);
    *ret_slave = slave;
    return 0;
}
