/*
 * What ASK STATS answers: the sum of all the container's processes, as one line of JSON:
 *
 *     {"read_ns":..,"cpu_ns":..,"system_cpu_ns":..,"online_cpus":..,"mem_bytes":..,"mem_limit":..,"pids":..,"net_rx":..,
 *      "net_tx":..,"blk_read":..,"blk_write":..}
 *
 * cpu_ns counts those that have ended as well, as far as their parents have waited for them. system_cpu_ns is the whole
 * machine's, 0 where it does not say. mem_bytes is what is resident; pages that several share count for each. mem_limit
 * is the cgroup's, or all that there is. pids are threads, as Docker counts. net is of all interfaces but the loopback.
 */
#include "backends/agent/answer.h"
#include "backends/agent/proc.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EVERY_MS     1000
#define LINE_MAX_LEN 1024u
#define TEXT_MAX     (16u << 10) /* of a file below /proc: what is summed stands at its start */

struct sums {
    pid_t init;
    uint64_t cpu_ticks, rss_pages, threads, blk_read, blk_write;
};

/* The start of a file; "" if it cannot be read. */
static char *read_start(const char *path, char text[TEXT_MAX])
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_MAX - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* utime stime cutime cstime of a process; see top.c for the other fields. */
static bool read_stat(pid_t pid, uint64_t ticks[4], uint64_t *threads, uint64_t *rss)
{
    char text[1024];
    const char *at;
    ssize_t n = proc_read(pid, "stat", text, sizeof(text) - 1);

    if (n <= 0)
        return false;
    text[n] = '\0';
    at = strrchr(text, ')');
    return at && sscanf(at + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                        " %*d %*d %" SCNu64 " %*d %*u %*u %" SCNu64,
                        &ticks[0], &ticks[1], &ticks[2], &ticks[3], threads, rss) == 6;
}

static uint64_t number_behind(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static void add_process(void *arg, pid_t pid, pid_t parent)
{
    struct sums *s = arg;
    uint64_t ticks[4], threads, rss;
    char text[1024];
    ssize_t n;

    (void)parent;
    if (!read_stat(pid, ticks, &threads, &rss))
        return;
    s->cpu_ticks += ticks[0] + ticks[1] + ticks[2] + ticks[3];
    s->rss_pages += rss;
    s->threads += threads;
    n = proc_read(pid, "io", text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    s->blk_read += number_behind(text, "\nread_bytes: ");
    s->blk_write += number_behind(text, "\nwrite_bytes: ");
}

/* "cpu  user nice system idle iowait irq softirq steal guest guest_nice": the last two are part of the first ones. */
static uint64_t machine_ticks(void)
{
    char text[TEXT_MAX], *at = read_start("/proc/stat", text);
    uint64_t all = 0;

    if (strncmp(at, "cpu ", 4) != 0)
        return 0;
    at += 4;
    for (int i = 0; i < 8; i++)
        all += strtoull(at, &at, 10);
    return all;
}

/* "  eth0: rx_bytes 7 others tx_bytes ..." */
static void read_net(uint64_t *rx, uint64_t *tx)
{
    char text[TEXT_MAX], *line = read_start("/proc/net/dev", text), *next;

    *rx = *tx = 0;
    for (; line; line = next) {
        char *colon;
        uint64_t in, out;

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        line += strspn(line, " ");
        colon = strchr(line, ':');
        if (!colon || !strncmp(line, "lo:", 3) ||
            sscanf(colon + 1, "%" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, &in, &out) != 2)
            continue;
        *rx += in;
        *tx += out;
    }
}

static uint64_t memory_limit(uint64_t page)
{
    static const char *const paths[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * page;
    char text[TEXT_MAX];

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        uint64_t limit = strtoull(read_start(paths[i], text), NULL, 10);

        if (limit && limit < all)
            return limit;
    }
    return all;
}

static int add_line(pid_t init, struct buf *b, struct err *err)
{
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK), page = (uint64_t)sysconf(_SC_PAGESIZE), tick = 1000000000 / hz;
    uint64_t own[4] = {0}, none, rx, tx;
    struct sums s = {.init = init};
    struct timespec now;

    if (!proc_each(init, add_process, &s))
        return err_set(err, 1, "the container's processes cannot be counted: it has no /proc");
    if (read_stat(init, own, &none, &none)) /* what init has waited for */
        s.cpu_ticks += own[2] + own[3];
    read_net(&rx, &tx);
    clock_gettime(CLOCK_REALTIME, &now);
    return buf_addf(b,
                    "{\"read_ns\":%" PRId64 ",\"cpu_ns\":%" PRIu64 ",\"system_cpu_ns\":%" PRIu64
                    ",\"online_cpus\":%ld,\"mem_bytes\":%" PRIu64 ",\"mem_limit\":%" PRIu64 ",\"pids\":%" PRIu64
                    ",\"net_rx\":%" PRIu64 ",\"net_tx\":%" PRIu64 ",\"blk_read\":%" PRIu64 ",\"blk_write\":%" PRIu64
                    "}\n",
                    (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, s.cpu_ticks * tick, machine_ticks() * tick,
                    sysconf(_SC_NPROCESSORS_ONLN), s.rss_pages * page, memory_limit(page), s.threads, rx, tx,
                    s.blk_read, s.blk_write);
}

/* ---- the answer ---- */

struct stats_state {
    struct answer *answer;
    struct loop_timer *timer; /* NULL: one line is all */
    struct buf line;
    size_t sent;
};

/* A reader that is slow misses lines: what is sent is whole. */
static void send_line(struct stats_state *s)
{
    while (s->sent < s->line.len) {
        size_t room = answer_room(s->answer), n = s->line.len - s->sent;

        if (!room)
            return;
        n = n < room ? n : room;
        answer_send(s->answer, WIRE_STDOUT, s->line.data + s->sent, n);
        s->sent += n;
    }
}

static void on_second(struct loop *loop, void *arg)
{
    struct stats_state *s = arg;

    (void)loop;
    if (s->sent == s->line.len) {
        buf_reset(&s->line);
        s->sent = 0;
        add_line(s->answer->init_pid, &s->line, NULL);
    }
    send_line(s);
    loop_timer_set(s->timer, EVERY_MS);
}

static void stats_go_on(struct answer *a)
{
    struct stats_state *s = a->state;

    send_line(s);
    if (s->sent == s->line.len && (!s->timer || a->main_state == WIRE_MAIN_ENDED))
        answer_done(a);
}

static int stats_start(struct answer *a, struct err *err)
{
    struct stats_state *s;

    if (a->main_state != WIRE_MAIN_RUNNING)
        return err_set(err, 1, "the container is not running");
    a->state = s = xcalloc(1, sizeof(*s));
    s->answer = a;
    buf_init(&s->line, LINE_MAX_LEN);
    if (add_line(a->init_pid, &s->line, err) < 0)
        return -1;
    if (a->ask.flags & WIRE_ASK_FOLLOW)
        s->timer = loop_timer_add(a->loop, EVERY_MS, on_second, s);
    stats_go_on(a);
    return 0;
}

static void stats_clear(struct answer *a)
{
    struct stats_state *s = a->state;

    if (!s)
        return;
    loop_timer_del(s->timer);
    buf_clear(&s->line);
    free(s);
}

const struct answer_kind answer_stats = {
    .start = stats_start, .go_on = stats_go_on, .clear = stats_clear, .follows = true};
