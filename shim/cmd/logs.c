#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/logs.h"
#include "shim/when.h"
#include "translate/terms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int parse_time(const struct opt_parsed *opts, const char *option, int64_t *ret_ns, struct err *err)
{
    const char *s = opt_str(opts, option);

    if (!*s || when_parse(s, ret_ns, err) == 0)
        return 0;
    return err_wrap(err, "invalid value for \"%s\"", option);
}

/* What is no number is "all". */
static int64_t parse_tail(const char *s)
{
    char *end;
    long long n;

    errno = 0;
    n = strtoll(s, &end, 10);
    return errno || end == s || *end || n < 0 ? -1 : n;
}

/* --log-driver none: nobody reads them. */
static int check_driver(struct container *c, struct err *err)
{
    cleanup_free char *driver = container_load(c, NULL) == 0 ? terms_log_driver(&c->spec) : NULL;

    if (driver && !strcmp(driver, "none"))
        return err_set(err, 1, "Error response from daemon: configured logging driver does not support reading");
    return 0;
}

static int logs_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct logs_query query = {
        .follow = opt_bool(opts, "follow"),
        .timestamps = opt_bool(opts, "timestamps"),
        .details = opt_bool(opts, "details"),
        .tail = parse_tail(opt_str(opts, "tail")),
    };
    cleanup_with(container_clear) struct container c;

    container_init(&c, app);
    if (parse_time(opts, "since", &query.since_ns, err) < 0 || parse_time(opts, "until", &query.until_ns, err) < 0 ||
        container_find(&c, opt_args(opts)->items[0], err) < 0 || check_driver(&c, err) < 0)
        return -1;
    return logs_print(&c, &query, err);
}

extern const struct cmd_def cmd_def_logs;

const struct command cmd_logs = {.def = &cmd_def_logs, .errors = ERROR_PLAIN, .run = logs_run};
