/*
 * The stream that carries one difference from one side to the other. A codec: bytes in, events out (and the reverse),
 * no file and no network. The parser trusts nothing: every length is bounded before memory is taken, every name is
 * checked, and the order below is enforced; what it accepts is a valid list of operations and contents that match their
 * digests.
 *
 * Layers. "ATPSYNC1", then blocks: raw length (top bit: zstd), stored length, both 32 bits little-endian, stored bytes.
 * A block holds at most LIMIT_SYNC_BLOCK raw bytes. The raw bytes together are records: type (1 byte), length (4
 * bytes), payload.
 *
 *     BEGIN       version, flags, digest of the manifest that the difference starts from, number of operations
 *     OPS...      the operations, in the manifest's order, all of them before any content
 *     ANNOUNCED   digest of the records so far: only now may the receiver act
 *     FILE        for each operation of kind FILE, in order: DATA and HOLE..., then one of
 *         DONE    what was read in the end: size, time, mode, owner, digest of the content
 *         GONE    the file could not be read in one state; it is left out of this exchange
 *         AGAIN   the file changed while it was read: forget the data, it comes again (at most STREAM_TRIES times in
 * all) END         digest of all records but DATA (contents have their own)
 */
#ifndef ATP_SYNC_STREAM_H
#define ATP_SYNC_STREAM_H

#include "compat/base/buf.h"
#include "compat/base/sha256.h"
#include "translate/sync/content.h"
#include "translate/sync/diff.h"
#include "translate/sync/manifest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

#define STREAM_TRIES 3

enum stream_begin_flag {
    STREAM_FULL = 1 << 0, /* no base: what is not announced is not there */
};

/* ---- writing ---- */

struct stream_writer;

struct stream_writer *stream_writer_new(void);
void stream_writer_free(struct stream_writer *w);
/* For tests: blocks are stored as they are. */
void stream_writer_no_zstd(struct stream_writer *w);

/* In the order of the picture above; the caller keeps it. */
void stream_put_begin(struct stream_writer *w, uint8_t flags, const uint8_t base[SHA256_LEN], uint64_t ops);
void stream_put_op(struct stream_writer *w, const struct sync_op *op);
void stream_put_announced(struct stream_writer *w);
void stream_put_file(struct stream_writer *w, uint64_t op);
void stream_put_data(struct stream_writer *w, const void *bytes, size_t len); /* len <= LIMIT_SYNC_BLOCK */
void stream_put_hole(struct stream_writer *w, uint64_t len);
void stream_put_again(struct stream_writer *w);
void stream_put_gone(struct stream_writer *w);
void stream_put_done(struct stream_writer *w, const struct manifest_entry *e); /* path and type are not used */
void stream_put_end(struct stream_writer *w);

/* True if a block is ready; then the caller should take it before it adds more. */
bool stream_writer_full(const struct stream_writer *w);
/* Moves at most cap finished bytes to `bytes`; after stream_put_end() the unfinished block is finished. */
size_t stream_writer_take(struct stream_writer *w, void *bytes, size_t cap);

/* ---- parsing ---- */

enum stream_event_type {
    STREAM_MORE,      /* all bytes were taken; nothing to tell yet */
    STREAM_ANNOUNCED, /* the list of operations is complete: stream_ops() */
    STREAM_FILE,      /* the content of operation `op` begins */
    STREAM_DATA,      /* bytes, len */
    STREAM_HOLE,      /* len zero bytes */
    STREAM_AGAIN,
    STREAM_GONE,
    STREAM_DONE, /* `done` holds what was read; size and digest match the data */
    STREAM_END,  /* the stream is whole; any byte after it is an error */
};

struct stream_event {
    enum stream_event_type type;
    size_t op;                         /* FILE, DATA, HOLE, AGAIN, GONE, DONE: index of the operation */
    const uint8_t *bytes;              /* DATA; borrowed until the next call */
    uint64_t len;                      /* DATA, HOLE */
    const struct manifest_entry *done; /* DONE; path and type are the operation's */
};

/* The operations as they came. entry i belongs to kind[i]; of a deletion only the path means anything. */
struct stream_ops {
    struct manifest entries;
    uint8_t *kind;
    uint8_t *flags;
    char **leader; /* LINK only, else NULL */
};

struct stream_parser;

struct stream_parser *stream_parser_new(void);
void stream_parser_free(struct stream_parser *p);
/*
 * Takes bytes (advancing *bytes and *len) until there is an event. -1: not a stream that may be accepted.
 */
int stream_parse(struct stream_parser *p, const void **bytes, size_t *len, struct stream_event *ret, struct err *err);
const struct stream_ops *stream_ops(const struct stream_parser *p); /* borrowed; complete after ANNOUNCED */
uint8_t stream_begin_flags(const struct stream_parser *p);
const uint8_t *stream_begin_base(const struct stream_parser *p);

#endif
