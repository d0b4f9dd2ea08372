#include "translate/reference.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "translate/names.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_DOMAIN  "docker.io"
#define LEGACY_DOMAIN   "index.docker.io"
#define OFFICIAL_PREFIX "library/"
#define NAME_MAX_LEN    255u
#define TAG_MAX_LEN     128u
#define MODAL_SCHEME    "modal://"

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_lower(c) || is_upper(c) || is_digit(c);
}

static bool is_lower_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool is_hex(char c)
{
    return is_lower_hex(c) || (c >= 'A' && c <= 'F');
}

/* Do all len bytes satisfy fn? True for none. */
static bool all_of(const char *s, size_t len, bool (*fn)(char))
{
    for (size_t i = 0; i < len; i++)
        if (!fn(s[i]))
            return false;
    return true;
}

static bool has_upper(const char *s)
{
    while (*s)
        if (is_upper(*s++))
            return true;
    return false;
}

void reference_clear(struct reference *r)
{
    free(r->domain);
    free(r->path);
    free(r->tag);
    free(r->digest);
    *r = (struct reference){0};
}

/* One label of a host name: alphanumeric at both ends, dashes between. */
static bool host_label_ok(const char *s, size_t len)
{
    if (len == 0 || !is_alnum(s[0]) || !is_alnum(s[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(s[i]) && s[i] != '-')
            return false;
    return true;
}

/* Dot-separated labels; covers IPv4 too. */
static bool host_name_ok(const char *s, size_t len)
{
    size_t start = 0;

    for (size_t i = 0; i <= len; i++) {
        if (i < len && s[i] != '.')
            continue;
        if (!host_label_ok(s + start, i - start))
            return false;
        start = i + 1;
    }
    return true;
}

/* host[:port] or [ipv6][:port]. */
static bool domain_ok(const char *s)
{
    const char *end;

    if (s[0] == '[') {
        end = strchr(s, ']');
        if (!end || end == s + 1)
            return false;
        for (const char *p = s + 1; p < end; p++)
            if (!is_hex(*p) && *p != ':')
                return false;
        end++;
    } else {
        end = s + strcspn(s, ":");
        if (!host_name_ok(s, (size_t)(end - s)))
            return false;
    }
    if (*end == '\0')
        return true;
    return *end == ':' && end[1] && all_of(end + 1, strlen(end + 1), is_digit);
}

/* Length of the separator at s between two runs of a path component: ".", "_", "__" or any number of dashes; 0 = none.
 */
static size_t separator_len(const char *s)
{
    if (s[0] == '.')
        return 1;
    if (s[0] == '_')
        return s[1] == '_' ? 2 : 1;
    return strspn(s, "-");
}

/* Slash-separated components of lower-case alphanumerics with single separators between. */
static bool path_ok(const char *s)
{
    for (;;) {
        if (!is_lower(*s) && !is_digit(*s))
            return false;
        while (is_lower(*s) || is_digit(*s))
            s++;
        if (*s == '\0')
            return true;
        if (*s == '/') {
            s++;
            continue;
        }
        if (separator_len(s) == 0)
            return false;
        s += separator_len(s);
    }
}

static bool tag_ok(const char *s)
{
    size_t len = strlen(s);

    if (len == 0 || len > TAG_MAX_LEN || (!is_alnum(s[0]) && s[0] != '_'))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_alnum(s[i]) && s[i] != '_' && s[i] != '.' && s[i] != '-')
            return false;
    return true;
}

/* The shape that the grammar of references asks of a digest: algorithm words, a colon, at least 32 hex digits. */
static bool digest_shape_ok(const char *s)
{
    const char *colon = strchr(s, ':');
    bool start = true;

    if (!colon || colon == s)
        return false;
    for (const char *p = s; p < colon; p++) {
        if (start && !is_lower(*p) && !is_upper(*p))
            return false;
        start = !is_alnum(*p);
        if (start && !strchr("-_+.", *p))
            return false;
    }
    return !start && strlen(colon + 1) >= 32 && all_of(colon + 1, strlen(colon + 1), is_hex);
}

/* What go-digest asks on top: a known algorithm, its length, lower case. */
static int digest_check(const char *s, struct err *err)
{
    static const struct {
        const char *name;
        size_t len;
    } known[] = {{"sha256", 64}, {"sha384", 96}, {"sha512", 128}};
    const char *colon = strchr(s, ':');
    size_t name_len = (size_t)(colon - s);

    for (size_t i = 0; i < name_len; i++)
        if (is_upper(s[i]))
            return err_set(err, 125, "invalid checksum digest format");
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strlen(known[i].name) != name_len || strncmp(known[i].name, s, name_len) != 0)
            continue;
        if (strlen(colon + 1) != known[i].len)
            return err_set(err, 125, "invalid checksum digest length");
        if (!all_of(colon + 1, known[i].len, is_lower_hex))
            return err_set(err, 125, "invalid checksum digest format");
        return 0;
    }
    return err_set(err, 125, "unsupported digest algorithm");
}

