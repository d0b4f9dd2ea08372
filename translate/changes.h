/*
 * Dockerfile instructions applied to an image's configuration, as `docker import -c` and `docker commit -c` do: CMD,
 * ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR.
 */
#ifndef ATP_TRANSLATE_CHANGES_H
#define ATP_TRANSLATE_CHANGES_H

#include <jansson.h>

struct err;
struct strlist;

/* config: the "config" object of an image configuration, changed in place. Texts are Docker's. */
int changes_apply(const struct strlist *changes, json_t *config, struct err *err);

#endif
