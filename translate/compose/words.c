#include "translate/compose/words.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"
#include "translate/compose/settle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL                  "com.docker.compose."
#define COMPOSE_SPOKEN_VERSION "2.40.3" /* whose behaviour this is: shim/compose/compose.h */

static size_t length(const struct cnode *n)
{
    return n ? n->len : 0;
}

void words_add(const struct words *w, const char *option, const char *fmt, ...)
{
    va_list ap;

    strlist_add(w->out, option);
    va_start(ap, fmt);
    strlist_add_owned(w->out, xvasprintf(fmt, ap));
    va_end(ap);
}

/* ---- keys that are options ---- */

enum word_kind {
    WORD_TEXT,
    WORD_FLAG,
    WORD_YES_NO, /* --init=false says something too */
    WORD_LIST,
    WORD_MAP,
    WORD_ELSEWHERE /* the option is right, but the value takes more than a copy */
};

/* Whatever of these a sandbox cannot have is refused by the option itself. */
static const struct {
    const char *key, *option;
    enum word_kind kind;
} plain[] = {{"annotations", "--annotation", WORD_MAP},
             {"cap_add", "--cap-add", WORD_LIST},
             {"cap_drop", "--cap-drop", WORD_LIST},
             {"cgroup", "--cgroupns", WORD_TEXT},
             {"cgroup_parent", "--cgroup-parent", WORD_TEXT},
             {"cpu_count", "--cpu-count", WORD_TEXT},
             {"cpu_percent", "--cpu-percent", WORD_TEXT},
             {"cpu_period", "--cpu-period", WORD_TEXT},
             {"cpu_quota", "--cpu-quota", WORD_TEXT},
             {"cpu_rt_period", "--cpu-rt-period", WORD_TEXT},
             {"cpu_rt_runtime", "--cpu-rt-runtime", WORD_TEXT},
             {"cpu_shares", "--cpu-shares", WORD_TEXT},
             {"cpus", "--cpus", WORD_ELSEWHERE},
             {"cpuset", "--cpuset-cpus", WORD_TEXT},
             {"device_cgroup_rules", "--device-cgroup-rule", WORD_LIST},
             {"devices", "--device", WORD_ELSEWHERE},
             {"dns", "--dns", WORD_LIST},
             {"dns_opt", "--dns-option", WORD_LIST},
             {"dns_search", "--dns-search", WORD_LIST},
             {"domainname", "--domainname", WORD_TEXT},
             {"entrypoint", "--entrypoint", WORD_ELSEWHERE},
             {"environment", "--env", WORD_ELSEWHERE},
             {"expose", "--expose", WORD_LIST},
             {"extra_hosts", "--add-host", WORD_LIST},
             {"gpus", "--gpus", WORD_ELSEWHERE},
             {"group_add", "--group-add", WORD_LIST},
             {"healthcheck", "--health-cmd", WORD_ELSEWHERE},
             {"hostname", "--hostname", WORD_TEXT},
             {"init", "--init", WORD_YES_NO},
             {"ipc", "--ipc", WORD_TEXT},
             {"isolation", "--isolation", WORD_TEXT},
             {"labels", "--label", WORD_MAP},
             {"mac_address", "--mac-address", WORD_TEXT},
             {"mem_limit", "--memory", WORD_ELSEWHERE},
             {"mem_reservation", "--memory-reservation", WORD_ELSEWHERE},
             {"mem_swappiness", "--memory-swappiness", WORD_TEXT},
             {"memswap_limit", "--memory-swap", WORD_TEXT},
             {"network_mode", "--network", WORD_ELSEWHERE},
             {"networks", "--network", WORD_ELSEWHERE},
             {"oom_kill_disable", "--oom-kill-disable", WORD_FLAG},
             {"oom_score_adj", "--oom-score-adj", WORD_TEXT},
             {"pid", "--pid", WORD_TEXT},
             {"pids_limit", "--pids-limit", WORD_ELSEWHERE},
             {"platform", "--platform", WORD_TEXT},
             {"ports", "--publish", WORD_ELSEWHERE},
             {"privileged", "--privileged", WORD_FLAG},
             {"read_only", "--read-only", WORD_FLAG},
             {"restart", "--restart", WORD_ELSEWHERE},
             {"runtime", "--runtime", WORD_TEXT},
             {"security_opt", "--security-opt", WORD_LIST},
             {"shm_size", "--shm-size", WORD_TEXT},
             {"stdin_open", "--interactive", WORD_FLAG},
             {"stop_grace_period", "--stop-timeout", WORD_ELSEWHERE},
             {"stop_signal", "--stop-signal", WORD_TEXT},
             {"storage_opt", "--storage-opt", WORD_MAP},
             {"sysctls", "--sysctl", WORD_MAP},
             {"tmpfs", "--tmpfs", WORD_LIST},
             {"tty", "--tty", WORD_FLAG},
             {"ulimits", "--ulimit", WORD_ELSEWHERE},
             {"use_api_socket", "--use-api-socket", WORD_FLAG},
             {"user", "--user", WORD_TEXT},
             {"userns_mode", "--userns", WORD_TEXT},
             {"uts", "--uts", WORD_TEXT},
             {"volumes", "--volume", WORD_ELSEWHERE},
             {"volumes_from", "--volumes-from", WORD_ELSEWHERE},
             {"working_dir", "--workdir", WORD_TEXT}};

