#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/config.h"
#include "translate/dockerfile/internal.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "[a b]", as Go prints a list: plainly, or each word quoted. */
static char *go_list(const struct strlist *l, bool quoted)
{
    struct buf out cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);

    buf_addc(&out, '[');
    for (size_t i = 0; i < l->len; i++) {
        if (i)
            buf_addc(&out, ' ');
        if (quoted)
            quote_go(&out, l->items[i], strlen(l->items[i]));
        else
            buf_adds(&out, l->items[i]);
    }
    buf_addc(&out, ']');
    return buf_detach(&out);
}

/* "WORD [a b]". */
static char *said_list(const char *word, const struct strlist *l, bool quoted)
{
    cleanup_free char *list = go_list(l, quoted);

    return xasprintf("%s %s", word, list);
}

/* ENV and LABEL: pairs, expanded; a line's values are all taken from before the line. created_by gets them. */
static int expand_pairs(struct df_eval *e, const struct df_instruction *in, struct strlist *ret, struct df_step *step,
                        struct err *err)
{
    cleanup_strlist struct strlist raw = STRLIST_INIT;
    struct buf said cleanup_buf = BUF_INIT(2 * LIMIT_DOCKERFILE);

    if (df_pairs(in->word, in->rest, e->escape, &raw, err) < 0)
        return -1;
    for (size_t i = 0; i < raw.len; i++) {
        char *value = NULL;

        if (df_eval_expand(e, raw.items[i], &value, err) < 0)
            return -1;
        strlist_add_owned(ret, value);
    }
    buf_adds(&said, in->word);
    for (size_t i = 0; i + 1 < ret->len; i += 2) {
        buf_addc(&said, ' ');
        buf_adds(&said, ret->items[i]);
        buf_addc(&said, '=');
        buf_adds(&said, ret->items[i + 1]);
    }
    if (said.overflowed)
        return err_set(err, 1, "the line is too long once its variables are put in");
    step->created_by = buf_detach(&said);
    return 0;
}

static int eval_env(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist pairs = STRLIST_INIT;
    cleanup_strlist struct strlist env = STRLIST_INIT;

    if (expand_pairs(e, in, &pairs, step, err) < 0)
        return -1;
    df_config_list(e->config, "Env", &env);
    for (size_t i = 0; i + 1 < pairs.len; i += 2) {
        strlist_env_set(&env, pairs.items[i], pairs.items[i + 1]);
        strlist_env_set(&e->env, pairs.items[i], pairs.items[i + 1]);
    }
    df_config_set_list(e->config, "Env", &env);
    return 0;
}

static int eval_label(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist pairs = STRLIST_INIT;

    if (expand_pairs(e, in, &pairs, step, err) < 0)
        return -1;
    for (size_t i = 0; i + 1 < pairs.len; i += 2)
        df_config_put(e->config, "Labels", pairs.items[i], pairs.items[i + 1]);
    return 0;
}

static int eval_user(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_free char *value = NULL;

    if (df_eval_expand(e, in->rest, &value, err) < 0)
        return -1;
    df_config_set(e->config, "User", *value ? value : NULL);
    step->created_by = xasprintf("USER %s", value);
    return 0;
}

static int eval_workdir(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_free char *before = df_eval_workdir(e);
    cleanup_free char *value = NULL;
    cleanup_free char *path = NULL;

    if (df_eval_expand(e, in->rest, &value, err) < 0)
        return -1;
    /* An absolute one stays as it was written, "/a/" too. */
    path = *value == '/' ? xstrdup(value) : df_clean_path(before, value);
    df_config_set(e->config, "WorkingDir", path);
    step->created_by = xasprintf("WORKDIR %s", path);
    free(step->workdir);
    step->workdir = df_eval_workdir(e);
    if (strcmp(path, "/") != 0) {
        step->kind = DF_WORKDIR;
        step->empty_layer = false;
    }
    return 0;
}

static int eval_cmd(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    (void)err;
    df_command_words(e, in->rest, &words);
    df_config_set_list(e->config, "Cmd", words.len ? &words : NULL);
    if (e->build)
        json_object_set_new(json_object_get(e->config, "config"), "ArgsEscaped", json_true());
    e->cmd_set = true;
    step->created_by = said_list("CMD", &words, true);
    return 0;
}

/* A new ENTRYPOINT does not go with the base image's CMD. */
static int eval_entrypoint(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    (void)err;
    df_command_words(e, in->rest, &words);
    df_config_set_list(e->config, "Entrypoint", words.len ? &words : NULL);
    if (!e->cmd_set)
        df_config_set_list(e->config, "Cmd", NULL);
    step->created_by = said_list("ENTRYPOINT", &words, true);
    return 0;
}

