#include "backends/engine/secrets.h"

#include "backends/engine/ids.h"
#include "backends/engine/store.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define EPHEMERAL_MAX 4096 /* used within seconds of being made; the oldest go first */

struct ephemeral {
    char *id;
    struct strlist env;
};

struct secrets {
    struct store *store;
    struct ephemeral ring[EPHEMERAL_MAX];
    size_t next;
};

struct secrets *secrets_new(struct store *store)
{
    struct secrets *s = xcalloc(1, sizeof(*s));

    s->store = store;
    return s;
}

static void clear(struct ephemeral *e)
{
    free(steal(&e->id));
    strlist_clear(&e->env);
}

void secrets_free(struct secrets *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < EPHEMERAL_MAX; i++)
        clear(&s->ring[i]);
    free(s);
}

char *secrets_add_ephemeral(struct secrets *s, const struct strlist *env)
{
    struct ephemeral *e = &s->ring[s->next++ % EPHEMERAL_MAX];

    clear(e);
    e->id = id_new("st");
    strlist_copy(&e->env, env);
    return xstrdup(e->id);
}

static struct ephemeral *find(struct secrets *s, const char *id)
{
    for (size_t i = 0; i < EPHEMERAL_MAX; i++)
        if (s->ring[i].id && strcmp(s->ring[i].id, id) == 0)
            return &s->ring[i];
    return NULL;
}

/* Sets every "K=V" of from in to. */
static void apply(struct strlist *to, const struct strlist *from)
{
    for (size_t i = 0; i < from->len; i++) {
        cleanup_free char *key = xstrdup(from->items[i]);
        char *eq = strchr(key, '=');

        *eq = '\0';
        strlist_env_set(to, key, eq + 1);
    }
}

int secrets_apply(struct secrets *s, const char *id, struct strlist *env, struct err *err)
{
    const struct ephemeral *e = find(s, id);
    struct store_secret named = {0};
    int rc;

    if (e) {
        apply(env, &e->env);
        return 0;
    }
    rc = store_secret_by_id(s->store, id, &named, err);
    if (rc == 0)
        return err_set(err, 125, "secret %s not found", id);
    if (rc > 0)
        apply(env, &named.env);
    store_secret_clear(&named);
    return rc < 0 ? -1 : 0;
}

bool secrets_delete(struct secrets *s, const char *id, struct err *err)
{
    struct ephemeral *e = find(s, id);

    if (e) {
        clear(e);
        return true;
    }
    return store_secret_delete(s->store, id, err) > 0;
}

bool env_key_is_valid(const char *key)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    static const char rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

    return key && *key && strchr(letters, *key) && key[strspn(key, rest)] == '\0';
}
