#include "backends/engine/img_config.h"

#include "compat/base/alloc.h"
#include "translate/dockerfile/config.h"

#include <stdlib.h>

/* An empty string counts as not set, as everywhere in Docker. */
static char *set_or_null(const char *s)
{
    return s && *s ? xstrdup(s) : NULL;
}

void img_config_read(const json_t *config, struct image_config *ret)
{
    df_config_list(config, "Entrypoint", &ret->entrypoint);
    df_config_list(config, "Cmd", &ret->cmd);
    df_config_list(config, "Env", &ret->env);
    ret->workdir = set_or_null(df_config_get(config, "WorkingDir"));
    ret->user = set_or_null(df_config_get(config, "User"));
}

void img_image_config_clear(struct image_config *c)
{
    strlist_clear(&c->entrypoint);
    strlist_clear(&c->cmd);
    strlist_clear(&c->env);
    free(c->workdir);
    free(c->user);
    *c = (struct image_config){0};
}
