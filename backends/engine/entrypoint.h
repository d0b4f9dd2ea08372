/* Stdin and output of a sandbox's first process: the V1 calls of the control plane and the V2 calls of the router. */
#ifndef ATP_ENGINE_ENTRYPOINT_H
#define ATP_ENGINE_ENTRYPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;
struct rt_stream;
struct sandbox;

/*
 * Writes to stdin of a running sandbox; ends the call with reply(c) when the process has taken it, or with an error,
 * and then returns false.
 */
bool entrypoint_write(struct call *c, struct sandbox *s, uint64_t offset, const void *bytes, size_t len, bool eof,
                      void (*reply)(struct call *c));

/* A call that streams the output of one descriptor (1 or 2) from an offset. */
struct entrypoint_reader;

/* Makes c a stream with that source, after seconds of which entrypoint_over() is true (negative: never). */
void entrypoint_read(struct call *c, struct sandbox *s, int fd, uint64_t offset, double seconds,
                     void (*source)(struct call *c));
/* For sources: the reader's sandbox and where it is; moving on; waiting for more. */
struct sandbox *entrypoint_sandbox(const struct call *c);
struct rt_stream *entrypoint_stream(const struct call *c); /* NULL while there is none, or no more */
uint64_t entrypoint_offset(const struct call *c);
bool entrypoint_over(const struct call *c);
void entrypoint_advance(struct call *c, size_t len);
void entrypoint_wait(struct call *c);

#endif
