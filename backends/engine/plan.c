#include "backends/engine/plan.h"

#include "backends/engine/engine.h"
#include "backends/engine/ids.h"
#include "backends/engine/images.h"
#include "backends/engine/mounts.h"
#include "backends/engine/secrets.h"
#include "backends/engine/svc.h"
#include "backends/engine/vol_view.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT_DEFAULT  300u /* seconds, what the SDKs send when nothing is said */
#define TIMEOUT_MAX      86400u
#define PATH_DEFAULT     "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PROBE_DEFAULT_MS 100
#define PORTS_MAX        64 /* a listener or two for each */
#define MEMORY_MIN_MB    16 /* less does not start a container */

void plan_clear(struct plan *p)
{
    vol_views_drop(p->views);
    free(p->image_id);
    free(p->workdir);
    free(p->name);
    free(p->ports);
    strlist_clear(&p->args);
    strlist_clear(&p->env);
    strlist_clear(&p->lowers);
    strlist_clear(&p->cidrs);
    strlist_clear(&p->probe_argv);
    strlist_clear(&p->mount_sources);
    strlist_clear(&p->mount_targets);
    *p = (struct plan){0};
}

void plan_forget_words(struct plan *p)
{
    strlist_clear(&p->args);
    strlist_clear(&p->env);
    strlist_clear(&p->lowers);
    strlist_clear(&p->cidrs);
    strlist_clear(&p->probe_argv);
    strlist_clear(&p->mount_sources);
    strlist_clear(&p->mount_targets);
}

/* ---- what is refused ---- */

static bool has_text(const char *s)
{
    return s && *s;
}

/* As the SDKs write "off": anything else asks for something. */
static bool is_off(const char *value)
{
    return !has_text(value) || strcasecmp(value, "false") == 0 || strcmp(value, "0") == 0;
}

/* Features of the platform that this server does not have. Off is always fine. */
static int check_features(const Modal__Client__Sandbox *def, struct err *err)
{
    const Modal__Client__Resources *r = def->resources;
    const Modal__Client__GPUConfig *gpu = r ? r->gpu_config : NULL;
    const struct {
        bool wanted;
        const char *what;
    } features[] = {
        {gpu && (gpu->count || gpu->type || has_text(gpu->gpu_type)), "a GPU"},
        {r && r->ephemeral_disk_mb, "a disk size"},
        {r && r->rdma, "RDMA"},
        {def->n_cloud_bucket_mounts > 0, "cloud bucket mounts"},
        {def->n_nfs_mounts > 0, "network file systems"},
        {def->i6pn_enabled, "private IPv6 (i6pn)"},
        {has_text(def->proxy_id), "a proxy"},
        {def->enable_snapshot, "memory snapshots"},
        {has_text(def->custom_domain), "a custom domain"},
        {def->include_oidc_identity_token, "an OIDC identity token"},
        {def->verbose, "verbose logs"},
        {has_text(def->worker_id), "a worker"},
        {has_text(def->runtime), "a choice of runtime"},
        {def->runtime_debug, "runtime debugging"},
        {def->n_preload_path_prefixes > 0, "preloaded paths"},
        {def->network_access && def->network_access->n_allowed_domains, "a domain allow list"},
    };

    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if (features[i].wanted)
            return svc_err(err, GRPC_UNIMPLEMENTED, "a Sandbox with %s is not supported by this server",
                           features[i].what);
    for (size_t i = 0; i < def->n_experimental_options; i++)
        if (def->experimental_options[i]->value)
            return svc_err(err, GRPC_UNIMPLEMENTED, "the experimental option \"%s\" is not supported by this server",
                           svc_text(def->experimental_options[i]->key));
    for (size_t i = 0; i < def->n_experimental_options_v2; i++)
        if (!is_off(def->experimental_options_v2[i]->value))
            return svc_err(err, GRPC_UNIMPLEMENTED, "the experimental option \"%s\" is not supported by this server",
                           svc_text(def->experimental_options_v2[i]->key));
    return svc_no_unknown(&def->base, "the Sandbox definition", err);
}

/* "us-east-1", "eu-west", "us": two letters, then words and numbers. */
static bool is_region(const char *region)
{
    size_t len = strlen(region);

    if (len < 2 || !islower((unsigned char)region[0]) || !islower((unsigned char)region[1]))
        return false;
    return (len == 2 || region[2] == '-') && strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* This machine is wherever the client wants it, as long as the place could exist. */
static int check_placement(const Modal__Client__Sandbox *def, struct err *err)
{
    static const char *const clouds[] = {"", "auto", "aws", "gcp", "oci"};
    const char *cloud = svc_text(def->cloud_provider_str);
    const Modal__Client__SchedulerPlacement *place = def->scheduler_placement;
    bool known = false;

    for (size_t i = 0; i < sizeof(clouds) / sizeof(clouds[0]); i++)
        known = known || strcasecmp(cloud, clouds[i]) == 0;
    if (!known)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid cloud: %s", cloud);
    if (place && (has_text(place->zone) || place->n_instance_types))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "zones and instance types are not supported");
    for (size_t i = 0; place && i < place->n_regions; i++)
        if (!is_region(place->regions[i]))
            return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid region: %s", place->regions[i]);
    return 0;
}

