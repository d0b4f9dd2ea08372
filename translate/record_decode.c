/*
 * Reading a record. It may come from an agent in a container that somebody else controls: everything is checked for
 * its type and form here; what its paths may be used for is the caller's to decide.
 */
#include "translate/record.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/docker/units.h"
#include "translate/record_text.h"
#include "translate/terms.h"

#include <stdlib.h>
#include <string.h>

#define ID_PREFIX "sha256:"

/* The objects that a record is made of, borrowed from its root. */
struct parts {
    json_t *root, *config, *host, *atp, *bytes;
};

/* 64 small hexadecimal digits. */
static bool is_id(const char *s)
{
    return s && strlen(s) == CONTAINER_ID_LEN && strspn(s, "0123456789abcdef") == CONTAINER_ID_LEN;
}

/* Id, Name, Image and Created. */
static int read_head(const struct parts *r, struct container_spec *s, char **ret_image_id, int64_t *ret_created,
                     struct err *err)
{
    cleanup_free char *id = NULL, *name = NULL, *created = NULL, *image_id = NULL;

    if (record_get(NULL, r->root, "", "Id", &id, err) < 0 || record_get(NULL, r->root, "", "Name", &name, err) < 0 ||
        record_get(NULL, r->root, "", "Image", &image_id, err) < 0 ||
        record_get(NULL, r->root, "", "Created", &created, err) < 0)
        return -1;
    if (!is_id(id))
        return err_set(err, 125, "container record: Id is not 64 hexadecimal digits");
    if (!name || name[0] != '/' || !name_valid(name))
        return err_set(err, 125, "container record: Name is not a name");
    if (!image_id || strncmp(image_id, ID_PREFIX, strlen(ID_PREFIX)) != 0 || !is_id(image_id + strlen(ID_PREFIX)))
        return err_set(err, 125, "container record: Image is not the id of an image");
    if (!created || units_parse_stamp(created, ret_created, err) < 0)
        return err_set(err, 125, "container record: Created is not a time");
    memcpy(s->id, id, sizeof(s->id));
    s->name = xstrdup(name + 1);
    *ret_image_id = steal(&image_id);
    return 0;
}

/* The keys of an object, "Volumes" and the like. */
static int read_keys(json_t *object, const char *key, struct strlist *ret, struct err *err)
{
    json_t *map = json_object_get(object, key);

    if (!map || json_is_null(map))
        return 0;
    if (!json_is_object(map))
        return err_set(err, 125, "container record: %s is not an object", key);
    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at))
        strlist_add(ret, json_object_iter_key(at));
    return 0;
}

/* Labels: the bytes when there are some, else the map. */
static int read_labels(const struct parts *r, struct strlist *ret, struct err *err)
{
    json_t *map = json_object_get(r->config, "Labels");

    if (json_object_get(r->bytes, "Config.Labels"))
        return record_get_list(r->bytes, NULL, "Config", "Labels", ret, err);
    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at)) {
        const char *value = json_string_value(json_object_iter_value(at));

        if (!value)
            return err_set(err, 125, "container record: Labels is not an object of strings");
        strlist_addf(ret, "%s=%s", json_object_iter_key(at), value);
    }
    return 0;
}

/* A list that is there though it be empty. */
static int read_words(const struct parts *r, struct container_spec *s, struct err *err)
{
    s->entrypoint_set = true;
    if (record_get_list(r->bytes, r->config, "Config", "Entrypoint", &s->entrypoint, err) < 0 ||
        record_get_list(r->bytes, r->config, "Config", "Cmd", &s->cmd, err) < 0 ||
        record_get_list(r->bytes, r->config, "Config", "Env", &s->env, err) < 0)
        return -1;
    return read_labels(r, &s->labels, err);
}

static int read_image(const struct parts *r, struct container_spec *s, struct err *err)
{
    cleanup_free char *text = NULL;

    if (record_get(r->bytes, r->config, "Config", "Image", &text, err) < 0)
        return -1;
    return image_ref_parse(text ? text : "", &s->image, err);
}

