/*
 * A process in a running sandbox. The sandbox's starter makes it a child of ours (rt_starter.c). Where there is none,
 * crun and runc start it detached and end at once: two children are awaited one after the other, the runtime and then
 * the process, which the engine inherits. runsc stays in the foreground for as long as the process runs, for gVisor's
 * processes are no processes of this machine.
 */
#include "backends/engine/rt_internal.h"

#include "backends/engine/starter/request.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GVISOR_END 300 /* ms from the end of a sandbox's processes to that of the sandbox */

enum phase {
    WAITING,   /* for the sandbox, or for its starter */
    ASKED,     /* the starter has the request */
    LAUNCHING, /* the runtime works */
    RUNNING,
    ENDED
};

struct rt_exec {
    struct rt *rt;
    struct rt_sandbox *s; /* NULL once the handle was freed */
    struct rt_exec *next;
    struct rt_exec_events events;
    void *arg;
    uint64_t number;
    struct strlist args, env; /* until it runs */
    char *workdir;            /* NULL = the container's */
    char *base;               /* path of its files, without the ending; NULL = it has none */
    char *name;               /* the same, relative to the folder of execs */
    enum phase phase;
    bool pty, console_accepted, timed_out, busy, freed;
    bool by_starter; /* was started by it */
    bool piped;      /* fds are made */
    int fds[3];      /* the process's ends, until it is known to have them; with a terminal [0] only */
    int master;      /* of that terminal */
    uint32_t failed; /* what the starter's process could not do (enum starter_said), and why */
    int failed_error;
    struct timer *patience;
    bool discard[2];
    uint16_t rows, cols;
    struct rt_stream *streams[2];
    struct rt_input *input;
    int console;
    struct rt_poll *console_poll;
    struct timer *timeout;
    pid_t runtime_pid, pid;
    struct rt_child *runtime, *process;
    char *message;
};

static char *file_of(const struct rt_exec *e, const char *ending)
{
    return xasprintf("%s.%s", e->base, ending);
}

static void remove_files(const struct rt_exec *e)
{
    static const char *const endings[] = {"json", "pid", "inside", "log", "sock"};

    for (size_t i = 0; e->base && i < sizeof(endings) / sizeof(*endings); i++) {
        cleanup_free char *path = file_of(e, endings[i]);

        unlink(path);
    }
}

static void close_console(struct rt_exec *e)
{
    rt_poll_stop(&e->console_poll);
    if (e->console >= 0)
        close(e->console);
    e->console = -1;
}

/* Our hold on the process's ends: as long as we have it, no end of file is seen. */
static void close_fds(struct rt_exec *e)
{
    for (int i = 0; i < 3; i++) {
        if (e->fds[i] >= 0)
            close(e->fds[i]);
        e->fds[i] = -1;
    }
    if (e->master >= 0)
        close(e->master);
    e->master = -1;
}

static void forget_words(struct rt_exec *e)
{
    strlist_clear(&e->args);
    strlist_clear(&e->env);
    free(steal(&e->workdir));
}

static void release(struct rt_exec *e)
{
    rt_child_forget(&e->runtime);
    rt_child_forget(&e->process);
    forget_words(e);
    free(e->message);
    free(e->base);
    free(e->name);
    free(e);
}

/* ---- the end ---- */

/* Tells of the end. The streams are drained first, so that what the process wrote is there when its end is known. */
static void end(struct rt_exec *e, enum rt_end how, int code)
{
    bool was_ended[2];

    e->phase = ENDED;
    timer_stop(&e->timeout);
    timer_stop(&e->patience);
    close_console(e);
    close_fds(e);
    forget_words(e);
    rt_input_end(e->input);
    e->busy = true;
    for (int i = 0; i < 2; i++) {
        was_ended[i] = rt_stream_ended(e->streams[i]);
        rt_stream_drain(e->streams[i]);
        if (how == RT_END_LOST || how == RT_END_START_FAILED)
            rt_stream_end(e->streams[i]);
    }
    remove_files(e);
    for (int i = 0; i < 2 && !e->freed; i++)
        if (!was_ended[i] && rt_stream_ended(e->streams[i]) && e->events.on_output)
            e->events.on_output(e, i + 1, e->arg);
    if (!e->freed && e->events.on_exit)
        e->events.on_exit(e, how, code, e->arg);
    e->busy = false;
    if (e->freed)
        release(e);
}

