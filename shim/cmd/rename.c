#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container.h"
#include "shim/events.h"
#include "shim/pod.h"
#include "translate/names.h"

#include <string.h>

/* The others of its networks know it by its new name from now on, where it runs. An agent that cannot be told is as
 * good as gone, and the next start tells the name. */
static void tell_agent(struct container *c)
{
    container_tell_record(c);
    if (container_may_run(c) && pod_is_sidecar(&c->row))
        pod_tell_names(c, NULL);
}

static int rename_locked(struct container *c, const char *word, struct err *err)
{
    cleanup_free char *name = NULL, *old = xasprintf("/%s", c->row.name);
    char *record;

    if (name_parse(word, &name, err) < 0)
        return err_wrap(err, "Error response from daemon");
    if (!strcmp(name, c->row.name))
        return err_set(err, 1,
                       "Error response from daemon: Renaming a container with the same name as its current name");
    if (!c->row.record)
        return container_load(c, err);
    record = record_renamed(c->row.record, name, err);
    if (!record)
        return -1;
    free(c->row.record);
    c->row.record = record;
    free(c->row.name);
    c->row.name = steal(&name);
    if (state_container_update(c->app->state, &c->row, STATE_PART_IDENTITY, err) < 0)
        return err_wrap(err, "Error response from daemon");
    event_container(c, "rename", "oldName", old, NULL);
    tell_agent(c);
    return 0;
}

static int rename_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);
    cleanup_with(container_clear) struct container c;

    container_init(&c, app);
    if (container_find(&c, words->items[0], err) == 0 && container_lock(&c, err) == 0 &&
        rename_locked(&c, words->items[1], err) == 0)
        return 0;
    return err_set(err, 1, "%s\nError: failed to rename container named %s", err->msg, words->items[0]);
}

extern const struct cmd_def cmd_def_rename;

const struct command cmd_rename = {.def = &cmd_def_rename, .errors = ERROR_PLAIN, .run = rename_run};
