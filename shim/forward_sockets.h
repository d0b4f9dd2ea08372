/* Between forward.c, which binds, and forward_run.c, which listens: private to the two. */
#ifndef ATP_SHIM_FORWARD_SOCKETS_H
#define ATP_SHIM_FORWARD_SOCKETS_H

#include <stddef.h>
#include <stdint.h>

#define FORWARD_LOCK_FD 3 /* where the process finds the lock that it was born with */

struct forward_socket {
    int fd;
    uint16_t target; /* of the container */
};

struct forward_sockets {
    struct forward_socket *items;
    size_t len;
    int lock_fd; /* -1: somebody else has it */
};

#endif
