#include "translate/compose/shape.h"

#include <stddef.h>

/* What more than one key takes. */
#define SHAPE(name, ...) static const struct shape name = {__VA_ARGS__}

SHAPE(string, .types = TYPE_STRING);
SHAPE(boolean, .types = TYPE_BOOLEAN);
SHAPE(integer, .types = TYPE_INTEGER);
SHAPE(number, .types = TYPE_NUMBER);
SHAPE(string_or_null, .types = TYPE_STRING | TYPE_NULL);
SHAPE(bool_or_string, .types = TYPE_BOOLEAN | TYPE_STRING);
SHAPE(int_or_string, .types = TYPE_INTEGER | TYPE_STRING);
SHAPE(number_or_string, .types = TYPE_NUMBER | TYPE_STRING);
SHAPE(number_string_null, .types = TYPE_NUMBER | TYPE_STRING | TYPE_NULL);
SHAPE(plain_value, .types = TYPE_STRING | TYPE_NUMBER | TYPE_BOOLEAN | TYPE_NULL);
SHAPE(option_value, .types = TYPE_STRING | TYPE_NUMBER | TYPE_BOOLEAN);

SHAPE(strings, .types = TYPE_ARRAY, .item = &string);
SHAPE(unique_strings, .types = TYPE_ARRAY, .item = &string, .unique = true);
SHAPE(unique_numbers, .types = TYPE_ARRAY, .item = &number_or_string, .unique = true);
SHAPE(string_or_list, .one_of = {&string, &unique_strings});
SHAPE(dictionary, .types = TYPE_OBJECT, .names = NAMES_ANY, .item = &plain_value, .no_x = true);
SHAPE(list_or_dict, .one_of = {&dictionary, &unique_strings});
SHAPE(options_map, .types = TYPE_OBJECT, .names = NAMES_ANY, .item = &number_or_string, .open = true, .no_x = true);
SHAPE(string_map, .types = TYPE_OBJECT, .names = NAMES_ANY, .item = &string, .no_x = true);
SHAPE(any_map, .types = TYPE_OBJECT, .open = true);
SHAPE(nothing, .types = TYPE_NULL);

SHAPE(command, .one_of = {&nothing, &string, &strings});
SHAPE(test_words, .one_of = {&string, &strings});
SHAPE(host_addresses, .one_of = {&string, &strings});
SHAPE(hosts_map, .types = TYPE_OBJECT, .names = NAMES_ANY, .item = &host_addresses, .no_x = true);
SHAPE(extra_hosts, .one_of = {&hosts_map, &unique_strings});
SHAPE(label_file, .one_of = {&string, &strings});

/* Why a thing is not carried out. */
#define SWARM      "only a swarm reads it; docker compose ignores it too"
#define NO_ADDRESS "the platform gives out the addresses"
#define USE_NAMES  NO_ADDRESS "; use names, which are answered in every network"
#define NO_CGROUPS "a sandbox has no cgroups of its own"
#define NO_DISK    "block devices cannot be throttled there"
#define NO_SCHED   "the platform's scheduler cannot be set"
#define NO_DEVICES "a sandbox has no host devices"
#define NO_POWERS  "what a sandbox may do is fixed"
#define NO_SHARING "containers do not share namespaces"
#define NO_SWAP    "a sandbox has no swap"
#define NO_OOM     "the platform decides what runs out of memory"
#define WINDOWS    "only containers of Windows have it"
#define NO_DRIVER  "there is one driver"
#define NO_MODELS  "there is no model runner"
#define BUILDING   "used when the image is built"
#define READ_EARLY "carried out when the file is read"

/* A row: carried as docker compose does / approximately / not at all / without effect. */
#define OK(name, shape, form)                                                                                          \
    {                                                                                                                  \
        name, &shape, form, 0, COMPOSE_CARRIED, NULL                                                                   \
    }
#define OKF(name, shape, form, flags)                                                                                  \
    {                                                                                                                  \
        name, &shape, form, flags, COMPOSE_CARRIED, NULL                                                               \
    }
#define NEAR(name, shape, form, why)                                                                                   \
    {                                                                                                                  \
        name, &shape, form, 0, COMPOSE_APPROXIMATED, why                                                               \
    }
#define NO(name, shape, form, why)                                                                                     \
    {                                                                                                                  \
        name, &shape, form, 0, COMPOSE_REFUSED, why                                                                    \
    }
#define IDLE(name, shape, form, why)                                                                                   \
    {                                                                                                                  \
        name, &shape, form, 0, COMPOSE_NO_EFFECT, why                                                                  \
    }
#define IDLEF(name, shape, form, flags, why)                                                                           \
    {                                                                                                                  \
        name, &shape, form, flags, COMPOSE_NO_EFFECT, why                                                              \
    }
