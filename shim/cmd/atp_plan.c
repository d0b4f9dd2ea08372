/*
 * docker atp plan run|create ...: what would become of every flag of that line, and whether it would be taken. Nothing
 * is asked of a server; it is the planner of the command itself.
 */
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/commands.h"
#include "compat/docker/opt.h"
#include "compat/docker/table.h"
#include "shim/app.h"
#include "shim/command.h"
#include "translate/spec.h"
#include "translate/verdict.h"

#include <stdio.h>
#include <string.h>

#define PLAN_MAX (1u << 20)

struct plan {
    const struct opt_parsed *parsed;
    bool all; /* ATP_DOCKER_APPROXIMATE=all */
    struct buf out;
};

static const char *verdict_word(enum verdict verdict, bool all)
{
    switch (verdict) {
    case VERDICT_OURS:
        return "carried out";
    case VERDICT_APPROXIMATED:
        return "approximated";
    case VERDICT_UNLESS_ALL:
        return all ? "approximated" : "refused";
    case VERDICT_DELEGATED:
        return "delegated";
    case VERDICT_REFUSED:
        return "refused";
    case VERDICT_IGNORED_SAFE:
        break;
    }
    return "no effect";
}

static void add_row(const struct opt_def *def, void *arg)
{
    struct plan *plan = arg;
    const char *reason, *value;
    enum verdict verdict = verdict_of(plan->parsed, def, &reason, &value);
    bool silent = verdict == VERDICT_OURS || verdict == VERDICT_IGNORED_SAFE;

    buf_addf(&plan->out, "--%s%s%s\t%s\t%s\n", def->name, value ? " " : "", value ? value : "",
             verdict_word(verdict, plan->all), silent ? "" : reason);
}

static int plan_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    const struct cmd_def *def = cmd_by_path(args->items[0]);
    cleanup_with(opt_parsed_freep) struct opt_parsed *parsed = NULL;
    cleanup_with(spec_clear) struct container_spec spec;
    cleanup_buf struct buf table = BUF_INIT(PLAN_MAX);
    struct plan plan = {.out = BUF_INIT(PLAN_MAX)};

    spec_init(&spec);
    if (!def || (strcmp(def->path, "run") != 0 && strcmp(def->path, "create") != 0))
        return err_set(err, 1, "docker atp plan: \"%s\" is not planned; run and create are", args->items[0]);
    parsed = opt_parse(def, (int)args->len - 1, args->items + 1, err);
    if (!parsed || app_input(app, err) < 0)
        return -1;
    plan.parsed = parsed;
    plan.all = app->input.approximate_all;
    buf_addf(&plan.out, "OPTION\tVERDICT\tREASON\n");
    opt_each_given(parsed, add_row, &plan);
    table_align(plan.out.data, plan.out.len, TABLE_MIN_WIDTH, TABLE_PADDING, &table);
    fwrite(table.data, 1, table.len, stdout);
    buf_clear(&plan.out);
    return spec_from_opts(parsed, &app->input, &spec, err);
}

extern const struct cmd_def cmd_def_atp_plan;

const struct command cmd_atp_plan = {.def = &cmd_def_atp_plan, .errors = ERROR_PLAIN, .run = plan_run};
