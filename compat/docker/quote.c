#include "compat/docker/quote.h"

#include "compat/base/buf.h"

#include <stdbool.h>
#include <string.h>

#define MAX_RUNE    0x10FFFFu
#define REPLACEMENT 0xFFFDu
#define LIMIT_QUOTED                                                                                                   \
    (8u << 20) /* an argument list is far smaller (ARG_MAX), its escapes at most four times as long                    \
                */

static bool is_continuation(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

size_t rune_decode(const char *s, size_t len, uint32_t *ret_rune)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)s;
    size_t need = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    uint32_t rune;

    *ret_rune = RUNE_INVALID;
    if (!need || need > len)
        return 1;
    rune = need == 1 ? p[0] : p[0] & (0xFFu >> (need + 1));
    for (size_t i = 1; i < need; i++) {
        if (!is_continuation(p[i]))
            return 1;
        rune = rune << 6 | (p[i] & 0x3F);
    }
    if (rune < smallest[need] || rune > MAX_RUNE || (rune >= 0xD800 && rune < 0xE000))
        return 1;
    *ret_rune = rune;
    return need;
}

void rune_encode(struct buf *out, uint32_t rune)
{
    if (rune > MAX_RUNE || (rune >= 0xD800 && rune < 0xE000))
        rune = REPLACEMENT;
    if (rune < 0x80) {
        buf_addc(out, (char)rune);
        return;
    }
    if (rune < 0x800) {
        buf_addc(out, (char)(0xC0 | rune >> 6));
    } else {
        if (rune < 0x10000) {
            buf_addc(out, (char)(0xE0 | rune >> 12));
        } else {
            buf_addc(out, (char)(0xF0 | rune >> 18));
            buf_addc(out, (char)(0x80 | (rune >> 12 & 0x3F)));
        }
        buf_addc(out, (char)(0x80 | (rune >> 6 & 0x3F)));
    }
    buf_addc(out, (char)(0x80 | (rune & 0x3F)));
}

size_t rune_count(const char *s, size_t len)
{
    size_t count = 0;
    uint32_t rune;

    for (size_t i = 0; i < len; count++)
        i += rune_decode(s + i, len - i, &rune);
    return count;
}

/* Go's IsPrint without its tables: the blocks of spaces, controls, private use and noncharacters are left out. */
static bool is_printable(uint32_t r)
{
    if (r < 0x7F)
        return r >= ' ';
    if (r < 0xA1 || r == 0xAD || r == 0x1680 || r == 0x3000 || r == 0xFEFF)
        return false;
    if ((r >= 0x2000 && r <= 0x200F) || (r >= 0x2028 && r <= 0x202F) || (r >= 0x205F && r <= 0x206F))
        return false;
    if ((r >= 0xE000 && r <= 0xF8FF) || (r >= 0xFFF0 && r <= 0xFFFB) || r >= 0xE0000)
        return false;
    return (r & 0xFFFE) != 0xFFFE;
}

/* One rune inside quotes of the given kind. */
static void add_escaped(struct buf *out, uint32_t rune, char quote)
{
    static const char letters[] = "abfnrtv", codes[] = "\a\b\f\n\r\t\v";
    const char *at = rune && rune < 0x80 ? strchr(codes, (int)rune) : NULL;

    if (rune == (uint32_t)quote || rune == '\\')
        buf_addf(out, "\\%c", (int)rune);
    else if (is_printable(rune))
        rune_encode(out, rune);
    else if (at)
        buf_addf(out, "\\%c", letters[at - codes]);
    else if (rune < ' ' || rune == 0x7F)
        buf_addf(out, "\\x%02x", (unsigned)rune);
    else
        buf_addf(out, rune < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)rune);
}

void quote_go(struct buf *out, const char *s, size_t len)
{
    uint32_t rune;

    buf_addc(out, '"');
    for (size_t i = 0; i < len;) {
        size_t took = rune_decode(s + i, len - i, &rune);

        if (rune == RUNE_INVALID)
            buf_addf(out, "\\x%02x", (unsigned char)s[i]);
        else
            add_escaped(out, rune, '"');
        i += took;
    }
    buf_addc(out, '"');
}

char *quote_go_str(const char *s)
{
    struct buf out = BUF_INIT(LIMIT_QUOTED);

    quote_go(&out, s, strlen(s));
    return buf_detach(&out);
}

void quote_go_rune(struct buf *out, uint32_t rune)
{
    buf_addc(out, '\'');
    add_escaped(out, rune > MAX_RUNE ? REPLACEMENT : rune, '\'');
    buf_addc(out, '\'');
}
