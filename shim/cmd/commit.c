#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/commit.h"
#include "translate/reference.h"

#include <stdio.h>

/* The new name, normalised and with its tag; owned by caller. NULL and err in docker's client's own words. */
static char *new_name(const char *word, struct err *err)
{
    struct reference ref = {0};
    char *name = NULL;

    if (reference_parse(word, &ref, err) < 0)
        return NULL;
    if (ref.digest) {
        err_set(err, 1, "refusing to create a tag with a digest reference");
    } else {
        reference_add_latest(&ref);
        name = reference_string(&ref);
    }
    reference_clear(&ref);
    return name;
}

static int commit_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);
    cleanup_free char *name = NULL, *id = NULL;
    struct commit_request req = {.container = words->items[0],
                                 .author = opt_str(opts, "author"),
                                 .message = opt_str(opts, "message"),
                                 .changes = opt_list(opts, "change")};

    if (words->len > 1 && *words->items[1] && !(name = new_name(words->items[1], err)))
        return -1;
    req.name = name;
    if (commit_container(app, &req, &id, err) < 0)
        return -1;
    puts(id);
    return 0;
}

extern const struct cmd_def cmd_def_commit;

const struct command cmd_commit = {.def = &cmd_def_commit, .errors = ERROR_PLAIN, .run = commit_run};
