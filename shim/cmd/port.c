#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container.h"
#include "shim/listing.h"
#include "shim/tunnels.h"
#include "translate/ports.h"

#include <stdio.h>

static int print_lines(struct container *c, const struct strlist *args, struct err *err)
{
    json_auto_t *inspect = listing_container(c->app, &c->row, false);
    const json_t *ports = json_object_get(json_object_get(inspect, "NetworkSettings"), "Ports");
    const char *private = args->len > 1 ? args->items[1] : NULL;
    cleanup_strlist struct strlist lines = STRLIST_INIT, tunnels = STRLIST_INIT;

    tunnels_lines(inspect, private, &tunnels);
    if (!(private && tunnels.len) && ports_lines(ports, private, args->items[0], &lines, err) < 0)
        return -1;
    for (size_t i = 0; i < tunnels.len; i++)
        strlist_add(&lines, tunnels.items[i]);
    for (size_t i = 0; i < lines.len; i++)
        puts(lines.items[i]);
    return 0;
}

static int port_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    cleanup_with(container_clear) struct container c;

    if (app_config(app, err) < 0 || app_state(app, err) < 0)
        return -1;
    container_init(&c, app);
    if (container_find(&c, args->items[0], err) < 0 || container_refresh(&c, err) < 0)
        return -1;
    tunnels_learn(&c);
    return print_lines(&c, args, err);
}

extern const struct cmd_def cmd_def_port;

const struct command cmd_port = {.def = &cmd_def_port, .errors = ERROR_PLAIN, .run = port_run};
