/*
 * Who a process runs as: Docker's `-u name|uid[:group|gid]`, resolved against the container's own /etc/passwd and
 * /etc/group, which are parsed here because a static program has no name service.
 */
#ifndef ATP_AGENT_USER_H
#define ATP_AGENT_USER_H

#include <stddef.h>
#include <sys/types.h>

struct err;

#define USER_GROUPS_MAX 1024u /* supplementary groups taken; Linux allows 65536, nobody has more than a few */

struct user {
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* owned */
    size_t n_groups;
    char *home; /* owned, never NULL */
};
void user_clear(struct user *u);

/* Pure: passwd and group are the files' texts ("" where there is none). err is in Docker's words. */
int user_resolve(const char *spec, const char *passwd, const char *group, struct user *ret, struct err *err);

/* The same with the files of the root directory we are in. A file that cannot be read counts as empty. */
int user_lookup(const char *spec, struct user *ret, struct err *err);

/* One more supplementary group, by its name in our root's /etc/group or by its id. err is in Docker's words. */
int user_add_group(struct user *u, const char *group, struct err *err);

/* A uid's name in our root's passwd, or its number; owned by caller. */
char *user_name(uid_t uid);

#endif