/* Config, all but what only the image can say. */
static int read_config(const struct parts *r, struct container_spec *s, struct err *err)
{
    int64_t timeout = STOP_TIMEOUT_UNSET;

    if (record_get(r->bytes, r->config, "Config", "Hostname", &s->hostname, err) < 0 ||
        record_get(r->bytes, r->config, "Config", "Domainname", &s->domainname, err) < 0 ||
        record_get(r->bytes, r->config, "Config", "User", &s->user, err) < 0 ||
        record_get(r->bytes, r->config, "Config", "WorkingDir", &s->workdir, err) < 0 ||
        record_get(r->bytes, r->config, "Config", "StopSignal", &s->stop_signal, err) < 0 ||
        record_get_bool(r->config, "AttachStdin", &s->attach_stdin, err) < 0 ||
        record_get_bool(r->config, "AttachStdout", &s->attach_stdout, err) < 0 ||
        record_get_bool(r->config, "AttachStderr", &s->attach_stderr, err) < 0 ||
        record_get_bool(r->config, "Tty", &s->tty, err) < 0 ||
        record_get_bool(r->config, "OpenStdin", &s->interactive, err) < 0 ||
        record_get_int(r->config, "StopTimeout", INT32_MIN, INT32_MAX, &timeout, err) < 0)
        return -1;
    s->stop_timeout = (int)timeout;
    s->detach = !s->attach_stdin && !s->attach_stdout && !s->attach_stderr;
    return read_words(r, s, err) < 0 ? -1 : read_image(r, s, err);
}

static int read_restart(const struct parts *r, struct container_spec *s, struct err *err)
{
    cleanup_free char *name = NULL;
    json_t *policy;
    int64_t max = 0;

    if (record_get_object(r->host, "RestartPolicy", &policy, err) < 0 ||
        record_get(NULL, policy, "RestartPolicy", "Name", &name, err) < 0 ||
        record_get_int(policy, "MaximumRetryCount", 0, INT32_MAX, &max, err) < 0)
        return -1;
    if (!name || restart_policy_find(name, &s->restart) < 0)
        return err_set(err, 125, "container record: there is no restart policy of this name");
    s->restart_max = (int)max;
    return 0;
}

/* The networks of its own; at least one. */
static int read_networks(const struct parts *r, struct network_joins *joins, struct err *err)
{
    const json_t *list = json_object_get(r->atp, "Networks"), *one;
    size_t i;

    if (!json_array_size(list))
        return err_set(err, 125, "container record: Networks is not a list of networks");
    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "Name")),
                   *id = json_string_value(json_object_get(one, "Id"));
        struct network_join *join;

        if (!name || !*name || !id || (*id && !is_id(id)) || network_joins_find(joins, name))
            return err_set(err, 125, "container record: a network is not one");
        join = network_joins_add(joins, name);
        join->id = *id ? xstrdup(id) : NULL;
        if (record_get_list(NULL, one, "Networks", "Aliases", &join->aliases, err) < 0 ||
            record_get_bool(one, "Internal", &join->internal, err) < 0)
            return -1;
    }
    return 0;
}

static int read_host(const struct parts *r, struct container_spec *s, struct err *err)
{
    cleanup_free char *network = NULL;

    if (record_get(r->bytes, r->host, "HostConfig", "ContainerIDFile", &s->cidfile, err) < 0 ||
        record_get(NULL, r->host, "HostConfig", "NetworkMode", &network, err) < 0 ||
        record_get_bool(r->host, "AutoRemove", &s->rm, err) < 0 ||
        record_get_int(r->host, "Memory", 0, INT64_MAX, &s->memory_bytes, err) < 0 ||
        record_get_int(r->host, "NanoCpus", 0, INT64_MAX, &s->nano_cpus, err) < 0 ||
        record_get_list(r->bytes, r->host, "HostConfig", "ExtraHosts", &s->hosts, err) < 0 ||
        read_restart(r, s, err) < 0 || record_get_bool(r->host, "PublishAllPorts", &s->ports.publish_all, err) < 0 ||
        ports_bindings_read(&s->ports, json_object_get(r->host, "PortBindings"), err) < 0)
        return -1;
    if (s->cidfile && !*s->cidfile) {
        free(s->cidfile);
        s->cidfile = NULL;
    }
    if (json_object_get(r->atp, "Networks")) {
        s->network = NETWORK_OWN;
        return read_networks(r, &s->networks, err);
    }
    for (s->network = NETWORK_BRIDGE; s->network < NETWORK_OWN; s->network++)
        if (network && strcmp(network_mode_name(s->network), network) == 0)
            return 0;
    return err_set(err, 125, "container record: there is no network mode of this name");
}

/* Absolute, and without anything that path_absolute() would change. */
static bool is_clean(const char *path)
{
    cleanup_free char *clean = path && path[0] == '/' ? path_absolute("/", path) : NULL;

    return clean && strcmp(clean, path) == 0;
}

static int check_mount(const struct mount *m, struct err *err)
{
    if (!is_clean(m->target) || strcmp(m->target, "/") == 0)
        return err_set(err, 125, "container record: the target of a mount is not a clean absolute path");
    if (m->type == MOUNT_BIND && !is_clean(m->source))
        return err_set(err, 125, "container record: the source of a mount is not a clean absolute path");
    return 0;
}

