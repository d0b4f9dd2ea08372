#include "compat/docker/csv.h"

#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <string.h>

/* Go's message for a fault at p in text s: lines and columns count from 1, columns in bytes. */
static int parse_error(const char *s, const char *p, const char *what, struct err *err)
{
    const char *line_start = s;
    int line = 1, first = 1 + (int)strspn(s, "\n");

    for (const char *q = s; q < p; q++) {
        if (*q == '\n' && q[1]) { /* a newline at the very end still belongs to its line */
            line++;
            line_start = q + 1;
        }
    }
    if (line != first)
        return err_set(err, 0, "record on line %d; parse error on line %d, column %d: %s", first, line,
                       (int)(p - line_start) + 1, what);
    return err_set(err, 0, "parse error on line %d, column %d: %s", line, (int)(p - line_start) + 1, what);
}

/* Reads a field that begins with a quote; *p is moved to the comma or the end. */
static int quoted_field(const char *s, const char **p, struct buf *field, struct err *err)
{
    const char *q = *p + 1;

    for (;; q++) {
        if (!*q)
            return parse_error(s, q, "extraneous or missing \" in quoted-field", err);
        if (*q != '"') {
            buf_addc(field, *q);
        } else if (q[1] == '"') {
            buf_addc(field, '"');
            q++;
        } else {
            break;
        }
    }
    if (q[1] && q[1] != ',' && q[1] != '\n' && strncmp(q + 1, "\r\n", 2))
        return parse_error(s, q, "extraneous or missing \" in quoted-field", err);
    *p = q + 1;
    return 0;
}

/* Reads a field without quotes. */
static int plain_field(const char *s, const char **p, struct buf *field, struct err *err)
{
    size_t len = strcspn(*p, ",\n");
    const char *bare = memchr(*p, '"', len);

    if (bare)
        return parse_error(s, bare, "bare \" in non-quoted-field", err);
    buf_add(field, *p, len);
    *p += len;
    if (**p != ',' && field->len && field->data[field->len - 1] == '\r' && **p == '\n')
        buf_truncate(field, field->len - 1);
    return 0;
}

int csv_fields(const char *s, struct strlist *ret_fields, struct err *err)
{
    const char *p = s + strspn(s, "\n");

    if (!*p)
        return err_set(err, 0, "EOF");
    for (;; p++) {
        cleanup_buf struct buf field = BUF_INIT(LIMIT_CONFIG_FILE);
        int rc = *p == '"' ? quoted_field(s, &p, &field, err) : plain_field(s, &p, &field, err);

        if (rc < 0)
            return -1;
        strlist_add(ret_fields, field.data);
        if (*p != ',')
            return 0;
    }
}
