/*
 * Tar streams out of hostile hands, parsed by libarchive and never unpacked by it. Compression (gzip, zstd, xz, bzip2)
 * is taken off by the way, and the digest of the uncompressed stream is kept, which is what a diff id is.
 *
 * Names are bytes: libarchive reads them under the C locale (a UTF-8 locale would compose accents and so rename files).
 * A reader belongs to the thread that opened it.
 */
#ifndef ATP_REGISTRY_TAR_H
#define ATP_REGISTRY_TAR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct archive;
struct archive_entry;
struct err;

struct tar_reader;

/* Reads fd from its current position; fd stays the caller's. */
struct tar_reader *tar_open(int fd, struct err *err);
void tar_close(struct tar_reader *t);

/*
 * The next entry: 1 and *ret (borrowed until the next call), 0 at the end, -1 on damage ("unexpected EOF",
 * "invalid tar header"). An empty stream is an archive without entries, as for Docker.
 */
int tar_next(struct tar_reader *t, struct archive_entry **ret, struct err *err);

/* The entry's name without leading "/" and "./", trailing "/" and doubled slashes; "" is the root. -1: it has "..". */
int tar_name(const char *name, char **ret, struct err *err);

/* A piece of the entry's data that belongs at *ret_offset (holes are left out): length, 0 at the end, -1. */
ssize_t tar_data(struct tar_reader *t, const void **ret_bytes, int64_t *ret_offset, struct err *err);

/* Reads what is left; then the digest of the uncompressed stream (hex) and its length are known. */
int tar_finish(struct tar_reader *t, char ret_hex[65], int64_t *ret_size, struct err *err);

/* ---- a stream without looking into it ---- */

/* Copies the uncompressed stream of in to out (out -1: only reads), with digest (hex) and length. */
int tar_uncompress(int in, int out, char ret_hex[65], int64_t *ret_size, struct err *err);

#endif
