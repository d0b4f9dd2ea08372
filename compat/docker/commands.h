/*
 * The commands by name, for those that carry one out: cmd_def_run is what cmd_find() gives for "run".
 */
#ifndef ATP_DOCKER_COMMANDS_H
#define ATP_DOCKER_COMMANDS_H

#include "compat/docker/opt.h"

extern const struct cmd_def cmd_def_root, cmd_def_atp, cmd_def_atp_forward, cmd_def_atp_monitor, cmd_def_atp_options,
    cmd_def_atp_plan, cmd_def_atp_recover, cmd_def_atp_secret, cmd_def_attach, cmd_def_build, cmd_def_builder,
    cmd_def_builder_build, cmd_def_builder_prune, cmd_def_buildx, cmd_def_buildx_bake, cmd_def_buildx_build,
    cmd_def_buildx_create, cmd_def_buildx_du, cmd_def_buildx_imagetools, cmd_def_buildx_inspect, cmd_def_buildx_ls,
    cmd_def_buildx_prune, cmd_def_buildx_rm, cmd_def_buildx_stop, cmd_def_buildx_use, cmd_def_buildx_version,
    cmd_def_checkpoint, cmd_def_commit, cmd_def_compose, cmd_def_compose_alpha, cmd_def_compose_attach,
    cmd_def_compose_bridge, cmd_def_compose_build, cmd_def_compose_commit, cmd_def_compose_config, cmd_def_compose_cp,
    cmd_def_compose_create, cmd_def_compose_down, cmd_def_compose_events, cmd_def_compose_exec, cmd_def_compose_export,
    cmd_def_compose_images, cmd_def_compose_kill, cmd_def_compose_logs, cmd_def_compose_ls, cmd_def_compose_pause,
    cmd_def_compose_port, cmd_def_compose_ps, cmd_def_compose_publish, cmd_def_compose_pull, cmd_def_compose_push,
    cmd_def_compose_restart, cmd_def_compose_rm, cmd_def_compose_run, cmd_def_compose_scale, cmd_def_compose_start,
    cmd_def_compose_stats, cmd_def_compose_stop, cmd_def_compose_top, cmd_def_compose_unpause, cmd_def_compose_up,
    cmd_def_compose_version, cmd_def_compose_volumes, cmd_def_compose_wait, cmd_def_compose_watch, cmd_def_config,
    cmd_def_container, cmd_def_container_inspect, cmd_def_container_prune, cmd_def_context, cmd_def_cp, cmd_def_create,
    cmd_def_diff, cmd_def_events, cmd_def_exec, cmd_def_export, cmd_def_history, cmd_def_image, cmd_def_image_inspect,
    cmd_def_image_prune, cmd_def_images, cmd_def_import, cmd_def_info, cmd_def_inspect, cmd_def_kill, cmd_def_load,
    cmd_def_login, cmd_def_logout, cmd_def_logs, cmd_def_manifest, cmd_def_manifest_inspect, cmd_def_network,
    cmd_def_network_connect, cmd_def_network_create, cmd_def_network_disconnect, cmd_def_network_inspect,
    cmd_def_network_ls, cmd_def_network_prune, cmd_def_network_rm, cmd_def_node, cmd_def_pause, cmd_def_plugin,
    cmd_def_port, cmd_def_ps, cmd_def_pull, cmd_def_push, cmd_def_rename, cmd_def_restart, cmd_def_rm, cmd_def_rmi,
    cmd_def_run, cmd_def_save, cmd_def_search, cmd_def_secret, cmd_def_service, cmd_def_stack, cmd_def_start,
    cmd_def_stats, cmd_def_stop, cmd_def_swarm, cmd_def_system, cmd_def_system_df, cmd_def_system_prune, cmd_def_tag,
    cmd_def_top, cmd_def_trust, cmd_def_unpause, cmd_def_update, cmd_def_version, cmd_def_volume, cmd_def_volume_create,
    cmd_def_volume_inspect, cmd_def_volume_ls, cmd_def_volume_prune, cmd_def_volume_rm, cmd_def_volume_update,
    cmd_def_wait;

#endif
