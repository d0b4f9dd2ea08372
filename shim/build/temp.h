/*
 * A private folder of one build below the state folder, for contexts that come as an archive or from elsewhere; and the
 * signals that end a build, which must leave nothing behind. What a killed build left is removed by the next that needs
 * such a folder.
 */
#ifndef ATP_SHIM_BUILD_TEMP_H
#define ATP_SHIM_BUILD_TEMP_H

#include <signal.h>
#include <stdatomic.h>

struct err;

struct build_temp {
    char *path; /* NULL = none was made */
    char *name; /* in parent */
    int parent, dir;
};

#define BUILD_TEMP_INIT                                                                                                \
    {                                                                                                                  \
        NULL, NULL, -1, -1                                                                                             \
    }

int build_temp_new(struct build_temp *ret, struct err *err);
void build_temp_clear(struct build_temp *t);

/* Set when a signal asked for the end; the second one ends the program at once. */
extern volatile sig_atomic_t build_signal; /* its number, 0 = none */
extern atomic_bool build_cancelled;

void build_signals_catch(void);
void build_signals_restore(void);
/* BuildKit's words for it, and the exit code of a program that the signal ended. Returns -1. */
int build_signalled(struct err *err);

#endif
