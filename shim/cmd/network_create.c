#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/network.h"

#include <stdio.h>
#include <string.h>

/* What asks for another kind of network than there is. */
static int check_words(const struct opt_parsed *opts, struct err *err)
{
    if (opt_given(opts, "scope") && *opt_str(opts, "scope") && strcmp(opt_str(opts, "scope"), "local") != 0)
        return err_set(err, 125, "--scope %s is not carried out by atp-docker: a network is this machine's",
                       opt_str(opts, "scope"));
    if (!opt_bool(opts, "ipv4"))
        return err_set(err, 125, "--ipv4=false is not carried out by atp-docker: addresses are given by the platform");
    if (strcmp(opt_str(opts, "ipam-driver"), "default") != 0)
        return err_set(err, 125,
                       "--ipam-driver %s is not carried out by atp-docker: addresses are given by the "
                       "platform",
                       opt_str(opts, "ipam-driver"));
    return 0;
}

static int create_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct network_request request = {
        .name = opt_args(opts)->items[0],
        .driver = opt_str(opts, "driver"),
        .labels = opt_list(opts, "label"),
        .options = opt_list(opts, "opt"),
        .internal = opt_bool(opts, "internal"),
        .attachable = opt_bool(opts, "attachable"),
    };
    struct state_network made = {0};

    if (check_words(opts, err) < 0 || network_create(app, &request, &made, err) < 0)
        return -1;
    puts(made.id);
    state_network_clear(&made);
    return 0;
}

extern const struct cmd_def cmd_def_network_create;

const struct command cmd_network_create = {.def = &cmd_def_network_create, .errors = ERROR_PLAIN, .run = create_run};
