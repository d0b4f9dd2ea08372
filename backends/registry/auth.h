/*
 * Credentials as Docker keeps them: config.json below $DOCKER_CONFIG or ~/.docker, with "auths" (base64), "credsStore"
 * and "credHelpers" (programs named docker-credential-<name>, spoken to over stdin and stdout). Nothing found is not an
 * error: access is anonymous then.
 */
#ifndef ATP_REGISTRY_AUTH_H
#define ATP_REGISTRY_AUTH_H

struct err;

/*
 * The user and password for a registry host ("docker.io", "localhost:5000"), both owned by caller, both NULL when there
 * are none. An identity token gives the user "<token>". Fits registry_options.credentials; arg is the folder of
 * config.json, or NULL for the usual one.
 */
int auth_find(const char *host, char **ret_user, char **ret_password, void *arg, struct err *err);

#endif
