#include "translate/health.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "translate/record_text.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_MS INT64_C(1000000)

/* The options of a time, with the fields that they become and what the daemon calls them. */
static const struct {
    const char *option, *field;
    bool least; /* the daemon wants a millisecond at least */
} times[] = {
    {"health-interval", "Interval", true},
    {"health-timeout", "Timeout", true},
    {"health-start-period", "StartPeriod", true},
    {"health-start-interval", "StartInterval", true},
};
#define TIMES (sizeof(times) / sizeof(times[0]))

/* In the order of Docker's structure. */
static const char *const fields[] = {"Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"};

static int64_t number_of(const struct opt_parsed *p, const char *name)
{
    return opt_given(p, name) ? opt_int(p, name) : 0;
}

static bool says_anything(const struct opt_parsed *p)
{
    for (size_t i = 0; i < TIMES; i++)
        if (number_of(p, times[i].option))
            return true;
    return number_of(p, "health-retries") || (opt_given(p, "health-cmd") && *opt_str(p, "health-cmd"));
}

static int negative(const char *name, struct err *err)
{
    return err_set(err, 125, "--%s cannot be negative", name);
}

/* The client's checks, then the daemon's. */
static int check_numbers(const struct opt_parsed *p, struct err *err)
{
    static const char *const order[] = {"health-interval", "health-timeout", "health-retries", "health-start-period",
                                        "health-start-interval"};

    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (number_of(p, order[i]) < 0)
            return negative(order[i], err);
    for (size_t i = 0; i < TIMES; i++) {
        int64_t value = number_of(p, times[i].option);

        if (times[i].least && value && value < NS_PER_MS)
            return err_set(err, 125, "Error response from daemon: %s in Healthcheck cannot be less than 1ms",
                           times[i].field);
    }
    return 0;
}

static char *printed(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    json_decref(object);
    return text;
}

int health_from_opts(const struct opt_parsed *p, char **ret, struct err *err)
{
    bool none = opt_given(p, "no-healthcheck") && opt_bool(p, "no-healthcheck"), any = says_anything(p);
    const char *cmd = opt_given(p, "health-cmd") ? opt_str(p, "health-cmd") : "";
    int64_t retries = number_of(p, "health-retries");
    json_t *object;

    *ret = NULL;
    if (none && any)
        return err_set(err, 125, "--no-healthcheck conflicts with --health-* options");
    if (!none && !any)
        return 0;
    if (check_numbers(p, err) < 0)
        return -1;
    object = json_object();
    if (none)
        json_object_set_new(object, "Test", json_pack("[s]", "NONE"));
    else if (*cmd)
        json_object_set_new(object, "Test", json_pack("[s, o]", "CMD-SHELL", record_shown(cmd)));
    for (size_t i = 0; i < TIMES; i++)
        if (number_of(p, times[i].option))
            json_object_set_new(object, times[i].field, json_integer(number_of(p, times[i].option)));
    if (retries)
        json_object_set_new(object, "Retries", json_integer(retries));
    *ret = printed(object);
    return 0;
}

/* Whether the field says something. */
static bool is_said(const json_t *value)
{
    if (json_is_array(value))
        return json_array_size(value) > 0;
    return json_is_integer(value) && json_integer_value(value) != 0;
}

char *health_merge(const char *line, const char *image)
{
    json_auto_t *over = line ? json_loads(line, 0, NULL) : NULL, *under = image ? json_loads(image, 0, NULL) : NULL;
    json_t *both;

    if (!json_is_object(over))
        return xstrdup(image);
    both = json_object();
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        json_t *value = json_object_get(over, fields[i]);

        if (!is_said(value))
            value = json_object_get(under, fields[i]);
        if (is_said(value))
            json_object_set(both, fields[i], value);
    }
    return printed(both);
}

void health_plan_clear(struct health_plan *p)
{
    strlist_clear(&p->test);
    *p = (struct health_plan){0};
}

/* A number of the object within 0 and max; 0 for anything else, which is the default. */
static int64_t read_number(const json_t *object, const char *field, int64_t max)
{
    int64_t value = json_integer_value(json_object_get(object, field));

    return value > 0 && value <= max ? value : 0;
}

bool health_plan_read(const char *json, struct health_plan *ret)
{
    json_auto_t *object = json ? json_loads(json, 0, NULL) : NULL;
    const json_t *test = json_object_get(object, "Test"), *word;
    const char *kind = json_string_value(json_array_get(test, 0));
    size_t i;

    *ret = (struct health_plan){0};
    if (!kind || json_array_size(test) < 2 || (strcmp(kind, "CMD") != 0 && strcmp(kind, "CMD-SHELL") != 0))
        return false;
    json_array_foreach(test, i, word) strlist_add(&ret->test, json_is_string(word) ? json_string_value(word) : "");
    ret->interval_ns = read_number(object, "Interval", INT64_MAX);
    ret->timeout_ns = read_number(object, "Timeout", INT64_MAX);
    ret->start_period_ns = read_number(object, "StartPeriod", INT64_MAX);
    ret->start_interval_ns = read_number(object, "StartInterval", INT64_MAX);
    ret->retries = (uint32_t)read_number(object, "Retries", INT32_MAX);
    return true;
}
