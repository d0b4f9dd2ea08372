#include "backends/engine/launch.h"

#include "backends/engine/engine.h"
#include "backends/engine/images.h"
#include "backends/engine/pause.h"
#include "backends/engine/plan.h"
#include "backends/engine/rpc.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/vol_view.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#define HOSTNAME "modal"

int launch_prepare(struct engine *e, struct plan *plan, struct err *err)
{
    cleanup_free char *path = NULL;

    if (plan->args.len)
        return 0;
    if (pause_program(e->config->state_dir, &path, err) < 0) {
        err->code = GRPC_INTERNAL;
        return -1;
    }
    strlist_add(&plan->mount_sources, path);
    strlist_add(&plan->mount_targets, PAUSE_TARGET);
    strlist_add(&plan->args, PAUSE_TARGET);
    return 0;
}

struct rt_sandbox *launch_start(struct engine *e, const struct launch *l, const struct rt_sandbox_events *events,
                                void *arg, struct err *err)
{
    const struct plan *p = l->plan;
    cleanup_free struct rt_mount *mounts = xcalloc(p->mount_sources.len + vol_views_len(p->views) + 1, sizeof(*mounts));
    struct rt_sandbox_spec spec = {
        .id = l->id,
        .hostname = HOSTNAME,
        .lowers = &p->lowers,
        .args = &p->args,
        .env = &p->env,
        .workdir = p->workdir,
        .mounts = mounts,
        .mounts_len = p->mount_sources.len,
        .memory_bytes = p->memory_bytes,
        .milli_cpu = p->milli_cpu,
        .pids = rt_limits_pids(e->rt) && !l->beside ? SANDBOX_PIDS : 0, /* our own precaution, not the user's wish */
        .network = p->network,
        .allowed_cidrs = &p->cidrs,
        .pty = p->pty,
        .pty_rows = p->pty_rows,
        .pty_cols = p->pty_cols,
        .beside = l->beside,
        .silent = l->beside != NULL, /* the protocol has no call that would show it */
        .name = l->name,
    };
    struct rt_sandbox *made;

    for (size_t i = 0; i < p->mount_sources.len; i++)
        mounts[i] = (struct rt_mount){.source = p->mount_sources.items[i], .target = p->mount_targets.items[i]};
    for (size_t i = 0; i < vol_views_len(p->views); i++)
        mounts[spec.mounts_len++] = vol_view_mount(p->views, i);
    if (images_hold(e->images, p->image_id, err) < 0)
        return NULL;
    made = rt_sandbox_create(e->rt, &spec, events, arg, err);
    if (!made)
        images_release(e->images, p->image_id);
    return made;
}
