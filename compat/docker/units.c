#include "compat/docker/units.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Fills err as Go's strconv does. */
static int conversion_error(const char *function, const char *s, const char *what, struct err *err)
{
    cleanup_free char *quoted = quote_go_str(s);

    return err_set(err, 0, "strconv.%s: parsing %s: %s", function, quoted, what);
}

int units_parse_bool(const char *s, bool *ret_value, struct err *err)
{
    static const char *const words[] = {"1", "t", "T", "true",  "TRUE",  "True",
                                        "0", "f", "F", "false", "FALSE", "False"};

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (!strcmp(s, words[i])) {
            *ret_value = i < 6;
            return 0;
        }
    }
    return conversion_error("ParseBool", s, "invalid syntax", err);
}

/* Value of a digit in bases up to 16, or 99. */
static unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 99;
}

enum scan { SCAN_OK, SCAN_SYNTAX, SCAN_RANGE };

/*
 * The digits of a Go integer literal in base 0: 0x, 0o, 0b and a plain leading 0 choose the base; an underscore may
 * stand between digits or after the prefix.
 */
static enum scan scan_magnitude(const char *s, uint64_t max, uint64_t *ret_value)
{
    unsigned base = 10;
    uint64_t value = 0;
    bool digit_before = false, range = false;

    if (s[0] == '0' && s[1]) {
        char c = (char)tolower((unsigned char)s[1]);

        base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
        s += strchr("xbo", c) ? 2 : 1;
        digit_before = true; /* the prefix counts for an underscore */
        if (!*s || !strcmp(s, "_"))
            return SCAN_SYNTAX;
    }
    if (!*s)
        return SCAN_SYNTAX;
    for (; *s; s++) {
        unsigned d = digit_value(*s);

        if (*s == '_') {
            if (!digit_before || digit_value(s[1]) >= base)
                return SCAN_SYNTAX;
            digit_before = false;
            continue;
        }
        if (d >= base)
            return SCAN_SYNTAX;
        digit_before = true;
        if (value > (UINT64_MAX - d) / base)
            range = true;
        else
            value = value * base + d;
    }
    if (range || value > max)
        return SCAN_RANGE;
    *ret_value = value;
    return SCAN_OK;
}

int units_parse_int(const char *s, int bits, int64_t *ret_value, struct err *err)
{
    bool negative = *s == '-';
    uint64_t max = ((uint64_t)1 << (bits - 1)) - (negative ? 0 : 1), magnitude = 0;
    enum scan scan = scan_magnitude(s + (*s == '-' || *s == '+'), max, &magnitude);

    if (scan != SCAN_OK)
        return conversion_error("ParseInt", s, scan == SCAN_RANGE ? "value out of range" : "invalid syntax", err);
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return 0;
}

int units_parse_int10(const char *s, int bits, int64_t *ret_value, struct err *err)
{
    bool negative = *s == '-';
    const char *digits = s + (*s == '-' || *s == '+');
    uint64_t max = ((uint64_t)1 << (bits - 1)) - (negative ? 0 : 1), magnitude = 0;

    if (!*digits || digits[strspn(digits, "0123456789")])
        return conversion_error("ParseInt", s, "invalid syntax", err);
    while (digits[0] == '0' && digits[1])
        digits++;
    if (scan_magnitude(digits, max, &magnitude) != SCAN_OK)
        return conversion_error("ParseInt", s, "value out of range", err);
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return 0;
}

int units_parse_uint(const char *s, int bits, uint64_t *ret_value, struct err *err)
{
    uint64_t max = bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    enum scan scan = scan_magnitude(s, max, ret_value);

    if (scan != SCAN_OK)
        return conversion_error("ParseUint", s, scan == SCAN_RANGE ? "value out of range" : "invalid syntax", err);
    return 0;
}

/* Whether s is a decimal number with an optional fraction and exponent, and nothing else. */
static bool is_decimal(const char *s)
{
    bool digits = false;

    s += *s == '-' || *s == '+';
    for (; isdigit((unsigned char)*s); s++)
        digits = true;
    if (*s == '.')
        for (s++; isdigit((unsigned char)*s); s++)
            digits = true;
    if (!digits)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        if (!isdigit((unsigned char)*s))
            return false;
        while (isdigit((unsigned char)*s))
            s++;
    }
    return !*s;
}

