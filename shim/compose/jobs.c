#include "shim/compose/jobs.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/docker/opt.h"
#include "compat/sys/loop.h"
#include "compat/sys/parent.h"
#include "shim/app.h"
#include "shim/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_ONCE  16u          /* processes at work, each with a connection of its own */
#define WAITERS  1000u        /* and those that only wait */
#define TEXT_MAX (256u << 10) /* what a job says */

struct job {
    job_fn *fn;
    void *arg, *token;
    pid_t pid; /* 0: it has not begun */
    bool waiter;
    int fd;
    struct buf text;
};

struct jobs {
    struct app *app;
    struct job *items; /* in the order in which they came; those that are over are taken out */
    size_t len, size, at_once;
};

/* --parallel, else COMPOSE_PARALLEL_LIMIT, else what a machine can bear. */
static size_t limit_of(const struct app *app)
{
    const char *env = getenv("COMPOSE_PARALLEL_LIMIT");
    int64_t given = app->group && opt_given(app->group, "parallel") ? opt_int(app->group, "parallel")
                    : env                                           ? strtoll(env, NULL, 10)
                                                                    : -1;

    return given > 0 && given < AT_ONCE ? (size_t)given : AT_ONCE;
}

struct jobs *jobs_new(struct app *app)
{
    struct jobs *jobs = xcalloc(1, sizeof(*jobs));

    jobs->app = app;
    jobs->at_once = limit_of(app);
    return jobs;
}

void jobs_rest(struct app *app)
{
    struct opt_parsed *group = steal(&app->group);
    char **argv = app->argv;
    int argc = app->argc;
    bool dry_run = app->dry_run;

    app_clear(app);
    app_init(app, argc, argv);
    app->group = group;
    app->dry_run = dry_run;
}

/* The end of a job's process: exit code, the error's number and whether there is one, then the text. */
struct report {
    int failed, exit_code, code;
};

static void write_all(int fd, const void *data, size_t len)
{
    for (size_t sent = 0; sent < len;) {
        ssize_t n = write(fd, (const char *)data + sent, len - sent);

        if (n < 0 && errno != EINTR)
            return;
        sent += n > 0 ? (size_t)n : 0;
    }
}

/* In the process of its own. */
static void work(struct app *app, const struct job *job, int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    cleanup_free char *text = NULL;
    struct err err = ERR_INIT;
    struct report report = {0};

    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    report.failed = job->fn(app, job->arg, &text, &err) < 0;
    report.exit_code = err.exit_code;
    report.code = err.code;
    write_all(fd, &report, sizeof(report));
    if (report.failed && err.msg)
        write_all(fd, err.msg, strlen(err.msg));
    else if (!report.failed && text)
        write_all(fd, text, strlen(text));
    app_clear(app);
    fflush(NULL);
}

static void begin(struct jobs *jobs, struct job *job)
{
    const pid_t self = getpid();
    int fds[2];

    jobs_rest(jobs->app);
    fflush(NULL);
    if (pipe2(fds, O_CLOEXEC) < 0) {
        job->pid = -1;
        return;
    }
    job->pid = fork();
    if (job->pid == 0) {
        if (job->waiter)
            parent_tie(self);
        close(fds[0]);
        work(jobs->app, job, fds[1]);
        _exit(0);
    }
    close(fds[1]);
    job->fd = fds[0];
}

static void begin_some(struct jobs *jobs)
{
    size_t begun = 0;

    for (size_t i = 0; i < jobs->len; i++)
        begun += jobs->items[i].pid != 0 && !jobs->items[i].waiter;
    for (size_t i = 0; i < jobs->len; i++)
        if (!jobs->items[i].pid && (jobs->items[i].waiter ? jobs->len < WAITERS : begun < jobs->at_once)) {
            begin(jobs, &jobs->items[i]);
            begun += !jobs->items[i].waiter;
        }
}

void jobs_add(struct jobs *jobs, job_fn *fn, void *arg, void *token, bool waiter)
{
    if (jobs->len == jobs->size) {
        jobs->size = jobs->size ? 2 * jobs->size : 8;
        jobs->items = xreallocarray(jobs->items, jobs->size, sizeof(*jobs->items));
    }
    jobs->items[jobs->len] = (struct job){.fn = fn, .arg = arg, .token = token, .waiter = waiter, .fd = -1};
    buf_init(&jobs->items[jobs->len].text, TEXT_MAX);
    jobs->len++;
    begin_some(jobs);
}

bool jobs_busy(const struct jobs *jobs)
{
    return jobs->len > 0;
}