#define PARTS(name, shape, form)                                                                                       \
    {                                                                                                                  \
        name, &shape, form, KEY_PARTS, COMPOSE_CARRIED, NULL                                                           \
    }
#define END                                                                                                            \
    {                                                                                                                  \
        NULL, NULL, FORM_NONE, 0, COMPOSE_CARRIED, NULL                                                                \
    }
#define OBJECT(shape_name, rows, ...) SHAPE(shape_name, .types = TYPE_OBJECT, .keys = rows, __VA_ARGS__)
/* clang-format off */

/* ---- parts of a service ---- */

static const struct key file_reference_keys[] = {
    OK("source", string, FORM_STRING),
    OK("target", string, FORM_STRING),
    NEAR("uid", string, FORM_STRING, "the file belongs to whom it belongs to on this machine"),
    NEAR("gid", string, FORM_STRING, "the file belongs to whom it belongs to on this machine"),
    NEAR("mode", number_or_string, FORM_MODE, "the file has the mode that it has on this machine"),
    END};
OBJECT(file_reference_object, file_reference_keys, .open = false);
SHAPE(file_reference_item, .one_of = {&string, &file_reference_object});
SHAPE(file_references, .types = TYPE_ARRAY, .item = &file_reference_item);

static const struct key ulimit_keys[] = {
    OKF("soft", int_or_string, FORM_INT, KEY_ALWAYS),
    OKF("hard", int_or_string, FORM_INT, KEY_ALWAYS),
    END};
OBJECT(ulimit_object, ulimit_keys, .required = "soft|hard");
SHAPE(ulimit, .one_of = {&int_or_string, &ulimit_object});
SHAPE(ulimits, .types = TYPE_OBJECT, .names = NAMES_LOWER, .item = &ulimit, .open = true, .no_x = true);

static const struct key build_keys[] = {
    OK("context", string, FORM_STRING),
    OK("dockerfile", string, FORM_STRING),
    OK("dockerfile_inline", string, FORM_STRING),
    NO("entitlements", strings, FORM_STRINGS, NO_POWERS),
    OK("args", list_or_dict, FORM_ENV),
    IDLE("provenance", bool_or_string, FORM_STRING, "nothing attests a build here"),
    IDLE("sbom", bool_or_string, FORM_STRING, "nothing attests a build here"),
    NO("ssh", list_or_dict, FORM_SSH, "no key of this machine is shown to the builder"),
    OK("labels", list_or_dict, FORM_MAPPING),
    IDLE("cache_from", strings, FORM_STRINGS, "the builder's own cache is always used"),
    IDLE("cache_to", strings, FORM_STRINGS, "the builder's own cache is always used"),
    OK("no_cache", bool_or_string, FORM_BOOL),
    OK("additional_contexts", list_or_dict, FORM_MAPPING),
    OK("pull", bool_or_string, FORM_BOOL),
    NO("extra_hosts", extra_hosts, FORM_HOSTS, "a build's names cannot be set"),
    NO("isolation", string, FORM_STRING, WINDOWS),
    NEAR("network", string, FORM_STRING, "none or the platform's own"),
    OK("target", string, FORM_STRING),
    OK("secrets", file_references, FORM_OBJECTS),
    NO("shm_size", int_or_string, FORM_BYTES, "a build's /dev/shm cannot be set"),
    OK("tags", strings, FORM_STRINGS),
    NO("ulimits", ulimits, FORM_ULIMITS, "a build's limits cannot be set"),
    OK("platforms", strings, FORM_STRINGS),
    NO("privileged", bool_or_string, FORM_BOOL, NO_POWERS),
    END};
OBJECT(build_object, build_keys, .open = false);
SHAPE(build, .one_of = {&string, &build_object});

static const struct key hook_keys[] = {
    OKF("command", command, FORM_WORDS, KEY_JSON),
    OK("user", string, FORM_STRING),
    NO("privileged", bool_or_string, FORM_BOOL, NO_POWERS),
    OK("working_dir", string, FORM_STRING),
    OK("environment", list_or_dict, FORM_ENV),
    END};
OBJECT(hook, hook_keys, .required = "command");
SHAPE(hooks, .types = TYPE_ARRAY, .item = &hook);

SHAPE(watch_action, .types = TYPE_STRING, .words = "rebuild|sync|restart|sync+restart|sync+exec");
static const struct key watch_keys[] = {
    OKF("path", string, FORM_STRING, KEY_ALWAYS),
    OKF("action", watch_action, FORM_STRING, KEY_ALWAYS),
    OK("target", string, FORM_STRING),
    OKF("exec", hook, FORM_OBJECT, KEY_JSON),
    OK("include", string_or_list, FORM_STRINGS),
    OK("ignore", string_or_list, FORM_STRINGS),
    OK("initial_sync", boolean, FORM_BOOL),
    END};
