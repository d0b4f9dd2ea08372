#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/opt.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container_start.h"
#include "shim/each.h"
#include "shim/join.h"
#include "shim/launch.h"

#include <stdio.h>
#include <unistd.h>

static int start_one(struct container *c, const char *word, void *arg, struct err *err)
{
    (void)word;
    (void)arg;
    return container_start(c, err);
}

static int start_all(struct app *app, const struct opt_parsed *opts)
{
    cleanup_strlist struct strlist failed = STRLIST_INIT;
    int code = each_in_turn(app, opts, &(struct each){.fn = start_one}, &failed);

    if (!failed.len)
        return code;
    fflush(stdout);
    fputs("Error: failed to start containers: ", stderr);
    for (size_t i = 0; i < failed.len; i++)
        fprintf(stderr, "%s%s", i ? ", " : "", failed.items[i]);
    fputc('\n', stderr);
    return 1;
}

/* -a, -i: one container, seen to its end. */
static int start_attached(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct launch_streams streams = {
        .stdin_attached = opt_bool(opts, "interactive"),
        .stdout_attached = true,
        .stderr_attached = true,
        .detach_keys = opt_given(opts, "detach-keys") ? opt_str(opts, "detach-keys") : NULL,
    };
    cleanup_with(container_clear) struct container c;
    bool ran = false;
    int code;

    container_init(&c, app);
    if (opt_args(opts)->len > 1)
        return err_set(err, 1, "you cannot start and attach multiple containers at once");
    if (container_find(&c, opt_args(opts)->items[0], err) < 0 || container_load(&c, err) < 0)
        return -1;
    if (c.process.tty && streams.stdin_attached && !tty_is(STDIN_FILENO))
        return err_set(err, 1, "the input device is not a TTY");
    streams.sig_proxy = !c.process.tty;
    code = container_start_attached(&c, &streams, &ran, err);
    if (code < 0 || ran)
        return code;
    return join(&c, &streams, err);
}

static int start_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    if (opt_bool(opts, "attach") || opt_bool(opts, "interactive"))
        return start_attached(app, opts, err);
    return start_all(app, opts);
}

extern const struct cmd_def cmd_def_start;

const struct command cmd_start = {.def = &cmd_def_start, .errors = ERROR_PLAIN, .run = start_run};
