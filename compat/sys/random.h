/* Random bytes from the system. */
#ifndef ATP_SYS_RANDOM_H
#define ATP_SYS_RANDOM_H

#include <stddef.h>

struct err;

int random_bytes(void *bytes, size_t len, struct err *err);
/* Fills out with digits lower-case hex characters and a NUL: out holds digits + 1 bytes. */
int random_hex(char *out, size_t digits, struct err *err);

#endif
