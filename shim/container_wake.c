/* The files of a container that does not run. */
#include "backends/modal/task.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/launch.h"
#include "shim/sandbox.h"

#include <string.h>

#define TASK_MS 120000 /* for a sandbox to be scheduled */

int container_wake(struct container *c, struct err *err)
{
    if (container_lock(c, err) < 0)
        return -1;
    if (container_is(c, "removing"))
        return err_set(err, 1, "Error response from daemon: container %s is marked for removal", c->row.id);
    if (c->row.sandbox_id) {
        if (container_reach(c, err) < 0)
            return -1;
        return c->task ? 0 : modal_task_open(c->app->modal, c->row.sandbox_id, TASK_MS, &c->task, err);
    }
    if (container_load(c, err) < 0 || container_reach(c, err) < 0 || launch_bare(c, err) < 0)
        return -1;
    c->woken = true;
    return 0;
}

int container_sleep(struct container *c, bool save, struct err *err)
{
    int ret = 0;

    if (c->woken) {
        if (save)
            ret = container_keep_files(c, err);
        modal_task_free(steal(&c->task));
        sandbox_end(c->app, &c->row);
        free(steal(&c->row.sandbox_id));
        c->woken = false;
    }
    container_unlock(c);
    return ret;
}
