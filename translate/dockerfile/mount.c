#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/csv.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"
#include "translate/dockerfile/internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A mount being read. */
struct reading {
    struct df_mount *m;
    char *value; /* of the key at hand */
    bool ro_said, read_only, sharing_said;
};

void df_mount_clear(struct df_mount *m)
{
    free(m->id);
    free(m->from);
    free(m->source);
    free(m->target);
    free(m->env);
    *m = (struct df_mount){0};
}

static const char *type_name(enum df_mount_type type)
{
    static const char *const names[] = {"bind", "cache", "tmpfs", "secret", "ssh"};

    return names[type];
}

/* The word of a list that value is (whatever its case), or -1. */
static int find_word(const char *value, const char *const *words)
{
    for (int i = 0; words[i]; i++) {
        if (strcasecmp(value, words[i]) == 0)
            return i;
    }
    return -1;
}

static int unknown_word(const char *what, const char *value, const char *const *words, struct err *err)
{
    cleanup_free char *quoted = quote_go_str(value);
    cleanup_free char *hint = df_suggest(value, words, false);

    return err_set(err, 1, "unsupported %s %s%s", what, quoted, hint);
}

static int read_type(struct reading *r, const char *key, struct err *err)
{
    static const char *const types[] = {"bind", "cache", "tmpfs", "secret", "ssh", NULL};
    int type = find_word(r->value, types);

    (void)key;
    if (type < 0)
        return unknown_word("mount type", r->value, types, err);
    r->m->type = (enum df_mount_type)type;
    return 0;
}

static int read_sharing(struct reading *r, const char *key, struct err *err)
{
    static const char *const modes[] = {"shared", "private", "locked", NULL};
    int mode = find_word(r->value, modes);

    (void)key;
    if (mode < 0)
        return unknown_word("sharing value", r->value, modes, err);
    r->m->sharing = (enum df_sharing)mode;
    r->sharing_said = true;
    return 0;
}

/* A key without a value is true. */
static int read_bool(const struct reading *r, const char *key, bool *ret, struct err *err)
{
    *ret = true;
    if (r->value && units_parse_bool(r->value, ret, NULL) < 0)
        return err_set(err, 1, "invalid value for %s: %s", key, r->value);
    return 0;
}

static int read_ro(struct reading *r, const char *key, struct err *err)
{
    r->ro_said = true;
    return read_bool(r, key, &r->read_only, err);
}

static int read_rw(struct reading *r, const char *key, struct err *err)
{
    bool rw;

    if (read_bool(r, key, &rw, err) < 0)
        return -1;
    r->ro_said = true;
    r->read_only = !rw;
    return 0;
}

static int not_for_type(const struct reading *r, const char *key, struct err *err)
{
    return err_set(err, 1, "unexpected key '%s' for mount type '%s'", key, type_name(r->m->type));
}

static int read_required(struct reading *r, const char *key, struct err *err)
{
    if (r->m->type != DF_MOUNT_SECRET && r->m->type != DF_MOUNT_SSH)
        return not_for_type(r, key, err);
    return read_bool(r, key, &r->m->required, err);
}

static int read_size(struct reading *r, const char *key, struct err *err)
{
    if (r->m->type != DF_MOUNT_TMPFS)
        return not_for_type(r, key, err);
    if (units_parse_bytes(r->value, &r->m->size, NULL) < 0)
        return err_set(err, 1, "invalid value for %s: %s", key, r->value);
    return 0;
}

/* A number of 32 bits in this base, without a sign. */
static int read_number(const struct reading *r, const char *key, int base, int64_t *ret, struct err *err)
{
    char *end = NULL;
    unsigned long n;

    errno = 0;
    n = isdigit((unsigned char)*r->value) ? strtoul(r->value, &end, base) : 0;
    if (!end || *end || errno || n > UINT32_MAX)
        return err_set(err, 1, "invalid value %s for %s", r->value, key);
    *ret = (int64_t)n;
    return 0;
}

