/* The text of a YAML file before it is parsed, and its faults in the words that compose has for them. */
#include "compat/base/err.h"
#include "translate/compose/yaml.h"

#include <libfyaml.h>
#include <stdint.h>
#include <string.h>

/* Length of the UTF-8 sequence at s, 0 when it is none; *ret is the character. */
static size_t decode(const unsigned char *s, size_t len, uint32_t *ret)
{
    size_t n = *s < 0x80 ? 1 : (*s & 0xe0) == 0xc0 ? 2 : (*s & 0xf0) == 0xe0 ? 3 : (*s & 0xf8) == 0xf0 ? 4 : 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

    if (n == 0 || n > len)
        return 0;
    *ret = n == 1 ? *s : *s & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *ret = *ret << 6 | (s[i] & 0x3f);
    }
    return *ret < least[n] || *ret > 0x10ffff || (*ret >= 0xd800 && *ret <= 0xdfff) ? 0 : n;
}

/* YAML's printable characters */
static bool allowed(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c < 0x7f) || c == 0x85 || (c >= 0xa0 && c < 0xfffe) ||
           c >= 0x10000;
}

int yaml_check_text(const char *text, size_t len, struct err *err)
{
    for (size_t at = 0; at < len;) {
        uint32_t c = 0;
        size_t n = decode((const unsigned char *)text + at, len - at, &c);

        if (n == 0)
            return err_set(err, 1, "yaml: invalid leading UTF-8 octet");
        if (!allowed(c))
            return err_set(err, 1, "yaml: control characters are not allowed");
        at += n;
    }
    return 0;
}

/* How compose's library counts the lines of a fault. */
enum counting {
    AT_FAULT, /* the line of the fault */
    AT_BLOCK, /* the line before the one that the block around the fault began on */
    AT_FLOW   /* the same for [ ] and { }, or the line before the fault's */
};

struct wording {
    const char *theirs, *ours;
    enum counting counting;
};

/* What libfyaml says, by a part of it; what compose's library says. */
static const struct wording wordings[] = {
    {"invalid tab", "found character that cannot start any token", AT_FAULT},
    {"tab character", "found character that cannot start any token", AT_FAULT},
    {"plain scalar cannot start with", "found character that cannot start any token", AT_FAULT},
    {"invalid nested block mapping", "mapping values are not allowed in this context", AT_FAULT},
    {"invalid multiline plain key", "mapping values are not allowed in this context", AT_FAULT},
    {"without closing quote", "found unexpected end of stream", AT_FAULT},
    {"could not find expected ':'", "could not find expected ':'", AT_FAULT},
    {"invalid indentation in mapping", "did not find expected key", AT_BLOCK},
    {"block mapping", "did not find expected key", AT_BLOCK},
    {"block sequence", "did not find expected '-' indicator", AT_BLOCK},
    {"flow sequence", "did not find expected ',' or ']'", AT_FLOW},
    {"flow mapping", "did not find expected ',' or '}'", AT_FLOW},
};

/* The line of a fault as it is told: from 0 for what is counted at a block; 0 is not told at all. */
static int told_line(enum counting counting, const struct fy_diag_error *fault, const struct cnode *const *open,
                     size_t depth)
{
    if (counting == AT_FAULT)
        return fault->line > 1 ? fault->line : 0;
    while (counting == AT_BLOCK && depth > 1 && open[depth - 1]->column > fault->column)
        depth--;
    if (depth && open[depth - 1]->line > 1)
        return open[depth - 1]->line - 1;
    return fault->line - 1;
}

int yaml_syntax_error(struct fy_diag *diag, const struct cnode *const *open, size_t depth, struct err *err)
{
    void *it = NULL;
    const struct fy_diag_error *first = fy_diag_errors_iterate(diag, &it);
    struct wording w = {"", NULL, AT_FAULT};
    int line;

    if (!first)
        return err_set(err, 1, "yaml: not a YAML file");
    for (size_t i = 0; !w.ours && i < sizeof(wordings) / sizeof(wordings[0]); i++)
        if (strstr(first->msg, wordings[i].theirs))
            w = wordings[i];
    if (w.counting == AT_FLOW && depth && open[depth - 1]->kind == CNODE_LIST && open[depth - 1]->len == 0)
        w.ours = "did not find expected node content";
    line = told_line(w.counting, first, open, depth);
    if (line <= 0)
        return err_set(err, 1, "yaml: %s", w.ours ? w.ours : first->msg);
    return err_set(err, 1, "yaml: line %d: %s", line, w.ours ? w.ours : first->msg);
}
