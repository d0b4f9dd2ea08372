/* Base64 with the standard alphabet, as registries and Docker's config.json have it. */
#ifndef ATP_REGISTRY_BASE64_H
#define ATP_REGISTRY_BASE64_H

#include <stddef.h>

char *base64_encode(const char *bytes, size_t len); /* owned by caller */
/* NULL when s is not base64; a NUL byte follows the bytes; owned by caller. Padding may be missing. */
char *base64_decode(const char *s, size_t *ret_len);

#endif