/* What became of it, in *ret; it is taken out of the list. */
static void finish(struct jobs *jobs, size_t i, struct job_end *ret)
{
    struct job *job = &jobs->items[i];
    struct report report = {.failed = 1};
    int status = 0;

    *ret = (struct job_end){.token = job->token};
    if (job->fd >= 0)
        close(job->fd);
    while (job->pid > 0 && waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (job->text.len >= sizeof(report)) {
        memcpy(&report, job->text.data, sizeof(report));
        ret->ok = !report.failed;
        ret->text = xstrdup(job->text.data + sizeof(report));
        if (report.failed)
            err_set(&ret->err, report.exit_code, "%s", ret->text);
        ret->err.code = report.code;
    } else {
        ret->text = xstrdup("");
        err_set(&ret->err, 1, job->pid < 0 ? "no process could be made for it" : "its process was ended");
    }
    buf_clear(&job->text);
    memmove(job, job + 1, (jobs->len - i - 1) * sizeof(*job));
    jobs->len--;
}

/* Reads what a job has to say; true when it is over. */
static bool read_some(struct job *job)
{
    char bytes[4096];
    ssize_t n = read(job->fd, bytes, sizeof(bytes));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    if (n <= 0)
        return true;
    buf_add(&job->text, bytes, (size_t)n);
    return false;
}

int jobs_next(struct jobs *jobs, int64_t timeout_ms, struct job_end *ret)
{
    int64_t until = timeout_ms < 0 ? INT64_MAX : loop_now() + timeout_ms;

    while (jobs->len) {
        struct pollfd fds[AT_ONCE + WAITERS];
        size_t which[AT_ONCE + WAITERS];
        nfds_t len = 0;
        int64_t left = until == INT64_MAX ? -1 : until - loop_now();

        begin_some(jobs);
        for (size_t i = 0; i < jobs->len; i++) {
            if (jobs->items[i].pid < 0) {
                finish(jobs, i, ret);
                return 1;
            }
            if (jobs->items[i].pid && len < AT_ONCE + WAITERS) {
                which[len] = i;
                fds[len++] = (struct pollfd){.fd = jobs->items[i].fd, .events = POLLIN};
            }
        }
        if (poll(fds, len, left < 0 ? (until == INT64_MAX ? -1 : 0) : (int)(left > 60000 ? 60000 : left)) < 0)
            return 0; /* a signal: whoever waits has something to look at */
        for (nfds_t i = 0; i < len; i++)
            if (fds[i].revents && read_some(&jobs->items[which[i]])) {
                finish(jobs, which[i], ret);
                return 1;
            }
        if (loop_now() >= until)
            return 0;
    }
    return 0;
}

void jobs_end_waiters(struct jobs *jobs)
{
    for (size_t i = 0; i < jobs->len; i++)
        if (jobs->items[i].waiter && jobs->items[i].pid > 0)
            kill(jobs->items[i].pid, SIGKILL);
}

/* What was written to the file, without the last newline; owned by caller. */
static char *file_text(int fd)
{
    cleanup_buf struct buf text = BUF_INIT(TEXT_MAX);
    char bytes[4096];
    ssize_t n;
    off_t at = 0;

    while ((n = pread(fd, bytes, sizeof(bytes), at)) > 0 && buf_add(&text, bytes, (size_t)n) == 0)
        at += n;
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        buf_truncate(&text, text.len - 1);
    return buf_detach(&text);
}

/* `docker start` says at its end once more what could not be started: compose does not. */
static void drop_summary(char *text)
{
    char *at = strstr(text, "\nError: failed to start containers: ");

    if (at)
        *at = '\0';
}

static int command(struct app *app, const char *path, const struct strlist *words, bool quiet, char **ret_text,
                   struct err *err)
{
    cleanup_close int out = memfd_create("out", MFD_CLOEXEC), said = memfd_create("err", MFD_CLOEXEC);
    cleanup_close int old_out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3),
                      old_said = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    cleanup_free char *text = NULL;
    int code;

    if (out < 0 || said < 0 || old_out < 0 || old_said < 0)
        return err_set_errno(err, 1, errno, "docker %s", path);
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(said, STDERR_FILENO);
    code = command_call(app, path, words, err);
    fflush(NULL);
    dup2(old_out, STDOUT_FILENO);
    dup2(old_said, STDERR_FILENO);
    text = file_text(said);
    drop_summary(text);
    if (code > 0)
        return err_set(err, code, "%s", *text ? text : "it failed");
    if (*text && !quiet)
        fprintf(stderr, "%s\n", text);
    if (code == 0 && ret_text)
        *ret_text = file_text(out);
    return code;
}

int jobs_command(struct app *app, const char *path, const struct strlist *words, char **ret_text, struct err *err)
{
    return command(app, path, words, false, ret_text, err);
}

int jobs_command_quiet(struct app *app, const char *path, const struct strlist *words, char **ret_text, struct err *err)
{
    return command(app, path, words, true, ret_text, err);
}

void jobs_free(struct jobs *jobs)
{
    struct job_end end;

    if (!jobs)
        return;
    for (size_t i = jobs->len; i-- > 0;)
        if (!jobs->items[i].pid) { /* what has not begun is not begun any more */
            buf_clear(&jobs->items[i].text);
            memmove(&jobs->items[i], &jobs->items[i + 1], (jobs->len - i - 1) * sizeof(*jobs->items));
            jobs->len--;
        }
    while (jobs->len)
        if (jobs_next(jobs, -1, &end) > 0) {
            free(end.text);
            err_clear(&end.err);
        }
    free(jobs->items);
    free(jobs);
}
