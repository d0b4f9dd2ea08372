/*
 * What BuildKit's linter says about a file, in its words. Rules that ask for a base image's configuration or for the
 * context are left out.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"
#include "translate/dockerfile/internal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t\v\f\r"

/* "skip=A,B;error=true": of the directive, and of a comment above an instruction. */
struct options {
    bool skip_all, error;
    struct strlist skip;
};

struct lint {
    struct df_build *b;
    struct options options;
    struct strlist called; /* rules that had something to say */
    bool *needed;          /* stages that will be built: rules about what instructions do look at no others */
};

/* ---- options ---- */

static char *trimmed(const char *s, size_t len)
{
    while (len && strchr(BLANKS, *s))
        s++, len--;
    while (len && strchr(BLANKS, s[len - 1]))
        len--;
    return xstrndup(s, len);
}

static int read_option(const char *text, size_t len, struct options *ret, struct err *err)
{
    const char *equal = memchr(text, '=', len);
    cleanup_free char *key = trimmed(text, equal ? (size_t)(equal - text) : len);
    cleanup_free char *value = equal ? trimmed(equal + 1, len - (size_t)(equal + 1 - text)) : NULL;
    cleanup_strlist struct strlist rules = STRLIST_INIT;
    cleanup_free char *quoted = quote_go_str(key);

    if (!equal || (strcmp(key, "skip") != 0 && strcmp(key, "error") != 0 && strcmp(key, "experimental") != 0))
        return err_set(err, 1, "failed to parse check options: invalid check option %s", quoted);
    if (strcmp(key, "error") == 0 && units_parse_bool(value, &ret->error, err) < 0)
        return err_wrap(err, "failed to parse check options: failed to parse check option \"error=%s\"", value);
    if (strcmp(key, "skip") != 0)
        return 0;
    ret->skip_all = ret->skip_all || strcmp(value, "all") == 0;
    strlist_split(&rules, value, ',');
    for (size_t i = 0; i < rules.len; i++)
        strlist_add_owned(&ret->skip, trimmed(rules.items[i], strlen(rules.items[i])));
    return 0;
}

/* text up to its first blank. */
static int read_options(const char *text, struct options *ret, struct err *err)
{
    const char *end = text + strcspn(text, " ");

    while (text < end) {
        const char *part = memchr(text, ';', (size_t)(end - text));
        size_t len = (size_t)((part ? part : end) - text);

        if (read_option(text, len, ret, err) < 0)
            return -1;
        text += len + (part != NULL);
    }
    return 0;
}

/* "# check=skip=A" above an instruction: what it says is for this one. */
static void own_options(const struct df_build *b, const struct df_instruction *in, struct options *ret)
{
    int first = in == b->file.items ? 1 : in[-1].last_line + 1;

    for (int n = first; n < in->line; n++) {
        const char *p = b->file.lines.items[n - 1];

        p += strspn(p, BLANKS);
        if (*p++ != '#')
            continue;
        p += strspn(p, BLANKS);
        if (strncasecmp(p, "check", 5) != 0)
            continue;
        p += 5 + strspn(p + 5, BLANKS);
        if (*p == '=') {
            read_options(p + 1 + strspn(p + 1, BLANKS), ret, NULL);
            return;
        }
    }
}

/* ---- saying ---- */

static bool skips(const struct options *o, const char *rule)
{
    return o->skip_all || strlist_has(&o->skip, rule);
}

__attribute__((format(printf, 4, 5))) static void say(struct lint *l, const struct df_instruction *in, const char *rule,
                                                      const char *fmt, ...)
{
    cleanup_free char *text = NULL;
    struct options own = {0};
    va_list ap;
    bool skip;

    own_options(l->b, in, &own);
    skip = skips(&l->options, rule) || skips(&own, rule);
    strlist_clear(&own.skip);
    if (skip)
        return;
    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    strlist_addf(&l->b->warnings, "%s: %s (line %d)", rule, text, in->line);
    if (!strlist_has(&l->called, rule))
        strlist_add(&l->called, rule);
}

/* The instruction's word as it was written; owned by caller. */
static char *written(const struct df_instruction *in)
{
    return xstrndup(in->text, strcspn(in->text, BLANKS));
}

/* ---- stages ---- */

static bool all_lower(const char *s)
{
    while (*s && !isupper((unsigned char)*s))
        s++;
    return !*s;
}

static bool all_upper(const char *s)
{
    while (*s && !islower((unsigned char)*s))
        s++;
    return !*s;
}

