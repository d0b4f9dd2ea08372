#include "backends/state/state.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"

#include <stdio.h>
#include <string.h>

#define DAEMON "Error response from daemon: "

enum { RM_NO_SUCH_CONTAINER = 0x6101 }; /* err->code */

/* Forgets one that has ended. One that runs keeps its files until its own client has pulled them: it is not ended from
 * here. */
static int remove_one(struct app *app, const char *word, bool force, struct err *err)
{
    struct state_container c = {0};
    int got = state_container_find(app->state, word, &c, err);

    if (got == 0) {
        err_set(err, 1, DAEMON "No such container: %s", word);
        err->code = RM_NO_SUCH_CONTAINER;
        return -1;
    }
    if (got < 0)
        return err_wrap(err, "Error response from daemon");
    if (strcmp(c.status, "running"))
        got = state_container_remove(app->state, c.id, err);
    else if (force)
        got = err_set(err, 1,
                      "docker rm -f of a running container is refused by atp-docker: not carried out yet: end /%s in "
                      "its own terminal",
                      c.name);
    else
        got = err_set(
            err, 1,
            DAEMON
            "cannot remove container \"/%s\": container is running: stop the container before removing or force remove",
            c.name);
    state_container_clear(&c);
    return got < 0 ? -1 : 0;
}

static int rm_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);
    bool force = opt_bool(opts, "force");
    int code = 0;

    if (app_state(app, err) < 0)
        return -1;
    for (size_t i = 0; i < words->len; i++) {
        cleanup_err struct err why = ERR_INIT;

        if (remove_one(app, words->items[i], force, &why) == 0) {
            puts(words->items[i]);
            continue;
        }
        fflush(stdout);
        fprintf(stderr, "%s\n", why.msg);
        code = force && why.code == RM_NO_SUCH_CONTAINER ? code : 1;
    }
    return code;
}

extern const struct cmd_def cmd_def_rm;

const struct command cmd_rm = {.def = &cmd_def_rm, .errors = ERROR_PLAIN, .run = rm_run};
