/*
 * Libraries that are loaded when they are first needed: a start of the program pays only for what its command uses
 * (libcurl alone brings thirty libraries and costs more than the rest of an `exec`).
 *
 * A table of functions is a struct whose members are nothing but function pointers, declared from the library's own
 * header with typeof, so that a wrong argument is still a compiler's error:
 *
 *     #define FOO_CALLS(X) X(foo_open) X(foo_close)
 *     struct foo_calls { FOO_CALLS(LAZY_MEMBER) };
 *
 *     static const char *const names[] = {FOO_CALLS(LAZY_NAME)};
 *     static struct lazy_library foo = {.files = {"libfoo.so.1", "libfoo.1.dylib"}, .package = "libfoo1",
 *                                       .names = names, .count = sizeof(names) / sizeof(names[0]), .table =
 * &foo_calls}; if (lazy_load(&foo, err) < 0) ...
 *
 * The other files of this room hold the tables. A library stays loaded until the program ends.
 */
#ifndef ATP_LIB_LAZY_H
#define ATP_LIB_LAZY_H

#include <stdatomic.h>
#include <stddef.h>

struct err;

#define LAZY_MEMBER(name) __typeof__(name) *name;
#define LAZY_NAME(name)   #name,
#define LAZY_FILES_MAX    2

struct lazy_library {
    const char *files[LAZY_FILES_MAX]; /* file names with their version, tried in order; NULL = no more */
    const char *package;               /* Debian's name for it: what the message tells to install */
    const char *const *names;          /* in the order of the table's members */
    size_t count;
    void *table; /* valid as a whole after a lazy_load() that gave 0 */
    atomic_bool ready;
};

/* Fills the table once; any thread, any number of times. -1: the library is not there, or lacks a function. */
int lazy_load(struct lazy_library *lib, struct err *err);

#endif
