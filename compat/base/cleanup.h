/*
 * Ownership that can be seen in the declaration: `cleanup_free char *p = NULL;` is released when its scope is left, so
 * an error path is a plain return. steal() hands the value on and disarms the guard. A guarded variable must be
 * initialised where it is declared.
 */
#ifndef ATP_BASE_CLEANUP_H
#define ATP_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup_with(fn) __attribute__((cleanup(fn)))

/*
 * Defines name##p(), a cleanup handler for variables of a pointer type, from its *_free function.
 *     DEFINE_CLEANUP(struct foo *, foo_free)   ->   cleanup_with(foo_freep) struct foo *f = NULL;
 */
#define DEFINE_CLEANUP(type, free_fn)                                                                                  \
    static inline __attribute__((unused)) void free_fn##p(type *p)                                                     \
    {                                                                                                                  \
        if (*p)                                                                                                        \
            free_fn(*p);                                                                                               \
    }

static inline void cleanup_free_handler(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close_handler(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_file_handler(FILE **f)
{
    if (*f)
        fclose(*f);
}

static inline void cleanup_dir_handler(DIR **d)
{
    if (*d)
        closedir(*d);
}

#define cleanup_free  cleanup_with(cleanup_free_handler)
#define cleanup_close cleanup_with(cleanup_close_handler) /* an int descriptor, -1 when empty */
#define cleanup_file  cleanup_with(cleanup_file_handler)
#define cleanup_dir   cleanup_with(cleanup_dir_handler)

/* Takes the pointer out of a guarded variable. */
#define steal(pp)                                                                                                      \
    __extension__({                                                                                                    \
        __typeof__(*(pp)) stolen_ = *(pp);                                                                             \
        *(pp) = NULL;                                                                                                  \
        stolen_;                                                                                                       \
    })

/* Takes the descriptor out of a guarded variable. */
static inline int steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

#endif
