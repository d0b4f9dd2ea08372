/*
 * gRPC's own small grammar above HTTP/2, without any I/O: messages with a five-byte head, status numbers, the escaped
 * text of grpc-message, the time of grpc-timeout, base64 of "-bin" metadata. Client and engine share it.
 */
#ifndef ATP_GRPC_FRAME_H
#define ATP_GRPC_FRAME_H

#include "compat/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
    GRPC_STATUS_MAX = 16,
};

/* "UNAVAILABLE" and so on; numbers out of range are "UNKNOWN". Static. */
const char *grpc_status_name(int status);

/* The value of a grpc-status header: 0..16, or GRPC_UNKNOWN for anything else. */
int grpc_status_parse(const char *s, size_t len);

/* --- messages ---------------------------------------------------------------------------------------------------- */

#define GRPC_HEAD 5u /* one byte "compressed", four bytes of length, big-endian */

void grpc_head_write(uint8_t head[GRPC_HEAD], uint32_t len);

/* Appends head and message; -1 past the buffer's ceiling. */
int grpc_frame_add(struct buf *out, const void *message, size_t len);

/*
 * Takes the bytes of a body in pieces of any size and gives back whole messages. What arrived but was not asked for yet
 * stays inside, so a reader may stop between two messages. A declared length above max_message is refused when its head
 * is complete, before anything is set aside for it; a compressed message is refused because we never announce an
 * encoding.
 */
struct grpc_parser {
    struct buf bytes;
    size_t at; /* bytes before this have been handed out */
    size_t max_message;
};

void grpc_parser_init(struct grpc_parser *p, size_t max_message);
void grpc_parser_clear(struct grpc_parser *p);

/* Adds bytes. -1: more than a message and a receive window piled up, which a peer that keeps to flow control can't do.
 */
int grpc_parser_push(struct grpc_parser *p, const void *data, size_t len, struct err *err);

/*
 * 1: a message, borrowed until the next call on this parser; 0: not yet whole; -1: not gRPC or too long (the code in
 * err->code is the grpc_status to report).
 */
int grpc_parser_next(struct grpc_parser *p, const uint8_t **ret_message, size_t *ret_len, struct err *err);

/* True between two messages: where a body may end. */
bool grpc_parser_idle(const struct grpc_parser *p);

/* --- texts ------------------------------------------------------------------------------------------------------- */

/* Escapes for grpc-message: printable ASCII but '%' stays, every other byte becomes %XX. */
int grpc_percent_encode(struct buf *out, const char *text);

/* The other way, forgiving: a '%' without two hex digits stays as it is. NUL bytes become '?'. Owned by caller. */
char *grpc_percent_decode(const char *s, size_t len);

#define GRPC_TIMEOUT_MAX 12 /* eight digits, a unit, a NUL and room to spare */

/* "1500m": at most eight digits as the specification asks, rounded up to the next unit. ms below 1 gives "1m". */
void grpc_timeout_format(int64_t ms, char out[GRPC_TIMEOUT_MAX]);

/* Milliseconds, rounded up; -1 if it is no grpc-timeout. */
int64_t grpc_timeout_parse(const char *s, size_t len);

/* Base64 with padding. */
int grpc_base64_encode(struct buf *out, const void *data, size_t len);

/* Takes both alphabets (also "-" and "_"), with or without padding. -1: not base64; out is then unchanged. */
int grpc_base64_decode(struct buf *out, const char *s, size_t len);

#endif
