/* The parts of bind.c. */
#ifndef ATP_COMPOSE_BIND_H
#define ATP_COMPOSE_BIND_H

#include "compat/base/strlist.h"
#include "translate/compose/shape.h"

#include <stdint.h>

/* A command line as docker compose takes it apart: quotes and backslashes; it ends at ; & | < >. */
int shell_words(const char *text, struct strlist *ret, struct err *err);

/* Go's durations, with d and w. */
int compose_duration(const char *text, int64_t *ret_ns, struct err *err);

/* The shortest digits that give a float back, as Go prints it with %v: "1.5", "1e+06". Owned by caller. */
char *go_float(double value, bool single);

/* A value of a list-or-map: what stands behind "=", or the value. Each gives a value of its own, NULL with err. */
struct cnode *bind_env(const struct cnode *value, bool keep_null, struct err *err);
struct cnode *bind_hosts(const struct cnode *value, struct err *err);
struct cnode *bind_scalar(const struct cnode *value, enum form form, struct err *err);

#endif