OBJECT(watch, watch_keys, .required = "path|action");
SHAPE(watches, .types = TYPE_ARRAY, .item = &watch);
static const struct key develop_keys[] = {OK("watch", watches, FORM_OBJECTS), END};
SHAPE(develop, .types = TYPE_OBJECT | TYPE_NULL, .keys = develop_keys);

static const struct key weight_keys[] = {
    OKF("path", string, FORM_STRING, KEY_ALWAYS | KEY_CAPITAL),
    OKF("weight", int_or_string, FORM_INT, KEY_ALWAYS | KEY_CAPITAL),
    END};
static const struct key throttle_keys[] = {
    OKF("path", string, FORM_STRING, KEY_ALWAYS | KEY_CAPITAL),
    OKF("rate", int_or_string, FORM_BYTES, KEY_ALWAYS | KEY_CAPITAL),
    END};
OBJECT(weight, weight_keys, .no_x = true);
OBJECT(throttle, throttle_keys, .no_x = true);
SHAPE(weights, .types = TYPE_ARRAY, .item = &weight);
SHAPE(throttles, .types = TYPE_ARRAY, .item = &throttle);
static const struct key blkio_keys[] = {
    NO("weight", int_or_string, FORM_INT, NO_DISK),
    NO("weight_device", weights, FORM_OBJECTS, NO_DISK),
    NO("device_read_bps", throttles, FORM_OBJECTS, NO_DISK),
    NO("device_read_iops", throttles, FORM_OBJECTS, NO_DISK),
    NO("device_write_bps", throttles, FORM_OBJECTS, NO_DISK),
    NO("device_write_iops", throttles, FORM_OBJECTS, NO_DISK),
    END};
OBJECT(blkio, blkio_keys, .no_x = true);

static const struct key credential_keys[] = {
    NO("config", string, FORM_STRING, WINDOWS),
    NO("file", string, FORM_STRING, WINDOWS),
    NO("registry", string, FORM_STRING, WINDOWS),
    END};
OBJECT(credential_spec, credential_keys, .open = false);

SHAPE(condition, .types = TYPE_STRING, .words = "service_started|service_healthy|service_completed_successfully");
static const struct key dependency_keys[] = {
    OK("condition", condition, FORM_STRING),
    OK("restart", bool_or_string, FORM_BOOL),
    OKF("required", boolean, FORM_BOOL, KEY_ALWAYS),
    END};
OBJECT(dependency, dependency_keys, .required = "condition");
SHAPE(dependencies, .types = TYPE_OBJECT, .names = NAMES_ID, .item = &dependency, .no_x = true);
SHAPE(depends_on, .one_of = {&unique_strings, &dependencies});

SHAPE(update_order, .types = TYPE_STRING, .words = "start-first|stop-first");
static const struct key update_config_keys[] = {
    IDLE("parallelism", int_or_string, FORM_INT_KEPT, SWARM),
    IDLE("delay", string, FORM_DURATION, SWARM),
    IDLE("failure_action", string, FORM_STRING, SWARM),
    IDLE("monitor", string, FORM_DURATION, SWARM),
    IDLE("max_failure_ratio", number_or_string, FORM_FLOAT, SWARM),
    IDLE("order", update_order, FORM_STRING, SWARM),
    END};
OBJECT(update_config, update_config_keys, .open = false);

static const struct key device_request_keys[] = {
    OK("capabilities", unique_strings, FORM_STRINGS),
    NEAR("driver", string, FORM_STRING, "the platform's GPUs have one driver"),
    OK("count", int_or_string, FORM_COUNT),
    OK("device_ids", unique_strings, FORM_STRINGS), /* as many GPUs */
    NO("options", list_or_dict, FORM_MAPPING, "the platform's GPUs have no options"),
    END};
OBJECT(device_request, device_request_keys, .required = "capabilities");
OBJECT(gpu_request, device_request_keys, .open = true);
SHAPE(device_requests, .types = TYPE_ARRAY, .item = &device_request);
SHAPE(all_gpus, .types = TYPE_STRING, .words = "all");
SHAPE(gpu_requests, .types = TYPE_ARRAY, .item = &gpu_request);
SHAPE(gpus, .one_of = {&all_gpus, &gpu_requests});

static const struct key discrete_keys[] = {
    IDLEF("kind", string, FORM_STRING, KEY_ALWAYS, SWARM),
    IDLEF("value", number_or_string, FORM_INT, KEY_ALWAYS, SWARM),
    END};
OBJECT(discrete, discrete_keys, .open = false);
static const struct key generic_keys[] = {
    IDLE("discrete_resource_spec", discrete, FORM_OBJECT_KEPT, SWARM), END};
OBJECT(generic_resource, generic_keys, .open = false);
SHAPE(generic_resources, .types = TYPE_ARRAY, .item = &generic_resource);

