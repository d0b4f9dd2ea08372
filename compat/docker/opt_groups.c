/* Commands that have others below them */
#include "compat/docker/tables.h"

const struct cmd_def cmd_def_container = {
    .path = "container",
    .summary = "Manage containers",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    OURS,
};

const struct cmd_def cmd_def_image = {
    .path = "image",
    .summary = "Manage images",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    OURS,
};

const struct cmd_def cmd_def_network = {
    .path = "network",
    .summary = "Manage networks",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    OURS,
};

const struct cmd_def cmd_def_system = {
    .path = "system",
    .summary = "Manage Docker",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    OURS,
};

const struct cmd_def cmd_def_volume = {
    .path = "volume",
    .usage = "COMMAND",
    .summary = "Manage volumes",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    OURS,
};

const struct cmd_def cmd_def_builder = {
    .path = "builder",
    .summary = "Manage builds",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    OURS,
};

const struct cmd_def cmd_def_checkpoint = {
    .path = "checkpoint",
    .summary = "Manage checkpoints",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    DELEGATED(REAL_DOCKER_ONLY),
};

const struct cmd_def cmd_def_context = {
    .path = "context",
    .summary = "Manage contexts",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    DELEGATED(REAL_DOCKER_ONLY),
};

const struct cmd_def cmd_def_plugin = {
    .path = "plugin",
    .summary = "Manage plugins",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    DELEGATED(REAL_DOCKER_ONLY),
};

const struct cmd_def cmd_def_trust = {
    .path = "trust",
    .summary = "Manage trust on Docker images",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    DELEGATED(REAL_DOCKER_ONLY),
};

const struct cmd_def cmd_def_manifest = {
    .path = "manifest",
    .usage = "COMMAND",
    .summary = "Manage Docker image manifests and manifest lists",
    .interspersed = true,
    .group = true,
    .section = SECTION_MANAGEMENT,
    DELEGATED(REAL_DOCKER_ONLY),
};

const struct cmd_def cmd_def_buildx = {
    .path = "buildx",
    .usage = "COMMAND",
    .summary = "Extended build capabilities with BuildKit",
    .interspersed = true,
    .group = true,
    .section = SECTION_HIDDEN,
    OURS,
};

const struct cmd_def cmd_def_config = {
    .path = "config",
    .summary = "Manage Swarm configs",
    .interspersed = true,
    .group = true,
    .section = SECTION_SWARM,
    DELEGATED(SWARM_ONLY),
};

const struct cmd_def cmd_def_node = {
    .path = "node",
    .summary = "Manage Swarm nodes",
    .interspersed = true,
    .group = true,
    .section = SECTION_SWARM,
    DELEGATED(SWARM_ONLY),
};

const struct cmd_def cmd_def_secret = {
    .path = "secret",
    .summary = "Manage Swarm secrets",
    .interspersed = true,
    .group = true,
    .section = SECTION_SWARM,
    DELEGATED(SWARM_ONLY),
};

const struct cmd_def cmd_def_service = {
    .path = "service",
    .summary = "Manage Swarm services",
    .interspersed = true,
    .group = true,
    .section = SECTION_SWARM,
    DELEGATED(SWARM_ONLY),
};

const struct cmd_def cmd_def_swarm = {
    .path = "swarm",
    .summary = "Manage Swarm",
    .interspersed = true,
    .group = true,
    .section = SECTION_SWARM,
    DELEGATED(SWARM_ONLY),
};

const struct cmd_def cmd_def_stack = {
    .path = "stack",
    .usage = "[OPTIONS]",
    .summary = "Manage Swarm stacks",
    .interspersed = true,
    .group = true,
    .section = SECTION_SWARM,
    DELEGATED(SWARM_ONLY),
};
