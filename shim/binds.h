/*
 * The host side of a container's bind mounts: sources checked, made where -v makes them, and held open, so that a path
 * that changes its meaning while a command runs cannot redirect what is pulled.
 *
 * What was last agreed with the container, and the lock of each mount, lie in its folder below the state folder:
 * containers/<id>/mount-<index> and mount-<index>.lock. Nothing of it is read here: the session does so, at the right
 * moments, for however many commands exchange the mounts at once (backends/session/session.h).
 *
 * A source that was exchanged with the container before and is gone now is refused (BINDS_SOURCE_GONE), also for -v: an
 * empty folder made in its place would empty the container's. Nothing is deleted on either side; once the folder is
 * back, all goes on from what was last agreed.
 */
#ifndef ATP_SHIM_BINDS_H
#define ATP_SHIM_BINDS_H

#include "backends/session/session.h"

#include <stddef.h>

struct container_spec;
struct err;

enum { BINDS_SOURCE_GONE = 0x6201 }; /* err->code */

struct binds {
    struct session_mount *mounts; /* what a session is given; labels, targets and lists are borrowed from the spec */
    size_t len;
    char **files;  /* names of single-file mounts, owned; NULL for directories */
    char **states; /* names of what is agreed, owned */
    int keep_fd;   /* folder for conflict copies and trash, -1 = none needed */
    int state_fd;  /* the container's folder, -1 = none */
};

#define BINDS_INIT                                                                                                     \
    {                                                                                                                  \
        NULL, 0, NULL, NULL, -1, -1                                                                                    \
    }

/*
 * container_id: whose state is kept, in full; NULL: nothing is kept, and each command would be a first push. 125 with
 * Docker's text for a source that is not there, or one that cannot be synchronised.
 */
int binds_open(const struct container_spec *spec, const char *container_id, struct binds *ret, struct err *err);
/*
 * The same for what must not fail over it (the end of a container, its removal, cp): a source that is gone is left out,
 * and one line on stderr says that what the container changed there stays with the container.
 */
int binds_open_rest(const struct container_spec *spec, const char *container_id, struct binds *ret, struct err *err);
void binds_clear(struct binds *b);

#endif
