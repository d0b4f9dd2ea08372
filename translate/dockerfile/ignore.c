#include "translate/dockerfile/ignore.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "translate/dockerfile/pattern.h"

#include <stdlib.h>
#include <string.h>

struct line {
    char *text;     /* the pattern, clean */
    bool exception; /* "!" */
    struct pattern pattern;
};

struct df_ignore {
    struct line *lines;
    size_t len;
    bool exceptions;
};

void df_ignore_free(struct df_ignore *ig)
{
    if (!ig)
        return;
    for (size_t i = 0; i < ig->len; i++) {
        free(ig->lines[i].text);
        pattern_clear(&ig->lines[i].pattern);
    }
    free(ig->lines);
    free(ig);
}

/* Go's unicode.IsSpace for what people type. */
static char *trim(char *s)
{
    size_t len;

    s += strspn(s, " \t\v\f\r\n");
    len = strlen(s);
    while (len && strchr(" \t\v\f\r\n", s[len - 1]))
        s[--len] = '\0';
    return s;
}

/* Go's filepath.Clean: "a//b/../c/" -> "a/c"; ".." at the beginning stays. */
static char *clean(const char *path)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    cleanup_strlist struct strlist out = STRLIST_INIT;
    bool rooted = *path == '/';
    char *ret = xstrdup(rooted ? "/" : "");

    strlist_split(&parts, path, '/');
    for (size_t i = 0; i < parts.len; i++) {
        const char *part = parts.items[i];
        bool up = strcmp(part, "..") == 0;

        if (!*part || strcmp(part, ".") == 0 || (up && rooted && !out.len))
            continue;
        if (up && out.len && strcmp(out.items[out.len - 1], "..") != 0)
            strlist_remove(&out, out.len - 1);
        else
            strlist_add(&out, part);
    }
    for (size_t i = 0; i < out.len; i++) {
        char *longer = xasprintf("%s%s%s", ret, i ? "/" : "", out.items[i]);

        free(ret);
        ret = longer;
    }
    if (!*ret) {
        free(ret);
        ret = xstrdup(".");
    }
    return ret;
}

static int bad_line(const char *name, const char *why, const char *text, struct err *err)
{
    return err_set(err, 1, "failed to parse %s: %s: %.200s", name, why, text);
}

/* One pattern, "!" in front perhaps. */
static int add_pattern(struct df_ignore *ig, char *text, const char *name, struct err *err)
{
    struct line line = {.pattern = PATTERN_INIT};
    cleanup_free char *cleaned = NULL;
    const char *p = trim(text);

    if (!*p)
        return 0;
    p = cleaned = clean(p);
    line.exception = *p == '!';
    p += line.exception;
    if (!*p)
        return bad_line(name, "illegal exclusion pattern", "\"!\"", err);
    if (!pattern_valid(p))
        return bad_line(name, "syntax error in pattern", p, err);
    line.text = xstrdup(p);
    pattern_make(&line.pattern, p, true);
    ig->lines = xreallocarray(ig->lines, ig->len + 1, sizeof(*ig->lines));
    ig->lines[ig->len++] = line;
    ig->exceptions = ig->exceptions || line.exception;
    return 0;
}

/* A line of the file: a comment, or a pattern where a "/" in front means nothing. */
static int add_line(struct df_ignore *ig, char *text, const char *name, struct err *err)
{
    cleanup_free char *cleaned = NULL;
    cleanup_free char *pattern = NULL;
    bool exception;
    char *p;

    if (*text == '#')
        return 0;
    p = trim(text);
    if (!*p)
        return 0;
    exception = *p == '!';
    if (exception)
        p = trim(p + 1);
    cleaned = *p ? clean(p) : xstrdup("");
    pattern = xasprintf("%s%s", exception ? "!" : "", cleaned[0] == '/' && cleaned[1] ? cleaned + 1 : cleaned);
    return add_pattern(ig, pattern, name, err);
}

struct df_ignore *df_ignore_new(const char *text, size_t len, const char *name, struct err *err)
{
    struct df_ignore *ig = xcalloc(1, sizeof(*ig));
    cleanup_strlist struct strlist lines = STRLIST_INIT;
    cleanup_free char *copy = NULL;

    if (len > LIMIT_CONFIG_FILE || memchr(text, '\0', len)) {
        err_set(err, 1, "failed to parse %s: it is %s", name, len > LIMIT_CONFIG_FILE ? "too large" : "no text");
        df_ignore_free(ig);
        return NULL;
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    copy = xstrndup(text, len);
    strlist_split(&lines, copy, '\n');
    for (size_t i = 0; i < lines.len; i++) {
        if (add_line(ig, lines.items[i], name, err) < 0) {
            df_ignore_free(ig);
            return NULL;
        }
    }
    return ig;
}

struct df_ignore *df_ignore_of(const struct strlist *patterns, struct err *err)
{
    struct df_ignore *ig = xcalloc(1, sizeof(*ig));

    for (size_t i = 0; i < patterns->len; i++) {
        cleanup_free char *text = xstrdup(patterns->items[i]);

        if (add_pattern(ig, text, "pattern", err) < 0) {
            df_ignore_free(ig);
            return NULL;
        }
    }
    return ig;
}

/* The path, or a directory that it is in. */
static bool matches_or_parent(const struct pattern *p, const char *path)
{
    size_t len = strlen(path);

    if (pattern_match(p, path, len))
        return true;
    for (size_t i = 1; i < len; i++) {
        if (path[i] == '/' && pattern_match(p, path, i))
            return true;
    }
    return false;
}

bool df_ignore_match(const struct df_ignore *ig, const char *path)
{
    bool matched = false;

    if (strcmp(path, ".") == 0 || !*path)
        return false;
    for (size_t i = 0; i < ig->len; i++) {
        const struct line *l = &ig->lines[i];

        /* A line that would change nothing need not be looked at. */
        if (l->exception == matched && matches_or_parent(&l->pattern, path))
            matched = !l->exception;
    }
    return matched;
}

/*
 * Whether an exception may name something below dir. Only its part up to the first wildcard counts, so that "maybe"
 * is the answer where it is not plain.
 */
static bool may_reach(const char *exception, const char *dir)
{
    size_t plain = strcspn(exception, "*?[\\"), len = strlen(dir);

    if (!exception[plain])
        return strncmp(exception, dir, len) == 0 && exception[len] == '/';
    return plain <= len ? strncmp(exception, dir, plain) == 0
                        : strncmp(exception, dir, len) == 0 && exception[len] == '/';
}

bool df_ignore_prunes(const struct df_ignore *ig, const char *dir)
{
    if (!df_ignore_match(ig, dir))
        return false;
    for (size_t i = 0; ig->exceptions && i < ig->len; i++) {
        if (ig->lines[i].exception && may_reach(ig->lines[i].text, dir))
            return false;
    }
    return true;
}

static int match_one(const char *pattern, const char *path, bool deep)
{
    struct pattern p = PATTERN_INIT;
    bool match;

    if (!pattern_valid(pattern))
        return -1;
    pattern_make(&p, pattern, deep);
    match = pattern_match(&p, path, strlen(path));
    pattern_clear(&p);
    return match;
}

int df_pattern_match(const char *pattern, const char *path)
{
    return match_one(pattern, path, true);
}

int df_source_match(const char *pattern, const char *path)
{
    return match_one(pattern, path, false);
}
