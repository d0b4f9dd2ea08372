/*
 * A project at work: what verbs that make, start, stop and take away containers have in common.
 *
 *     struct team w;
 *     team_init(&w, app);
 *     if (team_load(&w, opt_args(opts), true, err) == 0 && team_show(&w, "Running", err) == 0 && ...)
 *     team_clear(&w);
 *
 * Everything may be killed at any instant and done again: what is there already is left as it is.
 */
#ifndef ATP_SHIM_COMPOSE_TEAM_H
#define ATP_SHIM_COMPOSE_TEAM_H

#include "shim/compose/acts.h"
#include "shim/compose/compose.h"
#include "shim/compose/display.h"
#include "shim/compose/members.h"
#include "shim/compose/services.h"

struct opt_parsed;

enum recreate { RECREATE_DIVERGED, RECREATE_FORCE, RECREATE_NEVER };

struct team {
    struct app *app;
    struct compose_project project;
    bool loaded; /* project is one */
    char *name;  /* of the project */
    struct services services;
    struct members members; /* as they were looked at last */
    struct strlist made;    /* in a dry run: "name service number" of each container that would be there now */
    struct display *display;
    int lock_fd; /* -1 */

    enum recreate recreate, recreate_depends;
    char *stop_timeout; /* seconds, of -t; NULL */
    bool quiet_pull, quiet_build, no_build, build;
    bool ignore_orphans, remove_orphans;
    bool yes;           /* -y */
    bool renew_volumes; /* -V: anonymous volumes are not kept over a recreation */
    const char *pull; /* --pull; NULL: each service's policy */
};

void team_init(struct team *w, struct app *app);
void team_clear(struct team *w);

/* Loads the project with these services (their profiles too), and with what they depend on. */
int team_load(struct team *w, const struct strlist *services, bool deps, struct err *err);
/* What the chosen services and the file ask for can be done; else the first thing that cannot is told. */
int team_check(const struct team *w, struct err *err);
/* For verbs that can do without a file. */
int team_load_or_name(struct team *w, const struct strlist *services, struct err *err);
/* The name alone (compose_name()). */
int team_name(struct team *w, struct err *err);
void team_timeout(struct team *w, const struct opt_parsed *opts); /* -t */
int team_show(struct team *w, const char *title, struct err *err);
int team_lock(struct team *w, struct err *err);
void team_unlock(struct team *w, bool gone);
/* Looks at the project's containers anew (MEMBERS_*). */
int team_look(struct team *w, const struct strlist *services, unsigned flags, struct err *err);
int team_run(struct team *w, struct acts *acts, struct err *err);

/*
 * One service with one container and nobody to speak to, that asks for what belongs to a sandbox: its container is a
 * sandbox of its own, and joins no network. The others of that network do not reach it.
 */
bool team_is_alone(const struct team *w);

/* ---- company.c: services that would be together, and are not to be, are refused ---- */
int team_check_company(const struct team *w, struct err *err);

/* ---- confirm.c: "y" on stdin; its end is a no ---- */
bool team_confirmed(const char *question);

/* ---- volumes_keep.c: words of `docker create`; old: the row of the container that it replaces ---- */
void team_keep_volumes(const struct team *w, const struct state_container *old, struct strlist *words);

/* ---- make.c: containers as the file wants them; under the lock, images and networks are there ---- */
int team_create(struct team *w, struct err *err);
/* The words of `docker create` for it, with what we add; more: options in front of "--" that win (NULL). */
int team_words(struct team *w, const struct service *s, int number, const struct strlist *more, struct strlist *ret,
               struct err *err);

/* ---- hooks.c: the service's "post_start" or "pre_stop", each a step that runs its command in the container ---- */
/* The words of `docker exec` for one. */
void team_hook_words(const struct cnode *hook, const char *id, struct strlist *ret);
void team_hooks(const struct service *s, const char *kind, const char *id, struct acts *acts, size_t act);

/* ---- resources.c: networks and volumes ---- */
int team_resources(struct team *w, struct err *err);
int team_resources_down(struct team *w, bool volumes, bool *ret_any, struct err *err);

/* ---- images.c: are there afterwards, by --pull, pull_policy, --build ---- */
int team_images(struct team *w, struct err *err);
int team_images_look(struct team *w, struct err *err); /* which there are now */

/* ---- begin.c: starts them, each when what it depends on is as far as it has to be ---- */
/* wait: until all run, or are healthy; timeout_s 0: as long as it takes. */
int team_start(struct team *w, bool wait, int64_t timeout_s, struct err *err);

/* ---- restart.c: the containers of these services, and with deps of those that follow them ---- */
int team_restart(struct team *w, const struct strlist *services, bool deps, struct err *err);

/* ---- end.c: stop, and take away ---- */
/* The members in the order opposite to that of the start. remove: they go; with their anonymous volumes if volumes. */
int team_stop(struct team *w, struct member *const *list, size_t len, bool remove, bool volumes, struct err *err);
int team_orphans(struct team *w, struct err *err); /* told, or taken away */
bool team_is_orphan(const struct team *w, const struct member *m);

#endif
