#include "backends/engine/runner.h"

#include "backends/engine/ids.h"
#include "backends/engine/runtime.h"
#include "backends/engine/sandbox.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_AGAIN_MS 100    /* how late a waiting thread notices that its build was cancelled */
#define CHUNK         65536u /* output passed on at a time */

/* One RUN. The loop's, but for what the lock guards. */
struct request {
    struct request *next;
    struct runner *runner;
    struct rt_sandbox *sandbox;
    uint64_t read[2]; /* of its outputs */
    bool held;
    /* under the lock */
    const struct images_run *run; /* NULL: nobody waits any more */
    bool started, ended, taken;   /* taken: the thread has what it wanted */
    int code;
    char *upper;
    struct err err;
};

struct runner {
    struct rt *rt;
    bool host_network;
    uv_async_t *wake;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct request *list;
};

static void on_wake(uv_async_t *handle);

struct runner *runner_new(uv_loop_t *loop, struct rt *rt, bool host_network)
{
    struct runner *r = xcalloc(1, sizeof(*r));

    r->rt = rt;
    r->host_network = host_network;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->wake = xcalloc(1, sizeof(*r->wake));
    uv_async_init(loop, r->wake, on_wake);
    uv_unref((uv_handle_t *)r->wake);
    r->wake->data = r;
    return r;
}

static void free_request(struct request *q)
{
    free(q->upper);
    err_clear(&q->err);
    free(q);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void runner_free(struct runner *r)
{
    if (!r)
        return;
    for (struct request *q = r->list, *next; q; q = next) {
        next = q->next;
        free_request(q); /* its container went with the runtime */
    }
    uv_close((uv_handle_t *)r->wake, on_closed);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r);
}

/* ---- on the loop ---- */

/* Passes on what there is of one output. The build's thread cannot leave meanwhile. */
static void pass_on(struct request *q, int fd)
{
    struct rt_stream *stream = rt_sandbox_stream(q->sandbox, fd);
    uint64_t *at = &q->read[fd == 2];
    char *chunk = xmalloc(CHUNK);
    ssize_t n;

    for (;;) {
        n = rt_stream_read(stream, *at, chunk, CHUNK);
        if (n < 0 && errno == ENODATA && rt_stream_base(stream) > *at) {
            *at = rt_stream_base(stream);
            continue;
        }
        if (n <= 0)
            break;
        *at += (uint64_t)n;
        if (q->run)
            q->run->output(fd, chunk, (size_t)n, q->run->arg);
    }
    free(chunk);
}

static void on_output(struct rt_sandbox *s, void *arg)
{
    struct request *q = arg;

    (void)s;
    pthread_mutex_lock(&q->runner->lock);
    pass_on(q, 1);
    pass_on(q, 2);
    pthread_mutex_unlock(&q->runner->lock);
}

static void on_started(struct rt_sandbox *s, void *arg)
{
    (void)s, (void)arg;
}

/* Under the lock. */
static void end(struct request *q)
{
    q->ended = true;
    pthread_cond_broadcast(&q->runner->changed);
}

static void on_end(struct rt_sandbox *s, enum rt_end how, int code, const char *message, void *arg)
{
    struct request *q = arg;

    pthread_mutex_lock(&q->runner->lock);
    pass_on(q, 1);
    pass_on(q, 2);
    if (how == RT_END_EXITED)
        q->code = code;
    else if (how == RT_END_SIGNALED)
        q->code = 128 + code;
    else if (how == RT_END_KILLED)
        q->code = 137;
    else
        err_set(&q->err, 1, "%s", message ? message : "the container was lost");
    q->upper = xstrdup(rt_sandbox_upper(s));
    end(q);
    pthread_mutex_unlock(&q->runner->lock);
}

static void copy_mount(const struct images_run_mount *from, struct rt_mount *to)
{
    *to = (struct rt_mount){
        .target = from->target,
        .source = from->source,
        .read_write = from->read_write,
        .lowers = from->lowers,
        .size = from->size,
        .bytes = from->bytes,
        .len = from->len,
        .mode = from->mode,
        .uid = from->uid,
        .gid = from->gid,
    };
    switch (from->kind) {
    case IMAGES_RUN_LAYERS:
        to->kind = RT_MOUNT_LAYERS;
        break;
    case IMAGES_RUN_DIR:
        to->kind = RT_MOUNT_BIND;
        break;
    case IMAGES_RUN_TMPFS:
        to->kind = RT_MOUNT_TMPFS;
        break;
    case IMAGES_RUN_FILE:
        to->kind = RT_MOUNT_FILE;
        break;
    }
}

