#include "backends/engine/ready.h"

#include "backends/engine/engine.h"
#include "backends/engine/ids.h"
#include "backends/engine/log.h"
#include "backends/engine/runtime.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/timer.h"
#include "backends/engine/waiter.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#define COMMAND_SECS 10

struct ready {
    struct sandbox *sandbox;
    struct timer *timer;
    struct rt_exec *exec; /* the command, while it runs */
    int code;
};

static void try_it(void *arg);

static void is_ready(struct ready *r)
{
    struct sandbox *s = r->sandbox;

    s->ready_at = unix_now();
    log_line("sandbox %s is ready", s->id);
    ready_stop(s);
    waiter_wake_all(&s->ready_waiters);
}

static void again(struct ready *r)
{
    timer_start(&r->timer, r->sandbox->engine->loop, r->sandbox->plan.probe_ms, try_it, r);
}

/* Whether a connection comes about; one that is still on its way has nobody to take it. */
static bool port_answers(const struct ready *r)
{
    cleanup_close int fd = rt_sandbox_connect(r->sandbox->rt, r->sandbox->plan.probe_port, NULL);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};

    return fd >= 0 && poll(&wait, 1, 0) == 1 && !(wait.revents & (POLLERR | POLLHUP));
}

static void on_output(struct rt_exec *e, int fd, void *arg)
{
    (void)e, (void)fd, (void)arg;
}

static void after_command(void *arg)
{
    struct ready *r = arg;

    rt_exec_free(r->exec);
    r->exec = NULL;
    if (r->code == 0)
        is_ready(r);
    else
        again(r);
}

static void on_exit_status(struct rt_exec *e, enum rt_end how, int code, void *arg)
{
    struct ready *r = arg;

    (void)e;
    r->code = how == RT_END_EXITED ? code : 1;
    timer_start(&r->timer, r->sandbox->engine->loop, 0, after_command, r);
}

static void run_command(struct ready *r)
{
    static const struct rt_exec_events events = {on_output, on_exit_status};
    const struct rt_exec_spec spec = {
        .args = &r->sandbox->plan.probe_argv,
        .env = &r->sandbox->plan.env,
        .discard_stdout = true,
        .discard_stderr = true,
        .timeout_secs = COMMAND_SECS,
    };

    r->exec = rt_exec_start(r->sandbox->rt, &spec, &events, r, NULL);
    if (!r->exec)
        again(r);
}

static void try_it(void *arg)
{
    struct ready *r = arg;

    if (!r->sandbox->plan.probe_port)
        run_command(r);
    else if (port_answers(r))
        is_ready(r);
    else
        again(r);
}

void ready_begin(struct sandbox *s)
{
    struct ready *r;

    if (!s->plan.probe_ms || s->ready)
        return;
    r = xcalloc(1, sizeof(*r));
    r->sandbox = s;
    s->ready = r;
    timer_start(&r->timer, s->engine->loop, 0, try_it, r);
}

void ready_stop(struct sandbox *s)
{
    struct ready *r = s->ready;

    if (!r)
        return;
    s->ready = NULL;
    timer_stop(&r->timer);
    if (r->exec)
        rt_exec_free(r->exec);
    free(r);
}
