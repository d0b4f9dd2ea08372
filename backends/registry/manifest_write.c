#include "backends/registry/manifest_write.h"

#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/limits.h"

#include <stdbool.h>
#include <string.h>

/* What the parts are called in each of the two worlds. */
struct names {
    const char *manifest, *config, *tar, *gzip, *zstd;
};

static const struct names docker = {
    .manifest = "application/vnd.docker.distribution.manifest.v2+json",
    .config = "application/vnd.docker.container.image.v1+json",
    .tar = "application/vnd.docker.image.rootfs.diff.tar",
    .gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip",
};

static const struct names oci = {
    .manifest = "application/vnd.oci.image.manifest.v1+json",
    .config = "application/vnd.oci.image.config.v1+json",
    .tar = "application/vnd.oci.image.layer.v1.tar",
    .gzip = "application/vnd.oci.image.layer.v1.tar+gzip",
    .zstd = "application/vnd.oci.image.layer.v1.tar+zstd",
};

static const char *layer_type(const struct names *names, const char *type)
{
    if (strstr(type, "zstd"))
        return names->zstd;
    return strstr(type, "gzip") ? names->gzip : names->tar;
}

/* Laid out as Docker does it, so that the same parts give the same digest. */
char *manifest_write(const char *config, const struct registry_layer *layers, size_t len, const char **ret_type)
{
    struct buf b = BUF_INIT(LIMIT_MANIFEST);
    const struct names *names = &docker;
    char hex[DIGEST_HEX + 1];

    for (size_t i = 0; i < len; i++)
        names = strstr(layers[i].media_type, "zstd") ? &oci : names;
    digest_of(config, strlen(config), hex);
    buf_addf(&b, "{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"%s\",\n   \"config\": {\n", names->manifest);
    buf_addf(&b,
             "      \"mediaType\": \"%s\",\n      \"size\": %zu,\n      \"digest\": \"" DIGEST_PREFIX "%s\"\n   },\n",
             names->config, strlen(config), hex);
    buf_adds(&b, "   \"layers\": [");
    for (size_t i = 0; i < len; i++)
        buf_addf(&b,
                 "%s\n      {\n         \"mediaType\": \"%s\",\n         \"size\": %lld,\n         \"digest\": \"%s\"\n"
                 "      }",
                 i ? "," : "", layer_type(names, layers[i].media_type), (long long)layers[i].size, layers[i].digest);
    buf_adds(&b, len ? "\n   ]\n}" : "]\n}");
    *ret_type = names->manifest;
    return buf_detach(&b);
}
