#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/logs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NANO INT64_C(1000000000)

/* "1700000000" or "1700000000.25": seconds of the epoch. */
static bool parse_seconds(const char *s, int64_t *ret_ns)
{
    size_t whole = strspn(s, "0123456789"), part = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") : 0;
    char digits[10] = "000000000";

    if (!whole || whole > 10 || s[whole + (s[whole] == '.' ? 1 + part : 0)])
        return false;
    for (size_t i = 0; i < part && i < 9; i++)
        digits[i] = s[whole + 1 + i];
    *ret_ns = strtoll(s, NULL, 10) * NANO + strtoll(digits, NULL, 10);
    return true;
}

/* A date, with or without a time, as our own time zone has it. */
static bool parse_local(const char *s, int64_t *ret_ns)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(s, formats[i], &tm);

        if (!end || *end)
            continue;
        *ret_ns = (int64_t)mktime(&tm) * NANO;
        return true;
    }
    return false;
}

static int parse_time(const struct opt_parsed *opts, const char *option, int64_t *ret_ns, struct err *err)
{
    const char *s = opt_str(opts, option);
    int64_t ns;

    if (!*s || parse_seconds(s, ret_ns) || parse_local(s, ret_ns) || units_parse_stamp(s, ret_ns, NULL) == 0)
        return 0;
    if (units_parse_duration(s, &ns, NULL) < 0)
        return err_set(err, 1, "invalid value for \"%s\": failed to parse value as time or duration: \"%s\"", option,
                       s);
    *ret_ns = container_now_ns() - ns;
    return 0;
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
        container_find(&c, opt_args(opts)->items[0], err) < 0)
        return -1;
    return logs_print(&c, &query, err);
}

extern const struct cmd_def cmd_def_logs;

const struct command cmd_logs = {.def = &cmd_def_logs, .errors = ERROR_PLAIN, .run = logs_run};
