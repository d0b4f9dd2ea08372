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
#define GPUS_MAX     64 /* in one sandbox */
#define LABEL_PREFIX "modal."
#define ENV_PREFIX   "ATP_DOCKER_MODAL_"

const struct modal_key_def modal_keys[MODAL_KEY_MAX] = {
    [MODAL_KEY_ACQUIRE_TIMEOUT] = {"acquire_timeout", MODAL_TYPE_SECONDS, MODAL_POD_OWN, NULL, "pool", false, NULL, 1,
                                   DAY, "how long to wait for a free slot"},
    [MODAL_KEY_APP] = {"app", MODAL_TYPE_NAME, MODAL_POD_SAME, "atp-docker", "sandbox", true, NULL, 0, 0,
                       "the App that sandboxes belong to"},
    [MODAL_KEY_BLOCK_NETWORK] = {"block_network", MODAL_TYPE_BOOL, MODAL_POD_OWN, "false", "network", true, NULL, 0, 0,
                                 "no network at all, as --network none"},
    [MODAL_KEY_CIDR_ALLOWLIST] = {"cidr_allowlist", MODAL_TYPE_CIDRS, MODAL_POD_OWN, NULL, "network", true, NULL, 0, 0,
                                  "the only addresses that can be reached (also outbound_cidr_allowlist)"},
    [MODAL_KEY_CLOUD] = {"cloud", MODAL_TYPE_STRING, MODAL_POD_SAME, NULL, "sandbox", true, NULL, 0, 0,
                         "aws, gcp, oci or auto"},
    [MODAL_KEY_CPU] = {"cpu", MODAL_TYPE_CPU, MODAL_POD_SUM, NULL, "sandbox", true, NULL, 10, UINT32_MAX,
                       "cores; --cpus wins"},
    [MODAL_KEY_CPU_ENV] = {"cpu_env", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "pool", false, NULL, 0, 0,
                           "variables of a slot that hold its number of cores"},
    [MODAL_KEY_CUSTOM_DOMAIN] = {"custom_domain", MODAL_TYPE_STRING, MODAL_POD_SAME, NULL, "network", true, NULL, 0, 0,
                                 "parent domain of public tunnels"},
    [MODAL_KEY_DOMAIN_ALLOWLIST] = {"domain_allowlist", MODAL_TYPE_DOMAINS, MODAL_POD_OWN, NULL, "network", true, NULL,
                                    0, 0, "the only host names that can be reached, by TLS"},
    [MODAL_KEY_ENCRYPTED_PORTS] = {"encrypted_ports", MODAL_TYPE_PORTS, MODAL_POD_PORTS, NULL, "network", true, NULL, 0,
                                   0, "ports with a public TLS tunnel"},
    [MODAL_KEY_ENVIRONMENT] = {"environment", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "sandbox", true, NULL, 0, 0,
                               "Modal environment, of a whole command; by default that of the Modal profile"},
    [MODAL_KEY_EXEC_TIMEOUT] = {"exec_timeout", MODAL_TYPE_SECONDS, MODAL_POD_OWN, NULL, "client", false, NULL, 1, DAY,
                                "longest time of one exec"},
    [MODAL_KEY_GPU] = {"gpu", MODAL_TYPE_GPU, MODAL_POD_NEVER, NULL, "sandbox", true, NULL, 0, 0,
                       "TYPE or TYPE:COUNT; beside --gpus, which says how many, the type"},
    [MODAL_KEY_H2_PORTS] = {"h2_ports", MODAL_TYPE_PORTS, MODAL_POD_PORTS, NULL, "network", true, NULL, 0, 0,
                            "ports with a public HTTP/2 tunnel"},
    [MODAL_KEY_IDLE_TIMEOUT] = {"idle_timeout", MODAL_TYPE_SECONDS, MODAL_POD_SAME, NULL, "sandbox", true, NULL, 1, DAY,
                                "the sandbox ends after so many seconds without activity"},
    [MODAL_KEY_INBOUND_CIDR_ALLOWLIST] = {"inbound_cidr_allowlist", MODAL_TYPE_CIDRS, MODAL_POD_SAME, NULL, "network",
                                          true, NULL, 0, 0, "the only addresses that can reach the tunnels"},
    [MODAL_KEY_LINKS] = {"links", MODAL_TYPE_LIST, MODAL_POD_OWN, NULL, "sync", false, NULL, 0, 0,
                         "paths that are linked from a shared place and never pulled"},
    [MODAL_KEY_MAX_COST] = {"max_cost", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "client", false, NULL, 0, 0,
                            "refuse what would cost more"},
    [MODAL_KEY_MAX_LIFETIME] = {"max_lifetime", MODAL_TYPE_SECONDS, MODAL_POD_OWN, NULL, "pool", false, NULL, 1,
                                INT64_MAX, "longest life of a pooled sandbox"},
    [MODAL_KEY_MAX_SANDBOXES] = {"max_sandboxes", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "pool", false, NULL, 0, 0,
                                 "upper size of a pool"},
    [MODAL_KEY_MEMORY] = {"memory", MODAL_TYPE_MEMORY, MODAL_POD_SUM, NULL, "sandbox", true, NULL, 6, UINT32_MAX,
                          "MiB, or with a suffix as -m takes it; -m wins"},
    [MODAL_KEY_MIN_SANDBOXES] = {"min_sandboxes", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "pool", false, NULL, 0, 0,
                                 "lower size of a pool"},
    [MODAL_KEY_ORPHAN_GRACE] = {"orphan_grace", MODAL_TYPE_SECONDS, MODAL_POD_OWN, "600", "sandbox", true, NULL, 0, DAY,
                                "a container that has ended and that nobody asks about ends its sandbox after so many "
                                "seconds"},
    [MODAL_KEY_POOL] = {"pool", MODAL_TYPE_NAME, MODAL_POD_OWN, NULL, "pool", false, NULL, 0, 0,
                        "take a slot of this pool"},
    [MODAL_KEY_PROFILE] = {"profile", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "client", false, NULL, 0, 0,
                           "profile of config.yaml; ATP_DOCKER_PROFILE chooses one today"},
    [MODAL_KEY_PTY] = {"pty", MODAL_TYPE_BOOL, MODAL_POD_OWN, NULL, "sandbox", true, NULL, 0, 0,
                       "a terminal for the container's first process, the agent; -t is the command's"},
    [MODAL_KEY_REGION] = {"region", MODAL_TYPE_LIST, MODAL_POD_SAME, NULL, "sandbox", true, NULL, 0, 0,
                          "regions, in any order"},
    [MODAL_KEY_RESET] = {"reset", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "pool", false, NULL, 0, 0,
                         "how a slot is cleaned between users"},
    [MODAL_KEY_SANDBOX_ENV] = {"sandbox_env", MODAL_TYPE_ENV, MODAL_POD_OWN, NULL, "sandbox", true, NULL, 0, 0,
                               "NAME=VALUE: variables that are given with the sandbox, as those of secrets are"},
    [MODAL_KEY_SECRETS] = {"secrets", MODAL_TYPE_LIST, MODAL_POD_OWN, NULL, "sandbox", true, NULL, 0, 0,
                           "names of Modal secrets, whose variables the container gets"},
    [MODAL_KEY_SLOTS_PER_SANDBOX] = {"slots_per_sandbox", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "pool", false, NULL,
                                     0, 0, "containers in one sandbox"},
    [MODAL_KEY_SYNC_CACHE] = {"sync.cache", MODAL_TYPE_BOOL, MODAL_POD_OWN, NULL, "sync", false, NULL, 0, 0,
                              "keep trees on the server between containers"},
    [MODAL_KEY_SYNC_CONFLICT] = {"sync.conflict", MODAL_TYPE_CHOICE, MODAL_POD_OWN, NULL, "sync", true,
                                 "host|container|fail", 0, 0,
                                 "who wins when both sides changed a file; by default the host's stays and the "
                                 "container's is kept aside"},
    [MODAL_KEY_SYNC_EXCLUDE] = {"sync.exclude", MODAL_TYPE_LIST, MODAL_POD_OWN, NULL, "sync", true, NULL, 0, 0,
                                "names and patterns that are not synchronised"},
    [MODAL_KEY_SYNC_WHEN] = {"sync.when", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "sync", false, NULL, 0, 0,
                             "at which moments to synchronise"},
    [MODAL_KEY_TIMEOUT] = {"timeout", MODAL_TYPE_SECONDS, MODAL_POD_LONGEST, "86400", "sandbox", true, NULL, 1, DAY,
                           "longest life of the sandbox in seconds"},
    [MODAL_KEY_UNENCRYPTED_PORTS] = {"unencrypted_ports", MODAL_TYPE_PORTS, MODAL_POD_PORTS, NULL, "network", true,
                                     NULL, 0, 0, "ports with a public TCP tunnel"},
    [MODAL_KEY_USER] = {"user", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "pool", false, NULL, 0, 0,
                        "user of pooled slots"},
    [MODAL_KEY_VERBOSE] = {"verbose", MODAL_TYPE_BOOL, MODAL_POD_SAME, "false", "sandbox", true, NULL, 0, 0,
                           "execs appear in the sandbox's own log"},
    [MODAL_KEY_VOLUME_SAVE] = {"volume.save", MODAL_TYPE_SECONDS, MODAL_POD_OWN, "60", "volume", true, NULL, 1, DAY,
                               "how often volumes are saved while a container runs"},
    [MODAL_KEY_VOLUMES] = {"volumes", MODAL_TYPE_CHOICE, MODAL_POD_OWN, NULL, "volume", true, "native|packs", 0, 0,
                           "\"native\" mounts Modal volumes themselves; \"packs\", the default, keeps live files in "
                           "the container and saves them"},
    [MODAL_KEY_WARM] = {"warm", MODAL_TYPE_SECONDS, MODAL_POD_OWN, NULL, "client", false, NULL, 0, DAY,
                        "keep a sandbox ready"},
    [MODAL_KEY_WORKSPACE_BASE] = {"workspace_base", MODAL_TYPE_STRING, MODAL_POD_OWN, NULL, "pool", false, NULL, 0, 0,
                                  "where the directories of slots are"},
};