static const struct key limit_keys[] = {
    OK("cpus", number_or_string, FORM_FLOAT),
    OK("memory", string, FORM_BYTES),
    NO("pids", int_or_string, FORM_INT, "a sandbox has no limit of its own on processes"),
    END};
static const struct key reservation_keys[] = {
    IDLE("cpus", number_or_string, FORM_FLOAT, "docker compose does not carry it out either"),
    OK("memory", string, FORM_BYTES),
    PARTS("devices", device_requests, FORM_OBJECTS),
    IDLE("generic_resources", generic_resources, FORM_OBJECTS, SWARM),
    END};
OBJECT(limits, limit_keys, .open = false);
OBJECT(reservations, reservation_keys, .open = false);
static const struct key resource_keys[] = {
    PARTS("limits", limits, FORM_OBJECT_KEPT),
    PARTS("reservations", reservations, FORM_OBJECT_KEPT),
    END};
OBJECT(resources, resource_keys, .open = false);

static const struct key restart_keys[] = {
    OK("condition", string, FORM_STRING),
    IDLE("delay", string, FORM_DURATION_KEPT, SWARM),
    OK("max_attempts", int_or_string, FORM_INT_KEPT),
    IDLE("window", string, FORM_DURATION_KEPT, SWARM),
    END};
OBJECT(restart_policy, restart_keys, .open = false);

static const struct key preference_keys[] = {IDLE("spread", string, FORM_STRING, SWARM), END};
OBJECT(preference, preference_keys, .open = false);
SHAPE(preferences, .types = TYPE_ARRAY, .item = &preference);
static const struct key placement_keys[] = {
    IDLE("constraints", strings, FORM_STRINGS, SWARM),
    IDLE("preferences", preferences, FORM_OBJECTS, SWARM),
    IDLE("max_replicas_per_node", int_or_string, FORM_INT, SWARM),
    END};
OBJECT(placement, placement_keys, .open = false);

static const struct key deploy_keys[] = {
    IDLE("mode", string, FORM_STRING, SWARM),
    OK("replicas", int_or_string, FORM_INT_KEPT),
    IDLE("labels", list_or_dict, FORM_MAPPING, SWARM),
    IDLE("update_config", update_config, FORM_OBJECT_KEPT, SWARM),
    IDLE("rollback_config", update_config, FORM_OBJECT_KEPT, SWARM),
    {"resources", &resources, FORM_OBJECT, KEY_JSON | KEY_PARTS, COMPOSE_CARRIED, NULL},
    PARTS("restart_policy", restart_policy, FORM_OBJECT_KEPT),
    IDLEF("placement", placement, FORM_OBJECT, KEY_JSON, SWARM),
    IDLE("endpoint_mode", string, FORM_STRING, SWARM),
    END};
SHAPE(deploy, .types = TYPE_OBJECT | TYPE_NULL, .keys = deploy_keys);

static const struct key device_keys[] = {
    NO("source", string, FORM_STRING, NO_DEVICES),
    NO("target", string, FORM_STRING, NO_DEVICES),
    NO("permissions", string, FORM_STRING, NO_DEVICES),
    END};
OBJECT(device_object, device_keys, .required = "source");
SHAPE(device, .one_of = {&string, &device_object});
SHAPE(devices, .types = TYPE_ARRAY, .item = &device);

static const struct key env_file_keys[] = {
    OK("path", string, FORM_STRING),
    OKF("required", bool_or_string, FORM_BOOL, KEY_ALWAYS),
    OK("format", string, FORM_STRING),
    END};
OBJECT(env_file_object, env_file_keys, .required = "path", .no_x = true);
SHAPE(env_file_item, .one_of = {&string, &env_file_object});
SHAPE(env_file_items, .types = TYPE_ARRAY, .item = &env_file_item);
SHAPE(env_file, .one_of = {&string, &env_file_items});

static const struct key extends_keys[] = {
    OK("file", string, FORM_STRING), OK("service", string, FORM_STRING), END};
OBJECT(extends_object, extends_keys, .required = "service", .no_x = true);
SHAPE(extends, .one_of = {&string, &extends_object});

SHAPE(provider_list, .types = TYPE_ARRAY, .item = &option_value);
SHAPE(provider_value, .one_of = {&option_value, &provider_list});
SHAPE(provider_options, .types = TYPE_OBJECT, .names = NAMES_ANY, .item = &provider_value, .open = true);
static const struct key provider_keys[] = {
    OK("type", string, FORM_STRING), OK("options", provider_options, FORM_LISTS), END};
OBJECT(provider, provider_keys, .required = "type");

