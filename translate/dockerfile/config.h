/*
 * An image's OCI configuration as a document that instructions change. What we do not know in it stays as it is.
 */
#ifndef ATP_TRANSLATE_DOCKERFILE_CONFIG_H
#define ATP_TRANSLATE_DOCKERFILE_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct err;
struct strlist;

json_t *df_config_new(void); /* linux/amd64, PATH as BuildKit sets it for scratch, nothing else set */
/* Parses a registry's configuration; anything of a wrong type in what we use is an error (err->code = EBADMSG). */
json_t *df_config_load(const char *text, size_t len, struct err *err);
void df_config_freep(json_t **config);
char *df_config_text(const json_t *config); /* compact, members in the order of Docker's own; owned by caller */

/* Members of "config": a string (NULL removes), a list (NULL removes), one key of an object of strings or empty
 * objects. */
void df_config_set(json_t *config, const char *key, const char *value);
const char *df_config_get(const json_t *config, const char *key);
void df_config_set_list(json_t *config, const char *key, const struct strlist *values);
void df_config_list(const json_t *config, const char *key, struct strlist *ret);
void df_config_put(json_t *config, const char *object, const char *key, const char *value_or_null);

/* One line of history at its end, as BuildKit writes them. created: RFC 3339, or NULL for none. */
void df_config_add_history(json_t *config, const char *created_by, const char *created, bool empty_layer);

/* Diff ids of the layers ("sha256:..."), bottom first, appended to ret. */
void df_config_diff_ids(const json_t *config, struct strlist *ret);

/*
 * `commit --change` and `import --change`: Dockerfile lines that change the configuration only (CMD, ENTRYPOINT, ENV,
 * EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR; as in Docker SHELL is none of them). Others:
 * "run is not a valid change command". All lines of a command at once: ENTRYPOINT takes the image's CMD away, but not
 * one that an earlier line set. Nothing is changed when a line is wrong.
 */
int df_config_changes(json_t *config, const struct strlist *lines, struct err *err);
int df_config_change(json_t *config, const char *line, struct err *err);

#endif
