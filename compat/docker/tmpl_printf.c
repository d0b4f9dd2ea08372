/* Go's fmt for the values that JSON has: print, println and the verbs of printf. */
#include "compat/docker/tmpl_node.h"

#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/docker/json_text.h"
#include "compat/docker/quote.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WIDTH 1000000 /* Go's own limit */

/* One verb: %[flags][width][.precision]verb */
struct verb {
    bool plus, minus, sharp, space, zero;
    int width, precision; /* -1 = none */
    char letter;
};

static void add_value(struct buf *out, const struct verb *v, const json_t *value);

void go_sprint(struct buf *out, json_t *const *args, size_t count, bool line)
{
    for (size_t i = 0; i < count; i++) {
        bool text = json_is_string(args[i]) || (i && json_is_string(args[i - 1]));

        if (i && (line || !text))
            buf_addc(out, ' ');
        json_plain(out, args[i]);
    }
    if (line)
        buf_addc(out, '\n');
}

/* Puts text into the field of the verb. */
static void add_padded(struct buf *out, const struct verb *v, const char *text, size_t len, bool zeros)
{
    size_t width = rune_count(text, len), wanted = v->width > 0 ? (size_t)v->width : 0;

    if (zeros && v->zero && !v->minus && wanted > width && (*text == '-' || *text == '+' || *text == ' ')) {
        buf_addc(out, *text++); /* the sign stands before the zeros */
        len--;
        wanted--;
        width--;
    }
    for (size_t i = width; !v->minus && i < wanted && !out->overflowed; i++)
        buf_addc(out, zeros && v->zero ? '0' : ' ');
    buf_add(out, text, len);
    for (size_t i = width; v->minus && i < wanted && !out->overflowed; i++)
        buf_addc(out, ' ');
}

/* "%!d(string=x)" */
static void add_bad(struct buf *out, const struct verb *v, const json_t *value)
{
    buf_addf(out, "%%!%c(", v->letter);
    if (!value || json_is_null(value)) {
        buf_adds(out, "<nil>");
    } else {
        buf_addf(out, "%s=", value_type(value));
        json_plain(out, value);
    }
    buf_addc(out, ')');
}

static void digits_in_base(struct buf *out, uint64_t number, unsigned base, bool upper)
{
    char digits[65], *p = digits + sizeof(digits);

    do
        *--p = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[number % base];
    while (number /= base);
    buf_add(out, p, (size_t)(digits + sizeof(digits) - p));
}

static void add_integer(struct buf *out, const struct verb *v, json_int_t number)
{
    cleanup_buf struct buf text = BUF_INIT(256);
    uint64_t magnitude = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    unsigned base = strchr("xX", v->letter) ? 16 : v->letter == 'b' ? 2 : strchr("oO", v->letter) ? 8 : 10;

    if (number < 0)
        buf_addc(&text, '-');
    else if (v->plus || v->space)
        buf_addc(&text, v->plus ? '+' : ' ');
    if (v->sharp && base == 16)
        buf_adds(&text, v->letter == 'x' ? "0x" : "0X");
    else if (v->letter == 'O' || (v->sharp && base == 2))
        buf_adds(&text, base == 2 ? "0b" : "0o");
    else if (v->sharp && base == 8)
        buf_addc(&text, '0');
    digits_in_base(&text, magnitude, base, v->letter == 'X');
    add_padded(out, v, text.data, text.len, /* zeros= */ true);
}

/* %c, %q and %U of a number. */
static void add_rune(struct buf *out, const struct verb *v, json_int_t number)
{
    cleanup_buf struct buf text = BUF_INIT(64);
    uint32_t rune = number < 0 || number > 0x10FFFF ? 0xFFFD : (uint32_t)number;

    if (v->letter == 'c')
        rune_encode(&text, rune);
    else if (v->letter == 'q')
        quote_go_rune(&text, rune);
    else
        buf_addf(&text, "U+%04" PRIX64, (uint64_t)number);
    add_padded(out, v, text.data, text.len, /* zeros= */ false);
}

static void add_float(struct buf *out, const struct verb *v, double number)
{
    cleanup_buf struct buf text = BUF_INIT(2048);
    char format[] = {'%', '.', '*', v->letter, '\0'};

    if (v->plus && number >= 0)
        buf_addc(&text, '+');
    else if (v->space && number >= 0)
        buf_addc(&text, ' ');
    if (v->letter == 'v' || (strchr("gG", v->letter) && v->precision < 0)) {
        json_plain_real(&text, number);
    } else {
        format[3] = v->letter == 'F' ? 'f' : v->letter;
        buf_addf(&text, format, v->precision < 0 ? 6 : v->precision > 1000 ? 1000 : v->precision, number);
    }
    add_padded(out, v, text.data, text.len, /* zeros= */ true);
}

/* %x of a text: its bytes. */
static void add_hex(struct buf *out, const struct verb *v, const char *s, size_t len)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

    for (size_t i = 0; i < len; i++)
        buf_addf(&text, v->letter == 'x' ? "%s%02x" : "%s%02X", v->space && i ? " " : "", (unsigned char)s[i]);
    add_padded(out, v, text.data, text.len, /* zeros= */ false);
}

