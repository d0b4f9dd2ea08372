/* Strings that variables made and that are to be numbers or booleans. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum cast { CAST_INT, CAST_INT64, CAST_FLOAT, CAST_FLOAT32, CAST_BOOL };

static const struct row {
    const char *pattern;
    enum cast cast;
} rows[] = {
    {"services.*.cpu_count", CAST_INT64},
    {"services.*.cpu_percent", CAST_FLOAT},
    {"services.*.cpu_period", CAST_INT64},
    {"services.*.cpu_quota", CAST_INT64},
    {"services.*.cpu_rt_period", CAST_INT64},
    {"services.*.cpu_rt_runtime", CAST_INT64},
    {"services.*.cpus", CAST_FLOAT32},
    {"services.*.cpu_shares", CAST_INT64},
    {"services.*.init", CAST_BOOL},
    {"services.*.deploy.replicas", CAST_INT},
    {"services.*.deploy.update_config.parallelism", CAST_INT},
    {"services.*.deploy.update_config.max_failure_ratio", CAST_FLOAT},
    {"services.*.deploy.rollback_config.parallelism", CAST_INT},
    {"services.*.deploy.rollback_config.max_failure_ratio", CAST_FLOAT},
    {"services.*.deploy.restart_policy.max_attempts", CAST_INT},
    {"services.*.deploy.placement.max_replicas_per_node", CAST_INT},
    {"services.*.healthcheck.retries", CAST_INT},
    {"services.*.healthcheck.disable", CAST_BOOL},
    {"services.*.oom_kill_disable", CAST_BOOL},
    {"services.*.oom_score_adj", CAST_INT64},
    {"services.*.pids_limit", CAST_INT64},
    {"services.*.ports.[].target", CAST_INT},
    {"services.*.privileged", CAST_BOOL},
    {"services.*.read_only", CAST_BOOL},
    {"services.*.scale", CAST_INT},
    {"services.*.stdin_open", CAST_BOOL},
    {"services.*.tty", CAST_BOOL},
    {"services.*.ulimits.*", CAST_INT},
    {"services.*.ulimits.*.hard", CAST_INT},
    {"services.*.ulimits.*.soft", CAST_INT},
    {"services.*.volumes.[].read_only", CAST_BOOL},
    {"services.*.volumes.[].volume.nocopy", CAST_BOOL},
    {"networks.*.external", CAST_BOOL},
    {"networks.*.internal", CAST_BOOL},
    {"networks.*.attachable", CAST_BOOL},
    {"networks.*.enable_ipv4", CAST_BOOL},
    {"networks.*.enable_ipv6", CAST_BOOL},
    {"volumes.*.external", CAST_BOOL},
    {"secrets.*.external", CAST_BOOL},
    {"configs.*.external", CAST_BOOL},
};

bool path_matches(const char *const *path, size_t len, const char *pattern)
{
    for (size_t i = 0; i < len; i++) {
        size_t part = strcspn(pattern, ".");

        if (part == 0)
            return false;
        if (!(part == 1 && *pattern == '*') && (strlen(path[i]) != part || memcmp(path[i], pattern, part)))
            return false;
        pattern += part;
        if (*pattern == '.')
            pattern++;
        else if (i + 1 < len)
            return false;
    }
    return *pattern == '\0';
}

static int failed(const char *what, const char *text, bool range, struct err *err)
{
    return err_set(err, 1, "failed to cast to expected type: strconv.%s: parsing \"%s\": %s", what, text,
                   range ? "value out of range" : "invalid syntax");
}

static int cast_int(struct cnode *n, const char *what, struct err *err)
{
    const char *digits = n->text + (*n->text == '-' || *n->text == '+');
    int64_t value;

    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return failed(what, n->text, /* range= */ false, err);
    errno = 0;
    value = strtoll(n->text, NULL, 10);
    if (errno)
        return failed(what, n->text, /* range= */ true, err);
    free(n->text);
    n->text = xasprintf("%" PRId64, value);
    n->kind = CNODE_INT;
    return 0;
}

static int cast_float(struct cnode *n, bool single, struct err *err)
{
    char *end, *text;
    double value;

    errno = 0;
    value = single ? (double)strtof(n->text, &end) : strtod(n->text, &end);
    if (!*n->text || *end || strchr(" \t\n\v\f\r(", *n->text) || strchr(n->text, '('))
        return failed("ParseFloat", n->text, /* range= */ false, err);
    if (errno == ERANGE && (value > 1 || value < -1))
        return failed("ParseFloat", n->text, /* range= */ true, err);
    text = scalar_float(value, single);
    free(n->text);
    n->text = text;
    n->kind = CNODE_FLOAT;
    return 0;
}

/* Any of the words, whatever their case. */
static bool one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (!strcasecmp(text, *words))
            return true;
    return false;
}

static int cast_bool(struct loader *l, struct cnode *n, struct err *err)
{
    static const char *const yes[] = {"y", "yes", "on", NULL}, *const no[] = {"n", "no", "off", NULL};
    bool is_true = !strcasecmp(n->text, "true"), old_true = one_of(n->text, yes), old_false = one_of(n->text, no);

    if (!is_true && strcasecmp(n->text, "false") && !old_true && !old_false)
        return err_set(err, 1, "failed to cast to expected type: invalid boolean: %s", n->text);
    if (old_true || old_false)
        strlist_addf(l->warnings, "\"%s\" for boolean is not supported by YAML 1.2, please use `%s`", n->text,
                     old_true ? "true" : "false");
    free(n->text);
    n->text = xstrdup(is_true || old_true ? "true" : "false");
    n->kind = CNODE_BOOL;
    return 0;
}

int cast_value(struct loader *l, const char *const *path, size_t len, struct cnode *value, struct err *err)
{
    const struct row *row = NULL;

    if (len < 3)
        return 0;
    for (size_t i = 0; !row && i < sizeof(rows) / sizeof(rows[0]); i++)
        if (path_matches(path, len, rows[i].pattern))
            row = &rows[i];
    if (!row)
        return 0;
    switch (row->cast) {
    case CAST_INT:
        return cast_int(value, "Atoi", err);
    case CAST_INT64:
        return cast_int(value, "ParseInt", err);
    case CAST_FLOAT:
        return cast_float(value, /* single= */ false, err);
    case CAST_FLOAT32:
        return cast_float(value, /* single= */ true, err);
    case CAST_BOOL:
        return cast_bool(l, value, err);
    }
    return 0;
}
