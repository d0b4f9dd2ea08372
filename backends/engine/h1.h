/*
 * HTTP/1.1 on the same socket and port, for what is not gRPC: blobs (PUT, POST, GET of /blob/ID/KEY, protocol 3.6) and,
 * in an engine with --fault, `PUT /engine/fault`. One request after the other; no chunked requests.
 */
#ifndef ATP_ENGINE_H1_H
#define ATP_ENGINE_H1_H

struct conn;
struct conn_handler;

void h1_attach(struct conn *c, const struct conn_handler **ret_handler, void **ret_arg);

#endif
