#include "backends/engine/utf8.h"

#include "compat/base/buf.h"

#include <stdint.h>

/* Length of the character at p: 0 = none starts here, negative = it is cut off but good so far. */
static int sequence(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t mask, lead, second_min, second_max;
        int len;
    } forms[] = {
        {0xff, 0xe0, 0xa0, 0xbf, 3}, {0xff, 0xed, 0x80, 0x9f, 3}, {0xf0, 0xe0, 0x80, 0xbf, 3},
        {0xff, 0xf0, 0x90, 0xbf, 4}, {0xff, 0xf4, 0x80, 0x8f, 4}, {0xfc, 0xf0, 0x80, 0xbf, 4},
        {0xe0, 0xc0, 0x80, 0xbf, 2},
    };

    if (*p && *p < 0x80)
        return 1;
    if (*p == 0xc0 || *p == 0xc1)
        return 0;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if ((*p & forms[i].mask) != forms[i].lead)
            continue;
        for (int n = 1; n < forms[i].len; n++) {
            if ((size_t)n == left)
                return -1;
            if (n == 1 ? p[1] < forms[i].second_min || p[1] > forms[i].second_max : (p[n] & 0xc0) != 0x80)
                return 0;
        }
        return forms[i].len;
    }
    return 0;
}

size_t utf8_clean(struct buf *out, const void *bytes, size_t len, bool last)
{
    const uint8_t *p = bytes;
    size_t at = 0;

    while (at < len) {
        int n = sequence(p + at, len - at);

        if (n < 0 && !last)
            break;
        if (n > 0)
            buf_add(out, p + at, (size_t)n);
        else
            buf_adds(out, "\xef\xbf\xbd");
        at += n > 0 ? (size_t)n : 1;
    }
    return at;
}
