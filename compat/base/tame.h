/*
 * Text that others wrote (a container, a server) within lines of ours: what a terminal would obey becomes '?'. That is
 * C0 and DEL, and U+0080 to U+009F, which some terminals take for C1. Output of a command is not for this: it is raw.
 */
#ifndef ATP_BASE_TAME_H
#define ATP_BASE_TAME_H

#include <stdbool.h>

/* In place; NULL is fine. With keep_lines newlines and tabs stay: messages of several lines. */
void tame(char *text, bool keep_lines);

#endif
