#include "backends/agent/health.h"

#include "backends/agent/json.h"
#include "backends/agent/spawn.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND           INT64_C(1000000000)
#define DEFAULT_INTERVAL (30 * SECOND)
#define DEFAULT_TIMEOUT  (30 * SECOND)
#define DEFAULT_START    (5 * SECOND) /* start_interval */
#define DEFAULT_RETRIES  3

struct entry {
    int64_t start_ns, end_ns;
    int code;
    char *output;
};

/* The probe that runs. */
struct probe {
    pid_t pid; /* 0: none runs */
    bool timed_out;
    int64_t start_ns;
    int64_t began; /* loop_now() */
    int fds[2];
    struct loop_io *ios[2];
    int report;
    struct buf output;
    bool cut; /* there was more of it */
};

struct health {
    struct loop *loop;
    char *run_dir;
    struct wire_start words; /* of one probe */
    int64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns;
    uint32_t retries;
    void (*changed)(void *arg);
    void *arg;

    uint8_t status;
    unsigned streak;
    struct entry log[HEALTH_LOG];
    size_t n_log;
    int64_t life_began; /* loop_now() */
    bool watching;      /* a life, and it is not paused */
    struct loop_timer *interval_timer, *timeout_timer;
    struct probe probe;
};

static void on_interval(struct loop *loop, void *arg);
static void on_timeout(struct loop *loop, void *arg);

static int64_t wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * SECOND + ts.tv_nsec;
}

/* Up to a millisecond: no check is early, and none is a loop. */
static int64_t to_ms(int64_t ns)
{
    return ns / 1000000 + (ns % 1000000 != 0);
}

/* ---- life ---- */

/* The words of a probe: test[0] says how the others are meant. False if there is no test. */
static bool take_test(const struct wire_health *check, struct strlist *argv)
{
    const struct strlist *test = &check->test;
    bool shell = test->len && !strcmp(test->items[0], "CMD-SHELL");

    if (test->len < 2 || (!shell && strcmp(test->items[0], "CMD") != 0))
        return false;
    if (shell) {
        strlist_add(argv, "/bin/sh");
        strlist_add(argv, "-c");
    }
    for (size_t i = 1; i < test->len; i++)
        strlist_add(argv, test->items[i]);
    return true;
}

static int64_t or_default(int64_t given, int64_t otherwise)
{
    return given ? given : otherwise;
}

struct health *health_new(struct loop *loop, const char *run_dir, const struct wire_start *start,
                          void (*changed)(void *arg), void *arg)
{
    const struct wire_health *check = &start->health;
    struct strlist argv = STRLIST_INIT;
    struct health *h;

    if (!take_test(check, &argv))
        return NULL;
    h = xcalloc(1, sizeof(*h));
    *h = (struct health){.loop = loop,
                         .run_dir = xstrdup(run_dir),
                         .interval_ns = or_default(check->interval_ns, DEFAULT_INTERVAL),
                         .timeout_ns = or_default(check->timeout_ns, DEFAULT_TIMEOUT),
                         .start_period_ns = check->start_period_ns,
                         .start_interval_ns = or_default(check->start_interval_ns, DEFAULT_START),
                         .retries = check->retries ? check->retries : DEFAULT_RETRIES,
                         .changed = changed,
                         .arg = arg,
                         .status = WIRE_HEALTH_STARTING,
                         .probe = {.fds = {-1, -1}, .report = -1}};
    h->words = (struct wire_start){.user = xstrdup(start->user), .cwd = xstrdup(start->cwd), .argv = argv};
    strlist_copy(&h->words.env, &start->env);
    strlist_copy(&h->words.terms, &start->terms);
    buf_init(&h->probe.output, HEALTH_OUTPUT);
    h->interval_timer = loop_timer_add(loop, 0, on_interval, h);
    h->timeout_timer = loop_timer_add(loop, 0, on_timeout, h);
    loop_timer_stop(h->interval_timer);
    loop_timer_stop(h->timeout_timer);
    return h;
}

static void close_streams(struct probe *p)
{
    for (int i = 0; i < 2; i++) {
        loop_io_del(p->ios[i]);
        p->ios[i] = NULL;
        if (p->fds[i] >= 0)
            close(p->fds[i]);
        p->fds[i] = -1;
    }
    if (p->report >= 0)
        close(p->report);
    p->report = -1;
}

