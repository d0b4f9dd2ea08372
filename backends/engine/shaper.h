/*
 * One direction of a connection under faults (fault.h): bytes are held back for the latency and let through at the
 * bandwidth. Without faults they pass straight through.
 */
#ifndef ATP_ENGINE_SHAPER_H
#define ATP_ENGINE_SHAPER_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct shaper;

/* deliver gets the bytes in order; len 0 is the end that was pushed. It may free the shaper. */
struct shaper *shaper_new(uv_loop_t *loop, void (*deliver)(void *arg, const uint8_t *bytes, size_t len), void *arg);
void shaper_free(struct shaper *s);
/* latency in milliseconds, bandwidth in bytes per second (0 = any). bytes are copied only if they must wait. */
void shaper_push(struct shaper *s, uint64_t latency, uint64_t bandwidth, const uint8_t *bytes, size_t len);

#endif
