/*
 * An image's configuration as Dockerfile lines, for images whose files go to a server by themselves (load, import,
 * commit): the server then knows what it is to run, and what is built on it there starts from it.
 */
#ifndef ATP_SHIM_CONFIG_LINES_H
#define ATP_SHIM_CONFIG_LINES_H

struct strlist;

/*
 * Appends the lines. over: what they come after has a configuration of its own, of which only what is said again is to
 * count. Values that no line can hold (with a line break) are left out. So is ONBUILD: the layer with the agent is
 * built FROM the image as well, and must not set its triggers off.
 */
enum config_lines_base { CONFIG_LINES_SCRATCH, CONFIG_LINES_OVER };
void config_lines(const char *config, enum config_lines_base base, struct strlist *ret);

#endif