/* ---- network ---- */

static bool is_cidr(const char *text)
{
    cleanup_free char *address = xstrdup(text);
    char *slash = strchr(address, '/'), *end;
    unsigned char bytes[16];
    unsigned long bits;
    bool v4, v6;

    if (!slash || !isdigit((unsigned char)slash[1]))
        return false;
    *slash = '\0';
    bits = strtoul(slash + 1, &end, 10);
    v4 = inet_pton(AF_INET, address, bytes) == 1;
    v6 = inet_pton(AF_INET6, address, bytes) == 1;
    return *end == '\0' && ((v4 && bits <= 32) || (v6 && bits <= 128));
}

int plan_check_cidrs(char *const *cidrs, size_t len, struct err *err)
{
    for (size_t i = 0; i < len; i++)
        if (!is_cidr(cidrs[i]))
            return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid CIDR: %s", cidrs[i]);
    return 0;
}

int plan_network(const Modal__Client__NetworkAccess *access, enum rt_network *ret, struct strlist *ret_cidrs,
                 struct err *err)
{
    int type = access ? (int)access->network_access_type : 0;

    if (access && plan_check_cidrs(access->allowed_cidrs, access->n_allowed_cidrs, err) < 0)
        return -1;
    switch (type) {
    case MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__UNSPECIFIED:
    case MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__OPEN:
        *ret = RT_NETWORK_OPEN;
        return 0;
    case MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__BLOCKED:
        *ret = RT_NETWORK_BLOCKED;
        return 0;
    case MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__ALLOWLIST:
        *ret = RT_NETWORK_ALLOWLIST;
        for (size_t i = 0; i < access->n_allowed_cidrs; i++)
            strlist_add(ret_cidrs, access->allowed_cidrs[i]);
        return 0;
    default:
        return svc_err(err, GRPC_INVALID_ARGUMENT, "unknown network access type %d", type);
    }
}

static int plan_access(const Modal__Client__Sandbox *def, struct plan *p, struct err *err)
{
    /* Whoever can reach a Sandbox here is on this machine, so who may does not matter; a wrong list is still told. */
    if (plan_check_cidrs(def->inbound_cidr_allowlist, def->n_inbound_cidr_allowlist, err) < 0 ||
        plan_network(def->network_access, &p->network, &p->cidrs, err) < 0)
        return -1;
    if (p->network == RT_NETWORK_OPEN && def->block_network)
        p->network = RT_NETWORK_BLOCKED;
    return 0;
}

/* ---- the readiness probe ---- */

static int plan_probe(const Modal__Client__Probe *probe, struct plan *p, struct err *err)
{
    size_t sum = 0;

    if (!probe)
        return 0;
    p->probe_ms = probe->has_interval_ms ? probe->interval_ms : PROBE_DEFAULT_MS;
    if (!p->probe_ms)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "a readiness probe needs an interval above 0");
    if (probe->probe_oneof_case == MODAL__CLIENT__PROBE__PROBE_ONEOF_TCP_PORT) {
        if (probe->tcp_port < 1 || probe->tcp_port > 65535)
            return svc_err(err, GRPC_INVALID_ARGUMENT, "%u is not a port that can be probed", probe->tcp_port);
        p->probe_port = (uint16_t)probe->tcp_port;
        return 0;
    }
    if (probe->probe_oneof_case != MODAL__CLIENT__PROBE__PROBE_ONEOF_EXEC_COMMAND || !probe->exec_command->n_argv ||
        !probe->exec_command->argv[0][0])
        return svc_err(err, GRPC_INVALID_ARGUMENT, "a readiness probe needs a port or a command");
    for (size_t i = 0; i < probe->exec_command->n_argv; i++) {
        sum += strlen(probe->exec_command->argv[i]);
        strlist_add(&p->probe_argv, probe->exec_command->argv[i]);
    }
    return sum > LIMIT_EXEC_ARGS ? svc_err(err, GRPC_INVALID_ARGUMENT,
                                           "the probe's arguments have %zu bytes, more than %u", sum, LIMIT_EXEC_ARGS)
                                 : 0;
}

/* ---- tunnels ---- */

