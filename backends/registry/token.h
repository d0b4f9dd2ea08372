/*
 * Logging in: turns a registry's challenge and the user's credentials into the value of an Authorization header.
 */
#ifndef ATP_REGISTRY_TOKEN_H
#define ATP_REGISTRY_TOKEN_H

struct challenge;
struct err;
struct http;
struct strlist;

struct login {
    const char *user, *password;  /* NULL = anonymous; user "<token>": password is an identity token */
    const char *repository;       /* "library/alpine": the scope when the challenge names none */
    const struct strlist *scopes; /* asked for instead of the challenge's; NULL or empty: that one */
};

/* "Basic ..." or "Bearer ...", owned by caller. err->code is REGISTRY_DENIED when the credentials do not do. */
int token_authorization(struct http *http, const struct challenge *challenge, const struct login *login, char **ret,
                        struct err *err);

#endif
