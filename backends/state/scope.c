#include "backends/state/scope.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"

#include <fcntl.h>
#include <string.h>

#define FILE_MAX 64 /* the digits and a newline; anything longer is not ours */

/* 12 hex digits and at most a newline; false for anything else. */
static bool read_scope(const char *file, char ret[SCOPE_LEN + 1])
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);

    if (fs_read_file(file, &text, NULL) < 0 || text.len < SCOPE_LEN ||
        strspn((const char *)text.data, "0123456789abcdef") != SCOPE_LEN)
        return false;
    if (text.len > SCOPE_LEN + 1 || (text.len == SCOPE_LEN + 1 && text.data[SCOPE_LEN] != '\n'))
        return false;
    memcpy(ret, text.data, SCOPE_LEN);
    ret[SCOPE_LEN] = '\0';
    return true;
}

/* Written beside it and linked into place, so that it is never seen half-made and of two makers one wins. */
static void write_scope(const char *file, const char *scope)
{
    cleanup_free char *temporary = xasprintf("%s.%s", file, scope), *dir = xstrdup(file);
    cleanup_close int fd = -1;
    char line[SCOPE_LEN + 1];

    *strrchr(dir, '/') = '\0';
    if (fs_mkdirs(dir, 0700, NULL) < 0)
        return;
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    memcpy(line, scope, SCOPE_LEN);
    line[SCOPE_LEN] = '\n';
    if (write(fd, line, sizeof(line)) == (ssize_t)sizeof(line) && fsync(fd) == 0)
        (void)!link(temporary, file);
    unlink(temporary);
}

int scope_make(const char *file, char ret[SCOPE_LEN + 1], struct err *err)
{
    char made[SCOPE_LEN + 1];

    if (file && read_scope(file, ret))
        return 0;
    if (random_hex(made, SCOPE_LEN, err) < 0)
        return -1;
    if (file)
        write_scope(file, made);
    if (!file || !read_scope(file, ret)) /* what another made first wins */
        memcpy(ret, made, sizeof(made));
    return 0;
}

void scope_keep(const char *file, const char *scope)
{
    if (file && strlen(scope) == SCOPE_LEN)
        write_scope(file, scope);
}
