/* Secrets of a build: read here, handed to the server for the time of the build, served to RUN --mount=type=secret. */
#ifndef ATP_SHIM_BUILD_SECRET_H
#define ATP_SHIM_BUILD_SECRET_H

struct err;
struct strlist;

/* --secret values: "id=x[,src=FILE|,env=NAME][,type=file|env]". ret_env: ATP_SECRET_<id in hex>=<base64>. */
int build_secrets_read(const struct strlist *given, struct strlist *ret_env, struct strlist *ret_ids, struct err *err);

#define BUILD_SECRET_PREFIX "ATP_SECRET_"       /* the embedded engine's: no variable of any step */
#define BUILD_SECRET_SHOWN  "ATP_BUILD_SECRET_" /* other servers show it to every RUN */

/* The variable that holds a secret; owned by caller. */
char *build_secret_name(const char *prefix, const char *id);

#endif
