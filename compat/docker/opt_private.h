/*
 * Shared by the files that read the tables; not for other rooms.
 */
#ifndef ATP_DOCKER_OPT_PRIVATE_H
#define ATP_DOCKER_OPT_PRIVATE_H

#include "compat/docker/opt.h"

#define LIMIT_OPT_TEXT (8u << 20) /* a message quotes at most one argument, which the system bounds at 128 KiB */

size_t opt_count(const struct cmd_def *cmd);
bool opt_kind_repeats(enum opt_kind kind); /* values accumulate */

/* A name below docker's configuration folder (DOCKER_CONFIG, else ~/.docker); owned by caller. */
char *opt_config_path(const char *name);

int cmd_path_words(const struct cmd_def *cmd);         /* number of words of cmd->path */
char *cmd_usage(const struct cmd_def *cmd, int words); /* "docker run [OPTIONS] IMAGE ..."; owned by caller */

/*
 * Calls fn for each name of a command, without the leading "docker": its path, then its other names in the order of
 * cmd->aliases. Stops when fn returns true; returns whether it did.
 */
bool cmd_each_name(const struct cmd_def *cmd, bool (*fn)(const char *name, size_t len, void *arg), void *arg);

#endif
