/* The checks that docker makes on structured values while it parses: --mount, --network, --ulimit, --gpus. */
#include "compat/docker/opt_value.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/csv.h"
#include "compat/docker/units.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static char *lower(const char *s, size_t len)
{
    char *copy = xstrndup(s, len);

    for (char *p = copy; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return copy;
}

/* The same without blanks at both ends. */
static char *lower_trimmed(const char *s, size_t len)
{
    for (; len && isspace((unsigned char)*s); len--)
        s++;
    while (len && isspace((unsigned char)s[len - 1]))
        len--;
    return lower(s, len);
}

static bool one_of(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (!strcmp(s, *words))
            return true;
    return false;
}

/* What one --mount record says, as far as its checks need it. */
struct mount {
    char *type;
    bool target, readonly, propagation_rprivate;
    bool bind, volume, tmpfs, image; /* options of that family were given */
    char *recursive;
};

static void mount_clear(struct mount *m)
{
    free(m->type);
    free(m->recursive);
}

static int bad_value(const char *key, const char *value, struct err *err)
{
    return err_set(err, 0, "invalid value for %s: %s", key, value);
}

/* bind-recursive: how a read-only mount treats mounts below it. */
static int mount_recursive(struct mount *m, const char *value, struct err *err)
{
    static const char *const words[] = {"enabled", "disabled", "writable", "readonly", NULL};

    if (!one_of(value, words))
        return err_set(err, 0,
                       "invalid value for bind-recursive: %s (must be \"enabled\", \"disabled\", \"writable\", "
                       "or \"readonly\")",
                       value);
    free(m->recursive);
    m->recursive = xstrdup(value);
    return 0;
}

/* Checks the value of a key that takes one of a few forms. */
static int mount_value(struct mount *m, const char *key, const char *value, struct err *err)
{
    bool truth = false;
    int64_t bytes;
    char *end;

    if (!strcmp(key, "readonly") || !strcmp(key, "ro") || !strcmp(key, "volume-nocopy") ||
        !strcmp(key, "bind-nonrecursive")) {
        if (units_parse_bool(value, &truth, NULL) < 0)
            return bad_value(key, value, err);
        if (*key == 'r')
            m->readonly = truth;
    } else if (!strcmp(key, "tmpfs-size")) {
        if (units_parse_bytes(value, &bytes, NULL) < 0)
            return bad_value(key, value, err);
    } else if (!strcmp(key, "tmpfs-mode")) {
        if (!isdigit((unsigned char)*value) || strtoull(value, &end, 8) > UINT32_MAX || *end)
            return bad_value(key, value, err);
    } else if (!strcmp(key, "bind-recursive")) {
        return mount_recursive(m, value, err);
    } else if (!strcmp(key, "bind-propagation")) {
        m->propagation_rprivate = !strcasecmp(value, "rprivate");
    } else if (!strcmp(key, "type")) {
        free(m->type);
        m->type = lower(value, strlen(value));
    } else if (!strcmp(key, "target") || !strcmp(key, "dst") || !strcmp(key, "destination")) {
        m->target = *value;
    }
    return 0;
}

static int mount_field(struct mount *m, const char *field, struct err *err)
{
    static const char *const keys[] = {
        "type",
        "source",
        "src",
        "target",
        "dst",
        "destination",
        "readonly",
        "ro",
        "consistency",
        "bind-propagation",
        "bind-nonrecursive",
        "bind-recursive",
        "volume-subpath",
        "volume-nocopy",
        "volume-label",
        "volume-driver",
        "volume-opt",
        "image-subpath",
        "tmpfs-size",
        "tmpfs-mode",
        NULL,
    };
    static const char *const switches[] = {"readonly", "ro", "volume-nocopy", "bind-nonrecursive", NULL};
    const char *equals = strchr(field, '=');
    cleanup_free char *key = lower(field, equals ? (size_t)(equals - field) : strlen(field));

    if (!equals && !one_of(key, switches))
        return err_set(err, 0, "invalid field '%s' must be a key=value pair", field);
    if (!one_of(key, keys))
        return err_set(err, 0, "unexpected key '%s' in '%s'", key, field);
    m->bind = m->bind || !strncmp(key, "bind-", 5);
    m->volume = m->volume || !strncmp(key, "volume-", 7);
    m->tmpfs = m->tmpfs || !strncmp(key, "tmpfs-", 6);
    m->image = m->image || !strncmp(key, "image-", 6);
    return mount_value(m, key, equals ? equals + 1 : "true", err);
}

/* What must hold between the fields. */
static int mount_whole(const struct mount *m, struct err *err)
{
    const char *type = m->type ? m->type : "volume";
    const char *mixed = m->volume && strcmp(type, "volume") ? "volume"
                        : m->image && strcmp(type, "image") ? "image"
                        : m->bind && strcmp(type, "bind")   ? "bind"
                        : m->tmpfs && strcmp(type, "tmpfs") ? "tmpfs"
                                                            : NULL;

    if (!*type)
        return err_set(err, 0, "type is required");
    if (!m->target)
        return err_set(err, 0, "target is required");
    if (mixed)
        return err_set(err, 0, "cannot mix '%s-*' options with mount type '%s'", mixed, type);
    if (!m->recursive || (strcmp(m->recursive, "readonly") && strcmp(m->recursive, "writable")))
        return 0;
    if (!m->readonly)
        return err_set(err, 0, "option 'bind-recursive=%s' requires 'readonly' to be specified in conjunction",
                       m->recursive);
    if (!strcmp(m->recursive, "readonly") && !m->propagation_rprivate)
        return err_set(err, 0,
                       "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in "
                       "conjunction");
    return 0;
}

int opt_check_mount(const char *value, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;
    __attribute__((cleanup(mount_clear))) struct mount m = {0};

    if (csv_fields(value, &fields, err) < 0)
        return -1;
    for (size_t i = 0; i < fields.len; i++)
        if (mount_field(&m, fields.items[i], err) < 0)
            return -1;
    return mount_whole(&m, err);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Docker takes a --network value for its long form when a word, "=" and a word follow each other somewhere. */
static bool is_long_form(const char *value)
{
    for (const char *p = strchr(value, '='); p; p = strchr(p + 1, '='))
        if (p > value && is_word(p[-1]) && is_word(p[1]))
            return true;
    return false;
}

static int network_field(const char *field, bool *named, struct err *err)
{
    static const char *const keys[] = {"alias", "ip", "ip6", "mac-address", "link-local-ip", NULL};
    const char *equals = strchr(field, '=');
    cleanup_free char *key = equals ? lower_trimmed(field, (size_t)(equals - field)) : NULL;
    int64_t number;

    if (!equals || equals == field)
        return err_set(err, 0, "invalid field %s", field);
    if (!strcmp(key, "name")) {
        *named = equals[1];
        return 0;
    }
    if (!strcmp(key, "driver-opt"))
        return strchr(equals + 1, '=') ? 0 : err_set(err, 0, "invalid key value pair format in driver options");
    if (!strcmp(key, "gw-priority")) {
        cleanup_err struct err bad = ERR_INIT;

        if (units_parse_int10(equals + 1, 64, &number, &bad) == 0)
            return 0;
        return err_set(err, 0, "invalid gw-priority (%s): %s", equals + 1, strrchr(bad.msg, ':') + 2);
    }
    return one_of(key, keys) ? 0 : err_set(err, 0, "invalid field key %s", key);
}

int opt_check_network(const char *value, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;
    bool named = false;

    if (!is_long_form(value))
        return 0;
    if (csv_fields(value, &fields, err) < 0)
        return -1;
    for (size_t i = 0; i < fields.len; i++)
        if (network_field(fields.items[i], &named, err) < 0)
            return -1;
    return named ? 0 : err_set(err, 0, "network name/id is not specified");
}

/* "name=soft[:hard]"; -1 is unlimited. */
int opt_check_ulimit(const char *value, struct err *err)
{
    static const char *const names[] = {"core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
                                        "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack",    NULL};
    const char *equals = strchr(value, '='), *colon, *limits;
    cleanup_free char *name = xstrndup(value, equals ? (size_t)(equals - value) : 0), *first = NULL;
    int64_t soft = 0, hard = 0;

    if (!equals)
        return err_set(err, 0, "invalid ulimit argument: %s", value);
    if (!one_of(name, names))
        return err_set(err, 0, "invalid ulimit type: %s", name);
    limits = equals + 1;
    colon = strchr(limits, ':');
    if (colon && strchr(colon + 1, ':'))
        return err_set(err, 0, "too many limit value arguments - %s, can only have up to two, `soft[:hard]`", limits);
    first = xstrndup(limits, colon ? (size_t)(colon - limits) : strlen(limits));
    if (units_parse_int10(first, 64, &soft, err) < 0 || (colon && units_parse_int10(colon + 1, 64, &hard, err) < 0))
        return -1;
    if (!colon || hard == -1)
        return 0;
    if (soft == -1)
        return err_set(err, 0,
                       "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: %lld",
                       (long long)hard);
    if (soft > hard)
        return err_set(err, 0, "ulimit soft limit must be less than or equal to hard limit: %lld > %lld",
                       (long long)soft, (long long)hard);
    return 0;
}

/* "all" or a whole number. */
static int gpu_count(const char *text, struct err *err)
{
    cleanup_err struct err bad = ERR_INIT;
    int64_t count;

    if (!strcmp(text, "all") || units_parse_int10(text, 64, &count, &bad) == 0)
        return 0;
    return err_set(err, 0, "invalid count (%s): value must be either \"all\" or an integer: %s", text,
                   strrchr(bad.msg, ':') + 2);
}

int opt_check_gpus(const char *value, struct err *err)
{
    static const char *const keys[] = {"driver", "count", "device", "capabilities", "options", NULL};
    cleanup_strlist struct strlist fields = STRLIST_INIT, seen = STRLIST_INIT;

    if (csv_fields(value, &fields, err) < 0)
        return -1;
    for (size_t i = 0; i < fields.len; i++) {
        const char *field = fields.items[i], *equals = strchr(field, '=');
        cleanup_free char *key = xstrndup(field, equals ? (size_t)(equals - field) : strlen(field));

        if (strlist_has(&seen, key))
            return err_set(err, 0, "gpu request key '%s' can be specified only once", key);
        strlist_add(&seen, key);
        if (equals && !one_of(key, keys))
            return err_set(err, 0, "unexpected key '%s' in '%s'", key, field);
        if ((!equals || !strcmp(key, "count")) && gpu_count(equals ? equals + 1 : field, err) < 0)
            return -1;
    }
    return 0;
}
