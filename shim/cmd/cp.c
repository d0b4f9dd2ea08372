#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/command.h"
#include "shim/copy.h"

#include <string.h>
#include <unistd.h>

/*
 * Splits "container:path". An absolute path, one that begins with a dot, and one without a colon are this machine's:
 * *ret_container is NULL then. Both owned by caller.
 */
static void split(const char *word, char **ret_container, char **ret_path)
{
    const char *colon = strchr(word, ':');
    bool local = *word == '/' || !colon || *word == '.';

    *ret_container = local || colon == word ? NULL : xstrndup(word, (size_t)(colon - word));
    *ret_path = xstrdup(local ? word : colon + 1);
}

/* Told nothing, docker is quiet where nobody looks. */
static bool is_quiet(const struct opt_parsed *opts)
{
    return opt_given(opts, "quiet") ? opt_bool(opts, "quiet") : !isatty(STDOUT_FILENO);
}

static int cp_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);
    cleanup_free char *from = NULL, *to = NULL, *source = NULL, *dest = NULL;
    struct copy_request req = {
        .archive = opt_bool(opts, "archive"), .follow = opt_bool(opts, "follow-link"), .quiet = is_quiet(opts)};

    if (!*words->items[0])
        return err_set(err, 1, "source can not be empty");
    if (!*words->items[1])
        return err_set(err, 1, "destination can not be empty");
    split(words->items[0], &from, &source);
    split(words->items[1], &to, &dest);
    if (from && to)
        return err_set(err, 1, "copying between containers is not supported");
    if (!from && !to)
        return err_set(err, 1, "must specify at least one container source");
    req.container = from ? from : to;
    req.source = source;
    req.dest = dest;
    return from ? copy_from_container(app, &req, err) : copy_to_container(app, &req, err);
}

extern const struct cmd_def cmd_def_cp;

const struct command cmd_cp = {.def = &cmd_def_cp, .errors = ERROR_PLAIN, .run = cp_run};
