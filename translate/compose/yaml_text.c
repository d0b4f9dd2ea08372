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
    int line = 1;

    for (size_t at = 0; at < len;) {
        uint32_t c = 0;
        size_t n = decode((const unsigned char *)text + at, len - at, &c);

        if (n == 0)
            return err_set(err, 1, "yaml: line %d: invalid UTF-8", line);
        if (!allowed(c))
            return err_set(err, 1, "yaml: line %d: control characters are not allowed", line);
        line += c == '\n';
        at += n;
    }
    return 0;
}

struct wording {
    const char *theirs, *ours;
};

/* What libfyaml says, by a part of it; what compose's library says. */
static const struct wording wordings[] = {
    {"invalid tab", "found character that cannot start any token"},
    {"tab character", "found character that cannot start any token"},
    {"reserved indicator", "found character that cannot start any token"},
    {"block mapping without new line", "mapping values are not allowed in this context"},
    {"invalid block mapping", "did not find expected key"},
    {"could not find expected ':'", "could not find expected ':'"},
    {"implicit", "could not find expected ':'"},
    {"block collection", "did not find expected '-' indicator"},
    {"did not find expected <block end>", "did not find expected key"},
    {"did not find expected key", "did not find expected key"},
    {"EOF", "found unexpected end of stream"},
    {"end of stream", "found unexpected end of stream"},
    {"flow sequence", "did not find expected ',' or ']'"},
    {"flow mapping", "did not find expected ',' or '}'"},
};

int yaml_syntax_error(struct fy_diag *diag, struct err *err)
{
    void *it = NULL;
    const struct fy_diag_error *first = fy_diag_errors_iterate(diag, &it);

    if (!first)
        return err_set(err, 1, "yaml: not a YAML file");
    for (size_t i = 0; i < sizeof(wordings) / sizeof(wordings[0]); i++)
        if (strstr(first->msg, wordings[i].theirs))
            return err_set(err, 1, "yaml: line %d: %s", first->line, wordings[i].ours);
    return err_set(err, 1, "yaml: line %d: %s", first->line, first->msg);
}
