#include "translate/verdict.h"

#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/opt.h"
#include "translate/input.h"

#include <string.h>

/* The walk over the given options. */
struct walk {
    const struct input *in;
    const char *const *carried;
    struct strlist *notes;
    struct err *err;
    int rc; /* 0 until the first error */
};

static bool in_list(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static const char *reason_of(const struct opt_def *def)
{
    return def->reason ? def->reason : "it has no equivalent there";
}

static int refuse(const struct walk *w, const struct opt_def *def, const char *reason)
{
    return err_set(w->err, 125, "--%s is not carried out by atp-docker: %s", def->name, reason);
}

/* One option that appeared on the line. */
static void judge(const struct opt_def *def, void *arg)
{
    struct walk *w = arg;

    if (w->rc < 0)
        return;
    switch (def->verdict) {
    case VERDICT_OURS:
        if (!in_list(w->carried, def->name) && !(def->alias_of && in_list(w->carried, def->alias_of)))
            w->rc = refuse(w, def, "not carried out yet");
        return;
    case VERDICT_APPROXIMATED:
        if (w->in->strict)
            w->rc = refuse(w, def, reason_of(def));
        else
            strlist_addf(w->notes, "--%s: %s", def->name, reason_of(def));
        return;
    case VERDICT_REFUSED:
    case VERDICT_DELEGATED:
        w->rc = refuse(w, def, reason_of(def));
        return;
    case VERDICT_IGNORED_SAFE:
        return;
    }
}

int verdict_check(const struct opt_parsed *p, const struct input *in, const char *const *carried, struct strlist *notes,
                  struct err *err)
{
    struct walk w = {in, carried, notes, err, 0};

    opt_each_given(p, judge, &w);
    return w.rc;
}
