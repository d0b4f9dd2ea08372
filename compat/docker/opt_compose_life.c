/* docker compose: the life of services. The sentences are ours */
#include "compat/docker/tables.h"

static const struct opt_def options_compose_cp[] = {
    FLAG("all", 0, "Include all, not only what runs", OURS),
    FLAG("archive", 'a', "Keep owners and groups", OURS),
    DRY_RUN,
    FLAG("follow-link", 'L', "Follow symbolic links of the source", OURS),
    OPT("index", 0, OPT_INT, "int", "Which container of a service with several", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_cp = {
    .path = "compose cp",
    .usage = "[OPTIONS] SERVICE:SRC_PATH DEST_PATH|-",
    .summary = "Copy files between a container of a service and this machine",
    .options = options_compose_cp,
    .min_args = 2,
    .max_args = 2,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_pull[] = {
    DRY_RUN,
    FLAG("ignore-buildable", 0, "Leave out images that can be built", OURS),
    FLAG("ignore-pull-failures", 0, "Go on when an image cannot be pulled", OURS),
    FLAG("include-deps", 0, "Include the services that others depend on", OURS),
    FLAG("no-parallel", 0, "Pull one after the other", OURS, .def = "true", .flags = OPT_HIDDEN),
    FLAG("parallel", 0, "Pull several at once", OURS, .def = "true", .flags = OPT_HIDDEN),
    OPT("policy", 0, OPT_STRING, "string", "Which images to pull (\"missing\", \"always\")", OURS),
    FLAG("quiet", 'q', "Print only what is asked for", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_pull = {
    .path = "compose pull",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "Pull service images",
    .options = options_compose_pull,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_push[] = {
    DRY_RUN,
    FLAG("ignore-push-failures", 0, "Go on when an image cannot be pushed", OURS),
    FLAG("include-deps", 0, "Include the services that others depend on", OURS),
    FLAG("quiet", 'q', "Print only what is asked for", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_push = {
    .path = "compose push",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "Push service images",
    .options = options_compose_push,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_rm[] = {
    FLAG("all", 'a', "No longer used", OURS, .flags = OPT_HIDDEN),
    DRY_RUN,
    FLAG("force", 'f', "Ask nothing", OURS),
    FLAG("stop", 's', "Stop containers first", OURS),
    FLAG("volumes", 'v', "Remove anonymous volumes too", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_rm = {
    .path = "compose rm",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "Remove stopped containers",
    .options = options_compose_rm,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_stop[] = {
    DRY_RUN,
    OPT("timeout", 't', OPT_INT, "int", "Seconds to wait before killing containers", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_stop = {
    .path = "compose stop",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "Stop services",
    .options = options_compose_stop,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_start[] = {
    DRY_RUN,
    FLAG("wait", 0, "Wait until services are running or healthy", OURS),
    OPT("wait-timeout", 0, OPT_INT, "int", "Wait at most so many seconds", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_start = {
    .path = "compose start",
    .usage = "[SERVICE...]",
    .summary = "Start services",
    .options = options_compose_start,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_restart[] = {
    DRY_RUN,
    FLAG("no-deps", 0, "Leave the services alone that others depend on", OURS),
    OPT("timeout", 't', OPT_INT, "int", "Seconds to wait before killing containers", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_restart = {
    .path = "compose restart",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "Restart services",
    .options = options_compose_restart,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_kill[] = {
    DRY_RUN,
    FLAG("remove-orphans", 0, "Remove containers of services that the file no longer has", OURS),
    OPT("signal", 's', OPT_STRING, "string", "Signal to send", OURS, .def = "SIGKILL"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_kill = {
    .path = "compose kill",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "Kill containers",
    .options = options_compose_kill,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_pause[] = {
    DRY_RUN,
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_pause = {
    .path = "compose pause",
    .usage = "[SERVICE...]",
    .summary = "Pause services",
    .options = options_compose_pause,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_unpause[] = {
    DRY_RUN,
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_unpause = {
    .path = "compose unpause",
    .usage = "[SERVICE...]",
    .summary = "Unpause services",
    .options = options_compose_unpause,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_wait[] = {
    FLAG("down-project", 0, "Take the project down when the first container ends", OURS),
    DRY_RUN,
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_wait = {
    .path = "compose wait",
    .usage = "SERVICE [SERVICE...] [OPTIONS]",
    .summary = "Wait until containers end and print their exit codes",
    .options = options_compose_wait,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_attach[] = {
    OPT("detach-keys", 0, OPT_STRING, "string", "Keys that detach", OURS),
    DRY_RUN,
    OPT("index", 0, OPT_INT, "int", "Which container of a service with several", OURS),
    FLAG("no-stdin", 0, "Do not attach standard input", OURS),
    FLAG("sig-proxy", 0, "Pass signals on", OURS, .def = "true"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_attach = {
    .path = "compose attach",
    .usage = "[OPTIONS] SERVICE",
    .summary = "Attach this terminal to a container of a service",
    .options = options_compose_attach,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_scale[] = {
    DRY_RUN,
    FLAG("no-deps", 0, "Leave the services alone that others depend on", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_scale = {
    .path = "compose scale",
    .usage = "[SERVICE=REPLICAS...]",
    .summary = "Change the number of containers of services",
    .options = options_compose_scale,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_watch[] = {
    DRY_RUN,
    FLAG("no-up", 0, "Do not start services first", OURS),
    FLAG("prune", 0, "Remove images that are no longer used", OURS, .def = "true"),
    FLAG("quiet", 0, "Print no output of builds", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_watch = {
    .path = "compose watch",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "Rebuild or refresh services when files change",
    .options = options_compose_watch,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_commit[] = {
    OPT("author", 'a', OPT_STRING, "string", "Who made it", OURS),
    OPT("change", 'c', OPT_LIST, "list", "Change the image by this line of a Dockerfile", OURS),
    DRY_RUN,
    OPT("index", 0, OPT_INT, "int", "Which container of a service with several", OURS),
    OPT("message", 'm', OPT_STRING, "string", "What its history says", OURS),
    FLAG("pause", 'p', "Pause the container meanwhile", OURS, .def = "true"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_commit = {
    .path = "compose commit",
    .usage = "[OPTIONS] SERVICE [REPOSITORY[:TAG]]",
    .summary = "Make an image of what a container of a service has become",
    .options = options_compose_commit,
    .min_args = 1,
    .max_args = 2,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_export[] = {
    DRY_RUN,
    OPT("index", 0, OPT_INT, "int", "Which container of a service with several", OURS),
    OPT("output", 'o', OPT_STRING, "string", "Write to this file", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_export = {
    .path = "compose export",
    .usage = "[OPTIONS] SERVICE",
    .summary = "Write the file system of a container of a service as a tar archive",
    .options = options_compose_export,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_publish[] = {
    FLAG("app", 0, "Publish the images too", OURS),
    DRY_RUN,
    OPT("oci-version", 0, OPT_STRING, "string", "Version of the OCI artifact", OURS),
    FLAG("resolve-image-digests", 0, "Put digests into the names of images", OURS),
    FLAG("with-env", 0, "Publish the variables of the environment too", OURS),
    FLAG("y", 0, "Answer yes to every question", OURS, .flags = OPT_HIDDEN, .alias_of = "yes"),
    FLAG("yes", 'y', "Answer yes to every question", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_publish = {
    .path = "compose publish",
    .usage = "[OPTIONS] REPOSITORY[:TAG]",
    .summary = "Publish the application as an artifact",
    .options = options_compose_publish,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    REFUSED("an application cannot be published from here; its images can, by `docker compose push`"),
};

/* What follows their name is not looked at: it is refused as a whole. */
const struct cmd_def cmd_def_compose_bridge = {
    .path = "compose bridge",
    .usage = "CMD [OPTIONS]",
    .summary = "Convert compose files into another model",
    .max_args = -1,
    REFUSED("other models are made by the real docker compose, which needs a real Docker daemon for it"),
};

const struct cmd_def cmd_def_compose_alpha = {
    .path = "compose alpha",
    .usage = "[COMMAND]",
    .summary = "Experimental commands",
    .max_args = -1,
    .section = SECTION_HIDDEN,
    REFUSED("experimental commands are not carried out"),
};