static int read_mode(struct reading *r, const char *key, struct err *err)
{
    int64_t mode;

    if (read_number(r, key, 8, &mode, err) < 0)
        return -1;
    if (mode > 07777)
        return err_set(err, 1, "invalid value %s for mode", r->value);
    r->m->mode = (int32_t)mode;
    return 0;
}

static int read_uid(struct reading *r, const char *key, struct err *err)
{
    return read_number(r, key, 10, &r->m->uid, err);
}

static int read_gid(struct reading *r, const char *key, struct err *err)
{
    return read_number(r, key, 10, &r->m->gid, err);
}

static int take(char **to, struct reading *r)
{
    free(*to);
    *to = steal(&r->value);
    return 0;
}

#define TEXT_READER(name, member)                                                                                      \
    static int name(struct reading *r, const char *key, struct err *err)                                               \
    {                                                                                                                  \
        (void)key;                                                                                                     \
        (void)err;                                                                                                     \
        return take(&r->m->member, r);                                                                                 \
    }
TEXT_READER(read_from, from)
TEXT_READER(read_source, source)
TEXT_READER(read_target, target)
TEXT_READER(read_id, id)
TEXT_READER(read_env, env)

/* bare: the key may stand without a value. */
static const struct {
    const char *key;
    bool bare;
    int (*read)(struct reading *r, const char *key, struct err *err);
} keys[] = {
    {"type", false, read_type},
    {"from", false, read_from},
    {"source", false, read_source},
    {"target", false, read_target},
    {"readonly", true, read_ro},
    {"id", false, read_id},
    {"sharing", false, read_sharing},
    {"required", true, read_required},
    {"size", false, read_size},
    {"mode", false, read_mode},
    {"uid", false, read_uid},
    {"gid", false, read_gid},
    {"src", false, read_source},
    {"dst", false, read_target},
    {"destination", false, read_target},
    {"ro", true, read_ro},
    {"rw", true, read_rw},
    {"readwrite", true, read_rw},
    {"env", false, read_env},
};

#define KEYS (sizeof(keys) / sizeof(*keys))

static int unknown_key(const char *key, const char *field, struct err *err)
{
    const char *words[KEYS + 1] = {NULL};
    cleanup_free char *hint = NULL;

    for (size_t i = 0; i < KEYS; i++)
        words[i] = keys[i].key;
    hint = df_suggest(key, words, false);
    return err_set(err, 1, "unexpected key '%s' in '%s'%s", key, field, hint);
}

