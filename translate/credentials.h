/*
 * Modal credentials and connection settings: environment variables, then the profile of ~/.modal.toml
 * (modal-protocol.md 1.6). No message ever holds a secret or a part of one.
 */
#ifndef ATP_TRANSLATE_CREDENTIALS_H
#define ATP_TRANSLATE_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>

struct err;

struct credentials_input { /* borrowed; NULL = none */
    char *const *environ;
    const char *profile;    /* the config file's modal.profile; MODAL_PROFILE wins over it */
    const char *server_url; /* the config file's modal.server; MODAL_SERVER_URL wins over it */
    const char *toml_path;  /* as shown in messages; credentials_path() tells which file to read */
    const char *toml;       /* its contents, NULL = there is no such file */
    size_t toml_len;
};

struct credentials { /* strings owned; NULL = unset */
    bool found;
    char *token_id;
    char *token_secret;
    char *source;     /* "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET", "profile work of /root/.modal.toml" */
    char *missing;    /* when not found: why, one clause */
    char *profile;    /* name of the profile that was used */
    char *server_url; /* always set */
    char *environment;
    char *image_builder_version;
};

#define MODAL_DEFAULT_SERVER "https://api.modal.com"

/* MODAL_CONFIG_PATH, else ~/.modal.toml; NULL when neither can be said or MODAL_IS_REMOTE=1. Owned by caller. */
char *credentials_path(char *const *environ, const char *home);

/* No credentials at all is not an error: found is false. A half-set pair, an unknown profile, a broken file are. */
int credentials_resolve(const struct credentials_input *in, struct credentials *ret, struct err *err);

void credentials_clear(struct credentials *c); /* wipes the secret before it is freed */

#endif
