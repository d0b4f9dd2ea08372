/* What the user is told. */
#include "backends/sync/receiver_impl.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

char *receiver_quoted(const char *path)
{
    struct buf b = BUF_INIT(8 * LIMIT_PATH);

    sync_quote(&b, *path ? path : ".");
    return buf_detach(&b);
}

int receiver_errno(const char *doing, const char *path, struct err *err)
{
    int errnum = errno;
    cleanup_free char *name = receiver_quoted(path);

    return err_set_errno(err, 125, errnum, "%s %s", doing, name);
}

void receiver_note(struct sync_receiver *r, const char *fmt, ...)
{
    va_list ap;

    if (!r->report.notes)
        r->report.notes = xcalloc(1, sizeof(*r->report.notes));
    if (r->report.notes->len >= LIMIT_SYNC_NOTES) {
        r->unsaid++;
        return;
    }
    va_start(ap, fmt);
    strlist_add_owned(r->report.notes, xvasprintf(fmt, ap));
    va_end(ap);
}

/* True if path has the component `name` (or ends with it). */
static bool has_component(const char *path, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (strncmp(p, name, len) == 0 && (!p[len] || p[len] == '/'))
            return true;
    return false;
}

void receiver_watch_risky(struct sync_receiver *r, const char *path)
{
    const char *hooks = strstr(path, ".git/hooks/");
    bool risky = (hooks && (hooks == path || hooks[-1] == '/')) || has_component(path, ".envrc") ||
                 has_component(path, ".vscode");

    if (!risky || !r->policy.host)
        return;
    if (!r->risky++)
        r->risky_path = xstrdup(path);
}

void receiver_close_report(struct sync_receiver *r)
{
    if (r->risky) {
        cleanup_free char *name = receiver_quoted(r->risky_path);

        if (r->risky > 1)
            receiver_note(r, "note: the container changed %s and %llu more files that tools on this machine may run",
                          name, (unsigned long long)r->risky - 1);
        else
            receiver_note(r, "note: the container changed %s, which tools on this machine may run", name);
    }
    if (r->unsaid)
        strlist_addf(r->report.notes, "sync: %llu more such lines are not shown", (unsigned long long)r->unsaid);
}

void sync_report_clear(struct sync_report *r)
{
    if (r->notes) {
        strlist_clear(r->notes);
        free(r->notes);
    }
    *r = (struct sync_report){0};
}
