/* How stop and restart end a container: -s and -t, else what the container was created with. */
#ifndef ATP_SHIM_STOPPING_H
#define ATP_SHIM_STOPPING_H

#include <stdbool.h>
#include <stdint.h>

struct container;
struct err;
struct opt_parsed;
struct wire_ask;

struct stopping {
    int signo; /* 0: the container's */
    bool timeout_given;
    int64_t timeout_s; /* negative: for ever */
};

int stopping_parse(const struct opt_parsed *opts, struct stopping *ret, struct err *err);

/* signo and grace_ms for this container, which is loaded. */
int stopping_fill(const struct container *c, const struct stopping *how, struct wire_ask *ret, struct err *err);

#endif
