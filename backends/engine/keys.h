/*
 * The engine's credentials (protocol 1.4, 1.5, 6.2): one token pair, and a key that signs the JWTs which the engine
 * hands out: auth tokens for control-plane calls, router tokens for one task each. They are kept in the state folder
 * (0600), so that clients survive a restart of the engine. Comparisons take the same time whatever differs.
 */
#ifndef ATP_ENGINE_KEYS_H
#define ATP_ENGINE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct fault;
struct keys;

/* Reads dir/keys or makes them. fault (borrowed) may shorten lives and expire tokens. */
struct keys *keys_new(const char *dir, unsigned token_ttl, const struct fault *fault, struct err *err);
void keys_free(struct keys *k);

const char *keys_token_id(const struct keys *k);
const char *keys_token_secret(const struct keys *k);
bool keys_pair_is_ours(const struct keys *k, const char *id, const char *secret); /* NULL is never ours */

char *keys_auth_token(const struct keys *k);                        /* owned by caller */
char *keys_router_token(const struct keys *k, const char *task_id); /* owned by caller */

/* 0, or -1 and err for a token that is not ours, was made for something else, or has expired. */
int keys_check_auth_token(const struct keys *k, const char *token, struct err *err);
int keys_check_router_token(const struct keys *k, const char *token, char **ret_task_id, struct err *err);

#endif
