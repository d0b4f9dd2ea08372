#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/csv.h"
#include "translate/dockerfile/internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_LINE 65535u /* what BuildKit reads as one line */

struct rewriting {
    const struct df_build *b;
    bool *needed;
    const struct strlist *names; /* "word=replacement" */
    char **titles;               /* of each stage: what it is called in the new file; NULL = needs no name */
    struct strlist *out;
};

/* ---- names of stages ---- */

/* The replacement of an image's name, or NULL. */
static const char *replacement(const struct rewriting *r, const char *word)
{
    return strlist_env_get(r->names, word);
}

/* Whether a name is taken: by another stage, or by an image that the new file names. */
static bool taken(const struct rewriting *r, const struct strlist *images, const char *name, size_t but)
{
    for (size_t i = 0; i < r->b->len; i++) {
        if (i != but && ((r->b->stages[i].name && strcasecmp(r->b->stages[i].name, name) == 0) ||
                         (r->titles[i] && strcasecmp(r->titles[i], name) == 0)))
            return true;
    }
    for (size_t i = 0; i < r->names->len; i++) {
        const char *equal = strchr(r->names->items[i], '=');

        if (equal && strcasecmp(equal + 1, name) == 0)
            return true;
    }
    for (size_t i = 0; i < images->len; i++) {
        if (!replacement(r, images->items[i]) && strcasecmp(images->items[i], name) == 0)
            return true;
    }
    return false;
}

static bool is_number(const char *s)
{
    return *s && !s[strspn(s, "0123456789")];
}

/* Whether a needed stage copies from this one by its number, which changes. */
static bool numbered(const struct rewriting *r, size_t stage)
{
    for (size_t i = 0; i < r->b->len; i++) {
        const struct df_stage *s = &r->b->stages[i];

        for (size_t k = s->first; r->needed[i] && k < s->first + s->count; k++) {
            const struct df_instruction *in = &r->b->file.items[k];
            const char *from = strcmp(in->word, "COPY") == 0 ? df_flag(in, "from") : NULL;

            if (from && is_number(from) && strtoul(from, NULL, 10) == stage)
                return true;
        }
    }
    return false;
}

/* Stages keep their names where these mean one thing only; others, and those that a number meant, get a free one. */
static int name_stages(struct rewriting *r, struct err *err)
{
    cleanup_strlist struct strlist images = STRLIST_INIT;

    if (df_build_images(r->b, r->needed, &images, err) < 0)
        return -1;
    for (size_t i = 0; i < r->b->len; i++) {
        const char *name = r->b->stages[i].name;

        if (!r->needed[i] || (!name && !numbered(r, i)))
            continue;
        if (name && !taken(r, &images, name, i)) {
            r->titles[i] = xstrdup(name);
            continue;
        }
        for (size_t n = 0; !r->titles[i]; n++) {
            cleanup_free char *title = n ? xasprintf("stage-%zu-%zu", i, n) : xasprintf("stage-%zu", i);

            if (!taken(r, &images, title, DF_NO_STAGE))
                r->titles[i] = steal(&title);
        }
    }
    return 0;
}

/* ---- words ---- */

/* A flag as it has to be written: what would end it or be taken off is hidden. */
static void add_flag(struct buf *line, const char *flag, char escape)
{
    buf_addc(line, ' ');
    for (; *flag; flag++) {
        if (*flag == escape || strchr(" \t\v\f\r\"'", *flag))
            buf_addc(line, escape);
        buf_addc(line, *flag);
    }
}

/* One field of a CSV line, in quotes where it needs them. */
static void add_field(struct buf *line, const char *field)
{
    bool quotes = strpbrk(field, ",\"\r\n") || *field == ' ';

    if (quotes)
        buf_addc(line, '"');
    for (; *field; field++) {
        if (quotes && *field == '"')
            buf_addc(line, '"');
        buf_addc(line, *field);
    }
    if (quotes)
        buf_addc(line, '"');
}

/* What a stage or image is called in the new file; NULL = as before. */
static const char *new_name(const struct rewriting *r, const char *from, bool numbers)
{
    size_t stage;

    if (df_from_stage(r->b, from, numbers, &stage, NULL) < 0)
        return NULL;
    if (stage == DF_NO_STAGE)
        return replacement(r, from);
    return r->titles[stage] && strcasecmp(r->titles[stage], from) != 0 ? r->titles[stage] : NULL;
}

