#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/dockerfile/config.h"
#include "translate/dockerfile/internal.h"

#include <stdlib.h>
#include <string.h>

void df_eval_init(struct df_eval *e, json_t *config, char escape)
{
    cleanup_strlist struct strlist env = STRLIST_INIT;

    *e = (struct df_eval){.config = config, .escape = escape, .stage = DF_NO_STAGE};
    df_config_list(config, "Env", &env);
    for (size_t i = 0; i < env.len; i++) {
        const char *equal = strchr(env.items[i], '=');
        cleanup_free char *name = xstrndup(env.items[i], equal ? (size_t)(equal - env.items[i]) : strlen(env.items[i]));

        strlist_env_set(&e->env, name, equal ? equal + 1 : "");
    }
}

void df_eval_clear(struct df_eval *e)
{
    strlist_clear(&e->env);
    strlist_clear(&e->args);
}

const char *df_eval_lookup(const char *name, void *eval)
{
    return strlist_env_get(&((struct df_eval *)eval)->env, name);
}

int df_eval_expand(struct df_eval *e, const char *word, char **ret, struct err *err)
{
    return df_expand(word, e->escape, df_eval_lookup, e, ret, err);
}

char *df_clean_path(const char *parent, const char *path)
{
    struct buf out cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);
    cleanup_free char *joined = *path == '/' ? xstrdup(path) : xasprintf("%s/%s", parent ? parent : "", path);

    for (const char *p = joined; *p;) {
        size_t len = strcspn(p, "/");

        if (len == 2 && strncmp(p, "..", 2) == 0) {
            const char *slash = strrchr(out.data, '/');

            buf_truncate(&out, slash ? (size_t)(slash - out.data) : 0);
        } else if (len && !(len == 1 && *p == '.')) {
            buf_addc(&out, '/');
            buf_add(&out, p, len);
        }
        p += len;
        p += *p == '/';
    }
    return out.len ? buf_detach(&out) : xstrdup("/");
}

char *df_eval_workdir(const struct df_eval *e)
{
    const char *dir = df_config_get(e->config, "WorkingDir");

    return df_clean_path("", dir ? dir : "");
}

void df_list_of(const struct df_instruction *in, struct strlist *ret)
{
    if (!df_json(in->rest, ret))
        df_fields(in->rest, ret);
}

bool df_command_words(const struct df_eval *e, const char *rest, struct strlist *ret)
{
    if (df_json(rest, ret))
        return false;
    df_config_list(e->config, "Shell", ret);
    if (!ret->len) {
        strlist_add(ret, "/bin/sh");
        strlist_add(ret, "-c");
    }
    strlist_add(ret, rest);
    return true;
}
