#include "backends/engine/engine.h"

#include "backends/engine/blobs.h"
#include "backends/engine/conn.h"
#include "backends/engine/fault.h"
#include "backends/engine/h2.h"
#include "backends/engine/idem.h"
#include "backends/engine/images.h"
#include "backends/engine/keys.h"
#include "backends/engine/listen.h"
#include "backends/engine/lock.h"
#include "backends/engine/log.h"
#include "backends/engine/runner.h"
#include "backends/engine/runtime.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/secrets.h"
#include "backends/engine/store.h"
#include "backends/engine/timer.h"
#include "backends/engine/tls.h"
#include "backends/engine/vol.h"
#include "backends/engine/waiter.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TICK_MS    5000         /* how often connections are asked whether they live */
#define GOODBYE_MS 500          /* for peers to take the last words */
#define BLOB_PART  (1ull << 30) /* larger uploads come in parts, as with Modal's clients (protocol 3.6) */

/* Handles of the engine itself; closed at the end. */
struct machinery {
    struct engine *engine;
    uv_prepare_t prepare;
    uv_timer_t tick;
    uv_signal_t term, interrupt, hangup;
    struct listeners *listeners;
};

static struct machinery *machinery_of(const struct engine *e)
{
    return e->machinery;
}

/* Before the loop sleeps: what this turn brought about is sent. */
static void on_prepare(uv_prepare_t *handle)
{
    struct machinery *m = handle->data;

    h2_flush_all(m->engine);
}

static void on_tick(uv_timer_t *handle)
{
    struct machinery *m = handle->data;

    conn_tick_all(m->engine);
    if (m->engine->lock >= 0 && !lock_stands(m->engine->config->state_dir, m->engine->lock)) {
        log_line("the state folder was removed: ending");
        engine_stop(m->engine);
    }
}

static void on_stop_signal(uv_signal_t *handle, int signo)
{
    struct machinery *m = handle->data;

    log_line("stopping on signal %d", signo);
    engine_stop(m->engine);
}

static void on_image_change(const char *image_id, void *arg)
{
    struct engine *e = arg;

    (void)image_id;
    waiter_wake_all(&e->image_waiters);
}

int engine_set_fault(struct engine *e, const char *spec, struct err *err)
{
    if (!e->config->fault)
        return err_set(err, 125, "faults need an engine that was started with --fault");
    return fault_set(e->fault, spec, err);
}

/* What --fault says: a SPEC, or the file that holds it now. */
static int load_fault(struct engine *e, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    const char *spec = e->config->fault;

    if (spec[0] != '@')
        return fault_set(e->fault, spec, err);
    if (fs_read_file(spec + 1, &text, err) < 0)
        return -1;
    return fault_set(e->fault, text.data, err);
}

static void on_hangup(uv_signal_t *handle, int signo)
{
    struct machinery *m = handle->data;
    cleanup_err struct err err = ERR_INIT;

    (void)signo;
    if (m->engine->config->fault && load_fault(m->engine, &err) < 0)
        log_line("%s", err.msg);
}

/* ---- start ---- */

static int open_state(struct engine *e, struct err *err)
{
    const struct engine_config *config = e->config;
    cleanup_free char *image_dir = xasprintf("%s/images", config->state_dir);
    cleanup_free char *rt_dir = xasprintf("%s/runtime", config->state_dir);
    struct images_config images = {.dir = image_dir, .mirrors = &config->mirrors};
    struct rt_config rt = {.dir = rt_dir, .runtime = config->runtime, .network = config->network};

    e->fault = fault_new();
    if (config->fault && load_fault(e, err) < 0)
        return -1;
    if (fs_mkdirs(image_dir, 0700, err) < 0 || fs_mkdirs(rt_dir, 0700, err) < 0)
        return -1;
    e->idem = idem_new();
    e->keys = keys_new(config->state_dir, config->token_ttl, e->fault, err);
    if (!e->keys)
        return -1;
    e->store = store_open(config->state_dir, err);
    if (!e->store)
        return -1;
    e->secrets = secrets_new(e->store);
    e->blobs = blobs_new(config->state_dir, BLOB_PART, err);
    e->tls = stls_new(err);
    if (!e->blobs || !e->tls)
        return -1;
    e->images = images_new(e->loop, &images, err);
    if (!e->images)
        return err_wrap(err, "opening the images");
    images_on_change(e->images, on_image_change, e);
    e->rt = rt_new(e->loop, &rt, err);
    if (!e->rt)
        return err_wrap(err, "starting the container runtime");
    e->volumes = volumes_new(config->state_dir, e->loop, err); /* what an engine that was killed had running is gone */
    if (!e->volumes)
        return -1;
    /* Who comes over TCP may be anybody with a token: this machine's own network is none of their business. */
    e->runner = runner_new(e->loop, e->rt, /* host_network= */ e->config->network && !e->config->listen);
    images_set_runner(e->images, runner_run, e->runner);
    e->sandboxes = sandboxes_new(e);
    return 0;
}

