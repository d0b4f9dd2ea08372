#include "shim/compose/streams.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/units.h"
#include "compat/sys/parent.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/jobs.h"
#include "shim/container.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES (1u << 20) /* a longer line is broken here */
#define PIECE          65536
#define STREAMS_MAX    1000
#define LIFE_NAP_NS    20000000

struct pipe_end {
    int fd; /* -1: it has ended */
    FILE *to;
    struct buf line;
};

struct stream {
    char *name;
    const char *colour;
    bool stamps;
    pid_t pid;
    struct pipe_end ends[2]; /* its stdout and stderr */
    void *token;
};

struct streams {
    struct app *app;
    bool prefix, colours;
    struct stream *items;
    size_t len, begun, width;
};

struct streams *streams_new(struct app *app, bool prefix, bool colours)
{
    struct streams *s = xcalloc(1, sizeof(*s));

    s->app = app;
    s->prefix = prefix;
    s->colours = colours;
    return s;
}

size_t streams_width(struct streams *s, size_t at_least)
{
    s->width = s->width < at_least ? at_least : s->width;
    return s->width;
}

bool streams_busy(const struct streams *s)
{
    return s->len > 0;
}

/* ---- the process that follows ---- */

/* Until it runs, or has run since then. Its start; -1: it is gone. */
static int64_t wait_for_life(struct app *app, const char *id, int64_t after_ns)
{
    cleanup_with(container_clear) struct container c;
    int64_t started;

    container_init(&c, app);
    if (container_find(&c, id, NULL) < 0)
        return -1;
    while (c.row.started_ns <= after_ns || !c.row.started_ns) {
        nanosleep(&(struct timespec){.tv_nsec = LIFE_NAP_NS}, NULL);
        if (container_reread(&c, NULL) < 0)
            return -1;
    }
    started = c.row.started_ns;
    /* who starts it holds the lock until its process is there, and with it its log */
    if (container_lock(&c, NULL) < 0)
        return -1;
    container_unlock(&c);
    return started;
}

static int follow(struct app *app, const struct stream_request *r)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    int code;

    strlist_copy(&words, r->options);
    if (r->after_ns >= 0) {
        int64_t started = wait_for_life(app, r->id, r->after_ns);
        cleanup_free char *stamp = started > 0 ? units_stamp(started) : NULL;

        if (started < 0)
            return 1;
        if (r->after_ns > 0) { /* what an earlier life said was shown then */
            strlist_add(&words, "--since");
            strlist_add(&words, stamp);
        }
    }
    strlist_add(&words, r->id);
    code = command_call(app, "logs", &words, &err);
    if (code < 0)
        fprintf(stderr, "%s\n", err.msg);
    return code ? 1 : 0;
}

static void begin(struct streams *s, struct stream *one, const struct stream_request *r)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    const pid_t self = getpid();

    jobs_rest(s->app);
    fflush(NULL);
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
        return;
    one->pid = fork();
    if (one->pid == 0) {
        parent_tie(self);
        signal(SIGINT, SIG_IGN); /* who is told to end lets the last lines come through */
        signal(SIGTERM, SIG_DFL);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        follow(s->app, r);
        app_clear(s->app);
        fflush(NULL);
        _exit(0);
    }
    close(out[1]);
    close(err[1]);
    one->ends[0].fd = out[0];
    one->ends[1].fd = err[0];
    one->ends[0].to = stdout;
    one->ends[1].to = r->both_to_stdout ? stdout : stderr;
}

void streams_add(struct streams *s, const struct stream_request *r)
{
    static const char *const rainbow[] = {"36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1"};
    struct stream *one;

    if (s->len == STREAMS_MAX)
        return;
    s->items = xreallocarray(s->items, s->len + 1, sizeof(*s->items));
    one = &s->items[s->len++];
    *one = (struct stream){
        .name = xstrdup(r->name),
        .colour = rainbow[s->begun++ % (sizeof(rainbow) / sizeof(rainbow[0]))],
        .stamps = r->stamps,
        .token = r->token,
        .ends = {{.fd = -1}, {.fd = -1}},
    };
    buf_init(&one->ends[0].line, LINE_MAX_BYTES + PIECE);
    buf_init(&one->ends[1].line, LINE_MAX_BYTES + PIECE);
    s->width = strlen(r->name) > s->width ? strlen(r->name) : s->width;
    begin(s, one, r);
}

