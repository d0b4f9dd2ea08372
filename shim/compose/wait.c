#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/team.h"

#include <stdio.h>
#include <stdlib.h>

/* A job: stays until the container has ended, and says its exit code. */
static int wait_one(struct app *app, void *arg, char **ret_text, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    strlist_add(&words, arg);
    return jobs_command(app, "wait", &words, ret_text, err);
}

/* Each is told as it ends. The code of the one that ends last, as compose has it. */
static int wait_all(struct team *w, struct err *err)
{
    struct jobs *jobs = jobs_new(w->app);
    int code = 0;

    for (size_t i = 0; i < w->members.len; i++)
        jobs_add(jobs, wait_one, w->members.items[i].row.id, &w->members.items[i], /* waiter= */ true);
    while (code >= 0 && jobs_busy(jobs)) {
        struct job_end end = {0};
        const struct member *m;

        if (jobs_next(jobs, -1, &end) <= 0)
            continue;
        m = end.token;
        if (end.ok) {
            code = (int)strtol(end.text, NULL, 10);
            printf("container \"%s\" exited with status code %d\n", m->row.id, code);
            fflush(stdout);
        } else {
            code = err_move(err, &end.err);
        }
        free(end.text);
        err_clear(&end.err);
    }
    jobs_end_waiters(jobs);
    jobs_free(jobs);
    return code;
}

static int wait_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist none = STRLIST_INIT;
    cleanup_with(team_clear) struct team w;
    int code;

    team_init(&w, app);
    if (team_name(&w, err) < 0 || team_look(&w, opt_args(opts), MEMBERS_RUNNING, err) < 0)
        return -1;
    if (!w.members.len)
        return err_set(err, 1, "no containers for project \"%s\"", w.name);
    code = wait_all(&w, err);
    if (code < 0 || !opt_bool(opts, "down-project"))
        return code;
    return command_call(app, "compose down", &none, err) < 0 ? -1 : code;
}

extern const struct cmd_def cmd_def_compose_wait;

const struct command cmd_compose_wait = {.def = &cmd_def_compose_wait, .errors = ERROR_PLAIN, .run = wait_run};
