/*
 * `docker save`: images by the words of the command line, as one archive in the form of Docker 28's: an OCI layout with
 * Docker's own manifest.json and repositories besides. Layers and manifests are in the form in which a registry, an
 * archive or a server had them, each once; the same images make the same bytes.
 */
#ifndef ATP_SHIM_SAVE_H
#define ATP_SHIM_SAVE_H

#include "backends/state/state.h"

struct app;
struct err;

/* An image and the names that it is saved with. */
struct save_item {
    struct state_image image;
    struct strlist refs; /* normalised, with tag: "docker.io/library/x:1"; empty: by id */
};

struct save_list {
    struct save_item *items;
    size_t len;
};

#define SAVE_LIST_INIT                                                                                                 \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }

void save_list_clear(struct save_list *l);

/*
 * Adds what a word means: a name with a tag, an id or its start, or a repository, which is all of its tags. An image is
 * in the list once. Docker's texts.
 */
int save_list_add(struct app *app, struct save_list *l, const char *word, struct err *err);

/* Writes the archive. */
int save_write(struct app *app, struct save_list *l, int fd, struct err *err);

#endif
