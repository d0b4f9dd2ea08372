#include "backends/engine/img_task.h"

#include "backends/engine/img_export.h"
#include "backends/engine/img_internal.h"

static void work(uv_work_t *w)
{
    struct images_task *t = w->data;

    t->run(t);
}

static void after_work(uv_work_t *w, int status)
{
    struct images_task *t = w->data;

    (void)status;
    if (t->im) {
        for (struct images_task **p = &t->im->tasks; *p; p = &(*p)->next) {
            if (*p == t) {
                *p = t->next;
                break;
            }
        }
        t->done(t);
    }
    t->free(t);
}

void img_task_start(struct images *im, struct images_task *t)
{
    t->im = im;
    t->next = im->tasks;
    im->tasks = t;
    t->work.data = t;
    uv_queue_work(im->loop, &t->work, work, after_work);
}

void img_tasks_leave(struct images *im)
{
    for (struct images_task *t = im->tasks; t; t = t->next) {
        t->im = NULL;
        atomic_store(&t->cancelled, true);
    }
    im->tasks = NULL;
}

void images_task_cancel(struct images_task *t)
{
    if (t)
        atomic_store(&t->cancelled, true);
}