static const struct key health_keys[] = {
    OK("test", test_words, FORM_TEST),
    OK("timeout", string, FORM_DURATION_KEPT),
    OK("interval", string, FORM_DURATION_KEPT),
    OK("retries", number_or_string, FORM_INT_KEPT),
    OK("start_period", string, FORM_DURATION_KEPT),
    OK("start_interval", string, FORM_DURATION_KEPT),
    OK("disable", bool_or_string, FORM_BOOL),
    END};
OBJECT(healthcheck, health_keys, .open = false);

SHAPE(logging_options, .types = TYPE_OBJECT, .names = NAMES_ANY, .item = &number_string_null, .open = true,
      .no_x = true);
static const struct key logging_keys[] = {
    OK("driver", string, FORM_STRING), OK("options", logging_options, FORM_MAPPING), END};
OBJECT(logging, logging_keys, .open = false);

static const struct key service_model_keys[] = {
    NO("endpoint_var", string, FORM_STRING, NO_MODELS), NO("model_var", string, FORM_STRING, NO_MODELS), END};
OBJECT(service_model_object, service_model_keys, .open = false);
SHAPE(service_model, .one_of = {&service_model_object, &nothing});
SHAPE(service_model_map, .types = TYPE_OBJECT, .names = NAMES_ID, .item = &service_model, .open = true, .no_x = true);
SHAPE(service_models, .one_of = {&unique_strings, &service_model_map});

static const struct key service_network_keys[] = {
    OK("aliases", unique_strings, FORM_STRINGS),
    NO("driver_opts", options_map, FORM_MAPPING, NO_DRIVER),
    IDLE("gw_priority", number, FORM_INT, "every way out is the same"),
    NO("interface_name", string, FORM_STRING, NO_ADDRESS),
    NO("ipv4_address", string, FORM_STRING, USE_NAMES),
    NO("ipv6_address", string, FORM_STRING, USE_NAMES),
    NO("link_local_ips", unique_strings, FORM_STRINGS, NO_ADDRESS),
    NEAR("mac_address", string, FORM_STRING, NO_ADDRESS),
    IDLE("priority", number, FORM_INT, "every way out is the same"),
    END};
OBJECT(service_network_object, service_network_keys, .open = false);
SHAPE(service_network, .one_of = {&service_network_object, &nothing});
SHAPE(service_network_map, .types = TYPE_OBJECT, .names = NAMES_ID, .item = &service_network, .no_x = true);
SHAPE(service_networks, .one_of = {&unique_strings, &service_network_map});

static const struct key port_keys[] = {
    IDLE("name", string, FORM_STRING, "it names the port for people"),
    IDLE("mode", string, FORM_STRING, SWARM),
    OK("host_ip", string, FORM_STRING),
    OK("target", int_or_string, FORM_INT),
    OK("published", int_or_string, FORM_STRING),
    OK("protocol", string, FORM_STRING),
    IDLE("app_protocol", string, FORM_STRING, "it names the protocol for people"),
    END};
OBJECT(port_object, port_keys, .open = false);
SHAPE(port, .one_of = {&number, &string, &port_object});
SHAPE(ports, .types = TYPE_ARRAY, .item = &port, .unique = true);

SHAPE(mount_type, .types = TYPE_STRING, .words = "bind|volume|tmpfs|cluster|npipe|image");
SHAPE(mount_recursive, .types = TYPE_STRING, .words = "enabled|disabled|writable|readonly");
SHAPE(mount_selinux, .types = TYPE_STRING, .words = "z|Z");
SHAPE(natural, .types = TYPE_INTEGER, .min = 0, .max = __LONG_MAX__);
SHAPE(natural_or_string, .one_of = {&natural, &string});
static const struct key mount_bind_keys[] = {
    IDLE("selinux", mount_selinux, FORM_STRING, "there are no SELinux labels there"),
    IDLE("propagation", string, FORM_STRING, "files are copied, not mounted"),
    OK("create_host_path", bool_or_string, FORM_BOOL),
    IDLE("recursive", mount_recursive, FORM_STRING, "files are copied, not mounted"),
    END};
static const struct key mount_volume_keys[] = {
    OK("labels", list_or_dict, FORM_MAPPING),
    OK("nocopy", bool_or_string, FORM_BOOL),
    OK("subpath", string, FORM_STRING),
    END};
static const struct key mount_tmpfs_keys[] = {
    NEAR("size", natural_or_string, FORM_BYTES, "it is no limit"),
    OK("mode", number_or_string, FORM_INT),
    END};