const char *words_option(const char *key)
{
    static const struct {
        const char *path, *option;
    } parts[] = {{"blkio_config.device_read_bps", "--device-read-bps"},
                 {"blkio_config.device_read_iops", "--device-read-iops"},
                 {"blkio_config.device_write_bps", "--device-write-bps"},
                 {"blkio_config.device_write_iops", "--device-write-iops"},
                 {"blkio_config.weight", "--blkio-weight"},
                 {"blkio_config.weight_device", "--blkio-weight-device"},
                 {"deploy.resources.limits.cpus", "--cpus"},
                 {"deploy.resources.limits.memory", "--memory"},
                 {"deploy.resources.limits.pids", "--pids-limit"},
                 {"deploy.resources.reservations.devices", "--gpus"},
                 {"deploy.resources.reservations.memory", "--memory-reservation"},
                 {"deploy.restart_policy", "--restart"},
                 {"logging.driver", "--log-driver"},
                 {"logging.options", "--log-opt"}};

    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (strcmp(parts[i].path, key) == 0)
            return parts[i].option;
    for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
        if (strcmp(plain[i].key, key) == 0)
            return plain[i].option;
    return NULL;
}

static void add_plain(const struct words *w, const struct cnode *value, const char *option, enum word_kind kind)
{
    switch (kind) {
    case WORD_TEXT:
        words_add(w, option, "%s", value->text ? value->text : "");
        break;
    case WORD_FLAG:
    case WORD_YES_NO:
        if (strcmp(value->text, "true") == 0)
            strlist_add(w->out, option);
        else if (kind == WORD_YES_NO)
            strlist_addf(w->out, "%s=false", option);
        break;
    case WORD_LIST:
        for (size_t i = 0; i < value->len; i++)
            words_add(w, option, "%s", value->items[i]->text);
        break;
    case WORD_MAP:
        for (size_t i = 0; i < value->len; i++)
            words_add(w, option, "%s=%s", value->keys[i], value->items[i]->text ? value->items[i]->text : "");
        break;
    case WORD_ELSEWHERE:
        break;
    }
}

/* ---- limits ---- */

/* The first of two that is said. */
static const char *limit(const struct words *w, const char *path, const char *old)
{
    const char *value = cnode_text(cnode_path(w->s, path));

    return value ? value : cnode_str(w->s, old);
}

static void add_limits(const struct words *w)
{
    static const struct {
        const char *path, *old, *option;
    } limits[] = {{"deploy.resources.limits.cpus", "cpus", "--cpus"},
                  {"deploy.resources.limits.memory", "mem_limit", "--memory"},
                  {"deploy.resources.reservations.memory", "mem_reservation", "--memory-reservation"},
                  {"deploy.resources.limits.pids", "pids_limit", "--pids-limit"}};
    const struct cnode *ulimits = cnode_get(w->s, "ulimits");

    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
        const char *value = limit(w, limits[i].path, limits[i].old);

        if (value)
            words_add(w, limits[i].option, "%s", value);
    }
    for (size_t i = 0; i < length(ulimits); i++) {
        const struct cnode *u = ulimits->items[i];

        if (u->kind == CNODE_MAP)
            words_add(w, "--ulimit", "%s=%s:%s", ulimits->keys[i], cnode_str(u, "soft"), cnode_str(u, "hard"));
        else
            words_add(w, "--ulimit", "%s=%s", ulimits->keys[i], u->text);
    }
}

