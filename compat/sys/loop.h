/*
 * A small event loop over poll(2): descriptors, one-shot timers and signals. The client's commands and the agent run on
 * it; the engine uses libuv, which also has threads. One thread, no globals but the self-pipe of signals.
 *
 * Callbacks may add and remove anything, themselves included, while the loop runs. Removing is final: a removed watcher
 * is never called again, even if its event had already been seen in this turn.
 */
#ifndef ATP_SYS_LOOP_H
#define ATP_SYS_LOOP_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_io;
struct loop_timer;
struct loop_signal;

typedef void loop_io_fn(struct loop *loop, int fd, short revents, void *arg);
typedef void loop_timer_fn(struct loop *loop, void *arg);
typedef void loop_signal_fn(struct loop *loop, int signo, void *arg);

struct loop *loop_new(void);       /* owned by caller */
void loop_free(struct loop *loop); /* frees every watcher; descriptors stay the caller's */

/* events: POLLIN, POLLOUT or both; 0 keeps the watcher but asks for nothing. fd is borrowed. */
struct loop_io *loop_io_add(struct loop *loop, int fd, short events, loop_io_fn *fn, void *arg);
void loop_io_set(struct loop_io *io, short events);
void loop_io_del(struct loop_io *io); /* NULL is fine */

/* Fires once, ms from now (monotonic clock); loop_timer_set() arms it again, also from its own callback. */
struct loop_timer *loop_timer_add(struct loop *loop, int64_t ms, loop_timer_fn *fn, void *arg);
void loop_timer_set(struct loop_timer *timer, int64_t ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_del(struct loop_timer *timer); /* NULL is fine */

/* Delivers signo in the loop instead of its default action; the earlier action comes back with loop_signal_del(). */
struct loop_signal *loop_signal_add(struct loop *loop, int signo, loop_signal_fn *fn, void *arg);
void loop_signal_del(struct loop_signal *sig); /* NULL is fine */

void loop_run(struct loop *loop); /* until loop_stop(), or until nothing is left to wait for */
void loop_stop(struct loop *loop);
bool loop_step(
    struct loop *loop,
    int64_t timeout_ms); /* one turn, waiting at most timeout_ms (-1: for ever); false when nothing is left */

int64_t loop_now(void); /* monotonic milliseconds */

#endif
