#include "translate/dockerfile/parse.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/dockerfile/lex.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLANKS   " \t\v\f\r"
#define BOM      "\xef\xbb\xbf"
#define MAX_LINE 65535u /* what BuildKit's own reader takes */

enum { SEEN_SYNTAX = 1, SEEN_ESCAPE = 2, SEEN_CHECK = 4 };

/* Everything the parser carries from line to line. */
struct parser {
    struct df_file *file;
    size_t at;       /* the next line, counted from 0: equals the number of the last one read, counted from 1 */
    bool directives; /* only directives have been seen so far */
    unsigned seen;
    bool empty_line; /* the instruction under way was continued with an empty line */
};

int df_wrap(const struct df_instruction *in, struct err *err)
{
    if (err)
        err->code = in->line;
    return err_wrap(err, "dockerfile parse error on line %d", in->line);
}

static int fail(size_t line, struct err *err, const char *what)
{
    err_set(err, 1, "dockerfile parse error on line %zu: %s", line, what);
    if (err)
        err->code = (int)line;
    return -1;
}

/* Cuts blanks (and newlines) off the end. */
static void cut_end(char *s)
{
    size_t len = strlen(s);

    while (len && strchr(BLANKS "\n", s[len - 1]))
        s[--len] = '\0';
}

/* ---- lines ---- */

int df_lines(const char *data, size_t len, struct strlist *ret, struct err *err)
{
    const char *zero = memchr(data, '\0', len);
    cleanup_free char *text = NULL;
    size_t line = 1;

    if (len > LIMIT_DOCKERFILE)
        return err_set(err, 1, "the Dockerfile is larger than %u bytes", LIMIT_DOCKERFILE);
    for (const char *p = data; zero && p < zero; p++)
        line += *p == '\n';
    if (zero)
        return fail(line, err, "a NUL byte cannot stand in a Dockerfile");
    text = xstrndup(data, len);
    if (len && text[len - 1] == '\n')
        text[len - 1] = '\0';
    if (len)
        strlist_split(ret, text, '\n');
    return 0;
}

/* The lines as they stand in the file, whatever elements they came in. */
static int take_lines(const struct strlist *lines, struct df_file *file, struct err *err)
{
    size_t total = 0;

    for (size_t i = 0; i < lines->len; i++) {
        size_t len = strlen(lines->items[i]), before = file->lines.len;

        total += len + 1;
        if (total > LIMIT_DOCKERFILE)
            return err_set(err, 1, "the Dockerfile is larger than %u bytes", LIMIT_DOCKERFILE);
        strlist_split(&file->lines, lines->items[i], '\n');
        for (size_t j = before; j < file->lines.len; j++) {
            if (strlen(file->lines.items[j]) > MAX_LINE) {
                err_set(err, 1, "dockerfile line greater than max allowed size of %u", MAX_LINE);
                if (err)
                    err->code = (int)j + 1;
                return -1;
            }
        }
    }
    if (file->lines.len && strncmp(file->lines.items[0], BOM, 3) == 0)
        memmove(file->lines.items[0], file->lines.items[0] + 3, strlen(file->lines.items[0] + 3) + 1);
    return 0;
}

/* ---- directives ---- */

/* A known directive's bit, or 0. */
static unsigned directive_bit(const char *name, size_t len)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"syntax", SEEN_SYNTAX}, {"escape", SEEN_ESCAPE}, {"check", SEEN_CHECK}};

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (len == strlen(known[i].name) && strncasecmp(name, known[i].name, len) == 0)
            return known[i].bit;
    }
    return 0;
}

static int set_escape(struct parser *p, const char *value, struct err *err)
{
    cleanup_free char *what = NULL;

    if (strcmp(value, "\\") != 0 && strcmp(value, "`") != 0) {
        what = xasprintf("invalid escape token '%.100s' does not match ` or \\", value);
        return fail(p->at, err, what);
    }
    p->file->escape = *value;
    return 0;
}

/* "# escape=`" and its kind; they end with the first line that is none. */
static int directive(struct parser *p, const char *line, struct err *err)
{
    const char *name = line + 1 + strspn(line + (*line == '#'), BLANKS), *end = name;
    cleanup_free char *value = NULL;
    unsigned bit;

    p->directives = false;
    if (*line != '#' || !isalpha((unsigned char)*name))
        return 0;
    while (isalnum((unsigned char)*end))
        end++;
    bit = directive_bit(name, (size_t)(end - name));
    end += strspn(end, BLANKS);
    if (!bit || *end != '=')
        return 0;
    value = xstrdup(end + 1 + strspn(end + 1, BLANKS));
    cut_end(value);
    if (!*value)
        return 0;
    if (p->seen & bit) {
        cleanup_free char *what = xasprintf("only one %s parser directive can be used",
                                            bit == SEEN_SYNTAX ? "syntax" : (bit == SEEN_ESCAPE ? "escape" : "check"));

        return fail(p->at, err, what);
    }
    p->seen |= bit;
    p->directives = true;
    if (bit == SEEN_SYNTAX)
        p->file->syntax = steal(&value);
    if (bit == SEEN_CHECK)
        p->file->check = steal(&value);
    return bit == SEEN_ESCAPE ? set_escape(p, value, err) : 0;
}

