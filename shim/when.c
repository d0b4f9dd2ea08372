#include "shim/when.h"

#include "compat/base/err.h"
#include "compat/docker/units.h"

#include <stdbool.h>
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

/* The time it is. */
static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * NANO + now.tv_nsec;
}

int when_parse(const char *s, int64_t *ret_ns, struct err *err)
{
    int64_t ago;

    if (parse_seconds(s, ret_ns) || parse_local(s, ret_ns) || units_parse_stamp(s, ret_ns, NULL) == 0)
        return 0;
    if (units_parse_duration(s, &ago, NULL) < 0)
        return err_set(err, 1, "failed to parse value as time or duration: \"%s\"", s);
    *ret_ns = now_ns() - ago;
    return 0;
}