/*
 * Whether the sandbox takes this process with it. The others of a pid namespace are killed before its init can be
 * waited for, so an exec's end is always seen first; but init is on its way out by then, and that can be seen.
 */
static bool sandbox_is_going(const struct rt_exec *e)
{
    pid_t parent, session;
    bool exiting = true;

    if (e->s->killed || e->s->state == RT_ENDED)
        return true;
    rt_process_stat(e->s->init, &parent, &session, &exiting);
    return exiting;
}

static void end_with_status(struct rt_exec *e, int status)
{
    if (status == -1)
        end(e, RT_END_LOST, 137);
    else if (WIFEXITED(status))
        end(e, RT_END_EXITED, WEXITSTATUS(status));
    else if (WTERMSIG(status) == SIGKILL && sandbox_is_going(e))
        end(e, RT_END_LOST, 137);
    else
        end(e, RT_END_SIGNALED, WTERMSIG(status));
}

void rt_exec_sandbox_ended(struct rt_exec *e)
{
    rt_child_forget(&e->process);
    rt_child_forget(&e->runtime);
    end(e, RT_END_LOST, 137);
}

/* ---- killing ---- */

struct gvisor_kill {
    struct rt *rt;
    pid_t runtime, inside;
    char *id, *dir, *pid_file;
};

static void gvisor_kill_work(void *arg)
{
    struct gvisor_kill *k = arg;

    rt_kill_in_gvisor(k->rt, k->id, k->dir, k->inside ? k->inside : rt_await_pid(k->pid_file, k->runtime));
}

static void gvisor_kill_done(void *arg)
{
    struct gvisor_kill *k = arg;

    free(k->id);
    free(k->dir);
    free(k->pid_file);
    free(k);
}

static pid_t pid_in_file(const struct rt_exec *e, const char *ending)
{
    cleanup_free char *path = file_of(e, ending), *line = rt_read_line(path);
    long pid = line ? strtol(line, NULL, 10) : 0;

    return pid > 1 ? (pid_t)pid : 0;
}

/* Kills the process with its children, if it is known by now. In gVisor that takes calls of the runtime, so a thread.
 */
static void kill_process(struct rt_exec *e, const struct rt_sandbox *s)
{
    struct gvisor_kill *k;

    if (e->rt->kind != RT_RUNSC) {
        if (e->process)
            rt_kill_session(s, e->pid);
        return;
    }
    if (!e->runtime && !e->process)
        return;
    k = xcalloc(1, sizeof(*k));
    *k = (struct gvisor_kill){.rt = e->rt, .runtime = e->process ? e->pid : e->runtime_pid, .id = xstrdup(s->id)};
    k->inside = pid_in_file(e, "inside");
    k->dir = xstrdup(s->dir);
    k->pid_file = file_of(e, "inside");
    rt_job_run(e->rt, gvisor_kill_work, gvisor_kill_done, k);
}

static void on_timeout(void *arg)
{
    struct rt_exec *e = arg;

    e->timed_out = true;
    if (e->busy) /* begin_later() sees it */
        return;
    if (e->phase == WAITING)
        end(e, RT_END_SIGNALED, SIGKILL);
    else
        kill_process(e, e->s);
}

/* ---- the start ---- */

static void use_terminal(struct rt_exec *e, int master)
{
    int second = fcntl(master, F_DUPFD_CLOEXEC, 3);

    rt_stream_tty(e->streams[0], master);
    if (second >= 0)
        rt_input_tty(e->input, second);
}

static void console_ready(void *arg);

/* First the runtime's connection, then the terminal that comes over it; each when it is there. */
static void take_console(struct rt_exec *e)
{
    int got = e->console_accepted ? rt_console_take(e->console, e->rows, e->cols) : rt_console_accept(e->console);

    if (got < 0 && errno == EAGAIN)
        return;
    close_console(e);
    if (got < 0)
        return;
    if (!e->console_accepted) {
        e->console_accepted = true;
        e->console = got;
        e->console_poll = rt_poll_start(e->rt, got, UV_READABLE, console_ready, e);
        take_console(e);
        return;
    }
    use_terminal(e, got);
}

