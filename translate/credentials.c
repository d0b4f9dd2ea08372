#include "translate/credentials.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/input.h" /* environ_nonempty: as Modal's Go and JS clients, an empty variable is none */
#include "translate/toml.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_PROFILE "default"

char *credentials_path(char *const *environ, const char *home)
{
    const char *remote = environ_nonempty(environ, "MODAL_IS_REMOTE");
    const char *path = environ_nonempty(environ, "MODAL_CONFIG_PATH");

    if (remote && strcmp(remote, "1") == 0)
        return NULL;
    if (path)
        return xstrdup(path);
    return home && *home ? xasprintf("%s/.modal.toml", home) : NULL;
}

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void credentials_clear(struct credentials *c)
{
    wipe(c->token_secret);
    free(c->token_id);
    free(c->source);
    free(c->missing);
    free(c->profile);
    free(c->server_url);
    free(c->environment);
    free(c->image_builder_version);
    *c = (struct credentials){0};
}

/* --- the profile --- */

static bool is_active(const struct toml *t, const char *table)
{
    const struct toml_entry *active = toml_get(t, table, "active");

    return active && active->type == TOML_BOOL && strcmp(active->text, "true") == 0;
}

/* Every entry must belong to a profile, and "active" be a truth value. */
static int check_shape(const struct credentials_input *in, const struct toml *t, struct err *err)
{
    for (size_t i = 0; i < t->len; i++) {
        const struct toml_entry *e = &t->entries[i];

        if (e->path.len == 1)
            return err_set(err, 125, "%s:%d: '%s' stands outside a profile; a profile begins with a line [name]",
                           in->toml_path, e->line, e->path.items[0]);
        if (e->path.len == 2 && strcmp(e->path.items[1], "active") == 0 && e->type != TOML_BOOL)
            return err_set(err, 125, "%s:%d: active is true or false", in->toml_path, e->line);
    }
    return 0;
}

/* The names of the top-level tables, each once, in the order of the file. */
static void list_profiles(const struct toml *t, struct strlist *ret)
{
    for (size_t i = 0; i < t->tables_len; i++)
        if (!strlist_has(ret, t->tables[i].path.items[0]))
            strlist_add(ret, t->tables[i].path.items[0]);
    for (size_t i = 0; i < t->len; i++)
        if (!strlist_has(ret, t->entries[i].path.items[0]))
            strlist_add(ret, t->entries[i].path.items[0]);
}

/*
 * The profile's name: MODAL_PROFILE, the config file's, the active one, "default". *ret is NULL when the file has none
 * of them; *missing says then why nothing was found.
 */
static int choose_profile(const struct credentials_input *in, const struct toml *t, char **ret, char **missing,
                          struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    const char *from_env = environ_nonempty(in->environ, "MODAL_PROFILE");
    const char *asked = from_env ? from_env : in->profile;
    const char *active = NULL;

    list_profiles(t, &names);
    if (asked && !strlist_has(&names, asked))
        return err_set(err, 125, "%s names the Modal profile '%s', which %s does not have",
                       from_env ? "MODAL_PROFILE" : "modal.profile of config.yaml", asked, in->toml_path);
    for (size_t i = 0; i < names.len; i++) {
        if (!is_active(t, names.items[i]))
            continue;
        if (active && !asked)
            return err_set(err, 125, "%s: the profiles '%s' and '%s' are both active; set MODAL_PROFILE or leave one",
                           in->toml_path, active, names.items[i]);
        active = names.items[i];
    }
    if (asked || active)
        *ret = xstrdup(asked ? asked : active);
    else if (strlist_has(&names, DEFAULT_PROFILE))
        *ret = xstrdup(DEFAULT_PROFILE);
    else if (names.len > 0)
        *missing = xasprintf("no profile of %s is active; set MODAL_PROFILE", in->toml_path);
    return 0;
}

/* One string of the profile; NULL when it is not there or empty. */
static int profile_string(const struct credentials_input *in, const struct toml *t, const char *profile,
                          const char *key, char **ret, struct err *err)
{
    const struct toml_entry *e = profile ? toml_get(t, profile, key) : NULL;

    if (!e)
        return 0;
    if (e->type != TOML_STRING)
        return err_set(err, 125, "%s:%d: %s is a string in quotes", in->toml_path, e->line, key);
    if (*e->text)
        *ret = xstrdup(e->text);
    return 0;
}

/* --- putting it together --- */

