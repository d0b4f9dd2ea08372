/* Env files as compose reads them: quotes, `export`, escapes, variables, values of several lines. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"
#include "translate/compose/load.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SHOWN 200 /* bytes of a bad line in a message */

struct dotenv {
    lookup_fn *lookup;
    const void *arg;
    struct cnode *vars;
    struct strlist *warnings;
    size_t *text_left;
    int line;
    struct err *err;
};

/* Length of the character that s begins with: what follows its first byte need not be there. */
static size_t sequence(const char *s)
{
    size_t n = *s ? 1 : 0;

    while (n && n < 4 && ((unsigned char)s[0] & 0x80) && ((unsigned char)s[n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* A space of any kind, but no end of line; 0 when s does not begin with one, else its length. U+0085 and U+00A0 are. */
static size_t space(const char *s)
{
    if (*s && strchr("\t\v\f\r ", *s))
        return 1;
    return (unsigned char)s[0] == 0xc2 && ((unsigned char)s[1] == 0x85 || (unsigned char)s[1] == 0xa0) ? 2 : 0;
}

static const char *skip_spaces(const char *s)
{
    size_t n;

    while ((n = space(s)))
        s += n;
    return s;
}

/* Where the next variable begins, past comments and empty lines; NULL at the end. */
static const char *statement(struct dotenv *d, const char *s)
{
    for (;;) {
        size_t n;

        while (*s == '\n' || (n = space(s))) {
            d->line += *s == '\n';
            s += *s == '\n' ? 1 : n;
        }
        if (*s != '#')
            return *s ? s : NULL;
        s += strcspn(s, "\n");
    }
}

static int bad_character(const struct dotenv *d, const char *s, const char *at)
{
    size_t line = strcspn(s, "\n"), shown = line < LINE_SHOWN ? line : LINE_SHOWN;

    return err_set(d->err, 1, "line %d: unexpected character \"%.*s\" in variable name \"%.*s\"", d->line,
                   (int)sequence(at), at, (int)shown, s);
}

/* The name that a statement begins with. *ret_alone: there is no value, the one of the environment is meant. */
static const char *name(struct dotenv *d, const char *s, char **ret_name, bool *ret_alone)
{
    size_t len = 0, n;

    if (!strncmp(s, "export", 6) && isspace((unsigned char)s[6]))
        s = skip_spaces(s + 6);
    for (;; len += n) {
        unsigned char c = (unsigned char)s[len];

        n = space(s + len);
        if (n)
            continue;
        n = sequence(s + len);
        if (!c || strchr("=:\n", c))
            break;
        if (!isalnum(c) && !strchr("_.-[]", c) && c < 0x80) {
            bad_character(d, s, s + len);
            return NULL;
        }
    }
    if (len == 0 && !s[len]) {
        err_set(d->err, 1, "zero length string");
        return NULL;
    }
    *ret_alone = s[len] == '\n' || !s[len];
    *ret_name = xstrndup(s, s[len] ? len : 0); /* a name that the file ends with is none, as compose has it */
    for (char *end = *ret_name + strlen(*ret_name); end > *ret_name && isspace((unsigned char)end[-1]); end--)
        end[-1] = '\0';
    if (*ret_alone && !strchr(*ret_name, ' '))
        d->line++;
    return s[len] ? skip_spaces(s + len + 1) : s + len;
}

/* Puts variables in, those that the file has itself among them. */
static const char *lookup_both(const void *arg, const char *key)
{
    const struct dotenv *d = arg;
    const char *value = d->lookup(d->arg, key);

    return value ? value : cnode_str(d->vars, key);
}

static int expand(struct dotenv *d, const char *text, char **ret)
{
    cleanup_err struct err why = ERR_INIT;

    if (interpolate_text(text, lookup_both, d, d->warnings, d->text_left, ret, &why) == 0)
        return 0;
    if (why.code == INTERPOLATE_FORMAT)
        return err_set(d->err, 1, "Invalid template: \"%s\"", why.msg);
    return err_set(d->err, 1, "%s", why.msg);
}

/* An octal escape \0nnn: as many digits as Go takes. Returns how many bytes it has, 0 when it is none. */
static size_t octal(const char *s, struct buf *out)
{
    size_t digits = 0;
    unsigned value = 0;

    while (digits < 3 && s[2 + digits] >= '0' && s[2 + digits] <= '7')
        value = value * 8 + (unsigned)(s[2 + digits++] - '0');
    if (digits < 3 || value > 255)
        return 0;
    if (value < 0x80)
        buf_addc(out, (char)value);
    else
        buf_addf(out, "%c%c", (char)(0xc0 | value >> 6), (char)(0x80 | (value & 0x3f)));
    return 2 + digits;
}

/* The escapes of a text in double quotes. \$ becomes $$, since variables are put in afterwards. */
static void escapes(const char *s, struct buf *out)
{
    static const char from[] = "abfnrtv\"\\", to[] = "\a\b\f\n\r\t\v\"\\";

    while (*s) {
        const char *known = s[0] == '\\' && s[1] ? strchr(from, s[1]) : NULL;
        size_t n = s[0] == '\\' && s[1] == '0' ? octal(s, out) : 0;

        if (n) {
            s += n;
        } else if (known) {
            buf_addc(out, to[known - from]);
            s += 2;
        } else if (s[0] == '\\' && s[1] == '$') {
            buf_adds(out, "$$");
            s += 2;
        } else {
            buf_addc(out, *s++);
        }
    }
}

static const char *unquoted(struct dotenv *d, const char *s, char **ret)
{
    size_t line = strcspn(s, "\n"), len = line;
    cleanup_free char *text = NULL;
    const char *comment = memmem(s, line, " #", 2);

    if (comment)
        len = (size_t)(comment - s);
    while (len && isspace((unsigned char)s[len - 1]))
        len--;
    text = xstrndup(s, len);
    d->line++;
    if (expand(d, text, ret) < 0)
        return NULL;
    return s[line] ? s + line + 1 : s + line;
}

/* A value in quotes; s is at the first of them. */
static const char *quoted(struct dotenv *d, const char *s, char **ret)
{
    cleanup_buf struct buf raw = BUF_INIT(LIMIT_CONFIG_FILE), plain = BUF_INIT(LIMIT_CONFIG_FILE * 2);
    const char *p = s + 1;

    for (; *p && *p != *s; p++) {
        d->line += *p == '\n';
        if (*p != '\\') {
            buf_addc(&raw, *p);
            continue;
        }
        p++;
        if (!*p)
            break;
        d->line += *p == '\n';
        if (*p != *s)
            buf_addc(&raw, '\\');
        buf_addc(&raw, *p);
    }
    if (!*p) {
        size_t line = strcspn(s, "\n");

        err_set(d->err, 1, "line %d: unterminated quoted value %.*s", d->line,
                (int)(line < LINE_SHOWN ? line : LINE_SHOWN), s);
        return NULL;
    }
    if (*s == '\'') {
        *ret = xstrdup(raw.data);
        return p + 1;
    }
    escapes(raw.data, &plain);
    return expand(d, plain.data, ret) < 0 ? NULL : p + 1;
}

/* One variable; behind it. NULL with err. */
static const char *variable(struct dotenv *d, const char *s)
{
    cleanup_free char *key = NULL, *value = NULL;
    bool alone = false;

    s = name(d, s, &key, &alone);
    if (!s)
        return NULL;
    if (strchr(key, ' ')) {
        err_set(d->err, 1, "line %d: key cannot contain a space", d->line);
        return NULL;
    }
    if (alone) {
        const char *known = d->lookup(d->arg, key);

        if (known)
            cnode_set(d->vars, key, cnode_string(known));
        return s;
    }
    s = *s == '"' || *s == '\'' ? quoted(d, s, &value) : unquoted(d, s, &value);
    if (s)
        cnode_set(d->vars, key, cnode_string(value));
    return s;
}

int dotenv_parse(const char *text, lookup_fn *lookup, const void *arg, struct cnode *vars, struct strlist *warnings,
                 size_t *text_left, struct err *err)
{
    struct dotenv d = {lookup, arg, vars, warnings, text_left, 1, err};
    const char *s = text;

    if (!strncmp(s, "\xef\xbb\xbf", 3))
        s += 3;
    for (;;) {
        s = statement(&d, s);
        if (!s)
            return 0;
        s = variable(&d, s);
        if (!s)
            return -1;
    }
}

int dotenv_files(struct loader *l, const struct cnode *current, const struct strlist *files, struct cnode *vars,
                 struct err *err)
{
    for (size_t i = 0; i < files->len; i++) {
        cleanup_free char *path = path_absolute(l->in->cwd, files->items[i]), *text = NULL;
        bool dir = false;

        if (!l->in->exists(l->in->arg, path, &dir))
            return err_set(err, 1, "couldn't find env file: %s", path);
        if (dir)
            return err_set(err, 1, "%s is a directory", path);
        text = file_read(l, path, err);
        if (!text)
            return -1;
        if (dotenv_parse(text, lookup_map, current, vars, l->warnings, &l->text_left, err) < 0)
            return err_wrap(err, "failed to read %s", path);
    }
    return 0;
}
