#include "backends/agent/lookup.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    int errnum;
    const char *text;
} texts[] = {
    {ENOENT, "no such file or directory"},
    {EACCES, "permission denied"},
    {EPERM, "operation not permitted"},
    {ENOTDIR, "not a directory"},
    {EISDIR, "is a directory"},
    {ELOOP, "too many levels of symbolic links"},
    {ENOEXEC, "exec format error"},
    {E2BIG, "argument list too long"},
    {ETXTBSY, "text file busy"},
    {ENAMETOOLONG, "file name too long"},
    {ENOMEM, "cannot allocate memory"},
    {EAGAIN, "resource temporarily unavailable"},
};

const char *lookup_strerror(int errnum)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].errnum == errnum)
            return texts[i].text;
    return strerror(errnum);
}

/* 0 if path is a program that we may run, else an errno; *stat_failed tells which step said so. */
static int try_program(const char *path, bool *stat_failed)
{
    struct stat st;

    *stat_failed = stat(path, &st) < 0;
    if (*stat_failed)
        return errno;
    if (S_ISDIR(st.st_mode))
        return EISDIR;
    if (access(path, X_OK) < 0)
        return errno;
    return st.st_mode & 0111 ? 0 : EACCES;
}

/* Writes s in double quotes with the escapes that Go's %q would use for the characters that matter. */
static char *quoted(const char *s)
{
    struct buf b = BUF_INIT(1u << 20);

    buf_addc(&b, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            buf_addf(&b, "\\%c", c);
        else if (c == '\n')
            buf_adds(&b, "\\n");
        else if (c == '\t')
            buf_adds(&b, "\\t");
        else if (c == '\r')
            buf_adds(&b, "\\r");
        else if (iscntrl(c))
            buf_addf(&b, "\\x%02x", c);
        else
            buf_addc(&b, (char)c);
    }
    buf_addc(&b, '"');
    return buf_detach(&b);
}

static char *not_found(const char *name, struct err *err)
{
    cleanup_free char *q = quoted(name);

    err_set(err, 127, "exec: %s: executable file not found in $PATH", q);
    if (err)
        err->code = ENOENT;
    return NULL;
}

static char *lookup_path(const char *name, struct err *err)
{
    cleanup_free char *q = NULL;
    bool stat_failed;
    int e = try_program(name, &stat_failed);

    if (!e)
        return xstrdup(name);
    q = quoted(name);
    if (stat_failed)
        err_set(err, e == ENOENT ? 127 : 126, "exec: %s: stat %s: %s", q, name, lookup_strerror(e));
    else
        err_set(err, 126, "exec: %s: %s", q, lookup_strerror(e));
    if (err)
        err->code = e;
    return NULL;
}

char *lookup_program(const char *name, const char *path, struct err *err)
{
    cleanup_strlist struct strlist dirs = STRLIST_INIT;

    if (strchr(name, '/'))
        return lookup_path(name, err);
    if (!*name || !path || !*path)
        return not_found(name, err);
    strlist_split(&dirs, path, ':');
    for (size_t i = 0; i < dirs.len; i++) {
        cleanup_free char *file = xasprintf("%s/%s", dirs.items[i][0] ? dirs.items[i] : ".", name);
        bool stat_failed;

        if (try_program(file, &stat_failed) == 0)
            return steal(&file);
    }
    return not_found(name, err);
}
