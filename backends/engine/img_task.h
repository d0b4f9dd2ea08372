/* Work of the image store that takes a while, in libuv's threads; private to the image store. */
#ifndef ATP_ENGINE_IMG_TASK_H
#define ATP_ENGINE_IMG_TASK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

struct images;

/*
 * run is called in a thread, then done on the loop with what came out, then free. A store that is closed meanwhile is
 * gone by then: done is not called, or images would be touched that are no more.
 */
struct images_task {
    uv_work_t work;
    struct images_task *next;
    struct images *im;     /* NULL: the store was closed */
    atomic_bool cancelled; /* nobody wants the result */
    void (*run)(struct images_task *t);
    void (*done)(struct images_task *t);
    void (*free)(struct images_task *t); /* of what surrounds the task */
};

/* t is the first member of something on the heap. */
void img_task_start(struct images *im, struct images_task *t);
/* At the store's end: tasks run to their ends alone. */
void img_tasks_leave(struct images *im);

#endif
