#include "shim/stats.h"

#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/format.h"
#include "compat/docker/units.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/channel.h"
#include "shim/container.h"
#include "translate/names.h"
#include "translate/wire/wire.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX   (16u << 20)
#define DRAW_MS   500   /* as Docker's client redraws */
#define FIRST_MS  15000 /* for two counts of each; who has not answered by then is shown without numbers */
#define SIGNALLED 128
#define HOME      "\033[H"
#define CLEAR_EOL "\033[K"
#define CLEAR_END "\033[J"
#define TYPE      "*container.statsContext"

#define TABLE "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"

static const struct format_column columns[] = {
    {"BlockIO", "BLOCK I/O"},   {"CPUPerc", "CPU %"},
    {"Container", "CONTAINER"}, {"ID", "CONTAINER ID"},
    {"MemPerc", "MEM %"},       {"MemUsage", "MEM USAGE / LIMIT"},
    {"Name", "NAME"},           {"NetIO", "NET I/O"},
    {"PIDs", "PIDS"},           {NULL, NULL},
};

/* One count of an agent. */
struct count {
    double cpu, system, cpus, memory, limit, pids, received, sent, read, written;
};

struct watched {
    struct stats *all;
    struct container c;
    char *word; /* as typed, or the short id */
    struct channel *channel;
    struct count before, now;
    unsigned counts;
    bool over;
};

struct stats {
    struct app *app;
    struct watched *list;
    size_t len;
    const char *format;
    bool no_trunc, once, with_all;
    int signo;
};

/* ---- what the agents say ---- */

static double number(const json_t *line, const char *name)
{
    return json_number_value(json_object_get(line, name));
}

static void on_line(void *arg, const char *text)
{
    struct watched *w = arg;
    json_auto_t *line = json_loads(text, 0, NULL);

    if (!json_is_object(line))
        return;
    w->before = w->now;
    w->now = (struct count){
        .cpu = number(line, "cpu_ns"),
        .system = number(line, "system_cpu_ns"),
        .cpus = number(line, "online_cpus"),
        .memory = number(line, "mem_bytes"),
        .limit = number(line, "mem_limit"),
        .pids = number(line, "pids"),
        .received = number(line, "net_rx"),
        .sent = number(line, "net_tx"),
        .read = number(line, "blk_read"),
        .written = number(line, "blk_write"),
    };
    w->counts++;
    loop_stop(w->all->app->loop);
}

static void on_over(void *arg, bool ended, const struct err *why)
{
    struct watched *w = arg;

    (void)ended;
    (void)why;
    w->over = true;
    loop_stop(w->all->app->loop);
}

static const struct channel_handlers handlers = {.line = on_line, .over = on_over};

static void open_channel(struct watched *w)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_STATS, .flags = WIRE_ASK_FOLLOW, .text = (char *)""};

    if (container_may_run(&w->c) && container_open(&w->c, NULL) == 0)
        w->channel = channel_open(w->all->app, w->c.task, &ask, &handlers, w, NULL);
    w->over = !w->channel;
}

/* ---- rows ---- */

static double cpu_percent(const struct watched *w)
{
    double used = w->now.cpu - w->before.cpu, all = w->now.system - w->before.system;

    return w->counts > 1 && used > 0 && all > 0 ? used / all * w->now.cpus * 100 : 0;
}

/* "1.2kB / 3MB" */
static char *pair(double a, double b)
{
    cleanup_free char *left = units_size_digits(a, 3), *right = units_size_digits(b, 3);

    return xasprintf("%s / %s", left, right);
}

static json_t *row_json(const struct watched *w, bool no_trunc)
{
    const struct count *n = &w->now;
    bool none = w->over || !w->counts;
    cleanup_free char *id = no_trunc ? xstrdup(w->c.row.id) : xstrndup(w->c.row.id, CONTAINER_SHORT_ID_LEN);
    cleanup_free char *memory = units_size_binary(n->memory), *limit = units_size_binary(n->limit);
    cleanup_free char *cpu = none ? xstrdup("--") : xasprintf("%.2f%%", cpu_percent(w));
    cleanup_free char *usage = none ? xstrdup("-- / --") : xasprintf("%s / %s", memory, limit);
    cleanup_free char *share =
        none ? xstrdup("--") : xasprintf("%.2f%%", n->limit > 0 ? n->memory / n->limit * 100 : 0.0);
    cleanup_free char *net = none ? xstrdup("--") : pair(n->received, n->sent);
    cleanup_free char *block = none ? xstrdup("--") : pair(n->read, n->written);
    cleanup_free char *pids = none ? xstrdup("--") : xasprintf("%.0f", n->pids);

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "BlockIO", block, "CPUPerc", cpu, "Container",
                     w->word, "ID", id, "MemPerc", share, "MemUsage", usage, "Name", w->c.row.name, "NetIO", net,
                     "PIDs", pids);
}

static int add_rows(struct stats *s, struct format *f, struct err *err)
{
    for (size_t i = 0; i < s->len; i++) {
        json_auto_t *row = row_json(&s->list[i], s->no_trunc);

        if (format_row(f, row, err) < 0)
            return -1;
    }
    return 0;
}

