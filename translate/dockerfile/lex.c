#include "translate/dockerfile/lex.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS      " \t\v\f\r\n"
#define MAX_SHOWN   200 /* of a text that cannot be read, in the message */
#define MAX_NESTING 100 /* ${a:-${b:-...}}: deeper is nobody's Dockerfile */

/* What a text is read with, and how far. */
struct lexer {
    const char *p;
    char escape;
    unsigned flags;
    df_lookup_fn *lookup;
    void *arg;
    int depth;
    struct strlist *words; /* NULL: nobody asks */
    struct buf word;       /* the word under way */
    bool in_word;
};

static int expand_until(struct lexer *x, char stop, bool raw_escapes, bool pattern, struct buf *out, struct err *err);

const char *df_no_variable(const char *name, void *arg)
{
    (void)name;
    (void)arg;
    return NULL;
}

/* ---- words ---- */

static void end_word(struct lexer *x)
{
    if (x->word.len) {
        strlist_add(x->words, x->word.data);
        buf_reset(&x->word);
        x->in_word = false;
    }
}

/* Text that came out of quotes or escapes: blanks in it part no words. */
static void word_raw(struct lexer *x, const char *s, size_t len)
{
    if (x->words && x->depth == 1) {
        buf_add(&x->word, s, len);
        x->in_word = true;
    }
}

static void word_text(struct lexer *x, const char *s, size_t len)
{
    for (size_t i = 0; x->words && x->depth == 1 && i < len; i++) {
        if (!strchr(BLANKS, s[i]))
            word_raw(x, s + i, 1);
        else if (x->in_word)
            end_word(x);
    }
}

/* ---- variables ---- */

/* A variable's name; "" when none stands there. */
static char *read_name(struct lexer *x)
{
    const char *start = x->p;

    if (isdigit((unsigned char)*x->p)) {
        while (isdigit((unsigned char)*x->p))
            x->p++;
    } else if (*x->p && strchr("@*#?-$!", *x->p)) {
        x->p++;
    } else {
        while (isalnum((unsigned char)*x->p) || *x->p == '_')
            x->p++;
    }
    return xstrndup(start, (size_t)(x->p - start));
}

/* How many bytes the character at s has; 0 at the end. */
static size_t char_len(const char *s)
{
    size_t len = *s != '\0';

    while (len && ((unsigned char)s[len] & 0xc0) == 0x80 && ((unsigned char)*s & 0x80))
        len++;
    return len;
}

/* "(:=) in substitution"; the end of the text shows as Go shows it. */
static int unsupported(bool colon, const char *at, struct err *err)
{
    size_t len = char_len(at);

    return err_set(err, 1, "unsupported modifier (%s%.*s) in substitution", colon ? ":" : "", len ? (int)len : 3,
                   len ? at : "\xef\xbf\xbd");
}

/* A word within "${...}", up to stop, which is taken. */
static int read_word(struct lexer *x, char stop, bool raw, bool pattern, struct buf *out, struct err *err)
{
    if (expand_until(x, stop, raw, pattern, out, err) < 0)
        return -1;
    if (*x->p != stop)
        return err_set(err, 1, "syntax error: missing '%c'%s", stop, stop == '/' ? " in ${}" : "");
    x->p++;
    return 0;
}

/* ${x:-word} and its kind, at the modifier. value is NULL when the variable is not set. */
static int expand_modifier(struct lexer *x, const char *name, const char *value, struct buf *out, struct err *err)
{
    struct buf word cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    bool colon = *x->p == ':', set;
    const char *at = x->p + colon;
    char modifier = *at;

    x->p = at + char_len(at);
    if (read_word(x, '}', false, false, &word, err) < 0)
        return -1;
    if (!value && (x->flags & LEX_SKIP_UNSET))
        return buf_addf(out, "${%s%s%.*s%s}", name, colon ? ":" : "", (int)char_len(at), at, word.data);
    set = value && (!colon || *value);
    if (modifier == '+')
        return set ? buf_add(out, word.data, word.len) : 0;
    if (modifier == '-')
        return set ? buf_adds(out, value) : buf_add(out, word.data, word.len);
    if (modifier != '?')
        return unsupported(colon, at, err);
    if (set)
        return buf_adds(out, value);
    return err_set(err, 1, "%s: %s", name,
                   word.len ? word.data : (value ? "is not allowed to be empty" : "is not allowed to be unset"));
}

