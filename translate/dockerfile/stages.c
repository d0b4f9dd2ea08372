#include "translate/dockerfile/stages.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- variables in front of the first FROM ---- */

/* Build arguments that mean something without an ARG line. */
static bool predefined(const char *name)
{
    static const char *const names[] = {"http_proxy",        "https_proxy", "ftp_proxy",       "no_proxy", "all_proxy",
                                        "SOURCE_DATE_EPOCH", "TARGETSTAGE", "BUILDKIT_SYNTAX", NULL};
    static const char *const families[] = {"BUILD", "TARGET"};
    static const char *const members[] = {"PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT"};

    for (const char *const *n = names; *n; n++) {
        if (islower((unsigned char)**n) ? strcasecmp(*n, name) == 0 : strcmp(*n, name) == 0)
            return true;
    }
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(families[i]);

        for (size_t k = 0; strncmp(name, families[i], len) == 0 && k < 5; k++) {
            if (strcmp(name + len, members[k]) == 0)
                return true;
        }
    }
    return strncmp(name, "BUILDKIT_", 9) == 0;
}

static void set_predefined(struct df_build *b, const char *target)
{
    static const char *const known[] = {"BUILDPLATFORM",   "linux/amd64",
                                        "BUILDOS",         "linux",
                                        "BUILDOSVERSION",  "",
                                        "BUILDARCH",       "amd64",
                                        "BUILDVARIANT",    "",
                                        "TARGETPLATFORM",  "linux/amd64",
                                        "TARGETOS",        "linux",
                                        "TARGETOSVERSION", "",
                                        "TARGETARCH",      "amd64",
                                        "TARGETVARIANT",   ""};

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i += 2) {
        const char *given = strlist_env_get(&b->build_args, known[i]);

        strlist_env_set(&b->global_args, known[i], given ? given : known[i + 1]);
    }
    if (strlist_env_get(&b->build_args, "TARGETSTAGE"))
        target = strlist_env_get(&b->build_args, "TARGETSTAGE");
    strlist_env_set(&b->global_args, "TARGETSTAGE", target ? target : "default");
}

static const char *look_up_global(const char *name, void *arg)
{
    return strlist_env_get(&((struct df_build *)arg)->global_args, name);
}

static int global_arg(struct df_build *b, const struct df_instruction *in, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    df_words(in->rest, b->file.escape, &words);
    for (size_t i = 0; i < words.len; i++) {
        char *equal = strchr(words.items[i], '=');
        cleanup_free char *value = NULL;
        const char *given;

        if (equal)
            *equal = '\0';
        given = strlist_env_get(&b->build_args, words.items[i]);
        if (!given && equal && df_expand(equal + 1, b->file.escape, look_up_global, b, &value, err) < 0)
            return -1;
        if (given || value)
            strlist_env_set(&b->global_args, words.items[i], given ? given : value);
        b->text += given ? 0 : (value ? strlen(value) : 0);
        if (b->text > LIMIT_BUILD_TEXT)
            return err_set(err, 1, "the arguments are too long once variables are put in");
    }
    return 0;
}

/* Build arguments that no ARG line names. */
static void find_unused(struct df_build *b)
{
    cleanup_strlist struct strlist declared = STRLIST_INIT;

    for (size_t i = 0; i < b->file.len; i++) {
        cleanup_strlist struct strlist words = STRLIST_INIT;
        const char *rest = b->file.items[i].rest;

        if (strcmp(b->file.items[i].word, "ARG") != 0)
            continue;
        df_words(rest, b->file.escape, &words);
        for (size_t k = 0; k < words.len; k++)
            strlist_add_owned(&declared, xstrndup(words.items[k], strcspn(words.items[k], "=")));
    }
    for (size_t i = 0; i < b->build_args.len; i++) {
        cleanup_free char *name = xstrndup(b->build_args.items[i], strcspn(b->build_args.items[i], "="));

        if (!predefined(name) && !strlist_has(&declared, name))
            strlist_add(&b->unused_args, name);
    }
}

/* ---- stages ---- */

/* The stage that FROM's word means: the last one of that name so far, in exactly this case. */
static size_t base_of(const struct df_build *b, const char *name)
{
    for (size_t i = b->len; i-- > 0;) {
        if (b->stages[i].name && strcmp(b->stages[i].name, name) == 0)
            return i;
    }
    return DF_NO_STAGE;
}

static int read_platform(struct df_build *b, const struct df_instruction *in, struct df_stage *s, struct err *err)
{
    const char *platform = df_flag(in, "platform");

    if (!platform || !*platform)
        return 0;
    if (df_expand(platform, b->file.escape, look_up_global, b, &s->platform, err) < 0)
        return err_wrap(err, "failed to process arguments for platform %s", platform);
    if (!*s->platform)
        return err_set(err, 1, "empty platform value from expression %s", platform);
    return df_check_platform(s->platform, err);
}

static int check_base(const struct df_stage *s, struct err *err)
{
    cleanup_free char *quoted = quote_go_str(s->base);

    if (s->base_stage != DF_NO_STAGE || strcmp(s->base, "scratch") == 0 || df_check_reference(s->base, err) == 0)
        return 0;
    return err_wrap(err, "failed to parse stage name %s", quoted);
}

