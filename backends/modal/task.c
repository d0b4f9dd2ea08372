#include "backends/modal/task_internal.h"

#include "backends/grpc/url.h"
#include "backends/modal/sandbox.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KIND           "router"
#define DEFAULT_LIFE_S 1200 /* of access whose JWT does not say (as the auth token, protocol 1.5) */
#define MARGIN_S       5
#define POLL_MS        500 /* between two questions for a task id (protocol 5.8) */

static const struct modal_method get_task_id = {
    .path = MODAL_CONTROL(SandboxGetTaskId),
    .reply = &modal__client__sandbox_get_task_id_response__descriptor,
};

static const struct modal_method get_task_id_v2 = {
    .path = MODAL_CONTROL(SandboxGetTaskIdV2),
    .reply = &modal__client__sandbox_get_task_id_response__descriptor,
    .auth = true,
};

static const struct modal_method task_access = {
    .path = MODAL_CONTROL(TaskGetCommandRouterAccess),
    .reply = &modal__client__task_get_command_router_access_response__descriptor,
};

static const struct modal_method sandbox_access = {
    .path = MODAL_CONTROL(SandboxGetCommandRouterAccess),
    .reply = &modal__client__sandbox_get_command_router_access_response__descriptor,
    .auth = true,
};

int modal_router_url_check(const char *server_url, const char *router_url, bool *ret_unverified, struct err *err)
{
    struct grpc_url server = {0}, router = {0};
    bool local;
    int ret = -1;

    if (grpc_url_parse(server_url, &server, err) < 0)
        return -1;
    if (grpc_url_parse(router_url, &router, err) < 0) {
        grpc_url_clear(&server);
        return err_wrap(err, "the server names a worker that cannot be reached");
    }
    local = grpc_url_is_local(&server);
    if (router.scheme == GRPC_SCHEME_HTTPS || (router.scheme == GRPC_SCHEME_HTTP && local) ||
        (router.scheme == GRPC_SCHEME_UNIX && server.scheme == GRPC_SCHEME_UNIX))
        ret = 0;
    else
        err_set(err, 125, "the server names a worker without encryption: %s", router_url);
    if (ret == 0)
        *ret_unverified = local && router.scheme == GRPC_SCHEME_HTTPS;
    grpc_url_clear(&server);
    grpc_url_clear(&router);
    return ret;
}

/* The cache holds three lines: task id (may be empty), URL, JWT. */
void modal_access_remember(struct modal_client *c, const char *sandbox_id, const char *task_id, const char *url,
                           const char *jwt)
{
    cleanup_free char *value = NULL;
    int64_t now = time(NULL), expires;

    if (!url || !*url || !jwt || !*jwt)
        return;
    expires = modal_jwt_expiry(jwt);
    value = xasprintf("%s\n%s\n%s", task_id ? task_id : "", url, jwt);
    modal_remember(c, KIND, sandbox_id, value, (expires ? expires - now : DEFAULT_LIFE_S) - MARGIN_S);
}

void modal_access_forget(struct modal_client *c, const char *sandbox_id)
{
    modal_forget(c, KIND, sandbox_id);
}

static void set_string(char **to, const char *from)
{
    char *copy = xstrdup(from);

    free(*to);
    *to = copy;
}

