/*
 * Credentials as Docker keeps them: config.json below $DOCKER_CONFIG or ~/.docker, with "auths" (base64), "credsStore"
 * and "credHelpers" (programs named docker-credential-<name>, spoken to over stdin and stdout). Nothing found is not an
 * error: access is anonymous then.
 */
#ifndef ATP_REGISTRY_AUTH_H
#define ATP_REGISTRY_AUTH_H

struct err;

/* Docker's key for a server as it is typed: "docker.io" -> "https://index.docker.io/v1/", "https://x:5000/v2/" ->
 * "x:5000"; owned by caller. */
char *auth_key(const char *server);

/*
 * The user and password for a registry host ("docker.io", "localhost:5000"), both owned by caller, both NULL when there
 * are none. An identity token gives the user "<token>". Fits registry_options.credentials; arg is the folder of
 * config.json, or NULL for the usual one.
 */
int auth_find(const char *host, char **ret_user, char **ret_password, void *arg, struct err *err);

/* ---- login and logout ---- */

/*
 * Keeps credentials under Docker's key for a server ("https://index.docker.io/v1/", "localhost:5000"): with the helper
 * that the configuration names for it, else in "auths". The rest of the file stays as it is; it is replaced as a whole,
 * and only its owner can read a new one. *ret_plain (may be NULL) is the file when the password is readable in it, else
 * NULL; owned by caller.
 */
int auth_keep(const char *server, const char *user, const char *password, char **ret_plain, struct err *err);
/* Takes them away. Nothing kept is no error. */
int auth_erase(const char *server, struct err *err);

#endif
