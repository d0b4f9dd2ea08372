#include "shim/compose/condition.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "shim/container.h"
#include "shim/health.h"
#include "translate/wire/wire.h"

#include <time.h>

#define NAP_NS     50000000            /* between two looks at what nobody tells of */
#define MATURE_MS  500                 /* a process that has run so long did not fail at its start: compose's look */
#define OLD_NS     INT64_C(3000000000) /* and one that was started so long ago has run */
#define LOOK_LIMIT 20                  /* looks without an answer in a row */

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
}

static int has_exited(const struct container *c, struct err *err)
{
    return err_set(err, 1, "container %s exited (%d)", c->row.name, c->row.exit_code);
}

/* What the error of a dependency begins with; --wait says it without. */
static int fail(const struct condition *how, struct err *err)
{
    return how->kind == CONDITION_HEALTHY ? err_wrap(err, "dependency failed to start") : -1;
}

/* Stays until the container has ended: its code. */
static int wait_completed(struct container *c, const struct condition *how, struct err *err)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_ATTACH};
    int code = 0;

    while (!container_is(c, "exited")) {
        cleanup_err struct err why = ERR_INIT;

        if (container_may_run(c) && container_ask(c, &ask, /* with_mounts= */ false, &code, &why) == 0)
            container_see_end(c);
        if (container_refresh(c, &why) < 0 && why.code == CONTAINER_NO_SUCH)
            return err_move(err, &why);
        if (container_reread(c, err) < 0)
            return -1;
        if (!container_is(c, "exited"))
            nap();
    }
    if (c->row.exit_code)
        return err_set(err, 1, "service \"%s\" didn't complete successfully: exit %d", how->service, c->row.exit_code);
    return 0;
}

/* It runs, and did not fall over at once. */
static int wait_running(struct container *c, struct err *err)
{
    const int64_t mature = loop_now() + MATURE_MS;

    for (;;) {
        cleanup_err struct err why = ERR_INIT;

        if (container_refresh(c, &why) < 0 && why.code == CONTAINER_NO_SUCH)
            return err_move(err, &why);
        if (container_is(c, "exited"))
            return has_exited(c, err);
        if (container_is(c, "running") && (loop_now() >= mature || container_now_ns() - c->row.started_ns >= OLD_NS))
            return 0;
        nap();
        if (container_reread(c, err) < 0)
            return -1;
    }
}

static int wait_healthy(struct container *c, const struct condition *how, struct err *err)
{
    struct health_watch watch = {.c = c};

    if (container_refresh(c, err) < 0 || health_ask(c, &watch.status, err) < 0)
        return -1;
    for (unsigned tries = 0;;) {
        cleanup_err struct err why = ERR_INIT;

        if (container_is(c, "exited")) {
            has_exited(c, err);
            return fail(how, err);
        }
        if (watch.status == HEALTH_HEALTHY)
            return 0;
        if (watch.status == HEALTH_UNHEALTHY) {
            err_set(err, 1, "container %s is unhealthy", c->row.name);
            return fail(how, err);
        }
        if (health_wait(&watch, 1, /* until_ms= */ 0, &why) >= 0) {
            tries = 0;
            continue;
        }
        if (++tries == LOOK_LIMIT)
            return err_move(err, &why);
        nap();
        if (container_reread(c, err) < 0)
            return -1;
    }
}

static bool has_check(const struct container *c)
{
    return health_of(c) != HEALTH_NONE;
}

int condition_wait(struct app *app, void *arg, char **ret_text, struct err *err)
{
    const struct condition *how = arg;
    cleanup_with(container_clear) struct container c;

    (void)ret_text;
    container_init(&c, app);
    if (container_find(&c, how->id, err) < 0 || container_load(&c, err) < 0)
        return -1;
    if (how->kind == CONDITION_COMPLETED)
        return wait_completed(&c, how, err);
    if (how->kind == CONDITION_RUNNING_OR_HEALTHY && !has_check(&c))
        return wait_running(&c, err);
    if (!has_check(&c)) {
        err_set(err, 1, "container %s has no healthcheck configured", c.row.name);
        return fail(how, err);
    }
    return wait_healthy(&c, how, err);
}
