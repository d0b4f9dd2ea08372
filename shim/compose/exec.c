#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/docker/quote.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/team.h"
#include "shim/container.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A terminal, unless stdout is none or -T says so. */
static bool wants_tty(const struct opt_parsed *opts)
{
    return opt_given(opts, "no-tty") ? !opt_bool(opts, "no-tty") : tty_is(STDOUT_FILENO);
}

/* The words of `docker exec`. A variable without a value is the project's, which is this process's. */
static void fill_words(const struct opt_parsed *opts, const char *id, struct strlist *words)
{
    const struct strlist *args = opt_args(opts), *env = opt_list(opts, "env");

    if (opt_bool(opts, "interactive"))
        strlist_add(words, "-i");
    if (wants_tty(opts))
        strlist_add(words, "-t");
    if (opt_bool(opts, "detach"))
        strlist_add(words, "-d");
    if (opt_bool(opts, "privileged"))
        strlist_add(words, "--privileged");
    for (size_t i = 0; i < env->len; i++) {
        strlist_add(words, "-e");
        strlist_add(words, env->items[i]);
    }
    if (opt_given(opts, "user") && *opt_str(opts, "user")) {
        strlist_add(words, "-u");
        strlist_add(words, opt_str(opts, "user"));
    }
    if (opt_given(opts, "workdir") && *opt_str(opts, "workdir")) {
        strlist_add(words, "-w");
        strlist_add(words, opt_str(opts, "workdir"));
    }
    strlist_add(words, id);
    for (size_t i = 1; i < args->len; i++)
        strlist_add(words, args->items[i]);
}

static int dry_run(const struct opt_parsed *opts, const char *id, struct err *err)
{
    const struct strlist *args = opt_args(opts);

    if (!opt_bool(opts, "detach"))
        return err_set(err, 1, "interactive exec is not supported in dry-run mode");
    printf(" DRY-RUN MODE - Executing command [");
    for (size_t i = 1; i < args->len; i++) {
        cleanup_free char *word = quote_go_str(args->items[i]);

        printf("%s%s", i > 1 ? " " : "", word);
    }
    printf("] in %s (detached mode)\n", id);
    return 0;
}

static int exec_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *service = opt_args(opts)->items[0];
    cleanup_free char *project = compose_name(app, err);
    cleanup_with(member_clear) struct member m = {0};
    cleanup_strlist struct strlist words = STRLIST_INIT;
    int64_t index = opt_int(opts, "index");
    int code;

    if (!project ||
        members_one(app, project, service, index, MEMBERS_ONEOFF | MEMBERS_RUNNING | MEMBERS_AS_IT_IS, &m, err) < 0)
        return -1;
    if (app->dry_run)
        return dry_run(opts, m.row.id, err);
    fill_words(opts, m.row.id, &words);
    code = command_call(app, "exec", &words, err);
    if (code >= 0 || (err->code != CONTAINER_NOT_RUNNING && err->code != CONTAINER_NO_SUCH))
        return code;
    /* the row was out of date */
    if (index > 0)
        return err_set(err, 1, "service \"%s\" is not running container #%lld", service, (long long)index);
    return err_set(err, 1, "service \"%s\" is not running", service);
}

extern const struct cmd_def cmd_def_compose_exec;

const struct command cmd_compose_exec = {.def = &cmd_def_compose_exec, .errors = ERROR_PLAIN, .run = exec_run};