/* How many GPUs; what else a request says is refused. */
static int add_gpus(const struct words *w, const struct cnode *requests, struct err *err)
{
    for (size_t i = 0; i < length(requests); i++) {
        const struct cnode *r = requests->items[i], *kinds = cnode_get(r, "capabilities");
        const char *count = cnode_str(r, "count");

        for (size_t k = 0; k < length(kinds); k++)
            if (strcmp(kinds->items[k]->text, "tpu") == 0)
                return err_set(err, 0, "service \"%s\": devices of kind tpu are not carried out by atp-docker",
                               w->name);
        if (length(cnode_get(r, "options")) > 0)
            return err_set(err, 0,
                           "service \"%s\": GPUs with options of a driver are not carried out by atp-docker: give count, "
                           "or x-modal.gpu",
                           w->name);
        if (words_modal_says(w, "gpu"))
            continue;
        if (length(cnode_get(r, "device_ids")) > 0) /* as many, whichever they are */
            words_add(w, "--gpus", "%zu", cnode_get(r, "device_ids")->len);
        else
            words_add(w, "--gpus", "%s", !count || strcmp(count, "-1") == 0 ? "all" : count);
    }
    return 0;
}

/* ---- what is run ---- */

static void add_environment(const struct words *w)
{
    const struct cnode *env = cnode_get(w->s, "environment");

    for (size_t i = 0; i < length(env); i++)
        if (env->items[i]->kind != CNODE_NULL)
            words_add(w, "--env", "%s=%s", env->keys[i], env->items[i]->text);
}

/* Words as one line of a shell. Owned by caller. */
static char *shell_line(const struct cnode *words, size_t from)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    size_t size = 1;
    char *line, *p;

    for (size_t i = from; i < words->len; i++)
        size += strlen(words->items[i]->text) * 4 + 3;
    p = line = xmalloc(size);
    for (size_t i = from; i < words->len; i++) {
        if (i > from)
            *p++ = ' ';
        *p++ = '\'';
        for (const char *c = words->items[i]->text; *c; c++) {
            if (*c == '\'') {
                memcpy(p, "'\\''", 4);
                p += 4;
            } else {
                *p++ = *c;
            }
        }
        *p++ = '\'';
    }
    *p = '\0';
    return line;
}

/* A check is a line for a shell; one that is a list of words is written as such a line. */
static void add_healthcheck(const struct words *w)
{
    static const struct {
        const char *key, *option;
    } times[] = {{"interval", "--health-interval"},
                 {"timeout", "--health-timeout"},
                 {"retries", "--health-retries"},
                 {"start_period", "--health-start-period"},
                 {"start_interval", "--health-start-interval"}};
    const struct cnode *check = cnode_get(w->s, "healthcheck"), *test = cnode_get(check, "test");
    const char *first = length(test) > 0 ? test->items[0]->text : NULL;

    if (!check)
        return;
    if (cnode_true(check, "disable") || (first && strcmp(first, "NONE") == 0)) {
        strlist_add(w->out, "--no-healthcheck");
        return;
    }
    if (first && strcmp(first, "CMD-SHELL") == 0 && test->len > 1) {
        words_add(w, "--health-cmd", "%s", test->items[1]->text);
    } else if (first && test->len > 1) {
        cleanup_free char *line = shell_line(test, 1);

        words_add(w, "--health-cmd", "exec %s", line);
    }
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++)
        if (cnode_str(check, times[i].key))
            words_add(w, times[i].option, "%s", cnode_str(check, times[i].key));
}

