/*
 * The user's stdout and stderr without ever blocking the loop and without changing them: the descriptors are shared
 * with other processes, so they are not made non-blocking. A pipe is written in pieces that poll(2) promised to take.
 */
#ifndef ATP_SHIM_OUTPUT_H
#define ATP_SHIM_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

struct loop;
struct output;

/* ready is called from the loop when more can be written after a short write; closed when the reader is gone. */
struct output *output_new(struct loop *loop, int fd, void (*ready)(void *arg), void (*closed)(void *arg), void *arg);
void output_free(struct output *o);

/* Returns how much was written: less than len means that ready will be called. After closed everything is taken and
 * dropped. */
size_t output_write(struct output *o, const void *bytes, size_t len);

#endif
