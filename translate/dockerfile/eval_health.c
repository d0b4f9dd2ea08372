#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"
#include "translate/dockerfile/config.h"
#include "translate/dockerfile/internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* HEALTHCHECK as the configuration has it; durations are nanoseconds, 0 is inherited. */
struct health {
    struct strlist test;
    int64_t times[4]; /* in the order of time_flags */
    int64_t retries;
};

static const struct {
    const char *flag, *member;
} time_flags[] = {
    {"interval", "Interval"},
    {"timeout", "Timeout"},
    {"start-period", "StartPeriod"},
    {"start-interval", "StartInterval"},
};

#define TIMES (sizeof(time_flags) / sizeof(*time_flags))

/* A duration of a flag: none below a millisecond. */
static int read_time(const struct df_instruction *in, const char *flag, int64_t *ret, struct err *err)
{
    const char *value = df_flag(in, flag);
    int64_t ns = 0;

    if (value && *value && units_parse_duration(value, &ns, err) < 0)
        return -1;
    if (ns != 0 && ns < 1000000)
        return err_set(err, 1, "Interval \"%s\" cannot be less than 1ms", flag);
    *ret = ns;
    return 0;
}

static int read_options(const struct df_instruction *in, struct health *h, struct err *err)
{
    const char *retries = df_flag(in, "retries");

    for (size_t i = 0; i < TIMES; i++) {
        if (read_time(in, time_flags[i].flag, &h->times[i], err) < 0)
            return -1;
    }
    if (retries && *retries && units_parse_int10(retries, 32, &h->retries, err) < 0)
        return -1;
    return h->retries < 0 ? err_set(err, 1, "--retries cannot be negative (%lld)", (long long)h->retries) : 0;
}

/* h was zeroed; the caller clears h->test. */
static int read_health(const struct df_instruction *in, struct health *h, struct err *err)
{
    size_t len = strcspn(in->rest, " \t\v\f\r\n");
    const char *command = in->rest + len + strspn(in->rest + len, " \t\v\f\r\n");
    cleanup_strlist struct strlist words = STRLIST_INIT;
    bool json;

    if (!len)
        return err_set(err, 1, "HEALTHCHECK requires at least one argument");
    if (len == 4 && strncasecmp(in->rest, "NONE", 4) == 0) {
        strlist_add(&h->test, "NONE");
        return *command ? err_set(err, 1, "HEALTHCHECK NONE takes no arguments") : 0;
    }
    if (len != 3 || strncasecmp(in->rest, "CMD", 3) != 0) {
        cleanup_free char *type = xstrndup(in->rest, len);

        for (char *c = type; *c; c++)
            *c = (char)toupper((unsigned char)*c);
        return err_set(err, 1, "Unknown type \"%.100s\" in HEALTHCHECK (try CMD)", type);
    }
    if (df_json_other(command))
        return err_set(err, 1, "when using JSON array syntax, arrays must be comprised of strings only");
    json = df_json(command, &words);
    if (!json && *command)
        strlist_add(&words, command);
    if (!words.len)
        return err_set(err, 1, "Missing command after HEALTHCHECK CMD");
    strlist_add(&h->test, json ? "CMD" : "CMD-SHELL");
    strlist_copy(&h->test, &words);
    return read_options(in, h, err);
}

int df_check_health(const struct df_instruction *in, struct err *err)
{
    struct health h = {0};
    int ret = read_health(in, &h, err);

    strlist_clear(&h.test);
    return ret;
}

/* "HEALTHCHECK &{["CMD" "x"] "30s" "0s" "0s" "0s" '\x03'}": Go's %q of the whole, retries and all. */
static char *said_health(const struct health *h)
{
    struct buf said cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);

    buf_adds(&said, "HEALTHCHECK &{[");
    for (size_t i = 0; i < h->test.len; i++) {
        if (i)
            buf_addc(&said, ' ');
        quote_go(&said, h->test.items[i], strlen(h->test.items[i]));
    }
    buf_addc(&said, ']');
    for (size_t i = 0; i < TIMES; i++) {
        cleanup_free char *time = units_duration(h->times[i]);

        buf_addf(&said, " \"%s\"", time);
    }
    buf_addc(&said, ' ');
    quote_go_rune(&said, (uint32_t)h->retries);
    buf_addc(&said, '}');
    return buf_detach(&said);
}

int df_eval_health(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    struct health h = {0};
    json_t *health;

    if (read_health(in, &h, err) < 0) {
        strlist_clear(&h.test);
        return -1;
    }
    /* The list is made where lists are made, then moved to its place. */
    df_config_set_list(e->config, "Healthcheck", &h.test);
    health = json_pack("{s:O}", "Test", json_object_get(json_object_get(e->config, "config"), "Healthcheck"));
    for (size_t i = 0; i < TIMES; i++) {
        if (h.times[i])
            json_object_set_new(health, time_flags[i].member, json_integer(h.times[i]));
    }
    if (h.retries)
        json_object_set_new(health, "Retries", json_integer(h.retries));
    json_object_set_new(json_object_get(e->config, "config"), "Healthcheck", health);
    step->created_by = said_health(&h);
    strlist_clear(&h.test);
    return 0;
}
