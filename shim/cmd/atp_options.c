/* docker atp options: the table of Modal's own options (translate/modal_options.h), as the manual has it. */
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "translate/modal_options.h"

#include <stdio.h>

static int options_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    (void)app;
    (void)opts;
    (void)err;
    printf("%-22s %-11s %-8s %s\n", "KEY", "DEFAULT", "IN A POD", "WHAT IT IS");
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++) {
        const struct modal_key_def *def = &modal_keys[key];

        printf("%-22s %-11s %-8s %s%s\n", def->name, def->def ? def->def : "",
               def->carried_out ? modal_in_pod_name(def->pod) : "", def->carried_out ? "" : "(refused today) ",
               def->help);
    }
    return 0;
}

extern const struct cmd_def cmd_def_atp_options;

const struct command cmd_atp_options = {.def = &cmd_def_atp_options, .errors = ERROR_PLAIN, .run = options_run};
