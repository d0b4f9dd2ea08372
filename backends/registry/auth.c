#include "backends/registry/auth.h"

#include "backends/registry/auth_private.h"
#include "backends/registry/base64.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ANSWER (256u << 10) /* tokens of a few KiB exist */
#define HUB        "docker.io"
#define HUB_KEY    "https://index.docker.io/v1/" /* the name under which Docker keeps its own registry's login */

struct pair {
    char *user, *password;
};

/* The host that a key of "auths" is about: scheme and path do not count ("https://host/v1/" is "host"). */
static bool same_host(const char *key, const char *host)
{
    const char *p = strstr(key, "://");
    size_t len;

    p = p ? p + 3 : key;
    len = strcspn(p, "/");
    if (strlen(host) == len && strncmp(p, host, len) == 0)
        return true;
    if (strcmp(host, HUB) != 0)
        return false;
    return (len == 15 && strncmp(p, "index.docker.io", len) == 0) ||
           (len == 20 && strncmp(p, "registry-1.docker.io", len) == 0);
}

/* The entry of an object for a host, or NULL. Docker's exact key comes first. */
static const json_t *find_entry(const json_t *object, const char *host)
{
    const json_t *exact = json_object_get(object, strcmp(host, HUB) == 0 ? HUB_KEY : host);
    const char *key;
    json_t *value;

    if (exact)
        return exact;
    json_object_foreach((json_t *)object, key, value)
    {
        if (same_host(key, host))
            return value;
    }
    return NULL;
}

/* "auth" is base64 of user:password; an identity token takes the place of the password. */
static int read_entry(const json_t *entry, struct pair *ret, struct err *err)
{
    const char *auth = json_string_value(json_object_get(entry, "auth"));
    const char *token = json_string_value(json_object_get(entry, "identitytoken"));
    const char *user = json_string_value(json_object_get(entry, "username"));
    const char *password = json_string_value(json_object_get(entry, "password"));
    cleanup_free char *text = NULL;
    char *colon;
    size_t len;

    if (token && *token) {
        *ret = (struct pair){xstrdup("<token>"), xstrdup(token)};
        return 0;
    }
    if (auth && *auth) {
        text = base64_decode(auth, &len);
        colon = text ? strchr(text, ':') : NULL;
        if (!colon || strlen(text) != len)
            return err_set(err, 0, "invalid auth configuration file");
        *colon = '\0';
        *ret = (struct pair){xstrdup(text), xstrdup(colon + 1)};
        return 0;
    }
    if (user && *user && password)
        *ret = (struct pair){xstrdup(user), xstrdup(password)};
    return 0;
}

/* ---- helper programs ---- */

static int ask_helper(const char *name, const char *host, struct pair *ret, struct err *err)
{
    const char *server = strcmp(host, HUB) == 0 ? HUB_KEY : host;
    struct buf out cleanup_buf = BUF_INIT(MAX_ANSWER);
    const char *user, *secret;
    json_t *j;
    int got = helper_run(name, "get", server, &out, err);

    if (got <= 0)
        return got < 0 ? err_wrap(err, "error getting credentials - err") : 0;
    j = json_loadb(out.data, out.len, 0, NULL);
    user = json_string_value(json_object_get(j, "Username"));
    secret = json_string_value(json_object_get(j, "Secret"));
    if (user && secret && *user)
        *ret = (struct pair){xstrdup(user), xstrdup(secret)};
    json_decref(j);
    return user && secret ? 0
                          : err_set(err, 0,
                                    "error getting credentials - err: docker-credential-%s: no credentials in its "
                                    "answer",
                                    name);
}

/* ---- config.json ---- */

static int search(const json_t *config, const char *host, struct pair *ret, struct err *err)
{
    const json_t *helper = find_entry(json_object_get(config, "credHelpers"), host);
    const json_t *entry = find_entry(json_object_get(config, "auths"), host);
    const char *store = json_string_value(json_object_get(config, "credsStore"));

    if (json_is_string(helper))
        return ask_helper(json_string_value(helper), host, ret, err);
    if (store && *store) {
        if (ask_helper(store, host, ret, err) < 0)
            return -1;
        if (ret->user)
            return 0;
    }
    return entry ? read_entry(entry, ret, err) : 0;
}

char *auth_config_path(const char *given)
{
    const char *env = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

    if (given)
        return xasprintf("%s/config.json", given);
    if (env && *env)
        return xasprintf("%s/config.json", env);
    return home && *home ? xasprintf("%s/.docker/config.json", home) : NULL;
}

int auth_config_load(const char *path, json_t **ret, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    struct err why cleanup_err = ERR_INIT;
    json_error_t json_why;

    *ret = NULL;
    if (fs_read_file(path, &text, &why) < 0 && why.code != ENOENT && why.code != ENOTDIR)
        return err_move(err, &why);
    if (!text.len)
        return 0;
    *ret = json_loadb(text.data, text.len, 0, &json_why);
    return *ret ? 0 : err_set(err, 0, "loading config file: %s: %s", path, json_why.text);
}

int auth_find(const char *host, char **ret_user, char **ret_password, void *arg, struct err *err)
{
    cleanup_free char *path = auth_config_path(arg);
    struct pair pair = {NULL, NULL};
    json_t *j = NULL;
    int ret;

    if (path && auth_config_load(path, &j, err) < 0)
        return -1;
    ret = j ? search(j, host, &pair, err) : 0;
    json_decref(j);
    if (ret < 0)
        return -1;
    *ret_user = pair.user;
    *ret_password = pair.password;
    return 0;
}
