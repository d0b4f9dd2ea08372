/*
 * The options of a container that are neither its image, its process, its mounts nor its networks: powers, limits,
 * namespaces, name servers, loggers. What becomes of each is decided here, by the option and its value; what was asked
 * for is kept as Docker's HostConfig has it, and what the agent can do about it is told to the agent.
 */
#ifndef ATP_TRANSLATE_TERMS_H
#define ATP_TRANSLATE_TERMS_H

#include "compat/docker/opt.h"

struct container_spec;
struct err;
struct input;
struct strlist;

/* The verdict on one value of an option: the table's, unless the value says otherwise. */
enum verdict terms_judge(const struct opt_def *def, const char *value, const char **ret_reason);

/* The checks of Docker's daemon; fills in host, domainname, and what limits processors and memory. */
int terms_from_opts(const struct opt_parsed *p, const struct input *in, struct container_spec *s, struct err *err);

/* What the agent is told: backends/agent/terms.h's lines, appended. */
void terms_lines(const struct container_spec *s, struct strlist *ret);

/* "none", "json-file"...: who keeps the container's log; owned by caller. */
char *terms_log_driver(const struct container_spec *s);

/* Whether this may be the host of a record: an object with members of HostConfig that are known here. */
bool terms_host_ok(const char *host);

#endif