/*
 * Splits a familiar name into a registry's domain and the rest, as Docker does: the part before the first slash is a
 * domain when it is "localhost", has a dot, a colon or an upper-case letter; everything else lives on Docker Hub.
 */
static void split_domain(const char *s, char **ret_domain, char **ret_rest)
{
    const char *slash = strchr(s, '/');
    cleanup_free char *first = slash ? xstrndup(s, (size_t)(slash - s)) : NULL;

    if (!first || (!strpbrk(first, ".:") && strcmp(first, "localhost") != 0 && !has_upper(first))) {
        *ret_domain = xstrdup(DEFAULT_DOMAIN);
        *ret_rest = xstrdup(s);
    } else {
        *ret_domain = xstrdup(strcmp(first, LEGACY_DOMAIN) == 0 ? DEFAULT_DOMAIN : first);
        *ret_rest = xstrdup(slash + 1);
    }
    if (strcmp(*ret_domain, DEFAULT_DOMAIN) == 0 && !strchr(*ret_rest, '/')) {
        char *official = xasprintf(OFFICIAL_PREFIX "%s", *ret_rest);

        free(*ret_rest);
        *ret_rest = official;
    }
}

/* Cuts "path[:tag][@digest]" into its parts; NULL for the ones that are not there. */
static void split_rest(const char *rest, struct reference *r)
{
    const char *at = strchr(rest, '@');
    size_t len = at ? (size_t)(at - rest) : strlen(rest);
    const char *colon = memchr(rest, ':', len);

    r->path = xstrndup(rest, colon ? (size_t)(colon - rest) : len);
    r->tag = colon ? xstrndup(colon + 1, len - (size_t)(colon + 1 - rest)) : NULL;
    r->digest = at ? xstrdup(at + 1) : NULL;
}

/* A first part that is no domain because of an underscore is taken for a path by the grammar: Docker's text differs. */
static bool is_upper_path(const struct reference *r)
{
    cleanup_free char *lower = xstrdup(r->domain);

    for (char *p = lower; *p; p++)
        *p = is_upper(*p) ? (char)(*p - 'A' + 'a') : *p;
    return has_upper(r->domain) && !domain_ok(r->domain) && path_ok(lower) && path_ok(r->path);
}

static bool is_full_id(const char *s)
{
    return strlen(s) == 64 && all_of(s, 64, is_lower_hex);
}

