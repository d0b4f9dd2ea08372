#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/opt.h"
#include "compat/sys/tty.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/attach.h"
#include "shim/binds.h"
#include "shim/command.h"
#include "shim/events.h"
#include "shim/join.h"
#include "translate/env.h"
#include "translate/signals.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEATH_LOOKS  3
#define DEATH_NAP_NS 25000000

/* Everything that one `exec` holds. */
struct exec {
    struct container c;
    struct binds binds;
    struct strlist argv, env;
    bool tty, interactive, detached;
    char id[EVENT_EXEC_ID_MAX]; /* as events have it */
};

static void exec_clear(struct exec *e)
{
    strlist_clear(&e->argv);
    strlist_clear(&e->env);
    binds_clear(&e->binds);
    container_clear(&e->c);
}

/* The container's own environment, then what the line says. */
static int fill_env(struct exec *e, struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist given = STRLIST_INIT;

    strlist_copy(&e->env, &e->c.process.env);
    if (!opt_given(opts, "env") && !opt_given(opts, "env-file"))
        return 0;
    if (app_input(app, err) < 0 ||
        env_collect(opt_list(opts, "env-file"), opt_list(opts, "env"), &app->input, &given, err) < 0) {
        if (err->exit_code)
            err->exit_code = 1;
        return -1;
    }
    env_merge(&e->env, &given);
    return 0;
}

static int prepare(struct exec *e, struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);

    e->tty = opt_bool(opts, "tty");
    e->detached = opt_bool(opts, "detach");
    e->interactive = opt_bool(opts, "interactive") && !e->detached;
    for (size_t i = 1; i < args->len; i++)
        strlist_add(&e->argv, args->items[i]);
    if (container_find(&e->c, args->items[0], err) < 0)
        return -1;
    if (e->tty && e->interactive && !tty_is(STDIN_FILENO))
        return err_set(err, 1, "the input device is not a TTY");
    if (container_load(&e->c, err) < 0 || fill_env(e, app, opts, err) < 0)
        return -1;
    if (container_is(&e->c, "paused"))
        return err_set(err, 1, "Error response from daemon: Container %s is paused, unpause the container before exec",
                       args->items[0]);
    if (container_open(&e->c, err) < 0)
        return err_wrap(err, "Error response from daemon");
    return binds_open(&e->c.spec, e->c.row.id, &e->binds, err);
}

static void fill_request(struct exec *e, const struct opt_parsed *opts, struct attach_request *req)
{
    const struct process_spec *p = &e->c.process;

    *req = (struct attach_request){
        .agent = AGENT_PATH,
        .sandbox_id = e->c.row.sandbox_id,
        .start =
            {
                .argv = &e->argv,
                .env = &e->env,
                .cwd = opt_given(opts, "workdir") ? opt_str(opts, "workdir") : p->workdir,
                .user = opt_given(opts, "user") ? opt_str(opts, "user") : p->user,
                .tty = e->tty,
                .attach_stdin = e->interactive,
                .detached = e->detached,
            },
        .mounts = e->binds.mounts,
        .mounts_len = e->binds.len,
        .stdin_attached = e->interactive,
        .stdout_attached = !e->detached,
        .stderr_attached = !e->detached,
        .raw_terminal = e->tty && e->interactive,
        .leaves = true,
        .quick = true,
        .detach_keys = opt_given(opts, "detach-keys") ? opt_str(opts, "detach-keys") : NULL,
    };
    if (e->tty && !tty_size(STDIN_FILENO, &req->start.rows, &req->start.cols))
        tty_size(STDOUT_FILENO, &req->start.rows, &req->start.cols);
}

/* Why a process could not be started travels where its output would have: on stdout. */
static int print_refusal(struct attach_result *result)
{
    int code = result->code;

    fprintf(stdout, "%s\r\n", result->err.msg);
    err_clear(&result->err);
    return code;
}

static bool is_about_the_command(const struct attach_result *result)
{
    return result->end == SESSION_REFUSED && result->refusal >= WIRE_REFUSAL_NOT_FOUND &&
           result->refusal <= WIRE_REFUSAL_USER;
}

/*
 * It was killed. If that is because its container has ended, then who asks for the container next is told so. What is
 * left in a container is killed a moment before its end is complete, so one that still runs is looked at again.
 */
static void see_death(struct container *c)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_BARRIER};

    for (int looks = 0; looks < DEATH_LOOKS; looks++) {
        cleanup_err struct err why = ERR_INIT;
        int code = 0;

        if (looks)
            nanosleep(&(struct timespec){.tv_nsec = DEATH_NAP_NS}, NULL);
        container_ask(c, &ask, /* with_mounts= */ false, &code, &why);
        if (why.code == CONTAINER_NOT_RUNNING || c->seen == WIRE_MAIN_ENDED) {
            container_see_end(c);
            return;
        }
    }
}

static int finish(struct exec *e, struct attach_result *result, struct err *err)
{
    switch (result->end) {
    case SESSION_EXITED:
        if (result->err.msg)
            fprintf(stderr, "docker: %s\n", result->err.msg);
        err_clear(&result->err);
        if (result->code == 128 + SIGNALS_KILL)
            see_death(&e->c);
        return result->code;
    case SESSION_DETACHED:
        if (result->by_keys)
            return err_set(err, 1, "read escape sequence");
        return result->code;
    default:
        if (!e->detached && is_about_the_command(result))
            return print_refusal(result);
        return join_failed(&e->c, result, err);
    }
}

static void on_started(void *arg)
{
    struct exec *e = arg;

    event_exec_started(&e->c, &e->argv, e->id);
}

static int exec_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(exec_clear) struct exec e = {.binds = BINDS_INIT};
    struct attach_request req;
    struct attach_result result;

    container_init(&e.c, app);
    if (prepare(&e, app, opts, err) < 0)
        return -1;
    fill_request(&e, opts, &req);
    event_exec_id(e.id);
    req.started = on_started;
    req.arg = &e;
    attach_run(app, e.c.task, &req, &result);
    if (result.end == SESSION_EXITED)
        event_exec_died(&e.c, e.id, result.code);
    return finish(&e, &result, err);
}

extern const struct cmd_def cmd_def_exec;

const struct command cmd_exec = {.def = &cmd_def_exec, .errors = ERROR_PLAIN, .run = exec_run};
