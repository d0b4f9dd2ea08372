#include "shim/each.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_ONCE     16           /* processes, each with a connection of its own */
#define MESSAGE_MAX (256u << 10) /* an error's text */

/* Finds the container and does it. */
static int do_one(struct app *app, const char *word, const struct each *each, struct err *err)
{
    cleanup_with(container_clear) struct container c;

    container_init(&c, app);
    if (container_find(&c, word, err) == 0)
        return each->fn(&c, word, each->arg, err);
    if (each->verb && err->code == CONTAINER_NO_SUCH) {
        err_set(err, 1, "Error response from daemon: %s: %s: No such container: %s", each->verb, word, word);
        err->code = CONTAINER_NO_SUCH;
    }
    return -1;
}

/* One line for one word. */
static void say(const char *word, const char *error)
{
    if (!error) {
        puts(word);
        fflush(stdout);
        return;
    }
    fflush(stdout);
    fprintf(stderr, "%s\n", error);
}

int each_in_turn(struct app *app, const struct opt_parsed *opts, const struct each *each, struct strlist *ret_failed)
{
    const struct strlist *words = opt_args(opts);
    int code = 0;

    for (size_t i = 0; i < words->len; i++) {
        cleanup_err struct err err = ERR_INIT;

        if (do_one(app, words->items[i], each, &err) == 0) {
            say(words->items[i], NULL);
            continue;
        }
        say(words->items[i], err.msg);
        if (ret_failed)
            strlist_add(ret_failed, words->items[i]);
        code = each->forgive && err.code == CONTAINER_NO_SUCH ? code : 1;
    }
    return code;
}

/* ---- at the same time ---- */

struct worker {
    pid_t pid;
    int fd; /* its error, if any */
};

enum { WORKER_DONE = 0, WORKER_FAILED = 1, WORKER_MISSING = 2 };

/* In the process of its own. What app holds was made before the fork: no connection and no file is shared. */
static int work(struct app *app, const char *word, const struct each *each, int fd)
{
    struct err err = ERR_INIT;
    int ret = do_one(app, word, each, &err);

    if (ret < 0) {
        for (size_t sent = 0, len = strlen(err.msg); sent < len;) {
            ssize_t n = write(fd, err.msg + sent, len - sent);

            if (n < 0 && errno != EINTR)
                break;
            sent += n > 0 ? (size_t)n : 0;
        }
    }
    app_clear(app);
    return ret == 0 ? WORKER_DONE : err.code == CONTAINER_NO_SUCH ? WORKER_MISSING : WORKER_FAILED;
}

static void begin(struct app *app, const char *word, const struct each *each, struct worker *ret)
{
    int fds[2];

    *ret = (struct worker){.pid = -1, .fd = -1};
    fflush(NULL);
    if (pipe2(fds, O_CLOEXEC) < 0)
        return;
    ret->pid = fork();
    if (ret->pid == 0) {
        close(fds[0]);
        _exit(work(app, word, each, fds[1]));
    }
    close(fds[1]);
    ret->fd = fds[0];
}

/* Waits for it and says what became of it; its exit code. */
static int end(struct worker *w, const char *word)
{
    cleanup_buf struct buf text = BUF_INIT(MESSAGE_MAX);
    char bytes[4096];
    int status = 0;
    ssize_t n;

    if (w->pid < 0) {
        if (w->fd >= 0)
            close(w->fd);
        say(word, "no process could be made for it");
        return WORKER_FAILED;
    }
    while ((n = read(w->fd, bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            buf_add(&text, bytes, (size_t)n);
    close(w->fd);
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_DONE) {
        say(word, NULL);
        return WORKER_DONE;
    }
    say(word, text.len ? text.data : "its process was ended");
    return WIFEXITED(status) ? WEXITSTATUS(status) : WORKER_FAILED;
}

int each_container(struct app *app, const struct opt_parsed *opts, const struct each *each)
{
    const struct strlist *words = opt_args(opts);
    struct worker workers[AT_ONCE];
    int code = 0;

    if (words->len == 1 || app->state)
        return each_in_turn(app, opts, each, NULL);
    for (size_t begun = 0, ended = 0; ended < words->len; ended++) {
        int got;

        for (; begun < words->len && begun < ended + AT_ONCE; begun++)
            begin(app, words->items[begun], each, &workers[begun % AT_ONCE]);
        got = end(&workers[ended % AT_ONCE], words->items[ended]);
        if (got != WORKER_DONE && !(each->forgive && got == WORKER_MISSING))
            code = 1;
    }
    return code;
}
