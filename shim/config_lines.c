#include "shim/config_lines.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "translate/dockerfile/config.h"

#include <jansson.h>
#include <string.h>

/* Whether a line of a Dockerfile can hold it. */
static bool is_plain(const char *text)
{
    return text && !strpbrk(text, "\n\r");
}

/* In double quotes, with what means something in them made plain; owned by caller. */
static char *quoted(const char *text)
{
    struct buf b = BUF_INIT(LIMIT_MANIFEST);

    buf_addc(&b, '"');
    for (; *text; text++) {
        if (strchr("\\\"$", *text))
            buf_addc(&b, '\\');
        buf_addc(&b, *text);
    }
    buf_addc(&b, '"');
    return buf_detach(&b);
}

/* A word without quotes (WORKDIR, USER, EXPOSE): only its dollars and backslashes mean something. */
static char *escaped(const char *text)
{
    struct buf b = BUF_INIT(LIMIT_MANIFEST);

    for (; *text; text++) {
        if (strchr("\\$", *text))
            buf_addc(&b, '\\');
        buf_addc(&b, *text);
    }
    return buf_detach(&b);
}

static void add_env(const json_t *list, struct strlist *ret)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(item), *equals = text ? strchr(text, '=') : NULL;
        cleanup_free char *value = NULL;

        if (!is_plain(text) || !equals || equals == text || strcspn(text, " \t\"'\\$") < (size_t)(equals - text))
            continue;
        value = quoted(equals + 1);
        strlist_addf(ret, "ENV %.*s=%s", (int)(equals - text), text, value);
    }
}

static void add_labels(const json_t *object, struct strlist *ret)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        cleanup_free char *name = NULL, *text = NULL;

        if (!is_plain(key) || !is_plain(json_string_value(value)))
            continue;
        name = quoted(key);
        text = quoted(json_string_value(value));
        strlist_addf(ret, "LABEL %s=%s", name, text);
    }
}

/* CMD, ENTRYPOINT, SHELL and VOLUME in their JSON form. */
static void add_list(const char *word, const json_t *list, bool also_empty, struct strlist *ret)
{
    cleanup_free char *text = json_is_array(list) ? json_dumps(list, JSON_COMPACT) : NULL;

    if (text && json_array_size(list))
        strlist_addf(ret, "%s %s", word, text);
    else if (also_empty)
        strlist_addf(ret, "%s []", word);
}

static void add_word(const char *word, const json_t *value, const char *otherwise, struct strlist *ret)
{
    const char *text = json_string_value(value);
    cleanup_free char *plain = NULL;

    if (!text || !*text)
        text = otherwise;
    if (!text || !is_plain(text))
        return;
    plain = escaped(text);
    strlist_addf(ret, "%s %s", word, plain);
}

static void add_ports(const json_t *object, struct strlist *ret)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        if (strspn(key, "0123456789-/tcpudsp") == strlen(key))
            strlist_addf(ret, "EXPOSE %s", key);
    }
}

static void add_volumes(const json_t *object, struct strlist *ret)
{
    json_t *paths = json_array(), *value;
    const char *key;

    json_object_foreach((json_t *)object, key, value) json_array_append_new(paths, json_string(key));
    add_list("VOLUME", paths, false, ret);
    json_decref(paths);
}

/* Nanoseconds as Go reads a duration. */
static void add_duration(struct buf *b, const char *flag, const json_t *value)
{
    if (json_integer_value(value) > 0)
        buf_addf(b, " --%s=%lldns", flag, (long long)json_integer_value(value));
}

