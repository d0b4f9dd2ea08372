/* Go's durations and docker's --cpus: exact arithmetic on whole billionths. */
#include "compat/docker/units.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NANO              1000000000
#define LIMIT_QUOTED_TIME (1u << 20) /* one argument, its bytes four times as long */

static const struct {
    const char *name;
    uint64_t ns;
} time_units[] = {
    {"ns", 1},       {"us", 1000}, {"\xC2\xB5s", 1000}, {"\xCE\xBCs", 1000},
    {"ms", 1000000}, {"s", NANO},  {"m", 60ull * NANO}, {"h", 3600ull * NANO},
};

#define MAX_NS ((uint64_t)1 << 63) /* one more than the largest positive duration: -2^63 is a value */

/* Go's time package quotes by bytes: whatever is not printable ASCII becomes \xNN. Owned by caller. */
static char *quote_bytes(const char *s)
{
    struct buf out = BUF_INIT(LIMIT_QUOTED_TIME);

    buf_addc(&out, '"');
    for (; *s; s++) {
        if ((unsigned char)*s < ' ' || (unsigned char)*s >= 0x80)
            buf_addf(&out, "\\x%02x", (unsigned char)*s);
        else
            buf_addf(&out, strchr("\"\\", *s) ? "\\%c" : "%c", *s);
    }
    buf_addc(&out, '"');
    return buf_detach(&out);
}

static int duration_error(const char *what, const char *s, struct err *err)
{
    cleanup_free char *quoted = quote_bytes(s);

    return err_set(err, 0, "time: %s duration %s", what, quoted);
}

/* Reads whole digits; a number above 2^63 is no number. Returns the first character after them, NULL when too large. */
static const char *leading_number(const char *s, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (; isdigit((unsigned char)*s); s++) {
        unsigned d = (unsigned)(*s - '0');

        if (value > (MAX_NS - d) / 10)
            return NULL;
        value = value * 10 + d;
    }
    *ret_value = value;
    return s;
}

/* Reads the digits after a point; those too small to matter are dropped. The value is *ret_part / *ret_scale. */
static const char *leading_fraction(const char *s, uint64_t *ret_part, double *ret_scale)
{
    uint64_t part = 0;
    double scale = 1;
    bool full = false;

    for (; isdigit((unsigned char)*s); s++) {
        unsigned d = (unsigned)(*s - '0');

        if (full || part > ((uint64_t)INT64_MAX - d) / 10) {
            full = true;
            continue;
        }
        part = part * 10 + d;
        scale *= 10;
    }
    *ret_part = part;
    *ret_scale = scale;
    return s;
}

/* Reads a unit's name at s and gives its factor; 0 with err filled when there is none or it is unknown. */
static uint64_t leading_unit(const char **s, const char *whole, struct err *err)
{
    size_t len = strcspn(*s, ".0123456789");
    cleanup_free char *name = xstrndup(*s, len), *quoted = NULL, *what = NULL;

    if (!len) {
        duration_error("missing unit in", whole, err);
        return 0;
    }
    *s += len;
    for (size_t i = 0; i < sizeof(time_units) / sizeof(*time_units); i++)
        if (!strcmp(time_units[i].name, name))
            return time_units[i].ns;
    quoted = quote_bytes(name);
    what = xasprintf("unknown unit %s in", quoted);
    duration_error(what, whole, err);
    return 0;
}

/* Reads one "1.5h" at *s and adds it to *total. */
static int add_term(const char **s, const char *whole, uint64_t *total, struct err *err)
{
    uint64_t value = 0, part = 0, unit;
    double scale = 1;
    const char *start = *s, *p;
    bool digits;

    p = leading_number(start, &value);
    if (!p)
        return duration_error("invalid", whole, err);
    digits = p > start;
    if (*p == '.') {
        const char *point = ++p;

        p = leading_fraction(p, &part, &scale);
        digits = digits || p > point;
    }
    if (!digits)
        return duration_error("invalid", whole, err);
    unit = leading_unit(&p, whole, err);
    if (!unit)
        return -1;
    if (value > MAX_NS / unit)
        return duration_error("invalid", whole, err);
    value *= unit;
    if (part)
        value += (uint64_t)((double)part * ((double)unit / scale));
    if (value > MAX_NS || *total + value > MAX_NS)
        return duration_error("invalid", whole, err);
    *total += value;
    *s = p;
    return 0;
}

int units_parse_duration(const char *s, int64_t *ret_ns, struct err *err)
{
    const char *p = s + (*s == '-' || *s == '+');
    bool negative = *s == '-';
    uint64_t total = 0;

    if (!strcmp(p, "0")) {
        *ret_ns = 0;
        return 0;
    }
    if (!*p)
        return duration_error("invalid", s, err);
    while (*p)
        if (add_term(&p, s, &total, err) < 0)
            return -1;
    if (total == MAX_NS && !negative)
        return duration_error("invalid", s, err);
    *ret_ns = negative ? (int64_t)(0 - total) : (int64_t)total;
    return 0;
}