/* The probe under way is of no interest any more. Init reaps it as it does any orphan. */
static void drop_probe(struct health *h)
{
    struct probe *p = &h->probe;

    loop_timer_stop(h->timeout_timer);
    if (p->pid) {
        kill(-p->pid, SIGKILL);
        kill(p->pid, SIGKILL);
    }
    p->pid = 0;
    close_streams(p);
    buf_reset(&p->output);
}

void health_free(struct health *h)
{
    if (!h)
        return;
    drop_probe(h);
    for (size_t i = 0; i < h->n_log; i++)
        free(h->log[i].output);
    loop_timer_del(h->interval_timer);
    loop_timer_del(h->timeout_timer);
    wire_start_clear(&h->words);
    buf_clear(&h->probe.output);
    free(h->run_dir);
    free(h);
}

static bool in_start_period(const struct health *h, int64_t at)
{
    return at - h->life_began < to_ms(h->start_period_ns);
}

static void wait_interval(struct health *h)
{
    bool early = h->status == WIRE_HEALTH_STARTING && in_start_period(h, loop_now());

    loop_timer_set(h->interval_timer, to_ms(early ? h->start_interval_ns : h->interval_ns));
}

static void set_status(struct health *h, uint8_t status)
{
    if (h->status == status)
        return;
    h->status = status;
    h->changed(h->arg);
}

void health_begin(struct health *h)
{
    if (!h)
        return;
    h->life_began = loop_now();
    h->watching = true;
    h->streak = 0;
    set_status(h, WIRE_HEALTH_STARTING);
    wait_interval(h);
}

/* Not told as a change: nobody has looked. */
void health_end(struct health *h)
{
    if (!h || !h->watching)
        return;
    h->watching = false;
    h->status = WIRE_HEALTH_UNHEALTHY;
    loop_timer_stop(h->interval_timer);
    drop_probe(h);
}

void health_pause(struct health *h)
{
    health_end(h);
}

void health_unpause(struct health *h)
{
    if (!h)
        return;
    h->watching = true;
    wait_interval(h);
}

/* ---- results ---- */

static void add_entry(struct health *h, const struct entry *e)
{
    if (h->n_log == HEALTH_LOG) {
        free(h->log[0].output);
        memmove(h->log, h->log + 1, (HEALTH_LOG - 1) * sizeof(h->log[0]));
        h->n_log--;
    }
    h->log[h->n_log++] = *e;
}

/* Takes output over. */
static void take_result(struct health *h, int code, char *output)
{
    struct probe *p = &h->probe;
    const struct entry e = {.start_ns = p->start_ns, .end_ns = wall_ns(), .code = code, .output = output};
    bool counts = h->status != WIRE_HEALTH_STARTING || !in_start_period(h, p->began);
    uint8_t status = h->status;

    loop_timer_stop(h->timeout_timer);
    p->pid = 0;
    close_streams(p);
    add_entry(h, &e);
    if (code == 0) {
        h->streak = 0;
        status = WIRE_HEALTH_HEALTHY;
    } else if (counts && ++h->streak >= h->retries) {
        status = WIRE_HEALTH_UNHEALTHY;
    }
    set_status(h, status);
    wait_interval(h);
}

/* A duration as Go prints it: 1m30s, 2.5s, 500ms. */
static char *duration_text(int64_t ns)
{
    struct buf b = BUF_INIT(64);
    int64_t unit = ns < 1000 ? 1 : ns < 1000000 ? 1000 : ns < SECOND ? 1000000 : SECOND;
    int64_t whole = ns / unit, part = ns % unit;
    int digits = unit == 1 ? 0 : unit == 1000 ? 3 : unit == 1000000 ? 6 : 9;

    if (unit == SECOND && whole >= 3600)
        buf_addf(&b, "%lldh", (long long)(whole / 3600));
    if (unit == SECOND && whole >= 60) {
        buf_addf(&b, "%lldm", (long long)(whole / 60 % 60));
        whole %= 60;
    }
    buf_addf(&b, "%lld", (long long)whole);
    while (part && part % 10 == 0) {
        part /= 10;
        digits--;
    }
    if (part)
        buf_addf(&b, ".%0*lld", digits, (long long)part);
    buf_adds(&b, unit == 1 ? "ns" : unit == 1000 ? "\u00b5s" : unit == 1000000 ? "ms" : "s");
    return buf_detach(&b);
}

static char *timeout_text(const struct health *h)
{
    char *limit = duration_text(h->timeout_ns), *text;
    const struct probe *p = &h->probe;

    text = p->output.len
               ? xasprintf("Health check exceeded timeout (%s): %s%s", limit, p->output.data, p->cut ? "..." : "")
               : xasprintf("Health check exceeded timeout (%s)", limit);
    free(limit);
    return text;
}

