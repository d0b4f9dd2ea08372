#include "backends/registry/auth.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"

#include <stdio.h>
#include <string.h>

/* The key itself, and the spellings under which older clients kept it. What one of them went wrong with is said when
 * none of them went well. */
static void erase_all(const char *typed, const char *key)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    struct err why cleanup_err = ERR_INIT;
    bool done = false;

    strlist_add(&names, key);
    if (*typed && !strlist_has(&names, typed))
        strlist_add(&names, typed);
    if (!strstr(key, "://")) {
        strlist_addf(&names, "http://%s", key);
        strlist_addf(&names, "https://%s", key);
    }
    for (size_t i = 0; i < names.len; i++)
        done |= auth_erase(names.items[i], &why) == 0;
    if (!done)
        fprintf(stderr, "WARNING: could not erase credentials:\n%s: %s\n", key, why.msg);
}

static int logout_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    const char *typed = args->len ? args->items[0] : "";
    cleanup_free char *key = auth_key(typed);

    (void)app, (void)err;
    printf("Removing login credentials for %s\n", key);
    erase_all(typed, key);
    return 0;
}

extern const struct cmd_def cmd_def_logout;

const struct command cmd_logout = {.def = &cmd_def_logout, .errors = ERROR_PLAIN, .run = logout_run};
