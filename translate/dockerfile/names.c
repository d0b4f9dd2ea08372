#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789"
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZ" LOWER

/* ---- image references ---- */

/* One component of a path: letters and digits, parted by ".", "_", "__" or any number of "-". */
static bool is_component(const char *s, size_t len)
{
    size_t i = 0;

    if (!len || !strchr(LOWER, s[0]) || !strchr(LOWER, s[len - 1]))
        return false;
    while (i < len) {
        size_t run = strspn(s + i, LOWER);

        i += run;
        if (i >= len)
            return true;
        if (s[i] == '-')
            run = strspn(s + i, "-");
        else if (s[i] == '_')
            run = strspn(s + i, "_") <= 2 ? strspn(s + i, "_") : 0;
        else
            run = s[i] == '.';
        if (!run || i + run >= len || !strchr(LOWER, s[i + run]))
            return false;
        i += run;
    }
    return true;
}

/* "host", "host.name:5000", "[::1]:5000". */
static bool is_domain(const char *s, size_t len)
{
    size_t i = 0;

    if (len && s[0] == '[') {
        i = strspn(s + 1, "0123456789abcdefABCDEF:") + 1;
        if (i >= len || s[i++] != ']')
            return false;
    } else {
        while (i < len && s[i] != ':') {
            size_t run = strspn(s + i, ALNUM "-");

            if (!run || s[i] == '-' || s[i + run - 1] == '-')
                return false;
            i += run;
            if (i < len && s[i] == '.' && i + 1 < len)
                i++;
            else if (i < len && s[i] != ':')
                return false;
        }
    }
    if (i >= len)
        return i == len && len;
    return s[i] == ':' && i + 1 < len && strspn(s + i + 1, "0123456789") >= len - i - 1;
}

/* Whether what stands before the first "/" is a registry. */
static bool names_registry(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '.' || s[i] == ':' || isupper((unsigned char)s[i]))
            return true;
    }
    return len == 9 && strncmp(s, "localhost", 9) == 0;
}

static bool is_path(const char *s, size_t len)
{
    while (len) {
        const char *slash = memchr(s, '/', len);
        size_t part = slash ? (size_t)(slash - s) : len;

        if (!is_component(s, part) || (slash && part + 1 == len))
            return false;
        s += slash ? part + 1 : part;
        len -= slash ? part + 1 : part;
    }
    return true;
}

static bool is_tag(const char *s, size_t len)
{
    size_t good = strspn(s, ALNUM "_.-");

    return len && len <= 128 && good >= len && *s != '.' && *s != '-';
}

/* "sha256:<64 hex digits>" and its kind. */
static bool is_digest(const char *s)
{
    const char *colon = strchr(s, ':');

    return colon && colon > s && isalpha((unsigned char)*s) && strspn(s, ALNUM "+._-") >= (size_t)(colon - s) &&
           strlen(colon + 1) >= 32 && strspn(colon + 1, "0123456789abcdefABCDEF") == strlen(colon + 1);
}

static int bad_name(const char *name, const char *path, size_t len, struct err *err)
{
    cleanup_free char *lower = xstrndup(path, len);
    bool upper = false;

    for (char *c = lower; *c; c++) {
        upper = upper || isupper((unsigned char)*c);
        *c = (char)tolower((unsigned char)*c);
    }
    if (upper && is_path(lower, strlen(lower)))
        return err_set(err, 1, "invalid reference format: repository name (%s%.*s) must be lowercase",
                       path == name && !memchr(path, '/', len) ? "library/" : "", (int)len, path);
    return err_set(err, 1, "invalid reference format");
}

int df_check_reference(const char *name, struct err *err)
{
    const char *at = strchr(name, '@'), *end = at ? at : name + strlen(name), *slash = strchr(name, '/');
    const char *path = name, *colon = NULL;
    size_t len;

    /* Names of images that are on Modal have a grammar of their own. */
    if (strncmp(name, "modal://", 8) == 0)
        return 0;
    if (slash && slash < end && names_registry(name, (size_t)(slash - name))) {
        if (!is_domain(name, (size_t)(slash - name)))
            return err_set(err, 1, "invalid reference format");
        path = slash + 1;
    }
    for (const char *p = path; p < end; p++)
        colon = *p == ':' ? p : (*p == '/' ? NULL : colon);
    len = (size_t)((colon ? colon : end) - path);
    if (!len || !is_path(path, len))
        return bad_name(name, path, len, err);
    if ((colon && !is_tag(colon + 1, (size_t)(end - colon - 1))) || (at && !is_digest(at + 1)))
        return err_set(err, 1, "invalid reference format");
    if (path == name && len == 64 && strspn(name, "0123456789abcdef") == 64)
        return err_set(err, 1, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", name);
    return 0;
}

/* ---- platforms ---- */

/* A word alone is a system or an architecture that is known. */
static bool known_platform_word(const char *s)
{
    static const char *const words[] = {"linux",  "windows", "darwin",  "freebsd", "netbsd",  "openbsd",  "solaris",
                                        "amd64",  "x86_64",  "x86-64",  "386",     "i386",    "arm64",    "aarch64",
                                        "arm",    "armhf",   "armel",   "ppc64",   "ppc64le", "mips",     "mipsle",
                                        "mips64", "s390x",   "riscv64", "loong64", "wasm",    "mips64le", NULL};

    for (const char *const *w = words; *w; w++) {
        if (strcasecmp(*w, s) == 0)
            return true;
    }
    return false;
}

int df_check_platform(const char *platform, struct err *err)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    cleanup_free char *quoted = quote_go_str(platform);

    strlist_split(&parts, platform, '/');
    for (size_t i = 0; i < parts.len; i++) {
        cleanup_free char *part = quote_go_str(parts.items[i]);

        if (!*parts.items[i] || parts.items[i][strspn(parts.items[i], ALNUM "_.()-")])
            return err_set(err, 1,
                           "failed to parse platform %s: %s is an invalid component of %s: platform specifier "
                           "component must match \"^[A-Za-z0-9_.-]+$\": invalid argument",
                           platform, part, quoted);
    }
    if (parts.len == 1 && !known_platform_word(platform))
        return err_set(err, 1,
                       "failed to parse platform %s: %s: unknown operating system or architecture: invalid argument",
                       platform, quoted);
    if (parts.len > 3)
        return err_set(err, 1, "failed to parse platform %s: %s: cannot parse platform specifier: invalid argument",
                       platform, quoted);
    return 0;
}