/* ---- one probe ---- */

/* Keeps the first HEALTH_OUTPUT bytes. False: the stream has no more now, or ever. */
static bool read_some(struct health *h, int i)
{
    struct probe *p = &h->probe;
    char bytes[4096];
    ssize_t n = p->fds[i] < 0 ? 0 : read(p->fds[i], bytes, sizeof(bytes));
    size_t room = HEALTH_OUTPUT - p->output.len;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        if (p->ios[i])
            loop_io_set(p->ios[i], 0);
        return false;
    }
    for (ssize_t k = 0; k < n; k++) /* what is kept is a string */
        if (!bytes[k])
            bytes[k] = '\x1a';
    p->cut |= (size_t)n > room;
    buf_add(&p->output, bytes, (size_t)n < room ? (size_t)n : room);
    return true;
}

static void on_output(struct loop *loop, int fd, short revents, void *arg)
{
    struct health *h = arg;

    (void)loop;
    (void)revents;
    read_some(h, fd == h->probe.fds[1]);
}

static void on_timeout(struct loop *loop, void *arg)
{
    struct health *h = arg;
    struct probe *p = &h->probe;

    (void)loop;
    if (!p->pid)
        return;
    p->timed_out = true; /* told when it is reaped, so that dying probes do not pile up */
    kill(-p->pid, SIGKILL);
    kill(p->pid, SIGKILL);
}

static void start_probe(struct health *h, const struct spawned *made)
{
    struct probe *p = &h->probe;

    p->pid = made->pid;
    p->fds[0] = made->out;
    p->fds[1] = made->err;
    p->report = made->report;
    for (int i = 0; i < 2; i++)
        p->ios[i] = loop_io_add(h->loop, p->fds[i], POLLIN, on_output, h);
    loop_timer_set(h->timeout_timer, to_ms(h->timeout_ns));
}

static void on_interval(struct loop *loop, void *arg)
{
    struct health *h = arg;
    struct probe *p = &h->probe;
    struct spawned made;
    cleanup_err struct err err = ERR_INIT;

    (void)loop;
    if (!h->watching || p->pid)
        return;
    buf_reset(&p->output);
    p->cut = p->timed_out = false;
    p->start_ns = wall_ns();
    p->began = loop_now();
    if (spawn(&h->words, h->run_dir, &made, &err) == 0)
        start_probe(h, &made);
    else
        take_result(h, -1, xstrdup(err.msg));
}

/* Why its program never ran, in the words of docker exec; NULL if it did. */
static char *refusal_text(struct probe *p)
{
    cleanup_with(wire_exit_clear) struct wire_exit refusal = {0};

    if (spawn_report(p->report, &refusal) == 0)
        return NULL;
    if (refusal.refusal >= WIRE_REFUSAL_USER)
        return xstrdup(refusal.text);
    return xasprintf("OCI runtime exec failed: exec failed: unable to start container process: %s: unknown",
                     refusal.text);
}

/* A background child may hold the streams: what is in them now is all that counts. */
bool health_reaped(struct health *h, pid_t pid, int status)
{
    struct probe *p = h ? &h->probe : NULL;
    char *why;

    if (!p || !p->pid || p->pid != pid)
        return false;
    for (int i = 0; i < 2; i++)
        for (int turn = 0; turn < 64 && read_some(h, i); turn++)
            ;
    why = refusal_text(p);
    if (why)
        take_result(h, -1, why);
    else if (p->timed_out)
        take_result(h, -1, timeout_text(h));
    else
        take_result(h, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
                    xasprintf("%s%s", p->output.data, p->cut ? "..." : ""));
    return true;
}

/* ---- told ---- */

uint8_t health_status(const struct health *h)
{
    return h ? h->status : WIRE_HEALTH_NONE;
}

void health_write(const struct health *h, struct buf *b)
{
    buf_addf(b, "{\"Status\":\"%s\",\"FailingStreak\":%u,\"Log\":[", wire_health_name(health_status(h)),
             h ? h->streak : 0);
    for (size_t i = 0; h && i < h->n_log; i++) {
        const struct entry *e = &h->log[i];

        buf_adds(b, i ? ",{\"Start\":" : "{\"Start\":");
        json_time(b, e->start_ns);
        buf_adds(b, ",\"End\":");
        json_time(b, e->end_ns);
        buf_addf(b, ",\"ExitCode\":%d,\"Output\":", e->code);
        json_string(b, e->output, strlen(e->output));
        buf_addc(b, '}');
    }
    buf_adds(b, "]}\n");
}
