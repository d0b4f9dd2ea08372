/* How a path in the container is found. */
#include "backends/agent/cp.h"

#include "backends/agent/agent.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"
#include "compat/sys/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LINKS_MAX 255 /* Docker's own limit */

static const char *const machine[] = {"/proc", "/sys", "/dev"};
#define MACHINE_LEN (sizeof(machine) / sizeof(machine[0]))

bool cp_closed(const char *path)
{
    for (size_t i = 0; i < MACHINE_LEN; i++)
        if (strcmp(path, machine[i]) == 0)
            return true;
    return false;
}

bool cp_hidden(const char *path)
{
    if (path_within(path, AGENT_HIDDEN_DIR))
        return true;
    for (size_t i = 0; i < MACHINE_LEN; i++)
        if (path_within(path, machine[i]) && path[strlen(machine[i])])
            return true;
    return false;
}

/* The text of the link at path; owned by caller; NULL if there is none. */
static char *link_text(const char *path)
{
    char text[LIMIT_PATH + 1];
    ssize_t n = cp_hidden(path) ? -1 : readlink(path, text, sizeof(text) - 1);

    return n > 0 ? xstrndup(text, (size_t)n) : NULL;
}

/* Takes the last component off; the root stays. */
static void drop_last(struct buf *done)
{
    const char *slash = strrchr(done->data, '/');

    buf_truncate(done, slash ? (size_t)(slash - done->data) : 0);
}

char *cp_resolve(const char *path, bool last, struct err *err)
{
    cleanup_buf struct buf done = BUF_INIT(4 * LIMIT_PATH); /* without links; "" is the root */
    cleanup_free char *rest = xstrdup(path);
    const char *at = rest;
    unsigned links = 0;

    while (*(at += strspn(at, "/"))) {
        size_t len = strcspn(at, "/"), before = done.len;
        bool is_last = !at[len + strspn(at + len, "/")];
        cleanup_free char *text = NULL;

        if (len == 2 && at[0] == '.' && at[1] == '.') {
            drop_last(&done);
        } else if (len != 1 || at[0] != '.') {
            buf_addc(&done, '/');
            buf_add(&done, at, len);
            text = is_last && !last ? NULL : link_text(done.data);
        }
        at += len;
        if (text) {
            char *joined = xasprintf("%s%s", text, at);

            if (++links > LINKS_MAX || strlen(joined) > 4 * LIMIT_PATH) {
                free(joined);
                err_set(err, 1, "Error response from daemon: too many links in %s", path);
                return NULL;
            }
            buf_truncate(&done, text[0] == '/' ? 0 : before);
            free(rest);
            at = rest = joined;
        }
        if (done.overflowed) {
            err_set(err, 1, "Error response from daemon: %s: file name too long", path);
            return NULL;
        }
    }
    return xstrdup(done.len ? done.data : "/");
}

int cp_stat(const char *path, struct stat *ret)
{
    if (cp_hidden(path)) {
        errno = ENOENT;
        return -1;
    }
    return lstat(path, ret);
}

int cp_open_dir(const char *path)
{
    cleanup_close int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (cp_hidden(path)) {
        errno = ENOENT;
        return -1;
    }
    return root < 0 ? -1 : beneath_open_dir(root, path + 1);
}
