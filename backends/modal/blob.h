/* Large contents: BlobCreate, then HTTP (protocol 3.6). Private to this room. */
#ifndef ATP_MODAL_BLOB_H
#define ATP_MODAL_BLOB_H

#include <stdint.h>

struct err;
struct http_body;
struct modal_client;

/*
 * Uploads a body; sha256 is what it must be (32 bytes): if the contents have become others, that is an error. Owned by
 * caller.
 */
int modal_blob_upload(struct modal_client *c, const struct http_body *body, const uint8_t *sha256, char **ret_blob_id,
                      struct err *err);

#endif