int units_parse_float(const char *s, double *ret_value, struct err *err)
{
    double value;

    if (!is_decimal(s))
        return conversion_error("ParseFloat", s, "invalid syntax", err);
    value = strtod(s, NULL);
    if (!isfinite(value))
        return conversion_error("ParseFloat", s, "value out of range", err);
    *ret_value = value;
    return 0;
}

/* The factor of a size suffix ("", "b", "k", "kb", "KiB"...), 0 = none such. */
static double suffix_factor(const char *suffix)
{
    static const char powers[] = "kmgtp";
    const char *at;

    if (!*suffix || !strcmp(suffix, "b"))
        return 1;
    at = strchr(powers, *suffix);
    if (!at || (suffix[1] && strcmp(suffix + 1, "b") && strcmp(suffix + 1, "ib")))
        return 0;
    return (double)((uint64_t)1 << (10 * (at - powers + 1)));
}

int units_parse_bytes(const char *s, int64_t *ret_bytes, struct err *err)
{
    cleanup_free char *number = NULL, *suffix = NULL;
    const char *end = s + strlen(s);
    double factor, value = 0;

    while (end > s && !strchr("0123456789. ", end[-1]))
        end--;
    if (end == s)
        return err_set(err, 0, "invalid size: '%s'", s);
    number = xstrndup(s, (size_t)(end - s) - (end[-1] == ' '));
    suffix = xstrdup(end);
    if (units_parse_float(number, &value, err) < 0)
        return -1;
    if (value < 0)
        return err_set(err, 0, "invalid size: '%s'", s);
    if (strlen(suffix) <= 3) /* a longer one is shown as it was typed */
        for (char *p = suffix; *p; p++)
            *p = (char)tolower((unsigned char)*p);
    factor = suffix_factor(suffix);
    if (factor == 0)
        return err_set(err, 0, "invalid suffix: '%s'", suffix);
    if (value * factor >= 0x1p63)
        return err_set(err, 0, "invalid size: '%s'", s);
    *ret_bytes = (int64_t)(value * factor);
    return 0;
}

/* The age's number and unit: docker counts whole units and rounds only hours. */
char *units_age(int64_t ns)
{
    int64_t seconds = ns / 1000000000, minutes = seconds / 60;
    int64_t hours = (int64_t)((double)ns / 3.6e12 + 0.5);

    if (seconds < 1)
        return xstrdup("Less than a second");
    if (seconds == 1)
        return xstrdup("1 second");
    if (seconds < 60)
        return xasprintf("%" PRId64 " seconds", seconds);
    if (minutes == 1)
        return xstrdup("About a minute");
    if (minutes < 60)
        return xasprintf("%" PRId64 " minutes", minutes);
    if (hours == 1)
        return xstrdup("About an hour");
    if (hours < 48)
        return xasprintf("%" PRId64 " hours", hours);
    if (hours < 24 * 7 * 2)
        return xasprintf("%" PRId64 " days", hours / 24);
    if (hours < 24 * 30 * 2)
        return xasprintf("%" PRId64 " weeks", hours / 24 / 7);
    if (hours < 24 * 365 * 2)
        return xasprintf("%" PRId64 " months", hours / 24 / 30);
    return xasprintf("%" PRId64 " years", minutes / 60 / 24 / 365);
}

/* Divides down to the largest unit that leaves a number of 1 or more. */
static char *scaled(double bytes, double base, const char *const *names, size_t len, int digits)
{
    size_t i = 0;

    for (; bytes >= base && i + 1 < len; i++)
        bytes /= base;
    return xasprintf("%.*g%s", digits, bytes, names[i]);
}

static const char *const decimal_names[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
static const char *const binary_names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};

char *units_size_digits(double bytes, int digits)
{
    return scaled(bytes, 1000, decimal_names, sizeof(decimal_names) / sizeof(*decimal_names), digits);
}

char *units_size(double bytes)
{
    return units_size_digits(bytes, 4);
}

char *units_size_binary(double bytes)
{
    return scaled(bytes, 1024, binary_names, sizeof(binary_names) / sizeof(*binary_names), 4);
}
