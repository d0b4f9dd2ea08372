#include "translate/modal_options.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"
#include "translate/names.h"
#include "translate/nearest.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DAY          86400
#define LABEL_PREFIX "modal."
#define ENV_PREFIX   "ATP_DOCKER_MODAL_"

const struct modal_key_def modal_keys[MODAL_KEY_MAX] = {
    [MODAL_KEY_ACQUIRE_TIMEOUT] = {"acquire_timeout", MODAL_TYPE_SECONDS, NULL, "pool", false, NULL, 1, DAY,
                                   "how long to wait for a free slot"},
    [MODAL_KEY_APP] = {"app", MODAL_TYPE_NAME, "atp-docker", "sandbox", true, NULL, 0, 0,
                       "the App that sandboxes belong to"},
    [MODAL_KEY_BLOCK_NETWORK] = {"block_network", MODAL_TYPE_BOOL, "false", "network", true, NULL, 0, 0,
                                 "no network at all, as --network none"},
    [MODAL_KEY_CIDR_ALLOWLIST] = {"cidr_allowlist", MODAL_TYPE_CIDRS, NULL, "network", true, NULL, 0, 0,
                                  "the only addresses that can be reached (also outbound_cidr_allowlist)"},
    [MODAL_KEY_CLOUD] = {"cloud", MODAL_TYPE_STRING, NULL, "sandbox", true, NULL, 0, 0, "aws, gcp, oci or auto"},
    [MODAL_KEY_CPU] = {"cpu", MODAL_TYPE_CPU, NULL, "sandbox", true, NULL, 10, UINT32_MAX, "cores; --cpus wins"},
    [MODAL_KEY_CPU_ENV] = {"cpu_env", MODAL_TYPE_STRING, NULL, "pool", false, NULL, 0, 0,
                           "variables of a slot that hold its number of cores"},
    [MODAL_KEY_CUSTOM_DOMAIN] = {"custom_domain", MODAL_TYPE_STRING, NULL, "network", false, NULL, 0, 0,
                                 "parent domain of public tunnels"},
    [MODAL_KEY_DOMAIN_ALLOWLIST] = {"domain_allowlist", MODAL_TYPE_LIST, NULL, "network", false, NULL, 0, 0,
                                    "the only host names that can be reached"},
    [MODAL_KEY_ENCRYPTED_PORTS] = {"encrypted_ports", MODAL_TYPE_LIST, NULL, "network", false, NULL, 0, 0,
                                   "ports with a public TLS tunnel"},
    [MODAL_KEY_ENVIRONMENT] = {"environment", MODAL_TYPE_STRING, NULL, "sandbox", true, NULL, 0, 0,
                               "Modal environment of the App; by default that of the Modal profile"},
    [MODAL_KEY_EXEC_TIMEOUT] = {"exec_timeout", MODAL_TYPE_SECONDS, NULL, "client", false, NULL, 1, DAY,
                                "longest time of one exec"},
    [MODAL_KEY_GPU] = {"gpu", MODAL_TYPE_STRING, NULL, "sandbox", false, NULL, 0, 0, "TYPE or TYPE:COUNT"},
    [MODAL_KEY_H2_PORTS] = {"h2_ports", MODAL_TYPE_LIST, NULL, "network", false, NULL, 0, 0,
                            "ports with a public HTTP/2 tunnel"},
    [MODAL_KEY_IDLE_TIMEOUT] = {"idle_timeout", MODAL_TYPE_SECONDS, NULL, "sandbox", true, NULL, 1, DAY,
                                "the sandbox ends after so many seconds without activity"},
    [MODAL_KEY_INBOUND_CIDR_ALLOWLIST] = {"inbound_cidr_allowlist", MODAL_TYPE_CIDRS, NULL, "network", false, NULL, 0,
                                          0, "who may reach the tunnels"},
    [MODAL_KEY_LINKS] = {"links", MODAL_TYPE_LIST, NULL, "sync", false, NULL, 0, 0,
                         "paths that are linked from a shared place and never pulled"},
    [MODAL_KEY_MAX_COST] = {"max_cost", MODAL_TYPE_STRING, NULL, "client", false, NULL, 0, 0,
                            "refuse what would cost more"},
    [MODAL_KEY_MAX_LIFETIME] = {"max_lifetime", MODAL_TYPE_SECONDS, NULL, "pool", false, NULL, 1, INT64_MAX,
                                "longest life of a pooled sandbox"},
    [MODAL_KEY_MAX_SANDBOXES] = {"max_sandboxes", MODAL_TYPE_STRING, NULL, "pool", false, NULL, 0, 0,
                                 "upper size of a pool"},
    [MODAL_KEY_MEMORY] = {"memory", MODAL_TYPE_MEMORY, NULL, "sandbox", true, NULL, 6, UINT32_MAX,
                          "MiB, or with a suffix as -m takes it; -m wins"},
    [MODAL_KEY_MIN_SANDBOXES] = {"min_sandboxes", MODAL_TYPE_STRING, NULL, "pool", false, NULL, 0, 0,
                                 "lower size of a pool"},
    [MODAL_KEY_ORPHAN_GRACE] = {"orphan_grace", MODAL_TYPE_SECONDS, "600", "sandbox", true, NULL, 0, DAY,
                                "a container that has ended and that nobody asks about ends its sandbox after so many "
                                "seconds"},
    [MODAL_KEY_POOL] = {"pool", MODAL_TYPE_NAME, NULL, "pool", false, NULL, 0, 0, "take a slot of this pool"},
    [MODAL_KEY_PROFILE] = {"profile", MODAL_TYPE_STRING, NULL, "client", false, NULL, 0, 0,
                           "profile of config.yaml; ATP_DOCKER_PROFILE chooses one today"},
    [MODAL_KEY_PTY] = {"pty", MODAL_TYPE_BOOL, NULL, "sandbox", false, NULL, 0, 0, "a terminal for the sandbox itself"},
    [MODAL_KEY_REGION] = {"region", MODAL_TYPE_LIST, NULL, "sandbox", true, NULL, 0, 0, "regions, in any order"},
    [MODAL_KEY_RESET] = {"reset", MODAL_TYPE_STRING, NULL, "pool", false, NULL, 0, 0,
                         "how a slot is cleaned between users"},
    [MODAL_KEY_SANDBOX_ENV] = {"sandbox_env", MODAL_TYPE_LIST, NULL, "sandbox", false, NULL, 0, 0,
                               "variables of the sandbox itself"},
    [MODAL_KEY_SECRETS] = {"secrets", MODAL_TYPE_LIST, NULL, "sandbox", false, NULL, 0, 0,
                           "Modal secrets given to the sandbox"},
    [MODAL_KEY_SLOTS_PER_SANDBOX] = {"slots_per_sandbox", MODAL_TYPE_STRING, NULL, "pool", false, NULL, 0, 0,
                                     "containers in one sandbox"},
    [MODAL_KEY_SYNC_CACHE] = {"sync.cache", MODAL_TYPE_BOOL, NULL, "sync", false, NULL, 0, 0,
                              "keep trees on the server between containers"},
    [MODAL_KEY_SYNC_CONFLICT] = {"sync.conflict", MODAL_TYPE_CHOICE, NULL, "sync", true, "host|container|fail", 0, 0,
                                 "who wins when both sides changed a file; by default the host's stays and the "
                                 "container's is kept aside"},
    [MODAL_KEY_SYNC_EXCLUDE] = {"sync.exclude", MODAL_TYPE_LIST, NULL, "sync", true, NULL, 0, 0,
                                "names and patterns that are not synchronised"},
    [MODAL_KEY_SYNC_WHEN] = {"sync.when", MODAL_TYPE_STRING, NULL, "sync", false, NULL, 0, 0,
                             "at which moments to synchronise"},
    [MODAL_KEY_TIMEOUT] = {"timeout", MODAL_TYPE_SECONDS, "86400", "sandbox", true, NULL, 1, DAY,
                           "longest life of the sandbox in seconds"},
    [MODAL_KEY_UNENCRYPTED_PORTS] = {"unencrypted_ports", MODAL_TYPE_LIST, NULL, "network", false, NULL, 0, 0,
                                     "ports with a public TCP tunnel"},
    [MODAL_KEY_USER] = {"user", MODAL_TYPE_STRING, NULL, "pool", false, NULL, 0, 0, "user of pooled slots"},
    [MODAL_KEY_VERBOSE] = {"verbose", MODAL_TYPE_BOOL, "false", "sandbox", true, NULL, 0, 0,
                           "execs appear in the sandbox's own log"},
    [MODAL_KEY_VOLUME_SAVE] = {"volume.save", MODAL_TYPE_SECONDS, "60", "volume", true, NULL, 1, DAY,
                               "how often volumes are saved while a container runs"},
    [MODAL_KEY_VOLUMES] = {"volumes", MODAL_TYPE_CHOICE, NULL, "volume", true, "native|packs", 0, 0,
                           "\"native\" mounts Modal volumes themselves; \"packs\", the default, keeps live files in "
                           "the container and saves them"},
    [MODAL_KEY_WARM] = {"warm", MODAL_TYPE_SECONDS, NULL, "client", false, NULL, 0, DAY, "keep a sandbox ready"},
    [MODAL_KEY_WORKSPACE_BASE] = {"workspace_base", MODAL_TYPE_STRING, NULL, "pool", false, NULL, 0, 0,
                                  "where the directories of slots are"},
};

