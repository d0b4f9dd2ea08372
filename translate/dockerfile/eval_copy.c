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

static bool is_url(const char *s)
{
    return strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0;
}

/* "https://host/repo.git#ref", "git@host:repo", "git://...", "ssh://...". */
static bool is_git(const char *s)
{
    size_t len = strcspn(s, "#?");
    const char *at = strchr(s, '@'), *colon;

    if (is_url(s))
        return len > 4 && strncmp(s + len - 4, ".git", 4) == 0;
    if (strncmp(s, "git://", 6) == 0 || strncmp(s, "ssh://", 6) == 0)
        return true;
    /* user@host:path, and no "/" in front of it. */
    if (!at || at == s || strcspn(s, "/") < (size_t)(at - s) || strcspn(s, ":") < (size_t)(at - s))
        return false;
    colon = strchr(at, ':');
    return colon && colon > at + 1 && colon[1] && strcspn(at, "/") > (size_t)(colon - at);
}

/* "u=rwx,go+X": what chmod(1) takes. */
static bool is_symbolic(const char *s)
{
    while (*s) {
        s += strspn(s, "ugoa");
        if (!*s || !strchr("+-=", *s))
            return false;
        while (*s && strchr("+-=", *s)) {
            s++;
            s += strspn(s, "rwxXstugo");
        }
        if (!*s)
            return true;
        if (*s++ != ',' || !*s)
            return false;
    }
    return false;
}

static int check_chmod(const char *mode, struct err *err)
{
    char *end;
    unsigned long n;

    if (!*mode || is_symbolic(mode))
        return 0;
    n = strtoul(mode, &end, 8);
    if (strchr("01234567", *mode) && !*end && n <= 07777)
        return 0;
    return err_set(err, 1, "invalid chmod parameter: '%.100s'. it should be octal string and between 0 and 07777",
                   mode);
}

static bool numeric_owner(const char *chown)
{
    size_t len = strspn(chown, "0123456789");

    return len && (!chown[len] || (chown[len] == ':' && !chown[len + 1 + strspn(chown + len + 1, "0123456789")]));
}

/* ---- sources ---- */

/* A here-document that is a source; of two with one name it is the last, as in BuildKit. */
static int add_inline(struct df_eval *e, const struct df_instruction *in, struct df_heredoc *word, struct df_step *step,
                      struct err *err)
{
    const struct df_heredoc *doc = NULL;
    cleanup_free char *text = NULL;
    struct df_inline *file;

    for (size_t i = 0; i < in->heredocs_len; i++) {
        if (strcmp(in->heredocs[i].name, word->name) == 0)
            doc = &in->heredocs[i];
    }
    if (!*word->name || strchr(word->name, '/') || strcmp(word->name, ".") == 0 || strcmp(word->name, "..") == 0 ||
        strlen(word->name) > LIMIT_NAME)
        return err_set(err, 1, "the here-document %.100s cannot be a file: its name is no file name", word->name);
    text = doc ? df_heredoc_text(doc) : xstrdup("");
    if (word->expand) {
        char *expanded = NULL;

        if (df_lex(text, '\\', LEX_NO_QUOTES, df_eval_lookup, e, &expanded, NULL, err) < 0)
            return -1;
        free(text);
        text = expanded;
    }
    step->inlines = xreallocarray(step->inlines, step->inlines_len + 1, sizeof(*step->inlines));
    file = &step->inlines[step->inlines_len++];
    *file = (struct df_inline){.name = steal(&word->name), .data = steal(&text)};
    return 0;
}

static int add_source(struct df_eval *e, const struct df_instruction *in, const char *word, struct df_step *step,
                      struct err *err)
{
    struct df_heredoc doc = {0};
    char *value = NULL;
    int ret;

    if (df_heredoc_word(word, &doc)) {
        ret = add_inline(e, in, &doc, step, err);
        free(doc.name);
        return ret;
    }
    if (df_eval_expand(e, word, &value, err) < 0)
        return -1;
    strlist_add_owned(&step->sources, value);
    if (strcmp(in->word, "COPY") != 0)
        return 0;
    if (is_git(value))
        return err_set(err, 1, "source can't be a git ref for COPY");
    return is_url(value) ? err_set(err, 1, "source can't be a URL for COPY") : 0;
}

