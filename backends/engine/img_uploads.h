/*
 * The end of what clients uploaded: contents (files/) and lists of them (mounts/). A list goes when nobody asked for it
 * for so long, contents when no list has them. Clients remember for a day what they uploaded, and a sandbox that has a
 * mount lives for a day: nothing goes before two have passed.
 */
#ifndef ATP_ENGINE_IMG_UPLOADS_H
#define ATP_ENGINE_IMG_UPLOADS_H

#include <stdbool.h>
#include <stdint.h>

#define IMG_UPLOADS_SECS (2ll * 24 * 3600)

/* Whether the contents are there; asking is using. From any thread. */
bool img_upload_exists(const char *dir, const char *sha256_hex);
/* In a thread. Returns the bytes that are free then. */
int64_t img_uploads_sweep(const char *dir, int64_t unused_secs);

#endif
