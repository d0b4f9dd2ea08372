#include "backends/modal/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#define KIND_APP     "app"
#define KIND_BUILDER "builder"

static const struct modal_method app_get_or_create = {
    .path = MODAL_CONTROL(AppGetOrCreate),
    .reply = &modal__client__app_get_or_create_response__descriptor,
};

static const struct modal_method environment_get_or_create = {
    .path = MODAL_CONTROL(EnvironmentGetOrCreate),
    .reply = &modal__client__environment_get_or_create_response__descriptor,
};

int modal_app_id(struct modal_client *c, const char *name, char **ret_app_id, struct err *err)
{
    Modal__Client__AppGetOrCreateRequest request = MODAL__CLIENT__APP_GET_OR_CREATE_REQUEST__INIT;
    cleanup_message Modal__Client__AppGetOrCreateResponse *reply = NULL;
    char *known = modal_cached(c, KIND_APP, name);

    if (known) {
        *ret_app_id = known;
        return 0;
    }
    request.app_name = (char *)name;
    request.environment_name = c->environment;
    request.has_object_creation_type = 1;
    request.object_creation_type = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_IF_MISSING;
    if (modal_call(c, &app_get_or_create, &request, &reply, err) < 0)
        return err_wrap(err, "looking up the app %s", name);
    if (!reply->app_id || !*reply->app_id)
        return err_set(err, 125, "looking up the app %s: the server gave no id", name);
    modal_remember(c, KIND_APP, name, reply->app_id, MODAL_CACHE_DAY);
    *ret_app_id = xstrdup(reply->app_id);
    return 0;
}

void modal_app_forget(struct modal_client *c, const char *name)
{
    modal_forget(c, KIND_APP, name);
}

int modal_builder_version(struct modal_client *c, char **ret_version, struct err *err)
{
    Modal__Client__EnvironmentGetOrCreateRequest request = MODAL__CLIENT__ENVIRONMENT_GET_OR_CREATE_REQUEST__INIT;
    cleanup_message Modal__Client__EnvironmentGetOrCreateResponse *reply = NULL;
    const Modal__Client__EnvironmentSettings *settings;
    char *known;

    if (*c->builder_version) {
        *ret_version = xstrdup(c->builder_version);
        return 0;
    }
    known = modal_cached(c, KIND_BUILDER, "");
    if (known) {
        *ret_version = known;
        return 0;
    }
    request.deployment_name = c->environment;
    if (modal_call(c, &environment_get_or_create, &request, &reply, err) < 0)
        return err_wrap(err, "looking up the environment %s", *c->environment ? c->environment : "(default)");
    settings = reply->metadata ? reply->metadata->settings : NULL;
    if (!settings || !settings->image_builder_version || !*settings->image_builder_version)
        return err_set(err, 125, "the environment names no image builder version: set MODAL_IMAGE_BUILDER_VERSION");
    modal_remember(c, KIND_BUILDER, "", settings->image_builder_version, MODAL_CACHE_DAY);
    *ret_version = xstrdup(settings->image_builder_version);
    return 0;
}
