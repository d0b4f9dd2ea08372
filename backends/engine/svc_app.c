#include "backends/engine/engine.h"
#include "backends/engine/ids.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/store.h"
#include "backends/engine/svc.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>

#define APPS_LISTED 1000 /* a listing has no pages; more apps than this are shown in part */

/* 0 and the app that name means, made when create asks for it. */
static int get_or_create(struct engine *e, const char *environment, const char *name, int create, struct store_app *ret,
                         struct err *err)
{
    cleanup_free char *environment_id = store_environment(e->store, environment, err);
    int found;

    if (!environment_id)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid environment name: \"%s\"", environment);
    if (!name_is_valid(name))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid App name: \"%s\"", svc_text(name));
    found = store_app_by_name(e->store, environment, name, ret, err);
    if (found < 0)
        return -1;
    if (found && create != MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS)
        return 0;
    if (found)
        return svc_err(err, GRPC_ALREADY_EXISTS, "App \"%s\" already exists", name);
    if (create == MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_UNSPECIFIED)
        return svc_err(err, GRPC_NOT_FOUND, "App \"%s\" not found in environment \"%s\"", name, environment);
    return store_app_create(e->store, environment, name, ret, err) < 0 ? -1 : 0;
}

static void app_get_or_create(struct call *c, const void *request)
{
    const Modal__Client__AppGetOrCreateRequest *r = request;
    Modal__Client__AppGetOrCreateResponse response = MODAL__CLIENT__APP_GET_OR_CREATE_RESPONSE__INIT;
    cleanup_err struct err err = ERR_INIT;
    struct store_app app = {0};

    if ((int)r->object_creation_type >
        MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "An App is looked up, created if missing, or created if new");
        return;
    }
    if (get_or_create(c->engine, svc_environment(r->environment_name), r->app_name, (int)r->object_creation_type, &app,
                      &err) < 0) {
        svc_fail(c, &err);
    } else {
        response.app_id = app.id;
        call_reply(c, &response);
    }
    store_app_clear(&app);
}

static void app_list(struct call *c, const void *request)
{
    const Modal__Client__AppListRequest *r = request;
    Modal__Client__AppListResponse response = MODAL__CLIENT__APP_LIST_RESPONSE__INIT;
    Modal__Client__AppListResponse__AppListItem *items = xcalloc(APPS_LISTED, sizeof(*items));
    Modal__Client__AppListResponse__AppListItem **list = xcalloc(APPS_LISTED, sizeof(*list));
    struct store_app *apps = xcalloc(APPS_LISTED, sizeof(*apps));
    cleanup_err struct err err = ERR_INIT;
    size_t n = 0;
    int more = 1;

    while (n < APPS_LISTED && more > 0) {
        more = store_app_nth(c->engine->store, svc_environment(r->environment_name), n, &apps[n], &err);
        if (more <= 0)
            break;
        modal__client__app_list_response__app_list_item__init(&items[n]);
        items[n].app_id = apps[n].id;
        items[n].name = apps[n].name;
        items[n].description = apps[n].name;
        items[n].has_state = 1;
        items[n].state = MODAL__CLIENT__APP_STATE__APP_STATE_DEPLOYED;
        items[n].has_created_at = 1;
        items[n].created_at = apps[n].created_at;
        items[n].has_n_running_tasks = 1;
        items[n].n_running_tasks = (int)sandboxes_alive(c->engine->sandboxes, apps[n].id);
        list[n] = &items[n];
        n++;
    }
    response.apps = list;
    response.n_apps = n;
    if (more < 0)
        svc_fail(c, &err);
    else
        call_reply(c, &response);
    for (size_t i = 0; i < n; i++)
        store_app_clear(&apps[i]);
    free(apps);
    free(list);
    free(items);
}

const struct rpc_method svc_app_methods[] = {
    {"AppGetOrCreate", SVC_REQUEST(app_get_or_create_request), RPC_UNARY, 0, app_get_or_create},
    {"AppList", SVC_REQUEST(app_list_request), RPC_UNARY, 0, app_list},
    {0},
};
