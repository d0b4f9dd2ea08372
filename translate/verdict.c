#include "translate/verdict.h"

#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/opt.h"
#include "translate/input.h"

#include <string.h>

#define NOT_YET "not carried out yet" /* the tables' word for what a later version will do */

/* The walk over the given options. */
struct walk {
    const struct opt_parsed *parsed;
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
    if (strcmp(reason, NOT_YET) == 0)
        return err_set(w->err, 125, "--%s is not carried out by atp-docker yet", def->name);
    return err_set(w->err, 125, "--%s is not carried out by atp-docker: %s", def->name, reason);
}

/* A value that is the default asks for nothing: --privileged=false, --restart no. */
static bool asks_for_nothing(const struct walk *w, const struct opt_def *def)
{
    const char *usual = def->def ? def->def : "";

    switch (def->kind) {
    case OPT_BOOL:
        return opt_bool(w->parsed, def->name) == (strcmp(usual, "true") == 0);
    case OPT_STRING:
        return strcmp(opt_str(w->parsed, def->name), usual) == 0;
    case OPT_INT:
    case OPT_INT64:
    case OPT_UINT16:
    case OPT_UINT64:
        return strcmp(opt_str(w->parsed, def->name), def->def ? def->def : "0") == 0;
    default:
        return false;
    }
}

/* One option that appeared on the line. */
static void judge(const struct opt_def *def, void *arg)
{
    struct walk *w = arg;

    if (w->rc < 0 || asks_for_nothing(w, def))
        return;
    switch (def->verdict) {
    case VERDICT_OURS:
        if (!in_list(w->carried, def->name) && !(def->alias_of && in_list(w->carried, def->alias_of)))
            w->rc = refuse(w, def, NOT_YET);
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
    struct walk w = {p, in, carried, notes, err, 0};

    if (in->strict && in->approximate_all)
        return err_set(err, 125, "ATP_DOCKER_STRICT=1 and ATP_DOCKER_APPROXIMATE=all contradict each other; set one");
    opt_each_given(p, judge, &w);
    return w.rc;
}