static int read_mount_type(const json_t *object, enum mount_type *ret, struct err *err)
{
    const char *name = json_string_value(json_object_get(object, "Type"));

    for (*ret = 0; *ret < MOUNT_TYPE_MAX; (*ret)++)
        if (name && strcmp(mount_type_name(*ret), name) == 0)
            return 0;
    return err_set(err, 125, "container record: there is no mount of this type");
}

static int read_mount_texts(const json_t *bytes, const json_t *object, const char *section, struct mount *m,
                            struct err *err)
{
    const struct {
        const char *key;
        char **value;
    } texts[] = {
        {"Spec", &m->spec},       {"TypeWord", &m->type_word},
        {"Source", &m->source},   {"Target", &m->target},
        {"Mode", &m->mode},       {"Propagation", &m->propagation},
        {"Driver", &m->driver},   {"Consistency", &m->consistency},
        {"Subpath", &m->subpath},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (record_get(bytes, object, section, texts[i].key, texts[i].value, err) < 0)
            return -1;
    return record_get_list(bytes, object, section, "Labels", &m->labels, err) < 0
               ? -1
               : record_get_list(bytes, object, section, "DriverOpts", &m->driver_opts, err);
}

static int read_mount(const json_t *bytes, const json_t *object, size_t index, struct mount *m, struct err *err)
{
    cleanup_free char *section = xasprintf("Atp.Mounts.%zu", index);
    int64_t mode = 0, groups = 0;

    if (read_mount_type(object, &m->type, err) < 0 || read_mount_texts(bytes, object, section, m, err) < 0 ||
        record_get_bool(object, "FromMount", &m->from_mount, err) < 0 ||
        record_get_bool(object, "FromOther", &m->from_other, err) < 0 ||
        record_get_bool(object, "ReadOnly", &m->readonly, err) < 0 ||
        record_get_bool(object, "CreateSource", &m->create_source, err) < 0 ||
        record_get_bool(object, "WholeHome", &m->whole_home, err) < 0 ||
        record_get_bool(object, "NoCopy", &m->nocopy, err) < 0 ||
        record_get_bool(object, "Anonymous", &m->anonymous, err) < 0 ||
        record_get_int(object, "TmpfsSize", 0, INT64_MAX, &m->tmpfs_size, err) < 0 ||
        record_get_int(object, "TmpfsMode", 0, UINT32_MAX, &mode, err) < 0 ||
        record_get_int(object, "OptionGroups", 0, UINT32_MAX, &groups, err) < 0)
        return -1;
    m->tmpfs_mode = (uint32_t)mode;
    m->option_groups = (unsigned)groups;
    return check_mount(m, err);
}

static int read_mounts(const struct parts *r, struct mounts *m, struct err *err)
{
    const json_t *list = json_object_get(r->atp, "Mounts");

    if (!json_is_array(list))
        return err_set(err, 125, "container record: Mounts is not a list");
    m->items = xcalloc(json_array_size(list) + 1, sizeof(*m->items));
    for (size_t i = 0; i < json_array_size(list); i++) {
        m->len = i + 1;
        if (read_mount(r->bytes, json_array_get(list, i), i, &m->items[i], err) < 0)
            return -1;
    }
    return 0;
}

static int read_modal(const struct parts *r, struct modal_options *o, struct err *err)
{
    json_t *all = json_object_get(r->atp, "Modal");

    for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
        const char *key = json_object_iter_key(at);
        const json_t *one = json_object_iter_value(at);
        cleanup_free char *section = xasprintf("Atp.Modal.%s", key), *value = NULL, *origin = NULL, *source = NULL;
        enum modal_source from;

        if (record_get(r->bytes, one, section, "Value", &value, err) < 0 ||
            record_get(r->bytes, one, section, "Origin", &origin, err) < 0 ||
            record_get(NULL, one, section, "Source", &source, err) < 0)
            return -1;
        if (!value || !origin || !source || modal_source_find(source, &from) < 0)
            return err_set(err, 125, "container record: %s is not complete", section);
        if (modal_options_set(o, from, origin, key, value, err) < 0)
            return err_wrap(err, "container record");
    }
    return 0;
}

/* What else was asked for. */
static int read_asked(const struct parts *r, struct container_spec *s, struct err *err)
{
    json_t *host = json_object_get(r->atp, "Host");
    int64_t reserved = 0;

    if (!host)
        return 0;
    s->host = json_dumps(host, JSON_COMPACT);
    if (!s->host || !terms_host_ok(s->host))
        return err_set(err, 125, "container record: Host is not what a host is asked for");
    if (record_get_int(host, "MemoryReservation", 0, INT64_MAX, &reserved, err) < 0)
        return -1;
    return memory_to_mib(reserved, &s->reserved_mib, err);
}

