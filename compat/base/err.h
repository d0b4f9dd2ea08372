/*
 * The one error value. Every function that can fail for a reason worth telling takes `struct err *err` as its last
 * parameter, returns 0 or a negative number, and leaves err untouched on success. The exit code is Docker's and is
 * chosen where the fault is found (125 ours, 126 not executable, 127 not found, 1 the daemon's answer to most
 * commands); 0 means "the command's usual code", which main() decides. Messages have no newline, no trailing full stop
 * and no program name; context is put in front on the way up: err_wrap(err, "pushing %s", path) makes "pushing ./src:
 * ...".
 *
 *     struct err err = ERR_INIT;
 *     if (thing_open(&t, path, &err) < 0) { ...; err_clear(&err); }
 *
 * Library code never prints and never exits; only a program's main() prints an err, once.
 */
#ifndef ATP_BASE_ERR_H
#define ATP_BASE_ERR_H

#include <stdarg.h>

struct err {
    int exit_code; /* Docker's exit code, 0 = the command's usual one */
    int code;      /* what went wrong for callers that must tell: an errno, or a value that the room's header names */
    char *msg;     /* owned; NULL = no error */
};

#define ERR_INIT                                                                                                       \
    {                                                                                                                  \
        0, 0, NULL                                                                                                     \
    }

/* Sets the error; an earlier message is replaced. Returns -1, so that `return err_set(...)` reads well. err may be
 * NULL. */
int err_set(struct err *err, int exit_code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same, with err->code = errnum and ": <strerror>" appended. */
int err_set_errno(struct err *err, int exit_code, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Prefixes "context: ". Returns -1. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Moves *from into *to (to's old message is freed) and empties *from. Returns -1. */
int err_move(struct err *to, struct err *from);

/* Releases the message; the value is ready to be used again. */
void err_clear(struct err *err);

#define cleanup_err __attribute__((cleanup(err_clear)))

#endif
