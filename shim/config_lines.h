/*
 * An image's configuration as Dockerfile lines, for images whose files go to a server by themselves (load, import,
 * commit): the server then knows what it is to run, and what is built on it there starts from it.
 */
#ifndef ATP_SHIM_CONFIG_LINES_H
#define ATP_SHIM_CONFIG_LINES_H

#include <stdbool.h>

struct strlist;

/* Whether the configuration has ONBUILD triggers, which any FROM of the image sets off. */
bool config_has_triggers(const char *config);

/*
 * Appends what a layer of ours on the image `from` begins with: FROM it, or with triggers FROM scratch and a copy of
 * its files, so that nothing is set off. true: a copy, which has nothing of the image's configuration. config may be
 * NULL: not known, there are none.
 */
bool config_from_lines(const char *from, const char *config, struct strlist *ret);

/*
 * Appends the lines. over: what they come after has a configuration of its own, of which only what is said again is to
 * count. Values that no line can hold (with a line break) are left out, and so are triggers that are no instructions.
 */
enum config_lines_base { CONFIG_LINES_SCRATCH, CONFIG_LINES_OVER };
void config_lines(const char *config, enum config_lines_base base, struct strlist *ret);

#endif
