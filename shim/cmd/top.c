#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container.h"
#include "shim/events.h"
#include "shim/inquiry.h"
#include "translate/process_table.h"
#include "translate/wire/wire.h"

#include <stdio.h>

#define OUT_MAX         (64u << 20)
#define TOP_PATIENCE_MS 30000 /* an agent that lives answers in a moment, its worker may be busy */

/* The agent's lines for a container that runs. */
static int ask_agent(struct container *c, struct inquiry *q, struct err *err)
{
    if (container_open(c, err) < 0)
        return err && err->code == CONTAINER_NOT_RUNNING ? err_wrap(err, "Error response from daemon") : -1;
    q->task = c->task;
    q->quiet = true;
    inquiry_run(c->app, q, 1, TOP_PATIENCE_MS);
    if (!q->done)
        return err_set(err, 1, "the container %s does not answer", c->row.name);
    if (q->gone || inquiry_not_running(q)) {
        err_set(err, 1, "Error response from daemon: container %s is not running", c->row.id);
        if (err)
            err->code = CONTAINER_NOT_RUNNING;
        return -1;
    }
    if (q->out.overflowed)
        return err_set(err, 1, "the list of processes is too long");
    return q->end == SESSION_EXITED ? 0 : err_move(err, &q->err);
}

static int print_table(struct container *c, const struct process_table *table, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(OUT_MAX);
    struct inquiry q;
    int ret;

    inquiry_init(&q, c->row.sandbox_id, WIRE_ASK_TOP);
    ret = ask_agent(c, &q, err);
    if (ret == 0)
        ret = process_table_print(table, q.out.data, container_now_ns() / 1000000, &text, err);
    if (ret == 0) {
        event_container(c, "top", NULL);
        fwrite(text.data, 1, text.len, stdout);
    }
    inquiry_clear(&q);
    return ret;
}

static int top_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    const struct strlist words = {args->items + 1, args->len - 1, 0}; /* borrowed */
    struct process_table table = {.len = 0};
    struct container c;
    int ret;

    if (app_config(app, err) < 0 || app_state(app, err) < 0)
        return -1;
    container_init(&c, app);
    ret = container_find(&c, args->items[0], err);
    if (ret == 0)
        ret = process_table_parse(&words, &table, err);
    if (ret == 0)
        ret = container_refresh(&c, err);
    if (ret == 0)
        ret = print_table(&c, &table, err);
    process_table_clear(&table);
    container_clear(&c);
    return ret;
}

extern const struct cmd_def cmd_def_top;

const struct command cmd_top = {.def = &cmd_def_top, .errors = ERROR_PLAIN, .run = top_run};
