#include "translate/config.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/input.h"
#include "translate/modal_options.h"
#include "translate/nearest.h"
#include "translate/reference.h"

#include <ctype.h>
#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

#define PROFILE_ENV "ATP_DOCKER_PROFILE"
#define LOOKUP_ENV  "ATP_DOCKER_LOOKUP"
#define PUBLISH_ENV "ATP_DOCKER_PUBLISH"

/* What the functions below need in common. */
struct reader {
    const char *file;
    struct config *config;
    struct err *err;
};

typedef int key_fn(struct reader *r, int line, struct fy_node *value);

struct key_def {
    const char *name;
    key_fn *read;
};

void config_init(struct config *c)
{
    *c = (struct config){.lookup = lookup_default};
}

void config_clear(struct config *c)
{
    strlist_clear(&c->mirrors);
    free(c->modal_server);
    free(c->modal_profile);
    free(c->profile);
    for (size_t i = 0; i < c->profiles_len; i++) {
        free(c->profiles[i].name);
        strlist_clear(&c->profiles[i].keys);
    }
    free(c->profiles);
    *c = (struct config){0};
}

/* Line of a scalar, counted from 1; 0 when it is none. */
static int line_of(struct fy_node *node)
{
    struct fy_token *token = node ? fy_node_get_scalar_token(node) : NULL;
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;

    return mark ? mark->line + 1 : 0;
}

/* The text of a scalar (owned by caller); an error that names key otherwise. */
static int scalar(const struct reader *r, int line, const char *key, struct fy_node *node, char **ret)
{
    size_t len = 0;
    const char *text =
        node && fy_node_is_scalar(node) && !fy_node_is_alias(node) ? fy_node_get_scalar(node, &len) : NULL;

    if (!text || len == 0 || memchr(text, '\0', len))
        return err_set(r->err, 125, "%s:%d: %s: a text is expected here", r->file, line, key);
    *ret = xstrndup(text, len);
    return 0;
}