/* --mount with another `from`; NULL = it stays as it is. */
static char *new_mount(const struct rewriting *r, const char *value)
{
    struct buf out cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);
    cleanup_strlist struct strlist fields = STRLIST_INIT;
    bool changed = false;

    if (csv_fields(value, &fields, NULL) < 0)
        return NULL;
    buf_adds(&out, "--mount=");
    for (size_t i = 0; i < fields.len; i++) {
        const char *field = fields.items[i], *name = NULL;
        cleanup_free char *now = NULL;

        if (strncasecmp(field, "from=", 5) == 0 && field[5])
            name = new_name(r, field + 5, false);
        if (name)
            now = xasprintf("%.5s%s", field, name);
        changed = changed || now;
        if (i)
            buf_addc(&out, ',');
        add_field(&out, now ? now : field);
    }
    return changed ? buf_detach(&out) : NULL;
}

/* A flag of COPY or RUN with other names; NULL = it stays as it is. */
static char *new_flag(const struct rewriting *r, const struct df_instruction *in, const char *flag)
{
    const char *name;

    if (strcmp(in->word, "COPY") == 0 && strncmp(flag, "--from=", 7) == 0 && flag[7]) {
        name = new_name(r, flag + 7, true);
        return name ? xasprintf("--from=%s", name) : NULL;
    }
    if (strcmp(in->word, "RUN") == 0 && strncmp(flag, "--mount=", 8) == 0)
        return new_mount(r, flag + 8);
    return NULL;
}

/* ---- lines ---- */

static void add_raw(struct rewriting *r, int first, int last)
{
    for (int i = first; i <= last; i++)
        strlist_add(r->out, r->b->file.lines.items[i - 1]);
}

static void add_empty(struct rewriting *r, int count)
{
    for (int i = 0; i < count; i++)
        strlist_add(r->out, "");
}

/* The line that an instruction became, its here-documents, and as many empty lines as it had more before. */
static int add_joined(struct rewriting *r, const struct df_instruction *in, struct buf *line, struct err *err)
{
    int body = 0;

    for (size_t i = 0; i < in->heredocs_len; i++) {
        for (const char *p = in->heredocs[i].data; *p; p++)
            body += *p == '\n';
        body++;
    }
    if (line->overflowed || line->len > MAX_LINE)
        return err_set(err, 1, "dockerfile line greater than max allowed size of %u", MAX_LINE);
    strlist_add(r->out, line->data);
    add_raw(r, in->last_line - body + 1, in->last_line);
    add_empty(r, in->last_line - in->line - body);
    return 0;
}

/* An instruction as it is written; one that the file's end cuts off must not take what is put behind it. */
static int add_as_is(struct rewriting *r, const struct df_instruction *in)
{
    cleanup_free char *text = NULL;
    size_t len;

    if (!in->open_end) {
        add_raw(r, in->line, in->last_line);
        return 0;
    }
    text = xstrdup(in->text);
    len = strlen(text);
    while (len && text[len - 1] == r->b->file.escape)
        text[--len] = '\0';
    strlist_add(r->out, text);
    add_empty(r, in->last_line - in->line);
    return 0;
}

/* FROM: the image's other name, and the stage's. */
static int add_from(struct rewriting *r, size_t stage, struct err *err)
{
    const struct df_stage *s = &r->b->stages[stage];
    const struct df_instruction *in = &r->b->file.items[s->first - 1];
    struct buf line cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);
    cleanup_strlist struct strlist words = STRLIST_INIT;
    const char *base = s->base_stage != DF_NO_STAGE ? r->titles[s->base_stage] : replacement(r, s->base);
    const char *title = r->titles[stage];

    df_fields(in->rest, &words);
    if ((!base || strcmp(base, words.items[0]) == 0) &&
        (!title || (words.len == 3 && strcasecmp(words.items[2], title) == 0)))
        return add_as_is(r, in);
    buf_adds(&line, "FROM");
    for (size_t i = 0; i < in->flags.len; i++)
        add_flag(&line, in->flags.items[i], r->b->file.escape);
    buf_addf(&line, " %s%s%s", base ? base : words.items[0], title ? " AS " : "", title ? title : "");
    return add_joined(r, in, &line, err);
}

