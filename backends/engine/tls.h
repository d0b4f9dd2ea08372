/*
 * TLS on the server's side, for clients that insist on https:// (protocol 6.2). The certificate is made when the engine
 * starts and never leaves it: clients of a local server do not verify it. No I/O here: bytes in, bytes out.
 */
#ifndef ATP_ENGINE_TLS_H
#define ATP_ENGINE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct tls;
struct tls_session;

struct tls *stls_new(struct err *err);
void stls_free(struct tls *t);

struct tls_session *stls_session_new(struct tls *t);
void stls_session_free(struct tls_session *s);
/* Offers the peer http/1.1 only, by ALPN, where others get h2 too; call it first. */
void stls_without_h2(struct tls_session *s);
bool stls_is_ready(const struct tls_session *s); /* the handshake is over */
void stls_finish(struct tls_session *s);         /* nothing more will be written: the peer is told in order */
/* Takes what the peer sent and adds what it meant to plain. 1 = the peer closed in order, -1 = broken. */
int stls_feed(struct tls_session *s, const uint8_t *bytes, size_t len, struct buf *plain);
/* Encrypts; only when the handshake is over, as it is when plain bytes have come. */
int stls_write(struct tls_session *s, const void *bytes, size_t len);
/* Moves the bytes that are to be sent to the peer into wire; call it after each of the two above. */
int stls_take(struct tls_session *s, struct buf *wire);

#endif
