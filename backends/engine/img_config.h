/* What the server itself runs with, out of an image's OCI configuration (translate/dockerfile/config.h). */
#ifndef ATP_ENGINE_IMG_CONFIG_H
#define ATP_ENGINE_IMG_CONFIG_H

#include "backends/engine/images.h"

#include <jansson.h>

/* ret was initialised or cleared. */
void img_config_read(const json_t *config, struct image_config *ret);
void img_image_config_clear(struct image_config *c);

#endif