static int read_field(struct reading *r, struct df_eval *e, const char *field, struct err *err)
{
    const char *equal = strchr(field, '=');
    cleanup_free char *key = xstrndup(field, equal ? (size_t)(equal - field) : strlen(field));
    size_t i = 0;

    for (char *c = key; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    /* Without variables only `from` is looked at: which stage or image is used must not depend on them. */
    if (!e && equal && strcmp(key, "from") == 0 && strchr(equal, '$') && strchr(equal, '$')[1])
        return err_set(err, 1, "'from' doesn't support variable expansion, define alias stage instead");
    if (!e && (!equal || (strcmp(key, "from") != 0 && strcmp(key, "target") != 0)))
        return 0;
    while (i < KEYS && strcmp(keys[i].key, key) != 0)
        i++;
    if (!equal && (i == KEYS || !keys[i].bare))
        return err_set(err, 1, "invalid field '%s' must be a key=value pair", field);
    if (i == KEYS)
        return unknown_key(key, field, err);
    free(r->value);
    r->value = NULL;
    if (equal && !e)
        r->value = xstrdup(equal + 1);
    else if (equal && df_eval_expand(e, equal + 1, &r->value, err) < 0)
        return -1;
    return keys[i].read(r, key, err);
}

/* What does not go together. */
static int check_mount(const struct reading *r, struct err *err)
{
    const struct df_mount *m = r->m;
    bool owned = m->type == DF_MOUNT_SECRET || m->type == DF_MOUNT_SSH || m->type == DF_MOUNT_CACHE;
    const char *not_allowed = m->mode >= 0 ? "mode" : (m->uid >= 0 ? "uid" : (m->gid >= 0 ? "gid" : NULL));

    if (!owned && not_allowed)
        return err_set(err, 1, "%s not allowed for \"%s\" type mounts", not_allowed, type_name(m->type));
    if (m->type == DF_MOUNT_SECRET) {
        if (m->from)
            return err_set(err, 1, "secret mount should not have a from");
        if (r->sharing_said)
            return err_set(err, 1, "secret mount should not define sharing");
        if (!m->source && !m->target && !m->id)
            return err_set(err, 1, "invalid secret mount. one of source, target required");
        if (m->source && m->id)
            return err_set(err, 1, "both source and id can't be set");
    }
    if (m->type == DF_MOUNT_SSH && m->source)
        return err_set(err, 1, "ssh does not support source");
    if (r->sharing_said && m->type != DF_MOUNT_CACHE)
        return err_set(err, 1, "invalid cache sharing set for %s mount", type_name(m->type));
    return 0;
}

/* The last part of a path. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* What is not said. */
static int fill_in(struct df_eval *e, struct df_mount *m, struct err *err)
{
    cleanup_free char *workdir = df_eval_workdir(e);
    char *target;

    if (m->type == DF_MOUNT_SECRET) {
        if (!m->id)
            m->id = m->source ? steal(&m->source) : xstrdup(base_name(m->target));
        if (m->env && !*m->env)
            take(&m->env, &(struct reading){.value = xstrdup(m->id)});
        if (!m->target && !m->env)
            m->target = xasprintf("/run/secrets/%s", base_name(m->id));
        if (!*m->id)
            return err_set(err, 1, "invalid secret mount. one of source, target required");
    } else if (m->type == DF_MOUNT_SSH) {
        m->id = m->id ? m->id : xstrdup("default");
        m->target = m->target ? m->target : xstrdup("/run/buildkit/ssh_agent.0");
    } else if (m->type == DF_MOUNT_CACHE && !m->id) {
        m->id = m->target && *m->target != '/' ? xstrdup(m->target) : df_clean_path("", m->target ? m->target : ".");
    }
    if (!m->target && m->type == DF_MOUNT_SECRET)
        return 0;
    target = df_clean_path(workdir, m->target ? m->target : "");
    free(m->target);
    m->target = target;
    return strcmp(target, "/") == 0 ? err_set(err, 1, "invalid mount target \"/\"") : 0;
}

/* Empty texts count as not said. */
static void drop_empty(char **text)
{
    if (*text && !**text) {
        free(*text);
        *text = NULL;
    }
}

int df_mount_parse(struct df_eval *e, const char *value, struct df_mount *ret, struct err *err)
{
    struct df_mount m = {.from_stage = DF_NO_STAGE, .mode = -1, .uid = -1, .gid = -1};
    struct reading r = {.m = &m};
    cleanup_strlist struct strlist fields = STRLIST_INIT;
    int result = csv_fields(value, &fields, err);

    if (result < 0)
        err_wrap(err, "failed to parse csv mounts");
    for (size_t i = 0; i < fields.len && result == 0; i++)
        result = read_field(&r, e, fields.items[i], err);
    free(r.value);
    drop_empty(&m.from);
    drop_empty(&m.source);
    drop_empty(&m.target);
    drop_empty(&m.id);
    if (result == 0 && e) {
        m.read_write = r.ro_said ? !r.read_only : m.type == DF_MOUNT_CACHE || m.type == DF_MOUNT_TMPFS;
        result = check_mount(&r, err);
    }
    if (result == 0 && e)
        result = fill_in(e, &m, err);
    if (result == 0 && e && m.from)
        result = df_from_stage(e->build, m.from, false, &m.from_stage, err);
    if (result < 0)
        df_mount_clear(&m);
    *ret = m;
    return result;
}
