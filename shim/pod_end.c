/* Out of a pod, and the end of pods. */
#include "backends/grpc/frame.h"
#include "backends/modal/sidecar.h"
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/events.h"
#include "shim/pod_private.h"
#include "shim/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TASK_MS    10000 /* for a sandbox that exists to have its task */
#define TERMINATED 137

/* ---- pods ---- */

void pod_forget(struct app *app, const struct state_pod *p)
{
    cleanup_close int lock = pods_lock(NULL);

    state_pod_remove(app->state, p->id, NULL);
    if (p->sandbox_id)
        state_intent_drop(app->state, p->sandbox_id, NULL);
}

void pod_end(struct app *app, const struct state_pod *p)
{
    const struct state_container hub = {.id = p->id, .sandbox_id = p->sandbox_id};

    state_intent_ending(app->state, p->sandbox_id, NULL); /* by it a kill in between is found */
    state_pod_remove(app->state, p->id, NULL);
    sandbox_end(app, &hub);
}

/* Containers whose rows name the pod; -1: who knows. */
static int count_members(struct app *app, const char *pod)
{
    struct state_container *rows = NULL;
    size_t len = 0;
    int n = 0;

    if (state_container_list(app->state, &rows, &len, NULL) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        n += rows[i].pod && !strcmp(rows[i].pod, pod);
        state_container_clear(&rows[i]);
    }
    free(rows);
    return n;
}

/* The pod of a sandbox: 1 found, 0 not. */
static int find_by_sandbox(struct app *app, const char *sandbox_id, struct state_pod *ret)
{
    struct state_pod *list = NULL;
    size_t len = 0;
    int found = 0;

    if (state_pod_list(app->state, app->server_key, &list, &len, NULL) < 0)
        return 0;
    for (size_t i = 0; i < len; i++) {
        if (!found && list[i].sandbox_id && !strcmp(list[i].sandbox_id, sandbox_id)) {
            *ret = list[i];
            found = 1;
        } else {
            state_pod_clear(&list[i]);
        }
    }
    free(list);
    return found;
}

/* It has left its networks, which may be gone themselves. */
static void tell_networks(struct app *app, const struct state_container *row)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;

    pod_ids_read(row->networks, &ids);
    for (size_t i = 0; i < ids.len; i++) {
        struct state_network n = {0};

        if (state_network_find(app->state, ids.items[i], &n, NULL) > 0)
            event_network(app, "disconnect", n.id, n.name, row->id);
        state_network_clear(&n);
    }
}

/* The container's row names no pod any more, if the place is what it has; another life of it is left alone. */
static void clear_pod(struct app *app, const char *container_id, const char *place)
{
    struct state_container row = {0};

    if (state_container_find(app->state, container_id, &row, NULL) > 0 && !strcmp(row.id, container_id) && row.pod &&
        row.sandbox_id && !strcmp(row.sandbox_id, place)) {
        tell_networks(app, &row);
        free(row.pod);
        row.pod = NULL;
        state_container_update(app->state, &row, STATE_PART_POD, NULL);
    }
    state_container_clear(&row);
}

/* Ends the pod of the sandbox if nobody is in it. Whether there is no such pod any more, or it was ended now. */
static bool end_if_empty(struct app *app, const char *sandbox_id, const char *container_id, const char *place)
{
    cleanup_close int lock = pods_lock(NULL);
    struct state_pod p = {0};
    bool empty = false;

    if (container_id)
        clear_pod(app, container_id, place);
    if (find_by_sandbox(app, sandbox_id, &p)) {
        empty = lock >= 0 && count_members(app, p.id) == 0;
        if (empty)
            pod_end(app, &p);
    }
    state_pod_clear(&p);
    return empty;
}

/* ---- containers ---- */

static bool is_gone(const struct err *err)
{
    return err->code == GRPC_NOT_FOUND || err->code == GRPC_FAILED_PRECONDITION;
}