static int plan_ports(const Modal__Client__Sandbox *def, struct plan *p, struct err *err)
{
    const Modal__Client__PortSpecs *ports =
        def->open_ports_oneof_case == MODAL__CLIENT__SANDBOX__OPEN_PORTS_ONEOF_OPEN_PORTS ? def->open_ports : NULL;

    if (!ports || !ports->n_ports)
        return 0;
    if (p->network == RT_NETWORK_BLOCKED)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "a Sandbox whose network is blocked cannot have open ports");
    if (ports->n_ports > PORTS_MAX)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "%zu open ports are more than %d", ports->n_ports, PORTS_MAX);
    p->ports = xcalloc(ports->n_ports, sizeof(*p->ports));
    for (size_t i = 0; i < ports->n_ports; i++) {
        const Modal__Client__PortSpec *spec = ports->ports[i];

        if (spec->port < 1 || spec->port > 65535)
            return svc_err(err, GRPC_INVALID_ARGUMENT, "%u is not a port that can be opened", spec->port);
        for (size_t j = 0; j < p->ports_len; j++)
            if (p->ports[j].number == spec->port)
                return svc_err(err, GRPC_INVALID_ARGUMENT, "the port %u is opened twice", spec->port);
        p->ports[p->ports_len++] = (struct plan_port){
            .number = (uint16_t)spec->port,
            .unencrypted = spec->has_unencrypted && spec->unencrypted,
            .h2 = spec->has_tunnel_type && spec->tunnel_type == MODAL__CLIENT__TUNNEL_TYPE__TUNNEL_TYPE_H2,
        };
    }
    return 0;
}

/* ---- resources, times, names ---- */

/* Requests are a floor, which this machine gives anyway; only the maxima limit. */
static int plan_resources(const Modal__Client__Sandbox *def, struct plan *p, struct err *err)
{
    const Modal__Client__Resources *r = def->resources;

    if (!r)
        return 0;
    if (r->memory_mb_max && r->memory_mb_max < r->memory_mb)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the memory limit (%u MiB) is below the request (%u MiB)",
                       r->memory_mb_max, r->memory_mb);
    if (r->milli_cpu_max && r->milli_cpu_max < r->milli_cpu)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the CPU limit (%u m) is below the request (%u m)", r->milli_cpu_max,
                       r->milli_cpu);
    if (r->memory_mb_max && r->memory_mb_max < MEMORY_MIN_MB)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "a memory limit of %u MiB is too small", r->memory_mb_max);
    p->memory_mb_asked = r->memory_mb;
    p->milli_cpu_asked = r->milli_cpu;
    p->memory_bytes = (uint64_t)r->memory_mb_max << 20;
    p->milli_cpu = r->milli_cpu_max;
    return 0;
}

static int plan_rest(const Modal__Client__Sandbox *def, struct plan *p, struct err *err)
{
    p->timeout_secs = def->timeout_secs ? def->timeout_secs : TIMEOUT_DEFAULT;
    if (p->timeout_secs > TIMEOUT_MAX)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "a Sandbox lives %u seconds at most", TIMEOUT_MAX);
    p->idle_timeout_secs = def->has_idle_timeout_secs ? def->idle_timeout_secs : 0;
    if (has_text(def->name) && !name_is_valid(def->name))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid Sandbox name: \"%s\"", def->name);
    p->name = has_text(def->name) ? xstrdup(def->name) : NULL;
    if (has_text(def->workdir) && def->workdir[0] != '/')
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the working directory \"%s\" is not absolute", def->workdir);
    if (def->pty_info && def->pty_info->enabled) {
        p->pty = true;
        p->pty_rows = (uint16_t)def->pty_info->winsz_rows;
        p->pty_cols = (uint16_t)def->pty_info->winsz_cols;
    }
    return 0;
}

/* ---- image, command, environment ---- */

/* ENTRYPOINT, then the arguments, or CMD when there are none; with nothing at all the Sandbox just sleeps
 * (protocol 5.3). */
static int plan_command(const Modal__Client__Sandbox *def, const struct image_config *config, struct plan *p,
                        struct err *err)
{
    size_t sum = 0;

    strlist_copy(&p->args, &config->entrypoint);
    if (def->n_entrypoint_args == 0)
        strlist_copy(&p->args, &config->cmd);
    for (size_t i = 0; i < def->n_entrypoint_args; i++) {
        sum += strlen(def->entrypoint_args[i]);
        strlist_add(&p->args, def->entrypoint_args[i]);
    }
    if (sum > LIMIT_EXEC_ARGS)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the arguments have %zu bytes, more than %u", sum, LIMIT_EXEC_ARGS);
    return 0;
}

