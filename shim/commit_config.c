/* The configuration of an image that a container becomes. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"
#include "compat/base/strlist.h"
#include "shim/commit.h"
#include "shim/container.h"
#include "translate/dockerfile/config.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

/* What of a container's configuration an image has; the container's is merged with its own image's already. */
static const char *const kept[] = {"User",    "ExposedPorts", "Env",        "Cmd",        "Healthcheck",
                                   "Volumes", "WorkingDir",   "Entrypoint", "StopSignal", "Labels"};
/* What the new image has in common with the old one. */
static const char *const common[] = {"architecture", "variant", "os", "os.version", "os.features", "rootfs", "history"};

static bool is_empty(const json_t *value)
{
    return !value || json_is_null(value) || (json_is_array(value) && !json_array_size(value)) ||
           (json_is_object(value) && !json_object_size(value)) || (json_is_string(value) && !*json_string_value(value));
}

/* The "Config" of a container's record. */
static json_t *record_config(const struct container *c, json_t **ret_record)
{
    *ret_record = c->row.record ? json_loads(c->row.record, 0, NULL) : NULL;
    return json_object_get(*ret_record, "Config");
}

void commit_closed(const struct container *c, struct strlist *ret)
{
    cleanup_with(df_config_freep) json_t *record = NULL;
    json_t *volumes, *value;
    const char *path;

    for (size_t i = 0; i < c->spec.mounts.len; i++)
        strlist_add(ret, c->spec.mounts.items[i].target);
    volumes = json_object_get(record_config(c, &record), "Volumes");
    json_object_foreach(volumes, path, value) strlist_add_owned(ret, path_absolute("/", path));
}

json_t *commit_config(struct container *c, const char *parent_config, const struct commit_request *req, struct err *err)
{
    cleanup_with(df_config_freep) json_t *parent = df_config_load(parent_config, strlen(parent_config), err);
    cleanup_with(df_config_freep) json_t *config = json_object(), *record = NULL;
    json_t *from = record_config(c, &record), *inner = json_object();

    json_object_set_new(config, "config", inner);
    if (!parent)
        return NULL;
    for (size_t i = 0; i < sizeof(common) / sizeof(*common); i++)
        if (json_object_get(parent, common[i]))
            json_object_set(config, common[i], json_object_get(parent, common[i]));
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
        if (!is_empty(json_object_get(from, kept[i])))
            json_object_set(inner, kept[i], json_object_get(from, kept[i]));
    return df_config_changes(config, req->changes, err) < 0 ? NULL : steal(&config);
}

/* The words of the container's command, as history shows them; owned by caller. */
static char *created_by(const struct container *c)
{
    cleanup_with(df_config_freep) json_t *record = NULL;
    struct buf line = BUF_INIT(LIMIT_MANIFEST);
    const json_t *words = json_object_get(record_config(c, &record), "Cmd"), *word;
    size_t i;

    json_array_foreach(words, i, word)
        buf_addf(&line, "%s%s", i ? " " : "", json_string_value(word) ? json_string_value(word) : "");
    return buf_detach(&line);
}

/* Now, as Go writes it in JSON: nanoseconds, without the zeros at their end; owned by caller. */
static char *now_text(void)
{
    char when[32], fraction[16];
    struct timespec now;
    struct tm tm;
    size_t len;

    clock_gettime(CLOCK_REALTIME, &now);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &tm));
    snprintf(fraction, sizeof(fraction), ".%09ld", now.tv_nsec);
    len = strlen(fraction);
    while (fraction[len - 1] == '0')
        len--;
    fraction[len == 1 ? 0 : len] = '\0';
    return xasprintf("%s%sZ", when, fraction);
}

static json_t *array_of(json_t *object, const char *key)
{
    json_t *list = json_object_get(object, key);

    if (!json_is_array(list)) {
        list = json_array();
        json_object_set_new(object, key, list);
    }
    return list;
}

char *commit_config_text(json_t *config, struct container *c, const struct commit_request *req, const char *diff_id)
{
    cleanup_free char *now = now_text(), *by = created_by(c);
    json_t *entry = json_pack("{s:s}", "created", now), *rootfs = json_object_get(config, "rootfs");

    if (*req->author) {
        json_object_set_new(entry, "author", json_string(req->author));
        json_object_set_new(config, "author", json_string(req->author));
    }
    if (*by)
        json_object_set_new(entry, "created_by", json_string(by));
    if (*req->message)
        json_object_set_new(entry, "comment", json_string(req->message));
    if (!diff_id)
        json_object_set_new(entry, "empty_layer", json_true());
    json_array_append_new(array_of(config, "history"), entry);
    if (!json_is_object(rootfs)) {
        rootfs = json_pack("{s:s, s:[]}", "type", "layers", "diff_ids");
        json_object_set_new(config, "rootfs", rootfs);
    }
    if (diff_id)
        json_array_append_new(array_of(rootfs, "diff_ids"), json_string(diff_id));
    json_object_set_new(config, "created", json_string(now));
    return df_config_text(config);
}