/* Whether the server knows that it has ended. */
static bool terminate(struct app *app, const char *place)
{
    cleanup_err struct err why = ERR_INIT;
    struct modal_task *task = NULL;
    int code = 0, ret = modal_task_open(app->modal, place, TASK_MS, &task, &why);

    if (ret == 0)
        ret = modal_sidecar_terminate(task, modal_place_container(place), &why);
    modal_task_free(task);
    return ret == 0 || is_gone(&why) || sandbox_ended(app, place, &code, NULL) > 0;
}

bool pod_end_place(struct app *app, const char *container_id, const char *place)
{
    cleanup_free char *sandbox = modal_place_sandbox(place);

    state_intent_ending(app->state, place, NULL);
    if (!end_if_empty(app, sandbox, container_id, place) && !terminate(app, place))
        return false;
    sandbox_gone(app, container_id, place, TERMINATED);
    return true;
}

void pod_end_container(struct app *app, const struct state_container *row)
{
    pod_end_place(app, row->id, row->sandbox_id);
}

void pod_left(struct app *app, const char *container_id, const char *place)
{
    cleanup_free char *sandbox = modal_place_sandbox(place);

    end_if_empty(app, sandbox, container_id, place);
}

/* ---- what earlier commands left ---- */

/* A sidecar whose client was killed while it was asked for. A start that is under way now will deal with it itself. */
static int find_by_name(struct app *app, const struct state_intent *in)
{
    cleanup_free char *pod = xstrndup(in->sandbox_name, strcspn(in->sandbox_name, "/")),
                      *name = xstrndup(in->container_id, CONTAINER_SHORT_ID_LEN);
    cleanup_with(container_clear) struct container c;
    struct modal_sidecar_info info = {0};
    cleanup_err struct err why = ERR_INIT;
    struct modal_task *task = NULL;
    struct state_pod p = {0};
    bool had = false;
    int got = 0;

    container_init(&c, app);
    if (state_container_find(app->state, in->container_id, &c.row, NULL) > 0 && !strcmp(c.row.id, in->container_id) &&
        (container_lock_now(&c, &had, NULL) < 0 || !had))
        return 1;
    if (state_pod_find(app->state, pod, &p, NULL) > 0 && p.sandbox_id) {
        got = modal_task_open(app->modal, p.sandbox_id, TASK_MS, &task, &why);
        if (got == 0)
            got = modal_sidecar_get(task, name, /* terminated= */ false, &info, &why);
        if (got == 0) {
            cleanup_free char *place = modal_place_make(p.sandbox_id, info.id);

            if (!c.row.sandbox_id || strcmp(c.row.sandbox_id, place) != 0)
                got = modal_sidecar_terminate(task, info.id, &why);
        }
        if (got < 0 && is_gone(&why))
            got = 0;
        modal_task_free(task);
        modal_sidecar_info_clear(&info);
    }
    state_pod_clear(&p);
    if (got < 0)
        return -1;
    state_intent_drop(app->state, in->sandbox_name, NULL);
    sandbox_never_came(app, in);
    return 1;
}

/* Of a pod that the state knows: it is somebody's until its last container is out. */
static int look_after(struct app *app, const struct state_intent *in)
{
    struct state_pod p = {0};
    int code = 0, known;

    known = state_pod_find(app->state, in->container_id, &p, NULL) > 0 && p.sandbox_id &&
            !strcmp(p.sandbox_id, in->sandbox_id);
    if (known && sandbox_ended(app, p.sandbox_id, &code, NULL) > 0)
        pod_forget(app, &p);
    state_pod_clear(&p);
    return known;
}

int pod_take_up(struct app *app, const struct state_intent *in)
{
    bool pods = !strncmp(in->container_id, POD_PREFIX, strlen(POD_PREFIX));

    if (pods && in->sandbox_id && !in->ending)
        return look_after(app, in);
    if (!pods && !in->sandbox_id && strchr(in->sandbox_name, '/'))
        return find_by_name(app, in);
    return 0;
}

/* Rows that name a pod and have nothing in it, with nobody at work on them. */
static void clear_stale(struct app *app)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    if (state_container_list(app->state, &rows, &len, NULL) < 0)
        return;
    for (size_t i = 0; i < len; i++) {
        cleanup_with(container_clear) struct container c;
        bool had = false;

        container_init(&c, app);
        c.row = rows[i];
        if (!c.row.pod || c.row.sandbox_id || container_lock_now(&c, &had, NULL) < 0 || !had ||
            container_reread(&c, NULL) < 0 || !c.row.pod || c.row.sandbox_id)
            continue;
        free(c.row.pod);
        c.row.pod = NULL;
        state_container_update(app->state, &c.row, STATE_PART_POD, NULL);
    }
    free(rows);
}