static const char *const source_names[] = {
    [MODAL_FROM_DEFAULT] = "default", [MODAL_FROM_PROFILE] = "profile",           [MODAL_FROM_ENV] = "env",
    [MODAL_FROM_X_TOP] = "x-modal",   [MODAL_FROM_X_SERVICE] = "service.x-modal", [MODAL_FROM_LABEL] = "label",
    [MODAL_FROM_DOCKER] = "docker",
};

const char *modal_source_name(enum modal_source source)
{
    return source_names[source];
}

const char *modal_in_pod_name(enum modal_in_pod pod)
{
    static const char *const names[] = {
        [MODAL_POD_OWN] = "own", [MODAL_POD_SAME] = "same",   [MODAL_POD_LONGEST] = "longest",
        [MODAL_POD_SUM] = "sum", [MODAL_POD_PORTS] = "ports", [MODAL_POD_NEVER] = "never",
    };

    return names[pod];
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

/* Letters, digits, '-' and '.', with "*." in front or "*" alone. */
static bool domain_ok(const char *s)
{
    if (strcmp(s, "*") == 0)
        return true;
    if (strncmp(s, "*.", 2) == 0)
        s += 2;
    if (*s == '.' || !*s || strlen(s) > 253)
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == strlen(s);
}

static bool all_domains(const struct strlist *list)
{
    for (size_t i = 0; i < list->len; i++)
        if (!domain_ok(list->items[i]))
            return false;
    return list->len > 0;
}

/* NAME=VALUE, a name as Modal takes it (protocol 4.1). */
static bool variable_ok(const char *s)
{
    size_t len = strcspn(s, "=");

    if (len == 0 || s[len] != '=' || isdigit((unsigned char)s[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_')
            return false;
    return true;
}

static bool all_variables(const struct strlist *list)
{
    for (size_t i = 0; i < list->len; i++)
        if (!variable_ok(list->items[i]))
            return false;
    return list->len > 0;
}

static bool all_ports(const struct strlist *list)
{
    int64_t port;

    for (size_t i = 0; i < list->len; i++) {
        if (!parse_whole(list->items[i], &port) || port < 1 || port > UINT16_MAX)
            return false;
        for (size_t j = 0; j < i; j++)
            if (strcmp(list->items[i], list->items[j]) == 0)
                return false;
    }
    return list->len > 0;
}

/* "T4", "A100-80GB", "H100!:2" */
static bool parse_gpu(const char *text, int64_t *ret_count)
{
    size_t len = strcspn(text, ":");

    *ret_count = 0;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '!')
            return false;
    if (len == 0 || !text[len])
        return len > 0;
    return parse_whole(text + len + 1, ret_count) && *ret_count >= 1 && *ret_count <= GPUS_MAX;
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
    case MODAL_TYPE_DOMAINS:
        parse_list(v->text, &v->list);
        return all_domains(&v->list) ? NULL : "host names such as example.com or *.example.com";
    case MODAL_TYPE_ENV:
        parse_list(v->text, &v->list);
        return all_variables(&v->list) ? NULL : "NAME=VALUE, or several, a line for each";
    case MODAL_TYPE_PORTS:
        parse_list(v->text, &v->list);
        return all_ports(&v->list) ? NULL : "ports from 1 to 65535, each once";
    case MODAL_TYPE_GPU:
        return parse_gpu(v->text, &v->number) ? NULL : "TYPE or TYPE:COUNT with a count from 1 to 64";
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

/* --- what does not go together --- */

static const enum modal_key port_keys[] = {MODAL_KEY_ENCRYPTED_PORTS, MODAL_KEY_H2_PORTS, MODAL_KEY_UNENCRYPTED_PORTS};

#define PORT_KEYS (sizeof(port_keys) / sizeof(port_keys[0]))

/* A port has one tunnel, of one kind. */
static int check_ports(const struct modal_options *o, struct err *err)
{
    for (size_t a = 0; a < PORT_KEYS; a++)
        for (size_t b = a + 1; b < PORT_KEYS; b++)
            for (size_t i = 0; i < modal_list(o, port_keys[b])->len; i++)
                if (strlist_has(modal_list(o, port_keys[a]), modal_list(o, port_keys[b])->items[i]))
                    return err_set(err, 125, "%s and %s both have port %s: a port has a tunnel of one kind",
                                   o->values[port_keys[a]].origin, o->values[port_keys[b]].origin,
                                   modal_list(o, port_keys[b])->items[i]);
    return 0;
}

int modal_options_check_blocked(const struct modal_options *o, const char *by, struct err *err)
{
    static const enum modal_key never[] = {MODAL_KEY_ENCRYPTED_PORTS, MODAL_KEY_H2_PORTS, MODAL_KEY_UNENCRYPTED_PORTS,
                                           MODAL_KEY_INBOUND_CIDR_ALLOWLIST};

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (modal_given(o, never[i]))
            return err_set(err, 125, "%s and %s exclude each other: a blocked network cannot be reached from outside",
                           by, o->values[never[i]].origin);
    return 0;
}

static int check_block(const struct modal_options *o, struct err *err)
{
    static const enum modal_key lists[] = {MODAL_KEY_CIDR_ALLOWLIST, MODAL_KEY_DOMAIN_ALLOWLIST};
    const char *by = o->values[MODAL_KEY_BLOCK_NETWORK].origin;

    if (!modal_bool(o, MODAL_KEY_BLOCK_NETWORK))
        return 0;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (modal_given(o, lists[i]))
            return err_set(err, 125, "%s and %s exclude each other: a blocked network has no addresses to allow", by,
                           o->values[lists[i]].origin);
    return modal_options_check_blocked(o, by, err);
}

int modal_options_check(const struct modal_options *o, struct err *err)
{
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++)
        if (modal_given(o, key) && !modal_keys[key].carried_out)
            return err_set(err, 125, "%s is not carried out by atp-docker yet (%s)", o->values[key].origin,
                           modal_keys[key].help);
    if (o->values[MODAL_KEY_ENVIRONMENT].source > MODAL_FROM_ENV)
        return err_set(err, 125,
                       "%s: a Modal environment is that of a whole command: set ATP_DOCKER_MODAL_ENVIRONMENT or "
                       "MODAL_ENVIRONMENT",
                       o->values[MODAL_KEY_ENVIRONMENT].origin);
    return check_ports(o, err) < 0 ? -1 : check_block(o, err);
}

/* --- --gpus --- */

/* How many ids "device=0,1" names: what comes after it belongs to it, up to the next KEY=. */
static int64_t count_devices(const struct strlist *fields, size_t at)
{
    int64_t n = 1;

    while (at + (size_t)n < fields->len && !strchr(fields->items[at + (size_t)n], '='))
        n++;
    return n;
}

/* The number that --gpus asks for; 0: none, -1: all that there are. The option's own check has seen the word. */
static int gpus_count(const char *word, int64_t *ret, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;
    int64_t n = -1;

    strlist_split(&fields, word, ',');
    for (size_t i = 0; i < fields.len; i++) {
        cleanup_free char *field = xstrdup(fields.items[i]);
        char *text = field + (field[0] == '"');
        size_t len = strlen(text);

        if (len > 0 && text[len - 1] == '"')
            text[len - 1] = '\0';
        if (strncmp(text, "device=", 7) == 0) {
            n = count_devices(&fields, i);
            i += (size_t)n - 1;
        } else if (strncmp(text, "count=", 6) == 0 || !strchr(text, '=')) {
            const char *count = strchr(text, '=') ? text + 6 : text;

            if (strcmp(count, "all") != 0 && strcmp(count, "-1") != 0 && !parse_whole(count, &n))
                return err_set(err, 125, "--gpus %s: '%s' is not a number of GPUs", word, count);
        } else if (strncmp(text, "options=", 8) == 0) {
            return err_set(err, 125, "--gpus %s: options of a driver are not carried out by atp-docker", word);
        }
    }
    *ret = n;
    return 0;
}

int modal_options_gpus(struct modal_options *o, const char *word, struct err *err)
{
    const char *given = modal_str(o, MODAL_KEY_GPU);
    cleanup_free char *type = given ? xstrndup(given, strcspn(given, ":")) : xstrdup("ANY"), *value = NULL;
    cleanup_free char *origin = xasprintf("--gpus %s", word);
    int64_t n = 0;

    if (gpus_count(word, &n, err) < 0)
        return -1;
    if (n == 0 || (n < 0 && given)) /* all there are: as many as modal.gpu says */
        return 0;
    value = n > 1 ? xasprintf("%s:%lld", type, (long long)n) : xstrdup(type);
    return modal_options_set(o, MODAL_FROM_DOCKER, origin, "gpu", value, err);
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
