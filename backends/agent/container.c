#include "backends/agent/container.h"

#include "backends/agent/agent.h"
#include "backends/agent/health.h"
#include "backends/agent/job.h"
#include "backends/agent/link.h"
#include "backends/agent/log.h"
#include "backends/agent/names.h"
#include "backends/agent/proc.h"
#include "backends/agent/record.h"
#include "backends/agent/terms.h"
#include "backends/agent/volume_keeper.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The pauses between restarts are Docker's. */
#define BACK_OFF_FIRST 100
#define BACK_OFF_MOST  60000
#define BACK_OFF_RESET 10000 /* a life of this length makes the next pause the first one again */

#define HEALTH_LINE_MAX (256u << 10) /* five outputs of 4 KiB, each byte escaped */
#define PAUSE_LOOKS     20

#define NOT_RUNNING "is not running"
#define RESTARTING  "is restarting, wait until the container is running"
#define PAUSED      "is paused, unpause the container before exec"

static void on_back_off(struct loop *loop, void *arg);
static void on_kill(struct loop *loop, void *arg);
static void on_health(void *arg);
static void on_restored(void *arg, const char *why);
static void end_for_good(struct container *c);

void container_init(struct container *c)
{
    c->back_off_timer = loop_timer_add(c->loop, 0, on_back_off, c);
    c->kill_timer = loop_timer_add(c->loop, 0, on_kill, c);
    loop_timer_stop(c->back_off_timer);
    loop_timer_stop(c->kill_timer);
}

void container_clear(struct container *c)
{
    while (c->waiters) {
        struct waiter *next = c->waiters->next;

        free(c->waiters);
        c->waiters = next;
    }
    wire_start_clear(&c->start);
    wire_exit_clear(&c->exit);
    log_close(c->log);
    health_free(c->health);
    names_free(c->names);
    keeper_free(c->keeper);
    loop_timer_del(c->back_off_timer);
    loop_timer_del(c->kill_timer);
}

static int64_t wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

const char *container_refusal(const struct container *c)
{
    bool lives_on = !c->stopped && c->start.restart != WIRE_RESTART_NO;

    if (c->state == WIRE_MAIN_ENDED)
        return NOT_RUNNING;
    if (c->state == WIRE_MAIN_RUNNING && (!c->job || c->dying))
        return lives_on || c->again ? RESTARTING : NOT_RUNNING;
    if (c->paused)
        return PAUSED;
    return NULL;
}

int container_exit_code(const struct container *c)
{
    switch (c->state == WIRE_MAIN_NONE ? WIRE_EXIT_CODE : c->exit.kind) {
    case WIRE_EXIT_SIGNAL:
        return 128 + c->exit.value;
    default:
        return c->exit.value;
    }
}

/* ---- the beginning of a life ---- */

static int begin(struct container *c, struct err *err)
{
    const struct job_context context = {c->loop, c->options, &c->views, c->log, c->events, c->arg};

    c->job = job_start(&context, &c->start, err);
    if (!c->job)
        return -1;
    c->state = WIRE_MAIN_RUNNING;
    c->dying = c->again = false;
    c->last_save = NOT_SAVED;
    keeper_go(c->keeper);
    names_join(c->names);
    c->began = loop_now();
    c->started_ns = wall_ns();
    if (c->stdin_over)
        job_end_stdin(c->job);
    c->made(c->arg, c->job);
    return 0;
}

/* They outlive each life of the process. What they lack is told where init's own words go. */
static void start_names(struct container *c)
{
    cleanup_free char *note = NULL;

    if (c->start.names.self && !c->names)
        c->names = names_new(c->loop, c->options, &c->start.names, &note);
    if (note)
        dprintf(STDERR_FILENO, "atp-agent: %s\n", note);
}

