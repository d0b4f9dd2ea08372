#include "backends/modal/sandbox_spec.h"

#include "backends/modal/sandbox.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_S 300u /* the SDKs' (protocol 9.1) */
#define GPU_MAX           64

void modal_sandbox_spec_clear(struct modal_sandbox_spec *spec)
{
    strlist_clear(&spec->args);
    strlist_clear(&spec->env);
    strlist_clear(&spec->tags);
    strlist_clear(&spec->secret_ids);
    strlist_clear(&spec->mount_ids);
    strlist_clear(&spec->regions);
    strlist_clear(&spec->cidrs);
    strlist_clear(&spec->domains);
    strlist_clear(&spec->inbound_cidrs);
    strlist_clear(&spec->options);
}

/* What the server would refuse, or worse, misunderstand. */
static int check(const struct modal_sandbox_spec *spec, struct err *err)
{
    bool listed = spec->cidrs.len || spec->domains.len;
    size_t args = 0;

    for (size_t i = 0; i < spec->args.len; i++)
        args += strlen(spec->args.items[i]);
    if (args > LIMIT_EXEC_ARGS)
        return err_set(err, 125, "the command has %zu bytes of arguments, a sandbox takes %u", args, LIMIT_EXEC_ARGS);
    if (spec->workdir && *spec->workdir != '/')
        return err_set(err, 125, "the working directory %s is not absolute", spec->workdir);
    if (spec->gpu && !spec->v1)
        return err_set(err, 125, "a GPU needs a sandbox of the older kind (V1)");
    if (listed && spec->network != MODAL_NETWORK_ALLOWLIST)
        return err_set(err, 125, "an allow list of addresses or domains contradicts an open or blocked network");
    if (spec->network == MODAL_NETWORK_BLOCKED && (spec->port_count || spec->i6pn || spec->inbound_cidrs.len))
        return err_set(err, 125, "a blocked network contradicts published ports, i6pn and inbound lists");
    if (spec->cpu_milli_max && spec->cpu_milli_max < spec->cpu_milli)
        return err_set(err, 125, "the CPU limit is below the CPU request");
    if (spec->memory_mib_max && spec->memory_mib_max < spec->memory_mib)
        return err_set(err, 125, "the memory limit is below the memory request");
    for (size_t i = 0; i < spec->port_count; i++)
        if (!spec->ports[i].port)
            return err_set(err, 125, "port 0 cannot be published");
    for (size_t i = 0; i < spec->volume_count; i++)
        if (!spec->volumes[i].path || *spec->volumes[i].path != '/')
            return err_set(err, 125, "a volume's mount point is not absolute");
    return 0;
}