/* ${x#pattern}, ${x##pattern}, ${x%pattern}, ${x%%pattern}. */
static int expand_trim(struct lexer *x, const char *name, const char *value, struct buf *out, struct err *err)
{
    struct buf word cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    cleanup_free char *got = NULL;
    char modifier = *x->p++;
    bool longest;

    if (read_word(x, '}', true, true, &word, err) < 0)
        return -1;
    if (!value && (x->flags & LEX_SKIP_UNSET))
        return buf_addf(out, "${%s%c%s}", name, modifier, word.data);
    longest = word.data[0] == modifier;
    if (df_glob_trim(word.data + longest, value ? value : "", modifier == '%', longest, &got, err) < 0)
        return -1;
    return buf_adds(out, got);
}

/* ${x/pattern/text}, ${x//pattern/text}. */
static int expand_replace(struct lexer *x, const char *name, const char *value, struct buf *out, struct err *err)
{
    struct buf pattern cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    struct buf text cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    cleanup_free char *got = NULL;
    bool all;

    x->p++;
    all = *x->p == '/';
    x->p += all;
    if (read_word(x, '/', true, true, &pattern, err) < 0 || read_word(x, '}', true, false, &text, err) < 0)
        return -1;
    if (!value && (x->flags & LEX_SKIP_UNSET))
        return buf_addf(out, "${%s/%s%s/%s}", name, all ? "/" : "", pattern.data, text.data);
    if (df_glob_replace(pattern.data, value ? value : "", text.data, all, &got, err) < 0)
        return -1;
    return buf_adds(out, got);
}

/* Behind "${". */
static int expand_braces(struct lexer *x, struct buf *out, struct err *err)
{
    cleanup_free char *name = NULL;
    const char *value;

    if (!*x->p)
        return err_set(err, 1, "syntax error: missing '}'");
    if (strchr("{}:", *x->p))
        return err_set(err, 1, "syntax error: bad substitution");
    name = read_name(x);
    value = x->lookup(name, x->arg);
    switch (*x->p) {
    case '}':
        x->p++;
        if (!value && (x->flags & LEX_SKIP_UNSET))
            return buf_addf(out, "${%s}", name);
        return value ? buf_adds(out, value) : 0;
    case ':':
        /* ${x:#y} is not what anybody means by it. */
        if (x->p[1] == '#' || x->p[1] == '%')
            return unsupported(true, x->p + 1, err);
        return expand_modifier(x, name, value, out, err);
    case '+':
    case '-':
    case '?':
        return expand_modifier(x, name, value, out, err);
    case '#':
    case '%':
        return expand_trim(x, name, value, out, err);
    case '/':
        return expand_replace(x, name, value, out, err);
    default:
        return unsupported(false, x->p, err);
    }
}

/* At "$". */
static int expand_dollar(struct lexer *x, struct buf *out, struct err *err)
{
    cleanup_free char *name = NULL;
    const char *value;

    x->p++;
    if (*x->p == '{') {
        x->p++;
        return expand_braces(x, out, err);
    }
    name = read_name(x);
    if (!*name)
        return buf_addc(out, '$');
    value = x->lookup(name, x->arg);
    if (!value && (x->flags & LEX_SKIP_UNSET))
        return buf_addf(out, "$%s", name);
    return value ? buf_adds(out, value) : 0;
}

/* ---- quotes ---- */

static int single_quoted(struct lexer *x, bool pattern, struct buf *out, struct err *err)
{
    const char *end = strchr(x->p + 1, '\'');

    if (!end)
        return err_set(err, 1, "unexpected end of statement while looking for matching single-quote");
    if (x->flags & LEX_RAW_QUOTES)
        buf_addc(out, '\'');
    for (const char *p = x->p + 1; p < end; p++) {
        /* The pattern is read once more, where an escape character would hide the next one. */
        if (pattern && *p == x->escape)
            buf_addc(out, *p);
        buf_addc(out, *p);
    }
    if (x->flags & LEX_RAW_QUOTES)
        buf_addc(out, '\'');
    x->p = end + 1;
    return 0;
}

/* An escape character in double quotes: it hides a quote, a dollar and itself; elsewhere it is a character. */
static void quoted_escape(struct lexer *x, bool raw_escapes, bool pattern, struct buf *out)
{
    x->p++;
    if (!*x->p)
        return;
    if (*x->p == '"' || *x->p == '$' || *x->p == x->escape) {
        if (raw_escapes)
            buf_addc(out, x->escape);
        buf_addc(out, *x->p++);
        return;
    }
    if (raw_escapes && (!(x->flags & LEX_RAW_QUOTES) || pattern))
        buf_addc(out, x->escape);
    buf_addc(out, x->escape);
}

