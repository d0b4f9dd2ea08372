/* docker atp secret NAME KEY=VALUE...: what `modal secret create` does, for whoever has the embedded engine. */
#include "backends/modal/image.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* KEY=VALUE, or KEY with its value from the environment. */
static int add_variable(const char *word, struct strlist *ret, struct err *err)
{
    const char *value = strchr(word, '=') ? NULL : getenv(word);

    if (strchr(word, '='))
        strlist_add(ret, word);
    else if (value)
        strlist_addf(ret, "%s=%s", word, value);
    else
        return err_set(err, 1, "the environment has no %s", word);
    return 0;
}

static int secret_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    cleanup_strlist struct strlist env = STRLIST_INIT;
    cleanup_free char *id = NULL;

    for (size_t i = 1; i < args->len; i++)
        if (add_variable(args->items[i], &env, err) < 0)
            return -1;
    if (app_config(app, err) < 0 || app_state(app, err) < 0 || app_modal(app, err) < 0 ||
        modal_secret_put(app->modal, args->items[0], &env, /* overwrite= */ true, &id, err) < 0)
        return -1;
    puts(args->items[0]);
    return 0;
}

extern const struct cmd_def cmd_def_atp_secret;

const struct command cmd_atp_secret = {.def = &cmd_def_atp_secret, .errors = ERROR_PLAIN, .run = secret_run};