static void start_machinery(struct engine *e)
{
    struct machinery *m = machinery_of(e);

    uv_prepare_init(e->loop, &m->prepare);
    uv_timer_init(e->loop, &m->tick);
    uv_signal_init(e->loop, &m->term);
    uv_signal_init(e->loop, &m->interrupt);
    uv_signal_init(e->loop, &m->hangup);
    m->prepare.data = m->tick.data = m->term.data = m->interrupt.data = m->hangup.data = m;
    uv_prepare_start(&m->prepare, on_prepare);
    uv_timer_start(&m->tick, on_tick, TICK_MS, TICK_MS);
    uv_signal_start(&m->term, on_stop_signal, SIGTERM);
    uv_signal_start(&m->interrupt, on_stop_signal, SIGINT);
    uv_signal_start(&m->hangup, on_hangup, SIGHUP);
}

/* A few descriptors for each exec and connection add up; containers inherit the limit, which is then Docker's own. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct engine *engine_new(uv_loop_t *loop, const struct engine_config *config, struct err *err)
{
    struct engine *e = xcalloc(1, sizeof(*e));
    struct machinery *m = xcalloc(1, sizeof(*m));

    e->loop = loop;
    e->config = config;
    e->machinery = m;
    e->lock = -1;
    m->engine = e;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    start_machinery(e);
    if (open_state(e, err) == 0)
        m->listeners = listeners_open(e, err);
    if (!m->listeners) {
        engine_free(e);
        return NULL;
    }
    engine_activity(e);
    return e;
}

/* ---- life ---- */

void engine_run(struct engine *e)
{
    log_line("atp-engine %s, containers by %s", ATP_VERSION, rt_name(e->rt));
    while (!e->stopping)
        uv_run(e->loop, UV_RUN_ONCE);
}

void engine_stop(struct engine *e)
{
    e->stopping = true;
    uv_stop(e->loop);
}

static void on_idle(void *arg)
{
    log_line("idle and empty: ending");
    engine_stop(arg);
}

void engine_activity(struct engine *e)
{
    if (!e->config->idle_exit || e->stopping || !e->sandboxes)
        return;
    if (e->conns_len || sandboxes_alive(e->sandboxes, NULL))
        timer_stop(&e->idle);
    else
        timer_start(&e->idle, e->loop, (uint64_t)e->config->idle_exit * 1000, on_idle, e);
}

/* ---- end ---- */

static void close_machinery(struct engine *e)
{
    struct machinery *m = machinery_of(e);

    uv_close((uv_handle_t *)&m->prepare, NULL);
    uv_close((uv_handle_t *)&m->tick, NULL);
    uv_close((uv_handle_t *)&m->term, NULL);
    uv_close((uv_handle_t *)&m->interrupt, NULL);
    uv_close((uv_handle_t *)&m->hangup, NULL);
}

static void cut_off(void *arg)
{
    conn_close_all(arg);
}

/* Takes leave of every peer, and of a slow one without its consent. */
static void end_connections(struct engine *e)
{
    struct timer *deadline = NULL;

    conn_end_all(e);
    timer_start(&deadline, e->loop, GOODBYE_MS, cut_off, e);
    while (e->conns_len)
        uv_run(e->loop, UV_RUN_ONCE);
    timer_stop(&deadline);
}

/* The reverse of engine_new(), also of half of it. New clients first: nobody must find an engine that is going away. */
void engine_free(struct engine *e)
{
    struct machinery *m;

    if (!e)
        return;
    m = machinery_of(e);
    e->stopping = true;
    timer_stop(&e->idle);
    listeners_close(m->listeners);
    end_connections(e);
    if (e->images)
        images_stop(e->images);
    if (e->sandboxes)
        sandboxes_end_all(e->sandboxes);
    rt_free(e->rt);
    sandboxes_free(e->sandboxes);
    volumes_free(e->volumes);
    images_free(e->images);
    runner_free(e->runner);
    stls_free(e->tls);
    blobs_free(e->blobs);
    secrets_free(e->secrets);
    store_close(e->store);
    keys_free(e->keys);
    idem_free(e->idem);
    fault_free(e->fault);
    close_machinery(e);
    uv_run(e->loop, UV_RUN_DEFAULT);
    free(m);
    free(e);
}
