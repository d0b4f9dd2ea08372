#include "translate/wire/volume.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/wire/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void wire_volumes_clear(struct wire_volumes *v)
{
    for (size_t i = 0; i < v->len; i++) {
        free(v->items[i].key);
        free(v->items[i].target);
        strlist_clear(&v->items[i].closed);
    }
    free(v->items);
    *v = (struct wire_volumes){0};
}

struct wire_volume *wire_volumes_add(struct wire_volumes *v, const char *key, const char *target)
{
    v->items = xreallocarray(v->items, v->len + 1, sizeof(*v->items));
    v->items[v->len] = (struct wire_volume){.key = xstrdup(key), .target = xstrdup(target)};
    return &v->items[v->len++];
}

static void put(struct buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '%' || *s == '\t' || *s == '\n')
            buf_addf(b, "%%%02X", (unsigned char)*s);
        else
            buf_addc(b, *s);
    }
}

char *wire_volumes_text(const struct wire_volumes *v)
{
    struct buf b = BUF_INIT(WIRE_VOLUMES_MAX);

    if (!v->len)
        return NULL;
    buf_addf(&b, "save\t%lld\n", (long long)v->save_s);
    for (size_t i = 0; i < v->len; i++) {
        const struct wire_volume *item = &v->items[i];

        put(&b, item->key);
        buf_addc(&b, '\t');
        put(&b, item->target);
        if (item->scratch)
            buf_addf(&b, "\ttmpfs:%o", (unsigned)item->mode);
        else
            buf_adds(&b, item->read_only ? item->nocopy ? "\tro,nocopy" : "\tro" : item->nocopy ? "\tnocopy" : "\t-");
        for (size_t n = 0; n < item->closed.len; n++) {
            buf_addc(&b, '\t');
            put(&b, item->closed.items[n]);
        }
        buf_addc(&b, '\n');
    }
    return buf_detach(&b);
}

static int hex_digit(char c)
{
    const char *digits = "0123456789ABCDEF", *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* In place; false for what put() does not write. */
static bool decode(char *s)
{
    char *to = s;

    for (; *s; s++) {
        if (*s == '%') {
            int high = hex_digit(s[1]), low = high < 0 ? -1 : hex_digit(s[2]);

            if (low < 0 || (!high && !low))
                return false;
            *to++ = (char)(high << 4 | low);
            s += 2;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
    return true;
}

/* A key is one plain name, a target an absolute path. */
static bool is_key(const char *s)
{
    return *s && s[0] != '.' && !strchr(s, '/') && strlen(s) <= LIMIT_NAME;
}

static bool read_flags(const char *word, struct wire_volume *v)
{
    if (strncmp(word, "tmpfs:", 6) == 0) {
        char *end;

        v->scratch = true;
        v->mode = (uint32_t)strtoul(word + 6, &end, 8) & 07777;
        return !*end && end > word + 6;
    }
    v->read_only = strncmp(word, "ro", 2) == 0;
    v->nocopy = strcmp(word, "nocopy") == 0 || strcmp(word, "ro,nocopy") == 0;
    return strcmp(word, "-") == 0 || strcmp(word, "ro") == 0 || v->nocopy;
}

static int read_line(const char *line, struct wire_volumes *ret)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;
    struct wire_volume *v;

    strlist_split(&fields, line, '\t');
    for (size_t i = 0; i < fields.len; i++)
        if (!decode(fields.items[i]) || strlen(fields.items[i]) > LIMIT_PATH)
            return -1;
    if (fields.len < 3 || !is_key(fields.items[0]) || fields.items[1][0] != '/' || ret->len >= WIRE_MOUNTS_MAX)
        return -1;
    v = wire_volumes_add(ret, fields.items[0], fields.items[1]);
    if (!read_flags(fields.items[2], v))
        return -1;
    for (size_t i = 3; i < fields.len; i++)
        strlist_add(&v->closed, fields.items[i]);
    return 0;
}

static int read_save(const char *line, int64_t *ret)
{
    char *end;

    if (strncmp(line, "save\t", 5) != 0)
        return -1;
    errno = 0;
    *ret = strtoll(line + 5, &end, 10);
    return errno || end == line + 5 || *end || *ret < 0 || *ret > INT32_MAX ? -1 : 0;
}

int wire_volumes_read(const char *text, struct wire_volumes *ret, struct err *err)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;
    struct wire_volumes v = {0};

    strlist_split(&lines, text, '\n');
    for (size_t i = 0; i < lines.len; i++) {
        bool last = i + 1 == lines.len && !*lines.items[i];

        if (!last && (i == 0 ? read_save(lines.items[i], &v.save_s) : read_line(lines.items[i], &v)) < 0) {
            wire_volumes_clear(&v);
            return err_set(err, 125, "the list of volumes is malformed");
        }
    }
    *ret = v;
    return 0;
}