/* Makes the container. Under the lock: the run is there. */
static void start(struct request *q)
{
    static const struct rt_sandbox_events events = {on_started, on_end, on_output};
    const struct images_run *run = q->run;
    cleanup_free struct rt_mount *mounts = xcalloc(run->mounts_len + 1, sizeof(*mounts));
    cleanup_free char *id = id_new("bu");
    struct rt_sandbox_spec spec = {
        .id = id,
        .hostname = run->hostname,
        .lowers = run->lowers,
        .args = run->args,
        .env = run->env,
        .workdir = run->workdir,
        .mounts = mounts,
        .mounts_len = run->mounts_len,
        .pids = rt_limits_pids(q->runner->rt) ? SANDBOX_PIDS : 0, /* our own precaution, as for sandboxes */
        .network = run->network == IMAGES_RUN_OPEN   ? RT_NETWORK_OPEN
                   : run->network == IMAGES_RUN_NONE ? RT_NETWORK_BLOCKED
                                                     : RT_NETWORK_HOST,
        .uid = run->uid,
        .gid = run->gid,
        .groups = run->groups,
        .groups_len = run->groups_len,
        .hosts = run->hosts,
        .one_shot = true,
    };

    for (size_t i = 0; i < run->mounts_len; i++)
        copy_mount(&run->mounts[i], &mounts[i]);
    q->started = true;
    q->sandbox = rt_sandbox_create(q->runner->rt, &spec, &events, q, &q->err);
    if (!q->sandbox) {
        end(q);
        return;
    }
    rt_sandbox_hold(q->sandbox); /* its files are wanted when it has ended */
    q->held = true;
    rt_sandbox_stdin(q->sandbox, 0, NULL, 0, /* eof= */ true, NULL, NULL, NULL);
}

/* Nobody wants it any more: what still runs is killed. */
static void drop(struct request *q)
{
    struct rt_sandbox *s = q->sandbox;

    if (s && q->held)
        rt_sandbox_unhold(s);
    if (s)
        rt_sandbox_free(s);
    free_request(q);
}

static void on_wake(uv_async_t *handle)
{
    struct runner *r = handle->data;
    struct request *over = NULL;

    pthread_mutex_lock(&r->lock);
    for (struct request **p = &r->list, *q; (q = *p);) {
        if (q->taken) {
            *p = q->next;
            q->next = over;
            over = q;
            continue;
        }
        if (!q->started && q->run) /* a cancelled build may have left before it began */
            start(q);
        p = &q->next;
    }
    pthread_mutex_unlock(&r->lock);
    for (struct request *next; over; over = next) {
        next = over->next;
        drop(over);
    }
}

/* ---- in a build's thread ---- */

/* Until it has ended (true) or nobody wants it. Under the lock. */
static bool await(struct runner *r, const struct request *q, const atomic_bool *cancelled)
{
    while (!q->ended && !atomic_load(cancelled)) {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_AGAIN_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&r->changed, &r->lock, &until);
    }
    return q->ended;
}

int runner_run(const struct images_run *run, int *ret_code, void *arg, struct err *err)
{
    struct runner *r = arg;
    struct request *q;
    cleanup_free char *upper = NULL;
    int ret = -1;

    if (run->network == IMAGES_RUN_HOST && !r->host_network)
        return err_set(err, 0, "network.host is not allowed by this server");
    q = xcalloc(1, sizeof(*q));
    *q = (struct request){.runner = r, .run = run, .err = ERR_INIT};
    pthread_mutex_lock(&r->lock);
    q->next = r->list;
    r->list = q;
    uv_async_send(r->wake);
    if (!await(r, q, run->cancelled)) {
        err_set(err, 0, "context canceled");
    } else if (q->err.msg) {
        err_move(err, &q->err);
    } else {
        *ret_code = q->code;
        upper = steal(&q->upper);
        ret = 0;
    }
    q->run = NULL;
    pthread_mutex_unlock(&r->lock);
    if (ret == 0 && rename(upper, run->upper) < 0)
        ret = err_set_errno(err, 0, errno, "moving what the command has changed to %s", run->upper);
    pthread_mutex_lock(&r->lock);
    q->taken = true;
    uv_async_send(r->wake);
    pthread_mutex_unlock(&r->lock);
    return ret;
}