int reference_parse(const char *s, struct reference *ret, struct err *err)
{
    cleanup_with(reference_clear) struct reference r = {0};
    cleanup_free char *rest = NULL, *name = NULL;
    size_t name_len;

    if (is_full_id(s))
        return err_set(err, 125, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", s);
    split_domain(s, &r.domain, &rest);
    name_len = strcspn(rest, ":@");
    name = xstrndup(rest, strcspn(rest, ":"));
    if (has_upper(name))
        return err_set(err, 125, "invalid reference format: repository name (%s) must be lowercase", name);
    split_rest(rest, &r);
    if (is_upper_path(&r) && (!r.tag || tag_ok(r.tag)) && (!r.digest || digest_shape_ok(r.digest)))
        return err_set(err, 125, "repository name must be lowercase");
    if (!domain_ok(r.domain) || !path_ok(r.path) || (r.tag && !tag_ok(r.tag)) ||
        (r.digest && !digest_shape_ok(r.digest)))
        return err_set(err, 125, "invalid reference format");
    if (name_len > NAME_MAX_LEN)
        return err_set(err, 125, "repository name must not be more than %u characters", NAME_MAX_LEN);
    if (r.digest && digest_check(r.digest, err) < 0)
        return -1;
    *ret = r;
    r = (struct reference){0};
    return 0;
}

void reference_add_latest(struct reference *r)
{
    if (!r->tag && !r->digest)
        r->tag = xstrdup("latest");
}

/* name[:tag][@digest] */
static char *with_suffix(const char *name, const struct reference *r)
{
    return xasprintf("%s%s%s%s%s", name, r->tag ? ":" : "", r->tag ? r->tag : "", r->digest ? "@" : "",
                     r->digest ? r->digest : "");
}

char *reference_name(const struct reference *r)
{
    return xasprintf("%s/%s", r->domain, r->path);
}

char *reference_string(const struct reference *r)
{
    cleanup_free char *name = reference_name(r);

    return with_suffix(name, r);
}

char *reference_familiar(const struct reference *r)
{
    cleanup_free char *name = NULL;
    size_t prefix = strlen(OFFICIAL_PREFIX);

    if (strcmp(r->domain, DEFAULT_DOMAIN) != 0)
        return reference_string(r);
    if (strncmp(r->path, OFFICIAL_PREFIX, prefix) == 0 && !strchr(r->path + prefix, '/'))
        name = xstrdup(r->path + prefix);
    else
        name = xstrdup(r->path);
    return with_suffix(name, r);
}

void image_ref_clear(struct image_ref *r)
{
    reference_clear(&r->ref);
    free(r->id);
    free(r->tag);
    free(r->text);
    *r = (struct image_ref){0};
}

/* A name of Modal's that may be an environment's or a workspace's: not an id of one, and it starts with a letter or a
 * digit. */
static bool modal_prefix_ok(const char *s)
{
    return modal_name_valid(s) && is_alnum(s[0]) && strncasecmp(s, "en-", 3) != 0;
}

/* "[[workspace/]environment/]name" by Modal's rules. */
static bool modal_path_ok(const char *s)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;

    strlist_split(&parts, s, '/');
    if (parts.len < 1 || parts.len > 3)
        return false;
    for (size_t i = 0; i + 1 < parts.len; i++)
        if (!modal_prefix_ok(parts.items[i]))
            return false;
    s = parts.items[parts.len - 1];
    return modal_name_valid(s) && strncmp(s, "im-", 3) != 0;
}

/* What stands behind modal://. The tag is what follows the colon after the last slash. */
static int parse_modal_name(const char *s, struct image_ref *r, struct err *err)
{
    const char *slash = strrchr(s, '/'), *colon = strchr(slash ? slash : s, ':');

    r->kind = IMAGE_MODAL_NAME;
    r->id = colon ? xstrndup(s, (size_t)(colon - s)) : xstrdup(s);
    r->tag = xstrdup(colon ? colon + 1 : "latest");
    if (!modal_path_ok(r->id) || !modal_name_valid(r->tag))
        return err_set(err, 125,
                       "invalid reference format: modal://%s: a Modal image is "
                       "modal://[[WORKSPACE/]ENVIRONMENT/]NAME[:TAG], each up to %u letters, digits, '-', '_', '.', "
                       "and NAME does not start with im-",
                       s, MODAL_NAME_MAX_LEN);
    return 0;
}

