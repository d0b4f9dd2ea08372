/*
 * WWW-Authenticate: what a registry wants to see. Pure.
 */
#ifndef ATP_REGISTRY_CHALLENGE_H
#define ATP_REGISTRY_CHALLENGE_H

#include <stdbool.h>

struct strlist;

struct challenge {
    bool basic, bearer;            /* schemes that were offered */
    char *realm, *service, *scope; /* of the first Bearer; NULL = not said */
};

/* Reads all headers' values; unknown schemes and parameters are passed over. */
void challenge_parse(const struct strlist *headers, struct challenge *ret);
void challenge_clear(struct challenge *c);

#endif
