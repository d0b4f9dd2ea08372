/*
 * `docker cp` and `docker export`: one copy between this machine and a container, with the container's mounts exchanged
 * around it. A container that does not run is woken for it (shim/container.h) and put to sleep again. Errors are
 * complete: Docker's words and exit code 1.
 */
#ifndef ATP_SHIM_COPY_H
#define ATP_SHIM_COPY_H

#include <stdbool.h>

struct app;
struct err;

struct copy_request {
    const char *container;
    const char *source, *dest; /* paths as given; "-" on this machine's side is a tar archive */
    bool archive;              /* -a */
    bool follow;               /* -L */
    bool quiet;
};

/* The program's exit code, or -1 with err. */
int copy_from_container(struct app *app, const struct copy_request *req, struct err *err);
int copy_to_container(struct app *app, const struct copy_request *req, struct err *err);
/* `docker export`: the container's whole file system as an archive to fd; where something is mounted, and in /etc's
 * files of the network, it is empty. */
int copy_export(struct app *app, const char *container, int fd, struct err *err);

#endif