static void console_ready(void *arg)
{
    take_console(arg);
}

static void fail_start(struct rt_exec *e, char *message, int code)
{
    e->message = message;
    end(e, RT_END_START_FAILED, code);
}

/* The runtime could not start the process, or the sandbox went away under it. */
static void launch_failed(struct rt_exec *e)
{
    cleanup_free char *log = file_of(e, "log"), *said = rt_log_message(log);
    int code = rt_start_code(said);

    if (sandbox_is_going(e))
        end(e, RT_END_LOST, 137);
    else
        fail_start(e, xasprintf("%s: %s", e->rt->name, said ? said : "the process could not be started"),
                   code == 125 ? 128 : code);
}

static void process_ended(int status, void *arg);

/* The runtime has detached: the process is ours now. */
static void launched(struct rt_exec *e, int status)
{
    if (status != 0) {
        launch_failed(e);
        return;
    }
    e->pid = pid_in_file(e, "pid");
    if (!e->pid) {
        fail_start(e, xstrdup("the runtime did not say which process it started"), 128);
        return;
    }
    if (e->console >= 0)
        take_console(e);
    e->phase = RUNNING;
    rt_child_watch(e->rt, &e->process, e->pid, process_ended, e);
    if (e->timed_out)
        kill_process(e, e->s);
}

static void killed_in_gvisor(void *arg)
{
    end(arg, RT_END_EXITED, 128 + SIGKILL);
}

/* runsc is done, and so is the process. It ends with 128 when it could not start it, but so may the process. */
static void gvisor_ended(struct rt_exec *e, int status)
{
    cleanup_free char *log = file_of(e, "log"), *said = NULL;

    if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 128 && (said = rt_log_message(log)))
        launch_failed(e);
    else if (status != -1 && WIFEXITED(status) && e->timed_out && WEXITSTATUS(status) == 128 + SIGKILL)
        end(e, RT_END_SIGNALED, SIGKILL);
    else if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGKILL && !sandbox_is_going(e))
        timer_start(&e->timeout, e->rt->loop, GVISOR_END, killed_in_gvisor, e); /* unless the sandbox ends: LOST */
    else if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGKILL)
        end(e, RT_END_LOST, 137);
    else
        end_with_status(e, status);
}

/* The process could not become the program: in the words, and with the codes, that the runtimes have for it. */
static void starter_failed(struct rt_exec *e)
{
    const char *why = strerror(e->failed_error);
    bool missing = e->failed_error == ENOENT || e->failed_error == ENOTDIR;
    char *message;

    if (e->failed == STARTER_NO_FOLDER)
        message = xasprintf("chdir to '%s': %s", e->workdir ? e->workdir : e->s->workdir, why);
    else if (e->failed == STARTER_NO_PROCESS)
        message = xasprintf("starting a process: %s", why);
    else if (missing && !strchr(e->args.items[0], '/'))
        message = xasprintf("executable file '%s' not found in $PATH: %s", e->args.items[0], why);
    else
        message = xasprintf("exec '%s': %s", e->args.items[0], why);
    fail_start(e, message, e->failed != STARTER_NO_PROGRAM ? 128 : missing ? 127 : 126);
}

/* What it may have said last is heard first. That can be about others too, whose owners may free this one. */
static void started_ended(struct rt_exec *e, int status)
{
    e->busy = true;
    rt_starter_listen(e->s);
    e->busy = false;
    if (e->freed)
        release(e);
    else if (e->failed != STARTER_STARTED && !sandbox_is_going(e))
        starter_failed(e);
    else
        end_with_status(e, status);
}

static void process_ended(int status, void *arg)
{
    struct rt_exec *e = arg;

    if (e->rt->kind == RT_RUNSC)
        gvisor_ended(e, status);
    else if (e->by_starter)
        started_ended(e, status);
    else
        end_with_status(e, status);
}

