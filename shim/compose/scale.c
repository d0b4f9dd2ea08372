#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/up.h"

#include <string.h>

/* "web=3": the names of the services, each once. */
static int read_names(const struct strlist *words, struct strlist *ret, struct err *err)
{
    for (size_t i = 0; i < words->len; i++) {
        const char *word = words->items[i], *equals = strchr(word, '=');
        cleanup_free char *name = NULL;

        if (!equals || equals == word || !equals[1])
            return err_set(err, 1, "invalid scale specifier: %s", word);
        if (strspn(equals + 1, "0123456789") != strlen(equals + 1) || strlen(equals + 1) > 9)
            return err_set(err, 1, "invalid scale specifier: can't parse replica value as int: %s", word);
        strlist_addf(ret, "%.*s", (int)(equals - word), word);
    }
    return 0;
}

static int scale_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    cleanup_with(team_clear) struct team w;

    team_init(&w, app);
    if (read_names(opt_args(opts), &names, err) < 0 || team_load(&w, &names, !opt_bool(opts, "no-deps"), err) < 0 ||
        services_scale(&w.services, opt_args(opts), err) < 0 || team_show(&w, "Running", err) < 0 ||
        up_make(&w, err) < 0)
        return -1;
    return team_start(&w, /* wait= */ false, /* timeout_s= */ 0, err) < 0 ? -1 : 0;
}

extern const struct cmd_def cmd_def_compose_scale;

const struct command cmd_compose_scale = {.def = &cmd_def_compose_scale, .errors = ERROR_PLAIN, .run = scale_run};