/* "im-" and letters, digits, dashes, underscores: no official Docker image has such a name. */
static bool is_modal_id(const char *s)
{
    if (strncmp(s, "im-", 3) != 0 || s[3] == '\0')
        return false;
    for (s += 3; *s; s++)
        if (!is_alnum(*s) && *s != '-' && *s != '_')
            return false;
    return true;
}

/* The kinds, tried in turn; s is what remains to be understood. */
static int parse_image(const char *s, struct image_ref *r, struct err *err)
{
    const char *hex = strncmp(s, "sha256:", 7) == 0 ? s + 7 : s;

    if (strncmp(s, MODAL_SCHEME, strlen(MODAL_SCHEME)) == 0)
        return parse_modal_name(s + strlen(MODAL_SCHEME), r, err);
    if (is_modal_id(s) || is_full_id(hex)) {
        r->kind = is_full_id(hex) ? IMAGE_ID : IMAGE_MODAL_ID;
        r->id = xstrdup(hex);
        return 0;
    }
    r->kind = IMAGE_REFERENCE;
    if (reference_parse(s, &r->ref, err) < 0)
        return -1;
    reference_add_latest(&r->ref);
    return 0;
}

int image_ref_parse(const char *s, struct image_ref *ret, struct err *err)
{
    struct image_ref r = {.text = xstrdup(s)};

    if (parse_image(s, &r, err) < 0) {
        image_ref_clear(&r);
        return -1;
    }
    *ret = r;
    return 0;
}

bool image_ref_may_be_id(const char *s)
{
    size_t len = strlen(s);

    return len >= 1 && len <= 64 && all_of(s, len, is_lower_hex);
}

char *image_ref_name(const struct image_ref *r)
{
    if (r->kind == IMAGE_REFERENCE)
        return reference_string(&r->ref);
    return r->kind == IMAGE_MODAL_NAME ? xasprintf(MODAL_SCHEME "%s:%s", r->id, r->tag) : NULL;
}

char *image_ref_familiar(const struct image_ref *r)
{
    switch (r->kind) {
    case IMAGE_REFERENCE:
        return reference_familiar(&r->ref);
    case IMAGE_ID:
        return xasprintf("sha256:%s", r->id);
    case IMAGE_MODAL_NAME:
        return image_ref_name(r);
    default:
        return xstrdup(r->id);
    }
}

bool image_name_is_modal(const char *name)
{
    return strncmp(name, MODAL_SCHEME, strlen(MODAL_SCHEME)) == 0;
}

char *image_name_familiar(const char *name)
{
    cleanup_with(reference_clear) struct reference r = {0};

    if (image_name_is_modal(name))
        return xstrdup(name);
    return reference_parse(name, &r, NULL) == 0 ? reference_familiar(&r) : NULL;
}

/* Was a registry's domain written? Then it was meant. */
static bool has_domain(const char *text)
{
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : 0;

    for (size_t i = 0; i < len; i++)
        if (strchr(".:", text[i]) || is_upper(text[i]))
            return true;
    return len == strlen("localhost") && strncmp(text, "localhost", len) == 0;
}

char *image_ref_modal_tag(const struct image_ref *r)
{
    const char *slash, *colon;
    cleanup_free char *path = NULL;

    if (r->kind == IMAGE_MODAL_NAME)
        return xasprintf("%s:%s", r->id, r->tag);
    if (r->kind != IMAGE_REFERENCE || r->ref.digest || has_domain(r->text))
        return NULL;
    slash = strrchr(r->text, '/');
    colon = strchr(slash ? slash : r->text, ':');
    path = colon ? xstrndup(r->text, (size_t)(colon - r->text)) : xstrdup(r->text);
    return modal_path_ok(path) && modal_name_valid(r->ref.tag) ? xasprintf("%s:%s", path, r->ref.tag) : NULL;
}