static const struct key mount_image_keys[] = {NO("subpath", string, FORM_STRING, "images cannot be mounted"), END};
OBJECT(mount_bind, mount_bind_keys, .open = false);
OBJECT(mount_volume, mount_volume_keys, .open = false);
OBJECT(mount_tmpfs, mount_tmpfs_keys, .open = false);
OBJECT(mount_image, mount_image_keys, .open = false);
static const struct key mount_keys[] = {
    OK("type", mount_type, FORM_STRING),
    OK("source", string, FORM_STRING),
    OK("target", string, FORM_STRING),
    OK("read_only", bool_or_string, FORM_BOOL),
    IDLE("consistency", string, FORM_STRING, "files are the same when a command has ended"),
    PARTS("bind", mount_bind, FORM_OBJECT_KEPT),
    PARTS("volume", mount_volume, FORM_OBJECT_KEPT),
    PARTS("tmpfs", mount_tmpfs, FORM_OBJECT_KEPT),
    PARTS("image", mount_image, FORM_OBJECT_KEPT),
    END};
OBJECT(mount_object, mount_keys, .required = "type");
SHAPE(mount, .one_of = {&string, &mount_object});
SHAPE(mounts, .types = TYPE_ARRAY, .item = &mount, .unique = true);

SHAPE(cgroup, .types = TYPE_STRING, .words = "host|private");
SHAPE(container_name, .types = TYPE_STRING, .pattern = "[a-zA-Z0-9][a-zA-Z0-9_.-]+");
SHAPE(percent, .types = TYPE_INTEGER, .min = 0, .max = 100);
SHAPE(percent_or_string, .one_of = {&string, &percent});
SHAPE(string_or_natural, .one_of = {&string, &natural});
SHAPE(thousand, .types = TYPE_INTEGER, .min = -1000, .max = 1000);
SHAPE(oom_score, .one_of = {&string, &thousand});
SHAPE(pull_policy, .types = TYPE_STRING,
      .pattern = "always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+");

/* ---- a service ---- */

