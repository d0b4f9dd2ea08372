/*
 * Go's regular expressions with the C library's: what both spell alike is taken as it is, \d and (?: and a leading (?i)
 * are rewritten. Container names have few letters, and filters on them few tricks.
 */
#include "compat/docker/go_regex.h"

#include "compat/base/buf.h"

#include <regex.h>
#include <stddef.h>
#include <string.h>

#define PATTERN_MAX 4096u /* longer ones are nobody's filter, and cost the matcher dearly */

/* \d and its kin outside and inside brackets; NULL for a letter that is kept with its backslash. */
static const char *class_of(char letter, bool inside)
{
    switch (letter) {
    case 'd':
        return inside ? "0-9" : "[0-9]";
    case 'w':
        return inside ? "0-9A-Za-z_" : "[0-9A-Za-z_]";
    case 's':
        return inside ? "[:space:]" : "[[:space:]]";
    case 'D':
        return inside ? NULL : "[^0-9]";
    case 'W':
        return inside ? NULL : "[^0-9A-Za-z_]";
    case 'S':
        return inside ? NULL : "[^[:space:]]";
    case 'A':
        return inside ? NULL : "^";
    case 'z':
        return inside ? NULL : "$";
    default:
        return NULL;
    }
}

/* Go's pattern as an extended one of POSIX. */
static void rewrite(const char *pattern, struct buf *out)
{
    bool inside = false;

    for (; *pattern; pattern++) {
        const char *class = *pattern == '\\' && pattern[1] ? class_of(pattern[1], inside) : NULL;

        if (class) {
            buf_adds(out, class);
            pattern++;
        } else if (*pattern == '\\' && pattern[1]) {
            if (!inside)
                buf_addc(out, '\\'); /* has no meaning within brackets */
            buf_addc(out, *++pattern);
        } else if (!inside && strncmp(pattern, "(?:", 3) == 0) {
            buf_addc(out, '(');
            pattern += 2;
        } else {
            inside = *pattern == '[' ? true : *pattern == ']' ? false : inside;
            buf_addc(out, *pattern);
        }
    }
}

bool go_regex_finds(const char *pattern, const char *text)
{
    struct buf posix = BUF_INIT(8 * PATTERN_MAX);
    int flags = REG_EXTENDED | REG_NOSUB;
    bool found = false;
    regex_t regex;

    if (*pattern == '\0')
        return true;
    if (strlen(pattern) > PATTERN_MAX)
        return false;
    if (strncmp(pattern, "(?i)", 4) == 0) {
        flags |= REG_ICASE;
        pattern += 4;
    }
    rewrite(pattern, &posix);
    if (regcomp(&regex, posix.data, flags) == 0) {
        found = regexec(&regex, text, 0, NULL, 0) == 0;
        regfree(&regex);
    }
    buf_clear(&posix);
    return found;
}