/* On a terminal over what was there; each line without what it had behind its end. */
static void draw(const struct stats *s, const struct buf *text)
{
    if (s->once) {
        fwrite(text->data, 1, text->len, stdout);
    } else {
        fputs(HOME, stdout);
        for (size_t i = 0; i < text->len; i++) {
            if (text->data[i] == '\n')
                fputs(CLEAR_EOL, stdout);
            fputc(text->data[i], stdout);
        }
        fputs(CLEAR_END, stdout);
    }
    fflush(stdout);
}

static int print_all(struct stats *s, struct err *err)
{
    const struct tmpl_options options = {.missing = TMPL_MISSING_FIELD, .type = TYPE, .html_root = true};
    cleanup_buf struct buf text = BUF_INIT(OUT_MAX);
    struct format *f = format_new(s->format, TABLE, columns, &options, err);
    int ret = f ? add_rows(s, f, err) : -1;

    if (ret == 0)
        ret = format_finish(f, &text, err);
    format_free(f);
    if (ret == 0)
        draw(s, &text);
    return ret;
}

/* ---- the loop ---- */

static bool all_counted(const struct stats *s)
{
    for (size_t i = 0; i < s->len; i++)
        if (!s->list[i].over && s->list[i].counts < 2)
            return false;
    return true;
}

static bool all_over(const struct stats *s)
{
    for (size_t i = 0; i < s->len; i++)
        if (!s->list[i].over)
            return false;
    return true;
}

static void on_signal(struct loop *loop, int signo, void *arg)
{
    ((struct stats *)arg)->signo = signo;
    loop_stop(loop);
}

static int stream(struct stats *s, struct err *err)
{
    struct loop *loop = s->app->loop;
    struct loop_signal *signals[] = {loop_signal_add(loop, SIGINT, on_signal, s),
                                     loop_signal_add(loop, SIGTERM, on_signal, s)};
    int ret = 0;

    while (ret == 0 && !s->signo) {
        const int64_t until = loop_now() + DRAW_MS;

        ret = print_all(s, err);
        while (ret == 0 && !s->signo && loop_now() < until)
            loop_step(loop, until - loop_now());
        if (s->len && all_over(s) && !s->with_all)
            break;
    }
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        loop_signal_del(signals[i]);
    return ret < 0 ? -1 : s->signo ? SIGNALLED + s->signo : 0;
}

static int run(struct stats *s, struct err *err)
{
    const int64_t until = loop_now() + FIRST_MS;

    for (size_t i = 0; i < s->len; i++)
        open_channel(&s->list[i]);
    while (!all_counted(s) && loop_now() < until)
        loop_step(s->app->loop, until - loop_now());
    return s->once ? print_all(s, err) : stream(s, err);
}

/* ---- the line ---- */

static struct watched *add(struct stats *s, const char *word)
{
    struct watched *w = &s->list[s->len++];

    *w = (struct watched){.all = s, .word = word ? xstrdup(word) : NULL};
    container_init(&w->c, s->app);
    return w;
}

static int collect_named(struct stats *s, const struct strlist *words, struct err *err)
{
    s->list = xcalloc(words->len + 1, sizeof(*s->list));
    for (size_t i = 0; i < words->len; i++)
        if (container_find(&add(s, words->items[i])->c, words->items[i], err) < 0 ||
            container_refresh(&s->list[i].c, err) < 0)
            return -1;
    return 0;
}

static int collect_all(struct stats *s, const struct stats_request *req, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    if (container_refresh_all(s->app, err) < 0 || state_container_list(s->app->state, &rows, &len, err) < 0)
        return -1;
    s->list = xcalloc(len + 1, sizeof(*s->list));
    for (size_t i = 0; i < len; i++) {
        struct watched *w = add(s, NULL);

        w->c.row = rows[i];
        w->word = xstrndup(rows[i].id, s->no_trunc ? CONTAINER_ID_LEN : CONTAINER_SHORT_ID_LEN);
        if ((s->with_all || container_may_run(&w->c)) && (!req->takes || req->takes(&w->c.row, req->arg)))
            continue;
        free(w->word);
        container_clear(&w->c);
        s->len--;
    }
    free(rows);
    return 0;
}

static void stats_clear(struct stats *s)
{
    for (size_t i = 0; i < s->len; i++) {
        channel_free(s->list[i].channel);
        container_clear(&s->list[i].c);
        free(s->list[i].word);
    }
    free(s->list);
}

int stats_show(struct app *app, const struct stats_request *req, struct err *err)
{
    struct stats s = {
        .app = app, .format = req->format, .no_trunc = req->no_trunc, .once = req->once, .with_all = req->with_all};
    int ret = -1;

    if (app_config(app, err) == 0 && app_state(app, err) == 0 &&
        (req->words ? collect_named(&s, req->words, err) : collect_all(&s, req, err)) == 0 && app_modal(app, err) == 0)
        ret = run(&s, err);
    stats_clear(&s);
    return ret;
}
