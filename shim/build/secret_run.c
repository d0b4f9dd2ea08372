#include "shim/build/secret_run.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/csv.h"
#include "shim/build/secret.h"
#include "translate/dockerfile/parse.h"

#include <stdlib.h>
#include <string.h>

#define SCRIPT_MAX (1u << 20)

struct mount {
    char *id, *target, *env, *mode;
    bool required;
};

static void mount_clear(struct mount *m)
{
    free(m->id);
    free(m->target);
    free(m->env);
    free(m->mode);
}

/* 1 = the flag mounts a secret, 0 = something else. */
static int parse(const char *flag, struct mount *ret, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;

    if (csv_fields(flag + strlen("--mount="), &fields, err) < 0)
        return -1;
    if (!strlist_has(&fields, "type=secret"))
        return 0;
    for (size_t i = 0; i < fields.len; i++) {
        const char *f = fields.items[i], *equals = strchr(f, '='), *value = equals ? equals + 1 : "true";
        size_t len = equals ? (size_t)(equals - f) : strlen(f);
        char **to = NULL;

        if (len == 2 && !strncmp(f, "id", len))
            to = &ret->id;
        else if ((len == 6 && !strncmp(f, "target", len)) || (len == 3 && !strncmp(f, "dst", len)) ||
                 (len == 11 && !strncmp(f, "destination", len)))
            to = &ret->target;
        else if (len == 3 && !strncmp(f, "env", len))
            to = &ret->env;
        else if (len == 4 && !strncmp(f, "mode", len))
            to = &ret->mode;
        else if (len == 8 && !strncmp(f, "required", len))
            ret->required = !strcmp(value, "true") || !strcmp(value, "1");
        if (to) {
            free(*to);
            *to = xstrdup(value);
        }
    }
    if (!ret->id && ret->target)
        ret->id = xstrdup(strrchr(ret->target, '/') ? strrchr(ret->target, '/') + 1 : ret->target);
    if (!ret->id)
        return err_set(err, 1, "failed to solve: invalid mount config for type \"secret\": no id");
    if (!ret->target && !ret->env)
        ret->target = xasprintf("/run/secrets/%s", ret->id);
    return 1;
}

/* Within single quotes of a shell. */
static void add_quoted(struct buf *out, const char *text)
{
    buf_addc(out, '\'');
    for (; *text; text++)
        if (*text == '\'')
            buf_adds(out, "'\\''");
        else
            buf_addc(out, *text);
    buf_addc(out, '\'');
}

/* What the shell does in front of the command for one secret. */
static void add_secret(struct buf *out, struct buf *gone, const struct mount *m)
{
    cleanup_free char *variable = build_secret_name(BUILD_SECRET_SHOWN, m->id);

    if (m->target) {
        const char *slash = strrchr(m->target, '/');

        if (slash && slash != m->target) {
            cleanup_free char *dir = xstrndup(m->target, (size_t)(slash - m->target));

            buf_adds(out, "mkdir -p ");
            add_quoted(out, dir);
            buf_adds(out, " && ");
        }
        buf_addf(out, "(umask 077; printf %%s \"$%s\" | base64 -d >", variable);
        add_quoted(out, m->target);
        buf_adds(out, ") && ");
        if (m->mode) {
            buf_addf(out, "chmod 0%s ", m->mode + strspn(m->mode, "0"));
            add_quoted(out, m->target);
            buf_adds(out, " && ");
        }
        buf_addc(gone, ' ');
        add_quoted(gone, m->target);
    }
    if (m->env)
        buf_addf(out, "export %s=\"$(printf %%s \"$%s\" | base64 -d)\" && ", m->env, variable);
}

/* The flags that mount a secret are taken out of the instruction's first words. */
static int cut_flag(struct strlist *lines, const struct df_instruction *in, const char *flag, struct err *err)
{
    for (size_t n = (size_t)in->line - 1; n < lines->len; n++) {
        char *at = strstr(lines->items[n], flag);

        if (at) {
            memmove(at, at + strlen(flag), strlen(at + strlen(flag)) + 1);
            return 0;
        }
    }
    return err_set(err, 1, "failed to solve: %s has to stand on one line for this server", flag);
}

static int change_run(struct strlist *lines, const struct df_instruction *in, const struct strlist *ids,
                      struct err *err)
{
    cleanup_buf struct buf before = BUF_INIT(SCRIPT_MAX), gone = BUF_INIT(SCRIPT_MAX), line = BUF_INIT(SCRIPT_MAX);
    bool any = false;

    for (size_t i = 0; i < in->flags.len; i++) {
        cleanup_with(mount_clear) struct mount m = {0};
        int got = strncmp(in->flags.items[i], "--mount=", 8) ? 0 : parse(in->flags.items[i], &m, err);

        if (got < 0)
            return -1;
        if (got == 0)
            continue;
        if (df_json(in->rest, NULL) || !strncmp(in->rest, "<<", 2))
            return err_set(err, 1,
                           "failed to solve: line %d: this server knows no RUN --mount=type=secret; only the "
                           "form of a shell command can be carried out there",
                           in->line);
        if (!strlist_has(ids, m.id) && m.required)
            return err_set(err, 1, "failed to solve: secret %s: not found", m.id);
        if (cut_flag(lines, in, in->flags.items[i], err) < 0)
            return -1;
        if (strlist_has(ids, m.id)) {
            add_secret(&before, &gone, &m);
            any = true;
        }
    }
    if (!any)
        return 0;
    if (gone.len) {
        buf_adds(&line, "atp_gone() { rm -f");
        buf_add(&line, gone.data, gone.len);
        buf_adds(&line, "; }; trap atp_gone EXIT; ");
    }
    buf_add(&line, before.data, before.len);
    {
        /* the command follows the word and the flags that are left, where its first word stands */
        size_t at = (size_t)in->line - 1;
        char *first = NULL, *now;
        size_t word = strcspn(in->rest, " \t\\`");
        cleanup_free char *head = xstrndup(in->rest, word ? word : 1);

        for (; at < lines->len && !first; at++) {
            char *from = lines->items[at];

            if (at == (size_t)in->line - 1)
                from += strspn(from, " \t") + strlen(in->word);
            first = strstr(from, head);
        }
        if (!first)
            return err_set(err, 1, "failed to solve: line %d: the command cannot be found again", in->line);
        at--;
        now = xasprintf("%.*s%s%s", (int)(first - lines->items[at]), lines->items[at], line.data, first);
        free(lines->items[at]);
        lines->items[at] = now;
    }
    return 0;
}

int build_secret_lines(struct strlist *lines, const struct df_file *file, const struct strlist *ids, struct err *err)
{
    for (size_t i = 0; i < file->len; i++)
        if (!strcmp(file->items[i].word, "RUN") && change_run(lines, &file->items[i], ids, err) < 0)
            return -1;
    return 0;
}
