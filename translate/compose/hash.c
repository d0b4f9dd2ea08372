/* What decides whether a container is made anew: docker compose's own hash, so that both agree on a project. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "translate/compose/render.h"
#include "translate/compose/settle.h"

#include <string.h>

#define HASHED_MAX (64u << 20)

/* sha256 of the tree as JSON on one line; the tree is freed. */
static char *hash_json(struct cnode *json, const char *what, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(HASHED_MAX);
    uint8_t digest[SHA256_LEN];
    char *hex;

    json_node(&text, json, /* depth= */ -1);
    cnode_free(json);
    if (text.overflowed) {
        err_set(err, 0, "the %s is too large", what);
        return NULL;
    }
    sha256(text.data, text.len, digest);
    hex = xmalloc(2 * SHA256_LEN + 1);
    sha256_hex(digest, hex);
    return hex;
}

/* A service without what does not concern a container. */
static char *hash_service(const struct cnode *service, struct err *err)
{
    static const char *const left_out[] = {"build", "pull_policy", "scale", "depends_on", "profiles"};
    struct cnode *json = json_service(service);

    for (size_t i = 0; i < sizeof(left_out) / sizeof(*left_out); i++)
        cnode_remove(json, left_out[i]);
    cnode_remove(cnode_get(json, "deploy"), "replicas");
    return hash_json(json, "service", err);
}

char *compose_resource_hash(const struct cnode *resource, const char *kind, struct err *err)
{
    struct cnode *named = cnode_copy(resource), *json;

    if (!strcmp(kind, "volumes") && !cnode_get(named, "driver"))
        cnode_set(named, "driver", cnode_string("local"));
    json = json_resource(named, kind);
    cnode_free(named);
    return hash_json(json, kind, err);
}

char *compose_hash(const struct compose_project *p, const char *service, struct err *err)
{
    const struct cnode *s = cnode_get(cnode_get(p->model, "services"), service);

    if (s)
        return hash_service(s, err);
    err_set(err, 0, "no such service: %s%s", service, cnode_get(p->disabled, service) ? ": disabled" : ": not found");
    return NULL;
}

char *compose_image_name(const struct compose_project *p, const struct cnode *service, const char *name)
{
    const char *image = cnode_str(service, "image");

    return image ? xstrdup(image) : xasprintf("%s-%s", p->name, name);
}
