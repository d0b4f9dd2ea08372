#include "translate/toml.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAX_KEYS 10000u /* each new key is compared with all others; nobody writes so many by hand */

struct parser {
    const char *file;
    const char *p; /* NUL-terminated */
    int line;
    struct strlist table; /* the header that holds now */
    struct toml *toml;
    struct err *err;
};

static int fail(const struct parser *ps, const char *what)
{
    return err_set(ps->err, 125, "%s:%d: %s", ps->file, ps->line, what);
}

static void skip_blanks(struct parser *ps)
{
    ps->p += strspn(ps->p, " \t");
}

void toml_clear(struct toml *t)
{
    for (size_t i = 0; i < t->len; i++) {
        strlist_clear(&t->entries[i].path);
        if (t->entries[i].text)
            explicit_bzero(t->entries[i].text, strlen(t->entries[i].text)); /* may be a secret */
        free(t->entries[i].text);
    }
    for (size_t i = 0; i < t->tables_len; i++)
        strlist_clear(&t->tables[i].path);
    free(t->entries);
    free(t->tables);
    *t = (struct toml){0};
}

/* --- strings --- */

/* \uXXXX (digits = 4) or \UXXXXXXXX (8), the letter already read. */
static int unicode_escape(struct parser *ps, int digits, struct buf *out)
{
    uint32_t rune = 0;

    for (int i = 0; i < digits; i++, ps->p++) {
        if (!isxdigit((unsigned char)*ps->p))
            return fail(ps, "a \\u escape has four hexadecimal digits, a \\U escape eight");
        rune = rune * 16 + (uint32_t)(isdigit((unsigned char)*ps->p) ? *ps->p - '0' : (*ps->p | 32) - 'a' + 10);
    }
    if (rune == 0 || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
        return fail(ps, "this \\u escape is not a character");
    rune_encode(out, rune);
    return 0;
}

/* One escape sequence; ps->p stands after the backslash. */
static int escape(struct parser *ps, struct buf *out)
{
    static const char letters[] = "btnfr\"\\", bytes[] = "\b\t\n\f\r\"\\";
    char c = *ps->p;
    const char *at = c ? strchr(letters, c) : NULL;

    if (c == 'u' || c == 'U') {
        ps->p++;
        return unicode_escape(ps, c == 'u' ? 4 : 8, out);
    }
    if (!at)
        return fail(ps, "unknown escape in a string; a backslash itself is written \\\\");
    buf_addc(out, bytes[at - letters]);
    ps->p++;
    return 0;
}

/* A string in " or ' quotes on one line; ps->p stands on the quote. */
static int quoted(struct parser *ps, struct buf *out)
{
    char quote = *ps->p;

    if (ps->p[1] == quote && ps->p[2] == quote)
        return fail(ps, "multi-line strings are not read here; write the string on one line");
    for (ps->p++; *ps->p != quote;) {
        unsigned char c = (unsigned char)*ps->p;

        if (c == '\0' || c == '\n' || (c == '\r' && ps->p[1] == '\n'))
            return fail(ps, "a string does not end on its line");
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return fail(ps, "a string holds a control character");
        ps->p++;
        if (c == '\\' && quote == '"') {
            if (escape(ps, out) < 0)
                return -1;
        } else {
            buf_addc(out, (char)c);
        }
    }
    ps->p++;
    return 0;
}

/* --- keys --- */

static bool is_bare(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* One part of a key: bare or quoted. */
static int key_part(struct parser *ps, struct strlist *path)
{
    cleanup_buf struct buf part = BUF_INIT(LIMIT_CONFIG_FILE);

    if (*ps->p == '"' || *ps->p == '\'') {
        if (quoted(ps, &part) < 0)
            return -1;
    } else {
        while (is_bare(*ps->p))
            buf_addc(&part, *ps->p++);
        if (part.len == 0)
            return fail(ps, "a key is expected here: letters, digits, '_', '-', or a quoted string");
    }
    strlist_add(path, part.data);
    return 0;
}

static int key_path(struct parser *ps, struct strlist *path)
{
    for (;;) {
        if (key_part(ps, path) < 0)
            return -1;
        skip_blanks(ps);
        if (*ps->p != '.')
            return 0;
        ps->p++;
        skip_blanks(ps);
    }
}

static bool is_prefix(const struct strlist *a, const struct strlist *b)
{
    if (a->len > b->len)
        return false;
    for (size_t i = 0; i < a->len; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

/* A key may be said once, and cannot be a value and a table. */
static int check_new(const struct parser *ps, const struct strlist *path, bool is_table)
{
    const struct toml *t = ps->toml;

    if (t->len + t->tables_len >= MAX_KEYS)
        return fail(ps, "the file has too many keys");
    for (size_t i = 0; i < t->len; i++)
        if (is_prefix(&t->entries[i].path, path) || (!is_table && is_prefix(path, &t->entries[i].path)))
            return err_set(ps->err, 125, "%s:%d: '%s' was already defined on line %d", ps->file, ps->line,
                           path->items[path->len - 1], t->entries[i].line);
    for (size_t i = 0; i < t->tables_len; i++) {
        bool same = is_prefix(path, &t->tables[i].path) && (!is_table || path->len == t->tables[i].path.len);

        if (same)
            return err_set(ps->err, 125, "%s:%d: '%s' was already defined on line %d", ps->file, ps->line,
                           path->items[path->len - 1], t->tables[i].line);
    }
    return 0;
}

/* --- values that are not strings --- */

/* Digits with single underscores between them; appends the digits. */
static bool digits(const char **p, const char *set, struct buf *out)
{
    bool last_digit = false;

    for (; **p; (*p)++) {
        if (strchr(set, **p)) {
            buf_addc(out, **p);
            last_digit = true;
        } else if (**p == '_' && last_digit) {
            last_digit = false;
        } else {
            break;
        }
    }
    return last_digit;
}

/* 0x, 0o and 0b; kept as written. */
static bool prefixed_integer(const char *s, struct buf *out)
{
    const char *set = s[1] == 'x' ? "0123456789abcdefABCDEF" : s[1] == 'o' ? "01234567" : "01";

    if (s[0] != '0' || !s[1] || !strchr("xob", s[1]))
        return false;
    buf_add(out, s, 2);
    s += 2;
    return digits(&s, set, out) && *s == '\0';
}

/* [+-]digits[.digits][e[+-]digits], inf, nan. False when word is no number. */
static bool number(const char *word, enum toml_type *type, struct buf *out)
{
    const char *s = word;

    *type = TOML_INT;
    if (prefixed_integer(word, out))
        return true;
    buf_reset(out);
    if (*s == '-')
        buf_addc(out, '-');
    s += *s == '+' || *s == '-';
    if (strcmp(s, "inf") == 0 || strcmp(s, "nan") == 0) {
        *type = TOML_FLOAT;
        buf_adds(out, s);
        return true;
    }
    if (s[0] == '0' && s[1] && !strchr(".eE", s[1]))
        return false;
    if (!digits(&s, "0123456789", out))
        return false;
    if (*s == '.') {
        *type = TOML_FLOAT;
        buf_addc(out, *s++);
        if (!digits(&s, "0123456789", out))
            return false;
    }
    if (*s == 'e' || *s == 'E') {
        *type = TOML_FLOAT;
        buf_addc(out, *s++);
        if (*s == '+' || *s == '-')
            buf_addc(out, *s++);
        if (!digits(&s, "0123456789", out))
            return false;
    }
    return *s == '\0';
}

static int plain_value(struct parser *ps, enum toml_type *type, struct buf *out)
{
    size_t len = strcspn(ps->p, " \t\r\n#");
    cleanup_free char *word = xstrndup(ps->p, len);

    if (len == 0)
        return fail(ps, "a value is missing");
    ps->p += len;
    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0) {
        *type = TOML_BOOL;
        buf_adds(out, word);
        return 0;
    }
    if (number(word, type, out))
        return 0;
    if (word[0] == '[' || word[0] == '{')
        return fail(ps, "arrays and inline tables are not read here");
    return fail(ps, "this value is neither a string in quotes, nor a number, nor true or false");
}

/* --- statements --- */

static int end_of_line(struct parser *ps)
{
    skip_blanks(ps);
    if (*ps->p == '#')
        ps->p += strcspn(ps->p, "\n");
    if (*ps->p == '\r' && (ps->p[1] == '\n' || ps->p[1] == '\0'))
        ps->p++;
    if (*ps->p == '\0')
        return 0;
    if (*ps->p != '\n')
        return fail(ps, "something stands after the end of this statement");
    ps->p++;
    ps->line++;
    return 0;
}

/* [a.b] */
static int table_header(struct parser *ps)
{
    struct strlist path = STRLIST_INIT;
    struct toml *t = ps->toml;

    if (ps->p[1] == '[')
        return fail(ps, "arrays of tables are not read here");
    ps->p++;
    skip_blanks(ps);
    if (key_path(ps, &path) < 0 || check_new(ps, &path, true) < 0) {
        strlist_clear(&path);
        return -1;
    }
    t->tables = xreallocarray(t->tables, t->tables_len + 1, sizeof(*t->tables));
    t->tables[t->tables_len++] = (struct toml_table){path, ps->line};
    strlist_clear(&ps->table);
    strlist_copy(&ps->table, &path);
    if (*ps->p != ']')
        return fail(ps, "a table's name ends with ']'");
    ps->p++;
    return end_of_line(ps);
}

/* key = value */
static int key_value(struct parser *ps)
{
    cleanup_strlist struct strlist path = STRLIST_INIT;
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    struct toml *t = ps->toml;
    enum toml_type type = TOML_STRING;

    strlist_copy(&path, &ps->table);
    if (key_path(ps, &path) < 0 || check_new(ps, &path, false) < 0)
        return -1;
    if (*ps->p != '=')
        return fail(ps, "'=' is expected after a key");
    ps->p++;
    skip_blanks(ps);
    if ((*ps->p == '"' || *ps->p == '\'' ? quoted(ps, &text) : plain_value(ps, &type, &text)) < 0)
        return -1;
    t->entries = xreallocarray(t->entries, t->len + 1, sizeof(*t->entries));
    t->entries[t->len] = (struct toml_entry){.type = type, .text = buf_detach(&text), .line = ps->line};
    strlist_copy(&t->entries[t->len++].path, &path);
    return end_of_line(ps);
}

static int parse(struct parser *ps)
{
    while (*ps->p) {
        int rc;

        skip_blanks(ps);
        if (*ps->p == '[')
            rc = table_header(ps);
        else if (*ps->p == '\0' || strchr("#\r\n", *ps->p))
            rc = end_of_line(ps);
        else
            rc = key_value(ps);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* NUL bytes and broken UTF-8 are found before anything is understood. */
static int check_text(const char *file, const char *text, size_t len, struct err *err)
{
    int line = 1;

    for (size_t at = 0; at < len;) {
        uint32_t rune;

        at += rune_decode(text + at, len - at, &rune);
        if (rune == 0 || rune == RUNE_INVALID)
            return err_set(err, 125, "%s:%d: this line is not UTF-8 text", file, line);
        line += rune == '\n';
    }
    return 0;
}

int toml_parse(const char *file, const char *text, size_t len, struct toml *ret, struct err *err)
{
    struct toml t = {0};
    struct parser ps = {.file = file, .line = 1, .toml = &t, .err = err};
    cleanup_free char *copy = NULL;
    int rc;

    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (check_text(file, text, len, err) < 0)
        return -1;
    copy = xstrndup(text, len);
    ps.p = copy;
    rc = parse(&ps);
    strlist_clear(&ps.table);
    explicit_bzero(copy, len);
    if (rc < 0) {
        toml_clear(&t);
        return -1;
    }
    *ret = t;
    return 0;
}

const struct toml_entry *toml_get(const struct toml *t, const char *table, const char *key)
{
    for (size_t i = 0; i < t->len; i++) {
        const struct strlist *path = &t->entries[i].path;

        if (path->len == 2 && strcmp(path->items[0], table) == 0 && strcmp(path->items[1], key) == 0)
            return &t->entries[i];
    }
    return NULL;
}
