/*
 * What outlives the engine besides images: environments, apps and named secrets, in SQLite below the state folder
 * (0600). Sandboxes are not here: they end with the engine.
 */
#ifndef ATP_ENGINE_STORE_H
#define ATP_ENGINE_STORE_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>

struct err;
struct store;

struct store *store_open(const char *dir, struct err *err);
void store_close(struct store *s);

#define STORE_DEFAULT_ENVIRONMENT "main" /* what an empty environment name means */

/* The environment's id, made when it is new; owned by caller. NULL and err on a name that is not allowed. */
char *store_environment(struct store *s, const char *name, struct err *err);
/* Every environment's name. */
int store_environments(struct store *s, struct strlist *ret_names, struct err *err);

struct store_app {
    char *id, *environment, *name;
    double created_at;
};

void store_app_clear(struct store_app *app);

/* Looks an app up by name. 1 = found, 0 = there is none, -1 = err. */
int store_app_by_name(struct store *s, const char *environment, const char *name, struct store_app *ret,
                      struct err *err);
int store_app_by_id(struct store *s, const char *id, struct store_app *ret, struct err *err);
int store_app_create(struct store *s, const char *environment, const char *name, struct store_app *ret,
                     struct err *err);
/* The index-th app of an environment, oldest first; 0 = no more. */
int store_app_nth(struct store *s, const char *environment, size_t index, struct store_app *ret, struct err *err);

struct store_secret {
    char *id, *environment, *name;
    double created_at;
    struct strlist env; /* K=V */
};

void store_secret_clear(struct store_secret *secret);

int store_secret_by_name(struct store *s, const char *environment, const char *name, struct store_secret *ret,
                         struct err *err);
int store_secret_by_id(struct store *s, const char *id, struct store_secret *ret, struct err *err);
/* Stores a secret (fields borrowed); one of the same environment and name is replaced. */
int store_secret_put(struct store *s, const struct store_secret *secret, struct err *err);
int store_secret_delete(struct store *s, const char *id, struct err *err); /* 1 = it existed */
/* The newest secret of an environment that is older than before (0 = any); 0 = none. */
int store_secret_before(struct store *s, const char *environment, double before, struct store_secret *ret,
                        struct err *err);

#endif