static void add_text(struct buf *out, const struct verb *v, const json_t *value)
{
    const char *s = json_string_value(value);
    size_t len = json_string_length(value), cut = 0;
    uint32_t rune;

    for (int i = 0; v->precision >= 0 && i < v->precision && cut < len; i++)
        cut += rune_decode(s + cut, len - cut, &rune);
    if (v->precision >= 0)
        len = cut;
    if (v->letter == 'q' || (v->letter == 'v' && v->sharp)) {
        cleanup_buf struct buf quoted = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

        quote_go(&quoted, s, len);
        add_padded(out, v, quoted.data, quoted.len, /* zeros= */ false);
    } else if (strchr("xX", v->letter)) {
        add_hex(out, v, s, len);
    } else {
        add_padded(out, v, s, len, /* zeros= */ false);
    }
}

/* A list or an object: the verb goes to each member. */
static void add_members(struct buf *out, const struct verb *v, const json_t *value)
{
    buf_adds(out, json_is_array(value) ? "[" : "map[");
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i)
                buf_addc(out, ' ');
            add_value(out, v, json_array_get(value, i));
        }
    } else {
        size_t len;
        cleanup_free struct json_member *members = json_sorted(value, &len);

        for (size_t i = 0; i < len; i++) {
            json_t *key = json_string(members[i].key);

            if (i)
                buf_addc(out, ' ');
            add_value(out, v, key);
            buf_addc(out, ':');
            add_value(out, v, members[i].value);
            json_decref(key);
        }
    }
    buf_addc(out, ']');
}

/* Prints one value as its verb says; a verb that does not fit the value says so in the output. */
static void add_value(struct buf *out, const struct verb *v, const json_t *value)
{
    if (v->letter == 'T') {
        add_padded(out, v, !value || json_is_null(value) ? "<nil>" : value_type(value),
                   strlen(!value || json_is_null(value) ? "<nil>" : value_type(value)), /* zeros= */ false);
        return;
    }
    if (!value || json_is_null(value)) {
        if (v->letter == 'v')
            add_padded(out, v, "<nil>", 5, /* zeros= */ false);
        else
            add_bad(out, v, value);
    } else if (json_is_array(value) || json_is_object(value)) {
        add_members(out, v, value);
    } else if (json_is_string(value) && strchr("svqxX", v->letter)) {
        add_text(out, v, value);
    } else if (json_is_boolean(value) && strchr("tv", v->letter)) {
        add_padded(out, v, json_is_true(value) ? "true" : "false", json_is_true(value) ? 4 : 5, /* zeros= */ false);
    } else if (json_is_integer(value) && strchr("dvboOxX", v->letter)) {
        add_integer(out, v, json_integer_value(value));
    } else if (json_is_integer(value) && strchr("cqU", v->letter)) {
        add_rune(out, v, json_integer_value(value));
    } else if (json_is_real(value) && strchr("vfFeEgG", v->letter)) {
        add_float(out, v, json_real_value(value));
    } else {
        add_bad(out, v, value);
    }
}

/* A number of the format, or the next argument for '*'. */
static int read_number(const char **p, json_t *const *args, size_t count, size_t *next)
{
    long number = -1;

    if (**p == '*') {
        ++*p;
        number = *next < count ? (long)json_integer_value(args[*next]) : -1;
        ++*next;
    } else if (isdigit((unsigned char)**p)) {
        char *end;

        number = strtol(*p, &end, 10);
        *p = end;
    }
    return number < -MAX_WIDTH || number > MAX_WIDTH ? -1 : (int)number;
}

/* Reads a verb after its '%'. */
static const char *read_verb(const char *p, struct verb *v, json_t *const *args, size_t count, size_t *next)
{
    *v = (struct verb){.width = -1, .precision = -1};
    for (; *p && strchr("+-# 0", *p); p++) {
        v->plus = v->plus || *p == '+';
        v->minus = v->minus || *p == '-';
        v->sharp = v->sharp || *p == '#';
        v->space = v->space || *p == ' ';
        v->zero = v->zero || *p == '0';
    }
    v->width = read_number(&p, args, count, next);
    if (*p == '.') {
        p++;
        v->precision = read_number(&p, args, count, next);
        v->precision = v->precision < 0 ? 0 : v->precision;
    }
    v->letter = *p;
    return *p ? p + 1 : p;
}

/* Arguments that no verb asked for. */
static void add_extra(struct buf *out, json_t *const *args, size_t count, size_t next)
{
    if (next >= count)
        return;
    buf_adds(out, "%!(EXTRA ");
    for (size_t i = next; i < count; i++) {
        if (i > next)
            buf_adds(out, ", ");
        if (args[i] && !json_is_null(args[i]))
            buf_addf(out, "%s=", value_type(args[i]));
        json_plain(out, args[i]);
    }
    buf_addc(out, ')');
}

void go_sprintf(struct buf *out, const char *format, json_t *const *args, size_t count)
{
    size_t next = 0;

    while (*format && !out->overflowed) {
        size_t plain = strcspn(format, "%");
        struct verb v;

        buf_add(out, format, plain);
        format += plain;
        if (!*format)
            break;
        format = read_verb(format + 1, &v, args, count, &next);
        if (!v.letter)
            buf_adds(out, "%!(NOVERB)");
        else if (v.letter == '%')
            buf_addc(out, '%');
        else if (next >= count)
            buf_addf(out, "%%!%c(MISSING)", v.letter);
        else
            add_value(out, &v, args[next++]);
    }
    add_extra(out, args, count, next);
}