static void runtime_ended(int status, void *arg)
{
    struct rt_exec *e = arg;

    if (e->freed) { /* the handle went while the runtime worked: nobody wants the process */
        pid_t pid = status == 0 ? pid_in_file(e, "pid") : 0;

        if (pid)
            kill(pid, SIGKILL); /* reaped as a stray; gVisor's was killed from inside */
        remove_files(e);
        release(e);
        return;
    }
    if (e->phase == LAUNCHING)
        launched(e, status);
    else
        gvisor_ended(e, status);
}

static int make_pipes(struct rt_exec *e, struct err *err)
{
    if (e->pty || e->piped)
        return 0;
    e->piped = true;
    if (rt_input_pipe(e->input, &e->fds[0], err) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        if (e->discard[i])
            rt_stream_end(e->streams[i]);
        else if (rt_stream_pipe(e->streams[i], &e->fds[i + 1], err) < 0)
            return -1;
    }
    return 0;
}

/* The runtime makes the terminal and sends it. */
static int listen_for_console(struct rt_exec *e, struct err *err)
{
    cleanup_free char *path = file_of(e, "sock");

    if (!e->pty)
        return 0;
    rt_stream_end(e->streams[1]);
    if (rt_console_listen(path, &e->console, err) < 0)
        return -1;
    e->console_poll = rt_poll_start(e->rt, e->console, UV_READABLE, console_ready, e);
    return 0;
}

/* runsc makes a terminal for a process that it leaves alone only; the rest of it is then what is inherited. */
static bool detaches(const struct rt_exec *e)
{
    return e->rt->kind != RT_RUNSC || e->pty;
}

static void exec_words(const struct rt_exec *e, struct strlist *words)
{
    bool gvisor = e->rt->kind == RT_RUNSC;
    cleanup_free char *log = file_of(e, "log");

    rt_argv(e->rt, log, words);
    strlist_add(words, "exec");
    if (detaches(e)) {
        strlist_add(words, "--detach");
        strlist_add(words, "--pid-file");
        strlist_addf(words, "%s.pid", e->name);
    }
    strlist_add(words, "--process");
    strlist_addf(words, "%s.json", e->name);
    if (gvisor) {
        strlist_add(words, "--internal-pid-file");
        strlist_addf(words, "%s.inside", e->name);
    }
    if (e->pty) {
        strlist_add(words, "--console-socket");
        strlist_addf(words, "%s.sock", e->name);
    }
    strlist_add(words, e->s->id);
}

/* The words of the process, for the runtime to read. */
static int write_words(struct rt_exec *e, struct err *err)
{
    struct rt_exec_spec spec = {.args = &e->args,
                                .env = &e->env,
                                .workdir = e->workdir,
                                .pty = e->pty,
                                .pty_rows = e->rows,
                                .pty_cols = e->cols};
    cleanup_free char *json = NULL;

    if (!e->base) {
        e->name = xasprintf("%llu", (unsigned long long)e->number);
        e->base = xasprintf("%s/x/%s", e->s->dir, e->name);
    }
    json = file_of(e, "json");
    return rt_process_write(&spec, e->s->workdir, json, err);
}

/* Everything that can fail before there is a process. */
static int launch(struct rt_exec *e, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *folder = xasprintf("%s/x", e->s->dir);
    struct rt_spawn spawn = {.program = e->rt->program, .cwd = folder, .mount_ns = e->rt->mount_ns};
    pid_t pid;

    if (write_words(e, err) < 0 || listen_for_console(e, err) < 0)
        return -1;
    exec_words(e, &words);
    spawn.argv = strlist_argv(&words);
    if (e->rt->kind == RT_CRUN) {
        spawn.join = e->s->cgroup.procs;
        spawn.join_len = e->s->cgroup.procs_len;
    }
    memcpy(spawn.fds, e->fds, sizeof(spawn.fds));
    pid = rt_spawn(&spawn, err);
    close_fds(e);
    if (pid < 0)
        return -1;
    e->runtime_pid = pid;
    e->phase = detaches(e) ? LAUNCHING : RUNNING;
    rt_child_watch(e->rt, &e->runtime, pid, runtime_ended, e);
    return 0;
}

/* ---- the start, by the starter ---- */

