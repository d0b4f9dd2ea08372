#include "translate/env.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "translate/input.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define LINE_MAX_LEN 65535u /* the line scanner of the docker client gives up beyond this */

static int env_check_word(const char *word, struct err *err)
{
    if (word[0] == '\0' || word[0] == '=')
        return err_set(err, 125, "invalid environment variable: %s", word);
    return 0;
}

static int label_check_word(const char *word, struct err *err)
{
    if (word[0] == '\0' || word[0] == '=')
        return err_set(err, 125, "invalid label '%s': empty name", word);
    return 0;
}

/* Go's unicode.IsSpace. */
static bool rune_is_space(uint32_t r)
{
    return (r >= 0x09 && r <= 0x0d) || r == 0x20 || r == 0x85 || r == 0xa0 || r == 0x1680 ||
           (r >= 0x2000 && r <= 0x200a) || r == 0x2028 || r == 0x2029 || r == 0x202f || r == 0x205f || r == 0x3000;
}

static size_t skip_space(const char *s, size_t len)
{
    size_t at = 0;

    while (at < len) {
        uint32_t rune;
        size_t n = rune_decode(s + at, len - at, &rune);

        if (!rune_is_space(rune))
            break;
        at += n;
    }
    return at;
}

static bool utf8_valid(const char *s, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t rune;

        at += rune_decode(s + at, len - at, &rune);
        if (rune == RUNE_INVALID)
            return false;
    }
    return true;
}

/* Docker prints the bytes of the line as Go prints a slice: [255 61 49]. Only the first 64 here. */
static int invalid_utf8(const char *name, int number, const char *line, size_t len, struct err *err)
{
    cleanup_buf struct buf bytes = BUF_INIT(1024);

    for (size_t i = 0; i < len && i < 64; i++)
        buf_addf(&bytes, "%s%u", i ? " " : "", (unsigned char)line[i]);
    return err_set(err, 125, "invalid env file (%s): invalid utf8 bytes at line %d: [%s%s]", name, number, bytes.data,
                   len > 64 ? " ..." : "");
}

/* One line that is neither blank nor a comment. */
static int add_line(const char *name, const char *line, const struct input *lookup, struct strlist *out,
                    struct err *err)
{
    size_t key_len = strcspn(line, "=");
    const char *value;

    if (strcspn(line, " \t") < key_len)
        return err_set(err, 125, "invalid env file (%s): variable '%.*s' contains whitespaces", name, (int)key_len,
                       line);
    if (key_len == 0)
        return err_set(err, 125, "invalid env file (%s): no variable name on line '%s'", name, line);
    if (line[key_len] == '=' || !lookup) {
        strlist_add(out, line);
        return 0;
    }
    value = input_env(lookup, line);
    if (value)
        strlist_addf(out, "%s=%s", line, value);
    return 0;
}

/* Takes apart one line as it stands in the file. */
static int parse_line(const char *name, int number, const char *s, size_t len, const struct input *lookup,
                      struct strlist *out, struct err *err)
{
    cleanup_free char *line = NULL;
    size_t skip = 0;

    if (len > LINE_MAX_LEN)
        return err_set(err, 125, "invalid env file (%s): bufio.Scanner: token too long", name);
    if (len > 0 && s[len - 1] == '\r')
        len--;
    if (!utf8_valid(s, len))
        return invalid_utf8(name, number, s, len, err);
    if (memchr(s, '\0', len))
        return err_set(err, 125, "invalid env file (%s): line %d holds a NUL byte", name, number);
    if (number == 1 && len >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0)
        skip = 3;
    skip += skip_space(s + skip, len - skip);
    if (skip == len || s[skip] == '#')
        return 0;
    line = xstrndup(s + skip, len - skip);
    return add_line(name, line, lookup, out, err);
}

int env_parse_file(const char *name, const char *text, size_t len, const struct input *lookup, struct strlist *out,
                   struct err *err)
{
    int number = 0;

    while (len > 0) {
        const char *newline = memchr(text, '\n', len);
        size_t line_len = newline ? (size_t)(newline - text) : len;
        size_t used = newline ? line_len + 1 : line_len;

        if (parse_line(name, ++number, text, line_len, lookup, out, err) < 0)
            return -1;
        text += used;
        len -= used;
    }
    return 0;
}

/* Go writes the system's texts with a small first letter. */
static int file_error(const char *name, int errnum, struct err *err)
{
    cleanup_free char *text = xstrdup(strerror(errnum));

    text[0] = (char)tolower((unsigned char)text[0]);
    if (errnum == EISDIR)
        err_set(err, 125, "invalid env file (%s): read %s: %s", name, name, text);
    else if (errnum == EFBIG)
        err_set(err, 125, "invalid env file (%s): larger than %u bytes", name, LIMIT_CONFIG_FILE);
    else
        err_set(err, 125, "open %s: %s", name, text);
    return -1;
}

/* Reads and parses each file in turn. */
static int collect_files(const struct strlist *files, const struct input *in, const struct input *lookup,
                         struct strlist *out, struct err *err)
{
    for (size_t i = 0; i < files->len; i++) {
        cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
        cleanup_err struct err why = ERR_INIT;

        if (in->read_file(files->items[i], &text, &why, in->read_arg) < 0)
            return why.code ? file_error(files->items[i], why.code, err) : err_move(err, &why);
        if (env_parse_file(files->items[i], text.data, text.len, lookup, out, err) < 0)
            return -1;
    }
    return 0;
}

int env_collect(const struct strlist *files, const struct strlist *words, const struct input *in, struct strlist *out,
                struct err *err)
{
    if (collect_files(files, in, in, out, err) < 0)
        return -1;
    for (size_t i = 0; i < words->len; i++) {
        const char *word = words->items[i];
        const char *value;

        if (env_check_word(word, err) < 0)
            return -1;
        value = strchr(word, '=') ? NULL : input_env(in, word);
        if (strchr(word, '='))
            strlist_add(out, word);
        else if (value)
            strlist_addf(out, "%s=%s", word, value);
    }
    return 0;
}

/* Sets one label from "k=v" or "k". */
static void set_label(struct strlist *out, const char *word)
{
    size_t len = strcspn(word, "=");
    cleanup_free char *key = xstrndup(word, len);

    strlist_env_set(out, key, word[len] ? word + len + 1 : "");
}

int labels_collect(const struct strlist *files, const struct strlist *words, const struct input *in,
                   struct strlist *out, struct err *err)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    if (collect_files(files, in, NULL, &lines, err) < 0)
        return -1;
    for (size_t i = 0; i < words->len; i++) {
        if (label_check_word(words->items[i], err) < 0)
            return -1;
        strlist_add(&lines, words->items[i]);
    }
    for (size_t i = 0; i < lines.len; i++)
        set_label(out, lines.items[i]);
    return 0;
}

/* Removes every entry of the key. */
static void remove_key(struct strlist *l, const char *key)
{
    size_t len = strlen(key);

    for (size_t i = l->len; i-- > 0;)
        if (strncmp(l->items[i], key, len) == 0 && (l->items[i][len] == '=' || l->items[i][len] == '\0'))
            strlist_remove(l, i);
}

void env_merge(struct strlist *base, const struct strlist *over)
{
    for (size_t i = 0; i < over->len; i++) {
        size_t len = strcspn(over->items[i], "=");
        cleanup_free char *key = xstrndup(over->items[i], len);

        if (over->items[i][len] == '=')
            strlist_env_set(base, key, over->items[i] + len + 1);
        else
            remove_key(base, key);
    }
}