static const char *const source_names[] = {
    [MODAL_FROM_DEFAULT] = "default", [MODAL_FROM_PROFILE] = "profile",           [MODAL_FROM_ENV] = "env",
    [MODAL_FROM_X_TOP] = "x-modal",   [MODAL_FROM_X_SERVICE] = "service.x-modal", [MODAL_FROM_LABEL] = "label",
};

const char *modal_source_name(enum modal_source source)
{
    return source_names[source];
}

int modal_source_find(const char *name, enum modal_source *ret)
{
    for (size_t i = 0; i < sizeof(source_names) / sizeof(source_names[0]); i++) {
        if (strcmp(source_names[i], name) == 0) {
            *ret = (enum modal_source)i;
            return 0;
        }
    }
    return -1;
}

void modal_options_init(struct modal_options *o)
{
    *o = (struct modal_options){0};
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++)
        if (modal_keys[key].def)
            modal_options_set(o, MODAL_FROM_DEFAULT, "default", modal_keys[key].name, modal_keys[key].def, NULL);
}

static void value_clear(struct modal_value *v)
{
    free(v->text);
    free(v->origin);
    strlist_clear(&v->list);
    *v = (struct modal_value){0};
}

void modal_options_clear(struct modal_options *o)
{
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++)
        value_clear(&o->values[key]);
}