static int unknown_key(const struct reader *r, int line, const char *where, const char *key, const struct key_def *keys)
{
    const char *names[16], *near;
    size_t n = 0;

    for (; keys[n].name && n < 15; n++)
        names[n] = keys[n].name;
    names[n] = NULL;
    near = nearest_word(key, names);
    return err_set(r->err, 125, "%s:%d: unknown key '%s%s'%s%s%s", r->file, line, where, key,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* Calls fn for each pair of a mapping. */
static int each_pair(struct reader *r, int line, const char *what, struct fy_node *map,
                     int (*fn)(struct reader *r, int line, const char *key, struct fy_node *value, void *arg),
                     void *arg)
{
    struct fy_node_pair *pair;
    void *it = NULL;

    if (!map || !fy_node_is_mapping(map))
        return err_set(r->err, 125, "%s:%d: %s: keys and values are expected here", r->file, line, what);
    while ((pair = fy_node_mapping_iterate(map, &it))) {
        struct fy_node *key_node = fy_node_pair_key(pair);
        int key_line = line_of(key_node);
        cleanup_free char *key = NULL;

        if (scalar(r, key_line ? key_line : line, what, key_node, &key) < 0)
            return -1;
        if (fn(r, key_line, key, fy_node_pair_value(pair), arg) < 0)
            return -1;
    }
    return 0;
}

/* A mapping whose keys are fixed. */
struct fixed {
    const char *where; /* "modal." */
    const struct key_def *keys;
};

static int fixed_pair(struct reader *r, int line, const char *key, struct fy_node *value, void *arg)
{
    const struct fixed *fixed = arg;

    for (const struct key_def *def = fixed->keys; def->name; def++)
        if (strcmp(def->name, key) == 0)
            return def->read(r, line, value);
    return unknown_key(r, line, fixed->where, key, fixed->keys);
}

/* --- the keys --- */

static int read_backend(struct reader *r, int line, struct fy_node *value)
{
    cleanup_free char *word = NULL, *from = xasprintf("%s:%d: backend", r->file, line);

    if (scalar(r, line, "backend", value, &word) < 0)
        return -1;
    r->config->backend_line = line;
    return backend_parse(word, from, &r->config->backend, r->err);
}

static int mirror_pair(struct reader *r, int line, const char *key, struct fy_node *value, void *arg)
{
    cleanup_free char *to = NULL, *entry = NULL;
    cleanup_err struct err why = ERR_INIT;

    (void)arg;
    if (scalar(r, line, key, value, &to) < 0)
        return -1;
    entry = xasprintf("%s=%s", key, to);
    if (mirror_check(entry, &why) < 0)
        return err_set(r->err, 125, "%s:%d: registry.mirrors: %s", r->file, line, why.msg);
    strlist_add(&r->config->mirrors, entry);
    return 0;
}

static int read_mirrors(struct reader *r, int line, struct fy_node *value)
{
    return each_pair(r, line, "registry.mirrors", value, mirror_pair, NULL);
}

static int read_registry(struct reader *r, int line, struct fy_node *value)
{
    static const struct key_def keys[] = {{"mirrors", read_mirrors}, {NULL, NULL}};
    struct fixed fixed = {"registry.", keys};

    return each_pair(r, line, "registry", value, fixed_pair, &fixed);
}

/* A list's items, joined with newlines. */
static int list_text(struct reader *r, int line, const char *key, struct fy_node *list, char **ret)
{
    cleanup_free char *all = xstrdup("");
    struct fy_node *item;
    void *it = NULL;

    while ((item = fy_node_sequence_iterate(list, &it))) {
        cleanup_free char *text = NULL;
        char *longer;

        if (scalar(r, line, key, item, &text) < 0)
            return -1;
        longer = xasprintf("%s%s\n", all, text);
        free(all);
        all = longer;
    }
    *ret = steal(&all);
    return 0;
}

static int read_lookup(struct reader *r, int line, struct fy_node *value)
{
    cleanup_free char *words = NULL, *from = xasprintf("%s:%d: images.lookup", r->file, line);

    if (!value || !fy_node_is_sequence(value))
        return err_set(r->err, 125, "%s: a list is expected here, as [local, modal, registry]", from);
    if (list_text(r, line, "images.lookup", value, &words) < 0)
        return -1;
    return lookup_parse(words, from, &r->config->lookup, r->err);
}

static int read_publish(struct reader *r, int line, struct fy_node *value)
{
    cleanup_free char *word = NULL;

    if (scalar(r, line, "images.publish", value, &word) < 0)
        return -1;
    if (strcmp(word, "true") && strcmp(word, "false"))
        return err_set(r->err, 125, "%s:%d: images.publish: true or false is expected here", r->file, line);
    r->config->no_publish = !strcmp(word, "false");
    return 0;
}

static int read_images(struct reader *r, int line, struct fy_node *value)
{
    static const struct key_def keys[] = {{"lookup", read_lookup}, {"publish", read_publish}, {NULL, NULL}};
    struct fixed fixed = {"images.", keys};

    return each_pair(r, line, "images", value, fixed_pair, &fixed);
}

static int read_modal_server(struct reader *r, int line, struct fy_node *value)
{
    return scalar(r, line, "modal.server", value, &r->config->modal_server);
}

static int read_modal_profile(struct reader *r, int line, struct fy_node *value)
{
    return scalar(r, line, "modal.profile", value, &r->config->modal_profile);
}

static int read_modal(struct reader *r, int line, struct fy_node *value)
{
    static const struct key_def keys[] = {{"profile", read_modal_profile}, {"server", read_modal_server}, {NULL, NULL}};
    struct fixed fixed = {"modal.", keys};

    return each_pair(r, line, "modal", value, fixed_pair, &fixed);
}

static int read_profile(struct reader *r, int line, struct fy_node *value)
{
    return scalar(r, line, "profile", value, &r->config->profile);
}

/* One key of one profile, checked against the table of Modal options. */
static int option_pair(struct reader *r, int line, const char *key, struct fy_node *value, void *arg)
{
    struct config_profile *profile = arg;
    cleanup_with(modal_options_clear) struct modal_options scratch;
    cleanup_free char *text = NULL, *origin = xasprintf("%s:%d: %s", r->file, line, key);
    bool is_list = value && fy_node_is_sequence(value);

    modal_options_init(&scratch);
    if ((is_list ? list_text(r, line, key, value, &text) : scalar(r, line, key, value, &text)) < 0)
        return -1;
    if (modal_options_set(&scratch, MODAL_FROM_PROFILE, origin, key, text, r->err) < 0)
        return -1;
    strlist_addf(&profile->keys, "%s=%s", key, text);
    return 0;
}

static int profile_pair(struct reader *r, int line, const char *key, struct fy_node *value, void *arg)
{
    struct config *c = r->config;
    cleanup_free char *what = xasprintf("profiles.%s", key);

    (void)arg;
    c->profiles = xreallocarray(c->profiles, c->profiles_len + 1, sizeof(*c->profiles));
    c->profiles[c->profiles_len++] = (struct config_profile){.name = xstrdup(key), .line = line};
    return each_pair(r, line, what, value, option_pair, &c->profiles[c->profiles_len - 1]);
}

static int read_profiles(struct reader *r, int line, struct fy_node *value)
{
    return each_pair(r, line, "profiles", value, profile_pair, NULL);
}

static int read_routing(struct reader *r, int line, struct fy_node *value)
{
    (void)value;
    return err_set(r->err, 125, "%s:%d: routing: rules by image, label or flag are not carried out yet", r->file, line);
}

static const struct key_def top_keys[] = {
    {"backend", read_backend},   {"images", read_images},     {"modal", read_modal},     {"profile", read_profile},
    {"profiles", read_profiles}, {"registry", read_registry}, {"routing", read_routing}, {NULL, NULL},
};

/* --- the file --- */

/* The first fault that libfyaml collected. */
static int yaml_error(const char *file, struct fy_diag *diag, struct err *err)
{
    void *it = NULL;
    const struct fy_diag_error *first = fy_diag_errors_iterate(diag, &it);

    if (!first)
        return err_set(err, 125, "%s: not a YAML file", file);
    return err_set(err, 125, "%s:%d: %s", file, first->line, first->msg);
}

static int read_document(struct reader *r, struct fy_document *doc)
{
    struct fixed fixed = {"", top_keys};
    struct fy_node *root = doc ? fy_document_root(doc) : NULL;

    if (!root || (fy_node_is_scalar(root) && fy_node_is_null(root)))
        return 0; /* an empty file says nothing */
    return each_pair(r, 1, "the file", root, fixed_pair, &fixed);
}

/* Parses the text; a second document is a mistake. */
static int parse_text(struct reader *r, struct fy_parser *parser, struct fy_diag *diag)
{
    struct fy_document *doc = fy_parse_load_document(parser), *more = NULL;
    int rc;

    if (!doc && fy_diag_got_error(diag))
        return yaml_error(r->file, diag, r->err);
    rc = read_document(r, doc);
    if (rc == 0 && doc)
        more = fy_parse_load_document(parser);
    if (rc == 0 && fy_diag_got_error(diag))
        rc = yaml_error(r->file, diag, r->err);
    else if (more)
        rc = err_set(r->err, 125, "%s: holds more than one document", r->file);
    fy_parse_document_destroy(parser, more);
    fy_parse_document_destroy(parser, doc);
    return rc;
}

static int check_profile(const struct reader *r)
{
    const struct config *c = r->config;

    for (size_t i = 0; c->profile && i < c->profiles_len; i++)
        if (strcmp(c->profiles[i].name, c->profile) == 0)
            return 0;
    return c->profile ? err_set(r->err, 125, "%s: profile: there is no '%s' below profiles", r->file, c->profile) : 0;
}

int config_parse(const char *name, const char *text, size_t len, struct config *ret, struct err *err)
{
    struct fy_diag_cfg diag_cfg;
    struct fy_diag *diag;
    struct fy_parser *parser;
    struct config c;
    struct reader r = {name, &c, err};
    int rc;

    config_init(&c);
    if (len == 0) {
        *ret = c;
        return 0;
    }
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag = fy_diag_create(&diag_cfg);
    fy_diag_set_collect_errors(diag, true);
    parser = fy_parser_create(&(struct fy_parse_cfg){.flags = FYPCF_DEFAULT_PARSE, .diag = diag});
    fy_parser_set_string(parser, text, len);
    rc = parse_text(&r, parser, diag);
    if (rc == 0)
        rc = check_profile(&r);
    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    if (rc < 0)
        config_clear(&c);
    else
        *ret = c;
    return rc;
}

/* --- the chosen profile --- */

/* "my-fast" -> "ATP_DOCKER_PROFILE_MY_FAST_" */
static char *variable_prefix(const char *profile)
{
    char *prefix = xasprintf(PROFILE_ENV "_%s_", profile);

    for (char *p = prefix; *p; p++)
        *p = isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_';
    return prefix;
}

/* Lays the environment's keys of the profile over ret; returns how many there are. */
static size_t overlay(const char *profile, char *const *environ, struct strlist *ret)
{
    cleanup_free char *prefix = variable_prefix(profile);
    size_t found = 0, len = strlen(prefix);

    for (char *const *e = environ; e && *e; e++) {
        size_t name_len = strcspn(*e, "=");
        cleanup_free char *name = NULL, *key = NULL;

        if (strncmp(*e, prefix, len) != 0 || name_len <= len || (*e)[name_len] != '=' || (*e)[name_len + 1] == '\0')
            continue;
        name = xstrndup(*e + len, name_len - len);
        key = modal_key_of_variable(name);
        strlist_env_set(ret, key, *e + name_len + 1);
        found++;
    }
    return found;
}

int config_profile(const struct config *c, char *const *environ, struct strlist *ret, struct err *err)
{
    const char *asked = environ_nonempty(environ, PROFILE_ENV);
    const char *name = asked ? asked : c->profile;
    bool found = false;

    if (!name)
        return 0;
    for (size_t i = 0; i < c->profiles_len; i++) {
        if (strcmp(c->profiles[i].name, name) == 0) {
            strlist_copy(ret, &c->profiles[i].keys);
            found = true;
        }
    }
    if (overlay(name, environ, ret) == 0 && !found)
        return err_set(err, 125, "%s names the profile '%s', which config.yaml does not have",
                       asked ? PROFILE_ENV : "profile:", name);
    return 0;
}

/* --- the environment --- */

int config_environment(struct config *c, char *const *environ, struct err *err)
{
    const char *lookup = environ_nonempty(environ, LOOKUP_ENV), *publish = environ_nonempty(environ, PUBLISH_ENV);

    if (lookup && lookup_parse(lookup, LOOKUP_ENV, &c->lookup, err) < 0)
        return -1;
    if (publish && strcmp(publish, "0") && strcmp(publish, "1"))
        return err_set(err, 125, PUBLISH_ENV ": 0 or 1 is expected, not '%s'", publish);
    if (publish)
        c->no_publish = !strcmp(publish, "0");
    return 0;
}
