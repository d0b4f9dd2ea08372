/*
 * One-shot timers on the libuv loop. A timer belongs to a pointer of its owner: when it fires or is stopped, that
 * pointer becomes NULL, so "is it armed?" is "is the pointer set?" and stopping twice is harmless. The handle itself is
 * released by libuv later, so owners may be freed at any moment after timer_stop().
 */
#ifndef ATP_ENGINE_TIMER_H
#define ATP_ENGINE_TIMER_H

#include <stdint.h>
#include <uv.h>

struct timer;

/* Arms *slot (stopping what was there): fn(arg) runs once, ms from now. */
void timer_start(struct timer **slot, uv_loop_t *loop, uint64_t ms, void (*fn)(void *arg), void *arg);
void timer_stop(struct timer **slot);

#endif
