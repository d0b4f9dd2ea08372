/*
 * Which project is meant: its files, its folder, its variables, its name. The order is compose's: the environment, the
 * env files of the folder, COMPOSE_FILE or the files that are found from there upwards, and then the env files once
 * more, since the folder may be another one now.
 */
#ifndef ATP_COMPOSE_FIND_H
#define ATP_COMPOSE_FIND_H

#include "translate/compose/load.h"

struct project_files {
    struct strlist files;     /* absolute, or "-" */
    struct strlist env_files; /* as they were named */
    bool env_named;           /* they were: it is not the usual one */
    char *dir;                /* absolute */
    struct cnode *env;        /* a map of strings: the environment, and what the env files add */
    char **texts;             /* of the files, in their order */
};
void project_files_clear(struct project_files *p);

/* Everything but the name. */
int project_find(struct loader *l, struct project_files *ret, struct err *err);
/* The name, owned by caller: -p, COMPOSE_PROJECT_NAME, `name` of the files, or the folder's. Maybe "". */
int project_name(struct loader *l, const struct project_files *p, char **ret, struct err *err);

#endif
