#include "shim/stopping.h"

#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/container.h"
#include "translate/signals.h"
#include "translate/wire/wire.h"

int stopping_parse(const struct opt_parsed *opts, struct stopping *ret, struct err *err)
{
    *ret = (struct stopping){.timeout_given = opt_given(opts, "timeout"), .timeout_s = opt_int(opts, "timeout")};
    if (opt_given(opts, "signal") && *opt_str(opts, "signal") &&
        signals_parse(opt_str(opts, "signal"), &ret->signo, err) < 0)
        return err_wrap(err, "Error response from daemon");
    return 0;
}

int stopping_fill(const struct container *c, const struct stopping *how, struct wire_ask *ret, struct err *err)
{
    int64_t seconds = how->timeout_given ? how->timeout_s : c->process.stop_timeout;
    int signo = how->signo;

    if (!signo && signals_parse(c->process.stop_signal ? c->process.stop_signal : "TERM", &signo, err) < 0)
        return err_wrap(err, "Error response from daemon");
    ret->signo = (uint8_t)signo;
    ret->grace_ms = seconds < 0 ? -1 : seconds * 1000;
    return 0;
}