char *reference_published(const char *name)
{
    cleanup_with(reference_clear) struct reference r = {0};
    const char *path;

    if (reference_parse(name, &r, NULL) < 0 || r.digest || strcmp(r.domain, DEFAULT_DOMAIN) != 0 ||
        strncmp(r.path, OFFICIAL_PREFIX, strlen(OFFICIAL_PREFIX)) != 0)
        return NULL;
    reference_add_latest(&r);
    path = r.path + strlen(OFFICIAL_PREFIX);
    if (strchr(path, '/') || !modal_path_ok(path) || !modal_name_valid(r.tag))
        return NULL;
    return xasprintf("%s:%s", path, r.tag);
}

/* --- where a name is looked up --- */

const struct lookup_order lookup_default = {{LOOKUP_LOCAL, LOOKUP_MODAL, LOOKUP_REGISTRY}, LOOKUP_MAX};

bool lookup_has(const struct lookup_order *order, enum lookup_place place)
{
    for (size_t i = 0; i < order->len; i++)
        if (order->places[i] == place)
            return true;
    return false;
}

/* One word of the list. */
static int lookup_add(struct lookup_order *order, const char *word, const char *from, struct err *err)
{
    static const char *const words[LOOKUP_MAX] = {"local", "modal", "registry"};

    for (uint8_t i = 0; i < LOOKUP_MAX; i++) {
        if (strcmp(words[i], word) != 0)
            continue;
        if (lookup_has(order, i))
            return err_set(err, 125, "%s: '%s' is there twice", from, word);
        order->places[order->len++] = i;
        return 0;
    }
    return err_set(err, 125, "%s: '%s' is no place where images are looked up: local, modal, registry", from, word);
}

int lookup_parse(const char *words, const char *from, struct lookup_order *ret, struct err *err)
{
    struct lookup_order order = {.len = 0};

    for (const char *p = words + strspn(words, ", \t\n"); *p; p += strspn(p, ", \t\n")) {
        size_t len = strcspn(p, ", \t\n");
        cleanup_free char *word = xstrndup(p, len);

        if (lookup_add(&order, word, from, err) < 0)
            return -1;
        p += len;
    }
    if (!order.len)
        return err_set(err, 125, "%s: names no place where images are looked up: local, modal, registry", from);
    *ret = order;
    return 0;
}

int mirror_check(const char *entry, struct err *err)
{
    const char *eq = strchr(entry, '=');
    cleanup_free char *from = NULL, *to = NULL;
    const char *prefix;

    if (!eq)
        return err_set(err, 125, "invalid registry mirror '%s': write it as docker.io=localhost:5000", entry);
    from = xstrndup(entry, (size_t)(eq - entry));
    prefix = strchr(eq + 1, '/');
    to = prefix ? xstrndup(eq + 1, (size_t)(prefix - eq - 1)) : xstrdup(eq + 1);
    if (!domain_ok(from) || !domain_ok(to) || (prefix && !path_ok(prefix + 1)))
        return err_set(err, 125, "invalid registry mirror '%s': write it as docker.io=localhost:5000", entry);
    return 0;
}

/* Replaces domain and path of ret by the mirror "host[/prefix]". */
static void redirect(struct reference *ret, const char *to)
{
    const char *slash = strchr(to, '/');
    char *path;

    free(ret->domain);
    ret->domain = slash ? xstrndup(to, (size_t)(slash - to)) : xstrdup(to);
    if (!slash)
        return;
    path = xasprintf("%s/%s", slash + 1, ret->path);
    free(ret->path);
    ret->path = path;
}

bool mirror_apply(const struct strlist *mirrors, const struct reference *r, struct reference *ret)
{
    *ret = (struct reference){xstrdup(r->domain), xstrdup(r->path), xstrdup(r->tag), xstrdup(r->digest)};
    for (size_t i = 0; mirrors && i < mirrors->len; i++) {
        const char *eq = strchr(mirrors->items[i], '=');
        size_t len = eq ? (size_t)(eq - mirrors->items[i]) : 0;

        if (!eq || strlen(r->domain) != len || strncmp(mirrors->items[i], r->domain, len) != 0)
            continue;
        redirect(ret, eq + 1);
        return true;
    }
    return false;
}
