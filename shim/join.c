#include "shim/join.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/tty.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/attach.h"
#include "shim/binds.h"
#include "shim/sandbox.h"

#include <stdio.h>
#include <unistd.h>

#define KILLED 137 /* what a process gets when its container goes */

int join_failed(struct container *c, struct attach_result *result, struct err *err)
{
    int code = 0;

    if (result->end == SESSION_REFUSED && result->refusal == WIRE_REFUSAL_NOT_RUNNING) {
        err_set(err, 1, "Error response from daemon: container %s is not running", c->row.id);
        if (err)
            err->code = CONTAINER_NOT_RUNNING;
        err_clear(&result->err);
        return -1;
    }
    if (result->end == SESSION_LOST && sandbox_ended(c->app, c->row.sandbox_id, &code, NULL) > 0) {
        err_clear(&result->err);
        container_see_end(c);
        return KILLED;
    }
    err_move(err, &result->err);
    if (result->end == SESSION_REFUSED)
        err_wrap(err, "Error response from daemon");
    else if (result->end == SESSION_LOST)
        err_wrap(err, "the connection to the container is lost");
    return -1;
}

int join(struct container *c, const struct launch_streams *streams, struct err *err)
{
    const struct wire_ask ask = {
        .kind = WIRE_ASK_ATTACH,
        .flags = (uint8_t)(WIRE_ASK_OUTPUT | (streams->stdin_attached ? WIRE_ASK_STDIN : 0)),
        .text = (char *)"",
    };
    cleanup_with(binds_clear) struct binds binds = BINDS_INIT;
    struct attach_result result;
    struct attach_request req;

    if (container_open(c, err) < 0 || binds_open(&c->spec, c->row.id, &binds, err) < 0)
        return -1;
    req = (struct attach_request){
        .agent = AGENT_PATH,
        .sandbox_id = c->row.sandbox_id,
        .ask = &ask,
        .tty = c->process.tty,
        .mounts = binds.mounts,
        .mounts_len = binds.len,
        .stdin_attached = streams->stdin_attached,
        .stdout_attached = streams->stdout_attached,
        .stderr_attached = streams->stderr_attached,
        .raw_terminal = c->process.tty && streams->stdin_attached && tty_is(STDIN_FILENO),
        .sig_proxy = streams->sig_proxy,
        .leaves = true,
        .detach_keys = streams->detach_keys,
    };
    attach_run(c->app, c->task, &req, &result);
    if (result.end == SESSION_DETACHED)
        return result.code;
    if (result.end != SESSION_EXITED)
        return join_failed(c, &result, err);
    if (result.err.msg)
        fprintf(stderr, "docker: %s\n", result.err.msg);
    err_clear(&result.err);
    container_see_end(c);
    return result.code;
}
