#include "backends/engine/keys.h"

#include "backends/engine/fault.h"
#include "backends/engine/ids.h"
#include "backends/engine/jwt.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define KEY_DIGITS 64 /* hex: 256 bits */

struct keys {
    char *id, *secret, *key;
    unsigned ttl;
    const struct fault *fault;
};

/* Three lines: id, secret, signing key. */
static int load(struct keys *k, const char *path, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(4096);
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    if (fs_read_file(path, &text, err) < 0)
        return -1;
    strlist_split(&lines, text.data, '\n');
    if (lines.len < 3 || strncmp(lines.items[0], "ak-", 3) != 0 || strncmp(lines.items[1], "as-", 3) != 0 ||
        strlen(lines.items[2]) != KEY_DIGITS)
        return err_set(err, 125, "%s is damaged; remove it to get new credentials", path);
    k->id = xstrdup(lines.items[0]);
    k->secret = xstrdup(lines.items[1]);
    k->key = xstrdup(lines.items[2]);
    return 0;
}

static int make(struct keys *k, const char *path, struct err *err)
{
    cleanup_free char *text = NULL;
    char key[KEY_DIGITS + 1];

    if (random_hex(key, KEY_DIGITS, err) < 0)
        return -1;
    k->id = id_new("ak");
    k->secret = id_new("as");
    k->key = xstrdup(key);
    text = xasprintf("%s\n%s\n%s\n", k->id, k->secret, k->key);
    return fs_write_file(path, text, strlen(text), 0600, err);
}

struct keys *keys_new(const char *dir, unsigned token_ttl, const struct fault *fault, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/keys", dir);
    struct keys *k = xcalloc(1, sizeof(*k));

    k->ttl = token_ttl;
    k->fault = fault;
    if ((fs_exists(path) ? load(k, path, err) : make(k, path, err)) < 0) {
        keys_free(k);
        return NULL;
    }
    return k;
}

void keys_free(struct keys *k)
{
    if (!k)
        return;
    free(k->id);
    free(k->secret);
    free(k->key);
    free(k);
}

const char *keys_token_id(const struct keys *k)
{
    return k->id;
}

const char *keys_token_secret(const struct keys *k)
{
    return k->secret;
}

static bool same(const char *a, const char *b)
{
    size_t len = strlen(a);

    return b && strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}

bool keys_pair_is_ours(const struct keys *k, const char *id, const char *secret)
{
    bool id_ok = same(k->id, id), secret_ok = same(k->secret, secret);

    return id_ok && secret_ok;
}

/* A token for use, with a task where there is one. */
static char *make_token(const struct keys *k, const char *use, const char *task_id)
{
    unsigned ttl = fault_token_ttl(k->fault) ? fault_token_ttl(k->fault) : k->ttl;
    json_int_t now = (json_int_t)unix_now();
    json_t *claims = json_pack("{s:s, s:I, s:I, s:i}", "aud", use, "iat", now, "exp", now + (json_int_t)ttl, "epoch",
                               (int)fault_token_epoch(k->fault));
    char *token;

    if (task_id)
        json_object_set_new(claims, "task_id", json_string(task_id));
    token = jwt_sign(claims, k->key);
    json_decref(claims);
    return token;
}

char *keys_auth_token(const struct keys *k)
{
    return make_token(k, "auth", NULL);
}

char *keys_router_token(const struct keys *k, const char *task_id)
{
    return make_token(k, "router", task_id);
}

/* The claims of a valid token for use, to be released by the caller; NULL and err otherwise. */
static json_t *check(const struct keys *k, const char *token, const char *use, struct err *err)
{
    json_t *claims = jwt_verify(token, k->key);
    const char *aud = json_string_value(json_object_get(claims, "aud"));

    if (!claims || !aud || strcmp(aud, use) != 0) {
        json_decref(claims);
        err_set(err, 125, "the token is not valid");
        return NULL;
    }
    if ((double)json_integer_value(json_object_get(claims, "exp")) <= unix_now() ||
        json_integer_value(json_object_get(claims, "epoch")) < (json_int_t)fault_token_epoch(k->fault)) {
        json_decref(claims);
        err_set(err, 125, "the token has expired");
        return NULL;
    }
    return claims;
}

int keys_check_auth_token(const struct keys *k, const char *token, struct err *err)
{
    json_t *claims = check(k, token, "auth", err);

    json_decref(claims);
    return claims ? 0 : -1;
}

int keys_check_router_token(const struct keys *k, const char *token, char **ret_task_id, struct err *err)
{
    json_t *claims = check(k, token, "router", err);

    if (!claims)
        return -1;
    *ret_task_id = xstrdup(json_string_value(json_object_get(claims, "task_id")));
    json_decref(claims);
    return 0;
}