static int eval_shell(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    (void)err;
    df_json(in->rest, &words);
    df_config_set_list(e->config, "Shell", &words);
    step->created_by = said_list("SHELL", &words, false);
    return 0;
}

static int eval_volume(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    cleanup_strlist struct strlist values = STRLIST_INIT;

    df_list_of(in, &paths);
    for (size_t i = 0; i < paths.len; i++) {
        char *value = NULL, *path = paths.items[i] + strspn(paths.items[i], " \t\r\n\v\f");

        for (size_t len = strlen(path); len && isspace((unsigned char)path[len - 1]);)
            path[--len] = '\0';
        if (df_eval_expand(e, path, &value, err) < 0)
            return -1;
        strlist_add_owned(&values, value);
        if (!*value)
            return err_set(err, 1, "VOLUME specified can not be an empty string");
    }
    for (size_t i = 0; i < values.len; i++)
        df_config_put(e->config, "Volumes", values.items[i], NULL);
    step->created_by = said_list("VOLUME", &values, false);
    return 0;
}

/* "9", "KILL", "SIGKILL", "SIGRTMIN+3", whatever the case is; a number is not looked at, but 0 is none. */
static bool is_signal(const char *s)
{
    char *end;
    long n = strtol(s, &end, 10);

    if (*s && !*end && !isspace((unsigned char)*s))
        return n != 0;
    if (strncasecmp(s, "SIG", 3) == 0)
        s += 3;
    if (strncasecmp(s, "RTMIN", 5) == 0 || strncasecmp(s, "RTMAX", 5) == 0) {
        bool min = toupper((unsigned char)s[4]) == 'N';

        if (!s[5])
            return true;
        n = strtol(s + 5, &end, 10);
        return !*end && s[5] == (min ? '+' : '-') && isdigit((unsigned char)s[6]) && labs(n) > 0 &&
               labs(n) <= (min ? 15 : 14);
    }
    for (int i = 1; i < SIGRTMIN; i++) {
        if (sigabbrev_np(i) && strcasecmp(sigabbrev_np(i), s) == 0)
            return true;
    }
    return strcasecmp(s, "IOT") == 0 || strcasecmp(s, "CLD") == 0 || strcasecmp(s, "IO") == 0;
}

static int eval_stopsignal(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_free char *value = NULL;

    if (df_eval_expand(e, in->rest, &value, err) < 0)
        return -1;
    if (!is_signal(value))
        return err_set(err, 1, "invalid signal: %s", value);
    df_config_set(e->config, "StopSignal", value);
    step->created_by = xasprintf("STOPSIGNAL %s", value);
    return 0;
}

static int eval_maintainer(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    json_t *author = json_string(in->rest);

    if (!author)
        return err_set(err, 1, "MAINTAINER is not UTF-8");
    json_object_set_new(e->config, "author", author);
    step->created_by = xasprintf("MAINTAINER %s", in->rest);
    return 0;
}

/* The trigger as it will be parsed again, here-documents behind it. It leaves no line of history. */
static int eval_onbuild(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist triggers = STRLIST_INIT;
    struct buf text cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);
    const char *p = in->text + strlen("ONBUILD");

    (void)step;
    buf_adds(&text, p + strspn(p, " \t\v\f\r\n"));
    for (size_t i = 0; i < in->heredocs_len; i++) {
        buf_addc(&text, '\n');
        buf_adds(&text, in->heredocs[i].data);
        buf_adds(&text, in->heredocs[i].name);
    }
    if (text.overflowed)
        return err_set(err, 1, "the instruction is too long");
    df_config_list(e->config, "OnBuild", &triggers);
    strlist_add(&triggers, text.data);
    df_config_set_list(e->config, "OnBuild", &triggers);
    return 0;
}

/* Alphabetical. */
static const struct {
    const char *word;
    int (*eval)(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err);
} table[] = {
    {"CMD", eval_cmd},
    {"ENTRYPOINT", eval_entrypoint},
    {"ENV", eval_env},
    {"EXPOSE", df_eval_expose},
    {"HEALTHCHECK", df_eval_health},
    {"LABEL", eval_label},
    {"MAINTAINER", eval_maintainer},
    {"ONBUILD", eval_onbuild},
    {"SHELL", eval_shell},
    {"STOPSIGNAL", eval_stopsignal},
    {"USER", eval_user},
    {"VOLUME", eval_volume},
    {"WORKDIR", eval_workdir},
};

int df_eval_config(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        if (strcmp(table[i].word, in->word) != 0)
            continue;
        step->kind = DF_CONFIG;
        step->empty_layer = true;
        return table[i].eval(e, in, step, err) < 0 ? -1 : 1;
    }
    return 0;
}