/* ---- lines ---- */

static void print_line(const struct streams *s, const struct stream *one, FILE *to, const char *line, size_t len)
{
    if (s->prefix && s->colours)
        fprintf(to, "\033[%sm%-*s | \033[0m", one->colour, (int)s->width + 1, one->name);
    else if (s->prefix)
        fprintf(to, "%-*s | ", (int)s->width + 1, one->name);
    if (one->stamps) {
        struct timespec now;
        cleanup_free char *stamp = NULL;

        clock_gettime(CLOCK_REALTIME, &now);
        stamp = units_stamp((int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
        fprintf(to, "%s ", stamp);
    }
    fwrite(line, 1, len, to);
    fputc('\n', to);
}

static void print_lines(const struct streams *s, const struct stream *one, struct pipe_end *end, bool all)
{
    size_t at = 0;

    for (;;) {
        char *newline = memchr(end->line.data + at, '\n', end->line.len - at);

        if (!newline)
            break;
        print_line(s, one, end->to, end->line.data + at, (size_t)(newline - end->line.data) - at);
        at = (size_t)(newline - end->line.data) + 1;
    }
    buf_consume(&end->line, at);
    if (end->line.len && (all || end->line.len > LINE_MAX_BYTES)) {
        print_line(s, one, end->to, end->line.data, end->line.len);
        buf_reset(&end->line);
    }
    fflush(end->to);
}

static void read_end(const struct streams *s, const struct stream *one, struct pipe_end *end)
{
    char bytes[PIECE];
    ssize_t n = read(end->fd, bytes, sizeof(bytes));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        buf_add(&end->line, bytes, (size_t)n);
        print_lines(s, one, end, false);
        return;
    }
    print_lines(s, one, end, true);
    close(end->fd);
    end->fd = -1;
}

static void drop(struct streams *s, size_t i)
{
    struct stream *one = &s->items[i];

    for (size_t e = 0; e < 2; e++) {
        if (one->ends[e].fd >= 0)
            close(one->ends[e].fd);
        buf_clear(&one->ends[e].line);
    }
    while (one->pid > 0 && waitpid(one->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    free(one->name);
    memmove(one, one + 1, (s->len - i - 1) * sizeof(*one));
    s->len--;
}

int streams_turn(struct streams *s, int64_t timeout_ms, void **ret_token)
{
    struct pollfd fds[2 * STREAMS_MAX];
    size_t which[2 * STREAMS_MAX];
    nfds_t len = 0;

    for (size_t i = 0; i < s->len; i++) {
        if (s->items[i].ends[0].fd < 0 && s->items[i].ends[1].fd < 0) {
            *ret_token = s->items[i].token;
            drop(s, i);
            return 1;
        }
        for (size_t e = 0; e < 2; e++)
            if (s->items[i].ends[e].fd >= 0) {
                which[len] = 2 * i + e;
                fds[len++] = (struct pollfd){.fd = s->items[i].ends[e].fd, .events = POLLIN};
            }
    }
    if (poll(fds, len, (int)timeout_ms) <= 0)
        return 0;
    for (nfds_t i = 0; i < len; i++)
        if (fds[i].revents)
            read_end(s, &s->items[which[i] / 2], &s->items[which[i] / 2].ends[which[i] % 2]);
    return 0;
}

void streams_free(struct streams *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->len; i++)
        if (s->items[i].pid > 0)
            kill(s->items[i].pid, SIGKILL);
    while (s->len)
        drop(s, s->len - 1);
    free(s->items);
    free(s);
}