static void starter_is_silent(void *arg)
{
    struct rt_exec *e = arg;

    rt_starter_broke(e->s);
}

/* -1: the runtime has to do it. */
static int ask_starter(struct rt_exec *e)
{
    cleanup_close int null = -1;
    int fds[3];

    if (!rt_starter_ready(e->s))
        return -1;
    if (e->pty && rt_starter_terminal(e->s, e->rows, e->cols, &e->master, &e->fds[0]) < 0)
        return -1;
    null = e->pty ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3; i++)
        fds[i] = e->fds[i] >= 0 ? e->fds[i] : null;
    if (rt_starter_ask(e->s, e->number, e->workdir ? e->workdir : e->s->workdir, &e->args, &e->env, fds, e->pty) < 0) {
        if (e->pty)
            close_fds(e);
        return -1;
    }
    e->phase = ASKED;
    timer_start(&e->patience, e->rt->loop, RT_STARTER_PATIENCE, starter_is_silent, e);
    return 0;
}

static void taken_over(struct rt_exec *e, pid_t pid)
{
    timer_stop(&e->patience);
    if (e->pty) {
        rt_stream_end(e->streams[1]);
        use_terminal(e, steal_fd(&e->master));
    }
    close_fds(e);
    e->pid = pid;
    e->by_starter = true;
    e->phase = RUNNING;
    rt_child_watch(e->rt, &e->process, pid, process_ended, e);
    if (e->timed_out)
        kill_process(e, e->s);
}

bool rt_exec_reported(struct rt_sandbox *s, uint64_t number, pid_t sender, uint32_t said, int error)
{
    struct rt_exec *e = s->execs;

    while (e && (e->number != number || e->phase == ENDED))
        e = e->next;
    if (said == STARTER_STARTED && e && e->phase == ASKED) {
        taken_over(e, sender);
        return true;
    }
    if (said == STARTER_STARTED) { /* its handle was freed meanwhile: nobody wants it */
        kill(sender, SIGKILL);
        return e == NULL;
    }
    if (!e)
        return true;
    if (said == STARTER_NO_PROCESS ? e->phase != ASKED : !e->by_starter || e->pid != sender)
        return false;
    e->failed = said;
    e->failed_error = error;
    if (said == STARTER_NO_PROCESS)
        starter_failed(e);
    return true;
}

void rt_exec_starter_lost(struct rt_sandbox *s)
{
    for (struct rt_exec *e = s->execs; e; e = e->next)
        if (e->phase == ASKED) {
            timer_stop(&e->patience);
            e->phase = WAITING;
            if (e->pty)
                close_fds(e);
        }
    if (s->state == RT_RUNNING)
        rt_exec_begin_waiting(s);
}

/* A starter that is not there is put there first: it costs what this exec would, and the next ones are cheap. */
static bool waits_for_starter(const struct rt_exec *e)
{
    if (!e->s->killed)
        rt_starter_begin(e->s);
    return rt_starter_coming(e->s);
}

static void begin(struct rt_exec *e)
{
    struct err err = ERR_INIT;

    if (waits_for_starter(e))
        return;
    if (make_pipes(e, &err) == 0 && (ask_starter(e) == 0 || launch(e, &err) == 0))
        return;
    if (sandbox_is_going(e)) { /* its cgroup is gone, or closing */
        end(e, RT_END_LOST, 137);
        err_clear(&err);
    } else {
        fail_start(e, err.msg, 128);
    }
}

void rt_exec_begin_waiting(struct rt_sandbox *s)
{
    while (s->state == RT_RUNNING && !s->released && !rt_starter_coming(s)) {
        struct rt_exec *e = s->execs;

        while (e && (e->phase != WAITING || e->busy))
            e = e->next;
        if (!e)
            return;
        begin(e);
    }
}

static void begin_later(void *arg)
{
    struct rt_exec *e = arg;

    e->busy = false;
    if (e->freed)
        release(e);
    else if (e->timed_out)
        end(e, RT_END_SIGNALED, SIGKILL);
    else if (e->phase == WAITING && e->s->state == RT_RUNNING)
        begin(e);
    else if (e->phase == WAITING && e->s->state == RT_ENDED)
        end(e, RT_END_LOST, 137);
}