static int add_stop(const struct words *w, struct err *err)
{
    const char *grace = cnode_str(w->s, "stop_grace_period");
    int64_t ns;

    if (!grace)
        return 0;
    if (units_parse_duration(grace, &ns, err))
        return -1;
    words_add(w, "--stop-timeout", "%lld", (long long)(ns / 1000000000));
    return 0;
}

/* deploy's policy wins over the old key. */
static void add_restart(const struct words *w)
{
    const struct cnode *policy = cnode_path(w->s, "deploy.restart_policy");
    const char *condition = cnode_str(policy, "condition"), *times = cnode_str(policy, "max_attempts");

    if (!policy) {
        if (cnode_str(w->s, "restart"))
            words_add(w, "--restart", "%s", cnode_str(w->s, "restart"));
        return;
    }
    if (!condition || strcmp(condition, "any") == 0)
        condition = condition ? "always" : "no";
    else if (strcmp(condition, "none") == 0)
        condition = "no";
    if (times && strcmp(condition, "on-failure") == 0)
        words_add(w, "--restart", "%s:%s", condition, times);
    else
        words_add(w, "--restart", "%s", condition);
}

/* ---- networks and ports ---- */

/* Names by which other services link to this one. */
static void add_link_aliases(const struct words *w, struct strlist *aliases)
{
    const struct cnode *services = cnode_get(w->p->model, "services");
    size_t len = strlen(w->name);

    for (size_t i = 0; i < length(services); i++) {
        const struct cnode *links = cnode_get(services->items[i], "links");

        for (size_t k = 0; k < length(links); k++) {
            const char *link = links->items[k]->text;

            if (strncmp(link, w->name, len) == 0 && link[len] == ':' && !strlist_has(aliases, link + len + 1))
                strlist_add(aliases, link + len + 1);
        }
    }
}

static void add_network(const struct words *w, const char *key, const struct cnode *join, const char *container)
{
    const char *name = cnode_str(cnode_get(cnode_get(w->p->model, "networks"), key), "name");
    const struct cnode *more = cnode_get(join, "aliases");
    static const char *const addresses[] = {"ipv4_address", "ip", "ipv6_address", "ip6", "mac_address", "mac-address"};
    cleanup_strlist struct strlist aliases = STRLIST_INIT;
    cleanup_free char *word = xasprintf("name=%s", name ? name : key);

    strlist_add(&aliases, container);
    if (!strlist_has(&aliases, w->name))
        strlist_add(&aliases, w->name);
    for (size_t i = 0; i < length(more); i++)
        if (!strlist_has(&aliases, more->items[i]->text))
            strlist_add(&aliases, more->items[i]->text);
    add_link_aliases(w, &aliases);
    for (size_t i = 0; i < aliases.len; i++) {
        char *longer = xasprintf("%s,alias=%s", word, aliases.items[i]);

        free(word);
        word = longer;
    }
    for (size_t i = 0; i < 6; i += 2) {
        char *longer;

        if (!cnode_str(join, addresses[i]))
            continue;
        longer = xasprintf("%s,%s=%s", word, addresses[i + 1], cnode_str(join, addresses[i]));
        free(word);
        word = longer;
    }
    words_add(w, "--network", "%s", word);
}

/* The one with the highest priority is first; then by name. */
static void add_networks(const struct words *w, const char *container)
{
    const struct cnode *networks = cnode_get(w->s, "networks");
    const char *mode = cnode_str(w->s, "network_mode");
    cleanup_free bool *done = xcalloc(length(networks) + 1, sizeof(*done));

    if (mode && !words_modal_says(w, "block_network"))
        words_add(w, "--network", "%s", mode);
    else if (!mode && length(networks) == 0)
        words_add(w, "--network", "none");
    for (size_t n = 0; n < length(networks); n++) {
        size_t best = SIZE_MAX;

        for (size_t i = 0; i < networks->len; i++)
            if (!done[i] && (best == SIZE_MAX || cnode_number(networks->items[i], "priority", 0) >
                                                     cnode_number(networks->items[best], "priority", 0)))
                best = i;
        done[best] = true;
        add_network(w, networks->keys[best], networks->items[best], container);
    }
}

