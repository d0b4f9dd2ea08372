#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/team.h"
#include "shim/copy.h"

#include <string.h>

/* "service:path"; *ret_service NULL: a path of this machine. Both owned by caller. */
static void split(const char *word, char **ret_service, char **ret_path)
{
    const char *colon = strchr(word, ':');
    bool local = *word == '/' || !colon || *word == '.' || colon == word;

    *ret_service = local ? NULL : xstrndup(word, (size_t)(colon - word));
    *ret_path = xstrdup(local ? word : colon + 1);
}

struct copying {
    struct team w;
    char *from, *to, *source, *dest;
};

static void copying_clear(struct copying *c)
{
    team_clear(&c->w);
    free(c->from);
    free(c->to);
    free(c->source);
    free(c->dest);
}

/* One container; progress on stderr as compose has it. */
static int copy_one(struct copying *c, const struct opt_parsed *opts, const struct member *m, struct err *err)
{
    struct copy_request req = {.container = m->row.id,
                               .source = c->source,
                               .dest = c->dest,
                               .archive = opt_bool(opts, "archive"),
                               .follow = opt_bool(opts, "follow-link"),
                               .quiet = true};
    cleanup_free char *text = c->from ? xasprintf("copy %s:%s to %s", m->row.name, c->source, c->dest)
                                      : xasprintf("copy %s to %s:%s", c->source, m->row.name, c->dest);
    int code;

    display_event(c->w.display, DISPLAY_WORKING, m->row.name, text, "Copying");
    if (c->w.app->dry_run)
        code = 0;
    else
        code = c->from ? copy_from_container(c->w.app, &req, err) : copy_to_container(c->w.app, &req, err);
    if (code == 0)
        display_event(c->w.display, DISPLAY_DONE, m->row.name, text, "Copied");
    return code;
}

/* The containers that are meant: one to copy from, all to copy to, unless --index names one. */
static int find(struct copying *c, const struct opt_parsed *opts, struct err *err)
{
    const char *service = c->from ? c->from : c->to;
    int64_t index = opt_int(opts, "index");
    cleanup_strlist struct strlist services = STRLIST_INIT;

    if (index > 0) {
        struct member *one = xcalloc(1, sizeof(*one));

        if (members_one(c->w.app, c->w.name, service, index, MEMBERS_AS_IT_IS, one, err) < 0) {
            free(one);
            return -1;
        }
        c->w.members = (struct members){one, 1};
        return 0;
    }
    strlist_add(&services, service);
    if (team_look(&c->w, &services, MEMBERS_AS_IT_IS | (opt_bool(opts, "all") ? MEMBERS_ONEOFF : 0), err) < 0)
        return -1;
    return c->w.members.len ? 0 : err_set(err, 1, "no container found for service \"%s\"", service);
}

static int cp_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(copying_clear) struct copying c = {0};
    int code = 0;

    team_init(&c.w, app);
    if (!*opt_args(opts)->items[0])
        return err_set(err, 1, "source can not be empty");
    if (!*opt_args(opts)->items[1])
        return err_set(err, 1, "destination can not be empty");
    split(opt_args(opts)->items[0], &c.from, &c.source);
    split(opt_args(opts)->items[1], &c.to, &c.dest);
    if (c.from && c.to)
        return err_set(err, 1, "copying between services is not supported");
    if (!c.from && !c.to)
        return err_set(err, 1, "unknown copy direction");
    if (team_name(&c.w, err) < 0 || find(&c, opts, err) < 0 || team_show(&c.w, "Copying", err) < 0)
        return -1;
    for (size_t i = 0; i < (c.from ? 1 : c.w.members.len) && code == 0; i++)
        code = copy_one(&c, opts, &c.w.members.items[i], err);
    return code;
}

extern const struct cmd_def cmd_def_compose_cp;

const struct command cmd_compose_cp = {.def = &cmd_def_compose_cp, .errors = ERROR_PLAIN, .run = cp_run};