static void out_ready(void *arg)
{
    struct rt_exec *e = arg;

    if (e->events.on_output)
        e->events.on_output(e, 1, e->arg);
}

static void err_ready(void *arg)
{
    struct rt_exec *e = arg;

    if (e->events.on_output)
        e->events.on_output(e, 2, e->arg);
}

static void append(struct rt_exec **list, struct rt_exec *e)
{
    while (*list)
        list = &(*list)->next;
    *list = e;
}

struct rt_exec *rt_exec_start(struct rt_sandbox *s, const struct rt_exec_spec *spec,
                              const struct rt_exec_events *events, void *arg, struct err *err)
{
    static uint64_t number;
    struct rt_exec *e;

    if (s->released || s->state == RT_ENDED)
        return err_set(err, 125, "the sandbox %s is not running", s->id), NULL;
    if (!spec->args || spec->args->len == 0 || !spec->args->items[0][0])
        return err_set(err, 125, "no command specified"), NULL;
    if (spec->workdir && spec->workdir[0] != '/')
        return err_set(err, 125, "the working directory '%s' is invalid, it needs to be an absolute path",
                       spec->workdir),
               NULL;
    if (rt_process_check(spec, s->workdir, err) < 0)
        return NULL;
    e = xcalloc(1, sizeof(*e));
    *e = (struct rt_exec){.rt = s->rt, .s = s, .events = *events, .arg = arg, .console = -1};
    e->fds[0] = e->fds[1] = e->fds[2] = e->master = -1;
    e->number = ++number;
    strlist_copy(&e->args, spec->args);
    strlist_copy(&e->env, spec->env);
    e->workdir = spec->workdir ? xstrdup(spec->workdir) : NULL;
    e->pty = spec->pty;
    e->rows = spec->pty_rows;
    e->cols = spec->pty_cols;
    e->discard[0] = spec->discard_stdout;
    e->discard[1] = spec->discard_stderr;
    e->streams[0] = rt_stream_new(s->rt, out_ready, e);
    e->streams[1] = rt_stream_new(s->rt, err_ready, e);
    e->input = rt_input_new(s->rt);
    append(&s->execs, e);
    if (spec->timeout_secs)
        timer_start(&e->timeout, s->rt->loop, spec->timeout_secs * (uint64_t)1000, on_timeout, e);
    if (s->state == RT_RUNNING) { /* from the loop: no callback before the caller has the handle */
        e->busy = true;
        rt_later(s->rt, begin_later, e);
    }
    return e;
}

/* ---- for the caller ---- */

struct rt_exec *rt_exec_first_live(struct rt_sandbox *s)
{
    struct rt_exec *e = s->execs;

    while (e && (e->phase == ENDED || e->busy))
        e = e->next;
    return e;
}

struct rt_stream *rt_exec_stream(struct rt_exec *e, int fd)
{
    return e->streams[fd == 2];
}

const char *rt_exec_message(const struct rt_exec *e)
{
    return e->message;
}

int rt_exec_stdin(struct rt_exec *e, uint64_t offset, const void *bytes, size_t len, bool eof, void (*done)(void *arg),
                  void *arg, struct err *err)
{
    return rt_input_write(e->input, offset, bytes, len, eof, done, arg, err);
}

void rt_exec_stdin_status(const struct rt_exec *e, uint64_t *ret_accepted, bool *ret_closed)
{
    rt_input_status(e->input, ret_accepted, ret_closed);
}

void rt_exec_free(struct rt_exec *e)
{
    struct rt_exec **p;

    if (!e || e->freed)
        return;
    for (p = &e->s->execs; *p != e;)
        p = &(*p)->next;
    *p = e->next;
    kill_process(e, e->s);
    e->freed = true;
    e->s = NULL;
    timer_stop(&e->timeout);
    timer_stop(&e->patience);
    close_console(e);
    close_fds(e);
    rt_input_free(e->input);
    rt_stream_free(e->streams[0]);
    rt_stream_free(e->streams[1]);
    if (e->runtime) /* released when it is done */
        return;
    remove_files(e);
    if (!e->busy)
        release(e);
}
