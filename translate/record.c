/*
 * Writing a record. The order of the members is Docker's; what inspect fills in later (State...) has its place already.
 */
#include "translate/record.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/docker/units.h"
#include "translate/record_text.h"

#include <string.h>

/* What nobody can ask for here, as Docker 28 shows it; the rest is put in its place by host_config(). */
static const char host_defaults[] =
    "{\"Binds\":null,\"ContainerIDFile\":\"\",\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{}},\"NetworkMode\":"
    "\"\","
    "\"PortBindings\":{},\"RestartPolicy\":null,\"AutoRemove\":false,\"VolumeDriver\":\"\",\"VolumesFrom\":null,"
    "\"ConsoleSize\":[0,0],\"CapAdd\":null,\"CapDrop\":null,\"CgroupnsMode\":\"private\",\"Dns\":[],\"DnsOptions\":[],"
    "\"DnsSearch\":[],\"ExtraHosts\":null,\"GroupAdd\":null,\"IpcMode\":\"private\",\"Cgroup\":\"\",\"Links\":null,"
    "\"OomScoreAdj\":0,\"PidMode\":\"\",\"Privileged\":false,\"PublishAllPorts\":false,\"ReadonlyRootfs\":false,"
    "\"SecurityOpt\":null,\"UTSMode\":\"\",\"UsernsMode\":\"\",\"ShmSize\":67108864,\"Runtime\":\"\",\"Isolation\":"
    "\"\","
    "\"CpuShares\":0,\"Memory\":0,\"NanoCpus\":0,\"CgroupParent\":\"\",\"BlkioWeight\":0,\"BlkioWeightDevice\":[],"
    "\"BlkioDeviceReadBps\":[],\"BlkioDeviceWriteBps\":[],\"BlkioDeviceReadIOps\":[],\"BlkioDeviceWriteIOps\":[],"
    "\"CpuPeriod\":0,\"CpuQuota\":0,\"CpuRealtimePeriod\":0,\"CpuRealtimeRuntime\":0,\"CpusetCpus\":\"\","
    "\"CpusetMems\":\"\",\"Devices\":[],\"DeviceCgroupRules\":null,\"DeviceRequests\":null,\"MemoryReservation\":0,"
    "\"MemorySwap\":0,\"MemorySwappiness\":null,\"OomKillDisable\":null,\"PidsLimit\":null,\"Ulimits\":[],"
    "\"CpuCount\":0,\"CpuPercent\":0,\"IOMaximumIOps\":0,\"IOMaximumBandwidth\":0,\"Mounts\":null,"
    "\"MaskedPaths\":null,\"ReadonlyPaths\":null}";

/* One network of a container; addresses are the platform's and not known. */
static const char endpoint_defaults[] =
    "{\"IPAMConfig\":null,\"Links\":null,\"Aliases\":null,\"MacAddress\":\"\",\"DriverOpts\":null,\"GwPriority\":0,"
    "\"NetworkID\":\"\",\"EndpointID\":\"\",\"Gateway\":\"\",\"IPAddress\":\"\",\"IPPrefixLen\":0,\"IPv6Gateway\":\"\","
    "\"GlobalIPv6Address\":\"\",\"GlobalIPv6PrefixLen\":0,\"DNSNames\":null}";

static const char network_defaults[] =
    "{\"Bridge\":\"\",\"SandboxID\":\"\",\"SandboxKey\":\"\",\"Ports\":{},\"HairpinMode\":false,"
    "\"LinkLocalIPv6Address\":\"\",\"LinkLocalIPv6PrefixLen\":0,\"SecondaryIPAddresses\":null,"
    "\"SecondaryIPv6Addresses\":null,\"EndpointID\":\"\",\"Gateway\":\"\",\"GlobalIPv6Address\":\"\","
    "\"GlobalIPv6PrefixLen\":0,\"IPAddress\":\"\",\"IPPrefixLen\":0,\"IPv6Gateway\":\"\",\"MacAddress\":\"\","
    "\"Networks\":{}}";