static const struct key service_keys[] = {
    OK("profiles", unique_strings, FORM_STRINGS),
    IDLE("annotations", list_or_dict, FORM_MAPPING, "no runtime reads them there"),
    OK("attach", bool_or_string, FORM_BOOL_KEPT),
    PARTS("build", build, FORM_OBJECT_KEPT),
    OK("develop", develop, FORM_OBJECT_KEPT),
    PARTS("blkio_config", blkio, FORM_OBJECT_KEPT),
    NO("cap_add", unique_strings, FORM_STRINGS, NO_POWERS),
    NO("cap_drop", unique_strings, FORM_STRINGS, NO_POWERS),
    NO("cgroup_parent", string, FORM_STRING, NO_CGROUPS),
    NO("cgroup", cgroup, FORM_STRING, NO_CGROUPS),
    NO("cpu_count", string_or_natural, FORM_INT, WINDOWS),
    NO("cpu_percent", percent_or_string, FORM_FLOAT, WINDOWS),
    NO("cpu_period", number_or_string, FORM_INT, NO_SCHED),
    NO("cpu_quota", number_or_string, FORM_INT, NO_SCHED),
    NO("cpu_rt_period", number_or_string, FORM_INT, NO_SCHED),
    NO("cpu_rt_runtime", number_or_string, FORM_INT, NO_SCHED),
    OK("cpus", number_or_string, FORM_FLOAT),
    NO("cpuset", string, FORM_STRING, NO_SCHED),
    NO("cpu_shares", number_or_string, FORM_INT, NO_SCHED),
    OKF("command", command, FORM_WORDS, KEY_JSON),
    PARTS("configs", file_references, FORM_OBJECTS),
    OK("container_name", container_name, FORM_STRING),
    PARTS("credential_spec", credential_spec, FORM_OBJECT_KEPT),
    OK("depends_on", depends_on, FORM_NAMED),
    PARTS("deploy", deploy, FORM_OBJECT_KEPT),
    NO("device_cgroup_rules", unique_strings, FORM_STRINGS, NO_DEVICES),
    NO("devices", devices, FORM_OBJECTS, NO_DEVICES),
    OK("dns", string_or_list, FORM_STRINGS),
    OK("dns_opt", unique_strings, FORM_STRINGS),
    OK("dns_search", string_or_list, FORM_STRINGS),
    OK("domainname", string, FORM_STRING),
    OKF("entrypoint", command, FORM_WORDS, KEY_JSON),
    NO("provider", provider, FORM_OBJECT_KEPT, "there are no providers"),
    OK("environment", list_or_dict, FORM_ENV),
    OK("env_file", env_file, FORM_ENV_FILES),
    OK("expose", unique_numbers, FORM_STRINGS),
    IDLE("extends", extends, FORM_OBJECT_KEPT, READ_EARLY),
    NO("external_links", unique_strings, FORM_STRINGS, "containers of other projects are not reached by links"),
    OK("extra_hosts", extra_hosts, FORM_HOSTS),
    OK("group_add", unique_numbers, FORM_STRINGS),
    PARTS("gpus", gpus, FORM_OBJECTS),
    OK("hostname", string, FORM_STRING),
    OK("healthcheck", healthcheck, FORM_OBJECT_KEPT),
    OK("image", string, FORM_STRING),
    OK("init", bool_or_string, FORM_BOOL_KEPT),
    NO("ipc", string, FORM_STRING, NO_SHARING),
    NO("isolation", string, FORM_STRING, WINDOWS),
    OK("labels", list_or_dict, FORM_MAPPING),
    OK("label_file", label_file, FORM_STRINGS),
    OK("links", unique_strings, FORM_STRINGS),
    PARTS("logging", logging, FORM_OBJECT_KEPT),
    OK("mem_limit", number_or_string, FORM_BYTES),
    OK("mem_reservation", int_or_string, FORM_BYTES),
    NO("memswap_limit", number_or_string, FORM_BYTES, NO_SWAP),
    NO("mem_swappiness", int_or_string, FORM_BYTES, NO_SWAP),
    NO("mac_address", string, FORM_STRING, NO_ADDRESS),
    NO("models", service_models, FORM_NAMED_OR_NULL, NO_MODELS),
    OK("network_mode", string, FORM_STRING),
    PARTS("networks", service_networks, FORM_NAMED_OR_NULL),
    NO("oom_kill_disable", bool_or_string, FORM_BOOL, NO_OOM),
    NO("oom_score_adj", oom_score, FORM_INT, NO_OOM),
    NO("pid", string_or_null, FORM_STRING, NO_SHARING),
    NO("pids_limit", number_or_string, FORM_INT, "a sandbox has no limit of its own on processes"),
    OK("platform", string, FORM_STRING),
    PARTS("ports", ports, FORM_OBJECTS),
    NO("privileged", bool_or_string, FORM_BOOL, NO_POWERS),
    OK("pull_policy", pull_policy, FORM_STRING),
    IDLE("pull_refresh_after", string, FORM_NONE, "docker compose does not know it either"),
    OK("read_only", bool_or_string, FORM_BOOL),
    OK("restart", string, FORM_STRING),
    NO("runtime", string, FORM_STRING, "the platform chooses the runtime"),
    OK("scale", int_or_string, FORM_INT_KEPT),
    PARTS("secrets", file_references, FORM_OBJECTS),
    NO("security_opt", unique_strings, FORM_STRINGS, NO_POWERS),
    OK("shm_size", number_or_string, FORM_BYTES),
    OK("stdin_open", bool_or_string, FORM_BOOL),
    OK("stop_grace_period", string, FORM_DURATION_KEPT),
    OK("stop_signal", string, FORM_STRING),
    NO("storage_opt", any_map, FORM_MAPPING, "a sandbox has no storage driver"),
    NO("sysctls", list_or_dict, FORM_MAPPING, "kernel settings of a sandbox cannot be changed"),
    OK("tmpfs", string_or_list, FORM_STRINGS),
    OK("tty", bool_or_string, FORM_BOOL),
    OK("ulimits", ulimits, FORM_ULIMITS),
    NO("use_api_socket", boolean, FORM_BOOL, "there is no Docker socket to pass on"),
    OK("user", string, FORM_STRING),
    NO("userns_mode", string, FORM_STRING, NO_SHARING),
    NO("uts", string, FORM_STRING, NO_SHARING),
    PARTS("volumes", mounts, FORM_OBJECTS),
    OK("volumes_from", unique_strings, FORM_STRINGS),
    OK("working_dir", string, FORM_STRING),
    OK("post_start", hooks, FORM_OBJECTS),
    OK("pre_stop", hooks, FORM_OBJECTS),
    END};
OBJECT(service, service_keys, .open = false);
SHAPE(services, .types = TYPE_OBJECT, .names = NAMES_ID, .item = &service, .no_x = true);

/* ---- what services share ---- */

static const struct key external_keys[] = {OK("name", string, FORM_STRING), END};
SHAPE(external, .types = TYPE_BOOLEAN | TYPE_STRING | TYPE_OBJECT, .keys = external_keys);
SHAPE(external_open, .types = TYPE_BOOLEAN | TYPE_STRING | TYPE_OBJECT, .keys = external_keys, .open = true);

static const struct key pool_keys[] = {
    NO("subnet", string, FORM_STRING, NO_ADDRESS),
    NO("gateway", string, FORM_STRING, NO_ADDRESS),
    NO("ip_range", string, FORM_STRING, NO_ADDRESS),
    NO("aux_addresses", string_map, FORM_MAPPING, NO_ADDRESS),
    END};
OBJECT(pool, pool_keys, .open = false);
SHAPE(pools, .types = TYPE_ARRAY, .item = &pool);
static const struct key ipam_keys[] = {
    NO("driver", string, FORM_STRING, NO_ADDRESS),
    NO("config", pools, FORM_OBJECTS, NO_ADDRESS),
    NO("options", string_map, FORM_NONE, "docker compose does not read it either"),
    END};
