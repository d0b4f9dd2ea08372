#include "backends/modal/image.h"
#include "backends/modal/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

static const struct modal_method secret_get_or_create = {
    .path = MODAL_CONTROL(SecretGetOrCreate),
    .reply = &modal__client__secret_get_or_create_response__descriptor,
};

static const struct modal_method secret_delete = {
    .path = MODAL_CONTROL(SecretDelete),
    .reply = &modal__client__empty__descriptor,
};

int modal_secret_create(struct modal_client *c, const char *app_id, const struct strlist *env, char **ret_secret_id,
                        struct err *err)
{
    Modal__Client__SecretGetOrCreateRequest request = MODAL__CLIENT__SECRET_GET_OR_CREATE_REQUEST__INIT;
    cleanup_message Modal__Client__SecretGetOrCreateResponse *reply = NULL;
    struct modal_entries entries;
    int ret;

    modal_entries_make(&entries, env);
    request.environment_name = c->environment;
    request.has_object_creation_type = 1;
    request.object_creation_type = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP;
    request.app_id = (char *)app_id;
    request.n_env_dict = entries.len;
    request.env_dict = entries.pointers;
    ret = modal_call(c, &secret_get_or_create, &request, &reply, err);
    modal_entries_clear(&entries);
    if (ret < 0)
        return -1;
    if (!reply->secret_id || !*reply->secret_id)
        return err_set(err, 125, "the server gave no id");
    *ret_secret_id = xstrdup(reply->secret_id);
    return 0;
}

/* A named one, by how it may come to be. */
static int get_named(struct modal_client *c, const char *name, int how, const struct strlist *env, char **ret_secret_id,
                     struct err *err)
{
    static const struct strlist none = STRLIST_INIT;
    Modal__Client__SecretGetOrCreateRequest request = MODAL__CLIENT__SECRET_GET_OR_CREATE_REQUEST__INIT;
    cleanup_message Modal__Client__SecretGetOrCreateResponse *reply = NULL;
    struct modal_entries entries;
    int ret;

    modal_entries_make(&entries, env ? env : &none);
    request.deployment_name = (char *)name;
    request.environment_name = c->environment;
    request.has_object_creation_type = 1;
    request.object_creation_type = (Modal__Client__ObjectCreationType)how;
    request.n_env_dict = entries.len;
    request.env_dict = entries.pointers;
    ret = modal_call(c, &secret_get_or_create, &request, &reply, err);
    modal_entries_clear(&entries);
    if (ret < 0)
        return -1;
    if (!reply->secret_id || !*reply->secret_id)
        return err_set(err, 125, "the server gave no id for the secret %s", name);
    *ret_secret_id = xstrdup(reply->secret_id);
    return 0;
}

int modal_secret_named(struct modal_client *c, const char *name, char **ret_secret_id, struct err *err)
{
    return get_named(c, name, MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_UNSPECIFIED, NULL,
                     ret_secret_id, err);
}

int modal_secret_put(struct modal_client *c, const char *name, const struct strlist *env, bool overwrite,
                     char **ret_secret_id, struct err *err)
{
    return get_named(c, name,
                     overwrite ? MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS
                               : MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
                     env, ret_secret_id, err);
}

int modal_secret_delete(struct modal_client *c, const char *secret_id, struct err *err)
{
    Modal__Client__SecretDeleteRequest request = MODAL__CLIENT__SECRET_DELETE_REQUEST__INIT;
    cleanup_message Modal__Client__Empty *reply = NULL;

    request.secret_id = (char *)secret_id;
    return modal_call(c, &secret_delete, &request, &reply, err);
}

int modal_secret_of(struct modal_client *c, const char *app_id, const struct strlist *env, char **ret_secret_id,
                    struct err *err)
{
    return modal_secret_create(c, app_id, env, ret_secret_id, err) < 0 ? err_wrap(err, "handing over the environment")
                                                                       : 0;
}