/* One that was being made when its client was killed is found by its intent; its row says nothing that is true. */
static void end_empty(struct app *app, const char *id, bool said)
{
    cleanup_close int lock = pods_lock(NULL);
    struct state_pod p = {0};

    if (lock >= 0 && state_pod_find(app->state, id, &p, NULL) > 0) {
        if (!p.sandbox_id) {
            state_pod_remove(app->state, id, NULL);
        } else if (count_members(app, id) == 0) {
            if (said)
                printf("%s: nobody is in it; ended\n", id);
            pod_end(app, &p);
        }
    }
    state_pod_clear(&p);
}

void pod_reconcile(struct app *app, bool said)
{
    struct state_pod *list = NULL;
    size_t len = 0;

    if (state_pod_list(app->state, app->server_key, &list, &len, NULL) < 0)
        return;
    if (len)
        clear_stale(app);
    for (size_t i = 0; i < len; i++) {
        if (!list[i].sandbox_id || count_members(app, list[i].id) == 0)
            end_empty(app, list[i].id, said);
        state_pod_clear(&list[i]);
    }
    free(list);
}

/* ---- pods that were found ---- */

/* "pod-" and 12 hex digits; hex. What a server says is not believed blindly. */
static bool is_pod(const char *id, const char *token)
{
    size_t len = strlen(id);

    return !strncmp(id, POD_PREFIX, strlen(POD_PREFIX)) && len == strlen(POD_PREFIX) + 12 &&
           strspn(id + strlen(POD_PREFIX), "0123456789abcdef") == 12 && *token &&
           strspn(token, "0123456789abcdef") == strlen(token);
}

int pod_found(struct app *app, const char *id, const char *token, const struct modal_sandbox_info *info)
{
    struct state_pod known = {0};
    const struct state_pod p = {
        .id = (char *)id,
        .server = app->server_key,
        .app = (char *)"",
        .sandbox_id = info->id,
        .token = (char *)token,
        .networks = (char *)"[]",
        .created_ns = container_now_ns(),
    };
    const struct state_intent intent = {
        .container_id = (char *)id,
        .server = app->server_key,
        .app = (char *)"",
        .sandbox_name = info->name,
        .sandbox_id = info->id,
        .created = p.created_ns / 1000000000,
    };
    int got;

    if (!is_pod(id, token))
        return -1;
    got = state_pod_find(app->state, id, &known, NULL);
    state_pod_clear(&known);
    if (got != 0)
        return got > 0 ? 0 : -1;
    return state_pod_put(app->state, &p, NULL) < 0 ? -1 : state_intent_add(app->state, &intent, NULL);
}

/* The networks of the pod's containers besides its own. */
static void take_networks(struct app *app, struct state_pod *p)
{
    cleanup_strlist struct strlist all = STRLIST_INIT;
    struct state_container *rows = NULL;
    size_t len = 0, before;

    pod_ids_read(p->networks, &all);
    before = all.len;
    if (state_container_list(app->state, &rows, &len, NULL) < 0)
        return;
    for (size_t i = 0; i < len; i++) {
        if (rows[i].pod && !strcmp(rows[i].pod, p->id))
            pod_ids_read(rows[i].networks, &all);
        state_container_clear(&rows[i]);
    }
    free(rows);
    if (all.len == before)
        return;
    free(p->networks);
    p->networks = pod_ids_text(&all);
    state_pod_put(app->state, p, NULL);
}

void pod_found_networks(struct app *app)
{
    struct state_pod *list = NULL;
    size_t len = 0;

    if (state_pod_list(app->state, app->server_key, &list, &len, NULL) < 0)
        return;
    for (size_t i = 0; i < len; i++) {
        take_networks(app, &list[i]);
        state_pod_clear(&list[i]);
    }
    free(list);
}