static void set_bool(json_t *object, const char *key, bool value)
{
    json_object_set_new(object, key, json_boolean(value));
}

static void set_int(json_t *object, const char *key, int64_t value)
{
    json_object_set_new(object, key, json_integer(value));
}

/* A list whose items are keys of an object, with this value each; null when empty. */
static json_t *keyed(const struct strlist *list, json_t *value)
{
    json_t *object = list->len ? json_object() : json_null();

    for (size_t i = 0; i < list->len; i++) {
        json_t *key = record_shown(list->items[i]);

        json_object_set(object, json_string_value(key), value);
        json_decref(key);
    }
    json_decref(value);
    return object;
}

static json_t *config_json(json_t *bytes, const struct container_spec *s, const struct process_spec *p)
{
    const struct config_spec *c = &p->config;
    json_t *config = json_object(), *none = json_object();

    record_put(bytes, config, "Config", "Hostname", p->hostname);
    record_put(bytes, config, "Config", "Domainname", s->domainname ? s->domainname : "");
    record_put(bytes, config, "Config", "User", p->user);
    set_bool(config, "AttachStdin", s->attach_stdin);
    set_bool(config, "AttachStdout", s->attach_stdout);
    set_bool(config, "AttachStderr", s->attach_stderr);
    if (c->exposed_ports.len)
        json_object_set_new(config, "ExposedPorts", keyed(&c->exposed_ports, json_object()));
    set_bool(config, "Tty", p->tty);
    set_bool(config, "OpenStdin", p->open_stdin);
    set_bool(config, "StdinOnce", p->open_stdin && s->attach_stdin);
    record_put_list(bytes, config, "Config", "Env", &c->env);
    if (!c->env.len)
        json_object_set_new(config, "Env", json_array());
    record_put_list(bytes, config, "Config", "Cmd", &c->cmd);
    if (c->healthcheck)
        json_object_set_new(config, "Healthcheck", json_loads(c->healthcheck, 0, NULL));
    record_put(bytes, config, "Config", "Image", s->image.text);
    json_object_set_new(config, "Volumes", keyed(&c->volumes, json_object()));
    record_put(bytes, config, "Config", "WorkingDir", c->workdir);
    record_put_list(bytes, config, "Config", "Entrypoint", &c->entrypoint);
    json_object_set_new(config, "OnBuild", json_null());
    json_object_set_new(config, "Labels", record_map(&c->labels));
    record_put_list(bytes, none, "Config", "Labels", &c->labels); /* for the bytes */
    json_decref(none);
    if (c->stop_signal)
        record_put(bytes, config, "Config", "StopSignal", c->stop_signal);
    if (c->stop_timeout != STOP_TIMEOUT_UNSET)
        set_int(config, "StopTimeout", c->stop_timeout);
    if (c->shell.len)
        record_put_list(bytes, config, "Config", "Shell", &c->shell);
    return config;
}

/* HostConfig.Mounts: those of --mount, in Docker's words. */
static json_t *asked_mount(const struct mount *m)
{
    json_t *object = json_object();

    json_object_set_new(object, "Type", json_string(mount_type_name(m->type)));
    if (m->source)
        json_object_set_new(object, "Source", record_shown(m->source));
    json_object_set_new(object, "Target", record_shown(m->target));
    if (m->readonly)
        set_bool(object, "ReadOnly", true);
    return object;
}

/* Mounts[]: all of them, as they are. */
static json_t *shown_mount(const struct mount *m)
{
    const char *mode = m->mode ? m->mode : "";
    json_t *object = json_object();

    json_object_set_new(object, "Type", json_string(mount_type_name(m->type)));
    if (m->type == MOUNT_VOLUME && m->source)
        json_object_set_new(object, "Name", record_shown(m->source));
    if (m->type == MOUNT_VOLUME && m->source) {
        cleanup_free char *source = xasprintf("/var/lib/docker/volumes/%s/_data", m->source);

        json_object_set_new(object, "Source", record_shown(source));
    } else {
        json_object_set_new(object, "Source", record_shown(m->type == MOUNT_BIND ? m->source : ""));
    }
    json_object_set_new(object, "Destination", record_shown(m->target));
    if (m->type == MOUNT_VOLUME)
        json_object_set_new(object, "Driver", record_shown(m->driver && *m->driver ? m->driver : "local"));
    json_object_set_new(object, "Mode", record_shown(mode));
    set_bool(object, "RW", !m->readonly);
    json_object_set_new(object, "Propagation",
                        json_string(m->type != MOUNT_BIND               ? ""
                                    : m->propagation && *m->propagation ? m->propagation
                                                                        : "rprivate"));
    return object;
}

