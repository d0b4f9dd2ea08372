/* An exec from start to end with its output in memory. */
#include "backends/modal/exec.h"

#include "backends/grpc/frame.h"
#include "backends/modal/client.h"
#include "backends/modal/task.h"
#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <stdlib.h>

struct collecting {
    struct buf out, err;
    struct err *why;
    int code, ret;
    bool done, too_much;
};

static void collect(struct collecting *c, struct buf *to, const void *data, size_t len)
{
    if (buf_add(to, data, len) < 0)
        c->too_much = c->done = true;
}

static void on_stdout(struct modal_exec *exec, const void *data, size_t len, void *arg)
{
    struct collecting *c = arg;

    (void)exec;
    collect(c, &c->out, data, len);
}

static void on_stderr(struct modal_exec *exec, const void *data, size_t len, void *arg)
{
    struct collecting *c = arg;

    (void)exec;
    collect(c, &c->err, data, len);
}

static void on_exit_code(struct modal_exec *exec, int code, void *arg)
{
    struct collecting *c = arg;

    (void)exec;
    c->code = code;
    c->done = true;
}

static void on_error(struct modal_exec *exec, const struct err *err, void *arg)
{
    struct collecting *c = arg;

    (void)exec;
    c->done = true;
    c->ret = err_set(c->why, err->exit_code, "%s", err->msg);
    if (c->why)
        c->why->code = err->code;
}

void modal_exec_output_clear(struct modal_exec_output *output)
{
    free(output->out);
    free(output->err);
    *output = (struct modal_exec_output){0};
}

int modal_exec_run(struct modal_task *task, const struct modal_exec_options *options, const void *input,
                   size_t input_len, size_t max, struct modal_exec_output *ret_output, struct err *err)
{
    static const struct modal_exec_handlers handlers = {
        .on_stdout = on_stdout, .on_stderr = on_stderr, .on_exit = on_exit_code, .on_error = on_error};
    struct collecting c = {.why = err};
    struct modal_exec *exec;

    buf_init(&c.out, max);
    buf_init(&c.err, max);
    exec = modal_exec_start(task, options, &handlers, &c, err);
    if (!exec)
        return -1;
    if (modal_exec_write(exec, input, input_len) < 0) {
        c.done = true;
        c.ret = err_set(err, 125, "the input of %zu bytes is larger than %u", input_len, MODAL_EXEC_STDIN_MAX);
    }
    modal_exec_write_eof(exec); /* without it a program that reads its stdin would never end (protocol 9.4) */
    while (!c.done)
        loop_step(modal_client_loop(modal_task_client(task)), -1);
    modal_exec_free(exec);
    if (c.too_much) {
        c.ret = err_set(err, 125, "the output is larger than %zu bytes", max);
        if (err)
            err->code = GRPC_RESOURCE_EXHAUSTED;
    }
    if (c.ret == 0) {
        ret_output->out_len = c.out.len;
        ret_output->err_len = c.err.len;
        ret_output->out = buf_detach(&c.out);
        ret_output->err = buf_detach(&c.err);
        ret_output->code = c.code;
    }
    buf_clear(&c.out);
    buf_clear(&c.err);
    return c.ret;
}
