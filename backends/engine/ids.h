/*
 * Identifiers as the platform mints them (protocol 5.1, 9.3): a prefix and 22 random letters and digits, or for V2
 * objects a 26-character ULID whose first half is the time. Clients decide between V1 and V2 by this shape alone.
 */
#ifndef ATP_ENGINE_IDS_H
#define ATP_ENGINE_IDS_H

#include <stdbool.h>

char *id_new(const char *prefix);      /* "ap" -> "ap-" + 22 of [0-9A-Za-z]; owned by caller */
char *id_new_ulid(const char *prefix); /* "sb" -> "sb-" + ULID; owned by caller */

/* The object-name rule of protocol 9.3: [a-zA-Z0-9-_.]+, at most 64, not shaped like an App id. */
bool name_is_valid(const char *name);
bool environment_name_is_valid(const char *name);

double unix_now(void); /* seconds since 1970 */

#endif
