#include "backends/agent/spawn_child.h"

#include "backends/agent/lookup.h"
#include "backends/agent/terms.h"
#include "backends/agent/user.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "translate/wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXEC_FAILED_CODE 255 /* what the container runtimes exit with when execve() itself refuses */

/* Moves the report pipe and the streams to 0..3, so that everything above can be closed. Returns the pipe's new place.
 */
static int place_streams(const int fds[3], int report)
{
    int high[4];

    for (int i = 0; i < 4; i++) {
        high[i] = fcntl(i < 3 ? fds[i] : report, F_DUPFD_CLOEXEC, 10);
        if (high[i] < 0)
            return -1;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(high[i], i) < 0)
            return -1;
    return dup3(high[3], 3, O_CLOEXEC);
}

/* close_range() where the kernel has it, else one by one up to the limit. */
static void close_from(int first)
{
    struct rlimit limit;
    rlim_t top = 4096;

#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) == 0)
        return;
#endif
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (1u << 20))
        top = limit.rlim_cur;
    for (int fd = first; (rlim_t)fd < top; fd++)
        close(fd);
}

/* The working directory: made for the container's own process, as Docker does; for others it must be there. */
static int enter_cwd(const struct wire_start *start, enum wire_refusal *refusal, struct err *err)
{
    const char *cwd = start->cwd[0] ? start->cwd : "/";
    struct stat st;

    *refusal = WIRE_REFUSAL_OTHER;
    if (cwd[0] != '/')
        return err_set(err, 125, "the working directory '%s' is invalid, it needs to be an absolute path", cwd);
    if ((start->flags & WIRE_START_MAIN) && stat(cwd, &st) < 0 && fs_mkdirs(cwd, 0755, NULL) < 0)
        return err_set(err, 125, "cannot make the working directory %s: %s", cwd, lookup_strerror(errno));
    if ((start->flags & WIRE_START_MAIN) && stat(cwd, &st) == 0 && !S_ISDIR(st.st_mode))
        return err_set(err, 125, "Cannot mkdir: %s is not a directory", cwd);
    if (chdir(cwd) == 0)
        return 0;
    *refusal = WIRE_REFUSAL_CWD;
    return err_set(err, errno == ENOENT ? 127 : 126, "chdir to cwd (\"%s\") set in config.json failed: %s", cwd,
                   lookup_strerror(errno));
}

/* Becomes the user: groups first, then gid, then uid, which gives up the right to do the others. */
static int become(const struct user *u, struct err *err)
{
    if (setgroups(u->n_groups, u->groups) < 0 && (errno != EPERM || geteuid() == 0))
        return err_set_errno(err, 126, errno, "setting supplementary groups");
    if (setresgid(u->gid, u->gid, u->gid) < 0)
        return err_set_errno(err, 126, errno, "changing to group %u", (unsigned)u->gid);
    if (setresuid(u->uid, u->uid, u->uid) < 0)
        return err_set_errno(err, 126, errno, "changing to user %u", (unsigned)u->uid);
    return 0;
}

/* A user's process may open /dev/stdout and its terminal again: they belong to it, as under Docker. */
static void own_streams(uid_t uid)
{
    for (int fd = 0; fd < 3; fd++) {
        struct stat st;

        if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || isatty(fd)))
            (void)!fchown(fd, uid, (gid_t)-1);
    }
}