void plan_pty_env(const Modal__Client__PTYInfo *pty, struct strlist *env)
{
    strlist_env_set(env, "TERM", has_text(pty->env_term) ? pty->env_term : "xterm-256color");
    if (has_text(pty->env_colorterm))
        strlist_env_set(env, "COLORTERM", pty->env_colorterm);
    if (has_text(pty->env_term_program))
        strlist_env_set(env, "TERM_PROGRAM", pty->env_term_program);
}

/* The image's, then the secrets', then the definition's and the request's own variables: later ones win. */
static int plan_env(struct engine *e, const Modal__Client__Sandbox *def,
                    const Modal__Client__SandboxCreateV2Request *v2, const struct image_config *config, struct plan *p,
                    struct err *err)
{
    strlist_copy(&p->env, &config->env);
    if (!strlist_env_get(&p->env, "PATH"))
        strlist_env_set(&p->env, "PATH", PATH_DEFAULT);
    if (!strlist_env_get(&p->env, "HOME"))
        strlist_env_set(&p->env, "HOME", "/root");
    for (size_t i = 0; i < def->n_secret_ids; i++)
        if (secrets_apply(e->secrets, def->secret_ids[i], &p->env, err) < 0)
            return svc_err(err, GRPC_NOT_FOUND, "secret %s not found", def->secret_ids[i]);
    if (def->environment_variables &&
        svc_env(def->environment_variables->contents, def->environment_variables->n_contents, &p->env, err) < 0)
        return -1;
    if (v2 && v2->ephemeral_secrets &&
        svc_env(v2->ephemeral_secrets->contents, v2->ephemeral_secrets->n_contents, &p->env, err) < 0)
        return -1;
    if (v2 && svc_secret_sources(e, v2->secret_sources, v2->n_secret_sources, &p->env, err) < 0)
        return -1;
    strlist_env_set(&p->env, "MODAL_IMAGE_ID", p->image_id);
    if (p->pty)
        plan_pty_env(def->pty_info, &p->env);
    return 0;
}

static int plan_image(struct engine *e, const Modal__Client__Sandbox *def,
                      const Modal__Client__SandboxCreateV2Request *v2, struct plan *p, struct err *err)
{
    const struct image_config *config;
    enum images_state state;

    if (!has_text(def->image_id))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "a Sandbox needs an image");
    if (images_state(e->images, def->image_id, &state, NULL) < 0)
        return svc_err(err, GRPC_NOT_FOUND, "image %s not found", def->image_id);
    if (state != IMAGES_READY)
        return svc_err(err, GRPC_FAILED_PRECONDITION, "image %s is not built", def->image_id);
    p->image_id = xstrdup(def->image_id);
    config = images_configuration(e->images, def->image_id);
    if (!config)
        return svc_err(err, GRPC_INTERNAL, "image %s has no configuration", def->image_id);
    p->workdir = xstrdup(has_text(def->workdir) ? def->workdir : config->workdir ? config->workdir : "/");
    if (plan_command(def, config, p, err) < 0 || plan_env(e, def, v2, config, p, err) < 0)
        return -1;
    if (images_layers(e->images, def->image_id, &p->lowers, err) < 0) {
        err->code = GRPC_INTERNAL;
        return -1;
    }
    return 0;
}

/* The files of mounts appear above the image (protocol 3.5). */
static int plan_mounts(struct engine *e, const Modal__Client__Sandbox *def, struct plan *p, struct err *err)
{
    for (size_t i = 0; i < def->n_mount_ids; i++) {
        cleanup_free char *dir = NULL;

        if (images_mount_dir(e->images, def->mount_ids[i], &dir, err) < 0)
            return svc_err(err, GRPC_NOT_FOUND, "mount %s not found", def->mount_ids[i]);
        if (mounts_add(dir, &p->lowers, &p->mount_sources, &p->mount_targets, err) < 0) {
            err->code = GRPC_INVALID_ARGUMENT;
            return -1;
        }
    }
    return 0;
}

int plan_make(struct engine *e, const Modal__Client__Sandbox *def, const Modal__Client__SandboxCreateV2Request *v2,
              struct plan *ret, struct err *err)
{
    struct plan p = {0};

    if (!def)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the request has no Sandbox definition");
    if (check_placement(def, err) < 0 || check_features(def, err) < 0 || plan_access(def, &p, err) < 0 ||
        plan_probe(def->readiness_probe, &p, err) < 0 || plan_ports(def, &p, err) < 0 ||
        plan_resources(def, &p, err) < 0 || plan_rest(def, &p, err) < 0 || plan_image(e, def, v2, &p, err) < 0 ||
        plan_mounts(e, def, &p, err) < 0 ||
        vol_views_open(e->volumes, def->volume_mounts, def->n_volume_mounts, &p.views, err) < 0) {
        plan_clear(&p);
        return -1;
    }
    *ret = p;
    return 0;
}