int container_start(struct container *c, struct wire_start *start, struct view *view, struct err *err)
{
    if (c->state != WIRE_MAIN_NONE || c->keeper)
        return err_set(err, 125, "the container's process runs already");
    if (record_save(c->options->run_dir, start->record ? start->record : "", err) < 0)
        return -1;
    if ((start->flags & WIRE_START_LOG) && !c->log) {
        c->log = log_open(c->options->run_dir, err);
        if (!c->log)
            return -1;
    }
    wire_start_clear(&c->start);
    c->start = *start;
    *start = (struct wire_start){0};
    health_free(c->health); /* of a START that was refused */
    c->health = health_new(c->loop, c->options->run_dir, &c->start, on_health, c);
    if (terms_settle(&c->start.terms, c->options, err) < 0)
        return -1;
    start_names(c);
    free(c->start.record); /* the file has it */
    c->start.record = NULL;
    if (keeper_new(c->loop, c->options, c->start.volumes, &c->start.names, &c->keeper, err) < 0)
        return -1;
    views_join(&c->views, view);
    if (c->keeper && keeper_restore(c->keeper, on_restored, c, err) == 0) {
        link_pause(view->link, true); /* what is for the process waits for it */
        return 0;
    }
    if (!c->keeper && begin(c, err) == 0)
        return 0;
    views_leave(&c->views, view);
    return -1;
}

/* ---- the end of a life ---- */

/* Tells those who wait for the end, or for the beginning, which an end for good is not. */
static void tell_waiters(struct container *c, bool started)
{
    const struct wire_exit done = {.kind = WIRE_EXIT_CODE};

    for (struct waiter **p = &c->waiters; *p;) {
        struct waiter *w = *p;

        if (started && w->kind != WAITS_FOR_START) { /* the others wait for an end */
            p = &w->next;
            continue;
        }
        *p = w->next;
        if (started) {
            view_started(w->view, job_pid(c->job));
            view_exit(w->view, c->exit.kind == WIRE_EXIT_REFUSED ? &done : &c->exit); /* of the life before */
        } else {
            view_exit(w->view, w->kind != WAITS_FOR_END && w->kind != WAITS_FOR_START ? &done : &c->exit);
        }
        free(w);
    }
}

static void on_saved(void *arg, const char *why)
{
    struct container *c = arg;
    cleanup_free char *line = why ? xasprintf("docker: %s\n", why) : NULL;

    for (struct view *v = line ? c->views.first : NULL; v; v = v->next)
        if (v->listens) /* who looks on is told; who settles the container saves again, and is told too */
            view_write(v, c->start.flags & WIRE_START_TTY ? 0 : 1, line, strlen(line));
    c->last_save = IS_SAVED;
    if (!c->job) /* it may have been started again meanwhile */
        end_for_good(c);
}

/* Its volumes are saved first: who is told of the end may take the sandbox away. */
static void end_for_good(struct container *c)
{
    if (c->last_save == NOT_SAVED && keeper_last(c->keeper, on_saved, c))
        c->last_save = IS_SAVING;
    if (c->last_save == IS_SAVING)
        return;
    c->state = WIRE_MAIN_ENDED;
    names_leave(c->names);
    c->dying = false;
    loop_timer_stop(c->kill_timer);
    loop_timer_stop(c->back_off_timer);
    views_exit(&c->views, &c->exit);
    tell_waiters(c, /* started= */ false);
    c->over(c->arg);
}

/* A life that could not begin is the last one: its refusal is how it ended. */
static void end_refused(struct container *c, const struct err *err)
{
    wire_exit_clear(&c->exit);
    c->exit = (struct wire_exit){.kind = WIRE_EXIT_REFUSED,
                                 .refusal = WIRE_REFUSAL_OTHER,
                                 .value = err->exit_code ? err->exit_code : 125,
                                 .text = xstrdup(err->msg)};
    c->ended_ns = wall_ns();
    end_for_good(c);
}

static void begin_again(struct container *c)
{
    cleanup_err struct err err = ERR_INIT;

    if (begin(c, &err) < 0)
        end_refused(c, &err);
}

/* Its volumes are in place, or could not be brought there: then it never runs. */
static void on_restored(void *arg, const char *why)
{
    struct container *c = arg;
    cleanup_err struct err err = ERR_INIT;

    if (!why) {
        begin_again(c);
    } else {
        err_set(&err, 125, "%s", why);
        c->last_save = IS_SAVED; /* there is nothing to be saved */
        end_refused(c, &err);
    }
    for (struct view *v = c->views.first, *next; v; v = next) {
        next = v->next;
        link_pause(v->link, false);
    }
}

