#include "backends/docker/handover.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/tame.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "translate/spec.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* clang-format off: one to a line, sorted */
static const struct command *const commands[] = {
    &cmd_atp_forward,
    &cmd_atp_monitor,
    &cmd_atp_options,
    &cmd_atp_plan,
    &cmd_atp_recover,
    &cmd_atp_secret,
    &cmd_attach,
    &cmd_build,
    &cmd_builder_build,
    &cmd_builder_prune,
    &cmd_buildx_build,
    &cmd_buildx_du,
    &cmd_buildx_prune,
    &cmd_buildx_version,
    &cmd_commit,
    &cmd_compose_attach,
    &cmd_compose_build,
    &cmd_compose_commit,
    &cmd_compose_config,
    &cmd_compose_cp,
    &cmd_compose_create,
    &cmd_compose_down,
    &cmd_compose_events,
    &cmd_compose_exec,
    &cmd_compose_export,
    &cmd_compose_images,
    &cmd_compose_kill,
    &cmd_compose_logs,
    &cmd_compose_ls,
    &cmd_compose_pause,
    &cmd_compose_port,
    &cmd_compose_ps,
    &cmd_compose_pull,
    &cmd_compose_push,
    &cmd_compose_restart,
    &cmd_compose_rm,
    &cmd_compose_run,
    &cmd_compose_scale,
    &cmd_compose_start,
    &cmd_compose_stats,
    &cmd_compose_stop,
    &cmd_compose_top,
    &cmd_compose_unpause,
    &cmd_compose_up,
    &cmd_compose_version,
    &cmd_compose_volumes,
    &cmd_compose_wait,
    &cmd_compose_watch,
    &cmd_container_inspect,
    &cmd_container_prune,
    &cmd_cp,
    &cmd_create,
    &cmd_events,
    &cmd_exec,
    &cmd_export,
    &cmd_history,
    &cmd_image_inspect,
    &cmd_image_prune,
    &cmd_images,
    &cmd_import,
    &cmd_info,
    &cmd_inspect,
    &cmd_kill,
    &cmd_load,
    &cmd_login,
    &cmd_logout,
    &cmd_logs,
    &cmd_manifest_inspect,
    &cmd_network_connect,
    &cmd_network_create,
    &cmd_network_disconnect,
    &cmd_network_inspect,
    &cmd_network_ls,
    &cmd_network_prune,
    &cmd_network_rm,
    &cmd_pause,
    &cmd_port,
    &cmd_ps,
    &cmd_pull,
    &cmd_push,
    &cmd_rename,
    &cmd_restart,
    &cmd_rm,
    &cmd_rmi,
    &cmd_run,
    &cmd_save,
    &cmd_start,
    &cmd_stats,
    &cmd_stop,
    &cmd_system_prune,
    &cmd_tag,
    &cmd_top,
    &cmd_unpause,
    &cmd_version,
    &cmd_volume_create,
    &cmd_volume_inspect,
    &cmd_volume_ls,
    &cmd_volume_prune,
    &cmd_volume_rm,
    &cmd_wait,
};
/* clang-format on */

/* The verb behind a table entry; NULL when nobody carries it out. */
static const struct command *find_command(const struct cmd_def *def)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (commands[i]->def == def)
            return commands[i];
    return NULL;
}

/* Prints an error once, in Docker's shape, and gives the exit code. */
static int report(enum error_style style, const struct cmd_def *def, struct err *err, int usual)
{
    int code = err->exit_code ? err->exit_code : usual;

    tame(err->msg, /* keep_lines= */ true); /* servers, registries and files have their words in it */
    if (style == ERROR_RUN && err->code != SPEC_ERR_COMPLETE)
        fprintf(stderr, "docker: %s\n\nRun 'docker %s --help' for more information\n", err->msg, def->path);
    else
        fprintf(stderr, "%s\n", err->msg);
    err_clear(err);
    return code;
}

struct foreign {
    const struct opt_parsed *opts;
    const struct opt_def *found;
};

/* The first option of the line that somebody else has to carry out, or nobody can; --x=false asks for nothing. */
static void find_foreign(const struct opt_def *def, void *arg)
{
    struct foreign *f = arg;

    if (f->found || (def->verdict != VERDICT_REFUSED && def->verdict != VERDICT_DELEGATED))
        return;
    if (def->kind != OPT_BOOL || def->def || opt_bool(f->opts, def->name))
        f->found = def;
}

/* Options with a verdict: the real docker gets the whole command, or the line is refused. 0 = all are ours. */
static int check_options(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct foreign search = {.opts = opts};
    const struct opt_def *foreign;

    opt_each_given(opts, find_foreign, &search);
    foreign = search.found;
    if (!foreign)
        return 0;
    if (foreign->verdict == VERDICT_DELEGATED) {
        app_trace(app, "--%s belongs to the real docker: %s", foreign->name, foreign->reason);
        app_hand_over(app, err);
        return err_wrap(err, "--%s is carried out by the real docker", foreign->name);
    }
    return err_set(err, 125, "--%s is refused by atp-docker: %s", foreign->name, foreign->reason);
}

