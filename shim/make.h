/*
 * A container from the words of `run` and `create`: checked, its image found, entered into the state. Nothing is made
 * on the server.
 *
 *     struct making m;
 *     making_init(&m, app);
 *     if (making_prepare(&m, opts, to_run, err) == 0 && making_register(&m, to_run, err) == 0) ...
 *     else making_undo(&m);
 *     making_clear(&m);
 */
#ifndef ATP_SHIM_MAKE_H
#define ATP_SHIM_MAKE_H

#include "shim/binds.h"
#include "shim/container.h"

struct opt_parsed;

struct making {
    struct container c;
    struct state_image image;
    struct binds binds;
    bool registered;   /* it is in the state */
    bool cidfile_made; /* the file of --cidfile is ours */
};

void making_init(struct making *m, struct app *app);
void making_clear(struct making *m);

/* The spec, the image that it names, the process that results. */
int making_prepare(struct making *m, const struct opt_parsed *opts, bool to_run, struct err *err);

/*
 * Enters it, with its lock taken and the host side of its mounts opened; a generated name is made anew until it is
 * free. to_run: it is about to be started, which is written down first, so that a kill in between leaves nothing of it
 * with
 * --rm.
 */
int making_register(struct making *m, bool to_run, struct err *err);

/* A container that never came to be leaves nothing: no name, no folder, no cidfile. */
void making_undo(struct making *m);

/* A list as a JSON array, for the row's columns; owned by caller. */
char *making_json(const struct strlist *list);

#endif