/* HostConfig.Tmpfs: those of --tmpfs, by their targets. */
static void add_tmpfs(json_t *host, const struct mount *m)
{
    json_t *all = json_object_get(host, "Tmpfs");

    if (!all) {
        all = json_object();
        json_object_set_new(host, "Tmpfs", all);
    }
    json_object_set_new(all, m->target, record_shown(m->mode ? m->mode : ""));
}

/* HostConfig.NetworkMode. */
static const char *main_network(const struct container_spec *s)
{
    return s->network == NETWORK_OWN && s->networks.len ? s->networks.items[0].name : network_mode_name(s->network);
}

static json_t *host_config(json_t *bytes, const struct container_spec *s)
{
    json_t *host = json_loads(host_defaults, 0, NULL), *asked = json_array();
    struct strlist binds = STRLIST_INIT;

    for (size_t i = 0; i < s->mounts.len; i++) {
        const struct mount *m = &s->mounts.items[i];

        if (m->type == MOUNT_TMPFS && !m->from_mount)
            add_tmpfs(host, m);
        else if (m->from_mount)
            json_array_append_new(asked, asked_mount(m));
        else if (!m->from_other)
            strlist_add(&binds, m->spec);
    }
    json_object_set_new(host, "Binds", record_shown_list(&binds));
    strlist_clear(&binds);
    if (s->cidfile)
        record_put(bytes, host, "HostConfig", "ContainerIDFile", s->cidfile);
    json_object_set_new(host, "NetworkMode", json_string(main_network(s)));
    if (s->hosts.len)
        record_put_list(bytes, host, "HostConfig", "ExtraHosts", &s->hosts);
    json_object_set_new(
        host, "RestartPolicy",
        json_pack("{s:s, s:i}", "Name", restart_policy_name(s->restart), "MaximumRetryCount", s->restart_max));
    json_object_set_new(host, "PortBindings", ports_bindings_json(&s->ports));
    set_bool(host, "PublishAllPorts", s->ports.publish_all);
    set_bool(host, "AutoRemove", s->rm);
    set_int(host, "Memory", s->memory_bytes);
    set_int(host, "MemorySwap", s->memory_bytes); /* the same number: no swap */
    set_int(host, "NanoCpus", s->nano_cpus);
    if (json_array_size(asked))
        json_object_set(host, "Mounts", asked);
    else
        json_object_del(host, "Mounts");
    json_decref(asked);
    return host;
}

/* What else was asked for takes the place of the defaults. */
static void put_host(json_t *root, const struct container_spec *s)
{
    json_t *asked = json_loads(s->host ? s->host : "{}", 0, NULL), *host = json_object_get(root, "HostConfig");
    json_t *mac = json_object_get(asked, "MacAddress");

    if (mac)
        json_object_set(json_object_get(root, "Config"), "MacAddress", mac);
    json_object_del(asked, "MacAddress");
    json_object_update(host, asked);
    json_decref(asked);
}