OBJECT(ipam, ipam_keys, .open = false);

static const struct key network_keys[] = {
    OK("name", string, FORM_STRING),
    NEAR("driver", string, FORM_STRING, NO_DRIVER),
    NO("driver_opts", options_map, FORM_MAPPING, NO_DRIVER),
    {"ipam", &ipam, FORM_OBJECT, KEY_JSON, COMPOSE_APPROXIMATED, NO_ADDRESS},
    OK("external", external, FORM_EXTERNAL),
    OK("internal", bool_or_string, FORM_BOOL),
    OK("attachable", bool_or_string, FORM_BOOL),
    OK("labels", list_or_dict, FORM_MAPPING),
    NEAR("enable_ipv4", bool_or_string, FORM_BOOL_KEPT, NO_ADDRESS),
    NEAR("enable_ipv6", bool_or_string, FORM_BOOL_KEPT, NO_ADDRESS),
    END};
SHAPE(network, .types = TYPE_OBJECT | TYPE_NULL, .keys = network_keys);
SHAPE(networks, .types = TYPE_OBJECT, .names = NAMES_ID, .item = &network, .open = true, .no_x = true);

static const struct key volume_keys[] = {
    OK("name", string, FORM_STRING),
    NEAR("driver", string, FORM_STRING, NO_DRIVER),
    NO("driver_opts", options_map, FORM_MAPPING, NO_DRIVER),
    OK("external", external, FORM_EXTERNAL),
    OK("labels", list_or_dict, FORM_MAPPING),
    END};
SHAPE(volume, .types = TYPE_OBJECT | TYPE_NULL, .keys = volume_keys);
SHAPE(volumes, .types = TYPE_OBJECT, .names = NAMES_ID, .item = &volume, .no_x = true);

static const struct key secret_keys[] = {
    OK("name", string, FORM_STRING),
    OK("file", string, FORM_STRING),
    OK("environment", string, FORM_STRING),
    OK("external", external_open, FORM_EXTERNAL),
    OK("labels", list_or_dict, FORM_MAPPING),
    NO("driver", string, FORM_STRING, NO_DRIVER),
    NO("driver_opts", options_map, FORM_MAPPING, NO_DRIVER),
    NO("template_driver", string, FORM_STRING, NO_DRIVER),
    END};
OBJECT(secret, secret_keys, .open = false);
SHAPE(secrets, .types = TYPE_OBJECT, .names = NAMES_ID, .item = &secret, .no_x = true);

static const struct key config_keys[] = {
    OK("name", string, FORM_STRING),
    OK("file", string, FORM_STRING),
    OK("environment", string, FORM_STRING),
    OK("content", string, FORM_STRING),
    OK("external", external_open, FORM_EXTERNAL),
    OK("labels", list_or_dict, FORM_MAPPING),
    NO("template_driver", string, FORM_STRING, NO_DRIVER),
    END};
OBJECT(config, config_keys, .open = false);
SHAPE(configs, .types = TYPE_OBJECT, .names = NAMES_ID, .item = &config, .no_x = true);

static const struct key model_keys[] = {
    NO("name", string, FORM_STRING, NO_MODELS),
    NO("model", string, FORM_STRING, NO_MODELS),
    NO("context_size", integer, FORM_INT, NO_MODELS),
    NO("runtime_flags", strings, FORM_STRINGS, NO_MODELS),
    END};
OBJECT(model, model_keys, .required = "model");
SHAPE(models, .types = TYPE_OBJECT, .names = NAMES_ID, .item = &model, .open = true, .no_x = true);

static const struct key include_keys[] = {
    OK("path", string_or_list, FORM_NONE),
    OK("project_directory", string, FORM_NONE),
    OK("env_file", string_or_list, FORM_NONE),
    END};
OBJECT(include_object, include_keys, .no_x = true);
SHAPE(include_item, .one_of = {&string, &include_object});
SHAPE(include, .types = TYPE_ARRAY, .item = &include_item);

/* ---- a file ---- */

static const struct key file_keys[] = {
    IDLE("version", string, FORM_NONE, "docker compose ignores it too"),
    OK("name", string, FORM_STRING),
    IDLE("include", include, FORM_NONE, READ_EARLY),
    OKF("services", services, FORM_NAMED, KEY_ALWAYS),
    PARTS("networks", networks, FORM_NAMED),
    PARTS("volumes", volumes, FORM_NAMED),
    PARTS("secrets", secrets, FORM_NAMED),
    PARTS("configs", configs, FORM_NAMED),
    NO("models", models, FORM_NAMED, NO_MODELS),
    END};
/* clang-format on */
const struct shape compose_shape = {.types = TYPE_OBJECT, .keys = file_keys};