enum modal_key modal_key_find(const char *name)
{
    enum modal_key key = 0;

    if (strcmp(name, "outbound_cidr_allowlist") == 0)
        return MODAL_KEY_CIDR_ALLOWLIST;
    while (key < MODAL_KEY_MAX && strcmp(modal_keys[key].name, name) != 0)
        key++;
    return key;
}

/* The key that a person who typed this probably meant, or NULL. */
static const char *nearest_key(const char *name)
{
    const char *names[MODAL_KEY_MAX + 1];

    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++)
        names[key] = modal_keys[key].name;
    names[MODAL_KEY_MAX] = NULL;
    return nearest_word(name, names);
}

/* --- values by type --- */

static bool parse_bool(const char *text, int64_t *ret)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true}, {"1", true}, {"yes", true}, {"false", false}, {"0", false}, {"no", false}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(words[i].word, text) == 0) {
            *ret = words[i].value;
            return true;
        }
    }
    return false;
}

/* Digits only: no sign, no blanks, no other base. */
static bool parse_whole(const char *text, int64_t *ret)
{
    int64_t n = 0;

    if (*text == '\0' || strlen(text) > 18)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        n = n * 10 + (*text - '0');
    }
    *ret = n;
    return true;
}

static bool parse_cpu(const char *text, int64_t *ret)
{
    int64_t nano;

    if (units_parse_cpus(text, &nano, NULL) < 0 || nano < 0)
        return false;
    *ret = nano / 1000000;
    return true;
}

static bool parse_memory(const char *text, int64_t *ret)
{
    int64_t bytes;

    if (parse_whole(text, ret))
        return true;
    if (units_parse_bytes(text, &bytes, NULL) < 0)
        return false;
    *ret = bytes / (1 << 20) + (bytes % (1 << 20) != 0);
    return true;
}

/* a.b.c.d[/n] or an IPv6 address[/n]. */
static bool cidr_ok(const char *text)
{
    unsigned char address[16];
    const char *slash = strchr(text, '/');
    cleanup_free char *host = slash ? xstrndup(text, (size_t)(slash - text)) : xstrdup(text);
    int64_t bits = 0;
    bool v6 = strchr(host, ':') != NULL;

    if (inet_pton(v6 ? AF_INET6 : AF_INET, host, address) != 1)
        return false;
    return slash && parse_whole(slash + 1, &bits) && bits <= (v6 ? 128 : 32);
}

