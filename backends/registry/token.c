#include "backends/registry/token.h"

#include "backends/registry/base64.h"
#include "backends/registry/challenge.h"
#include "backends/registry/http.h"
#include "backends/registry/manifest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_TIMEOUT_MS 30000L /* a token server answers at once or is not there */
#define MAX_TOKEN        65536u /* larger ones do not fit into a header line anyway */

static int denied(struct err *err, const char *text)
{
    err_set(err, 0, "%s", text);
    if (err)
        err->code = REGISTRY_DENIED;
    return -1;
}

static char *basic_header(const char *user, const char *password)
{
    cleanup_free char *pair = xasprintf("%s:%s", user, password ? password : "");
    cleanup_free char *encoded = base64_encode(pair, strlen(pair));

    return xasprintf("Basic %s", encoded);
}

/* "&name=value" with the value percent-encoded. */
static void add_param(struct buf *to, const char *separator, const char *name, const char *value)
{
    buf_addf(to, "%s%s=", separator, name);
    for (const char *p = value; *p; p++) {
        if (isalnum((unsigned char)*p) || strchr("-._~", *p))
            buf_addc(to, *p);
        else
            buf_addf(to, "%%%02X", (unsigned char)*p);
    }
}

/* A realm over http elsewhere than on this machine would show the password to everybody on the way. */
static int check_realm(const char *realm, bool with_secret, struct err *err)
{
    if (strncmp(realm, "https://", 8) == 0)
        return 0;
    if (strncmp(realm, "http://", 7) != 0)
        return denied(err, "unsupported realm for bearer auth");
    if (with_secret && !http_is_local(realm + 7))
        return denied(err, "refusing to send credentials to a token server over http");
    return 0;
}

/* "token" or "access_token" of the answer, as a header. */
static int read_token(const struct http_reply *reply, char **ret, struct err *err)
{
    json_t *j = json_loadb(reply->body.data, reply->body.len, 0, NULL);
    const char *token = json_string_value(json_object_get(j, "token"));
    int r = 0;

    if (!token)
        token = json_string_value(json_object_get(j, "access_token"));
    if (!token || strlen(token) > MAX_TOKEN || strpbrk(token, "\r\n"))
        r = denied(err, "authorization server did not include a token in the response");
    else
        *ret = xasprintf("Bearer %s", token);
    json_decref(j);
    return r;
}

/* The answer to a token request; anything but 200 is a refusal, told in the server's own words where it has some. */
static int judge(const char *url, const struct http_reply *reply, char **ret, struct err *err)
{
    cleanup_free char *code = NULL;
    cleanup_free char *message = NULL;

    if (reply->status == 200)
        return read_token(reply, ret, err);
    manifest_error(reply->body.data, reply->body.len, &code, &message);
    if (reply->status == 401 || reply->status == 403)
        return denied(err, message ? message : "unauthorized: incorrect username or password");
    err_set(err, 0, "Get \"%.*s\": unexpected status from token server: %ld", (int)strcspn(url, "?"), url,
            reply->status);
    if (err)
        err->code = REGISTRY_SERVER;
    return -1;
}

/* What the token is to be good for: nothing at all when there is no repository (a login). */
static void add_scopes(struct buf *to, const char *separator, const struct challenge *c, const struct login *login)
{
    if (login->scopes && login->scopes->len) {
        for (size_t i = 0; i < login->scopes->len; i++)
            add_param(to, i ? "&" : separator, "scope", login->scopes->items[i]);
    } else if (c->scope) {
        add_param(to, separator, "scope", c->scope);
    } else if (login->repository) {
        cleanup_free char *scope = xasprintf("repository:%s:pull", login->repository);

        add_param(to, separator, "scope", scope);
    }
}

/* Docker's token protocol: GET with Basic, or POST of an identity token. */
static int fetch_token(struct http *http, const struct challenge *c, const struct login *login, char **ret,
                       struct err *err)
{
    bool identity = login->user && strcmp(login->user, "<token>") == 0;
    struct buf text cleanup_buf = BUF_INIT(LIMIT_MANIFEST);
    cleanup_free char *header = NULL;
    struct http_request q = {.timeout_ms = TOKEN_TIMEOUT_MS};
    struct http_reply reply;
    bool again;
    int ret_code;

    if (check_realm(c->realm, login->user != NULL, err) < 0)
        return -1;
    if (identity) {
        add_param(&text, "", "grant_type", "refresh_token");
        add_param(&text, "&", "refresh_token", login->password ? login->password : "");
        add_param(&text, "&", "client_id", "atp-docker");
        q.url = c->realm;
    } else {
        buf_adds(&text, c->realm);
    }
    add_scopes(&text, identity || strchr(c->realm, '?') ? "&" : "?", c, login);
    if (c->service)
        add_param(&text, identity || strchr(text.data, '?') ? "&" : "?", "service", c->service);
    if (login->user && !identity) {
        add_param(&text, strchr(text.data, '?') ? "&" : "?", "account", login->user);
        q.authorization = header = basic_header(login->user, login->password);
    }
    if (identity)
        q.form = text.data;
    else
        q.url = text.data;
    http_reply_init(&reply);
    for (int attempt = 0; (ret_code = http_do(http, &q, &reply, &again, err)) < 0 && again && attempt < 2; attempt++)
        ;
    if (ret_code == 0)
        ret_code = judge(q.url, &reply, ret, err);
    http_reply_clear(&reply);
    return ret_code;
}

int token_authorization(struct http *http, const struct challenge *challenge, const struct login *login, char **ret,
                        struct err *err)
{
    if (challenge->bearer && challenge->realm)
        return fetch_token(http, challenge, login, ret, err);
    if (!challenge->basic)
        return denied(err, "unauthorized: authentication required");
    if (!login->user)
        return denied(err, "no basic auth credentials");
    *ret = basic_header(login->user, login->password);
    return 0;
}
