/*
 * A service as words of `docker create`: the parts of words.c.
 *
 * What a service says of Modal travels in two hidden options of `docker run` and `docker create`: --x-modal KEY=VALUE
 * is the service's `x-modal`, --x-modal-top KEY=VALUE the file's. Labels modal.* are labels like others and win over
 * both.
 */
#ifndef ATP_COMPOSE_WORDS_H
#define ATP_COMPOSE_WORDS_H

#include "translate/compose/compose.h"

struct words {
    const struct compose_project *p;
    const struct cnode *s;
    const char *name;
    unsigned number;
    struct strlist *out;
};

void words_add(const struct words *w, const char *option, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* volumes, tmpfs, secrets, configs */
int words_mounts(const struct words *w, struct err *err);
/* x-modal of service and file */
int words_modal(const struct words *w, struct err *err);
/* Whether x-modal, of the service or of the file, has a key. */
bool words_modal_says(const struct words *w, const char *key);

/* The option of `docker create` that carries a key of a service ("dns", "deploy.resources.limits.cpus"); NULL: none. */
const char *words_option(const char *key);

#endif