static int double_quoted(struct lexer *x, bool raw_escapes, bool pattern, struct buf *out, struct err *err)
{
    if (x->flags & LEX_RAW_QUOTES)
        buf_addc(out, '"');
    for (x->p++; *x->p && *x->p != '"';) {
        if (*x->p == '$') {
            if (expand_dollar(x, out, err) < 0)
                return -1;
        } else if (*x->p == x->escape) {
            quoted_escape(x, raw_escapes, pattern, out);
        } else {
            buf_addc(out, *x->p++);
        }
    }
    if (!*x->p)
        return err_set(err, 1, "unexpected end of statement while looking for matching double-quote");
    x->p++;
    return x->flags & LEX_RAW_QUOTES ? buf_addc(out, '"') : 0;
}

/* ---- the whole ---- */

/* "<<" and blanks behind it: the word of a here-document may stand apart. */
static void heredoc_mark(struct lexer *x, struct buf *out)
{
    size_t len = 1;

    if (x->p[1] == '<')
        len = 2 + strspn(x->p + 2, "\t\r ");
    buf_add(out, x->p, len);
    x->p += len;
}

/* What quotes, "$" and "<" stand for: 1 = taken, 0 = an ordinary character stands there. */
static int special(struct lexer *x, bool raw_escapes, bool pattern, struct buf *out, struct err *err)
{
    bool quotes = !(x->flags & LEX_NO_QUOTES);
    int ret = 0;

    if (*x->p == '$')
        ret = expand_dollar(x, out, err);
    else if (*x->p == '\'' && quotes)
        ret = single_quoted(x, pattern, out, err);
    else if (*x->p == '"' && quotes)
        ret = double_quoted(x, raw_escapes, pattern, out, err);
    else if (*x->p == '<')
        heredoc_mark(x, out);
    else
        return 0;
    return ret < 0 ? -1 : 1;
}

/* An escape character outside of quotes, and what it hides. */
static void plain_escape(struct lexer *x, bool raw_escapes, struct buf *out)
{
    if (raw_escapes) {
        buf_addc(out, x->escape);
        word_raw(x, &x->escape, 1);
    }
    x->p++;
    if (*x->p) {
        buf_addc(out, *x->p);
        word_raw(x, x->p++, 1);
    }
}

/* Up to stop (which is not taken), or to the end. */
static int expand_until(struct lexer *x, char stop, bool raw_escapes, bool pattern, struct buf *out, struct err *err)
{
    int ret = 0;

    if (++x->depth > MAX_NESTING)
        return err_set(err, 1, "variables are nested too deeply");
    while (ret >= 0 && *x->p && (!stop || *x->p != stop)) {
        bool dollar = *x->p == '$';
        size_t from = out->len;

        ret = special(x, raw_escapes, pattern, out, err);
        if (ret < 0)
            break;
        if (out->overflowed)
            ret = err_set(err, 1, "the line is too long once its variables are put in");
        else if (ret > 0 && dollar)
            word_text(x, out->data + from, out->len - from);
        else if (ret > 0)
            word_raw(x, out->data + from, out->len - from);
        else if (*x->p == x->escape)
            plain_escape(x, raw_escapes, out);
        else {
            buf_addc(out, *x->p);
            word_text(x, x->p++, 1);
        }
    }
    x->depth--;
    return ret < 0 ? -1 : 0;
}

int df_lex(const char *text, char escape, unsigned flags, df_lookup_fn *lookup, void *arg, char **ret,
           struct strlist *words, struct err *err)
{
    struct lexer x = {.p = text, .escape = escape, .flags = flags, .lookup = lookup, .arg = arg, .words = words};
    struct buf out cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    int result;

    buf_init(&x.word, LIMIT_CONFIG_FILE);
    result = expand_until(&x, '\0', flags & LEX_RAW_ESCAPES, false, &out, err);
    if (result == 0 && out.overflowed)
        result = err_set(err, 1, "the line is too long once its variables are put in");
    if (result == 0 && words)
        end_word(&x);
    buf_clear(&x.word);
    if (result < 0 && err && !err->msg)
        err_set(err, 1, "the line is too long once its variables are put in");
    if (result < 0) {
        cleanup_free char *shown = xstrndup(text, MAX_SHOWN);
        cleanup_free char *quoted = quote_go_str(shown);

        return err_wrap(err, "failed to process %s", quoted);
    }
    if (ret)
        *ret = buf_detach(&out);
    return 0;
}

int df_expand(const char *word, char escape, df_lookup_fn *lookup, void *arg, char **ret, struct err *err)
{
    return df_lex(word, escape, 0, lookup, arg, ret, NULL, err);
}
