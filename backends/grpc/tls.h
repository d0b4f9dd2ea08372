/*
 * TLS as a filter without I/O: encrypted bytes in and out through memory, so that the connection's reading and writing
 * are the same with and without it. ALPN is h2 only; TLS 1.2 or newer; name and chain are checked.
 */
#ifndef ATP_GRPC_TLS_H
#define ATP_GRPC_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct buf;
struct err;
struct tls;
struct tls_context;

/* One per channel, made when the first TLS connection is. ca_file NULL: the system's trust store. */
struct tls_context *tls_context_new(const char *ca_file, bool unverified, struct err *err);
void tls_context_free(struct tls_context *context); /* NULL is fine */

/* host: name or address to ask for and to check. */
struct tls *tls_new(struct tls_context *context, const char *host, struct err *err);
void tls_free(struct tls *tls); /* NULL is fine */

/* Bytes from the network. */
int tls_feed(struct tls *tls, const void *data, size_t len, struct err *err);

/* 1: done, and the peer speaks h2; 0: needs more bytes; -1: failed. */
int tls_handshake(struct tls *tls, struct err *err);

/* Plain bytes: their number; 0: needs more from the network; -1: failed; -2: the peer closed in good order. */
ssize_t tls_read(struct tls *tls, void *data, size_t len, struct err *err);

int tls_write(struct tls *tls, const void *data, size_t len, struct err *err);

/* Moves what has to go to the network into out; -1 past its ceiling. */
int tls_drain(struct tls *tls, struct buf *out);

#endif