/* What the platform gives every container, and no secret does. */
static bool is_the_platforms(const char *name)
{
    static const char *const names[] = {"HOME", "HOSTNAME",       "MODAL_CLOUD_PROVIDER", "MODAL_IMAGE_ID",
                                        "MODAL_REGION", "MODAL_SANDBOX_ID", "MODAL_TASK_ID", "PATH",
                                        "PWD",  "SHLVL",          "TERM"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Init has an environment only with --own-env. */
static void add_own_env(struct wire_start *start)
{
    for (char *const *e = environ; e && *e; e++) {
        cleanup_free char *name = xstrndup(*e, strcspn(*e, "="));

        if (!is_the_platforms(name) && !strlist_env_get(&start->env, name))
            strlist_add(&start->env, *e);
    }
}

static void complete_env(struct wire_start *start, const char *home)
{
    const char *given = strlist_env_get(&start->env, "HOME");

    add_own_env(start);
    if (!given || !*given)
        strlist_env_set(&start->env, "HOME", home);
    if ((start->flags & WIRE_START_TTY) && !strlist_env_get(&start->env, "TERM"))
        strlist_add(&start->env, "TERM=xterm");
}

/* Everything in a process begins at its default, whatever init had set. */
static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int signo = 1; signo < NSIG; signo++)
        sigaction(signo, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int prepare(struct wire_start *start, char **ret_program, enum wire_refusal *refusal, struct err *err)
{
    cleanup_with(user_clear) struct user user = {0};

    *refusal = WIRE_REFUSAL_USER;
    if (user_lookup(start->user, &user, err) < 0 || terms_groups(&start->terms, &user, err) < 0) {
        if (!(start->flags & WIRE_START_MAIN) && err->exit_code == 125)
            err->exit_code = 126; /* exec's code for it */
        return -1;
    }
    if (enter_cwd(start, refusal, err) < 0)
        return -1;
    *refusal = WIRE_REFUSAL_OTHER;
    own_streams(user.uid);
    complete_env(start, user.home);
    if (terms_limit(&start->terms, err) < 0 || become(&user, err) < 0)
        return -1;
    *ret_program = lookup_program(start->argv.items[0], strlist_env_get(&start->env, "PATH"), err);
    if (*ret_program)
        return terms_give_up(&start->terms, err);
    *refusal = err->exit_code == 127 ? WIRE_REFUSAL_NOT_FOUND : WIRE_REFUSAL_NOT_EXECUTABLE;
    return -1;
}

_Noreturn static void refuse(int report, enum wire_refusal refusal, const struct err *err)
{
    cleanup_buf struct buf b = BUF_INIT(64u << 10);
    struct wire_exit e = {
        .kind = WIRE_EXIT_REFUSED, .refusal = (uint8_t)refusal, .value = err->exit_code, .text = err->msg};
    size_t done = 0;

    wire_put_exit(&b, &e);
    while (done < b.len) {
        ssize_t n = write(report, b.data + done, b.len - done);

        if (n <= 0)
            break;
        done += (size_t)n;
    }
    _exit(err->exit_code);
}

/*
 * execve() itself failed: a missing interpreter, a foreign format. By then Docker's runtime has given the streams to
 * the process, so the line comes on its stderr, and the code is the runtime's.
 */
_Noreturn static void exec_failed(const char *program, int errnum)
{
    cleanup_free char *line = xasprintf("exec %s: %s\n", program, lookup_strerror(errnum));

    (void)!write(STDERR_FILENO, line, strlen(line));
    _exit(EXEC_FAILED_CODE);
}

_Noreturn void spawn_child(const struct wire_start *start, const int fds[3], int report)
{
    struct wire_start mine = *start; /* ours alone after the fork: env may grow */
    enum wire_refusal refusal = WIRE_REFUSAL_OTHER;
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *program = NULL;
    int pipe = place_streams(fds, report);

    if (pipe < 0) {
        err_set_errno(&err, 125, errno, "placing the streams");
        refuse(report, refusal, &err);
    }
    close_from(4);
    setsid();
    if (mine.flags & WIRE_START_TTY)
        ioctl(STDIN_FILENO, TIOCSCTTY, 0);
    umask(022);
    if (prepare(&mine, &program, &refusal, &err) < 0)
        refuse(pipe, refusal, &err);
    reset_signals();
    execve(program, strlist_argv(&mine.argv), strlist_argv(&mine.env));
    exec_failed(program, errno);
}