int command_call(struct app *app, const char *path, const struct strlist *words, struct err *err)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *opts = NULL;
    const struct cmd_def *def = cmd_by_path(path);
    const struct command *cmd = def ? find_command(def) : NULL;
    cleanup_strlist struct strlist argv = STRLIST_INIT;
    struct foreign search = {0};

    if (!cmd)
        return err_set(err, 1, "docker %s is refused by atp-docker: %s", path, def ? def->reason : "no such command");
    strlist_copy(&argv, words);
    opts = opt_parse(def, (int)argv.len, strlist_argv(&argv), err);
    if (!opts)
        return -1;
    search.opts = opts;
    opt_each_given(opts, find_foreign, &search);
    if (search.found)
        return err_set(err, 1, "--%s is refused by atp-docker: %s", search.found->name, search.found->reason);
    return cmd->run(app, opts, err);
}

/* Parses the verb's own words and runs it. words is how many of them named it. */
static int run_command(struct app *app, const struct command *cmd, int words, int argc, char **argv)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *opts = NULL;
    cleanup_err struct err err = ERR_INIT;
    int code;

    opts = opt_parse_as(cmd->def, words, argc - words, argv + words, &err);
    if (!opts)
        return report(ERROR_PLAIN, cmd->def, &err, 125);
    if (opt_help_asked(opts)) {
        opt_print_help_as(cmd->def, words, stdout);
        return 0;
    }
    for (size_t i = 0; i < opt_notes(opts)->len; i++)
        puts(opt_notes(opts)->items[i]);
    if (check_options(app, opts, &err) < 0)
        return report(cmd->errors, cmd->def, &err, cmd->errors == ERROR_RUN ? 125 : 1);
    app->dry_run |= opt_bool(opts, "dry-run");
    code = cmd->run(app, opts, &err);
    /* 125 is run's: elsewhere docker says 1 for what goes wrong after parsing */
    if (code < 0 && cmd->errors == ERROR_PLAIN && err.exit_code == 125)
        err.exit_code = 1;
    return code < 0 ? report(cmd->errors, cmd->def, &err, cmd->errors == ERROR_RUN ? 125 : 1) : code;
}

/* A command of the table that is not ours to carry out: a group's help, the real docker's own, or not done yet. */
static int other_command(struct app *app, const struct cmd_def *def, int words, int argc, char **argv)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *opts = NULL;
    cleanup_err struct err err = ERR_INIT;

    if (def->verdict == VERDICT_DELEGATED) {
        app_trace(app, "`docker %s` belongs to the real docker: %s", def->path, def->reason);
        app_hand_over(app, &err);
        err_wrap(&err, "docker %s is carried out by the real docker", def->path);
        return report(ERROR_PLAIN, def, &err, 1);
    }
    opts = opt_parse_as(def, words, argc - words, argv + words, &err);
    if (!opts)
        return report(ERROR_PLAIN, def, &err, 125);
    if (opt_help_asked(opts) || def->group) {
        opt_print_help_as(def, words, opt_help_asked(opts) ? stdout : stderr);
        return 0;
    }
    err_set(&err, 1, "docker %s is refused by atp-docker: %s", def->path, def->reason);
    return report(ERROR_PLAIN, def, &err, 1);
}

/* Whether a daemon that the user named, or the configured back end, takes every command away from us. */
static bool goes_to_docker(struct app *app, struct err *err)
{
    return app_route(app, err) == 0 && app->route->backend == BACKEND_DOCKER;
}

/* `docker help [COMMAND]`: what COMMAND --help prints. */
static int help_command(int argc, char **argv)
{
    int words = 0;
    const struct cmd_def *def = argc ? cmd_find(argc, argv, &words) : cmd_by_path("");

    if (def && words == argc) {
        opt_print_help_as(def, words, stdout);
        return 0;
    }
    fprintf(stderr, "unknown help topic:");
    for (int i = words; i < argc; i++)
        fprintf(stderr, " %s", argv[i]);
    fputc('\n', stderr);
    return 1;
}

/* A back end that cannot be decided stops what needs one; lists of commands and the real docker's words need none. */
static bool needs_back_end(const struct cmd_def *def)
{
    return !def->group && def->verdict != VERDICT_DELEGATED;
}

static int dispatch_command(struct app *app, int argc, char **argv, struct err *why);

/*
 * `docker compose` has options of its own in front of the command. They are kept, and left out of the words that name
 * the command and follow it. Without a command its help is printed.
 */
