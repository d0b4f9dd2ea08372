/*
 * --mount: the keys of its record.
 */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/docker/csv.h"
#include "compat/docker/units.h"
#include "translate/input.h"
#include "translate/mounts_private.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* What the record has said so far and is checked at its end. */
struct record {
    struct mount mount;
    const struct input *in;
    bool readonly_needed; /* bind-recursive=writable or readonly */
    bool rprivate_needed; /* bind-recursive=readonly */
};

typedef int key_fn(struct record *r, const char *key, const char *value, struct err *err);

static int invalid_value(const char *key, const char *value, struct err *err)
{
    return err_set(err, 125, "invalid value for %s: %s", key, value);
}

static void replace(char **field, const char *value)
{
    free(*field);
    *field = xstrdup(value);
}

static void replace_lower(char **field, const char *value)
{
    replace(field, value);
    for (char *p = *field; *p; p++)
        *p = (char)tolower((unsigned char)*p);
}

static int set_type(struct record *r, const char *key, const char *value, struct err *err)
{
    enum mount_type type = 0;

    (void)key;
    (void)err;
    replace_lower(&r->mount.type_word, value);
    while (type < MOUNT_TYPE_MAX && strcmp(mount_type_name(type), r->mount.type_word) != 0)
        type++;
    r->mount.type = type;
    return 0;
}

/* Only a source that starts with a dot is taken for a relative path, as in -v. */
static int set_source(struct record *r, const char *key, const char *value, struct err *err)
{
    (void)key;
    if (value[0] == '.' && input_check_path(r->in, value, err) < 0)
        return -1;
    free(r->mount.source);
    r->mount.source = value[0] == '.' ? path_absolute(r->in->cwd, value) : xstrdup(value);
    return 0;
}

static int set_target(struct record *r, const char *key, const char *value, struct err *err)
{
    (void)key;
    (void)err;
    replace(&r->mount.target, value);
    return 0;
}

static int set_bool(bool *field, const char *key, const char *value, struct err *err)
{
    return units_parse_bool(value, field, NULL) < 0 ? invalid_value(key, value, err) : 0;
}

static int set_readonly(struct record *r, const char *key, const char *value, struct err *err)
{
    return set_bool(&r->mount.readonly, key, value, err);
}

static int set_consistency(struct record *r, const char *key, const char *value, struct err *err)
{
    (void)key;
    (void)err;
    replace_lower(&r->mount.consistency, value);
    return 0;
}

static int set_propagation(struct record *r, const char *key, const char *value, struct err *err)
{
    (void)key;
    (void)err;
    replace_lower(&r->mount.propagation, value);
    return 0;
}

/* A synchronised directory has no mounts below it, so that recursion changes nothing; the word is checked all the same.
 */
static int set_recursive(struct record *r, const char *key, const char *value, struct err *err)
{
    r->readonly_needed = strcmp(value, "writable") == 0 || strcmp(value, "readonly") == 0;
    r->rprivate_needed = strcmp(value, "readonly") == 0;
    if (r->readonly_needed || strcmp(value, "enabled") == 0 || strcmp(value, "disabled") == 0)
        return 0;
    return err_set(err, 125,
                   "invalid value for %s: %s (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", key,
                   value);
}

static int set_nonrecursive(struct record *r, const char *key, const char *value, struct err *err)
{
    bool ignored;

    (void)r;
    return set_bool(&ignored, key, value, err);
}

static int set_create_source(struct record *r, const char *key, const char *value, struct err *err)
{
    return set_bool(&r->mount.create_source, key, value, err);
}

static int set_nocopy(struct record *r, const char *key, const char *value, struct err *err)
{
    return set_bool(&r->mount.nocopy, key, value, err);
}

/* "k=v" or "k" into a map. */
static void add_pair(struct strlist *map, const char *value)
{
    size_t len = strcspn(value, "=");
    cleanup_free char *name = xstrndup(value, len);

    if (len > 0)
        strlist_env_set(map, name, value[len] ? value + len + 1 : "");
}

static int add_label(struct record *r, const char *key, const char *value, struct err *err)
{
    (void)key;
    (void)err;
    add_pair(&r->mount.labels, value);
    return 0;
}

static int add_driver_opt(struct record *r, const char *key, const char *value, struct err *err)
{
    (void)key;
    (void)err;
    add_pair(&r->mount.driver_opts, value);
    return 0;
}

static int set_driver(struct record *r, const char *key, const char *value, struct err *err)
{
    (void)key;
    (void)err;
    replace(&r->mount.driver, value);
    return 0;
}

static int set_subpath(struct record *r, const char *key, const char *value, struct err *err)
{
    (void)key;
    (void)err;
    replace(&r->mount.subpath, value);
    return 0;
}

static int set_tmpfs_size(struct record *r, const char *key, const char *value, struct err *err)
{
    return units_parse_bytes(value, &r->mount.tmpfs_size, NULL) < 0 ? invalid_value(key, value, err) : 0;
}