static int read_atp(const struct parts *r, struct container_spec *s, struct err *err)
{
    int64_t cpu = 0, memory = 0;
    json_t *resources;

    if (record_get(r->bytes, r->atp, "Atp", "Platform", &s->platform, err) < 0 ||
        record_get_object(r->atp, "Resources", &resources, err) < 0 ||
        record_get_int(resources, "MilliCpu", 0, UINT32_MAX, &cpu, err) < 0 ||
        record_get_int(resources, "MemoryMiB", 0, UINT32_MAX, &memory, err) < 0)
        return -1;
    s->milli_cpu = (uint32_t)cpu;
    s->memory_mib = (uint32_t)memory;
    if (read_asked(r, s, err) < 0 || read_mounts(r, &s->mounts, err) < 0)
        return -1;
    return read_modal(r, &s->modal, err);
}

/* What of the image is in the record beside the words: enough for process_from_spec() to give the same process. */
static int read_process(const struct parts *r, const struct container_spec *s, struct process_spec *ret,
                        struct err *err)
{
    json_t *health = json_object_get(r->config, "Healthcheck");
    struct oci_config image = {0};
    int rc = -1;

    if (health && !json_is_object(health))
        return err_set(err, 125, "container record: Healthcheck is not an object");
    if (read_keys(r->config, "Volumes", &image.volumes, err) == 0 &&
        read_keys(r->config, "ExposedPorts", &image.exposed_ports, err) == 0 &&
        record_get_list(r->bytes, r->config, "Config", "Shell", &image.shell, err) == 0) {
        image.healthcheck = health ? json_dumps(health, JSON_COMPACT) : NULL;
        rc = process_from_spec(s, &image, ret, err);
    }
    oci_config_clear(&image);
    return rc;
}

/* Finds the parts, and refuses a record of another time. */
static int open_parts(json_t *root, struct parts *r, struct err *err)
{
    int64_t version = 0;

    *r = (struct parts){.root = root};
    if (record_get_object(root, "Atp", &r->atp, err) < 0 ||
        record_get_int(r->atp, "Version", 0, INT64_MAX, &version, err) < 0)
        return -1;
    if (version != RECORD_VERSION)
        return err_set(err, 125, "container record: it is of version %lld, this atp-docker reads version %d",
                       (long long)version, RECORD_VERSION);
    r->bytes = json_object_get(r->atp, "Bytes");
    if (record_get_object(root, "Config", &r->config, err) < 0)
        return -1;
    return record_get_object(root, "HostConfig", &r->host, err);
}

/* The root object, owned by caller; NULL and err. */
static json_t *load(const char *record, struct err *err)
{
    json_error_t why;
    size_t len = strlen(record);
    json_t *root;

    if (len > RECORD_MAX) {
        err_set(err, 125, "container record: it is larger than %u bytes", RECORD_MAX);
        return NULL;
    }
    root = json_loadb(record, len, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        err_set(err, 125, "container record: line %d: %s", why.line, why.text);
    return root;
}

int record_decode(const char *record, struct container_spec *ret_spec, struct process_spec *ret_process,
                  char **ret_image_id, int64_t *ret_created_ns, struct err *err)
{
    json_auto_t *root = load(record, err);
    cleanup_free char *image_id = NULL;
    struct process_spec process = {0};
    struct container_spec spec;
    struct parts parts;
    int64_t created = 0;

    if (!root || open_parts(root, &parts, err) < 0)
        return -1;
    spec_init(&spec);
    if (read_head(&parts, &spec, &image_id, &created, err) < 0 || read_config(&parts, &spec, err) < 0 ||
        read_host(&parts, &spec, err) < 0 || read_atp(&parts, &spec, err) < 0 ||
        read_process(&parts, &spec, &process, err) < 0) {
        spec_clear(&spec);
        return -1;
    }
    spec_clear(ret_spec);
    process_clear(ret_process);
    *ret_spec = spec;
    *ret_process = process;
    *ret_image_id = steal(&image_id);
    *ret_created_ns = created;
    return 0;
}

/* Its first name in each network of its own. */
static void rename_endpoints(json_t *root, const char *name)
{
    json_t *networks = json_object_get(json_object_get(root, "NetworkSettings"), "Networks");

    for (void *at = json_object_iter(networks); at; at = json_object_iter_next(networks, at)) {
        json_t *names = json_object_get(json_object_iter_value(at), "DNSNames");

        if (json_array_size(names))
            json_array_set_new(names, 0, json_string(name));
    }
}

char *record_renamed(const char *record, const char *name, struct err *err)
{
    json_auto_t *root = load(record, err);
    cleanup_free char *shown = xasprintf("/%s", name);

    if (!root)
        return NULL;
    json_object_set_new(root, "Name", json_string(shown));
    rename_endpoints(root, name);
    return json_dumps(root, JSON_COMPACT);
}
