/*
 * Long work beside a loop: reading a large tree, deleting many files. The work runs in a thread of its own, and the
 * loop is told when it is done. The thread may touch nothing but what its argument gives it until then.
 */
#ifndef ATP_SYS_WORK_H
#define ATP_SYS_WORK_H

struct loop;
struct work;

/*
 * Runs run(arg) in a thread, then done(arg) in the loop. The value is freed by the loop just before done() is called.
 * Where no thread can be had the work is done at once, here, and done() still comes from the loop.
 */
struct work *work_start(struct loop *loop, void (*run)(void *arg), void (*done)(void *arg), void *arg);

/* Waits for the thread and frees; done() is not called. For clearing up; NULL is fine. */
void work_cancel(struct work *w);

#endif
