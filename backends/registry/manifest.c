#include "backends/registry/manifest.h"

#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

#define MAX_LAYERS 500                /* overlayfs stops at 500 lower directories; Docker writes 127 at most */
#define MAX_BLOB   ((int64_t)1 << 40) /* no sum of such sizes can overflow */

#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_SCHEMA1  "application/vnd.docker.distribution.manifest.v1"
#define OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX       "application/vnd.oci.image.index.v1+json"

const char manifest_accept[] = DOCKER_MANIFEST ", " DOCKER_LIST ", " OCI_MANIFEST ", " OCI_INDEX ", */*;q=0.1";

static void json_freep(json_t **j)
{
    json_decref(*j);
}

#define cleanup_json __attribute__((cleanup(json_freep)))

static int corrupt(struct err *err, const char *what)
{
    err_set(err, 0, "%s", what);
    if (err)
        err->code = REGISTRY_CORRUPT;
    return -1;
}

/* jansson's own nesting limit (2048) holds; the text's length was bounded when it was read. */
static json_t *load(const char *text, size_t len, struct err *err)
{
    json_error_t why;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);

    if (j && json_is_object(j))
        return j;
    json_decref(j);
    err_set(err, 0, "invalid manifest: %s", j ? "not an object" : why.text);
    if (err)
        err->code = REGISTRY_CORRUPT;
    return NULL;
}

