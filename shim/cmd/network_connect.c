/* docker network connect, docker network disconnect */
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/network.h"

static int connect_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);

    return network_connect(app, words->items[0], words->items[1], opt_list(opts, "alias"), err);
}

static int disconnect_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);

    return network_disconnect(app, words->items[0], words->items[1], err);
}

extern const struct cmd_def cmd_def_network_connect, cmd_def_network_disconnect;

const struct command cmd_network_connect = {.def = &cmd_def_network_connect, .errors = ERROR_PLAIN, .run = connect_run};
const struct command cmd_network_disconnect = {
    .def = &cmd_def_network_disconnect, .errors = ERROR_PLAIN, .run = disconnect_run};