/* The container in one network of its own: who it is there, by every name that is answered for. */
static json_t *endpoint(const struct container_spec *s, const struct network_join *join)
{
    json_t *endpoint = json_loads(endpoint_defaults, 0, NULL), *names = json_array();

    json_array_append_new(names, json_string(s->name));
    for (size_t i = 0; i < join->aliases.len; i++)
        if (strcmp(join->aliases.items[i], s->name) != 0)
            json_array_append_new(names, json_string(join->aliases.items[i]));
    json_array_append_new(names, json_stringn(s->id, CONTAINER_SHORT_ID_LEN));
    if (join->aliases.len)
        json_object_set_new(endpoint, "Aliases", record_shown_list(&join->aliases));
    json_object_set_new(endpoint, "NetworkID", json_string(join->id ? join->id : ""));
    json_object_set_new(endpoint, "DNSNames", names);
    return endpoint;
}

static json_t *network_settings(const struct container_spec *s)
{
    json_t *settings = json_loads(network_defaults, 0, NULL);

    for (size_t i = 0; s->network == NETWORK_OWN && i < s->networks.len; i++)
        json_object_set_new(json_object_get(settings, "Networks"), s->networks.items[i].name,
                            endpoint(s, &s->networks.items[i]));
    if (s->network != NETWORK_OWN)
        json_object_set_new(json_object_get(settings, "Networks"), network_mode_name(s->network),
                            json_loads(endpoint_defaults, 0, NULL));
    return settings;
}

/* Everything about one mount, for record_decode(). What has its usual value is left out. */
static json_t *atp_mount(json_t *bytes, const struct mount *m, size_t index)
{
    cleanup_free char *section = xasprintf("Atp.Mounts.%zu", index);
    const struct {
        const char *key, *value;
    } texts[] = {
        {"Spec", m->spec},       {"TypeWord", m->type_word},
        {"Source", m->source},   {"Target", m->target},
        {"Mode", m->mode},       {"Propagation", m->propagation},
        {"Driver", m->driver},   {"Consistency", m->consistency},
        {"Subpath", m->subpath},
    };
    const struct {
        const char *key;
        bool value;
    } flags[] = {
        {"FromMount", m->from_mount},       {"FromOther", m->from_other}, {"ReadOnly", m->readonly},
        {"CreateSource", m->create_source}, {"WholeHome", m->whole_home}, {"NoCopy", m->nocopy},
        {"Anonymous", m->anonymous},
    };
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {{"TmpfsSize", m->tmpfs_size}, {"TmpfsMode", m->tmpfs_mode}, {"OptionGroups", m->option_groups}};
    json_t *object = json_object();

    json_object_set_new(object, "Type", json_string(mount_type_name(m->type)));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].value)
            record_put(bytes, object, section, texts[i].key, texts[i].value);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (flags[i].value)
            set_bool(object, flags[i].key, true);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (numbers[i].value)
            set_int(object, numbers[i].key, numbers[i].value);
    if (m->labels.len)
        record_put_list(bytes, object, section, "Labels", &m->labels);
    if (m->driver_opts.len)
        record_put_list(bytes, object, section, "DriverOpts", &m->driver_opts);
    return object;
}

/* The Modal options that somebody gave, with who said it. */
static json_t *modal_json(json_t *bytes, const struct modal_options *o)
{
    json_t *all = json_object();

    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++) {
        cleanup_free char *section = xasprintf("Atp.Modal.%s", modal_keys[key].name);
        json_t *one;

        if (!modal_given(o, key))
            continue;
        one = json_object();
        record_put(bytes, one, section, "Value", o->values[key].text);
        json_object_set_new(one, "Source", json_string(modal_source_name(o->values[key].source)));
        record_put(bytes, one, section, "Origin", o->values[key].origin);
        json_object_set_new(all, modal_keys[key].name, one);
    }
    return all;
}

/* The networks of its own, for record_decode(). */
static json_t *atp_networks(const struct container_spec *s)
{
    json_t *all = json_array();

    for (size_t i = 0; i < s->networks.len; i++) {
        const struct network_join *join = &s->networks.items[i];
        json_t *one = json_object();

        json_object_set_new(one, "Name", json_string(join->name));
        json_object_set_new(one, "Id", json_string(join->id ? join->id : ""));
        if (join->aliases.len)
            json_object_set_new(one, "Aliases", record_shown_list(&join->aliases));
        if (join->internal)
            set_bool(one, "Internal", true);
        json_array_append_new(all, one);
    }
    return all;
}