void container_started(struct container *c)
{
    health_begin(c->health);
    tell_waiters(c, /* started= */ true);
}

static void on_back_off(struct loop *loop, void *arg)
{
    struct container *c = arg;

    (void)loop;
    c->restarts++;
    begin_again(c);
}

static bool policy_wants_more(const struct container *c)
{
    if (c->stopped || c->exit.kind == WIRE_EXIT_REFUSED)
        return false;
    switch (c->start.restart) {
    case WIRE_RESTART_ALWAYS:
    case WIRE_RESTART_UNLESS_STOPPED:
        return true;
    case WIRE_RESTART_ON_FAILURE:
        return container_exit_code(c) != 0 && (!c->start.restart_max || c->restarts < c->start.restart_max);
    default:
        return false;
    }
}

static void arm_back_off(struct container *c)
{
    if (!c->back_off || loop_now() - c->began >= BACK_OFF_RESET)
        c->back_off = BACK_OFF_FIRST;
    else
        c->back_off = 2 * c->back_off < BACK_OFF_MOST ? 2 * c->back_off : BACK_OFF_MOST;
    loop_timer_set(c->back_off_timer, c->back_off);
}

void container_reaped(struct container *c)
{
    health_end(c->health);
    c->dying = true;
    c->paused = false;
    c->ended_ns = wall_ns();
    loop_timer_stop(c->kill_timer);
}

void container_ended(struct container *c, const struct wire_exit *e)
{
    wire_exit_clear(&c->exit);
    c->exit = *e;
    c->exit.text = xstrdup(e->text);
    c->job = NULL;
    if (c->again)
        begin_again(c);
    else if (policy_wants_more(c))
        arm_back_off(c);
    else
        end_for_good(c);
}

void container_stop_restarts(struct container *c)
{
    c->stopped = true;
    c->again = false;
    if (c->state == WIRE_MAIN_RUNNING && !c->job)
        end_for_good(c);
}

/* ---- pause ---- */

/* All processes of the container are stopped but init itself; those that are made meanwhile by one that was not
 * stopped yet are met by the next look. */
static void stop_all(void)
{
    int before = -1, now = proc_signal_all(SIGSTOP, 0);

    for (int i = 0; i < PAUSE_LOOKS && now != before; i++) {
        before = now;
        now = proc_signal_all(SIGSTOP, 0);
    }
}

void container_go_on(struct container *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    proc_signal_all(SIGCONT, 0);
    if (c->job && !c->dying)
        health_unpause(c->health);
}

/* ---- asked ---- */

static void wait_for(struct container *c, struct view *view, enum waiter_kind kind)
{
    struct waiter *w = xcalloc(1, sizeof(*w));

    *w = (struct waiter){.next = c->waiters, .view = view, .kind = kind};
    c->waiters = w;
}

static void on_kill(struct loop *loop, void *arg)
{
    struct container *c = arg;

    (void)loop;
    if (c->job)
        job_signal(c->job, SIGKILL, /* group= */ false);
}

/* The signal now and KILL after the grace. */
static void ask_to_end(struct container *c, const struct wire_ask *ask)
{
    int signo = ask->signo ? ask->signo : c->start.stop_signal ? c->start.stop_signal : SIGTERM;

    if (!c->job || c->dying)
        return;
    job_signal(c->job, signo, /* group= */ false);
    container_go_on(c);
    if (ask->grace_ms >= 0)
        loop_timer_set(c->kill_timer, ask->grace_ms);
}

static int stop(struct container *c, const struct wire_ask *ask, struct view *view)
{
    if (c->state == WIRE_MAIN_ENDED) {
        view_exit(view, &c->exit);
        return 0;
    }
    wait_for(c, view, WAITS_FOR_END);
    c->stopped = true;
    c->again = false;
    if (c->job)
        ask_to_end(c, ask);
    else
        end_for_good(c);
    return 0;
}

