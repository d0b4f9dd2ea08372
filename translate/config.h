/*
 * config.yaml: the user's settings. Strict: an unknown key, a wrong type, an alias are errors that name file, line and
 * key.
 *
 *     backend: auto                       # modal, local, docker, auto
 *     registry:
 *       mirrors:
 *         docker.io: localhost:5000
 *     images:
 *       lookup: [local, modal, registry]  # where a name without a domain is looked up, in this order
 *       publish: true                     # `build -t name` publishes on the server under that name
 *     modal:
 *       server: https://api.modal.com
 *       profile: work                     # of ~/.modal.toml
 *     profile: fast                       # the profile below that is used
 *     profiles:
 *       fast: {timeout: 3600, sync.exclude: [.lake, node_modules]}
 */
#ifndef ATP_TRANSLATE_CONFIG_H
#define ATP_TRANSLATE_CONFIG_H

#include "compat/base/strlist.h"
#include "translate/plan.h"
#include "translate/reference.h"

#include <stdbool.h>
#include <stddef.h>

struct err;

struct config_profile {
    char *name;
    int line;
    struct strlist keys; /* "timeout=3600"; a list's items are joined with newlines */
};

struct config {
    enum backend backend;
    int backend_line;       /* 0 = not said */
    struct strlist mirrors; /* "docker.io=localhost:5000" */
    struct lookup_order lookup;
    bool no_publish; /* images.publish: false */
    char *modal_server;
    char *modal_profile;
    char *profile;
    struct config_profile *profiles;
    size_t profiles_len;
};

void config_init(struct config *c);
void config_clear(struct config *c);

/* name is for messages. Keys of profiles are checked against modal_keys. */
int config_parse(const char *name, const char *text, size_t len, struct config *ret, struct err *err);

/*
 * The keys of the chosen profile, appended to ret: ATP_DOCKER_PROFILE names it, else `profile:`. Entries of the
 * environment (ATP_DOCKER_PROFILE_<NAME>_<KEY>) are laid over the file's. No profile chosen: nothing. A chosen one that
 * neither the file nor the environment knows is an error.
 */
int config_profile(const struct config *c, char *const *environ, struct strlist *ret, struct err *err);

/* Lays ATP_DOCKER_LOOKUP ("local,modal,registry") and ATP_DOCKER_PUBLISH (0, 1) over the file's words. */
int config_environment(struct config *c, char *const *environ, struct err *err);

#endif