/* "1.5" from 1500 thousandths: a fraction without trailing zeros. */
static char *with_fraction(uint64_t value, uint64_t unit, int digits, const char *name)
{
    cleanup_free char *fraction = xasprintf("%0*" PRIu64, digits, value % unit);
    size_t len = strlen(fraction);

    while (len && fraction[len - 1] == '0')
        fraction[--len] = '\0';
    if (!digits || !len)
        return xasprintf("%" PRIu64 "%s", value / unit, name);
    return xasprintf("%" PRIu64 ".%s%s", value / unit, fraction, name);
}

char *units_duration(int64_t ns)
{
    uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns, minute = 60ull * NANO;
    const char *sign = ns < 0 ? "-" : "";
    cleanup_free char *seconds = NULL;

    if (!u)
        return xstrdup("0s");
    if (u < 1000)
        seconds = with_fraction(u, 1, 0, "ns");
    else if (u < 1000000)
        seconds = with_fraction(u, 1000, 3, "\xC2\xB5s");
    else if (u < NANO)
        seconds = with_fraction(u, 1000000, 6, "ms");
    else
        seconds = with_fraction(u % minute, NANO, 9, "s");
    if (u < minute)
        return xasprintf("%s%s", sign, seconds);
    if (u < 60 * minute)
        return xasprintf("%s%" PRIu64 "m%s", sign, u / minute, seconds);
    return xasprintf("%s%" PRIu64 "h%" PRIu64 "m%s", sign, u / minute / 60, u / minute % 60, seconds);
}

/* A decimal number as digits without zeros at its ends, and a power of ten. */
struct decimal {
    char digits[32];
    int len;
    long exponent;
    bool too_long;
};

/* Adds one digit; zeros in front are dropped, and those beyond the room only count when they are not zero. */
static void decimal_add(struct decimal *d, char c)
{
    if (!d->len && c == '0')
        return;
    if (d->len == (int)sizeof(d->digits)) {
        d->exponent++;
        d->too_long = d->too_long || c != '0';
        return;
    }
    d->digits[d->len++] = c;
}

/* Reads [digits][.digits][e[+-]digits]; false = not a number. */
static bool decimal_read(struct decimal *d, const char *s)
{
    bool any = false, point = false;
    long exponent = 0;

    for (; isdigit((unsigned char)*s) || (*s == '.' && !point); s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        any = true;
        decimal_add(d, *s);
        d->exponent -= point;
    }
    if (!any)
        return false;
    if (*s == 'e' || *s == 'E') {
        char *end;

        s++;
        if (!isdigit((unsigned char)s[*s == '-' || *s == '+']))
            return false;
        exponent = strtol(s, &end, 10);
        s = end;
        exponent = exponent > 10000 ? 10000 : exponent < -10000 ? -10000 : exponent;
    }
    d->exponent += exponent;
    for (; d->len && d->digits[d->len - 1] == '0'; d->len--)
        d->exponent++;
    return !*s;
}

/* "A/B" as billionths; both are whole numbers. */
static int parse_fraction(const char *s, const char *slash, uint64_t *ret_nano, const char *whole, struct err *err)
{
    cleanup_free char *first = xstrndup(s, (size_t)(slash - s));
    uint64_t a = 0, b = 0;
    unsigned __int128 nano;

    if (units_parse_uint(first, 63, &a, NULL) < 0 || units_parse_uint(slash + 1, 63, &b, NULL) < 0 || !b)
        return err_set(err, 0, "failed to parse %s as a rational number", whole);
    nano = (unsigned __int128)a * NANO;
    if (nano % b)
        return err_set(err, 0, "value is too precise");
    if (nano / b > INT64_MAX)
        return err_set(err, 0, "value %s is out of range", whole);
    *ret_nano = (uint64_t)(nano / b);
    return 0;
}

/* A decimal as billionths. */
static int parse_decimal(const char *s, uint64_t *ret_nano, const char *whole, struct err *err)
{
    struct decimal d = {.len = 0};
    unsigned __int128 nano = 0;

    if (!decimal_read(&d, s))
        return err_set(err, 0, "failed to parse %s as a rational number", whole);
    if (d.len && d.exponent + 9 < 0)
        return err_set(err, 0, "value is too precise");
    if (d.too_long || (d.len && d.len + d.exponent + 9 > 19))
        return err_set(err, 0, "value %s is out of range", whole);
    for (int i = 0; i < d.len; i++)
        nano = nano * 10 + (unsigned)(d.digits[i] - '0');
    for (long i = 0; d.len && i < d.exponent + 9; i++)
        nano *= 10;
    if (nano > INT64_MAX)
        return err_set(err, 0, "value %s is out of range", whole);
    *ret_nano = (uint64_t)nano;
    return 0;
}

int units_parse_cpus(const char *s, int64_t *ret_nano, struct err *err)
{
    const char *p = s + (*s == '-' || *s == '+'), *slash = strchr(p, '/');
    uint64_t nano = 0;

    if (slash ? parse_fraction(p, slash, &nano, s, err) < 0 : parse_decimal(p, &nano, s, err) < 0)
        return -1;
    *ret_nano = *s == '-' ? -(int64_t)nano : (int64_t)nano;
    return 0;
}
