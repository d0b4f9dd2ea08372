/*
 * What holds for every process of the container beyond its user and environment: START's `terms`, one "WORD value"
 * each.
 *
 *     hostname NAME        what the kernel calls the machine, where we may say so; likewise domainname
 *     sysctl KEY=VALUE     a kernel setting, where we may set it
 *     dns ADDRESS          instead of the name servers in /etc/resolv.conf; likewise search and option
 *     group NAME|ID        one more group of the process
 *     limit NAME=SOFT:HARD Docker's ulimit, -1 is unlimited. A hard limit beyond what we may set stays what it is
 *     caps HEX             the capabilities that may be kept, a bit each; all others are given up
 *     no-new-privileges    no program gains any by being executed
 *     oom NUMBER           /proc/self/oom_score_adj, where we may set it
 *
 * The first three are carried out once, by init. The rest is carried out in each process between fork and exec, in the
 * order of the functions below. What asks for less than there is and cannot be carried out is an error: nothing runs
 * with more than it was to have.
 */
#ifndef ATP_AGENT_TERMS_H
#define ATP_AGENT_TERMS_H

struct agent_options;
struct err;
struct strlist;
struct user;

/* All of them are understood, and those of the machine hold from now on. */
int terms_settle(const struct strlist *terms, const struct agent_options *options, struct err *err);

/* Adds the groups; as found in the container's own /etc/group. */
int terms_groups(const struct strlist *terms, struct user *u, struct err *err);
/* Limits, and the capabilities that no program may have again. Still as who init is. */
int terms_limit(const struct strlist *terms, struct err *err);
/* The last thing before exec, as the user: the capabilities of the process itself. */
int terms_give_up(const struct strlist *terms, struct err *err);

#endif