static const char *member(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

/* The text's own word for what it is, else what its shape says, else how it was sent. */
static const char *type_of(const json_t *j, const char *content_type)
{
    const char *type = member(j, "mediaType");

    if (!type && json_is_array(json_object_get(j, "manifests")))
        type = OCI_INDEX;
    if (!type && json_integer_value(json_object_get(j, "schemaVersion")) == 1)
        type = DOCKER_SCHEMA1;
    if (!type && json_is_object(json_object_get(j, "config")))
        type = OCI_MANIFEST;
    return type ? type : content_type ? content_type : "unknown";
}

char *manifest_type_of(const char *text, size_t len, const char *content_type)
{
    cleanup_json json_t *j = json_loadb(text, len, 0, NULL);

    return xstrdup(type_of(j, content_type));
}

int manifest_kind_of(const char *text, size_t len, const char *content_type, enum manifest_kind *ret, struct err *err)
{
    cleanup_json json_t *j = load(text, len, err);
    const char *type;

    if (!j)
        return -1;
    type = type_of(j, content_type);
    if (strcmp(type, OCI_INDEX) == 0 || strcmp(type, DOCKER_LIST) == 0) {
        *ret = MANIFEST_INDEX;
        return 0;
    }
    if (strcmp(type, OCI_MANIFEST) == 0 || strcmp(type, DOCKER_MANIFEST) == 0) {
        *ret = MANIFEST_IMAGE;
        return 0;
    }
    if (strncmp(type, DOCKER_SCHEMA1, strlen(DOCKER_SCHEMA1)) == 0)
        return corrupt(err, "Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported: "
                            "push the image again with a current tool");
    err_set(err, 0, "unsupported manifest media type: %.200s", type);
    if (err)
        err->code = REGISTRY_CORRUPT;
    return -1;
}

/* {"digest": "sha256:...", "size": n}: both are checked; a missing size is -1. */
static int parse_blob(const json_t *j, char **ret_digest, int64_t *ret_size, struct err *err)
{
    const char *digest = member(j, "digest");
    const json_t *size = json_object_get(j, "size");

    if (!digest_strip(digest))
        return corrupt(err, "invalid manifest: a blob has no sha256 digest");
    if (size && (!json_is_integer(size) || json_integer_value(size) < 0 || json_integer_value(size) > MAX_BLOB))
        return corrupt(err, "invalid manifest: a blob has an impossible size");
    *ret_digest = xstrdup(digest);
    *ret_size = size ? json_integer_value(size) : -1;
    return 0;
}

/* Things that are kept in registries without being images (charts, signatures) have configurations of other types. */
static int check_config_type(const json_t *config, struct err *err)
{
    const char *type = member(config, "mediaType");

    if (!type || strcmp(type, "application/vnd.docker.container.image.v1+json") == 0 ||
        strcmp(type, "application/vnd.oci.image.config.v1+json") == 0 || strcmp(type, "application/octet-stream") == 0)
        return 0;
    err_set(err, 0, "unsupported media type %.200s", type);
    if (err)
        err->code = REGISTRY_CORRUPT;
    return -1;
}

int manifest_parse(const char *text, size_t len, struct registry_image *ret, int64_t *ret_config_size, struct err *err)
{
    cleanup_json json_t *j = load(text, len, err);
    const json_t *config, *layers, *layer;
    size_t i;

    if (!j)
        return -1;
    config = json_object_get(j, "config");
    layers = json_object_get(j, "layers");
    if (!json_is_object(config) || !json_is_array(layers))
        return corrupt(err, "invalid manifest: it has no config or no layers");
    if (json_array_size(layers) > MAX_LAYERS)
        return corrupt(err, "max depth exceeded");
    if (check_config_type(config, err) < 0 || parse_blob(config, &ret->config_digest, ret_config_size, err) < 0)
        return -1;
    ret->layers = xcalloc(json_array_size(layers) + 1, sizeof(*ret->layers));
    json_array_foreach(layers, i, layer)
    {
        struct registry_layer *l = &ret->layers[i];
        const char *type = member(layer, "mediaType");

        if (parse_blob(layer, &l->digest, &l->size, err) < 0)
            return -1;
        l->media_type = xstrdup(type ? type : "");
        ret->layers_len = i + 1;
        ret->size += l->size > 0 ? l->size : 0;
    }
    return 0;
}

/* Whether an index entry's platform is the one that is wanted; an entry that names none fits anything. */
static bool fits(const json_t *platform, const char *os, const char *arch, const char *variant)
{
    const char *v = member(platform, "variant");

    if (!platform)
        return true;
    if (strcmp(os, member(platform, "os") ? member(platform, "os") : "") != 0 ||
        strcmp(arch, member(platform, "architecture") ? member(platform, "architecture") : "") != 0)
        return false;
    if (!variant || !v)
        return true;
    return strcmp(variant, v) == 0;
}

int manifest_choose(const char *text, size_t len, const struct registry_platform *platform, char **ret_digest,
                    struct err *err)
{
    const char *os = platform && platform->os ? platform->os : "linux";
    const char *arch = platform && platform->architecture ? platform->architecture : "amd64";
    const char *variant = platform ? platform->variant : NULL;
    cleanup_json json_t *j = load(text, len, err);
    const json_t *entry;
    size_t i;

    if (!j)
        return -1;
    json_array_foreach(json_object_get(j, "manifests"), i, entry)
    {
        int64_t size;

        if (fits(json_object_get(entry, "platform"), os, arch, variant))
            return parse_blob(entry, ret_digest, &size, err);
    }
    err_set(err, 0, "no matching manifest for %s/%s%s%s in the manifest list entries", os, arch, variant ? "/" : "",
            variant ? variant : "");
    if (err)
        err->code = REGISTRY_PLATFORM;
    return -1;
}

void manifest_error(const char *text, size_t len, char **ret_code, char **ret_message)
{
    cleanup_json json_t *j = json_loadb(text, len, 0, NULL);
    const json_t *first = json_array_get(json_object_get(j, "errors"), 0);
    const char *code = member(first, "code"), *message = member(first, "message");
    char *words;

    *ret_code = *ret_message = NULL;
    if (!code)
        return;
    words = xstrndup(code, 100);
    for (char *p = words; *p; p++)
        *p = *p == '_' ? ' ' : (char)tolower((unsigned char)*p);
    *ret_code = xstrndup(code, 100);
    *ret_message = xasprintf("%s: %.500s", words, message ? message : words);
    for (char *p = *ret_message; *p; p++)
        *p = (unsigned char)*p < 0x20 ? ' ' : *p;
    free(words);
}
