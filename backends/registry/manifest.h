/*
 * What registries say, as JSON: manifests, indexes and error bodies. Pure: text in, values out.
 */
#ifndef ATP_REGISTRY_MANIFEST_H
#define ATP_REGISTRY_MANIFEST_H

#include "backends/registry/client.h"

#include <stdbool.h>

/* The Accept header for manifests of every kind that we read. */
extern const char manifest_accept[];

enum manifest_kind { MANIFEST_IMAGE, MANIFEST_INDEX };

/*
 * Which kind the text is; content_type (may be NULL) decides when the text does not say. An old schema 1 manifest, and
 * things that are no image at all, are errors.
 */
int manifest_kind_of(const char *text, size_t len, const char *content_type, enum manifest_kind *ret, struct err *err);

/* The media type that the text is of: its own word, else what its shape says; owned by caller. */
char *manifest_type_of(const char *text, size_t len, const char *content_type);

/* Fills config_digest, layers, layers_len and size; *ret_config_size is -1 when it is not told. */
int manifest_parse(const char *text, size_t len, struct registry_image *ret, int64_t *ret_config_size, struct err *err);

/* The digest of the index's entry for the platform; owned by caller. */
int manifest_choose(const char *text, size_t len, const struct registry_platform *platform, char **ret_digest,
                    struct err *err);

/*
 * The first error of a registry's error body as Docker prints it: "manifest unknown: manifest unknown"; *ret_code is
 * its code ("MANIFEST_UNKNOWN"). Both owned by caller, both NULL when the body is something else.
 */
void manifest_error(const char *text, size_t len, char **ret_code, char **ret_message);

#endif