/* Takes id and secret from the environment: both, none, or an error. */
static int pair_from_env(const struct credentials_input *in, struct credentials *c, struct err *err)
{
    const char *id = environ_nonempty(in->environ, "MODAL_TOKEN_ID");
    const char *secret = environ_nonempty(in->environ, "MODAL_TOKEN_SECRET");

    if (!id && !secret)
        return 0;
    if (!id || !secret)
        return err_set(err, 125, "%s is set but %s is not: set both in the environment, or neither",
                       id ? "MODAL_TOKEN_ID" : "MODAL_TOKEN_SECRET", id ? "MODAL_TOKEN_SECRET" : "MODAL_TOKEN_ID");
    c->token_id = xstrdup(id);
    c->token_secret = xstrdup(secret);
    c->source = xstrdup("MODAL_TOKEN_ID and MODAL_TOKEN_SECRET");
    c->found = true;
    return 0;
}

static int pair_from_profile(const struct credentials_input *in, const struct toml *t, struct credentials *c,
                             struct err *err)
{
    if (c->found || !c->profile)
        return 0;
    if (profile_string(in, t, c->profile, "token_id", &c->token_id, err) < 0 ||
        profile_string(in, t, c->profile, "token_secret", &c->token_secret, err) < 0)
        return -1;
    if (!c->token_id && !c->token_secret) {
        c->missing = xasprintf("the profile '%s' of %s has no token", c->profile, in->toml_path);
        return 0;
    }
    if (!c->token_id || !c->token_secret)
        return err_set(err, 125, "the profile '%s' of %s has %s but no %s", c->profile, in->toml_path,
                       c->token_id ? "token_id" : "token_secret", c->token_id ? "token_secret" : "token_id");
    c->source = xasprintf("profile %s of %s", c->profile, in->toml_path);
    c->found = true;
    return 0;
}

/* A setting: the variable, then the config file's value (may be NULL), then the profile's, then the default. */
static int setting(const struct credentials_input *in, const struct toml *t, const struct credentials *c,
                   const char *env_name, const char *configured, const char *key, char **ret, struct err *err)
{
    const char *value = environ_nonempty(in->environ, env_name);

    if (!value)
        value = configured;
    if (value) {
        *ret = xstrdup(value);
        return 0;
    }
    return profile_string(in, t, c->profile, key, ret, err);
}

static int resolve(const struct credentials_input *in, const struct toml *t, struct credentials *c, struct err *err)
{
    cleanup_err struct err profile_err = ERR_INIT;

    if (pair_from_env(in, c, err) < 0 || check_shape(in, t, err) < 0)
        return -1;
    /* With a pair from the environment a profile that cannot be chosen only loses its settings, as in Modal's clients.
     */
    if (in->toml && choose_profile(in, t, &c->profile, &c->missing, &profile_err) < 0 && !c->found)
        return err_move(err, &profile_err);
    if (!in->toml && !c->found && (environ_nonempty(in->environ, "MODAL_PROFILE") || in->profile))
        return err_set(err, 125, "the Modal profile '%s' is asked for, but %s does not exist",
                       environ_nonempty(in->environ, "MODAL_PROFILE") ? environ_nonempty(in->environ, "MODAL_PROFILE")
                                                                      : in->profile,
                       in->toml_path ? in->toml_path : "~/.modal.toml");
    if (pair_from_profile(in, t, c, err) < 0 ||
        setting(in, t, c, "MODAL_SERVER_URL", in->server_url, "server_url", &c->server_url, err) < 0 ||
        setting(in, t, c, "MODAL_ENVIRONMENT", NULL, "environment", &c->environment, err) < 0 ||
        setting(in, t, c, "MODAL_IMAGE_BUILDER_VERSION", NULL, "image_builder_version", &c->image_builder_version,
                err) < 0)
        return -1;
    if (!c->server_url)
        c->server_url = xstrdup(MODAL_DEFAULT_SERVER);
    if (c->found) {
        free(c->missing);
        c->missing = NULL;
    } else if (!c->missing) {
        c->missing =
            in->toml_path ? xasprintf("neither MODAL_TOKEN_ID nor %s", in->toml_path) : xstrdup("no MODAL_TOKEN_ID");
    }
    return 0;
}

int credentials_resolve(const struct credentials_input *in, struct credentials *ret, struct err *err)
{
    struct credentials c = {0};
    struct toml t = {0};
    int rc = 0;

    if (in->toml)
        rc = toml_parse(in->toml_path, in->toml, in->toml_len, &t, err);
    if (rc == 0)
        rc = resolve(in, &t, &c, err);
    toml_clear(&t);
    if (rc < 0) {
        credentials_clear(&c);
        return -1;
    }
    *ret = c;
    return 0;
}
