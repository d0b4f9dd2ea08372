#include "translate/changes.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "translate/dockerfile/parse.h"

#include <string.h>
#include <strings.h>

/* No variable is known outside of a build. */
static const char *no_variable(const char *name, void *arg)
{
    (void)name;
    (void)arg;
    return NULL;
}

static char *expand(const char *word, char escape, struct err *err)
{
    char *out = NULL;

    return df_expand(word, escape, no_variable, NULL, &out, err) < 0 ? NULL : out;
}

/* The array or object called name, made when it is missing. */
static json_t *member(json_t *config, const char *name, json_t *(*make)(void))
{
    json_t *value = json_object_get(config, name);

    if (!value || json_is_null(value)) {
        value = make();
        json_object_set_new(config, name, value);
    }
    return value;
}

static json_t *array_of(const struct strlist *words)
{
    json_t *array = json_array();

    for (size_t i = 0; i < words->len; i++)
        json_array_append_new(array, json_string(words->items[i]));
    return array;
}

/* CMD and ENTRYPOINT: a JSON array, or a line for the shell. A new ENTRYPOINT takes the CMD of the image away. */
static int change_command(const struct df_instruction *in, char escape, const char *key, json_t *config,
                          struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    (void)escape;
    (void)err;
    if (!df_json(in->rest, &words)) {
        strlist_add(&words, "/bin/sh");
        strlist_add(&words, "-c");
        strlist_add(&words, in->rest);
    }
    json_object_set_new(config, key, array_of(&words));
    return 0;
}

/* Replaces K=... in the Env array, or appends. */
static void set_env(json_t *env, const char *name, const char *value)
{
    cleanup_free char *entry = xasprintf("%s=%s", name, value);
    size_t len = strlen(name), i;
    json_t *old;

    json_array_foreach(env, i, old)
    {
        const char *text = json_string_value(old);

        if (text && !strncmp(text, name, len) && text[len] == '=') {
            json_array_set_new(env, i, json_string(entry));
            return;
        }
    }
    json_array_append_new(env, json_string(entry));
}

/* ENV and LABEL. */
static int change_pairs(const struct df_instruction *in, char escape, const char *key, json_t *config, struct err *err)
{
    bool env = !strcmp(key, "Env");
    json_t *to = member(config, key, env ? json_array : json_object);
    cleanup_strlist struct strlist pairs = STRLIST_INIT;

    if (df_pairs(in->word, in->rest, escape, &pairs, err) < 0)
        return -1;
    for (size_t i = 0; i + 1 < pairs.len; i += 2) {
        cleanup_free char *name = expand(pairs.items[i], escape, err);
        cleanup_free char *value = name ? expand(pairs.items[i + 1], escape, err) : NULL;

        if (!value)
            return -1;
        if (env)
            set_env(to, name, value);
        else
            json_object_set_new(to, name, json_string(value));
    }
    return 0;
}

/* EXPOSE and VOLUME: members of an object. */
static int change_set(const struct df_instruction *in, char escape, const char *key, json_t *config, struct err *err)
{
    json_t *to = member(config, key, json_object);
    cleanup_strlist struct strlist words = STRLIST_INIT;
    bool ports = !strcmp(key, "ExposedPorts");

    if (ports || !df_json(in->rest, &words))
        df_words(in->rest, escape, &words);
    for (size_t i = 0; i < words.len; i++) {
        cleanup_free char *word = expand(words.items[i], escape, err), *full = NULL;

        if (!word)
            return -1;
        full = ports && !strchr(word, '/') ? xasprintf("%s/tcp", word) : xstrdup(word);
        json_object_set_new(to, full, json_object());
    }
    return 0;
}

/* USER, WORKDIR, STOPSIGNAL: one word. */
static int change_word(const struct df_instruction *in, char escape, const char *key, json_t *config, struct err *err)
{
    cleanup_free char *word = expand(in->rest, escape, err);

    if (!word)
        return -1;
    json_object_set_new(config, key, json_string(word));
    return 0;
}

static int change_onbuild(const struct df_instruction *in, char escape, const char *key, json_t *config,
                          struct err *err)
{
    (void)escape;
    (void)err;
    json_array_append_new(member(config, key, json_array), json_string(in->rest));
    return 0;
}

static const struct change {
    const char *word, *key;
    int (*apply)(const struct df_instruction *in, char escape, const char *key, json_t *config, struct err *err);
} known[] = {
    {"CMD", "Cmd", change_command},
    {"ENTRYPOINT", "Entrypoint", change_command},
    {"ENV", "Env", change_pairs},
    {"EXPOSE", "ExposedPorts", change_set},
    {"LABEL", "Labels", change_pairs},
    {"ONBUILD", "OnBuild", change_onbuild},
    {"STOPSIGNAL", "StopSignal", change_word},
    {"USER", "User", change_word},
    {"VOLUME", "Volumes", change_set},
    {"WORKDIR", "WorkingDir", change_word},
};

static int apply_one(const struct df_instruction *in, char escape, json_t *config, struct err *err)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(in->word, known[i].word))
            continue;
        if (!*in->rest)
            return err_set(err, 1, "%s requires at least one argument", in->word);
        return known[i].apply(in, escape, known[i].key, config, err);
    }
    return err_set(err, 1, "%s is not a valid change command", in->word);
}

int changes_apply(const struct strlist *changes, json_t *config, struct err *err)
{
    struct df_file file;
    int ret = 0;

    if (!changes->len)
        return 0;
    if (df_parse(changes, &file, err) < 0)
        return -1;
    for (size_t i = 0; ret == 0 && i < file.len; i++)
        ret = apply_one(&file.items[i], file.escape, config, err);
    df_file_clear(&file);
    return ret;
}
