#include "backends/modal/task.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/forward.h"
#include "shim/launch.h"
#include "shim/make.h"
#include "shim/sandbox.h"

#include <stdio.h>
#include <unistd.h>

/* -d: the id on stdout, also when it could not be started. */
static int run_detached(struct making *m, struct err *err)
{
    int ret = launch_detached(&m->c, &m->binds, err);

    container_unlock(&m->c);
    puts(m->c.spec.id);
    fflush(stdout);
    if (ret < 0)
        return -1;
    container_watch(&m->c);
    return 0;
}

/* In the foreground: from now on we watch its end. */
static int run_attached(struct making *m, struct err *err)
{
    const struct container_spec *spec = &m->c.spec;
    const struct launch_streams streams = {
        .stdin_attached = spec->attach_stdin,
        .stdout_attached = spec->attach_stdout,
        .stderr_attached = spec->attach_stderr,
        .sig_proxy = spec->sig_proxy,
        .detach_keys = spec->detach_keys,
    };

    container_own(&m->c);
    container_unlock(&m->c);
    return launch_attached(&m->c, &m->binds, &streams, err);
}

/* A port is in use: the container stays, as it was created, but with --rm. */
static void port_refused(struct making *m)
{
    if (m->c.row.auto_remove) {
        making_undo(m);
        return;
    }
    state_intent_drop(m->c.app->state, m->c.intent, NULL);
    if (!m->c.spec.detach)
        return;
    puts(m->c.spec.id);
    fflush(stdout);
}

static int run_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct making m;
    int code = -1;

    making_init(&m, app);
    if (making_prepare(&m, opts, /* to_run= */ true, err) < 0 || making_register(&m, /* to_run= */ true, err) < 0)
        making_undo(&m);
    else if (forward_bind(&m.c, err) < 0)
        port_refused(&m);
    else if (launch_sandbox(&m.c, &m.image, err) < 0)
        making_undo(&m);
    else
        code = m.c.spec.detach ? run_detached(&m, err) : run_attached(&m, err);
    making_clear(&m);
    return code;
}

extern const struct cmd_def cmd_def_run;

const struct command cmd_run = {.def = &cmd_def_run, .errors = ERROR_RUN, .run = run_run};
