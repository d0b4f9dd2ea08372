/* JSON web tokens, signed with HMAC-SHA-256 and a shared key; nothing else of that standard. */
#ifndef ATP_ENGINE_JWT_H
#define ATP_ENGINE_JWT_H

#include <jansson.h>

char *jwt_sign(const json_t *claims, const char *key); /* owned by caller */
/* The claims of a token with a good signature, released by the caller with json_decref(); NULL for anything else. */
json_t *jwt_verify(const char *token, const char *key);

#endif
