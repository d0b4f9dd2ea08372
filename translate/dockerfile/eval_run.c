#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/dockerfile/internal.h"
#include "translate/dockerfile/lex.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PIPES "/dev/pipes/"

/* ---- the command ---- */

/* A here-document's name becomes a file's. */
static int check_name(const char *name, struct err *err)
{
    if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strlen(name) > LIMIT_NAME)
        return err_set(err, 1, "the here-document %.100s cannot be a file: its name is no file name", name);
    return 0;
}

/* One here-document and nothing else: its text is the command, or a program of its own when it begins with "#!". */
static int single_heredoc(const struct df_heredoc *doc, struct df_step *step, char **ret, struct err *err)
{
    cleanup_free char *text = df_heredoc_text(doc);

    if (strncmp(text, "#!", 2) != 0) {
        *ret = steal(&text);
        return 0;
    }
    if (check_name(doc->name, err) < 0)
        return -1;
    step->inlines = xcalloc(1, sizeof(*step->inlines));
    step->inlines_len = 1;
    step->inlines[0].name = xstrdup(doc->name);
    step->inlines[0].data = steal(&text);
    *ret = xasprintf(PIPES "%s", doc->name);
    return 0;
}

/* The line as the shell gets it: it reads the here-documents behind it itself. */
static int shell_line(const struct df_instruction *in, struct df_step *step, char **ret, struct err *err)
{
    struct buf line cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);

    if (in->heredocs_len && df_heredoc_word(in->rest, NULL))
        return single_heredoc(&in->heredocs[0], step, ret, err);
    buf_adds(&line, in->rest);
    for (size_t i = 0; i < in->heredocs_len; i++) {
        buf_addc(&line, '\n');
        buf_adds(&line, in->heredocs[i].data);
        buf_adds(&line, in->heredocs[i].name);
    }
    if (line.overflowed)
        return err_set(err, 1, "the instruction is too long");
    *ret = buf_detach(&line);
    return 0;
}

static int command_of(const struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_free char *line = NULL;

    if (df_json(in->rest, NULL)) {
        df_json(in->rest, &step->argv);
        return step->argv.len ? 0 : err_set(err, 1, "RUN [] has no command");
    }
    if (shell_line(in, step, &line, err) < 0)
        return -1;
    df_command_words(e, "", &step->argv);
    free(step->argv.items[step->argv.len - 1]);
    step->argv.items[step->argv.len - 1] = steal(&line);
    return 0;
}

/* ---- history and progress ---- */

/* "RUN |1 a=b /bin/sh -c make # buildkit": ARGs with the value that they have here, then the command. */
static int said(struct df_eval *e, struct df_step *step, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(2 * LIMIT_DOCKERFILE);
    cleanup_strlist struct strlist args = STRLIST_INIT;

    for (size_t i = 0; i < e->args.len; i++) {
        const char *arg = e->args.items[i], *equal = strchr(arg, '='), *value;
        cleanup_free char *name = xstrndup(arg, equal ? (size_t)(equal - arg) : strlen(arg));

        value = strlist_env_get(&e->env, name);
        strlist_env_set(&args, name, value ? value : (equal ? equal + 1 : ""));
    }
    buf_adds(&text, "RUN");
    if (args.len)
        buf_addf(&text, " |%zu", args.len);
    for (size_t i = 0; i < args.len + step->argv.len; i++) {
        buf_addc(&text, ' ');
        buf_adds(&text, i < args.len ? args.items[i] : step->argv.items[i - args.len]);
    }
    buf_adds(&text, " # buildkit");
    if (text.overflowed)
        return err_set(err, 1, "the instruction is too long");
    step->created_by = buf_detach(&text);
    return 0;
}

/* What progress puts in: variables, but not what a secret holds. */
struct shown_env {
    struct df_eval *e;
    const struct df_step *step;
};

static const char *look_up_shown(const char *name, void *arg)
{
    const struct shown_env *s = arg;

    for (size_t i = 0; i < s->step->mounts_len; i++) {
        const char *env = s->step->mounts[i].env;

        if (env && strcmp(env, name) == 0)
            return "****";
    }
    return df_eval_lookup(name, s->e);
}

/* " (first line...)" of a here-document that is the whole command. */
static char *summary(const struct df_instruction *in)
{
    const char *doc, *end;

    if (!in->heredocs_len || !df_heredoc_word(in->rest, NULL))
        return xstrdup("");
    doc = in->heredocs[0].data + strspn(in->heredocs[0].data, " \t\v\f\r\n");
    end = doc + strcspn(doc, "\r\n");
    return xasprintf(" (%.*s%s)", (int)(end - doc), doc, end[strspn(end, " \t\v\f\r\n")] ? "..." : "");
}

static void show(struct df_eval *e, const struct df_instruction *in, struct df_step *step)
{
    cleanup_free char *more = summary(in);
    cleanup_free char *text = xasprintf("%s%s", in->text, more);
    struct shown_env env = {.e = e, .step = step};
    char *shown = NULL;

    if (df_lex(text, e->escape, LEX_RAW_QUOTES | LEX_RAW_ESCAPES | LEX_SKIP_UNSET, look_up_shown, &env, &shown, NULL,
               NULL) < 0)
        shown = steal(&text);
    free(step->shown);
    step->shown = shown;
}

/* ---- the whole ---- */

/* Proxies that were given for the build are there without an ARG line, in both cases. */
static void add_proxies(const struct df_eval *e, struct strlist *env)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"};
    static const char *const upper[] = {"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"};

    for (size_t i = 0; e->build && i < e->build->build_args.len; i++) {
        const char *arg = e->build->build_args.items[i];
        size_t len = strcspn(arg, "=");

        for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++) {
            if (len != strlen(names[k]) || strncasecmp(arg, names[k], len) != 0)
                continue;
            if (!strlist_env_get(env, upper[k]))
                strlist_env_set(env, upper[k], arg + len + 1);
            if (!strlist_env_get(env, names[k]))
                strlist_env_set(env, names[k], arg + len + 1);
        }
    }
}

/* The agent's socket is where the first of its mounts is. */
static void add_ssh(const struct df_step *step, struct strlist *env)
{
    for (size_t i = 0; i < step->mounts_len; i++) {
        if (step->mounts[i].type != DF_MOUNT_SSH)
            continue;
        strlist_env_set(env, "SSH_AUTH_SOCK", step->mounts[i].target);
        return;
    }
}

static int read_mounts(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist values = STRLIST_INIT;

    df_flag_all(in, "mount", &values);
    for (size_t i = 0; i < values.len; i++) {
        step->mounts = xreallocarray(step->mounts, step->mounts_len + 1, sizeof(*step->mounts));
        if (df_mount_parse(e, values.items[i], &step->mounts[step->mounts_len], err) < 0)
            return -1;
        step->mounts_len++;
    }
    return 0;
}

int df_eval_run(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    const char *network = df_flag(in, "network"), *security = df_flag(in, "security");

    step->kind = DF_RUN;
    step->network = xstrdup(network ? network : "default");
    step->security = xstrdup(security ? security : "sandbox");
    if (read_mounts(e, in, step, err) < 0 || command_of(e, in, step, err) < 0)
        return -1;
    strlist_copy(&step->env, &e->env);
    add_proxies(e, &step->env);
    add_ssh(step, &step->env);
    show(e, in, step);
    return said(e, step, err);
}
