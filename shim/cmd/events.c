#include "backends/state/events.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/format.h"
#include "compat/docker/opt.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container.h"
#include "shim/when.h"
#include "translate/event_filter.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX   (4u << 20) /* one event as text */
#define BATCH      256        /* events of one look */
#define LOOK_MS    20         /* between two looks whether anything was written */
#define SIGNALLED  128
#define NS_PER_MS  INT64_C(1000000)
#define EVENT_TYPE "events.Message"

/* What the line asks for, and how far it got. */
struct follower {
    struct app *app;
    struct event_filter *filter;
    struct tmpl *tmpl; /* NULL: docker's line */
    bool json;
    int64_t since_ns, until_ns; /* until 0: for ever */
    bool since_given;           /* otherwise: from now on */
    int64_t seq;                /* of the last one that was looked at */
    int64_t changes;            /* state_changes() when there was nothing more */
    bool any_look;
    int signo;
    bool reader_gone;
    bool late; /* one after `until` was seen */
};

/* ---- one event ---- */

static int format_event(struct follower *f, const struct event_shown *e, struct buf *out, struct err *err)
{
    const struct tmpl_options options = {
        .missing = TMPL_MISSING_FIELD, .absent = event_absent, .type = EVENT_TYPE, .html_root = true};
    json_auto_t *object = NULL;

    if (!f->json && !f->tmpl) {
        event_line(e, out);
        return 0;
    }
    object = event_json(e);
    if (f->json) {
        cleanup_free char *text = json_dumps(object, JSON_COMPACT);

        buf_addf(out, "%s\n", text ? text : "{}");
        return 0;
    }
    if (tmpl_exec(f->tmpl, object, &options, out, err) < 0)
        return -1;
    buf_addc(out, '\n');
    return 0;
}

static int print_event(struct follower *f, const struct state_event *row, struct err *err)
{
    json_auto_t *attributes = json_loads(row->attributes, 0, NULL);
    const struct event_shown e = {row->time_ns, row->type, row->action, row->actor, attributes};
    cleanup_buf struct buf text = BUF_INIT(TEXT_MAX);

    if (f->until_ns && row->time_ns > f->until_ns) {
        f->late = true;
        return 0;
    }
    if (!event_filter_takes(f->filter, &e))
        return 0;
    if (format_event(f, &e, &text, err) < 0)
        return -1;
    fwrite(text.data, 1, text.len, stdout);
    f->reader_gone = fflush(stdout) != 0; /* whoever waits for it waits for this line */
    return 0;
}

/* ---- all of them ---- */

/* What was written since the last look. */
static int look(struct follower *f, struct err *err)
{
    struct state_event *list = NULL;
    size_t len = BATCH;
    int ret = 0;

    while (ret == 0 && len == BATCH && !f->reader_gone) {
        if (state_event_list(f->app->state, f->seq, f->since_ns, BATCH, &list, &len, err) < 0)
            return -1;
        for (size_t i = 0; i < len; i++) {
            if (ret == 0 && !f->reader_gone)
                ret = print_event(f, &list[i], err);
            f->seq = list[i].seq;
            state_event_clear(&list[i]);
        }
        free(list);
        list = NULL;
    }
    return ret;
}

/* A look only where somebody has written: an idle follower costs next to nothing. */
static int look_if_changed(struct follower *f, struct err *err)
{
    int64_t changes = 0;

    if (state_changes(f->app->state, &changes, err) < 0)
        return -1;
    if (f->any_look && changes == f->changes)
        return 0;
    f->any_look = true;
    f->changes = changes;
    return look(f, err);
}

static void on_signal(struct loop *loop, int signo, void *arg)
{
    struct follower *f = arg;

    f->signo = signo;
    loop_stop(loop);
}

/* Somebody who reads us has gone: seen without writing anything. */
static bool nobody_reads(void)
{
    struct pollfd fd = {.fd = STDOUT_FILENO};

    return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLERR | POLLNVAL));
}

static bool is_over(const struct follower *f)
{
    return f->signo || f->reader_gone || f->late || (f->until_ns && container_now_ns() > f->until_ns);
}

static void on_tick(struct loop *loop, void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static int follow(struct follower *f, struct err *err)
{
    struct loop *loop = loop_new();
    struct loop_timer *tick = loop_timer_add(loop, LOOK_MS, on_tick, f);
    struct loop_signal *signals[] = {loop_signal_add(loop, SIGINT, on_signal, f),
                                     loop_signal_add(loop, SIGTERM, on_signal, f)};
    int ret = 0;

    while (ret == 0) {
        bool over = is_over(f);

        ret = look_if_changed(f, err);
        if (over || nobody_reads())
            break;
        loop_timer_set(tick, LOOK_MS);
        loop_run(loop);
    }
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        loop_signal_del(signals[i]);
    loop_timer_del(tick);
    loop_free(loop);
    return ret < 0 ? -1 : f->signo ? SIGNALLED + f->signo : 0;
}

/* ---- the line ---- */

static int read_when(const struct opt_parsed *opts, const char *name, int64_t *ret_ns, struct err *err)
{
    if (!opt_given(opts, name) || !*opt_str(opts, name))
        return 0;
    if (when_parse(opt_str(opts, name), ret_ns, err) < 0)
        return err_wrap(err, "Error response from daemon");
    return 0;
}

static int read_format(struct follower *f, const char *text, struct err *err)
{
    if (!*text)
        return 0;
    f->json = strcmp(text, "json") == 0;
    if (f->json)
        return 0;
    f->tmpl = tmpl_parse("", text, err);
    if (f->tmpl)
        return 0;
    err_wrap(err, "Error parsing format");
    if (err)
        err->exit_code = 64;
    return -1;
}

static int begin(struct follower *f, const struct opt_parsed *opts, struct err *err)
{
    if (read_format(f, opt_str(opts, "format"), err) < 0 || app_config(f->app, err) < 0 || app_state(f->app, err) < 0 ||
        read_when(opts, "since", &f->since_ns, err) < 0 || read_when(opts, "until", &f->until_ns, err) < 0)
        return -1;
    f->filter = event_filter_new(opt_list(opts, "filter"), err);
    if (!f->filter)
        return -1;
    f->since_given = opt_given(opts, "since") && *opt_str(opts, "since");
    return f->since_given ? 0 : state_event_last(f->app->state, &f->seq, err);
}

static int events_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct follower f = {.app = app};
    int ret = begin(&f, opts, err);

    if (ret == 0)
        ret = follow(&f, err);
    event_filter_free(f.filter);
    tmpl_free(f.tmpl);
    return ret;
}

extern const struct cmd_def cmd_def_events;

const struct command cmd_events = {.def = &cmd_def_events, .errors = ERROR_PLAIN, .run = events_run};
