/*
 * Points in time as Go writes them (RFC 3339 with nanoseconds).
 */
#include "compat/docker/units.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define NANO INT64_C(1000000000)
#define DAY  INT64_C(86400)

/* Days from 1970-01-01 to a day of the Gregorian calendar (years count from March, so that leap days come last). */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

char *units_stamp(int64_t ns)
{
    int64_t rest = ns % NANO;
    time_t seconds = (time_t)(ns / NANO - (rest < 0));
    char date[32], fraction[16] = "";
    struct tm tm;

    if (ns == 0)
        return xstrdup("0001-01-01T00:00:00Z");
    rest += rest < 0 ? NANO : 0;
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
    if (rest) {
        size_t len = (size_t)snprintf(fraction, sizeof(fraction), ".%09d", (int)rest);

        while (fraction[len - 1] == '0')
            fraction[--len] = '\0';
    }
    return xasprintf("%s%sZ", date, fraction);
}

/* Exactly len digits at *s, and the character that must follow (0: any). */
static bool digits(const char **s, int len, char then, int64_t *ret)
{
    *ret = 0;
    for (; len > 0; len--, (*s)++) {
        if (**s < '0' || **s > '9')
            return false;
        *ret = *ret * 10 + (**s - '0');
    }
    return !then || *(*s)++ == then;
}

/* ".123" as nanoseconds; further digits are dropped, as Go does. */
static bool read_fraction(const char **s, int64_t *ret)
{
    int64_t unit = NANO / 10;

    *ret = 0;
    if (**s != '.')
        return true;
    (*s)++;
    if (**s < '0' || **s > '9')
        return false;
    for (; **s >= '0' && **s <= '9'; (*s)++, unit /= 10)
        *ret += (**s - '0') * unit;
    return true;
}

/* "Z", "+02:00" as seconds to the east. */
static bool read_zone(const char **s, int64_t *ret)
{
    char sign = *(*s)++;
    int64_t hours, minutes;

    *ret = 0;
    if (sign == 'Z')
        return true;
    if ((sign != '+' && sign != '-') || !digits(s, 2, ':', &hours) || !digits(s, 2, 0, &minutes) || hours > 24 ||
        minutes > 59)
        return false;
    *ret = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    return true;
}

int units_parse_stamp(const char *text, int64_t *ret_ns, struct err *err)
{
    static const int64_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day, hour, minute, second, fraction, east, seconds;
    const char *s = text;

    if (strcmp(text, "0001-01-01T00:00:00Z") == 0) {
        *ret_ns = 0;
        return 0;
    }
    if (!digits(&s, 4, '-', &year) || !digits(&s, 2, '-', &month) || !digits(&s, 2, 'T', &day) ||
        !digits(&s, 2, ':', &hour) || !digits(&s, 2, ':', &minute) || !digits(&s, 2, 0, &second) ||
        !read_fraction(&s, &fraction) || !read_zone(&s, &east) || *s)
        return err_set(err, 0, "\"%s\" is not a time of the form 2006-01-02T15:04:05Z", text);
    if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 ||
        day > lengths[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)))
        return err_set(err, 0, "\"%s\" is no time that there is", text);
    if (year < 1700 || year > 2200)
        return err_set(err, 0, "\"%s\" is out of range", text);
    seconds = days_from_date(year, month, day) * DAY + hour * 3600 + minute * 60 + second - east;
    *ret_ns = seconds * NANO + fraction;
    return 0;
}