static int set_tmpfs_mode(struct record *r, const char *key, const char *value, struct err *err)
{
    uint64_t mode = 0;

    if (value[0] == '\0' || strlen(value) > 11 || value[strspn(value, "01234567")] != '\0')
        return invalid_value(key, value, err);
    for (const char *p = value; *p; p++)
        mode = mode * 8 + (uint64_t)(*p - '0');
    if (mode > UINT32_MAX)
        return invalid_value(key, value, err);
    r->mount.tmpfs_mode = (uint32_t)mode;
    return 0;
}

#define NO_GROUP MOUNT_TYPE_MAX

static const struct mount_key {
    const char *name;
    enum mount_type group; /* the kind that it belongs to, NO_GROUP = any */
    bool alone;            /* may stand without a value, which is true then */
    key_fn *set;
} mount_keys[] = {
    {"bind-create-src", MOUNT_BIND, true, set_create_source},
    {"bind-nonrecursive", MOUNT_BIND, true, set_nonrecursive},
    {"bind-propagation", MOUNT_BIND, false, set_propagation},
    {"bind-recursive", MOUNT_BIND, false, set_recursive},
    {"consistency", NO_GROUP, false, set_consistency},
    {"destination", NO_GROUP, false, set_target},
    {"dst", NO_GROUP, false, set_target},
    {"image-subpath", MOUNT_IMAGE, false, set_subpath},
    {"readonly", NO_GROUP, true, set_readonly},
    {"ro", NO_GROUP, true, set_readonly},
    {"source", NO_GROUP, false, set_source},
    {"src", NO_GROUP, false, set_source},
    {"target", NO_GROUP, false, set_target},
    {"tmpfs-mode", MOUNT_TMPFS, false, set_tmpfs_mode},
    {"tmpfs-size", MOUNT_TMPFS, false, set_tmpfs_size},
    {"type", NO_GROUP, false, set_type},
    {"volume-driver", MOUNT_VOLUME, false, set_driver},
    {"volume-label", MOUNT_VOLUME, false, add_label},
    {"volume-nocopy", MOUNT_VOLUME, true, set_nocopy},
    {"volume-opt", MOUNT_VOLUME, false, add_driver_opt},
    {"volume-subpath", MOUNT_VOLUME, false, set_subpath},
};

static const struct mount_key *find_key(const char *name)
{
    for (size_t i = 0; i < sizeof(mount_keys) / sizeof(mount_keys[0]); i++)
        if (strcmp(mount_keys[i].name, name) == 0)
            return &mount_keys[i];
    return NULL;
}

/* One key[=value] of the record. */
static int read_field(struct record *r, const char *field, struct err *err)
{
    const char *eq = strchr(field, '=');
    cleanup_free char *raw = eq ? xstrndup(field, (size_t)(eq - field)) : xstrdup(field);
    cleanup_free char *name = NULL;
    const struct mount_key *key;

    replace_lower(&name, raw);
    key = find_key(name);
    if (!eq && (!key || !key->alone))
        return err_set(err, 125, "invalid field '%s' must be a key=value pair", field);
    if (!key)
        return err_set(err, 125, "unexpected key '%s' in '%s'", name, field);
    if (key->group != NO_GROUP)
        r->mount.option_groups |= 1u << key->group;
    return key->set(r, name, eq ? eq + 1 : "true", err);
}

/* What the keys say together. */
static int check_record(const struct record *r, struct err *err)
{
    static const enum mount_type order[] = {MOUNT_VOLUME, MOUNT_IMAGE, MOUNT_BIND, MOUNT_TMPFS};
    const struct mount *m = &r->mount;

    if (m->type_word && m->type_word[0] == '\0')
        return err_set(err, 125, "type is required");
    if (!m->target || m->target[0] == '\0')
        return err_set(err, 125, "target is required");
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if ((m->option_groups & (1u << order[i])) && m->type != order[i])
            return err_set(err, 125, "cannot mix '%s-*' options with mount type '%s'", mount_type_name(order[i]),
                           m->type_word ? m->type_word : mount_type_name(m->type));
    if (r->readonly_needed && !m->readonly)
        return err_set(err, 125, "option 'bind-recursive=%s' requires 'readonly' to be specified in conjunction",
                       r->rprivate_needed ? "readonly" : "writable");
    if (r->rprivate_needed && (!m->propagation || strcmp(m->propagation, "rprivate") != 0))
        return err_set(err, 125,
                       "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in "
                       "conjunction");
    return 0;
}

static int read_record(struct record *r, const char *spec, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;

    if (csv_fields(spec, &fields, err) < 0) {
        if (err)
            err->exit_code = 125;
        return -1;
    }
    for (size_t i = 0; i < fields.len; i++)
        if (read_field(r, fields.items[i], err) < 0)
            return -1;
    return check_record(r, err);
}

int mounts_add_mount(struct mounts *m, const char *spec, const struct input *in, struct err *err)
{
    struct record r = {.in = in, .mount = {.type = MOUNT_VOLUME, .from_mount = true, .spec = xstrdup(spec)}};

    if (read_record(&r, spec, err) < 0) {
        mount_clear(&r.mount);
        return -1;
    }
    if (r.mount.type != MOUNT_BIND && r.mount.source && r.mount.source[0] == '\0') {
        free(r.mount.source);
        r.mount.source = NULL;
    }
    mounts_take(m, &r.mount);
    return 0;
}
