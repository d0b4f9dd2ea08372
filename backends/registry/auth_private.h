/*
 * What looking credentials up (auth.c) and keeping them (auth_store.c) share.
 */
#ifndef ATP_REGISTRY_AUTH_PRIVATE_H
#define ATP_REGISTRY_AUTH_PRIVATE_H

#include <jansson.h>

struct buf;
struct err;

/* Owned by caller; given: the folder, or NULL for the usual one. NULL: there is no home. */
char *auth_config_path(const char *given);
/* *ret is NULL when there is no file. */
int auth_config_load(const char *path, json_t **ret, struct err *err);

/*
 * Runs docker-credential-<name> <action> with input on its stdin; its output goes to out. 1 = it did it, 0 = it knows
 * nothing of the server (the protocol's "credentials not found"), -1 = anything else, in its own words.
 */
int helper_run(const char *name, const char *action, const char *input, struct buf *out, struct err *err);

#endif