static int dispatch_compose(struct app *app, int argc, char **argv, struct err *why)
{
    const struct cmd_def *def = cmd_by_path("compose");
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;

    app->group = opt_parse_as(def, 1, argc - 1, argv + 1, &err);
    if (!app->group) {
        if (err.code == OPT_NO_SUCH_COMMAND)
            opt_print_help_as(def, 1, stdout);
        return report(ERROR_PLAIN, def, &err, 1);
    }
    if (opt_help_asked(app->group)) {
        opt_print_help_as(def, 1, stdout);
        return 0;
    }
    if (check_options(app, app->group, &err) < 0)
        return report(ERROR_PLAIN, def, &err, 1);
    app->dry_run = opt_bool(app->group, "dry-run");
    strlist_add(&words, "compose");
    if (opt_bool(app->group, "version"))
        strlist_add(&words, "version");
    else
        strlist_copy(&words, opt_args(app->group));
    return dispatch_command(app, (int)words.len, strlist_argv(&words), why);
}

/* What follows the global options: the words of a command. */
static int dispatch(struct app *app, int argc, char **argv)
{
    cleanup_err struct err err = ERR_INIT;

    if (goes_to_docker(app, &err)) {
        int words = 0;
        const struct cmd_def *def = cmd_find(argc, argv, &words);
        const struct command *cmd = def ? find_command(def) : NULL;

        app_hand_over(app, &err);
        return report(cmd ? cmd->errors : ERROR_PLAIN, def, &err, 125);
    }
    if (!strcmp(argv[0], "compose"))
        return dispatch_compose(app, argc, argv, &err);
    return dispatch_command(app, argc, argv, &err);
}

/* why: what stands against a back end; it is told when the command needs one. */
static int dispatch_command(struct app *app, int argc, char **argv, struct err *why)
{
    const struct cmd_def *def;
    const struct command *cmd;
    int words = 0;

    def = cmd_find(argc, argv, &words);
    cmd = def ? find_command(def) : NULL;
    if (!def && !strcmp(argv[0], "help"))
        return help_command(argc - 1, argv + 1);
    if (!def) {
        err_clear(why);
        cmd_unknown(argv[0], why);
        return report(ERROR_PLAIN, NULL, why, 1);
    }
    if (why->msg && needs_back_end(def) && !(argc > words && !strcmp(argv[words], "--help")))
        return report(cmd ? cmd->errors : ERROR_PLAIN, def, why, 125);
    err_clear(why);
    return cmd ? run_command(app, cmd, words, argc, argv) : other_command(app, def, words, argc, argv);
}

/* --tls and its kin speak of a real daemon, wherever it is. */
static bool asks_for_tls(const struct opt_parsed *root)
{
    return opt_bool(root, "tls") || opt_bool(root, "tlsverify") || opt_given(root, "tlscacert") ||
           opt_given(root, "tlscert") || opt_given(root, "tlskey");
}

/* A daemon that the user named: -H, then --context, then the environment. "default" is no name. */
static void find_real_host(struct app *app, const struct opt_parsed *root)
{
    const struct strlist *hosts = opt_list(root, "host");
    const char *context = opt_str(root, "context"), *host = getenv("DOCKER_HOST"), *env = getenv("DOCKER_CONTEXT");
    const struct {
        const char *value, *from;
    } places[] = {
        {hosts->len ? hosts->items[hosts->len - 1] : NULL, "-H"},
        {context, "--context"},
        {host, "DOCKER_HOST"},
        {env, "DOCKER_CONTEXT"},
    };

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (!places[i].value || !*places[i].value)
            continue;
        if (strcmp(places[i].value, "default")) {
            app->real_host = xstrdup(places[i].value);
            app->real_host_from = places[i].from;
        }
        break;
    }
    if (!app->real_host && asks_for_tls(root)) {
        app->real_host = xstrdup("behind TLS");
        app->real_host_from = "--tls";
    }
}

/* docker's own options, then a command. */
static int run_root(struct app *app, int argc, char **argv)
{
    const struct cmd_def *root = cmd_by_path("");
    cleanup_with(opt_parsed_freep) struct opt_parsed *opts = NULL;
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    bool compose = !strcmp(app->program, "docker-compose");

    opts = opt_parse_as(root, 0, compose ? 0 : argc - 1, argv + 1, &err);
    if (!opts)
        return report(ERROR_PLAIN, root, &err, 125);
    find_real_host(app, opts);
    if (compose) {
        strlist_add(&words, "compose");
        for (int i = 1; i < argc; i++)
            strlist_add(&words, argv[i]);
        return dispatch(app, (int)words.len, strlist_argv(&words));
    }
    if (opt_given(opts, "config"))
        setenv("DOCKER_CONFIG", opt_str(opts, "config"), 1); /* where credentials are looked for */
    if (opt_bool(opts, "version"))
        return print_version_line();
    if (opt_help_asked(opts) || !opt_args(opts)->len) {
        opt_print_help(root, opt_help_asked(opts) ? stdout : stderr);
        return 0;
    }
    strlist_copy(&words, opt_args(opts));
    return dispatch(app, (int)words.len, strlist_argv(&words));
}

/* A program may be started with its standard descriptors closed; none of ours may land on them. */
static void open_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    struct app app;
    int code;

    open_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    app_init(&app, argc, argv);
    code = run_root(&app, argc, argv);
    app_clear(&app);
    if (fflush(stdout) != 0 && code == 0)
        code = 1;
    return code;
}
