#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef int check_fn(const struct df_instruction *in, char escape, struct err *err);

static int at_least_one(const struct df_instruction *in, char escape, struct err *err)
{
    (void)escape;
    return *in->rest ? 0 : err_set(err, 1, "%s requires at least one argument", in->word);
}

static int exactly_one(const struct df_instruction *in, char escape, struct err *err)
{
    (void)escape;
    return *in->rest ? 0 : err_set(err, 1, "%s requires exactly one argument", in->word);
}

static int not_other_json(const struct df_instruction *in, struct err *err)
{
    if (df_json_other(in->rest))
        return err_set(err, 1, "when using JSON array syntax, arrays must be comprised of strings only");
    return 0;
}

static int command(const struct df_instruction *in, char escape, struct err *err)
{
    (void)escape;
    return not_other_json(in, err);
}

static int check_pairs(const struct df_instruction *in, char escape, struct err *err)
{
    cleanup_strlist struct strlist pairs = STRLIST_INIT;

    return df_pairs(in->word, in->rest, escape, &pairs, err);
}

static int check_arg(const struct df_instruction *in, char escape, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    df_words(in->rest, escape, &words);
    if (!words.len)
        return err_set(err, 1, "ARG requires at least one argument");
    for (size_t i = 0; i < words.len; i++) {
        if (*words.items[i] == '=')
            return err_set(err, 1, "ARG names can not be blank");
    }
    return 0;
}

static int check_shell(const struct df_instruction *in, char escape, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    (void)escape;
    if (not_other_json(in, err) < 0)
        return -1;
    if (*in->rest && !df_json(in->rest, &words))
        return err_set(err, 1, "SHELL requires the arguments to be in JSON form");
    return words.len ? 0 : err_set(err, 1, "SHELL requires at least one argument");
}

static int check_volume(const struct df_instruction *in, char escape, struct err *err)
{
    cleanup_strlist struct strlist paths = STRLIST_INIT;

    if (not_other_json(in, err) < 0 || at_least_one(in, escape, err) < 0)
        return -1;
    df_list_of(in, &paths);
    if (!paths.len)
        return err_set(err, 1, "VOLUME requires at least one argument");
    for (size_t i = 0; i < paths.len; i++) {
        if (!paths.items[i][strspn(paths.items[i], " \t\v\f\r\n")])
            return err_set(err, 1, "VOLUME specified can not be an empty string");
    }
    return 0;
}

static int check_copy(const struct df_instruction *in, char escape, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    (void)escape;
    if (not_other_json(in, err) < 0)
        return -1;
    df_list_of(in, &words);
    if (words.len < 2)
        return err_set(err, 1,
                       "%s requires at least two arguments, but only one was provided. Destination could not be "
                       "determined",
                       in->word);
    if (df_heredoc_word(words.items[words.len - 1], NULL))
        return err_set(err, 1, "%s cannot accept a heredoc as a destination", in->word);
    return 0;
}

static int check_run(const struct df_instruction *in, char escape, struct err *err)
{
    cleanup_strlist struct strlist mounts = STRLIST_INIT;
    const char *network = df_flag(in, "network"), *security = df_flag(in, "security");

    (void)escape;
    if (not_other_json(in, err) < 0)
        return -1;
    df_flag_all(in, "mount", &mounts);
    for (size_t i = 0; i < mounts.len; i++) {
        struct df_mount m;

        if (df_mount_parse(NULL, mounts.items[i], &m, err) < 0)
            return -1;
        df_mount_clear(&m);
    }
    if (network && strcmp(network, "default") != 0 && strcmp(network, "none") != 0 && strcmp(network, "host") != 0)
        return err_set(err, 1, "invalid network mode \"%.100s\"", network);
    if (security && strcmp(security, "sandbox") != 0 && strcmp(security, "insecure") != 0)
        return err_set(err, 1, "security \"%.100s\" is not valid", security);
    return 0;
}

static int check_from(const struct df_instruction *in, char escape, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    const char *name;

    (void)escape;
    df_fields(in->rest, &words);
    if (words.len != 1 && !(words.len == 3 && strcasecmp(words.items[1], "AS") == 0))
        return err_set(err, 1, "FROM requires either one or three arguments");
    name = words.len == 3 ? words.items[2] : "a";
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", *name) ||
        name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")]) {
        cleanup_free char *quoted = quote_go_str(name);

        return err_set(err, 1, "invalid name for build stage: %s, name can't start with a number or contain symbols",
                       quoted);
    }
    return 0;
}

