/*
 * Secrets (protocol 4.1): environment variables under an id. Named ones are in the store; ephemeral ones are kept in
 * memory only, a bounded number of them, and are forgotten when the engine ends.
 */
#ifndef ATP_ENGINE_SECRETS_H
#define ATP_ENGINE_SECRETS_H

#include "compat/base/strlist.h"

#include <stdbool.h>

struct err;
struct secrets;
struct store;

struct secrets *secrets_new(struct store *store); /* store is borrowed */
void secrets_free(struct secrets *s);

/* The id (owned by caller) of a new ephemeral secret with these K=V pairs. */
char *secrets_add_ephemeral(struct secrets *s, const struct strlist *env);
/* Sets each variable of the secret in env, later ones winning. -1 and err when there is no such secret. */
int secrets_apply(struct secrets *s, const char *id, struct strlist *env, struct err *err);
bool secrets_delete(struct secrets *s, const char *id, struct err *err); /* true = it existed */

/* ^[a-zA-Z_][a-zA-Z0-9_]*$ */
bool env_key_is_valid(const char *key);

#endif