static void restart(struct container *c, const struct wire_ask *ask, struct view *view)
{
    wait_for(c, view, WAITS_FOR_START);
    c->stopped = false;
    c->restarts = 0;
    c->back_off = 0;
    loop_timer_stop(c->back_off_timer);
    if (c->job) {
        c->again = true;
        ask_to_end(c, ask);
    } else {
        begin_again(c);
    }
}

/* Any signal that may end it counts as a stop by hand, as Docker has it. */
static bool counts_as_stop(const struct container *c, int signo)
{
    return signo == SIGKILL || !c->start.stop_signal || signo == c->start.stop_signal;
}

static void send_signal(struct container *c, const struct wire_ask *ask, struct view *view)
{
    const struct wire_exit done = {.kind = WIRE_EXIT_CODE};

    if (counts_as_stop(c, ask->signo)) {
        c->stopped = true;
        c->again = false;
    }
    if (c->job && ask->signo)
        job_signal(c->job, ask->signo, /* group= */ false);
    if (counts_as_stop(c, ask->signo))
        container_go_on(c);
    if (ask->signo == SIGKILL && c->job) {
        wait_for(c, view, WAITS_FOR_KILL);
        return;
    }
    view_exit(view, &done);
    if (!c->job && c->stopped)
        end_for_good(c);
}

static int attach(struct container *c, const struct wire_ask *ask, struct view *view)
{
    view->listens = ask->flags & WIRE_ASK_OUTPUT;
    view->feeds = ask->flags & WIRE_ASK_STDIN;
    views_join(&c->views, view);
    if (c->state == WIRE_MAIN_ENDED)
        view_exit(view, &c->exit);
    return 0;
}

static void write_health(struct container *c, struct view *view)
{
    cleanup_buf struct buf line = BUF_INIT(HEALTH_LINE_MAX);

    health_write(c->health, &line);
    view_write(view, 0, line.data, line.len);
}

/* The status has changed. */
static void on_health(void *arg)
{
    struct container *c = arg;

    for (struct waiter *w = c->waiters; w; w = w->next)
        if (w->kind == WAITS_FOR_HEALTH)
            write_health(c, w->view);
}

static void tell_health(struct container *c, const struct wire_ask *ask, struct view *view)
{
    const struct wire_exit done = {.kind = WIRE_EXIT_CODE};

    view->listens = true;
    write_health(c, view);
    if ((ask->flags & WIRE_ASK_FOLLOW) && c->state == WIRE_MAIN_RUNNING)
        wait_for(c, view, WAITS_FOR_HEALTH);
    else
        view_exit(view, &done);
}

static int set_paused(struct container *c, bool paused, struct view *view, struct err *err)
{
    const struct wire_exit done = {.kind = WIRE_EXIT_CODE};

    if (!c->job || c->dying)
        return err_set(err, 1, "%s", c->state == WIRE_MAIN_RUNNING ? RESTARTING : NOT_RUNNING);
    if (c->paused == paused)
        return err_set(err, 1, paused ? "is already paused" : "is not paused");
    if (!proc_available())
        return err_set(err, 1, "cannot be paused: it has no /proc");
    if (paused) {
        c->paused = true;
        health_pause(c->health);
        stop_all();
    } else {
        container_go_on(c);
    }
    view_exit(view, &done);
    return 0;
}

/* The hub has our names, or there is none to wait for. */
static void on_names_told(void *arg)
{
    struct container *c = arg;
    const struct wire_exit done = {.kind = WIRE_EXIT_CODE};

    for (struct waiter **p = &c->waiters; *p;) {
        struct waiter *w = *p;

        if (w->kind != WAITS_FOR_NAMES) {
            p = &w->next;
            continue;
        }
        *p = w->next;
        view_exit(w->view, &done);
        free(w);
    }
}

static void write_address(struct container *c, struct view *view)
{
    char text[INET_ADDRSTRLEN + 1] = "";
    struct in_addr address;

    if (!names_own_address(c->names, &address) || !inet_ntop(AF_INET, &address, text, INET_ADDRSTRLEN))
        return;
    view->listens = true;
    view_write(view, 0, text, strlen(text));
    view_write(view, 0, "\n", 1);
}