/* Items between newlines when there are any, else between commas; empty ones are dropped. */
static void parse_list(const char *text, struct strlist *ret)
{
    cleanup_strlist struct strlist raw = STRLIST_INIT;

    strlist_split(&raw, text, strchr(text, '\n') ? '\n' : ',');
    for (size_t i = 0; i < raw.len; i++) {
        const char *start = raw.items[i] + strspn(raw.items[i], " \t\r");
        size_t len = strlen(start);

        while (len > 0 && strchr(" \t\r", start[len - 1]))
            len--;
        if (len > 0)
            strlist_add_owned(ret, xstrndup(start, len));
    }
}

/* An App's name must not look like an App's id. */
static bool name_ok(const char *s)
{
    return modal_name_valid(s) && (strlen(s) != 25 || strncmp(s, "ap-", 3) != 0);
}

static bool is_choice(const char *choices, const char *word)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    strlist_split(&words, choices, '|');
    return strlist_has(&words, word);
}

static bool all_cidrs(const struct strlist *list)
{
    for (size_t i = 0; i < list->len; i++)
        if (!cidr_ok(list->items[i]))
            return false;
    return list->len > 0;
}

static bool in_range(const struct modal_key_def *def, int64_t n)
{
    return n >= def->min && n <= def->max;
}

/* Understands v->text; NULL, or what was expected (static text). */
static const char *read_value(const struct modal_key_def *def, struct modal_value *v)
{
    switch (def->type) {
    case MODAL_TYPE_STRING:
        return v->text[0] ? NULL : "a text that is not empty";
    case MODAL_TYPE_NAME:
        return name_ok(v->text) ? NULL : "up to 64 letters, digits, '-', '_', '.', and not the form of an App's id";
    case MODAL_TYPE_BOOL:
        return parse_bool(v->text, &v->number) ? NULL : "true or false";
    case MODAL_TYPE_SECONDS:
        return parse_whole(v->text, &v->number) && in_range(def, v->number) ? NULL : "whole seconds";
    case MODAL_TYPE_CPU:
        return parse_cpu(v->text, &v->number) && in_range(def, v->number) ? NULL : "a number of cores, 0.01 or more";
    case MODAL_TYPE_MEMORY:
        return parse_memory(v->text, &v->number) && in_range(def, v->number)
                   ? NULL
                   : "MiB (512) or a size (1g), 6 MiB or more";
    case MODAL_TYPE_LIST:
        parse_list(v->text, &v->list);
        return v->list.len > 0 ? NULL : "a list that is not empty";
    case MODAL_TYPE_CIDRS:
        parse_list(v->text, &v->list);
        return all_cidrs(&v->list) ? NULL : "addresses such as 10.0.0.0/8 or 2001:db8::/32";
    case MODAL_TYPE_CHOICE:
        return is_choice(def->choices, v->text) ? NULL : def->choices;
    }
    return "something else";
}

/* The message of a value that was not understood, with the range where there is one. */
static int bad_value(const struct modal_key_def *def, const struct modal_value *v, const char *expected,
                     struct err *err)
{
    if (def->type == MODAL_TYPE_SECONDS && def->max < INT64_MAX)
        return err_set(err, 125, "%s: '%s' is not %s from %lld to %lld", v->origin, v->text, expected,
                       (long long)def->min, (long long)def->max);
    if (def->type == MODAL_TYPE_CHOICE)
        return err_set(err, 125, "%s: '%s' is not one of %s", v->origin, v->text, expected);
    return err_set(err, 125, "%s: '%s' is not %s", v->origin, v->text, expected);
}

int modal_options_set(struct modal_options *o, enum modal_source source, const char *origin, const char *key,
                      const char *value, struct err *err)
{
    enum modal_key at = modal_key_find(key);
    struct modal_value v = {.source = source};
    const char *near, *expected;

    if (at == MODAL_KEY_MAX) {
        near = nearest_key(key);
        return err_set(err, 125, "%s: there is no Modal option '%s'%s%s%s", origin, key, near ? "; did you mean '" : "",
                       near ? near : "", near ? "'?" : "");
    }
    v.text = xstrdup(value);
    v.origin = xstrdup(origin);
    expected = read_value(&modal_keys[at], &v);
    if (expected) {
        bad_value(&modal_keys[at], &v, expected, err);
        value_clear(&v);
        return -1;
    }
    if (o->values[at].text && source < o->values[at].source) {
        value_clear(&v);
        return 0;
    }
    value_clear(&o->values[at]);
    o->values[at] = v;
    return 0;
}

