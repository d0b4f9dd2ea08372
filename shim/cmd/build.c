#include "backends/docker/handover.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "shim/app.h"
#include "shim/build/board.h"
#include "shim/build/output.h"
#include "shim/build/plan.h"
#include "shim/build/request.h"
#include "shim/build/solve.h"
#include "shim/build/temp.h"
#include "shim/command.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Images of other platforms are a real builder's, where there is one. Does not return when it takes over. */
static int foreign_platform(struct app *app, const struct build_request *r, struct err *err)
{
    if (handover_daemon_answers()) {
        app_trace(app, "--platform %s belongs to the real docker", r->platform);
        app_hand_over(app, err);
    }
    err_clear(err);
    return err_set(err, 1, "--platform %s is refused by atp-docker: sandboxes are linux/amd64", r->platform);
}

/* Said once, and only where it may matter: a cache elsewhere is a hint, and BuildKit gets on without one as well. */
static void note_caches(const struct build_request *r)
{
    if (r->caches && !r->quiet)
        fputs("NOTE: the server keeps its own build cache; --cache-from and --cache-to are not needed and change "
              "nothing\n",
              stderr);
}

/* What BuildKit's linter says comes last. */
static void print_warnings(const struct build_plan *p, struct board *board)
{
    const struct strlist *found = &p->file.warnings;
    cleanup_buf struct buf text = BUF_INIT(1u << 20);

    if (!found->len || p->request->quiet || p->request->classic || p->request->look == BOARD_RAWJSON)
        return;
    buf_addf(&text, "\n %zu warning%s found (use docker --debug to expand):", found->len, found->len == 1 ? "" : "s");
    for (size_t i = 0; i < found->len; i++)
        buf_addf(&text, "\n - %s", found->items[i]);
    board_note(board, text.data);
}

static void print_notes(const struct build_plan *p, struct board *board)
{
    for (size_t i = 0; i < p->notes.len; i++)
        board_note(board, p->notes.items[i]);
}

/* What a failed RUN is in the classic builder's words, with the command's own exit code. */
static void classic_error(struct err *err)
{
    static const char before[] = "failed to solve: process \"",
                      between[] = "\" did not complete successfully: exit code: ";
    char *at = err->msg && !strncmp(err->msg, before, strlen(before)) ? strstr(err->msg, between) : NULL, *end;
    long code = at ? strtol(at + strlen(between), &end, 10) : 0;

    if (!at || code <= 0 || code > 255)
        return;
    *at = '\0';
    {
        cleanup_free char *command = xstrdup(err->msg + strlen(before));

        err_set(err, (int)code, "The command '%s' returned a non-zero code: %ld", command, code);
    }
}

static int build(struct app *app, const struct build_request *r, struct board *board, struct build_plan *plan,
                 struct err *err)
{
    struct build_result result = {0};
    int ret;

    if (*r->iidfile)
        unlink(r->iidfile); /* a build that fails leaves no older id behind */
    if (build_plan_make(app, r, board, plan, err) < 0)
        return -1;
    print_notes(plan, board);
    note_caches(r);
    if (build_solve(app, plan, board, &result, err) < 0)
        return -1;
    print_warnings(plan, board);
    ret = build_output(app, r, &result, err);
    build_result_clear(&result);
    return ret;
}

static int build_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct build_request r = {0};
    struct build_plan plan = {0};
    struct board *board = NULL;
    int ret = build_request_read(app, opts, &r, err);

    if (ret == 0 && r.foreign_platform)
        ret = foreign_platform(app, &r, err);
    if (ret == 0) {
        build_signals_catch();
        board = board_new(r.look, r.classic ? stdout : stderr);
        ret = build(app, &r, board, &plan, err);
        if (ret < 0)
            board_finish(board);
        board_free(board);
        build_plan_clear(&plan);
        build_signals_restore();
    }
    if (ret < 0 && r.classic)
        classic_error(err);
    else if (ret < 0)
        err_wrap(err, "ERROR");
    build_request_clear(&r);
    return ret;
}

extern const struct cmd_def cmd_def_build, cmd_def_builder_build, cmd_def_buildx_build;

const struct command cmd_build = {.def = &cmd_def_build, .errors = ERROR_PLAIN, .run = build_run};
const struct command cmd_builder_build = {.def = &cmd_def_builder_build, .errors = ERROR_PLAIN, .run = build_run};
const struct command cmd_buildx_build = {.def = &cmd_def_buildx_build, .errors = ERROR_PLAIN, .run = build_run};
