#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/join.h"

#include <unistd.h>

static int attach_run_command(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct launch_streams streams = {
        .stdout_attached = true,
        .stderr_attached = true,
        .detach_keys = opt_given(opts, "detach-keys") ? opt_str(opts, "detach-keys") : NULL,
    };
    cleanup_with(container_clear) struct container c;
    int code;

    container_init(&c, app);
    if (container_find(&c, opt_args(opts)->items[0], err) < 0 || container_refresh(&c, err) < 0)
        return -1;
    if (!container_may_run(&c))
        return err_set(err, 1, "You cannot attach to a stopped container, start it first");
    if (container_load(&c, err) < 0)
        return -1;
    streams.stdin_attached = !opt_bool(opts, "no-stdin") && c.process.open_stdin;
    streams.sig_proxy = opt_bool(opts, "sig-proxy") && !c.process.tty;
    if (c.process.tty && streams.stdin_attached && !tty_is(STDIN_FILENO))
        return err_set(err, 1, "the input device is not a TTY");
    code = join(&c, &streams, err);
    if (code < 0 && err->code == CONTAINER_NOT_RUNNING)
        err_set(err, 1, "You cannot attach to a stopped container, start it first");
    return code;
}

extern const struct cmd_def cmd_def_attach;

const struct command cmd_attach = {.def = &cmd_def_attach, .errors = ERROR_PLAIN, .run = attach_run_command};