/* COPY and RUN: what they copy and mount from. Everything else stays as it is written. */
static int add_instruction(struct rewriting *r, const struct df_instruction *in, struct err *err)
{
    struct buf line cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);
    bool changed = false;

    buf_adds(&line, in->word);
    for (size_t i = 0; i < in->flags.len; i++) {
        cleanup_free char *flag = new_flag(r, in, in->flags.items[i]);

        changed = changed || flag;
        add_flag(&line, flag ? flag : in->flags.items[i], r->b->file.escape);
    }
    if (!changed)
        return add_as_is(r, in);
    buf_adds(&line, strncmp(in->rest, "--", 2) == 0 ? " -- " : " ");
    buf_adds(&line, in->rest);
    return add_joined(r, in, &line, err);
}

/* A number behind ONBUILD is one of the file that carries it out, which is this one: numbers change here. */
static int check_triggers(const struct rewriting *r, size_t stage, struct err *err)
{
    size_t base = r->b->stages[stage].base_stage;
    int ret = 0;

    if (base == DF_NO_STAGE)
        return 0;
    for (size_t i = 0; i < r->b->stages[base].count && ret == 0; i++) {
        const struct df_instruction *in = &r->b->file.items[r->b->stages[base].first + i];
        struct df_instruction inner;
        const char *from;

        if (strcmp(in->word, "ONBUILD") != 0)
            continue;
        df_instruction_read(in->rest, r->b->file.escape, &inner);
        from = strcmp(inner.word, "COPY") == 0 ? df_flag(&inner, "from") : NULL;
        if (from && is_number(from)) {
            err_set(err, 1, "ONBUILD COPY --from=%s of a stage of the same file is not supported: name the stage",
                    from);
            ret = df_wrap(in, err);
        }
        df_instruction_clear(&inner);
    }
    return ret;
}

/* "# check=": the linter has spoken about the file as it was; the new one is nobody's style. */
static void quiet_linter(struct rewriting *r)
{
    for (int i = 0; r->b->file.check && i + 1 < r->b->file.items[0].line; i++) {
        const char *p = r->out->items[i] + strspn(r->out->items[i], " \t");

        if (*p++ != '#')
            continue;
        p += strspn(p, " \t");
        if (strncasecmp(p, "check", 5) != 0 || p[5 + strspn(p + 5, " \t")] != '=')
            continue;
        free(r->out->items[i]);
        r->out->items[i] = xstrdup("# check=skip=all");
        return;
    }
}

/* A stage, with the comments behind its instructions. */
static int add_stage(struct rewriting *r, size_t stage, struct err *err)
{
    const struct df_stage *s = &r->b->stages[stage];
    int next = r->b->file.items[s->first - 1].last_line + 1;

    if (check_triggers(r, stage, err) < 0 || add_from(r, stage, err) < 0)
        return -1;
    for (size_t i = s->first; i < s->first + s->count; i++) {
        const struct df_instruction *in = &r->b->file.items[i];

        add_raw(r, next, in->line - 1);
        if (add_instruction(r, in, err) < 0)
            return -1;
        next = in->last_line + 1;
    }
    return 0;
}

/* The last line that belongs to a stage: what follows are comments of the next one. */
static int last_line_of(const struct df_build *b, size_t stage)
{
    const struct df_stage *s = &b->stages[stage];

    return b->file.items[s->first + s->count - 1].last_line;
}

static int add_all(struct rewriting *r, size_t target, struct err *err)
{
    int next = 1;

    for (size_t i = 0; i <= target; i++) {
        int last = last_line_of(r->b, i), first = r->b->stages[i].line;

        if (i == 0 || r->needed[i])
            add_raw(r, next, first - 1);
        else
            add_empty(r, first - next);
        if (!r->needed[i])
            add_empty(r, last - first + 1);
        else if (add_stage(r, i, err) < 0)
            return -1;
        next = last + 1;
    }
    quiet_linter(r);
    return 0;
}

int df_build_rewrite(const struct df_build *b, size_t target, const struct strlist *names, const struct strlist *extra,
                     struct strlist *ret_lines, struct err *err)
{
    cleanup_strlist struct strlist out = STRLIST_INIT;
    struct rewriting r = {.b = b, .names = names, .out = &out};
    int ret;

    r.needed = xcalloc(b->len, sizeof(*r.needed));
    r.titles = xcalloc(b->len, sizeof(*r.titles));
    ret = df_build_needed(b, target, r.needed, err);
    if (ret == 0)
        ret = name_stages(&r, err);
    if (ret == 0)
        ret = add_all(&r, target, err);
    if (ret == 0) {
        strlist_copy(ret_lines, &out);
        strlist_copy(ret_lines, extra);
    }
    for (size_t i = 0; i < b->len; i++)
        free(r.titles[i]);
    free(r.titles);
    free(r.needed);
    return ret;
}
