#include "backends/agent/json.h"

#include "compat/base/buf.h"

/* Length of the UTF-8 sequence at s, 0 if it is none. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] < 0xf5 ? 4 : 0;

    if (s[0] >= 0x80 && s[0] < 0xc2)
        return 0;
    if (!n || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))) ||
        (n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))))
        return 0;
    return n;
}

void json_string(struct buf *b, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;

    buf_addc(b, '"');
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(s + i, len - i);

        if (!n)
            buf_adds(b, "\\ufffd");
        else if (s[i] == '"' || s[i] == '\\')
            buf_addf(b, "\\%c", s[i]);
        else if (s[i] < 0x20)
            buf_addf(b, "\\u%04x", s[i]);
        else
            buf_add(b, s + i, n);
        i += n ? n : 1;
    }
    buf_addc(b, '"');
}

/* Days to a date of the proleptic Gregorian calendar: eras of 400 years begin in March, so that a leap day is last. */
void json_time(struct buf *b, int64_t ns)
{
    int64_t secs = ns / 1000000000, days = secs / 86400, left = secs % 86400;
    int64_t shifted = days + 719468, era = shifted / 146097, doe = shifted % 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153, month = mp < 10 ? mp + 3 : mp - 9;
    int64_t year = yoe + era * 400 + (month <= 2);
    int fraction = (int)(ns % 1000000000), width = 9;

    buf_addf(b, "\"%04d-%02d-%02dT%02d:%02d:%02d", (int)year, (int)month, (int)(doy - (153 * mp + 2) / 5 + 1),
             (int)(left / 3600), (int)(left / 60 % 60), (int)(left % 60));
    while (fraction && fraction % 10 == 0) {
        fraction /= 10;
        width--;
    }
    if (fraction)
        buf_addf(b, ".%0*d", width, fraction);
    buf_adds(b, "Z\"");
}
