/* Cutting a template into tokens. */
#include "compat/docker/tmpl_node.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/docker/quote.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n"

struct lexer {
    struct tokens *out;
    const char *text, *p;
    int parens;
};

static void emit(struct lexer *l, enum token_type type, const char *from)
{
    struct tokens *t = l->out;

    if (t->len == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 32;
        t->items = xreallocarray(t->items, t->cap, sizeof(*t->items));
    }
    t->items[t->len++] = (struct token){type, (size_t)(from - l->text), (size_t)(l->p - from), NULL};
}

/* The last token: what is wrong at p. Always false. */
static bool fail(struct lexer *l, char *message)
{
    emit(l, TOKEN_ERROR, l->p);
    l->out->items[l->out->len - 1].message = message;
    return false;
}

/* "U+007D '}'" */
static bool fail_at_character(struct lexer *l, const char *what)
{
    struct buf text = BUF_INIT(256);
    uint32_t rune;

    rune_decode(l->p, strlen(l->p), &rune);
    rune = rune == RUNE_INVALID ? 0xFFFD : rune;
    buf_addf(&text, "%s U+%04X ", what, (unsigned)rune);
    if (rune >= 0x20)
        quote_go_rune(&text, rune);
    else
        buf_truncate(&text, text.len - 1);
    return fail(l, buf_detach(&text));
}

static bool is_blank(char c)
{
    return c && strchr(BLANKS, c);
}

static bool is_name(char c)
{
    return c == '_' || isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* At "}}" or " -}}"; *ret_len is how long it is. */
static bool at_right(const char *p, size_t *ret_len, bool *ret_trim)
{
    if (is_blank(p[0]) && p[1] == '-' && !strncmp(p + 2, "}}", 2)) {
        *ret_len = 4;
        *ret_trim = true;
        return true;
    }
    *ret_len = 2;
    *ret_trim = false;
    return !strncmp(p, "}}", 2);
}

static bool at_terminator(const char *p)
{
    return !*p || is_blank(*p) || strchr(".,|:)(", *p) || !strncmp(p, "}}", 2);
}

/* A name at l->p, after `prefix` characters that belong to it. */
static bool read_name(struct lexer *l, enum token_type type, size_t prefix)
{
    static const char *const keywords[] = {"block", "break", "continue", "define",   "else",
                                           "end",   "if",    "range",    "template", "with"};
    const char *from = l->p;
    size_t len;

    for (l->p += prefix; is_name(*l->p); l->p++)
        ;
    if (!at_terminator(l->p))
        return fail_at_character(l, "bad character");
    len = (size_t)(l->p - from);
    if (type == TOKEN_IDENTIFIER) {
        for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++)
            if (strlen(keywords[i]) == len && !strncmp(keywords[i], from, len))
                type = TOKEN_KEYWORD;
        if ((len == 4 && !strncmp(from, "true", 4)) || (len == 5 && !strncmp(from, "false", 5)))
            type = TOKEN_BOOL;
        else if (len == 3 && !strncmp(from, "nil", 3))
            type = TOKEN_NIL;
    }
    if (type == TOKEN_FIELD && len == 1)
        type = TOKEN_DOT;
    emit(l, type, from);
    return true;
}

/* A quoted text up to the same quote; back slashes protect the next character. */
static bool read_quoted(struct lexer *l, enum token_type type, const char *unterminated)
{
    const char *from = l->p;
    char quote = *l->p++;

    for (;; l->p++) {
        if (!*l->p || (*l->p == '\n' && quote != '`'))
            return fail(l, xstrdup(unterminated));
        if (*l->p == '\\' && quote != '`' && l->p[1] && l->p[1] != '\n')
            l->p++;
        else if (*l->p == quote)
            break;
    }
    l->p++;
    emit(l, type, from);
    return true;
}

/* Digits, signs, points and exponents; what they mean is found by the parser. */
static bool read_number(struct lexer *l)
{
    const char *from = l->p, *digits = "0123456789_";
    bool hex = false;

    l->p += *l->p == '+' || *l->p == '-';
    if (*l->p == '0' && l->p[1] && strchr("xXbBoO", l->p[1])) {
        hex = strchr("xX", l->p[1]);
        digits = hex ? "0123456789abcdefABCDEF_" : digits;
        l->p += 2;
    }
    l->p += strspn(l->p, digits);
    if (*l->p == '.') {
        l->p++;
        l->p += strspn(l->p, digits);
    }
    if (*l->p && strchr(hex ? "pP" : "eE", *l->p)) {
        l->p++;
        l->p += *l->p == '+' || *l->p == '-';
        l->p += strspn(l->p, "0123456789_");
    }
    if (is_name(*l->p)) {
        cleanup_free char *bad = xstrndup(from, (size_t)(l->p + 1 - from)), *quoted = quote_go_str(bad);

        return fail(l, xasprintf("bad number syntax: %s", quoted));
    }
    emit(l, TOKEN_NUMBER, from);
    return true;
}

