#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/streams.h"
#include "shim/compose/team.h"
#include "shim/when.h"

#include <string.h>

/* What `docker logs` is asked for. */
static void fill_options(const struct opt_parsed *opts, struct strlist *ret)
{
    static const char *const with_value[] = {"since", "until", "tail"};

    if (opt_bool(opts, "follow"))
        strlist_add(ret, "-f");
    if (opt_bool(opts, "timestamps"))
        strlist_add(ret, "-t");
    for (size_t i = 0; i < sizeof(with_value) / sizeof(with_value[0]); i++)
        if (opt_given(opts, with_value[i])) {
            strlist_addf(ret, "--%s", with_value[i]);
            strlist_add(ret, opt_str(opts, with_value[i]));
        }
}

/* The services whose lines are shown: those named, else all of the file that do not say `attach: false`. */
static void choose(const struct team *w, const struct strlist *named, struct strlist *ret)
{
    strlist_copy(ret, named);
    for (size_t i = 0; !named->len && i < w->services.len; i++) {
        const struct cnode *attach = cnode_get(w->services.items[i].node, "attach");

        if (!attach || cnode_true(w->services.items[i].node, "attach"))
            strlist_add(ret, w->services.items[i].name);
    }
}

/* Before anybody is asked: each container would say the same. */
static int check_times(const struct opt_parsed *opts, struct err *err)
{
    static const char *const names[] = {"since", "until"};
    int64_t ns;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (*opt_str(opts, names[i]) && when_parse(opt_str(opts, names[i]), &ns, err) < 0)
            return err_wrap(err, "invalid value for \"%s\"", names[i]);
    return 0;
}

static int find(struct team *w, const struct opt_parsed *opts, const struct strlist *services, struct err *err)
{
    int64_t index = opt_int(opts, "index");

    if (index > 0) {
        struct member *one = xcalloc(1, sizeof(*one));

        if (members_one(w->app, w->name, services->items[0], index, 0, one, err) < 0) {
            free(one);
            return -1;
        }
        w->members = (struct members){one, 1};
        return 0;
    }
    return team_look(w, services, 0, err);
}

static int logs_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist options = STRLIST_INIT, services = STRLIST_INIT;
    cleanup_with(team_clear) struct team w;
    struct streams *streams;
    void *token;

    team_init(&w, app);
    if (opt_int(opts, "index") > 0 && opt_args(opts)->len != 1)
        return err_set(err, 1, "--index requires one service to be selected");
    if (team_load_or_name(&w, opt_args(opts), err) < 0)
        return -1;
    for (size_t i = 0; w.loaded && i < opt_args(opts)->len; i++)
        if (!services_find(&w.services, opt_args(opts)->items[i]))
            return err_set(err, 1, "no such service: %s", opt_args(opts)->items[i]);
    choose(&w, opt_args(opts), &services);
    if (check_times(opts, err) < 0 || find(&w, opts, &services, err) < 0)
        return -1;
    members_sort(&w.members);
    fill_options(opts, &options);
    streams = streams_new(app, !opt_bool(opts, "no-log-prefix"), !opt_bool(opts, "no-color") && display_colours(app));
    for (size_t i = 0; i < w.members.len; i++) {
        cleanup_free char *name = member_short_name(app, &w.members.items[i]);

        streams_add(streams, &(struct stream_request){.name = name,
                                                      .id = w.members.items[i].row.id,
                                                      .options = &options,
                                                      .both_to_stdout = true,
                                                      .after_ns = -1});
    }
    while (streams_busy(streams))
        streams_turn(streams, -1, &token);
    streams_free(streams);
    return 0;
}

extern const struct cmd_def cmd_def_compose_logs;

const struct command cmd_compose_logs = {.def = &cmd_def_compose_logs, .errors = ERROR_PLAIN, .run = logs_run};