/* ---- instructions ---- */

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

/* The flag at p, quotes and escapes taken off; *ret_end is behind it. */
static char *read_flag(const char *p, char escape, const char **ret_end)
{
    struct buf word cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);
    char quote = '\0';

    for (; *p && (quote || !strchr(BLANKS "\n", *p)); p++) {
        if (!quote && (*p == '\'' || *p == '"')) {
            quote = *p;
        } else if (quote && *p == quote) {
            quote = '\0';
        } else if (*p == escape) {
            if (!p[1])
                continue;
            buf_addc(&word, *++p);
        } else {
            buf_addc(&word, *p);
        }
    }
    *ret_end = p;
    return buf_detach(&word);
}

/* Leading "--flag" words. "--" alone ends them and is not one. */
static const char *take_flags(const char *p, char escape, struct strlist *flags)
{
    while (strncmp(p, "--", 2) == 0) {
        char *flag = read_flag(p, escape, &p);

        p += strspn(p, BLANKS "\n");
        if (strcmp(flag, "--") == 0) {
            free(flag);
            break;
        }
        strlist_add_owned(flags, flag);
    }
    return p;
}

void df_instruction_read(const char *text, char escape, struct df_instruction *ret)
{
    size_t len;

    text += strspn(text, BLANKS "\n");
    len = strcspn(text, BLANKS);
    *ret = (struct df_instruction){.word = xstrndup(text, len), .text = xstrdup(text)};
    cut_end(ret->text);
    for (char *c = ret->word; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    text += len;
    ret->rest = xstrdup(take_flags(text + strspn(text, BLANKS), escape, &ret->flags));
    cut_end(ret->rest);
}

void df_instruction_clear(struct df_instruction *in)
{
    for (size_t i = 0; i < in->heredocs_len; i++) {
        free(in->heredocs[i].name);
        free(in->heredocs[i].data);
    }
    free(in->heredocs);
    free(in->word);
    free(in->text);
    free(in->rest);
    strlist_clear(&in->flags);
    *in = (struct df_instruction){0};
}

/* ---- here-documents ---- */

bool df_heredoc_word(const char *word, struct df_heredoc *ret)
{
    const char *p = word + strspn(word, "0123456789");
    cleanup_strlist struct strlist plain = STRLIST_INIT;
    cleanup_strlist struct strlist raw = STRLIST_INIT;
    size_t quotes = 0;
    bool chomp;

    if (strncmp(p, "<<", 2) != 0)
        return false;
    chomp = p[2] == '-';
    p += 2 + chomp;
    p += strspn(p, BLANKS "\n");
    if (!*p || strchr(p, '<'))
        return false;
    /* One word; where it has fewer quotes once it is read, some part of it was quoted. */
    if (df_lex(p, '\\', LEX_SKIP_UNSET, df_no_variable, NULL, NULL, &plain, NULL) < 0 || plain.len != 1 ||
        df_lex(p, '\\', LEX_SKIP_UNSET | LEX_RAW_QUOTES, df_no_variable, NULL, NULL, &raw, NULL) < 0 || raw.len != 1)
        return false;
    for (const char *c = raw.items[0]; *c; c++)
        quotes += *c == '\'' || *c == '"';
    for (const char *c = plain.items[0]; *c; c++)
        quotes -= *c == '\'' || *c == '"';
    if (ret)
        *ret = (struct df_heredoc){.name = xstrdup(plain.items[0]), .expand = quotes == 0, .chomp = chomp};
    return true;
}

char *df_heredoc_text(const struct df_heredoc *doc)
{
    struct buf out cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);
    bool start = true;

    for (const char *p = doc->data; *p; p++) {
        if (doc->chomp && start && *p == '\t')
            continue;
        buf_addc(&out, *p);
        start = *p == '\n';
    }
    return buf_detach(&out);
}

/* ADD, COPY and RUN in their shell form may have here-documents, behind ONBUILD as well. */
static bool may_have_heredocs(const struct df_instruction *in, char escape)
{
    struct df_instruction inner;
    bool may;

    if (strcmp(in->word, "ONBUILD") == 0) {
        df_instruction_read(in->rest, escape, &inner);
        may = strcmp(inner.word, "ONBUILD") != 0 && may_have_heredocs(&inner, escape);
        df_instruction_clear(&inner);
        return may;
    }
    if (strcmp(in->word, "ADD") != 0 && strcmp(in->word, "COPY") != 0 && strcmp(in->word, "RUN") != 0)
        return false;
    return !df_json(in->rest, NULL);
}