static int check_health(const struct df_instruction *in, char escape, struct err *err)
{
    (void)escape;
    return df_check_health(in, err);
}

static int check_onbuild(const struct df_instruction *in, char escape, struct err *err)
{
    struct df_instruction inner;
    int ret;

    if (at_least_one(in, escape, err) < 0)
        return -1;
    df_instruction_read(in->rest, escape, &inner);
    if (strcmp(inner.word, "ONBUILD") == 0)
        ret = err_set(err, 1, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    else if (strcmp(inner.word, "FROM") == 0 || strcmp(inner.word, "MAINTAINER") == 0)
        ret = err_set(err, 1, "%s isn't allowed as an ONBUILD trigger", inner.word);
    else
        ret = 0; /* it is read when it happens, as BuildKit does */
    df_instruction_clear(&inner);
    return ret;
}

/* ---- the table ---- */

#define COPY_FLAGS                                                                                                     \
    {"chmod", DF_FLAG_STRING}, {"chown", DF_FLAG_STRING}, {"exclude", DF_FLAG_STRINGS},                                \
    {                                                                                                                  \
        "link", DF_FLAG_BOOL                                                                                           \
    }

static const struct df_flag_spec no_flags[] = {{NULL, 0}};
static const struct df_flag_spec from_flags[] = {{"platform", DF_FLAG_STRING}, {NULL, 0}};
static const struct df_flag_spec copy_flags[] = {
    COPY_FLAGS, {"from", DF_FLAG_STRING}, {"parents", DF_FLAG_BOOL}, {NULL, 0}};
static const struct df_flag_spec add_flags[] = {
    COPY_FLAGS, {"checksum", DF_FLAG_STRING}, {"keep-git-dir", DF_FLAG_BOOL}, {"unpack", DF_FLAG_BOOL}, {NULL, 0}};
static const struct df_flag_spec run_flags[] = {
    {"mount", DF_FLAG_STRINGS}, {"network", DF_FLAG_STRING}, {"security", DF_FLAG_STRING}, {NULL, 0}};
static const struct df_flag_spec health_flags[] = {{"interval", DF_FLAG_STRING},       {"retries", DF_FLAG_STRING},
                                                   {"start-interval", DF_FLAG_STRING}, {"start-period", DF_FLAG_STRING},
                                                   {"timeout", DF_FLAG_STRING},        {NULL, 0}};

/* Alphabetical. */
static const struct {
    const char *word;
    const struct df_flag_spec *flags;
    check_fn *check;
} table[] = {
    {"ADD", add_flags, check_copy},
    {"ARG", no_flags, check_arg},
    {"CMD", no_flags, command},
    {"COPY", copy_flags, check_copy},
    {"ENTRYPOINT", no_flags, command},
    {"ENV", no_flags, check_pairs},
    {"EXPOSE", no_flags, at_least_one},
    {"FROM", from_flags, check_from},
    {"HEALTHCHECK", health_flags, check_health},
    {"LABEL", no_flags, check_pairs},
    {"MAINTAINER", no_flags, exactly_one},
    {"ONBUILD", no_flags, check_onbuild},
    {"RUN", run_flags, check_run},
    {"SHELL", no_flags, check_shell},
    {"STOPSIGNAL", no_flags, exactly_one},
    {"USER", no_flags, exactly_one},
    {"VOLUME", no_flags, check_volume},
    {"WORKDIR", no_flags, exactly_one},
};

#define WORDS (sizeof(table) / sizeof(*table))

static int unknown_instruction(const struct df_instruction *in, struct err *err)
{
    int len = (int)strcspn(in->text, " \t\v\f\r\n");
    cleanup_free char *word = xstrndup(in->text, (size_t)len);
    const char *words[WORDS + 1] = {NULL};
    cleanup_free char *hint = NULL;

    for (size_t i = 0; i < WORDS; i++)
        words[i] = table[i].word;
    hint = df_suggest(word, words, true);
    return err_set(err, 1, "unknown instruction: %.200s%s", word, hint);
}

int df_check(const struct df_instruction *in, char escape, struct err *err)
{
    for (size_t i = 0; i < WORDS; i++) {
        if (strcmp(table[i].word, in->word) != 0)
            continue;
        return df_flags_check(in, table[i].flags, err) < 0 ? -1 : table[i].check(in, escape, err);
    }
    return unknown_instruction(in, err);
}
