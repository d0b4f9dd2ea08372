/*
 * The containers of a project, found by their labels: no file is needed for them. As docker's list has them, newest
 * first, unless sorted.
 */
#ifndef ATP_SHIM_COMPOSE_MEMBERS_H
#define ATP_SHIM_COMPOSE_MEMBERS_H

#include "backends/state/state.h"
#include "compat/base/strlist.h"

#include <stdbool.h>

struct app;
struct container;
struct err;

#define LABEL_PROJECT     "com.docker.compose.project"
#define LABEL_SERVICE     "com.docker.compose.service"
#define LABEL_NUMBER      "com.docker.compose.container-number"
#define LABEL_ONEOFF      "com.docker.compose.oneoff"
#define LABEL_HASH        "com.docker.compose.config-hash"
#define LABEL_IMAGE       "com.docker.compose.image"
#define LABEL_FILES       "com.docker.compose.project.config_files"
#define LABEL_WORKING_DIR "com.docker.compose.project.working_dir"
#define LABEL_DEPENDS     "com.docker.compose.depends_on"
#define LABEL_REPLACE     "com.docker.compose.replace"
#define LABEL_NETWORK     "com.docker.compose.network"
#define LABEL_VOLUME      "com.docker.compose.volume"
#define LABEL_VERSION     "com.docker.compose.version"

struct member {
    struct state_container row;
    struct strlist labels; /* K=V */
    const char *service;   /* in labels; "" = none */
    int number;            /* 0 = none */
    bool oneoff;           /* made by `compose run` */
};

struct members {
    struct member *items;
    size_t len;
};

/* A JSON array of "K=V", as the state keeps labels: added to ret. NULL is none. */
void labels_read(const char *json, struct strlist *ret);

const char *member_label(const struct member *m, const char *key); /* NULL: it has none */
bool member_runs(const struct member *m);                          /* running, restarting or paused */
bool member_is(const struct member *m, const char *status);
/* What compose shows for it: "Container p-web-1"; owned by caller. */
char *member_title(const struct member *m);

/* "web-1" of p-web-1; one with a name of its own keeps it. Owned by caller. */
char *member_short_name(struct app *app, const struct member *m);

#define MEMBERS_INIT                                                                                                   \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }
void members_clear(struct members *list);

enum {
    MEMBERS_ONEOFF = 1 << 0,      /* those of `compose run` too */
    MEMBERS_ONLY_ONEOFF = 1 << 1, /* those only */
    MEMBERS_RUNNING = 1 << 2,     /* only what runs */
    MEMBERS_AS_IT_IS = 1 << 3,    /* as the state has them: nobody is asked, for who asks the container itself next */
    MEMBERS_ANY_PROJECT = 1 << 4, /* project is not looked at */
};

/* services: NULL or empty: all. */
int members_list(struct app *app, const char *project, const struct strlist *services, unsigned flags,
                 struct members *ret, struct err *err);
void members_sort(struct members *list); /* by name */

/*
 * The one container that a verb like exec means: the lowest number, or --index; with MEMBERS_ONEOFF those come last.
 * -1: "service "x" is not running". *ret is taken out of the list.
 */
int members_one(struct app *app, const char *project, const char *service, int64_t index, unsigned flags,
                struct member *ret, struct err *err);
void member_clear(struct member *m);

/* The services that have containers, sorted by name. */
void members_services(const struct members *list, struct strlist *ret);

#endif
