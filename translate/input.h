/*
 * What the outside world hands to this floor. Translation is pure: it reads no file, environment, clock or random
 * source of its own; a caller (or a test) fills in this struct and everything follows from it.
 */
#ifndef ATP_TRANSLATE_INPUT_H
#define ATP_TRANSLATE_INPUT_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct err;

#define INPUT_RANDOM_LEN 40 /* 32 bytes for the container's id, 8 for its generated name */

/*
 * Reads a whole file into out (a buffer with the ceiling that the reader of the format chose). On failure returns -1
 * with err->code set to the errno: the message is then made here in Docker's words, which differ by file kind. A file
 * that is too large is EFBIG.
 */
typedef int input_read_fn(const char *path, struct buf *out, struct err *err, void *arg);

struct input {
    const char *cwd;      /* absolute; relative paths of the command line are resolved against it; NULL: it is gone */
    const char *home;     /* the user's home directory, or NULL */
    char *const *environ; /* "K=V", NULL-terminated; may be NULL for none */
    input_read_fn *read_file;
    void *read_arg;
    const uint8_t *random; /* INPUT_RANDOM_LEN bytes */
    unsigned host_cpus;    /* CPUs that the back end is known to have, 0 = not known (no upper limit) */
    bool strict;           /* ATP_DOCKER_STRICT=1: approximations are refused */
    bool approximate_all;  /* ATP_DOCKER_APPROXIMATE=all: approximations that give more than asked are accepted; the
                              tables of today have none, so that it only may not meet strict */
    const struct strlist *profile; /* "key=value" of the chosen profile of config.yaml, or NULL (config_profile()) */
    const char *default_platform;  /* DOCKER_DEFAULT_PLATFORM or NULL */
};

/* Value of K in a "K=V" vector that ends with NULL (or is NULL); borrowed. NULL when it is not there, or is empty. */
const char *environ_nonempty(char *const *environ, const char *key);

/* Value of K in in->environ (borrowed), NULL when it is not there. */
const char *input_env(const struct input *in, const char *key);

/* Whether path can be resolved: it is absolute, or there is a current directory. Otherwise one line, exit code 125. */
int input_check_path(const struct input *in, const char *path, struct err *err);

#endif
