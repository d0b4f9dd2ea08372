/*
 * Regular expressions as Go's daemons take them in filters (`docker ps -f name=^web`).
 */
#ifndef ATP_DOCKER_GO_REGEX_H
#define ATP_DOCKER_GO_REGEX_H

#include <stdbool.h>

/* Whether the expression is found somewhere in the text; a bad expression finds nothing, an empty one everything. */
bool go_regex_finds(const char *pattern, const char *text);

#endif