static void add_ports(const struct words *w)
{
    const struct cnode *ports = cnode_get(w->s, "ports");

    for (size_t i = 0; i < length(ports); i++) {
        const struct cnode *port = ports->items[i];
        const char *ip = cnode_str(port, "host_ip"), *published = cnode_str(port, "published");
        const char *protocol = cnode_str(port, "protocol"), *target = cnode_str(port, "target");
        bool six = ip && strchr(ip, ':');

        words_add(w, "--publish", "%s%s%s%s%s%s%s%s%s", six ? "[" : "", ip ? ip : "", six ? "]" : "", ip ? ":" : "",
                  published ? published : "", published || ip ? ":" : "", target ? target : "", protocol ? "/" : "",
                  protocol ? protocol : "");
    }
}

/* ---- labels ---- */

static void add_depends_label(const struct words *w)
{
    const struct cnode *depends = cnode_get(w->s, "depends_on");
    cleanup_free char *text = xstrdup("");

    for (size_t i = 0; i < length(depends); i++) {
        const char *condition = cnode_str(depends->items[i], "condition");
        char *longer = xasprintf("%s%s%s:%s:%s", text, i ? "," : "", depends->keys[i], condition ? condition : "",
                                 cnode_true(depends->items[i], "restart") ? "true" : "false");

        free(text);
        text = longer;
    }
    words_add(w, "--label", LABEL "depends_on=%s", text);
}

/* Owned by caller. */
static char *with_commas(const struct strlist *list)
{
    char *text = xstrdup("");

    for (size_t i = 0; i < list->len; i++) {
        char *longer = xasprintf("%s%s%s", text, i ? "," : "", list->items[i]);

        free(text);
        text = longer;
    }
    return text;
}

static int add_labels(const struct words *w, struct err *err)
{
    cleanup_free char *hash = compose_hash(w->p, w->name, err);
    cleanup_free char *files = with_commas(&w->p->files), *env_files = with_commas(&w->p->env_files);

    if (!hash)
        return -1;
    words_add(w, "--label", LABEL "project=%s", w->p->name);
    words_add(w, "--label", LABEL "service=%s", w->name);
    words_add(w, "--label", LABEL "container-number=%u", w->number);
    words_add(w, "--label", LABEL "config-hash=%s", hash);
    words_add(w, "--label", LABEL "oneoff=False");
    words_add(w, "--label", LABEL "version=%s", COMPOSE_SPOKEN_VERSION);
    words_add(w, "--label", LABEL "project.config_files=%s", files);
    words_add(w, "--label", LABEL "project.working_dir=%s", w->p->working_dir);
    if (w->p->env_named)
        words_add(w, "--label", LABEL "project.environment_file=%s", env_files);
    add_depends_label(w);
    return 0;
}

/* ---- all of it ---- */

/* What no word of docker says, so that it is not dropped without one. */
static int refuse_rest(const struct words *w, struct err *err)
{
    static const struct {
        const char *key, *why;
    } refused[] = {{"credential_spec", "only containers of Windows have it"},
                   {"external_links", "containers of other projects are not reached by links"},
                   {"models", "there is no model runner"},
                   {"provider", "there are no providers"}};

    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        if (cnode_get(w->s, refused[i].key))
            return err_set(err, 0, "service \"%s\": %s is not carried out by atp-docker: %s", w->name, refused[i].key,
                           refused[i].why);
    return 0;
}

/* SOURCE:TARGET:RIGHTS, as far as they are said. */
static void add_devices(const struct words *w)
{
    const struct cnode *devices = cnode_get(w->s, "devices");

    for (size_t i = 0; i < length(devices); i++) {
        const char *source = cnode_str(devices->items[i], "source"), *target = cnode_str(devices->items[i], "target");
        const char *rights = cnode_str(devices->items[i], "permissions");

        words_add(w, "--device", "%s:%s:%s", source ? source : "",
                  target   ? target
                  : source ? source
                           : "",
                  rights ? rights : "rwm");
    }
}

