#include "backends/engine/svc.h"

#include "backends/engine/conn.h"
#include "backends/engine/engine.h"
#include "backends/engine/h2.h"
#include "backends/engine/secrets.h"
#include "backends/engine/store.h"
#include "backends/engine/timer.h"
#include "backends/engine/waiter.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL  "/modal.client.ModalClient/"
#define ROUTER   "/modal.task_command_router.TaskCommandRouter/"
#define ENGINE   "/atp.engine.Engine/"
#define PARK_MAX 3600.0 /* seconds; clients wait in steps of 10 or 55 */

/* Every method that the engine has. */
const struct rpc_method *rpc_find(const char *path)
{
    static const struct {
        const char *service;
        const struct rpc_method *methods;
    } tables[] = {
        {CONTROL, svc_app_methods},          {CONTROL, svc_auth_methods},         {CONTROL, svc_blob_methods},
        {CONTROL, svc_environment_methods},  {CONTROL, svc_image_methods},        {CONTROL, svc_mount_methods},
        {CONTROL, svc_sandbox_io_methods},   {CONTROL, svc_sandbox_methods},      {CONTROL, svc_sandbox_names_methods},
        {CONTROL, svc_secret_methods},       {ROUTER, svc_exec_methods},          {ROUTER, svc_exec_stdin_methods},
        {ROUTER, svc_stdio_v2_methods},      {CONTROL, svc_snapshot_methods},     {ROUTER, svc_task_snapshot_methods},
        {CONTROL, svc_image_names_methods},  {ENGINE, svc_engine_methods},        {CONTROL, svc_volume_methods},
        {CONTROL, svc_volume_files_methods}, {ROUTER, svc_task_volume_methods},   {CONTROL, svc_volume_blocks_methods},
        {ROUTER, svc_container_methods},     {CONTROL, svc_container_v2_methods}, {CONTROL, svc_ready_methods},
        {CONTROL, svc_tunnel_methods},       {ROUTER, svc_task_methods},
    };

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        size_t len = strlen(tables[i].service);

        if (strncmp(path, tables[i].service, len) != 0)
            continue;
        for (const struct rpc_method *m = tables[i].methods; m->name; m++)
            if (strcmp(m->name, path + len) == 0)
                return m;
    }
    return NULL;
}

const char *svc_text(const char *s)
{
    return s ? s : "";
}

int svc_err(struct err *err, int status, const char *fmt, ...)
{
    cleanup_free char *message = NULL;
    va_list ap;

    va_start(ap, fmt);
    message = xvasprintf(fmt, ap);
    va_end(ap);
    err_set(err, 1, "%s", message);
    if (err)
        err->code = status;
    return -1;
}

void svc_fail(struct call *c, struct err *err)
{
    call_fail_err(c, err->code > GRPC_OK && err->code <= GRPC_STATUS_MAX ? err->code : GRPC_INTERNAL, err);
}

void svc_reply_empty(struct call *c)
{
    Modal__Client__Empty empty = MODAL__CLIENT__EMPTY__INIT;

    call_reply(c, &empty);
}

const char *svc_environment(const char *name)
{
    return name && *name ? name : STORE_DEFAULT_ENVIRONMENT;
}

int svc_env(Modal__Client__StringEntry *const *entries, size_t len, struct strlist *ret, struct err *err)
{
    for (size_t i = 0; i < len; i++) {
        if (!env_key_is_valid(entries[i]->key))
            return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid environment variable name: \"%s\"",
                           svc_text(entries[i]->key));
        strlist_env_set(ret, entries[i]->key, svc_text(entries[i]->value));
    }
    return 0;
}

int svc_secret_sources(struct engine *e, Modal__Client__SecretSource *const *sources, size_t len, struct strlist *env,
                       struct err *err)
{
    for (size_t i = 0; i < len; i++) {
        const Modal__Client__SecretSource *source = sources[i];

        if (svc_text(source->secret_id)[0] && secrets_apply(e->secrets, source->secret_id, env, err) < 0)
            return svc_err(err, GRPC_NOT_FOUND, "secret %s not found", source->secret_id);
        if (source->env && svc_env(source->env->contents, source->env->n_contents, env, err) < 0)
            return -1;
    }
    return 0;
}

int svc_no_unknown(const ProtobufCMessage *message, const char *what, struct err *err)
{
    if (!message->n_unknown_fields)
        return 0;
    return svc_err(err, GRPC_UNIMPLEMENTED, "%s has field %u, which this server does not know", what,
                   message->unknown_fields[0].tag);
}

/*
 * JS and Go accept https only and then, for a local server, speak plaintext anyway. The host is the one that the client
 * itself used: what stands between us and it (a proxy, a forwarded port) stays in between.
 */
char *svc_router_url(const struct call *c)
{
    const struct conn *conn = h2_conn(c->stream);
    cleanup_free char *address = NULL;
    bool secure = conn_is_tls(conn) || c->meta.client_type == MODAL__CLIENT__CLIENT_TYPE__CLIENT_TYPE_LIBMODAL_JS ||
                  c->meta.client_type == MODAL__CLIENT__CLIENT_TYPE__CLIENT_TYPE_LIBMODAL_GO;

    if (conn_is_unix(conn))
        return xasprintf("unix://%s", c->engine->config->socket_path);
    address = c->meta.authority ? xstrdup(c->meta.authority) : conn_local_address(conn);
    return xasprintf("%s://%s", secure ? "https" : "http", svc_text(address));
}

/* A client on the Unix socket sends its HTTP there too; the host in the URL then means nothing. */
char *svc_http_url(const struct call *c)
{
    const struct conn *conn = h2_conn(c->stream);
    cleanup_free char *address = NULL;

    if (conn_is_unix(conn))
        return xstrdup("http://localhost");
    address = c->meta.authority ? xstrdup(c->meta.authority) : conn_local_address(conn);
    return xasprintf("http://%s", svc_text(address));
}

/* ---- parked calls ---- */

struct parked {
    struct waiter waiter;
    struct timer *timer;
    struct call *call;
    void (*done)(struct call *c, bool timed_out);
};

static void unpark(struct parked *p)
{
    waiter_del(&p->waiter);
    timer_stop(&p->timer);
    free(p);
}

static void release_parked(struct call *c)
{
    unpark(c->state);
}

static void go_on(struct parked *p, bool timed_out)
{
    struct call *c = p->call;
    void (*done)(struct call * c, bool timed_out) = p->done;

    c->state = NULL;
    c->release = NULL;
    unpark(p);
    done(c, timed_out);
}

static void on_wake(struct waiter *w, void *arg)
{
    (void)w;
    go_on(arg, /* timed_out= */ false);
}

static void on_time(void *arg)
{
    go_on(arg, /* timed_out= */ true);
}

void svc_park(struct call *c, struct waiter **list, double seconds, void (*done)(struct call *c, bool timed_out))
{
    struct parked *p = xcalloc(1, sizeof(*p));

    p->call = c;
    p->done = done;
    c->state = p;
    c->release = release_parked;
    waiter_add(list, &p->waiter, on_wake, p);
    if (seconds >= 0)
        timer_start(&p->timer, c->engine->loop, (uint64_t)((seconds < PARK_MAX ? seconds : PARK_MAX) * 1000), on_time,
                    p);
}