/* Takes an address and a JWT; another address means another channel. */
static int take_access(struct modal_task *task, const char *url, const char *jwt, struct err *err)
{
    struct modal_client *c = task->client;
    struct grpc_options options = {.connect_ms = c->connect_ms, .lost_ms = c->lost_ms, .ca_file = c->ca_file};
    struct grpc_channel *channel;

    if (!url || !*url || !jwt || !*jwt)
        return err_set(err, 125, "the server gives no access to the sandbox's worker");
    for (const char *p = jwt; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return err_set(err, 125, "the server's access to the sandbox's worker is not readable");
    if (!task->url || strcmp(task->url, url) != 0) {
        if (modal_router_url_check(c->server_url, url, &options.tls_unverified, err) < 0)
            return -1;
        channel = grpc_channel_new(c->loop, url, &options, err);
        if (!channel)
            return -1;
        if (task->peer.channel) {
            task->old = xreallocarray(task->old, task->old_count + 1, sizeof(struct grpc_channel *));
            task->old[task->old_count++] = task->peer.channel;
        }
        task->peer.channel = channel;
        grpc_channel_connect(channel);
        set_string(&task->url, url);
    }
    set_string(&task->jwt, jwt);
    task->peer.generation++;
    return 0;
}

static void on_access(void *arg, void *reply, const struct err *err)
{
    struct modal_task *task = arg;
    struct err why = ERR_INIT;
    const char *url = NULL, *jwt = NULL;

    task->ask = NULL;
    if (reply && modal_sandbox_id_is_v1(task->sandbox_id)) {
        const Modal__Client__TaskGetCommandRouterAccessResponse *r = reply;

        url = r->url;
        jwt = r->jwt;
    } else if (reply) {
        const Modal__Client__SandboxGetCommandRouterAccessResponse *r = reply;

        url = r->url;
        jwt = r->jwt;
    }
    if (reply && take_access(task, url, jwt, &why) == 0)
        modal_access_remember(task->client, task->sandbox_id, task->task_id, url, jwt);
    modal_message_free(reply);
    task->from_cache = false;
    modal_waiters_wake(&task->peer.waiters, why.msg ? &why : err);
    err_clear(&why);
}

/* Asks the control plane for access, once for all who wait. */
static void ask_access(struct modal_task *task)
{
    struct modal_peer *control = &task->client->control;

    if (task->ask)
        return;
    if (modal_sandbox_id_is_v1(task->sandbox_id)) {
        Modal__Client__TaskGetCommandRouterAccessRequest request =
            MODAL__CLIENT__TASK_GET_COMMAND_ROUTER_ACCESS_REQUEST__INIT;

        request.task_id = task->task_id;
        task->ask = modal_rpc_start(control, &task_access, &request, NULL, on_access, task);
    } else {
        Modal__Client__SandboxGetCommandRouterAccessRequest request =
            MODAL__CLIENT__SANDBOX_GET_COMMAND_ROUTER_ACCESS_REQUEST__INIT;

        request.target_case = MODAL__CLIENT__SANDBOX_GET_COMMAND_ROUTER_ACCESS_REQUEST__TARGET_SANDBOX_ID;
        request.sandbox_id = task->sandbox_id;
        task->ask = modal_rpc_start(control, &sandbox_access, &request, NULL, on_access, task);
    }
}

static bool router_credentials(struct modal_peer *peer, bool auth, struct strlist *metadata,
                               struct modal_waiter *waiter)
{
    struct modal_task *task = (struct modal_task *)peer;

    (void)auth;
    if (!task->jwt) {
        modal_waiters_add(&peer->waiters, waiter);
        ask_access(task);
        return false;
    }
    strlist_addf(metadata, "authorization=Bearer %s", task->jwt);
    return true;
}

static bool router_renew(struct modal_peer *peer, bool auth, unsigned generation, struct modal_waiter *waiter)
{
    struct modal_task *task = (struct modal_task *)peer;

    (void)auth;
    modal_waiters_add(&peer->waiters, waiter);
    if (generation != peer->generation) {
        modal_waiters_wake(&peer->waiters, NULL);
        return true;
    }
    modal_access_forget(task->client, task->sandbox_id);
    ask_access(task);
    return true;
}

/* Only an address out of the cache may be an old one. */
static bool router_move(struct modal_peer *peer, struct modal_waiter *waiter)
{
    struct modal_task *task = (struct modal_task *)peer;

    if (!task->from_cache)
        return false;
    modal_access_forget(task->client, task->sandbox_id);
    modal_waiters_add(&peer->waiters, waiter);
    ask_access(task);
    return true;
}

static void nap(struct modal_client *c, int64_t ms)
{
    for (int64_t end = loop_now() + ms; loop_now() < end;)
        if (!loop_step(c->loop, 50))
            usleep(1000);
}

/* Waits until the sandbox has a task. */
static int find_task(struct modal_task *task, int64_t wait_ms, struct err *err)
{
    Modal__Client__SandboxGetTaskIdRequest request = MODAL__CLIENT__SANDBOX_GET_TASK_ID_REQUEST__INIT;
    bool v1 = modal_sandbox_id_is_v1(task->sandbox_id);
    int64_t end = loop_now() + wait_ms;

    request.sandbox_id = task->sandbox_id;
    for (;;) {
        cleanup_message Modal__Client__SandboxGetTaskIdResponse *reply = NULL;

        if (modal_call(task->client, v1 ? &get_task_id : &get_task_id_v2, &request, &reply, err) < 0)
            return -1;
        if (reply->task_result && reply->task_result->has_status && reply->task_result->status) {
            err_set(err, 125, "the sandbox has ended");
            if (err)
                err->code = GRPC_FAILED_PRECONDITION;
            return -1;
        }
        if (reply->task_id && *reply->task_id) {
            task->task_id = xstrdup(reply->task_id);
            return 0;
        }
        if (loop_now() >= end) {
            err_set(err, 125, "the sandbox did not start within %g s", (double)wait_ms / 1000);
            if (err)
                err->code = GRPC_DEADLINE_EXCEEDED;
            return -1;
        }
        nap(task->client, POLL_MS);
    }
}

/* What an earlier command, or the create of this one, left. */
static void recall(struct modal_task *task)
{
    cleanup_free char *value = modal_cached(task->client, KIND, task->sandbox_id);
    char *url = value ? strchr(value, '\n') : NULL, *jwt = url ? strchr(url + 1, '\n') : NULL;
    cleanup_err struct err ignored = ERR_INIT;

    if (!jwt)
        return;
    *url++ = '\0';
    *jwt++ = '\0';
    if (take_access(task, url, jwt, &ignored) < 0)
        return; /* as if it were not there */
    task->from_cache = true;
    if (*value)
        task->task_id = xstrdup(value);
}

char *modal_place_make(const char *sandbox_id, const char *container_id)
{
    return xasprintf("%s/%s", sandbox_id, container_id);
}

char *modal_place_sandbox(const char *place)
{
    return xstrndup(place, strcspn(place, "/"));
}

const char *modal_place_container(const char *place)
{
    const char *slash = strchr(place, '/');

    return slash && slash[1] ? slash + 1 : NULL;
}

int modal_task_open(struct modal_client *c, const char *place, int64_t wait_ms, struct modal_task **ret_task,
                    struct err *err)
{
    struct modal_task *task = xcalloc(1, sizeof(*task));

    task->client = c;
    task->sandbox_id = modal_place_sandbox(place);
    modal_task_set_container(task, modal_place_container(place));
    task->peer = (struct modal_peer){.client = c, .generation = 1, .secret = &task->jwt};
    task->peer.credentials = router_credentials;
    task->peer.renew = router_renew;
    task->peer.move = router_move;
    recall(task);
    /* By sandbox id access can be had beside the task id; by task id only after it. */
    if (!task->jwt && !modal_sandbox_id_is_v1(task->sandbox_id))
        ask_access(task);
    if (!task->task_id && find_task(task, wait_ms, err) < 0) {
        modal_task_free(task);
        return -1;
    }
    if (!task->jwt)
        ask_access(task);
    *ret_task = task;
    return 0;
}

void modal_task_free(struct modal_task *task)
{
    if (!task)
        return;
    modal_rpc_cancel(task->ask);
    grpc_channel_free(task->peer.channel);
    for (size_t i = 0; i < task->old_count; i++)
        grpc_channel_free(task->old[i]);
    free(task->old);
    free(task->sandbox_id);
    free(task->task_id);
    free(task->container);
    free(task->url);
    free(task->jwt);
    free(task);
}

void modal_task_set_container(struct modal_task *task, const char *container_id)
{
    set_string(&task->container, container_id);
}

const char *modal_task_container(const struct modal_task *task)
{
    return task->container;
}

const char *modal_task_id(const struct modal_task *task)
{
    return task->task_id;
}

struct modal_client *modal_task_client(const struct modal_task *task)
{
    return task->client;
}
