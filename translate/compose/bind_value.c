/* Single values of the model: numbers, sizes, durations, lists that are maps. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"
#include "translate/compose/bind.h"
#include "translate/compose/settle.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- as Go prints ---- */

char *go_float(double value, bool single)
{
    char digits[48];
    int precision, exponent;

    if (!isfinite(value))
        return xstrdup(isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
    for (precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*e", precision, value);
        if (single ? strtof(digits, NULL) == (float)value : strtod(digits, NULL) == value)
            break;
    }
    exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
    if (value != 0 && (exponent < -4 || exponent >= 6))
        return xstrdup(digits);
    return xasprintf("%.*f", precision > exponent ? precision - exponent : 0, value);
}

char *compose_print_value(const struct cnode *value)
{
    if (!value || value->kind == CNODE_NULL)
        return xstrdup("<nil>");
    if (value->kind == CNODE_FLOAT)
        return go_float(strtod(value->text, NULL), /* single= */ false);
    return xstrdup(value->text ? value->text : "");
}

/* ---- durations ---- */

static const struct {
    const char *name;
    int64_t ns;
} duration_units[] = {
    {"ns", 1},         {"us", 1000},       {"\xc2\xb5s", 1000},  {"\xce\xbcs", 1000},   {"ms", 1000000},
    {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}, {"d", 86400000000000}, {"w", 604800000000000}};

static int64_t unit_ns(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(duration_units) / sizeof(*duration_units); i++)
        if (strlen(duration_units[i].name) == len && memcmp(duration_units[i].name, name, len) == 0)
            return duration_units[i].ns;
    return 0;
}

int compose_duration(const char *text, int64_t *ret_ns, struct err *err)
{
    const char *p = text + (*text == '-' || *text == '+');
    long double sum = 0;

    if (strcmp(p, "0") == 0) {
        *ret_ns = 0;
        return 0;
    }
    do {
        size_t digits = strspn(p, "0123456789"), fraction = 0, unit;
        cleanup_free char *number = NULL;

        if (p[digits] == '.')
            fraction = strspn(p + digits + 1, "0123456789") + 1;
        if (digits > 19 || digits + fraction == 0 || (digits == 0 && fraction == 1))
            return err_set(err, 0, "time: invalid duration \"%s\"", text);
        number = xstrndup(p, digits + fraction);
        p += digits + fraction;
        unit = strcspn(p, ".0123456789");
        if (unit == 0)
            return err_set(err, 0, "time: missing unit in duration \"%s\"", text);
        if (!unit_ns(p, unit))
            return err_set(err, 0, "time: unknown unit \"%.*s\" in duration \"%s\"", (int)unit, p, text);
        sum += strtold(number, NULL) * (long double)unit_ns(p, unit);
        p += unit;
        if (sum >= 9223372036854775807.0L)
            return err_set(err, 0, "time: invalid duration \"%s\"", text);
    } while (*p);
    *ret_ns = *text == '-' ? -(int64_t)sum : (int64_t)sum;
    return 0;
}

/* ---- scalars ---- */

static struct cnode *made(enum cnode_kind kind, char *text)
{
    struct cnode *n = cnode_new(kind);

    n->text = text;
    return n;
}