static int take_names(struct container *c, const struct wire_ask *ask, struct view *view, struct err *err)
{
    cleanup_with(wire_names_clear) struct wire_names names = {0};

    if (c->state == WIRE_MAIN_ENDED)
        return err_set(err, 1, NOT_RUNNING);
    if (!c->names)
        return err_set(err, 1, "has no names");
    if (wire_names_read(ask->text, &names, err) < 0)
        return -1;
    write_address(c, view);
    wait_for(c, view, WAITS_FOR_NAMES);
    if (*ask->text)
        names_change(c->names, &names, on_names_told, c);
    else
        on_names_told(c);
    return 0;
}

int container_ask(struct container *c, const struct wire_ask *ask, struct view *view, struct err *err)
{
    if (c->state == WIRE_MAIN_NONE)
        return err_set(err, 1, NOT_RUNNING);
    switch (ask->kind) {
    case WIRE_ASK_ATTACH:
        return attach(c, ask, view);
    case WIRE_ASK_STOP:
        return stop(c, ask, view);
    case WIRE_ASK_HEALTH:
        tell_health(c, ask, view);
        return 0;
    case WIRE_ASK_PAUSE:
    case WIRE_ASK_UNPAUSE:
        return set_paused(c, ask->kind == WIRE_ASK_PAUSE, view, err);
    case WIRE_ASK_RESTART:
        restart(c, ask, view);
        return 0;
    case WIRE_ASK_NAMES:
        return take_names(c, ask, view, err);
    default:
        if (c->state == WIRE_MAIN_ENDED)
            return err_set(err, 1, NOT_RUNNING);
        send_signal(c, ask, view);
        return 0;
    }
}

/* ---- sessions ---- */

/* Between two lives: what belongs to the session itself is done, the rest has nobody to go to. */
static int frame_between_lives(struct view *view, const struct wire_frame *f, struct err *err)
{
    switch (f->type) {
    case WIRE_CREDIT:
        return view_take_credit(view, f, err);
    case WIRE_STDIN:
        if (!view->feeds || view->feed_ended)
            return err_set(err, 125, "STDIN for a process that has none");
        view_credit_stdin(view, f->len, /* all= */ true);
        return 0;
    default:
        return 0;
    }
}

/* As with kill(1) of Docker: a signal that may end it ends its restarts. */
static int note_signal(struct container *c, const struct wire_frame *f, struct err *err)
{
    uint8_t signo, scope;

    if (wire_get_signal(f, &signo, &scope, err) < 0)
        return -1;
    if (c->state == WIRE_MAIN_RUNNING && counts_as_stop(c, signo)) {
        container_stop_restarts(c);
        container_go_on(c);
    }
    return 0;
}

int container_frame(struct container *c, struct view *view, const struct wire_frame *f, struct err *err)
{
    uint8_t stream;

    if (f->type == WIRE_SIGNAL && note_signal(c, f, err) < 0)
        return -1;
    if (f->type == WIRE_RESIZE && wire_get_resize(f, &c->start.rows, &c->start.cols, err) < 0)
        return -1;
    if (f->type == WIRE_STDIN_EOF) {
        view->feed_ended = true;
        if (view->feeds && !(c->start.flags & WIRE_START_STDIN_STAYS))
            c->stdin_over = true;
    }
    if (!c->job && f->type == WIRE_CLOSE) {
        if (wire_get_close(f, &stream, err) < 0)
            return -1;
        view->closed[stream == WIRE_STREAM_STDERR] = true;
        return 0;
    }
    return c->job ? job_frame(c->job, view, f, err) : frame_between_lives(view, f, err);
}

void container_leave(struct container *c, struct view *view)
{
    views_leave(&c->views, view);
    for (struct waiter **p = &c->waiters; *p;) {
        struct waiter *w = *p;

        if (w->view != view) {
            p = &w->next;
            continue;
        }
        *p = w->next;
        free(w);
    }
    if (view->feeds && !(c->start.flags & (WIRE_START_STDIN_STAYS | WIRE_START_TTY)))
        c->stdin_over = true;
    if (c->job)
        job_leave(c->job, view);
}
