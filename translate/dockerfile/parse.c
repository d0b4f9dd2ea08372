#include "translate/dockerfile/parse.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t\v\f\r"

/* Everything the parser carries from line to line. */
struct parser {
    struct df_file *file;
    struct buf text; /* the instruction under way, continuation lines joined */
    int first;       /* its first line; 0 = none is under way */
    int line;
    bool directives; /* only directives have been seen so far */
};

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, BLANKS);
}

/* Cuts blanks (and newlines) off the end. */
static void cut_end(char *s)
{
    size_t len = strlen(s);

    while (len && strchr(BLANKS "\n", s[len - 1]))
        s[--len] = '\0';
}

int df_wrap(const struct df_instruction *in, struct err *err)
{
    return err_wrap(err, "dockerfile parse error on line %d", in->line);
}

static int fail(int line, struct err *err, const char *what, const char *text)
{
    return err_set(err, 1, "dockerfile parse error on line %d: %s%.200s", line, what, text);
}

/* "# escape=`" and its kind; they end with the first line that is none. */
static int directive(struct parser *p, const char *comment, bool *ret_is, struct err *err)
{
    const char *name = skip_blanks(comment + 1), *end = name;
    cleanup_free char *value = NULL;
    size_t len;

    *ret_is = false;
    while (isalnum((unsigned char)*end))
        end++;
    len = (size_t)(end - name);
    end = skip_blanks(end);
    if (!len || *end != '=')
        return 0;
    value = xstrdup(skip_blanks(end + 1));
    cut_end(value);
    *ret_is = true;
    if (len != 6 || strncasecmp(name, "escape", 6) != 0)
        return 0;
    if (strcmp(value, "\\") != 0 && strcmp(value, "`") != 0)
        return fail(p->line, err, "invalid escape token, must be ` or \\: ", value);
    p->file->escape = *value;
    return 0;
}

/* Whether the line goes on in the next one; the escape character and blanks after it are cut off then. */
static bool continues(char *s, char escape)
{
    size_t len = strlen(s);

    while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    if (!len || s[len - 1] != escape || (len > 1 && s[len - 2] == escape))
        return false;
    s[len - 1] = '\0';
    return true;
}

/* Leading "--flag" words. "--" alone ends them and is not one. */
static const char *take_flags(const char *p, char escape, struct strlist *flags)
{
    while (strncmp(p, "--", 2) == 0) {
        cleanup_strlist struct strlist words = STRLIST_INIT;
        size_t len = strcspn(p, BLANKS);

        if (len == 2)
            return skip_blanks(p + 2);
        /* A quoted value may hold blanks. */
        df_words(p, escape, &words);
        if (words.len && strlen(words.items[0]) > len)
            len = strlen(words.items[0]);
        strlist_add_owned(flags, xstrndup(p, len));
        p = skip_blanks(p + len);
    }
    return p;
}

/* A joined line becomes an instruction. */
static int finish(struct parser *p, struct err *err)
{
    struct df_file *f = p->file;
    struct df_instruction *in;
    const char *text, *rest;
    size_t len;

    if (!p->first)
        return 0;
    text = skip_blanks(p->text.data);
    len = strcspn(text, BLANKS);
    if (p->text.overflowed)
        return fail(p->first, err, "the instruction is too long", "");
    if (!len) {
        p->first = 0;
        buf_reset(&p->text);
        return 0;
    }
    f->items = xreallocarray(f->items, f->len + 1, sizeof(*f->items));
    in = &f->items[f->len++];
    *in = (struct df_instruction){.line = p->first, .word = xstrndup(text, len), .text = xstrdup(text)};
    cut_end(in->text);
    for (char *c = in->word; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    rest = take_flags(skip_blanks(text + len), f->escape, &in->flags);
    in->rest = xstrdup(rest);
    cut_end(in->rest);
    p->first = 0;
    buf_reset(&p->text);
    return 0;
}

/* One physical line. */
static int add_line(struct parser *p, char *line, struct err *err)
{
    const char *start = skip_blanks(line);
    bool is_directive = false, more;

    p->line++;
    if (*start == '#') {
        if (p->directives && directive(p, start, &is_directive, err) < 0)
            return -1;
        p->directives = is_directive;
        return 0;
    }
    if (!*start) {
        /* Within an instruction an empty line is passed over, as Docker still does. */
        p->directives = false;
        return 0;
    }
    p->directives = false;
    more = continues(line, p->file->escape);
    if (!p->first)
        p->first = p->line;
    buf_adds(&p->text, p->text.len ? line : line + (start - line));
    return more ? 0 : finish(p, err);
}

int df_parse(const struct strlist *lines, struct df_file *ret, struct err *err)
{
    struct df_file file = {.escape = '\\'};
    struct parser p = {.file = &file, .directives = true};
    int result = 0;

    buf_init(&p.text, LIMIT_CONFIG_FILE);
    for (size_t i = 0; i < lines->len && result == 0; i++) {
        cleanup_strlist struct strlist split = STRLIST_INIT;

        strlist_split(&split, lines->items[i], '\n');
        for (size_t j = 0; j < split.len && result == 0; j++) {
            size_t len = strlen(split.items[j]);

            if (len && split.items[j][len - 1] == '\r')
                split.items[j][len - 1] = '\0';
            result = add_line(&p, split.items[j], err);
        }
    }
    if (result == 0)
        result = finish(&p, err);
    if (result == 0 && !file.len)
        result = err_set(err, 1, "file with no instructions");
    buf_clear(&p.text);
    if (result < 0)
        df_file_clear(&file);
    else
        *ret = file;
    return result;
}

void df_file_clear(struct df_file *f)
{
    for (size_t i = 0; i < f->len; i++) {
        free(f->items[i].word);
        free(f->items[i].text);
        free(f->items[i].rest);
        strlist_clear(&f->items[i].flags);
    }
    free(f->items);
    *f = (struct df_file){0};
}

/* Whether a flag is "--name" or "--name=..."; *ret_value points behind the "=". */
static bool is_flag(const char *flag, const char *name, const char **ret_value)
{
    size_t len = strlen(name);

    if (strncmp(flag + 2, name, len) != 0 || (flag[2 + len] && flag[2 + len] != '='))
        return false;
    if (ret_value)
        *ret_value = flag + 2 + len + (flag[2 + len] == '=');
    return true;
}

const char *df_flag(const struct df_instruction *in, const char *name)
{
    const char *value;

    for (size_t i = 0; i < in->flags.len; i++) {
        if (is_flag(in->flags.items[i], name, &value))
            return value;
    }
    return NULL;
}

int df_check_flags(const struct df_instruction *in, const char *const *names, struct err *err)
{
    for (size_t i = 0; i < in->flags.len; i++) {
        const char *flag = in->flags.items[i];
        bool known = false;

        for (const char *const *n = names; *n; n++)
            known = known || is_flag(flag, *n, NULL);
        if (!known) {
            err_set(err, 1, "unknown flag: %.*s", (int)strcspn(flag, "="), flag);
            return df_wrap(in, err);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcspn(in->flags.items[j], "=") == strcspn(flag, "=") &&
                strncmp(in->flags.items[j], flag, strcspn(flag, "=")) == 0) {
                err_set(err, 1, "duplicate flag specified: %.*s", (int)strcspn(flag, "=") - 2, flag + 2);
                return df_wrap(in, err);
            }
        }
    }
    return 0;
}