static bool read_blanks(struct lexer *l)
{
    const char *from = l->p;
    size_t len;
    bool trim;

    while (is_blank(*l->p) && !at_right(l->p, &len, &trim))
        l->p++;
    emit(l, TOKEN_SPACE, from);
    return true;
}

static bool read_parenthesis(struct lexer *l)
{
    const char *from = l->p++;

    l->parens += *from == '(' ? 1 : -1;
    if (l->parens < 0)
        return fail(l, xstrdup("unexpected right paren"));
    emit(l, *from == '(' ? TOKEN_LEFT_PAREN : TOKEN_RIGHT_PAREN, from);
    return true;
}

static bool read_symbol(struct lexer *l, enum token_type type, size_t len)
{
    const char *from = l->p;

    l->p += len;
    emit(l, type, from);
    return true;
}

/* One token inside an action. */
static bool read_inside(struct lexer *l)
{
    char c = *l->p;

    if (!c)
        return fail(l, xstrdup("unclosed action"));
    if (is_blank(c))
        return read_blanks(l);
    if (c == '"')
        return read_quoted(l, TOKEN_STRING, "unterminated quoted string");
    if (c == '`')
        return read_quoted(l, TOKEN_RAW, "unterminated raw quoted string");
    if (c == '\'')
        return read_quoted(l, TOKEN_CHARACTER, "unterminated character constant");
    if (c == '(' || c == ')')
        return read_parenthesis(l);
    if (c == '|' || c == '=')
        return read_symbol(l, c == '|' ? TOKEN_PIPE : TOKEN_ASSIGN, 1);
    if (c == ':')
        return l->p[1] == '=' ? read_symbol(l, TOKEN_DECLARE, 2) : fail(l, xstrdup("expected :="));
    if (c == '$')
        return read_name(l, TOKEN_VARIABLE, 1);
    if (c == '.' && !isdigit((unsigned char)l->p[1]))
        return read_name(l, TOKEN_FIELD, 1);
    if (c == '.' || c == '+' || c == '-' || isdigit((unsigned char)c))
        return read_number(l);
    if (is_name(c))
        return read_name(l, TOKEN_IDENTIFIER, 0);
    if (isprint((unsigned char)c))
        return read_symbol(l, TOKEN_CHAR, 1);
    return fail_at_character(l, "unrecognized character in action:");
}

/* After "{{": a comment leaves no token. */
static bool read_comment(struct lexer *l, bool *ret_trim)
{
    const char *end = strstr(l->p, "*/");
    size_t len;

    if (!end)
        return fail(l, xstrdup("unclosed comment"));
    l->p = end + 2;
    if (!at_right(l->p, &len, ret_trim))
        return fail(l, xstrdup("comment ends before closing delimiter"));
    l->p += len;
    return true;
}

/* From "{{" to "}}". */
static bool read_action(struct lexer *l, bool *ret_trim)
{
    const char *from = l->p;
    size_t len;

    l->p += 2;
    if (l->p[0] == '-' && is_blank(l->p[1]))
        l->p += 2;
    if (!strncmp(l->p, "/*", 2))
        return read_comment(l, ret_trim);
    emit(l, TOKEN_LEFT, from);
    l->parens = 0;
    while (!at_right(l->p, &len, ret_trim))
        if (!read_inside(l))
            return false;
    if (l->parens)
        return fail(l, xstrdup("unclosed left paren"));
    from = l->p;
    l->p += len;
    emit(l, TOKEN_RIGHT, from);
    return true;
}

/* Plain text up to the next action or the end, without the blanks that trim markers take away. */
static void read_text(struct lexer *l, bool trim_left)
{
    const char *from = l->p, *action = strstr(l->p, "{{"), *end = action ? action : l->p + strlen(l->p);
    const char *last = end;

    if (trim_left)
        from += strspn(from, BLANKS);
    if (action && action[2] == '-' && is_blank(action[3]))
        while (last > from && is_blank(last[-1]))
            last--;
    if (last > from) {
        l->p = last;
        emit(l, TOKEN_TEXT, from);
    }
    l->p = end;
}

void tokens_read(struct tokens *t, const char *text)
{
    struct lexer l = {t, text, text, 0};
    bool trim = false;

    for (;;) {
        read_text(&l, trim);
        if (!*l.p)
            break;
        if (!read_action(&l, &trim))
            return;
    }
    emit(&l, TOKEN_EOF, l.p);
}

void tokens_clear(struct tokens *t)
{
    for (size_t i = 0; i < t->len; i++)
        free(t->items[i].message);
    free(t->items);
    *t = (struct tokens){0};
}
