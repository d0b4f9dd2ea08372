#include "compat/base/err.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"

#include <stdlib.h>
#include <string.h>

/* Replaces the whole value. */
static void set_message(struct err *err, int exit_code, int code, char *msg)
{
    free(err->msg);
    err->exit_code = exit_code;
    err->code = code;
    err->msg = msg;
}

int err_set(struct err *err, int exit_code, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    set_message(err, exit_code, 0, xvasprintf(fmt, ap));
    va_end(ap);
    return -1;
}

int err_set_errno(struct err *err, int exit_code, int errnum, const char *fmt, ...)
{
    cleanup_free char *what = NULL;
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    what = xvasprintf(fmt, ap);
    va_end(ap);
    set_message(err, exit_code, errnum, xasprintf("%s: %s", what, strerror(errnum)));
    return -1;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    cleanup_free char *context = NULL;
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    context = xvasprintf(fmt, ap);
    va_end(ap);
    set_message(err, err->exit_code, err->code, xasprintf("%s: %s", context, err->msg ? err->msg : "unknown error"));
    return -1;
}

int err_move(struct err *to, struct err *from)
{
    if (to) {
        free(to->msg);
        *to = *from;
        *from = (struct err)ERR_INIT;
    } else {
        err_clear(from);
    }
    return -1;
}

void err_clear(struct err *err)
{
    free(err->msg);
    *err = (struct err)ERR_INIT;
}
