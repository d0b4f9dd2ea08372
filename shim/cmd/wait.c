#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container.h"
#include "translate/wire/wire.h"

#include <stdio.h>

/* Joins it without its output; a container that has ended or never ran says its code at once. */
static int wait_one(struct app *app, const char *word, int *ret_code, struct err *err)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_ATTACH};
    cleanup_with(container_clear) struct container c;
    struct err why = ERR_INIT;

    container_init(&c, app);
    if (container_find(&c, word, err) < 0)
        return -1;
    if (!container_may_run(&c)) {
        *ret_code = container_is(&c, "created") ? 0 : c.row.exit_code;
        return 0;
    }
    if (container_ask(&c, &ask, /* with_mounts= */ true, ret_code, &why) == 0) {
        container_see_end(&c);
        return 0;
    }
    if (why.code != CONTAINER_NOT_RUNNING)
        return err_move(err, &why);
    err_clear(&why);
    container_refresh(&c, NULL);
    *ret_code = c.row.exit_code;
    return 0;
}

static int wait_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);
    int ret = 0;

    (void)err;
    for (size_t i = 0; i < words->len; i++) {
        cleanup_err struct err why = ERR_INIT;
        int code = 0;

        if (wait_one(app, words->items[i], &code, &why) == 0) {
            printf("%d\n", code);
            fflush(stdout);
            continue;
        }
        fprintf(stderr, "%s\n", why.msg);
        ret = 1;
    }
    return ret;
}

extern const struct cmd_def cmd_def_wait;

const struct command cmd_wait = {.def = &cmd_def_wait, .errors = ERROR_PLAIN, .run = wait_run};