static void look_at_from(struct lint *l, size_t stage)
{
    const struct df_instruction *in = &l->b->file.items[l->b->stages[stage].first - 1];
    const char *name = l->b->stages[stage].name, *platform = df_flag(in, "platform");
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *from = written(in);

    df_fields(in->rest, &words);
    if (words.len == 3 && !all_lower(words.items[2]))
        say(l, in, "StageNameCasing", "Stage name '%s' should be lowercase", words.items[2]);
    if (words.len == 3 &&
        ((all_lower(from) && !all_lower(words.items[1])) || (all_upper(from) && !all_upper(words.items[1]))))
        say(l, in, "FromAsCasing", "'%s' and '%s' keywords' casing do not match", words.items[1], from);
    if (name && (strcmp(name, "context") == 0 || strcmp(name, "scratch") == 0))
        say(l, in, "ReservedStageName", "Stage name should not use the same name as reserved stage \"%s\"", name);
    for (size_t i = 0; name && i < stage; i++) {
        if (l->b->stages[i].name && strcmp(l->b->stages[i].name, name) == 0) {
            say(l, in, "DuplicateStageName", "Duplicate stage name \"%s\", stage names should be unique", name);
            break;
        }
    }
    if (platform && (strcmp(platform, "$TARGETPLATFORM") == 0 || strcmp(platform, "${TARGETPLATFORM}") == 0))
        say(l, in, "RedundantTargetPlatform",
            "Setting platform to predefined %s in FROM is redundant as this is the default behavior", platform);
    else if (platform && *platform && !strchr(platform, '$') &&
             !(name && (strstr(name, "linux") || strstr(name, "amd64"))))
        say(l, in, "FromPlatformFlagConstDisallowed", "FROM --platform flag should not use constant value \"%s\"",
            platform);
}

/* Instructions written otherwise than most. */
static void look_at_casing(struct lint *l)
{
    size_t lower = 0, upper = 0;

    for (size_t i = l->b->stages[0].first - 1; i < l->b->file.len; i++) {
        cleanup_free char *word = written(&l->b->file.items[i]);

        lower += all_lower(word);
        upper += !all_lower(word) && all_upper(word);
    }
    for (size_t i = l->b->stages[0].first - 1; i < l->b->file.len; i++) {
        cleanup_free char *word = written(&l->b->file.items[i]);

        if (lower > upper ? !all_lower(word) : !all_upper(word))
            say(l, &l->b->file.items[i], "ConsistentInstructionCasing",
                "Command '%s' should match the case of the command majority (%s)", word,
                lower > upper ? "lowercase" : "uppercase");
    }
}

/* ---- instructions ---- */

/* Whether one of the words stands in name between underscores. */
static bool has_word(const char *name, const char *const *words)
{
    for (; *words; words++) {
        size_t len = strlen(*words);

        for (const char *p = strcasestr(name, *words); p; p = strcasestr(p + 1, *words)) {
            if ((p == name || p[-1] == '_') && (!p[len] || p[len] == '_'))
                return true;
        }
    }
    return false;
}

static void look_at_secret(struct lint *l, const struct df_instruction *in, const char *name)
{
    static const char *const deny[] = {"apikey", "auth",   "credential", "credentials", "key", "password",
                                       "pword",  "passwd", "secret",     "token",       NULL};
    static const char *const allow[] = {"public", "file", "version", NULL};
    cleanup_free char *quoted = quote_go_str(name);

    if (has_word(name, deny) && !has_word(name, allow))
        say(l, in, "SecretsUsedInArgOrEnv", "Do not use ARG or ENV instructions for sensitive data (%s %s)", in->word,
            quoted);
}

static void look_at_variables(struct lint *l, const struct df_instruction *in)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *word = written(in);

    df_words(in->rest, l->b->file.escape, &words);
    if (words.len && strcmp(in->word, "ARG") != 0 && !strchr(words.items[0], '=')) {
        say(l, in, "LegacyKeyValueFormat", "\"%s key=value\" should be used instead of legacy \"%s key value\" format",
            word, word);
        while (words.len > 1)
            strlist_remove(&words, words.len - 1);
    }
    for (size_t i = 0; strcmp(in->word, "LABEL") != 0 && i < words.len; i++) {
        words.items[i][strcspn(words.items[i], "=")] = '\0';
        look_at_secret(l, in, words.items[i]);
    }
}

