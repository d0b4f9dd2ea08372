#include "backends/docker/handover.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MARK    "ATP_DOCKER_HANDED_OVER"
#define PING_MS 500

/* Whether path is an executable file other than the running program. */
static bool is_another_program(const char *path)
{
    struct stat self, other;

    if (stat(path, &other) < 0 || !S_ISREG(other.st_mode) || access(path, X_OK) < 0)
        return false;
    return stat("/proc/self/exe", &self) < 0 || self.st_dev != other.st_dev || self.st_ino != other.st_ino;
}

/* The user's own word for where it is. */
static char *named_by_user(const char *path, struct err *err)
{
    if (is_another_program(path))
        return xstrdup(path);
    err_set(err, 125, "ATP_DOCKER_REAL=%s is not another executable program than atp-docker", path);
    return NULL;
}

char *handover_find(const char *name, struct err *err)
{
    const char *named = getenv("ATP_DOCKER_REAL"), *path = getenv("PATH");
    cleanup_strlist struct strlist dirs = STRLIST_INIT;

    if (named && *named && !strcmp(name, "docker"))
        return named_by_user(named, err);
    strlist_split(&dirs, path ? path : "/usr/local/bin:/usr/bin:/bin", ':');
    for (size_t i = 0; i < dirs.len; i++) {
        cleanup_free char *candidate = xasprintf("%s/%s", *dirs.items[i] ? dirs.items[i] : ".", name);

        if (is_another_program(candidate))
            return steal(&candidate);
    }
    err_set(err, 125, "no real %s was found on PATH (set ATP_DOCKER_REAL to its path)", name);
    return NULL;
}

int handover_exec(const char *name, char **argv, struct err *err)
{
    cleanup_free char *path = NULL;

    if (getenv(MARK))
        return err_set(err, 125,
                       "the program that was taken for the real docker calls atp-docker again: set ATP_DOCKER_REAL to "
                       "the real one");
    path = handover_find(name, err);
    if (!path)
        return -1;
    setenv(MARK, "1", 1);
    argv[0] = path;
    execv(path, argv);
    err_set_errno(err, 126, errno, "exec %s", path);
    unsetenv(MARK);
    return -1;
}

/* The path of the daemon's socket, NULL when DOCKER_HOST names something else than a unix socket. */
static const char *socket_path(void)
{
    const char *host = getenv("DOCKER_HOST");

    if (!host || !*host)
        return "/var/run/docker.sock";
    return strncmp(host, "unix://", 7) ? NULL : host + 7;
}

bool handover_daemon_answers(void)
{
    static const char ping[] = "GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n";
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_usec = PING_MS * 1000};
    cleanup_close int fd = -1;
    const char *path = socket_path();
    char answer[64];
    ssize_t n;

    if (!path || strlen(path) >= sizeof(addr.sun_path))
        return false;
    memcpy(addr.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        send(fd, ping, sizeof(ping) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(ping) - 1)
        return false;
    n = recv(fd, answer, sizeof(answer) - 1, 0);
    if (n < 12)
        return false;
    answer[n] = '\0';
    return !strncmp(answer, "HTTP/1.", 7) && !strncmp(answer + 8, " 200", 4);
}