static int parse_bool(const char *text, bool *ret, struct err *err)
{
    static const char *const yes[] = {"true", "y", "yes", "on"}, *const no[] = {"false", "n", "no", "off"};

    for (size_t i = 0; i < 4; i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *ret = strcasecmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return err_set(err, 0, "invalid boolean: %s", text);
}

static struct cnode *bind_int(const char *text, const char *call, struct err *err)
{
    char *end;
    int64_t value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (!*text || *end || isspace((unsigned char)*text)) {
        err_set(err, 0, "strconv.%s: parsing \"%s\": invalid syntax", call, text);
        return NULL;
    }
    if (errno) {
        err_set(err, 0, "strconv.%s: parsing \"%s\": value out of range", call, text);
        return NULL;
    }
    return cnode_int(value);
}

static struct cnode *bind_float(const char *text, struct err *err)
{
    char *end;
    float value = strtof(text, &end);

    if (!*text || *end) {
        err_set(err, 0, "strconv.ParseFloat: parsing \"%s\": invalid syntax", text);
        return NULL;
    }
    return made(CNODE_FLOAT, go_float((double)value, /* single= */ true));
}

static struct cnode *bind_bytes(const struct cnode *value, struct err *err)
{
    int64_t bytes = 0;

    if (value->kind == CNODE_INT)
        return made(CNODE_STRING, xstrdup(value->text));
    if (value->kind == CNODE_STRING && units_parse_bytes(value->text, &bytes, err))
        return NULL;
    return made(CNODE_STRING, xasprintf("%" PRId64, bytes));
}

static struct cnode *bind_duration(const char *text, struct err *err)
{
    int64_t ns;

    return compose_duration(text, &ns, err) ? NULL : made(CNODE_STRING, units_duration(ns));
}

static struct cnode *bind_count(const struct cnode *value, const char *text, struct err *err)
{
    struct cnode *count;

    if (value->kind == CNODE_STRING && strcasecmp(text, "all") == 0)
        return cnode_int(-1);
    count = bind_int(text, "ParseInt", err);
    if (!count)
        err_set(err, 0, "invalid value \"%s\", the only value allowed is 'all' or a number", text);
    return count;
}

/* A mode as a number is what it says; as a string it is octal. */
static struct cnode *bind_mode(const struct cnode *value, const char *text, struct err *err)
{
    char *end;
    int64_t mode;

    errno = 0;
    mode = strtoll(text, &end, value->kind == CNODE_STRING ? 8 : 10);
    if (!*text || *end || errno) {
        err_set(err, 0, "strconv.ParseInt: parsing \"%s\": invalid syntax", text);
        return NULL;
    }
    return made(CNODE_STRING, xasprintf("0%" PRIo64, (uint64_t)mode));
}

static struct cnode *wrong_kind(const struct cnode *value, const char *wanted, struct err *err)
{
    static const char *const kinds[] = {
        "nil", "bool", "int", "float64", "string", "[]interface {}", "map[string]interface {}"};

    err_set(err, 0, "expected type '%s', got unconvertible type '%s'%s%s%s", wanted, kinds[value->kind],
            value->text ? ", value: '" : "", value->text ? value->text : "", value->text ? "'" : "");
    return NULL;
}

struct cnode *bind_scalar(const struct cnode *value, enum form form, struct err *err)
{
    const char *text = value->text ? value->text : "";
    bool yes = false;

    if (value->kind == CNODE_LIST || value->kind == CNODE_MAP)
        return wrong_kind(value, "string", err);
    switch (form) {
    case FORM_BOOL:
    case FORM_BOOL_KEPT:
    case FORM_EXTERNAL:
        return value->kind != CNODE_NULL && parse_bool(text, &yes, err) ? NULL : cnode_bool(yes);
    case FORM_INT:
    case FORM_INT_KEPT:
        if (value->kind == CNODE_FLOAT)
            return cnode_int((int64_t)strtod(text, NULL));
        return bind_int(value->kind == CNODE_NULL ? "0" : text, "ParseInt", err);
    case FORM_FLOAT:
        return bind_float(value->kind == CNODE_NULL ? "0" : text, err);
    case FORM_BYTES:
        return bind_bytes(value, err);
    case FORM_DURATION:
    case FORM_DURATION_KEPT:
        return bind_duration(text, err);
    case FORM_COUNT:
        return bind_count(value, text, err);
    case FORM_MODE:
        return bind_mode(value, text, err);
    default:
        if (value->kind == CNODE_BOOL || value->kind == CNODE_FLOAT)
            return wrong_kind(value, "string", err);
        return cnode_string(text);
    }
}

/* ---- lists that are maps ---- */

struct cnode *bind_env(const struct cnode *value, bool keep_null, struct err *err)
{
    struct cnode *map = cnode_new(CNODE_MAP);

    for (size_t i = 0; value->kind == CNODE_MAP && i < value->len; i++) {
        const struct cnode *v = value->items[i];

        if (v->kind == CNODE_MAP || v->kind == CNODE_LIST) {
            cnode_free(map);
            return wrong_kind(v, "string", err);
        }
        if (v->kind == CNODE_NULL)
            cnode_set(map, value->keys[i], keep_null ? cnode_new(CNODE_NULL) : cnode_string(""));
        else
            cnode_set(map, value->keys[i], made(CNODE_STRING, compose_print_value(v)));
    }
    for (size_t i = 0; value->kind == CNODE_LIST && i < value->len; i++) {
        cleanup_free char *text = compose_print_value(value->items[i]);
        char *equals = strchr(text, '=');
        size_t len = equals ? (size_t)(equals - text) : strlen(text);

        if (keep_null && len > 0 && isspace((unsigned char)text[len - 1])) {
            err_set(err, 0, "environment variable %.*s is declared with a trailing space", (int)len, text);
            cnode_free(map);
            return NULL;
        }
        if (equals)
            *equals = '\0';
        cnode_set(map, text, equals ? cnode_string(equals + 1) : keep_null ? cnode_new(CNODE_NULL) : cnode_string(""));
    }
    return map;
}

/* name=address, brackets of an address dropped */
static int add_host(struct strlist *hosts, const char *name, const char *address, struct err *err)
{
    size_t len = strlen(address);
    bool bracketed = len > 2 && address[0] == '[' && address[len - 1] == ']';

    if (!*name || strpbrk(name, ":="))
        return err_set(err, 0, "bad host name '%s'", name);
    strlist_addf(hosts, "%s=%.*s", name, (int)(bracketed ? len - 2 : len), address + bracketed);
    return 0;
}

static int add_host_text(struct strlist *hosts, const char *text, struct err *err)
{
    cleanup_strlist struct strlist addresses = STRLIST_INIT;
    cleanup_free char *name = xstrdup(text);
    char *cut = strchr(name, '=');

    if (!cut)
        cut = strchr(name, ':');
    if (!cut)
        return err_set(err, 0, "invalid additional host, missing IP: %s", text);
    *cut = '\0';
    strlist_split(&addresses, cut + 1, ',');
    for (size_t i = 0; i < addresses.len; i++)
        if (add_host(hosts, name, addresses.items[i], err))
            return -1;
    return 0;
}

static int add_host_map(struct strlist *hosts, const char *name, const struct cnode *value, struct err *err)
{
    if (value->kind != CNODE_LIST)
        return add_host(hosts, name, value->text ? value->text : "", err);
    for (size_t i = 0; i < value->len; i++) {
        cleanup_free char *address = compose_print_value(value->items[i]);

        if (add_host(hosts, name, address, err))
            return -1;
    }
    return 0;
}

struct cnode *bind_hosts(const struct cnode *value, struct err *err)
{
    cleanup_strlist struct strlist hosts = STRLIST_INIT;
    struct cnode *list;
    int r = 0;

    for (size_t i = 0; value->kind == CNODE_MAP && i < value->len && r == 0; i++)
        r = add_host_map(&hosts, value->keys[i], value->items[i], err);
    for (size_t i = 0; value->kind == CNODE_LIST && i < value->len && r == 0; i++) {
        cleanup_free char *text = compose_print_value(value->items[i]);

        r = add_host_text(&hosts, text, err);
    }
    if (r)
        return NULL;
    strlist_sort(&hosts);
    list = cnode_new(CNODE_LIST);
    for (size_t i = 0; i < hosts.len; i++)
        cnode_add(list, cnode_string(hosts.items[i]));
    return list;
}