/* What a stage, with those that it stands on, has said so far. */
struct stage_state {
    bool shell, workdir;
    const struct df_instruction *cmd, *entrypoint, *healthcheck;
};

/* An instruction of which the last one alone counts: the one before is to blame. */
static void look_at_once(struct lint *l, const struct df_instruction *in, const struct df_instruction **before)
{
    cleanup_free char *word = written(in);

    if (*before)
        say(l, *before, "MultipleInstructionsDisallowed",
            "Multiple %s instructions should not be used in the same stage because only the last one will be used",
            word);
    *before = in;
}

static void look_at_command(struct lint *l, const struct df_instruction *in, const struct stage_state *s)
{
    cleanup_free char *word = written(in);

    if (!s->shell && !df_json(in->rest, NULL))
        say(l, in, "JSONArgsRecommended",
            "JSON arguments recommended for %s to prevent unintended behavior related to OS signals", word);
}

static void look_at_instruction(struct lint *l, const struct df_instruction *in, struct stage_state *s)
{
    const char *word = in->word;

    if (strcmp(word, "CMD") == 0 || strcmp(word, "ENTRYPOINT") == 0) {
        look_at_once(l, in, *word == 'C' ? &s->cmd : &s->entrypoint);
        look_at_command(l, in, s);
    } else if (strcmp(word, "HEALTHCHECK") == 0) {
        look_at_once(l, in, &s->healthcheck);
    } else if (strcmp(word, "ENV") == 0 || strcmp(word, "ARG") == 0 || strcmp(word, "LABEL") == 0) {
        look_at_variables(l, in);
    } else if (strcmp(word, "SHELL") == 0) {
        s->shell = true;
    } else if (strcmp(word, "WORKDIR") == 0) {
        cleanup_free char *quoted = quote_go_str(in->rest);

        if (!s->workdir && *in->rest != '/' && *in->rest != '$' && *in->rest != '"')
            say(l, in, "WorkdirRelativePath",
                "Relative workdir %s can have unexpected results if the base image changes", quoted);
        s->workdir = true;
    }
}

static void look_at_stages(struct lint *l)
{
    struct stage_state *states = xcalloc(l->b->len, sizeof(*states));

    for (size_t i = 0; i < l->b->len; i++) {
        const struct df_stage *s = &l->b->stages[i];

        if (s->base_stage != DF_NO_STAGE) {
            states[i].shell = states[s->base_stage].shell;
            states[i].workdir = states[s->base_stage].workdir;
        }
        for (size_t k = s->first; l->needed[i] && k < s->first + s->count; k++)
            look_at_instruction(l, &l->b->file.items[k], &states[i]);
    }
    free(states);
}

/* ---- the whole ---- */

static void look(struct lint *l)
{
    for (size_t i = 0; i < l->b->file.warnings.len && !skips(&l->options, "NoEmptyContinuation"); i++) {
        strlist_add(&l->b->warnings, l->b->file.warnings.items[i]);
        if (!i)
            strlist_add(&l->called, "NoEmptyContinuation");
    }
    for (size_t i = 0; i < l->b->file.len; i++) {
        if (strcmp(l->b->file.items[i].word, "MAINTAINER") == 0)
            say(l, &l->b->file.items[i], "MaintainerDeprecated",
                "Maintainer instruction is deprecated in favor of using label");
    }
    for (size_t i = 0; i < l->b->len; i++)
        look_at_from(l, i);
    look_at_casing(l);
    look_at_stages(l);
}

/* "lint violation found for rules: A, B" for "# check=error=true". */
static int violation(const struct lint *l, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(4096);

    for (size_t i = 0; i < l->called.len; i++)
        buf_addf(&text, "%s%s", i ? ", " : "", l->called.items[i]);
    return l->options.error && l->called.len ? err_set(err, 1, "lint violation found for rules: %s", text.data) : 0;
}

int df_lint(struct df_build *b, const char *target, struct err *err)
{
    struct lint l = {.b = b, .needed = xcalloc(b->len, sizeof(bool))};
    size_t at;
    int ret = read_options(b->file.check ? b->file.check : "", &l.options, err);

    /* A target that cannot be is not this file's concern. */
    if (ret == 0 && df_build_target(b, target, &at, NULL) == 0 && df_build_needed(b, at, l.needed, NULL) == 0) {
        look(&l);
        ret = violation(&l, err);
    }
    free(l.needed);
    strlist_clear(&l.options.skip);
    strlist_clear(&l.called);
    return ret;
}
