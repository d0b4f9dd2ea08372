#include "translate/verdict.h"

#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/opt.h"
#include "translate/input.h"
#include "translate/terms.h"

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

static int refuse(const struct walk *w, const struct opt_def *def, const char *value, const char *reason)
{
    if (value)
        return err_set(w->err, 125, "--%s %s is not carried out by atp-docker: %s", def->name, value, reason);
    if (strcmp(reason, NOT_YET) == 0)
        return err_set(w->err, 125, "--%s is not carried out by atp-docker yet", def->name);
    return err_set(w->err, 125, "--%s is not carried out by atp-docker: %s", def->name, reason);
}

/* A value that is the default asks for nothing: --privileged=false, --restart no. */
static bool asks_for_nothing(const struct opt_parsed *p, const struct opt_def *def)
{
    const char *usual = def->def ? def->def : "";

    switch (def->kind) {
    case OPT_BOOL:
        return opt_bool(p, def->name) == (strcmp(usual, "true") == 0);
    case OPT_STRING:
        return strcmp(opt_str(p, def->name), usual) == 0;
    case OPT_INT:
    case OPT_INT64:
    case OPT_UINT16:
    case OPT_UINT64:
        return strcmp(opt_str(p, def->name), def->def ? def->def : "0") == 0;
    default:
        return false;
    }
}

/* How far from being carried out. */
static int badness(enum verdict v)
{
    switch (v) {
    case VERDICT_REFUSED:
    case VERDICT_DELEGATED:
        return 3;
    case VERDICT_UNLESS_ALL:
        return 2;
    case VERDICT_APPROXIMATED:
        return 1;
    default:
        return 0;
    }
}

static bool has_many(enum opt_kind kind)
{
    return kind == OPT_LIST || kind == OPT_MAP || kind == OPT_ULIMIT || kind == OPT_NETWORK;
}

enum verdict verdict_of(const struct opt_parsed *p, const struct opt_def *def, const char **ret_reason,
                        const char **ret_value)
{
    const char *name = def->alias_of ? def->alias_of : def->name;
    const struct strlist *values = has_many(def->kind) ? opt_list(p, name) : NULL;
    enum verdict worst = def->verdict;
    size_t n = values ? values->len : 1;

    *ret_reason = reason_of(def);
    *ret_value = NULL;
    if (asks_for_nothing(p, def))
        return VERDICT_IGNORED_SAFE;
    for (size_t i = 0; i < n; i++) {
        const char *value = values ? values->items[i] : opt_str(p, name), *reason = NULL;
        enum verdict one = terms_judge(def, value, &reason);

        if (i && badness(one) <= badness(worst))
            continue;
        worst = one;
        *ret_reason = reason ? reason : reason_of(def);
        *ret_value = values && def->verdict != VERDICT_REFUSED && badness(one) == 2 ? value : NULL;
    }
    return worst;
}

/* What cannot be missed is missed only where everything may be. */
static int go_without(const struct walk *w, const struct opt_def *def, const char *value, const char *reason)
{
    if (w->in->strict)
        return refuse(w, def, value, reason);
    if (!w->in->approximate_all)
        return err_set(w->err, 125,
                       "--%s%s%s is not carried out by atp-docker: %s (ATP_DOCKER_APPROXIMATE=all goes on without it)",
                       def->name, value ? " " : "", value ? value : "", reason);
    strlist_addf(w->notes, "--%s: %s", def->name, reason);
    return 0;
}

/* One option that appeared on the line. */
static void judge(const struct opt_def *def, void *arg)
{
    struct walk *w = arg;
    const char *reason, *value;

    if (w->rc < 0)
        return;
    switch (verdict_of(w->parsed, def, &reason, &value)) {
    case VERDICT_OURS:
        if (!in_list(w->carried, def->name) && !(def->alias_of && in_list(w->carried, def->alias_of)))
            w->rc = refuse(w, def, NULL, NOT_YET);
        return;
    case VERDICT_APPROXIMATED:
        if (w->in->strict)
            w->rc = refuse(w, def, value, reason);
        else
            strlist_addf(w->notes, "--%s: %s", def->name, reason);
        return;
    case VERDICT_UNLESS_ALL:
        w->rc = go_without(w, def, value, reason);
        return;
    case VERDICT_REFUSED:
    case VERDICT_DELEGATED:
        w->rc = refuse(w, def, NULL, reason);
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