/* --- the spellings --- */

int modal_options_from_labels(struct modal_options *o, const struct strlist *labels, struct err *err)
{
    size_t prefix = strlen(LABEL_PREFIX);

    for (size_t i = 0; i < labels->len; i++) {
        const char *label = labels->items[i];
        size_t len = strcspn(label, "=");
        cleanup_free char *name = xstrndup(label, len);
        cleanup_free char *origin = xasprintf("label %s", name);

        if (strncmp(name, LABEL_PREFIX, prefix) == 0 &&
            modal_options_set(o, MODAL_FROM_LABEL, origin, name + prefix, label[len] ? label + len + 1 : "", err) < 0)
            return -1;
    }
    return 0;
}

/* Dots and underscores look the same in a variable's name, so the table decides. */
char *modal_key_of_variable(const char *name)
{
    cleanup_free char *key = xstrdup(name);

    for (char *p = key; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    for (enum modal_key i = 0; i < MODAL_KEY_MAX; i++) {
        cleanup_free char *plain = xstrdup(modal_keys[i].name);

        for (char *p = plain; *p; p++)
            if (*p == '.')
                *p = '_';
        if (strcmp(plain, key) == 0)
            return xstrdup(modal_keys[i].name);
    }
    return steal(&key);
}

int modal_options_from_env(struct modal_options *o, char *const *environ, struct err *err)
{
    size_t prefix = strlen(ENV_PREFIX);

    for (char *const *e = environ; e && *e; e++) {
        size_t len = strcspn(*e, "=");
        cleanup_free char *name = NULL, *key = NULL;

        if (len <= prefix || strncmp(*e, ENV_PREFIX, prefix) != 0 || (*e)[len] != '=' || (*e)[len + 1] == '\0')
            continue;
        name = xstrndup(*e, len);
        key = modal_key_of_variable(name + prefix);
        if (modal_options_set(o, MODAL_FROM_ENV, name, key, *e + len + 1, err) < 0)
            return -1;
    }
    return 0;
}

int modal_options_from_profile(struct modal_options *o, const struct strlist *keys, struct err *err)
{
    for (size_t i = 0; i < keys->len; i++) {
        size_t len = strcspn(keys->items[i], "=");
        cleanup_free char *key = xstrndup(keys->items[i], len);
        cleanup_free char *origin = xasprintf("profile key %s", key);

        if (modal_options_set(o, MODAL_FROM_PROFILE, origin, key, keys->items[i][len] ? keys->items[i] + len + 1 : "",
                              err) < 0)
            return -1;
    }
    return 0;
}

int modal_options_check(const struct modal_options *o, struct err *err)
{
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++)
        if (modal_given(o, key) && !modal_keys[key].carried_out)
            return err_set(err, 125, "%s is not carried out by atp-docker yet (%s)", o->values[key].origin,
                           modal_keys[key].help);
    if (modal_bool(o, MODAL_KEY_BLOCK_NETWORK) && modal_given(o, MODAL_KEY_CIDR_ALLOWLIST))
        return err_set(err, 125, "%s and %s exclude each other: a blocked network has no addresses to allow",
                       o->values[MODAL_KEY_BLOCK_NETWORK].origin, o->values[MODAL_KEY_CIDR_ALLOWLIST].origin);
    return 0;
}

/* --- reading --- */

bool modal_given(const struct modal_options *o, enum modal_key key)
{
    return o->values[key].source != MODAL_FROM_DEFAULT;
}

const char *modal_str(const struct modal_options *o, enum modal_key key)
{
    return o->values[key].text;
}

int64_t modal_int(const struct modal_options *o, enum modal_key key)
{
    return o->values[key].number;
}

bool modal_bool(const struct modal_options *o, enum modal_key key)
{
    return o->values[key].number != 0;
}

const struct strlist *modal_list(const struct modal_options *o, enum modal_key key)
{
    return &o->values[key].list;
}