/* "T4" or "h100:2": the type in capitals, the count. */
static int set_gpu(struct sandbox_message *m, const char *gpu, struct err *err)
{
    const char *colon = strchr(gpu, ':');
    size_t len = colon ? (size_t)(colon - gpu) : strlen(gpu);
    unsigned long count = 1;
    char *end = NULL;

    if (colon)
        count = strtoul(colon + 1, &end, 10);
    if (!len || (colon && (*end || !isdigit((unsigned char)colon[1]))) || !count || count > GPU_MAX)
        return err_set(err, 125, "invalid GPU %s: must be TYPE or TYPE:COUNT", gpu);
    m->gpu_type = xstrndup(gpu, len);
    for (char *c = m->gpu_type; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    m->gpu.gpu_type = m->gpu_type;
    m->gpu.has_count = 1;
    m->gpu.count = (uint32_t)count;
    return 0;
}

/* A zero is left out: absent means the server's default. */
static void set_number(uint32_t value, protobuf_c_boolean *has, uint32_t *to)
{
    *has = value != 0;
    *to = value;
}

static void set_flag(bool value, protobuf_c_boolean *has, protobuf_c_boolean *to)
{
    *has = value;
    *to = value;
}

static void set_resources(struct sandbox_message *m, const struct modal_sandbox_spec *spec)
{
    Modal__Client__Resources *r = &m->resources;

    set_number(spec->memory_mib, &r->has_memory_mb, &r->memory_mb);
    set_number(spec->memory_mib_max, &r->has_memory_mb_max, &r->memory_mb_max);
    set_number(spec->cpu_milli, &r->has_milli_cpu, &r->milli_cpu);
    set_number(spec->cpu_milli_max, &r->has_milli_cpu_max, &r->milli_cpu_max);
    r->gpu_config = &m->gpu; /* also when empty, as the SDKs send it */
    m->sandbox.resources = r;
}

static void set_network(struct sandbox_message *m, const struct modal_sandbox_spec *spec)
{
    Modal__Client__NetworkAccess *n = &m->network;

    n->has_network_access_type = 1;
    n->network_access_type =
        spec->network == MODAL_NETWORK_BLOCKED     ? MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__BLOCKED
        : spec->network == MODAL_NETWORK_ALLOWLIST ? MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__ALLOWLIST
                                                   : MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__OPEN;
    n->n_allowed_cidrs = spec->cidrs.len;
    n->allowed_cidrs = spec->cidrs.items;
    n->n_allowed_domains = spec->domains.len;
    n->allowed_domains = spec->domains.items;
    m->sandbox.network_access = n;
    m->sandbox.n_inbound_cidr_allowlist = spec->inbound_cidrs.len;
    m->sandbox.inbound_cidr_allowlist = spec->inbound_cidrs.items;
}

/* The list of ports is sent also when it is empty: its presence says that there are no others. */
static void set_ports(struct sandbox_message *m, const struct modal_sandbox_spec *spec)
{
    m->port_items = xcalloc(spec->port_count + 1, sizeof(*m->port_items));
    m->port_pointers = xcalloc(spec->port_count + 1, sizeof(*m->port_pointers));
    for (size_t i = 0; i < spec->port_count; i++) {
        Modal__Client__PortSpec *p = &m->port_items[i];

        modal__client__port_spec__init(p);
        p->has_port = 1;
        p->port = spec->ports[i].port;
        p->has_unencrypted = 1;
        p->unencrypted = spec->ports[i].kind == MODAL_PORT_UNENCRYPTED;
        p->has_tunnel_type = spec->ports[i].kind == MODAL_PORT_H2;
        p->tunnel_type = MODAL__CLIENT__TUNNEL_TYPE__TUNNEL_TYPE_H2;
        m->port_pointers[i] = p;
    }
    m->ports.n_ports = spec->port_count;
    m->ports.ports = m->port_pointers;
    m->sandbox.open_ports_oneof_case = MODAL__CLIENT__SANDBOX__OPEN_PORTS_ONEOF_OPEN_PORTS;
    m->sandbox.open_ports = &m->ports;
}

void volume_messages_make(struct volume_messages *m, const struct modal_volume *volumes, size_t count)
{
    m->len = count;
    m->items = xcalloc(count + 1, sizeof(*m->items));
    m->pointers = xcalloc(count + 1, sizeof(*m->pointers));
    for (size_t i = 0; i < count; i++) {
        Modal__Client__VolumeMount *v = &m->items[i];

        modal__client__volume_mount__init(v);
        v->volume_id = (char *)volumes[i].volume_id;
        v->mount_path = (char *)volumes[i].path;
        v->sub_path = (char *)volumes[i].sub_path;
        v->has_allow_background_commits = 1;
        v->allow_background_commits = 1;
        set_flag(volumes[i].read_only, &v->has_read_only, &v->read_only);
        m->pointers[i] = v;
    }
}

void volume_messages_clear(struct volume_messages *m)
{
    free(m->items);
    free(m->pointers);
}

static void set_volumes(struct sandbox_message *m, const struct modal_sandbox_spec *spec)
{
    volume_messages_make(&m->volumes, spec->volumes, spec->volume_count);
    m->sandbox.n_volume_mounts = m->volumes.len;
    m->sandbox.volume_mounts = m->volumes.pointers;
}

void modal_pty_message(Modal__Client__PTYInfo *info, const struct modal_pty *pty)
{
    modal__client__ptyinfo__init(info);
    info->has_enabled = info->enabled = 1;
    info->has_winsz_rows = info->has_winsz_cols = 1;
    info->winsz_rows = pty->rows;
    info->winsz_cols = pty->cols;
    info->env_term = (char *)(pty->term ? pty->term : "xterm-256color");
    info->has_pty_type = 1;
    info->pty_type = MODAL__CLIENT__PTYINFO__PTYTYPE__PTY_TYPE_SHELL;
    info->has_no_terminate_on_idle_stdin = info->no_terminate_on_idle_stdin = 1;
}

/* Everything that is simply passed on. */
static void set_plain(struct sandbox_message *m, const struct modal_sandbox_spec *spec)
{
    Modal__Client__Sandbox *s = &m->sandbox;

    s->n_entrypoint_args = spec->args.len;
    s->entrypoint_args = spec->args.items;
    s->image_id = (char *)spec->image_id;
    s->n_mount_ids = spec->mount_ids.len;
    s->mount_ids = spec->mount_ids.items;
    s->n_secret_ids = spec->secret_ids.len;
    s->secret_ids = spec->secret_ids.items;
    s->has_timeout_secs = 1;
    s->timeout_secs = spec->timeout_s ? spec->timeout_s : DEFAULT_TIMEOUT_S;
    set_number(spec->idle_timeout_s, &s->has_idle_timeout_secs, &s->idle_timeout_secs);
    s->workdir = (char *)spec->workdir;
    s->name = (char *)(spec->name && *spec->name ? spec->name : NULL);
    s->cloud_provider_str = (char *)spec->cloud;
    s->custom_domain = (char *)spec->custom_domain;
    s->proxy_id = (char *)spec->proxy_id;
    set_flag(spec->verbose, &s->has_verbose, &s->verbose);
    set_flag(spec->enable_snapshot, &s->has_enable_snapshot, &s->enable_snapshot);
    set_flag(spec->i6pn, &s->has_i6pn_enabled, &s->i6pn_enabled);
    set_flag(spec->oidc_token, &s->has_include_oidc_identity_token, &s->include_oidc_identity_token);
    s->n_experimental_options_v2 = m->options.len;
    s->experimental_options_v2 = m->options.pointers;
    if (spec->regions.len) {
        m->placement.n_regions = spec->regions.len;
        m->placement.regions = spec->regions.items;
        s->scheduler_placement = &m->placement;
    }
    if (spec->pty) {
        modal_pty_message(&m->pty, spec->pty);
        s->pty_info = &m->pty;
    }
}

int sandbox_message_make(struct sandbox_message *m, const struct modal_sandbox_spec *spec, struct err *err)
{
    *m = (struct sandbox_message){0};
    if (check(spec, err) < 0)
        return -1;
    modal__client__sandbox__init(&m->sandbox);
    modal__client__resources__init(&m->resources);
    modal__client__gpuconfig__init(&m->gpu);
    modal__client__network_access__init(&m->network);
    modal__client__scheduler_placement__init(&m->placement);
    modal__client__port_specs__init(&m->ports);
    modal_entries_make(&m->options, &spec->options);
    set_plain(m, spec);
    set_resources(m, spec);
    set_network(m, spec);
    set_ports(m, spec);
    set_volumes(m, spec);
    return spec->gpu ? set_gpu(m, spec->gpu, err) : 0;
}

void sandbox_message_clear(struct sandbox_message *m)
{
    modal_entries_clear(&m->options);
    free(m->port_items);
    free(m->port_pointers);
    volume_messages_clear(&m->volumes);
    free(m->gpu_type);
}

void tag_messages_make(struct tag_messages *m, const struct strlist *tags)
{
    static const struct strlist none = STRLIST_INIT;

    modal_entries_make(&m->entries, tags ? tags : &none);
    m->len = m->entries.len;
    m->items = xcalloc(m->len + 1, sizeof(*m->items));
    m->pointers = xcalloc(m->len + 1, sizeof(*m->pointers));
    for (size_t i = 0; i < m->len; i++) {
        modal__client__sandbox_tag__init(&m->items[i]);
        m->items[i].tag_name = m->entries.entries[i].key;
        m->items[i].tag_value = m->entries.entries[i].value;
        m->pointers[i] = &m->items[i];
    }
}

void tag_messages_clear(struct tag_messages *m)
{
    modal_entries_clear(&m->entries);
    free(m->items);
    free(m->pointers);
}