/* What Docker has no word for. Lifetime is for people: it follows from Modal and is not read back. */
static json_t *atp_json(json_t *bytes, const struct container_spec *s)
{
    json_t *atp = json_object(), *mounts = json_array();

    set_int(atp, "Version", RECORD_VERSION);
    if (s->platform)
        record_put(bytes, atp, "Atp", "Platform", s->platform);
    json_object_set_new(
        atp, "Resources",
        json_pack("{s:I, s:I}", "MilliCpu", (json_int_t)s->milli_cpu, "MemoryMiB", (json_int_t)s->memory_mib));
    set_int(atp, "Lifetime", modal_int(&s->modal, MODAL_KEY_TIMEOUT));
    json_object_set_new(atp, "Modal", modal_json(bytes, &s->modal));
    if (s->host)
        json_object_set_new(atp, "Host", json_loads(s->host, 0, NULL));
    for (size_t i = 0; i < s->mounts.len; i++)
        json_array_append_new(mounts, atp_mount(bytes, &s->mounts.items[i], i));
    json_object_set_new(atp, "Mounts", mounts);
    if (s->network == NETWORK_OWN)
        json_object_set_new(atp, "Networks", atp_networks(s));
    return atp;
}

/* The members up to HostConfig. */
static void put_head(json_t *root, const struct container_spec *s, const struct process_spec *p, const char *image_id,
                     int64_t created_ns)
{
    static const char *const empty[] = {"ResolvConfPath", "HostnamePath", "HostsPath", "LogPath"};
    static const char *const labels[] = {"MountLabel", "ProcessLabel", "AppArmorProfile"};
    cleanup_free char *created = units_stamp(created_ns), *name = xasprintf("/%s", s->name);
    json_t *args = json_array();

    json_object_set_new(root, "Id", json_string(s->id));
    json_object_set_new(root, "Created", json_string(created));
    json_object_set_new(root, "Path", record_shown(p->argv.len ? p->argv.items[0] : ""));
    for (size_t i = 1; i < p->argv.len; i++)
        json_array_append_new(args, record_shown(p->argv.items[i]));
    json_object_set_new(root, "Args", args);
    json_object_set_new(root, "State", json_null());
    json_object_set_new(root, "Image", json_string(image_id));
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
        json_object_set_new(root, empty[i], json_string(""));
    json_object_set_new(root, "Name", json_string(name));
    set_int(root, "RestartCount", 0);
    json_object_set_new(root, "Driver", json_string(RECORD_DRIVER));
    json_object_set_new(root, "Platform", json_string("linux"));
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
        json_object_set_new(root, labels[i], json_string(""));
    json_object_set_new(root, "ExecIDs", json_null());
}

char *record_encode(const struct container_spec *spec, const struct process_spec *process, const char *image_id,
                    int64_t created_ns)
{
    json_auto_t *root = json_object();
    json_t *bytes = json_object(), *mounts = json_array(), *atp;

    put_head(root, spec, process, image_id, created_ns);
    json_object_set_new(root, "HostConfig", host_config(bytes, spec));
    json_object_set_new(root, "GraphDriver", json_pack("{s:n, s:s}", "Data", "Name", RECORD_DRIVER));
    for (size_t i = 0; i < spec->mounts.len; i++)
        if (spec->mounts.items[i].type != MOUNT_TMPFS || spec->mounts.items[i].from_mount)
            json_array_append_new(mounts, shown_mount(&spec->mounts.items[i]));
    json_object_set_new(root, "Mounts", mounts);
    json_object_set_new(root, "Config", config_json(bytes, spec, process));
    put_host(root, spec);
    json_object_set_new(root, "NetworkSettings", network_settings(spec));
    atp = atp_json(bytes, spec);
    if (json_object_size(bytes))
        json_object_set(atp, "Bytes", bytes);
    json_decref(bytes);
    json_object_set_new(root, "Atp", atp);
    return json_dumps(root, JSON_COMPACT);
}