/* PATH:NUMBER of each device. */
static void add_throttles(const struct words *w)
{
    static const struct {
        const char *key, *option, *number;
    } lists[] = {{"device_read_bps", "--device-read-bps", "rate"},
                 {"device_read_iops", "--device-read-iops", "rate"},
                 {"device_write_bps", "--device-write-bps", "rate"},
                 {"device_write_iops", "--device-write-iops", "rate"},
                 {"weight_device", "--blkio-weight-device", "weight"}};
    const struct cnode *config = cnode_get(w->s, "blkio_config");

    if (cnode_str(config, "weight"))
        words_add(w, "--blkio-weight", "%s", cnode_str(config, "weight"));
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        const struct cnode *list = cnode_get(config, lists[i].key);

        for (size_t k = 0; k < length(list); k++) {
            const char *path = cnode_str(list->items[k], "path"), *number = cnode_str(list->items[k], lists[i].number);

            words_add(w, lists[i].option, "%s:%s", path ? path : "", number ? number : "0");
        }
    }
}

static void add_logging(const struct words *w)
{
    const struct cnode *logging = cnode_get(w->s, "logging"), *options = cnode_get(logging, "options");

    if (cnode_str(logging, "driver"))
        words_add(w, "--log-driver", "%s", cnode_str(logging, "driver"));
    for (size_t i = 0; i < length(options); i++)
        words_add(w, "--log-opt", "%s=%s", options->keys[i], options->items[i]->text ? options->items[i]->text : "");
}

/* `volumes_from` names a service's first container, or container:NAME. */
static void add_volumes_from(const struct words *w)
{
    const struct cnode *list = cnode_get(w->s, "volumes_from");

    for (size_t i = 0; i < length(list); i++) {
        const char *text = list->items[i]->text, *colon = strchr(text, ':');
        cleanup_free char *service = xstrndup(text, colon ? (size_t)(colon - text) : strlen(text));
        const char *own = cnode_str(cnode_get(cnode_get(w->p->model, "services"), service), "container_name");

        if (strncmp(text, "container:", 10) == 0)
            words_add(w, "--volumes-from", "%s", text + 10);
        else if (own)
            words_add(w, "--volumes-from", "%s%s", own, colon ? colon : "");
        else
            words_add(w, "--volumes-from", "%s-%s-1%s", w->p->name, service, colon ? colon : "");
    }
}

/* --entrypoint takes one word; the others go in front of the command. */
static void add_command(const struct words *w)
{
    const struct cnode *entrypoint = cnode_get(w->s, "entrypoint"), *command = cnode_get(w->s, "command");
    cleanup_free char *image = compose_image_name(w->p, w->s, w->name);

    if (entrypoint)
        words_add(w, "--entrypoint", "%s", entrypoint->len > 0 ? entrypoint->items[0]->text : "");
    strlist_add(w->out, "--");
    strlist_add(w->out, image);
    for (size_t i = 1; i < length(entrypoint); i++)
        strlist_add(w->out, entrypoint->items[i]->text);
    for (size_t i = 0; i < length(command); i++)
        strlist_add(w->out, command->items[i]->text);
}

int compose_service_words(const struct compose_project *p, const char *service, unsigned number,
                          struct strlist *ret_words, struct err *err)
{
    struct words w = {p, cnode_get(cnode_get(p->model, "services"), service), service, number, ret_words};
    const char *own = cnode_str(w.s, "container_name");
    cleanup_free char *container = own ? xstrdup(own) : xasprintf("%s-%s-%u", p->name, service, number);

    if (!w.s)
        return err_set(err, 0, "no such service: %s", service);
    words_add(&w, "--name", "%s", container);
    for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
        const struct cnode *value = cnode_get(w.s, plain[i].key);

        if (value)
            add_plain(&w, value, plain[i].option, plain[i].kind);
    }
    add_environment(&w);
    add_limits(&w);
    add_healthcheck(&w);
    add_restart(&w);
    add_networks(&w, container);
    add_ports(&w);
    add_volumes_from(&w);
    add_devices(&w);
    add_throttles(&w);
    add_logging(&w);
    if (add_stop(&w, err) || add_labels(&w, err) || words_mounts(&w, err) || words_modal(&w, err) ||
        add_gpus(&w, cnode_get(w.s, "gpus"), err) ||
        add_gpus(&w, cnode_path(w.s, "deploy.resources.reservations.devices"), err) || refuse_rest(&w, err))
        return -1;
    add_command(&w);
    return 0;
}
