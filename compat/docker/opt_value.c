#include "compat/docker/opt_value.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/csv.h"
#include "compat/docker/opt_private.h"
#include "compat/docker/units.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

bool opt_kind_repeats(enum opt_kind kind)
{
    switch (kind) {
    case OPT_LIST:
    case OPT_STRINGS:
    case OPT_STRINGARRAY:
    case OPT_MAP:
    case OPT_FILTER:
    case OPT_IPSLICE:
    case OPT_MOUNT:
    case OPT_NETWORK:
    case OPT_ULIMIT:
    case OPT_GPUS:
        return true;
    default:
        return false;
    }
}

static int check_bool(const char *value, int64_t *ret_number, struct err *err)
{
    bool truth;

    if (units_parse_bool(value, &truth, err) < 0)
        return -1;
    *ret_number = truth;
    return 0;
}

static int check_unsigned(const char *value, int bits, int64_t *ret_number, struct err *err)
{
    uint64_t number;

    if (units_parse_uint(value, bits, &number, err) < 0)
        return -1;
    *ret_number = number > INT64_MAX ? INT64_MAX : (int64_t)number;
    return 0;
}

static int check_bytes(const struct opt_def *def, const char *value, int64_t *ret_number, struct err *err)
{
    if (def->flags & OPT_MINUS_ONE && !strcmp(value, "-1")) {
        *ret_number = -1;
        return 0;
    }
    return units_parse_bytes(value, ret_number, err);
}

/* "name=value", or nothing. */
static int check_filter(const char *value, struct err *err)
{
    if (*value && !strchr(value, '='))
        return err_set(err, 0, "bad format of filter (expected name=value)");
    return 0;
}

/* An address, with /bits when prefix. */
static int check_ip(const char *value, struct err *err)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, value, address) == 1 || inet_pton(AF_INET6, value, address) == 1)
        return 0;
    return err_set(err, 0, "failed to parse IP: \"%s\"", value);
}

static int check_strings(const char *value, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;

    return *value ? csv_fields(value, &fields, err) : 0;
}

/* The check that belongs to the kind alone. */
static int check_kind(const struct opt_def *def, const char *value, int64_t *ret_number, struct err *err)
{
    switch (def->kind) {
    case OPT_BOOL:
        return check_bool(value, ret_number, err);
    case OPT_INT:
    case OPT_INT64:
        return units_parse_int(value, 64, ret_number, err);
    case OPT_UINT16:
        return check_unsigned(value, 16, ret_number, err);
    case OPT_UINT64:
        return check_unsigned(value, 64, ret_number, err);
    case OPT_BYTES:
        return check_bytes(def, value, ret_number, err);
    case OPT_DECIMAL:
        return units_parse_cpus(value, ret_number, err);
    case OPT_DURATION:
        return units_parse_duration(value, ret_number, err);
    case OPT_FILTER:
        return check_filter(value, err);
    case OPT_STRINGS:
        return check_strings(value, err);
    case OPT_IP:
        return check_ip(value, err);
    case OPT_MOUNT:
        return opt_check_mount(value, err);
    case OPT_NETWORK:
        return opt_check_network(value, err);
    case OPT_ULIMIT:
        return opt_check_ulimit(value, err);
    case OPT_GPUS:
        return opt_check_gpus(value, err);
    default:
        return 0;
    }
}

int opt_value_check(const struct opt_def *def, const char *value, int64_t *ret_number, struct err *err)
{
    if (check_kind(def, value, ret_number, err) < 0)
        return -1;
    return def->check ? def->check(value, err) : 0;
}
