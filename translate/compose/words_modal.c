/*
 * x-modal: {timeout: 60, sync: {exclude: [a, b]}} as hidden options, each key with its dots. The file's x-modal holds
 * for all services but for what one container has, tunnels and GPUs: they are the default service's, which is chosen as
 * inspect chooses it. Its own name for the file's x-modal is understood too.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/settle.h"
#include "translate/compose/words.h"

#include <string.h>

#define VALUE_MAX 65536

static const char *const file_keys[] = {"x-inspect_modal_sandbox", "x-modal"}; /* the later wins */

#define FILE_KEYS (sizeof(file_keys) / sizeof(file_keys[0]))

/* The service with `x-default: true`, else "default", else the first. */
static bool is_default_service(const struct words *w)
{
    const struct cnode *services = cnode_get(w->p->model, "services");

    for (size_t i = 0; services && i < services->len; i++)
        if (cnode_true(services->items[i], "x-default"))
            return strcmp(services->keys[i], w->name) == 0;
    if (cnode_get(services, "default"))
        return strcmp(w->name, "default") == 0;
    return services && services->len > 0 && strcmp(services->keys[0], w->name) == 0;
}

/* Whether a key of the file's x-modal is for this service. */
static bool concerns(const struct words *w, const char *key)
{
    static const char *const of_one[] = {"encrypted_ports", "gpu", "h2_ports", "unencrypted_ports"};

    for (size_t i = 0; i < sizeof(of_one) / sizeof(of_one[0]); i++)
        if (strcmp(key, of_one[i]) == 0)
            return is_default_service(w);
    return true;
}

bool words_modal_says(const struct words *w, const char *key)
{
    for (size_t i = 0; i < FILE_KEYS; i++)
        if (cnode_get(cnode_get(w->p->model, file_keys[i]), key) && concerns(w, key))
            return true;
    return cnode_get(cnode_get(w->s, "x-modal"), key) != NULL;
}

/* {NAME: VALUE} as lines. */
static int add_variables(const struct words *w, const char *option, const char *key, const struct cnode *map,
                         struct err *err)
{
    cleanup_buf struct buf out = BUF_INIT(VALUE_MAX);

    for (size_t i = 0; i < map->len; i++) {
        cleanup_free char *text = compose_print_value(map->items[i]);

        if (map->items[i]->kind == CNODE_MAP || map->items[i]->kind == CNODE_LIST || strchr(text, '\n'))
            return err_set(err, 0, "service \"%s\": x-modal.%s.%s: a text of one line is wanted", w->name, key,
                           map->keys[i]);
        if (map->items[i]->kind != CNODE_NULL)
            buf_addf(&out, "%s=%s\n", map->keys[i], text);
    }
    if (out.overflowed)
        return err_set(err, 0, "service \"%s\": x-modal.%s is too long", w->name, key);
    if (out.len)
        words_add(w, option, "%s=%s", key, out.data);
    return 0;
}

/* A list is one text with a line for each item. */
static int add_value(const struct words *w, const char *option, const char *key, const struct cnode *value,
                     struct err *err)
{
    cleanup_buf struct buf out = BUF_INIT(VALUE_MAX);

    if (value->kind == CNODE_MAP && strcmp(key, "sandbox_env") == 0)
        return add_variables(w, option, key, value, err);
    if (value->kind == CNODE_MAP) {
        for (size_t i = 0; i < value->len; i++) {
            cleanup_free char *below = xasprintf("%s.%s", key, value->keys[i]);

            if (add_value(w, option, below, value->items[i], err))
                return -1;
        }
        return 0;
    }
    for (size_t i = 0; value->kind == CNODE_LIST && i < value->len; i++) {
        cleanup_free char *text = compose_print_value(value->items[i]);

        if (value->items[i]->kind == CNODE_MAP || value->items[i]->kind == CNODE_LIST)
            return err_set(err, 0, "service \"%s\": x-modal.%s: a list of words is wanted", w->name, key);
        buf_addf(&out, "%s\n", text);
    }
    if (value->kind != CNODE_LIST && value->text)
        buf_adds(&out, value->text);
    if (out.overflowed)
        return err_set(err, 0, "service \"%s\": x-modal.%s is too long", w->name, key);
    words_add(w, option, "%s=%s", key, out.data);
    return 0;
}

/* Names of secrets that the platform keeps: Modal's own, told beside those of x-modal.secrets. */
static void add_external_secrets(const struct words *w, struct cnode *list)
{
    const struct cnode *uses = cnode_get(w->s, "secrets"), *declared = cnode_get(w->p->model, "secrets");

    for (size_t i = 0; uses && i < uses->len; i++) {
        const char *key = cnode_str(uses->items[i], "source");
        const struct cnode *secret = key ? cnode_get(declared, key) : NULL;
        const char *name = cnode_str(secret, "name");

        if (cnode_true(secret, "external"))
            cnode_add(list, cnode_string(name ? name : key));
    }
}

static int add_secrets(const struct words *w, struct err *err)
{
    struct cnode *said = cnode_get(cnode_get(w->s, "x-modal"), "secrets"), *list = cnode_new(CNODE_LIST);
    int r = 0;

    add_external_secrets(w, list);
    if (!said && list->len > 0)
        said = cnode_get(cnode_get(w->p->model, "x-modal"), "secrets");
    for (size_t i = 0; cnode_is(said, CNODE_LIST) && i < said->len; i++)
        cnode_add(list, cnode_copy(said->items[i]));
    if (cnode_text(said))
        cnode_add(list, cnode_copy(said));
    if (list->len > 0)
        r = add_value(w, "--x-modal", "secrets", list, err);
    cnode_free(list);
    return r;
}

static int add_all(const struct words *w, const char *option, const struct cnode *map, bool service, struct err *err)
{
    if (map && map->kind != CNODE_MAP && map->kind != CNODE_NULL)
        return err_set(err, 0, "x-modal must be a mapping");
    for (size_t i = 0; map && i < map->len; i++)
        if (!(service && strcmp(map->keys[i], "secrets") == 0) && (service || concerns(w, map->keys[i])) &&
            map->items[i]->kind != CNODE_NULL && add_value(w, option, map->keys[i], map->items[i], err))
            return -1;
    return 0;
}

int words_modal(const struct words *w, struct err *err)
{
    if (add_all(w, "--x-modal", cnode_get(w->s, "x-modal"), /* service= */ true, err) || add_secrets(w, err))
        return -1;
    for (size_t i = 0; i < FILE_KEYS; i++)
        if (add_all(w, "--x-modal-top", cnode_get(w->p->model, file_keys[i]), /* service= */ false, err))
            return -1;
    return 0;
}
