/*
 * `develop.watch` of services: what is to be done when a file of this machine changes.
 *
 *     struct watch_rules rules = WATCH_RULES_INIT;
 *     watch_rules_read(&project, service, read_ignore, NULL, &rules, err);
 *     for each rule: if (watch_rule_takes(rule, "/src/a.c", &target)) ...
 *     watch_rules_clear(&rules);
 */
#ifndef ATP_COMPOSE_WATCH_H
#define ATP_COMPOSE_WATCH_H

#include <stdbool.h>
#include <stddef.h>

struct cnode;
struct df_ignore;
struct err;

enum watch_action { WATCH_SYNC, WATCH_SYNC_RESTART, WATCH_SYNC_EXEC, WATCH_REBUILD, WATCH_RESTART };

struct watch_rule {
    const char *service;
    const struct cnode *exec; /* of SYNC_EXEC: the command, as hooks have it */
    enum watch_action action;
    const char *path, *target; /* target NULL: none */
    bool initial_sync;
    bool bound; /* the path is part of a bind mount: what changes is there already */
    struct df_ignore *ignore, *build_ignore, *include; /* NULL: none */
};

struct watch_rules {
    struct watch_rule *items;
    size_t len;
};

#define WATCH_RULES_INIT                                                                                               \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }
void watch_rules_clear(struct watch_rules *rules);

/* The text of a file that may not be there; owned by caller. NULL: it is not, or err. */
typedef char *watch_read_fn(void *arg, const char *path, struct err *err);

/* Adds the rules of one service, in the order of the file. Nodes are borrowed from the model. */
int watch_rules_read(const char *name, const struct cnode *service, watch_read_fn *read, void *arg,
                     struct watch_rules *ret, struct err *err);

/* Whether a change of this path (absolute, clean) is the rule's. *ret_target: what it is in the container, owned by
 * caller; NULL for a rule without a target. */
bool watch_rule_takes(const struct watch_rule *rule, const char *path, char **ret_target);
bool watch_rule_syncs(const struct watch_rule *rule);

#endif
