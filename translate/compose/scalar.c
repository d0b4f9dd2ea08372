/* What compose's YAML library takes an unquoted word for: YAML 1.2's core schema with 1.1's octals and underscores. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "translate/compose/load.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct word {
    const char *word;
    enum cnode_kind kind;
    const char *text;
};

static const struct word words[] = {
    {"", CNODE_NULL, NULL},         {"~", CNODE_NULL, NULL},        {"null", CNODE_NULL, NULL},
    {"Null", CNODE_NULL, NULL},     {"NULL", CNODE_NULL, NULL},     {"true", CNODE_BOOL, "true"},
    {"True", CNODE_BOOL, "true"},   {"TRUE", CNODE_BOOL, "true"},   {"false", CNODE_BOOL, "false"},
    {"False", CNODE_BOOL, "false"}, {"FALSE", CNODE_BOOL, "false"}, {".nan", CNODE_FLOAT, "NaN"},
    {".NaN", CNODE_FLOAT, "NaN"},   {".NAN", CNODE_FLOAT, "NaN"},   {".inf", CNODE_FLOAT, "+Inf"},
    {".Inf", CNODE_FLOAT, "+Inf"},  {".INF", CNODE_FLOAT, "+Inf"},  {"+.inf", CNODE_FLOAT, "+Inf"},
    {"+.Inf", CNODE_FLOAT, "+Inf"}, {"+.INF", CNODE_FLOAT, "+Inf"}, {"-.inf", CNODE_FLOAT, "-Inf"},
    {"-.Inf", CNODE_FLOAT, "-Inf"}, {"-.INF", CNODE_FLOAT, "-Inf"},

};

/* The digits of a number in a base; false when other characters are among them or it does not fit. */
static bool digits_in(const char *s, int base, uint64_t *ret)
{
    char *end;

    if (!isalnum((unsigned char)*s))
        return false;
    errno = 0;
    *ret = strtoull(s, &end, base);
    return errno == 0 && *end == '\0';
}

/* An integer as Go's ParseInt takes it with base 0: 0x, 0b, 0o, and a leading 0 for octal. */
static char *integer(const char *s)
{
    bool minus = *s == '-';
    uint64_t value;
    int base = 10;

    if (*s == '-' || *s == '+')
        s++;
    if (s[0] == '0' && s[1] && strchr("xXbBoO", s[1])) {
        base = tolower((unsigned char)s[1]) == 'x' ? 16 : tolower((unsigned char)s[1]) == 'b' ? 2 : 8;
        s += 2;
    } else if (s[0] == '0' && s[1]) {
        base = 8;
        s++;
    }
    if (base == 16 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
        return NULL;
    if (!digits_in(s, base, &value) || (minus && value > (uint64_t)INT64_MAX + 1))
        return NULL;
    return xasprintf("%s%" PRIu64, minus && value ? "-" : "", value);
}

/* [-+]? (.digits | digits[.digits]) [e[-+]digits] */
static bool looks_like_float(const char *s)
{
    size_t before, after = 0;

    s += *s == '-' || *s == '+';
    before = strspn(s, "0123456789");
    s += before;
    if (*s == '.') {
        after = strspn(s + 1, "0123456789");
        s += 1 + after;
    }
    if (before == 0 && after == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        after = strspn(s, "0123456789");
        if (after == 0)
            return false;
        s += after;
    }
    return *s == '\0';
}

char *scalar_float(double value, bool single)
{
    char digits[40], *e;
    int exponent, precision;

    if (isnan(value))
        return xstrdup("NaN");
    if (isinf(value))
        return xstrdup(value > 0 ? "+Inf" : "-Inf");
    for (precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*e", precision, value);
        if (single ? strtof(digits, NULL) == (float)value : strtod(digits, NULL) == value)
            break;
    }
    e = strchr(digits, 'e');
    exponent = (int)strtol(e + 1, NULL, 10);
    if (exponent < -4 || exponent >= 6) {
        *e = '\0';
        return xasprintf("%se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
    }
    return xasprintf("%.*f", precision > exponent ? precision - exponent : 0, value);
}

/* A word that begins like a number; NULL when it is none. */
static char *number(const char *word, enum cnode_kind *ret)
{
    cleanup_free char *plain = xstrdup(word);
    char *to = plain, *text;

    for (const char *from = word; *from; from++)
        if (*from != '_')
            *to++ = *from;
    *to = '\0';
    text = integer(plain);
    *ret = CNODE_INT;
    if (text || !looks_like_float(plain))
        return text;
    *ret = CNODE_FLOAT;
    return scalar_float(strtod(plain, NULL), /* single= */ false);
}

enum cnode_kind scalar_resolve(const char *word, char **ret_text)
{
    enum cnode_kind kind;

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (!strcmp(words[i].word, word)) {
            *ret_text = xstrdup(words[i].text);
            return words[i].kind;
        }
    }
    if (*word == '.' && looks_like_float(word)) {
        *ret_text = scalar_float(strtod(word, NULL), /* single= */ false);
        return CNODE_FLOAT;
    }
    if (isdigit((unsigned char)*word) || *word == '-' || *word == '+') {
        *ret_text = number(word, &kind);
        if (*ret_text)
            return kind;
    }
    *ret_text = xstrdup(word);
    return CNODE_STRING;
}
