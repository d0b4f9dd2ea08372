/*
 * ASK LOGS: the log's file, read piece by piece as the client takes it. The last lines are found by counting all of
 * them first: two more passes over the file instead of memory for what may be any number of lines.
 */
#include "backends/agent/agent.h"
#include "backends/agent/answer.h"
#include "backends/agent/log.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_FIRST 10 /* ms between two looks at a log that is followed; longer while nothing comes */
#define LOOK_MOST  200
#define FRAME_HEAD 9 /* of a LOG frame's payload */

struct logs {
    int fd;
    struct log_reader reader;
    struct wire_log_skipper skipper;
    struct loop_timer *timer;
    int64_t pause;
    struct wire_log_record rest; /* what found no room */
};

static void send_logs(struct answer *a);

/* Calls fn for each record that is there. */
static int each_record(struct logs *l, void (*fn)(void *arg, const struct wire_log_record *r), void *arg)
{
    struct wire_log_record r;
    int got;

    log_reader_init(&l->reader, l->fd);
    while ((got = log_reader_next(&l->reader, &r)) > 0)
        fn(arg, &r);
    log_reader_clear(&l->reader);
    return got;
}

static void count(void *arg, const struct wire_log_record *r)
{
    wire_log_count(arg, r);
}

static void skip(void *arg, const struct wire_log_record *r)
{
    wire_log_skip(arg, r);
}

/* Finds what comes before the last `tail` lines; the client is told how many there are. */
static void find_tail(struct answer *a, struct logs *l)
{
    struct wire_log_lines lines = {0};
    uint64_t all, tail = (uint64_t)a->ask.tail;
    cleanup_buf struct buf b = BUF_INIT(64);

    each_record(l, count, &lines);
    all = wire_log_lines(&lines);
    if (all > tail) {
        l->skipper.left = all - tail;
        each_record(l, skip, &l->skipper);
        wire_log_skip_open(&l->skipper, &lines);
    }
    wire_put_log(&b, (int64_t)(all < tail ? all : tail), WIRE_STREAM_STDOUT, NULL, 0);
    answer_send(a, WIRE_LOG, b.data + WIRE_HEADER, b.len - WIRE_HEADER);
}

static bool wanted(const struct wire_ask *ask, const struct wire_log_record *r)
{
    if (!(ask->flags & (r->stream == WIRE_STREAM_STDERR ? WIRE_ASK_STDERR : WIRE_ASK_STDOUT)))
        return false;
    return r->time_ns >= ask->since_ns && (!ask->until_ns || r->time_ns < ask->until_ns);
}

/* Sends a record, in two when there is no room for all of it; false: the rest waits. */
static bool send_record(struct answer *a, struct wire_log_record *r)
{
    while (r->len) {
        cleanup_buf struct buf b = BUF_INIT(WIRE_CHUNK + 64);
        size_t room = answer_room(a), n = r->len;

        if (room <= FRAME_HEAD)
            return false;
        if (n > room - FRAME_HEAD)
            n = room - FRAME_HEAD;
        wire_put_log(&b, r->time_ns, r->stream, r->bytes, n);
        answer_send(a, WIRE_LOG, b.data + WIRE_HEADER, b.len - WIRE_HEADER);
        r->bytes += n;
        r->len -= n;
    }
    return true;
}

static void on_look(struct loop *loop, void *arg)
{
    (void)loop;
    send_logs(arg);
}

/* Everything that is there is sent: that was it, or the next look is set. */
static void at_end(struct answer *a, bool sent_some)
{
    struct logs *l = a->state;

    if (!(a->ask.flags & WIRE_ASK_FOLLOW) || a->main_state == WIRE_MAIN_ENDED) {
        answer_done(a);
        return;
    }
    l->pause = sent_some ? LOOK_FIRST : l->pause * 2 < LOOK_MOST ? l->pause * 2 : LOOK_MOST;
    loop_timer_set(l->timer, l->pause);
}

static void send_logs(struct answer *a)
{
    struct logs *l = a->state;
    bool sent_some = false;
    int got;

    if (a->over || !send_record(a, &l->rest))
        return;
    while ((got = log_reader_next(&l->reader, &l->rest)) > 0) {
        wire_log_cut(&l->skipper, &l->rest);
        if (!wanted(&a->ask, &l->rest))
            l->rest.len = 0;
        if (!send_record(a, &l->rest))
            return;
        sent_some = true;
    }
    if (got < 0) {
        cleanup_err struct err err = ERR_INIT;

        err_set(&err, 1, "the container's log is damaged");
        answer_refuse(a, &err);
        return;
    }
    at_end(a, sent_some);
}

static int start_logs(struct answer *a, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/log", a->options->run_dir);
    cleanup_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct logs *l;

    if (fd < 0 && errno != ENOENT)
        return err_set_errno(err, 1, errno, "reading the container's log");
    if (fd < 0) /* nothing was kept: as a log driver that keeps nothing */
        return err_set(err, 1, "the container keeps no log");
    a->state = l = xcalloc(1, sizeof(*l));
    l->fd = steal_fd(&fd);
    l->timer = loop_timer_add(a->loop, 0, on_look, a);
    loop_timer_stop(l->timer);
    if (a->ask.tail >= 0)
        find_tail(a, l);
    log_reader_init(&l->reader, l->fd);
    send_logs(a);
    return 0;
}

static void clear_logs(struct answer *a)
{
    struct logs *l = a->state;

    if (!l)
        return;
    log_reader_clear(&l->reader);
    loop_timer_del(l->timer);
    close(l->fd);
    free(l);
}

const struct answer_kind answer_logs = {.start = start_logs, .go_on = send_logs, .clear = clear_logs, .follows = true};