/* The lines up to the one that is the here-document's name. */
static int read_heredoc(struct parser *p, struct df_heredoc *doc, int first, struct err *err)
{
    struct buf data cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);

    while (p->at < p->file->lines.len) {
        const char *line = p->file->lines.items[p->at++], *start = line;
        size_t len;

        if (doc->chomp)
            start += strspn(start, "\t");
        len = strlen(start);
        while (len && start[len - 1] == '\r')
            len--;
        if (len == strlen(doc->name) && strncmp(start, doc->name, len) == 0) {
            doc->data = buf_detach(&data);
            return 0;
        }
        buf_adds(&data, line);
        buf_addc(&data, '\n');
    }
    return fail((size_t)first, err, "unterminated heredoc");
}

static int read_heredocs(struct parser *p, struct df_instruction *in, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    if (!strstr(in->text, "<<") || !may_have_heredocs(in, p->file->escape))
        return 0;
    /* A line that is no shell's line at all has none: RUN's shell will say what is wrong with it. */
    if (df_lex(in->text, '\\', LEX_RAW_QUOTES | LEX_RAW_ESCAPES | LEX_SKIP_UNSET, df_no_variable, NULL, NULL, &words,
               NULL) < 0)
        return 0;
    for (size_t i = 0; i < words.len; i++) {
        struct df_heredoc doc;

        if (!df_heredoc_word(words.items[i], &doc))
            continue;
        in->heredocs = xreallocarray(in->heredocs, in->heredocs_len + 1, sizeof(*in->heredocs));
        in->heredocs[in->heredocs_len++] = doc;
        if (read_heredoc(p, &in->heredocs[in->heredocs_len - 1], in->line, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- the whole ---- */

/* A line without what ends it. */
static char *line_at(struct parser *p)
{
    char *line = xstrdup(p->file->lines.items[p->at++]);
    size_t len = strlen(line);

    while (len && line[len - 1] == '\r')
        line[--len] = '\0';
    return line;
}

/* Continuation lines behind the first; comments and empty lines between them are passed over. */
static int join(struct parser *p, struct buf *text, bool *ret_open, struct err *err)
{
    bool more = true;

    while (more && p->at < p->file->lines.len) {
        cleanup_free char *line = line_at(p);
        const char *start = line + strspn(line, BLANKS);

        if (p->directives && directive(p, line, err) < 0)
            return -1;
        if (*start == '#')
            continue;
        if (!*start) {
            p->empty_line = true;
            continue;
        }
        more = continues(line, p->file->escape);
        if (buf_adds(text, line) < 0)
            return fail(p->at, err, "the instruction is too long");
    }
    *ret_open = more;
    return 0;
}

/* A joined line becomes an instruction. */
static int add_instruction(struct parser *p, const char *text, size_t first, bool open_end, struct err *err)
{
    struct df_file *f = p->file;
    struct df_instruction *in;

    if (f->len >= LIMIT_INSTRUCTIONS)
        return fail(first, err, "there are too many instructions");
    f->items = xreallocarray(f->items, f->len + 1, sizeof(*f->items));
    in = &f->items[f->len++];
    df_instruction_read(text, f->escape, in);
    in->line = (int)first;
    in->open_end = open_end;
    if (read_heredocs(p, in, err) < 0)
        return -1;
    in->last_line = (int)p->at;
    if (p->empty_line)
        strlist_addf(&f->warnings, "NoEmptyContinuation: Empty continuation line (line %d)", in->last_line);
    return 0;
}

/* One instruction with its further lines, a comment, or an empty line. */
static int read_one(struct parser *p, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);
    cleanup_free char *line = line_at(p);
    char *start = line + strspn(line, BLANKS);
    size_t first = p->at;
    bool more, open_end = false;

    if (p->directives && directive(p, start, err) < 0)
        return -1;
    if (!*start || *start == '#')
        return 0;
    p->empty_line = false;
    more = continues(start, p->file->escape);
    buf_adds(&text, start);
    if (more && join(p, &text, &open_end, err) < 0)
        return -1;
    /* Nothing but continuation characters up to the end. */
    if (!text.data[strspn(text.data, BLANKS)])
        return 0;
    return add_instruction(p, text.data, first, open_end, err);
}

int df_parse(const struct strlist *lines, struct df_file *ret, struct err *err)
{
    struct df_file file = {.escape = '\\'};
    struct parser p = {.file = &file, .directives = true};
    int result = take_lines(lines, &file, err);

    while (result == 0 && p.at < file.lines.len)
        result = read_one(&p, err);
    if (result == 0 && !file.len)
        result = err_set(err, 1, "file with no instructions");
    if (result < 0)
        df_file_clear(&file);
    else
        *ret = file;
    return result;
}

void df_file_clear(struct df_file *f)
{
    for (size_t i = 0; i < f->len; i++)
        df_instruction_clear(&f->items[i]);
    free(f->items);
    free(f->syntax);
    free(f->check);
    strlist_clear(&f->lines);
    strlist_clear(&f->warnings);
    *f = (struct df_file){0};
}
