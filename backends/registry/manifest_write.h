/*
 * Writes the manifest of an image that has none yet: Docker's schema 2, or OCI's where a layer is compressed in a way
 * that Docker's has no name for. Pure.
 */
#ifndef ATP_REGISTRY_MANIFEST_WRITE_H
#define ATP_REGISTRY_MANIFEST_WRITE_H

#include "backends/registry/client.h"

/* layers: bottom first, as they travel; their media types may be Docker's or OCI's. Owned by caller. */
char *manifest_write(const char *config, const struct registry_layer *layers, size_t len, const char **ret_type);

#endif