static int read_words(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    df_list_of(in, &words);
    for (size_t i = 0; i + 1 < words.len; i++) {
        if (add_source(e, in, words.items[i], step, err) < 0)
            return -1;
    }
    return df_eval_expand(e, words.items[words.len - 1], &step->dest, err);
}

/* ---- flags ---- */

static int expand_flag(struct df_eval *e, const struct df_instruction *in, const char *name, char **ret,
                       struct err *err)
{
    const char *value = df_flag(in, name);

    if (!value || !*value)
        return 0;
    if (df_eval_expand(e, value, ret, err) < 0)
        return -1;
    if (!**ret) {
        free(*ret);
        *ret = NULL;
    }
    return 0;
}

/* "sha256:<64 hex digits>" and the longer ones, in the words of Go's digest package. */
static int check_digest(const char *digest, struct err *err)
{
    static const struct {
        const char *name;
        size_t len;
    } known[] = {{"sha256:", 64}, {"sha384:", 96}, {"sha512:", 128}};
    const char *colon = strchr(digest, ':');

    if (!colon || colon == digest || !colon[1])
        return err_set(err, 1, "invalid checksum digest format");
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (strncmp(digest, known[i].name, 7) != 0)
            continue;
        if (strlen(colon + 1) != known[i].len)
            return err_set(err, 1, "invalid checksum digest length");
        if (colon[1 + strspn(colon + 1, "0123456789abcdef")])
            return err_set(err, 1, "invalid checksum digest format");
        return 0;
    }
    return err_set(err, 1, "unsupported digest algorithm");
}

static int check_checksum(const struct df_step *step, struct err *err)
{
    if (!step->checksum)
        return 0;
    if (step->sources.len != 1)
        return err_set(err, 1, "checksum can't be specified for multiple sources");
    if (!is_url(step->sources.items[0]) && !is_git(step->sources.items[0]))
        return err_set(err, 1, "checksum requires HTTP(S) or Git sources");
    return is_git(step->sources.items[0]) ? 0 : check_digest(step->checksum, err);
}

static int read_flags(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    const char *from = df_flag(in, "from");

    if (expand_flag(e, in, "chown", &step->chown, err) < 0 || expand_flag(e, in, "chmod", &step->chmod, err) < 0 ||
        expand_flag(e, in, "checksum", &step->checksum, err) < 0)
        return -1;
    step->link = df_flag_bool(in, "link") == 1;
    step->parents = df_flag_bool(in, "parents") == 1;
    step->keep_git_dir = df_flag_bool(in, "keep-git-dir") == 1;
    step->unpack = df_flag_bool(in, "unpack");
    df_flag_all(in, "exclude", &step->excludes);
    if (step->link && step->chown && !numeric_owner(step->chown))
        return err_set(err, 1,
                       "--chown=%s: user and group names can't be resolved when used with --link, use numeric "
                       "uid[:gid] instead",
                       step->chown);
    if (from && *from) {
        step->from = xstrdup(from);
        if (df_from_stage(e->build, from, true, &step->from_stage, err) < 0)
            return -1;
    }
    return check_chmod(step->chmod ? step->chmod : "", err);
}

/* ---- history and progress ---- */

/* "COPY --chown=a b <<c d # buildkit". */
static int said(const struct df_instruction *in, struct df_step *step, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(2 * LIMIT_DOCKERFILE);

    buf_addf(&text, "%s%s", in->word, step->parents ? " --parents" : "");
    if (step->chown)
        buf_addf(&text, " --chown=%s", step->chown);
    if (step->chmod)
        buf_addf(&text, " --chmod=%s", step->chmod);
    for (size_t i = 0; i < step->sources.len; i++) {
        buf_addc(&text, ' ');
        buf_adds(&text, step->sources.items[i]);
    }
    for (size_t i = 0; i < step->inlines_len; i++)
        buf_addf(&text, " <<%s", step->inlines[i].name);
    buf_addc(&text, ' ');
    buf_adds(&text, step->dest);
    buf_adds(&text, " # buildkit");
    if (text.overflowed)
        return err_set(err, 1, "the instruction is too long");
    step->created_by = buf_detach(&text);
    return 0;
}

int df_eval_copy(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    step->kind = strcmp(in->word, "ADD") == 0 ? DF_ADD : DF_COPY;
    if (read_flags(e, in, step, err) < 0 || read_words(e, in, step, err) < 0 || check_checksum(step, err) < 0)
        return -1;
    return said(in, step, err);
}
