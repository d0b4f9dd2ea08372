/*
 * The starter: one small process in every sandbox, put there by the container runtime with exactly the namespaces,
 * cgroups, capabilities, system call filter and limits of an exec. It starts the sandbox's execs at the engine's
 * request (request.h): a fork of it is such a process already, and costs a twentieth of what the runtime's work costs.
 *
 * It comes on descriptor 0 with its socket, and ends when the engine has closed the other end. It has no file in the
 * container, owns nothing there, and keeps nothing between requests.
 */
#include "backends/engine/starter/request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct work { /* one request, taken apart: pointers into its bytes */
    struct starter_request *request;
    const char *folder;
    char **argv, **env;
    const int *fds;
};

static int engine; /* the socket */
static char *home; /* "HOME=..." as the runtime found it, NULL = none */

static int report(uint64_t number, enum starter_said said, int error)
{
    struct starter_report r = {.number = number, .said = said, .error = error};

    return send(engine, &r, sizeof(r), MSG_NOSIGNAL) == (ssize_t)sizeof(r) ? 0 : -1;
}

/* ---- the new process: it shares the starter's memory until it is the program (vfork) ---- */

static const char *search_path(char *const *env)
{
    const char *path = NULL;

    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            path = *env + 5;
    return path;
}

/* Tries every folder of the search path, as execvp does; errno says what stood in the way. */
static void search_and_execute(const struct work *w)
{
    const char *path = search_path(w->env), *name = w->argv[0];
    char full[PATH_MAX];
    int refused = 0;

    errno = ENOENT;
    while (path) {
        size_t len = strcspn(path, ":"), name_len = strlen(name);

        if (len + name_len + 3 <= sizeof(full)) {
            memcpy(full, len ? path : ".", len ? len : 1);
            len = len ? len : 1;
            full[len] = '/';
            memcpy(full + len + 1, name, name_len + 1);
            execve(full, w->argv, w->env);
            if (errno == EACCES)
                refused = EACCES;
            else if (errno != ENOENT && errno != ENOTDIR)
                return;
        }
        path += strcspn(path, ":");
        path = *path ? path + 1 : NULL;
    }
    errno = refused ? refused : ENOENT;
}

/* The engine has heard of this process, or it does not go on: what nobody knows of is never run. */
static int become(void *arg)
{
    const struct work *w = arg;
    uint64_t number = w->request->number;

    setsid();
    if (report(number, STARTER_STARTED, 0) < 0)
        _exit(127);
    if (w->request->terminal)
        ioctl(w->fds[0], TIOCSCTTY, 0);
    for (int i = 0; i < 3; i++)
        dup2(w->fds[w->request->terminal ? 0 : i], i);
    if (chdir(w->folder) < 0) {
        report(number, STARTER_NO_FOLDER, errno);
        _exit(127);
    }
    if (strchr(w->argv[0], '/'))
        execve(w->argv[0], w->argv, w->env);
    else
        search_and_execute(w);
    report(number, STARTER_NO_PROGRAM, errno);
    _exit(127);
}

/* Makes it a child of the engine, not of ours: its exit status is nobody else's business. */
static void start(struct work *w)
{
    static char stack[16 << 10] __attribute__((aligned(16)));

    if (clone(become, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_PARENT | SIGCHLD, w) < 0)
        report(w->request->number, STARTER_NO_PROCESS, errno);
}

/* ---- requests ---- */

/* Points list at the next count words, and ends it with NULL; false when they are not there. */
static bool take_words(char **next, const char *end, char **list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char *nul = memchr(*next, '\0', (size_t)(end - *next));

        if (!nul)
            return false;
        list[i] = *next;
        *next = nul + 1;
    }
    list[count] = NULL;
    return true;
}

/* Takes a request apart and carries it out; false when it is none. */
static bool serve(char *bytes, size_t len, const int *fds, size_t fds_len)
{
    static char *words[STARTER_WORDS_MAX + 4];
    struct work w = {.request = (struct starter_request *)(void *)bytes, .fds = fds};
    char *next = bytes + sizeof(*w.request), *folder[2];
    bool has_home = false;

    if (len < sizeof(*w.request) || w.request->args == 0 || w.request->args > STARTER_WORDS_MAX ||
        w.request->env > STARTER_WORDS_MAX - w.request->args || fds_len != (w.request->terminal ? 1 : 3))
        return false;
    w.argv = words;
    w.env = words + w.request->args + 1;
    if (!take_words(&next, bytes + len, folder, 1) || !take_words(&next, bytes + len, w.argv, w.request->args) ||
        !take_words(&next, bytes + len, w.env, w.request->env))
        return false;
    w.folder = folder[0];
    for (uint32_t i = 0; i < w.request->env; i++)
        has_home = has_home || strncmp(w.env[i], "HOME=", 5) == 0;
    if (!has_home && home) {
        w.env[w.request->env] = home;
        w.env[w.request->env + 1] = NULL;
    }
    start(&w);
    return true;
}

/* One message with its descriptors; 0 = the engine is gone, -1 = this was nothing, go on. */
static ssize_t receive(char *bytes, size_t room, int fds[3], size_t *ret_fds)
{
    char control[CMSG_SPACE(3 * sizeof(int))] __attribute__((aligned(sizeof(size_t))));
    struct iovec part = {.iov_base = bytes, .iov_len = room};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t got = recvmsg(engine, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;

    *ret_fds = 0;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        *ret_fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(header), *ret_fds * sizeof(int));
    }
    if (got < 0 && errno != EINTR)
        return 0;
    return message.msg_flags & MSG_TRUNC ? -1 : got;
}

/* `ps` shall say what this is: the name that it was executed by says nothing. */
static void take_name(char *word)
{
    size_t room = strlen(word);

    prctl(PR_SET_NAME, STARTER_NAME, 0, 0, 0);
    memset(word, 0, room);
    strncpy(word, STARTER_NAME, room);
}

static void find_home(char **env)
{
    for (; *env; env++)
        if (strncmp(*env, "HOME=", 5) == 0)
            home = *env;
}

int main(int argc, char **argv, char **env)
{
    static char bytes[STARTER_BYTES_MAX] __attribute__((aligned(8)));
    int fds[3];
    size_t fds_len;

    engine = fcntl(0, F_DUPFD_CLOEXEC, 10);
    if (argc < 1 || engine < 0 || dup2(2, 0) < 0 || dup2(2, 1) < 0)
        return 1;
    take_name(argv[0]);
    find_home(env);
    for (ssize_t got; (got = receive(bytes, sizeof(bytes), fds, &fds_len)) != 0;) {
        bool served = got > 0 && serve(bytes, (size_t)got, fds, fds_len);

        for (size_t i = 0; i < fds_len; i++)
            close(fds[i]);
        if (got > 0 && !served)
            return 1;
    }
    return 0;
}
