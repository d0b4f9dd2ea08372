#include "shim/build/secret.h"

#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/csv.h"
#include "compat/sys/fs.h"

#include <string.h>

#define SECRET_MAX  (500u << 10) /* BuildKit's own */
#define SECRETS_MAX 64u

struct secret {
    char *id, *src, *env, *type;
};

static void secret_clear(struct secret *s)
{
    free(s->id);
    free(s->src);
    free(s->env);
    free(s->type);
}

char *build_secret_name(const char *prefix, const char *id)
{
    cleanup_buf struct buf name = BUF_INIT(4096);

    buf_adds(&name, prefix);
    for (; *id; id++)
        buf_addf(&name, "%02x", (unsigned char)*id);
    return buf_detach(&name);
}

/* The fields of one value. */
static int parse(const char *text, struct secret *ret, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;

    if (csv_fields(text, &fields, err) < 0)
        return err_wrap(err, "failed to parse csv secret");
    for (size_t i = 0; i < fields.len; i++) {
        const char *f = fields.items[i], *equals = strchr(f, '=');
        size_t len = equals ? (size_t)(equals - f) : 0;
        char **to = NULL;

        if (!equals)
            return err_set(err, 1, "invalid field '%s' must be a key=value pair", f);
        if (len == 2 && !strncasecmp(f, "id", len))
            to = &ret->id;
        else if ((len == 3 && !strncasecmp(f, "src", len)) || (len == 6 && !strncasecmp(f, "source", len)))
            to = &ret->src;
        else if (len == 3 && !strncasecmp(f, "env", len))
            to = &ret->env;
        else if (len == 4 && !strncasecmp(f, "type", len))
            to = &ret->type;
        else
            return err_set(err, 1, "unexpected key '%.*s' in '%s'", (int)len, f, f);
        free(*to);
        *to = xstrdup(equals + 1);
    }
    if (!ret->id || !*ret->id || strlen(ret->id) > 1000)
        return err_set(err, 1, "secret missing id: %s", text);
    if (ret->type && strcmp(ret->type, "file") && strcmp(ret->type, "env"))
        return err_set(err, 1, "unsupported secret type \"%s\"", ret->type);
    return 0;
}

/* Where the value is: what was said, else the variable of its name, else the file of its name. */
static int load(struct secret *s, struct buf *ret, struct err *err)
{
    const char *value;
    bool of_env = s->type && !strcmp(s->type, "env");

    if (of_env && s->src && !s->env) {
        s->env = s->src;
        s->src = NULL;
    }
    if (!s->src && !s->env && (of_env || (!s->type && getenv(s->id))))
        s->env = xstrdup(s->id);
    if (s->env) {
        value = getenv(s->env);
        if (!value)
            return err_set(err, 1, "failed to get secret %s: environment variable %s is not set", s->id, s->env);
        if (buf_adds(ret, value) < 0)
            return err_set(err, 1, "invalid secret size: %s is larger than 500KiB", s->id);
        return 0;
    }
    if (fs_read_file(s->src ? s->src : s->id, ret, err) < 0)
        return ret->overflowed ? err_set(err, 1, "invalid secret size: %s is larger than 500KiB", s->id)
                               : err_wrap(err, "failed to stat secret %s", s->id);
    return 0;
}

static int add(const char *text, struct strlist *ret_env, struct strlist *ret_ids, struct err *err)
{
    cleanup_with(secret_clear) struct secret s = {0};
    cleanup_buf struct buf value = BUF_INIT(SECRET_MAX), line = BUF_INIT(2 * SECRET_MAX + 4096);
    cleanup_free char *name = NULL;

    if (parse(text, &s, err) < 0 || load(&s, &value, err) < 0)
        return -1;
    if (strlist_has(ret_ids, s.id))
        return err_set(err, 1, "duplicate secret id: %s", s.id);
    name = build_secret_name(BUILD_SECRET_PREFIX, s.id);
    buf_addf(&line, "%s=", name);
    grpc_base64_encode(&line, value.data, value.len);
    strlist_add(ret_env, line.data);
    strlist_add(ret_ids, s.id);
    explicit_bzero(line.data, line.len);
    if (value.len)
        explicit_bzero(value.data, value.len);
    return 0;
}

int build_secrets_read(const struct strlist *given, struct strlist *ret_env, struct strlist *ret_ids, struct err *err)
{
    if (given->len > SECRETS_MAX)
        return err_set(err, 1, "more than %u secrets", SECRETS_MAX);
    for (size_t i = 0; i < given->len; i++)
        if (add(given->items[i], ret_env, ret_ids, err) < 0)
            return -1;
    return 0;
}
