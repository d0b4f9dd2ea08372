/* The programs that keep credentials for Docker: docker-credential-<name>, spoken to over stdin and stdout. */
#include "backends/registry/auth_private.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELPER_DEADLINE_MS 30000 /* a helper may ask a key ring, which may ask its owner */
#define MAX_WORDS          65000 /* what a pipe holds, and some thousand times what credentials are */

extern char **environ;

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Starts "program action" with its stdin and stdout on the two descriptors. */
static int start(const char *program, const char *action, int in, int out, pid_t *ret, struct err *err)
{
    cleanup_free char *name = xstrdup(program), *word = xstrdup(action);
    char *const argv[] = {name, word, NULL};
    posix_spawn_file_actions_t actions;
    int r;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    r = posix_spawnp(ret, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (r == ENOENT)
        return err_set(err, 0, "exec: \"%s\": executable file not found in $PATH", program);
    return r ? err_set_errno(err, 0, r, "%s", program) : 0;
}

/* Reads until the end, or until the deadline. */
static int read_answer(int fd, struct buf *out, struct err *err)
{
    int64_t end = now_ms() + HELPER_DEADLINE_MS;
    ssize_t n = 1;

    while (n > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = end - now_ms();
        char *room = buf_reserve(out, 4096);

        if (!room)
            return err_set(err, 0, "the answer is too long");
        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return err_set(err, 0, "the helper gave no answer in time");
        n = read(fd, room, 4096);
        if (n > 0)
            buf_advance(out, (size_t)n);
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    return 0;
}

/* Runs the helper; its whole output goes to out. *ret_status is what waitpid tells. */
static int run(const char *program, const char *action, const char *input, struct buf *out, int *ret_status,
               struct err *err)
{
    int in[2] = {-1, -1}, answer[2] = {-1, -1}, ret;
    size_t len = strlen(input);
    pid_t pid;

    if (pipe2(in, O_CLOEXEC) < 0)
        return err_set_errno(err, 0, errno, "pipe");
    if (pipe2(answer, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        return err_set_errno(err, 0, errno, "pipe");
    }
    /* It is shorter than a pipe (helper_run), so this waits for nobody, and the reading end is still open here. */
    ret = write(in[1], input, len) == (ssize_t)len ? 0 : err_set_errno(err, 0, errno, "writing to %s", program);
    close(in[1]);
    if (ret == 0)
        ret = start(program, action, in[0], answer[1], &pid, err);
    close(in[0]);
    close(answer[1]);
    if (ret == 0) {
        ret = read_answer(answer[0], out, err);
        if (ret < 0)
            kill(pid, SIGKILL);
        while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
            ;
    }
    close(answer[0]);
    return ret;
}

/* The helper's own words about what went wrong, as far as they are printable. */
static int failed(const char *program, int status, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < out->len; i++)
        out->data[i] = isprint((unsigned char)out->data[i]) ? out->data[i] : ' ';
    return err_set(err, 0, "%s: exit status %d, out: `%.200s`", program, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                   out->data);
}

int helper_run(const char *name, const char *action, const char *input, struct buf *out, struct err *err)
{
    cleanup_free char *program = xasprintf("docker-credential-%s", name);
    int status = 0;

    if (strchr(name, '/') || !*name)
        return err_set(err, 0, "invalid credential helper name \"%s\"", name);
    if (strlen(input) > MAX_WORDS)
        return err_set(err, 0, "%s: the credentials are too long", program);
    if (run(program, action, input, out, &status, err) < 0)
        return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 1;
    return strncmp(out->data, "credentials not found", 21) == 0 ? 0 : failed(program, status, out, err);
}
