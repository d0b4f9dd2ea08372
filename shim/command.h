/*
 * A verb is a table entry: each file in shim/cmd/ ends with one `const struct command`, and shim/main.c lists them all.
 * The words, options and texts of a verb are data of compat/docker; a verb's own file is short and does its work by
 * calling the rooms below.
 */
#ifndef ATP_SHIM_COMMAND_H
#define ATP_SHIM_COMMAND_H

#include "compat/docker/opt.h"

struct app;
struct err;

enum error_style {
    ERROR_PLAIN, /* the message alone, as most commands print a daemon's answer */
    ERROR_RUN,   /* "docker: <message>", a blank line, and where the help is: run and its kin */
};

struct command {
    const struct cmd_def *def;
    enum error_style errors;
    /* Returns the program's exit code, or -1 with err. */
    int (*run)(struct app *app, const struct opt_parsed *opts, struct err *err);
};

/*
 * A verb called by another one, with its words (without its name): parsed, checked and run in this process. `path` is
 * the command's ("create"). What only the real docker could carry out is refused. The exit code, or -1 with err.
 */
struct strlist;
int command_call(struct app *app, const char *path, const struct strlist *words, struct err *err);

/* `docker --version`; 0. */
int print_version_line(void);

/* clang-format off: one to a line, sorted */
extern const struct command
    cmd_atp_forward,
    cmd_atp_monitor,
    cmd_atp_options,
    cmd_atp_plan,
    cmd_atp_recover,
    cmd_atp_secret,
    cmd_attach,
    cmd_build,
    cmd_builder_build,
    cmd_builder_prune,
    cmd_buildx_build,
    cmd_buildx_du,
    cmd_buildx_prune,
    cmd_buildx_version,
    cmd_commit,
    cmd_compose_attach,
    cmd_compose_build,
    cmd_compose_commit,
    cmd_compose_config,
    cmd_compose_cp,
    cmd_compose_create,
    cmd_compose_down,
    cmd_compose_events,
    cmd_compose_exec,
    cmd_compose_export,
    cmd_compose_images,
    cmd_compose_kill,
    cmd_compose_logs,
    cmd_compose_ls,
    cmd_compose_pause,
    cmd_compose_port,
    cmd_compose_ps,
    cmd_compose_pull,
    cmd_compose_push,
    cmd_compose_restart,
    cmd_compose_rm,
    cmd_compose_run,
    cmd_compose_scale,
    cmd_compose_start,
    cmd_compose_stats,
    cmd_compose_stop,
    cmd_compose_top,
    cmd_compose_unpause,
    cmd_compose_up,
    cmd_compose_version,
    cmd_compose_volumes,
    cmd_compose_wait,
    cmd_compose_watch,
    cmd_container_inspect,
    cmd_container_prune,
    cmd_cp,
    cmd_create,
    cmd_events,
    cmd_exec,
    cmd_export,
    cmd_history,
    cmd_image_inspect,
    cmd_image_prune,
    cmd_images,
    cmd_import,
    cmd_info,
    cmd_inspect,
    cmd_kill,
    cmd_load,
    cmd_login,
    cmd_logout,
    cmd_logs,
    cmd_manifest_inspect,
    cmd_network_connect,
    cmd_network_create,
    cmd_network_disconnect,
    cmd_network_inspect,
    cmd_network_ls,
    cmd_network_prune,
    cmd_network_rm,
    cmd_pause,
    cmd_port,
    cmd_ps,
    cmd_pull,
    cmd_push,
    cmd_rename,
    cmd_restart,
    cmd_rm,
    cmd_rmi,
    cmd_run,
    cmd_save,
    cmd_start,
    cmd_stats,
    cmd_stop,
    cmd_system_prune,
    cmd_tag,
    cmd_top,
    cmd_unpause,
    cmd_version,
    cmd_volume_create,
    cmd_volume_inspect,
    cmd_volume_ls,
    cmd_volume_prune,
    cmd_volume_rm,
    cmd_wait;
/* clang-format on */

#endif