static int add_stage(struct df_build *b, size_t index, struct err *err)
{
    const struct df_instruction *in = &b->file.items[index];
    cleanup_strlist struct strlist words = STRLIST_INIT;
    struct df_stage *s;

    if (b->len >= LIMIT_STAGES)
        return err_set(err, 1, "there are too many stages");
    df_fields(in->rest, &words);
    b->stages = xreallocarray(b->stages, b->len + 1, sizeof(*b->stages));
    s = &b->stages[b->len];
    *s = (struct df_stage){.line = in->line, .base_stage = DF_NO_STAGE, .first = index + 1};
    if (words.len == 3)
        s->name = xstrdup(words.items[2]);
    for (char *c = s->name; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (df_expand(words.items[0], b->file.escape, look_up_global, b, &s->base, err) == 0) {
        if (!*s->base)
            err_set(err, 1, "base name (%s) should not be blank", words.items[0]);
        s->base_stage = base_of(b, s->base);
    }
    b->len++;
    if (!s->base || !*s->base)
        return -1;
    return read_platform(b, in, s, err) < 0 ? -1 : check_base(s, err);
}

/* FROM lines and what stands in front of the first; everything was checked. */
static int find_stages(struct df_build *b, struct err *err)
{
    for (size_t i = 0; i < b->file.len; i++) {
        const struct df_instruction *in = &b->file.items[i];
        int ret = 0;

        if (strcmp(in->word, "FROM") == 0)
            ret = add_stage(b, i, err);
        else if (!b->len)
            ret = global_arg(b, in, err);
        else
            b->stages[b->len - 1].count++;
        if (ret < 0)
            return df_wrap(in, err);
    }
    return 0;
}

/* The name that TARGETSTAGE has when no target is given. */
static char *last_name(const struct df_build *b)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    for (size_t i = b->file.len; i-- > 0;) {
        if (strcmp(b->file.items[i].word, "FROM") != 0)
            continue;
        df_fields(b->file.items[i].rest, &words);
        break;
    }
    for (char *c = words.len == 3 ? words.items[2] : NULL; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return words.len == 3 ? xstrdup(words.items[2]) : NULL;
}

static int check_all(const struct df_build *b, struct err *err)
{
    bool from = false;

    for (size_t i = 0; i < b->file.len; i++) {
        const struct df_instruction *in = &b->file.items[i];

        if (df_check(in, b->file.escape, err) < 0)
            return df_wrap(in, err);
        from = from || strcmp(in->word, "FROM") == 0;
        if (!from && strcmp(in->word, "ARG") != 0) {
            err_set(err, 1, "no build stage in current context");
            return df_wrap(in, err);
        }
    }
    return from ? 0 : err_set(err, 1, "dockerfile contains no stages to build");
}

static bool all_empty(const struct strlist *lines)
{
    for (size_t i = 0; i < lines->len; i++) {
        if (*lines->items[i])
            return false;
    }
    return true;
}

/* Another frontend than Docker's own is asked for; there is none here. */
static void note_syntax(struct df_build *b)
{
    const char *syntax = b->file.syntax;

    if (!syntax)
        return;
    syntax += strncmp(syntax, "docker.io/", 10) == 0 ? 10 : 0;
    if (strncmp(syntax, "docker/dockerfile", 17) == 0 && (!syntax[17] || strchr(":@-", syntax[17])))
        return;
    strlist_addf(&b->warnings, "the syntax directive's frontend %.200s is not run: the file is read as a Dockerfile",
                 b->file.syntax);
}

static int open_parsed(struct df_build *b, const char *target, struct err *err)
{
    cleanup_free char *last = NULL;

    if (check_all(b, err) < 0)
        return -1;
    last = last_name(b);
    set_predefined(b, target && *target ? target : last);
    if (find_stages(b, err) < 0 || df_check_uses(b, err) < 0)
        return -1;
    find_unused(b);
    note_syntax(b);
    b->ends = xcalloc(b->len, sizeof(*b->ends));
    return df_lint(b, target, err);
}

int df_build_open_for(const struct strlist *lines, const struct strlist *build_args, const char *target,
                      struct df_build *ret, struct err *err)
{
    struct df_build b = {0};

    if (all_empty(lines))
        return err_set(err, 1, "the Dockerfile cannot be empty");
    if (df_parse(lines, &b.file, err) < 0)
        return -1;
    for (size_t i = 0; build_args && i < build_args->len; i++) {
        const char *equal = strchr(build_args->items[i], '=');
        cleanup_free char *name = equal ? xstrndup(build_args->items[i], (size_t)(equal - build_args->items[i])) : NULL;

        if (name)
            strlist_env_set(&b.build_args, name, equal + 1);
    }
    if (open_parsed(&b, target, err) < 0) {
        df_build_clear(&b);
        return -1;
    }
    *ret = b;
    return 0;
}

int df_build_open(const struct strlist *lines, const struct strlist *build_args, struct df_build *ret, struct err *err)
{
    return df_build_open_for(lines, build_args, NULL, ret, err);
}

void df_build_clear(struct df_build *b)
{
    for (size_t i = 0; i < b->len; i++) {
        free(b->stages[i].name);
        free(b->stages[i].base);
        free(b->stages[i].platform);
        if (b->ends) {
            strlist_clear(&b->ends[i].env);
            strlist_clear(&b->ends[i].args);
        }
    }
    free(b->ends);
    free(b->stages);
    strlist_clear(&b->build_args);
    strlist_clear(&b->global_args);
    strlist_clear(&b->unused_args);
    strlist_clear(&b->warnings);
    df_file_clear(&b->file);
    *b = (struct df_build){0};
}
