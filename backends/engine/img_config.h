/*
 * An image's OCI configuration as a document that instructions change. What we do not know in it stays as it is.
 */
#ifndef ATP_ENGINE_IMG_CONFIG_H
#define ATP_ENGINE_IMG_CONFIG_H

#include "backends/engine/images.h"

#include <jansson.h>

json_t *img_config_new(void); /* linux/amd64, nothing set */
/* Parses a registry's configuration; anything of a wrong type in what we use is an error. */
json_t *img_config_load(const char *text, size_t len, struct err *err);
void img_config_freep(json_t **config);

/* What the server runs with. ret was initialised or cleared. */
void img_config_read(const json_t *config, struct image_config *ret);
void img_image_config_clear(struct image_config *c);

/* Members of "config": a string (NULL removes), a list (NULL removes), one key of an object of strings or empty
 * objects. */
void img_config_set(json_t *config, const char *key, const char *value);
const char *img_config_get(const json_t *config, const char *key);
void img_config_set_list(json_t *config, const char *key, const struct strlist *values);
void img_config_put(json_t *config, const char *object, const char *key, const char *value_or_null);
void img_config_list(const json_t *config, const char *key, struct strlist *ret);

/* Diff ids of the layers ("sha256:..."), bottom first, appended to ret. */
void img_config_diff_ids(const json_t *config, struct strlist *ret);

#endif