static void add_health(const json_t *health, struct strlist *ret)
{
    const json_t *test = json_object_get(health, "Test");
    const char *kind = json_string_value(json_array_get(test, 0)), *shell = json_string_value(json_array_get(test, 1));
    cleanup_buf struct buf b = BUF_INIT(LIMIT_MANIFEST);
    cleanup_free char *words = NULL;
    json_t *rest;

    if (!kind)
        return;
    buf_adds(&b, "HEALTHCHECK");
    add_duration(&b, "interval", json_object_get(health, "Interval"));
    add_duration(&b, "timeout", json_object_get(health, "Timeout"));
    add_duration(&b, "start-period", json_object_get(health, "StartPeriod"));
    add_duration(&b, "start-interval", json_object_get(health, "StartInterval"));
    if (json_integer_value(json_object_get(health, "Retries")) > 0)
        buf_addf(&b, " --retries=%lld", (long long)json_integer_value(json_object_get(health, "Retries")));
    rest = json_copy((json_t *)test);
    json_array_remove(rest, 0);
    words = json_dumps(rest, JSON_COMPACT);
    json_decref(rest);
    if (!strcmp(kind, "NONE"))
        strlist_add(ret, "HEALTHCHECK NONE");
    else if (!strcmp(kind, "CMD") && !b.overflowed)
        strlist_addf(ret, "%s CMD %s", b.data, words);
    else if (!strcmp(kind, "CMD-SHELL") && is_plain(shell) && *shell && shell[strlen(shell) - 1] != '\\')
        strlist_addf(ret, "%s CMD %s", b.data, shell);
}

/* Whether ONBUILD with this text is understood as just that; here-documents are part of it. */
static bool is_trigger(const char *line, const char *text)
{
    cleanup_with(df_config_freep) json_t *config = json_pack("{s:{}}", "config");
    cleanup_strlist struct strlist lines = STRLIST_INIT, triggers = STRLIST_INIT;

    strlist_add(&lines, line);
    if (df_config_changes(config, &lines, NULL) < 0)
        return false;
    df_config_list(config, "OnBuild", &triggers);
    return triggers.len == 1 && !strcmp(triggers.items[0], text);
}

static void add_triggers(const json_t *list, struct strlist *ret)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(item);
        cleanup_free char *line = text ? xasprintf("ONBUILD %s", text) : NULL;

        if (line && is_trigger(line, text))
            strlist_add(ret, line);
    }
}

bool config_has_triggers(const char *config)
{
    json_auto_t *root = config ? json_loads(config, 0, NULL) : NULL;

    return json_array_size(json_object_get(json_object_get(root, "config"), "OnBuild")) > 0;
}

bool config_from_lines(const char *from, const char *config, struct strlist *ret)
{
    if (!config_has_triggers(config)) {
        strlist_addf(ret, "FROM %s", from);
        return false;
    }
    strlist_add(ret, "FROM scratch");
    strlist_addf(ret, "COPY --from=%s / /", from);
    return true;
}

void config_lines(const char *config, enum config_lines_base base, struct strlist *ret)
{
    json_auto_t *root = json_loads(config, 0, NULL);
    const json_t *c = json_object_get(root, "config");
    bool over = base == CONFIG_LINES_OVER;

    add_env(json_object_get(c, "Env"), ret);
    add_labels(json_object_get(c, "Labels"), ret);
    add_ports(json_object_get(c, "ExposedPorts"), ret);
    add_volumes(json_object_get(c, "Volumes"), ret);
    add_word("USER", json_object_get(c, "User"), over ? "root" : NULL, ret);
    add_word("WORKDIR", json_object_get(c, "WorkingDir"), over ? "/" : NULL, ret);
    add_word("STOPSIGNAL", json_object_get(c, "StopSignal"), NULL, ret);
    add_list("SHELL", json_object_get(c, "Shell"), false, ret);
    add_health(json_object_get(c, "Healthcheck"), ret);
    add_list("ENTRYPOINT", json_object_get(c, "Entrypoint"), over, ret); /* takes a CMD before it away */
    add_list("CMD", json_object_get(c, "Cmd"), over, ret);
    add_triggers(json_object_get(c, "OnBuild"), ret);
}
