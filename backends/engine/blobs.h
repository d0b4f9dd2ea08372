/*
 * Blobs (protocol 3.6): files too large for a message, uploaded with plain HTTP PUT, in one piece or in parts, and
 * fetched with GET. A blob lives until it is taken, or for an hour. Each has a random key that its URLs carry; who
 * knows the URL may use it. Nothing survives a restart.
 */
#ifndef ATP_ENGINE_BLOBS_H
#define ATP_ENGINE_BLOBS_H

#include <stddef.h>
#include <stdint.h>

struct blobs;
struct buf;
struct err;
struct upload;

/* Empties dir/blobs. Blobs above part_length bytes are uploaded in parts of that size. */
struct blobs *blobs_new(const char *dir, uint64_t part_length, struct err *err);
void blobs_free(struct blobs *b);

/* id and key of a new blob of that length, both borrowed until the blob goes. parts: 0 = in one piece. */
int blobs_create(struct blobs *b, uint64_t length, const char **ret_id, const char **ret_key, size_t *ret_parts,
                 struct err *err);
/* The same of a length that is not known yet: what is uploaded, in one piece, may be shorter. */
int blobs_create_at_most(struct blobs *b, uint64_t length, const char **ret_id, const char **ret_key, struct err *err);
uint64_t blobs_part_length(const struct blobs *b);

/* One PUT. part counts from 1, 0 = the whole blob. NULL and err (code = HTTP status) when there is no such upload. */
struct upload *blobs_upload(struct blobs *b, const char *id, const char *key, size_t part, struct err *err);
int upload_write(struct upload *u, const void *bytes, size_t len, struct err *err);
/* Makes what was written the blob or the part; the MD5 (hex) is what the peer compares. Frees u in any case. */
int upload_finish(struct upload *u, char ret_md5[33], struct err *err);
void upload_free(struct upload *u); /* throws away an unfinished one */

/* The POST after the last part: body lists the parts; answer gets the XML that clients look into. */
int blobs_complete(struct blobs *b, const char *id, const char *key, const char *body, struct buf *answer,
                   struct err *err);

/* The key of a finished blob for a download URL (borrowed), or NULL. */
const char *blobs_key(struct blobs *b, const char *id);
/* A descriptor to read a finished blob from, or -1 and err. key NULL = the caller is the engine. */
int blobs_open(struct blobs *b, const char *id, const char *key, uint64_t *ret_length, struct err *err);
/* The file of a finished blob; the caller may move it away, then blobs_drop(). Borrowed. NULL and err if there is none.
 */
const char *blobs_path(struct blobs *b, const char *id, struct err *err);
void blobs_drop(struct blobs *b, const char *id);
/* Removes what is older than an hour. */
void blobs_sweep(struct blobs *b);

#endif
