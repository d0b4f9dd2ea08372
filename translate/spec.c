#include "translate/spec.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"
#include "translate/env.h"
#include "translate/health.h"
#include "translate/terms.h"
#include "translate/verdict.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* The options that the functions below build into the spec. */
static const char *const carried[] = {
    "add-host",
    "attach",
    "cap-add",
    "cap-drop",
    "cgroupns",
    "cidfile",
    "cpu-period",
    "cpu-quota",
    "cpus",
    "detach",
    "detach-keys",
    "device",
    "dns",
    "dns-option",
    "dns-search",
    "entrypoint",
    "env",
    "env-file",
    "expose",
    "gpus",
    "group-add",
    "health-cmd",
    "health-interval",
    "health-retries",
    "health-start-interval",
    "health-start-period",
    "health-timeout",
    "hostname",
    "init", /* the agent is one: it reaps, and passes signals on */
    "interactive",
    "ipc",
    "isolation",
    "label",
    "label-file",
    "log-driver",
    "memory",
    "memory-reservation",
    "mount",
    "name",
    "network",
    "network-alias",
    "no-healthcheck",
    "pids-limit",
    "platform",
    "publish",
    "publish-all",
    "pull",
    "quiet",
    "restart",
    "rm",
    "security-opt",
    "sig-proxy",
    "stop-signal",
    "stop-timeout",
    "tmpfs",
    "tty",
    "user",
    "volume",
    "volumes-from",
    "workdir",
    "x-modal",
    "x-modal-top",
    NULL,
};

void spec_init(struct container_spec *s)
{
    *s = (struct container_spec){.stop_timeout = STOP_TIMEOUT_UNSET, .sig_proxy = true};
    modal_options_init(&s->modal);
}

void spec_clear(struct container_spec *s)
{
    free(s->name);
    image_ref_clear(&s->image);
    free(s->platform);
    strlist_clear(&s->entrypoint);
    strlist_clear(&s->cmd);
    strlist_clear(&s->env);
    strlist_clear(&s->labels);
    free(s->workdir);
    free(s->user);
    free(s->hostname);
    free(s->domainname);
    free(s->host);
    free(s->stop_signal);
    free(s->detach_keys);
    free(s->cidfile);
    mounts_clear(&s->mounts);
    ports_clear(&s->ports);
    free(s->healthcheck);
    network_joins_clear(&s->networks);
    strlist_clear(&s->hosts);
    modal_options_clear(&s->modal);
    strlist_clear(&s->notes);
    *s = (struct container_spec){0};
}

/* The value of an option that was given and is not empty; NULL otherwise. Docker takes "" for "not given". */
static char *given_string(const struct opt_parsed *p, const char *name)
{
    const char *value = opt_given(p, name) ? opt_str(p, name) : "";

    return *value ? xstrdup(value) : NULL;
}

static int read_pull(const struct opt_parsed *p, struct container_spec *s, struct err *err)
{
    const char *word = opt_str(p, "pull");

    if (strcmp(word, "always") == 0)
        s->pull = PULL_ALWAYS;
    else if (strcmp(word, "never") == 0)
        s->pull = PULL_NEVER;
    else if (strcmp(word, "missing") == 0 || *word == '\0')
        s->pull = PULL_MISSING;
    else
        return err_set(err, 125, "invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"",
                       word);
    return 0;
}

static const char *const restart_names[RESTART_POLICY_MAX] = {
    [RESTART_NO] = "no",
    [RESTART_ALWAYS] = "always",
    [RESTART_UNLESS_STOPPED] = "unless-stopped",
    [RESTART_ON_FAILURE] = "on-failure",
};

const char *restart_policy_name(enum restart_policy policy)
{
    return restart_names[policy];
}

int restart_policy_find(const char *name, enum restart_policy *ret)
{
    for (enum restart_policy i = 0; i < RESTART_POLICY_MAX; i++) {
        if (strcmp(restart_names[i], name) == 0) {
            *ret = i;
            return 0;
        }
    }
    return -1;
}

/* The daemon's half of --restart: which names there are, and which of them may count. */
static int check_restart(const char *name, int64_t max, struct container_spec *s, struct err *err)
{
    if (restart_policy_find(name, &s->restart) < 0)
        return err_set(err, 125,
                       "Error response from daemon: invalid restart policy: unknown policy '%s'; use one of 'no', "
                       "'always', 'on-failure', or 'unless-stopped'",
                       name);
    if (max != 0 && s->restart != RESTART_ON_FAILURE)
        return err_set(err, 125,
                       "Error response from daemon: invalid restart policy: maximum retry count can only be used with "
                       "'on-failure'%s",
                       max < 0 ? " and cannot be negative" : "");
    if (max < 0)
        return err_set(err, 125,
                       "Error response from daemon: invalid restart policy: maximum retry count cannot be negative");
    s->restart_max = max > INT32_MAX ? INT32_MAX : (int)max;
    return 0;
}

/* --restart NAME[:COUNT] */
static int read_restart(const struct opt_parsed *p, struct container_spec *s, struct err *err)
{
    const char *word = opt_str(p, "restart"), *colon = strchr(word, ':');
    cleanup_free char *name = xstrndup(word, strcspn(word, ":"));
    int64_t max = 0;

    if (*word == '\0')
        return 0;
    if (colon && *name == '\0')
        return err_set(err, 125, "invalid restart policy format: no policy provided before colon");
    if (colon && colon[1] && units_parse_int10(colon + 1, 64, &max, NULL) < 0)
        return err_set(err, 125, "invalid restart policy format: maximum retry count must be an integer");
    if (opt_bool(p, "rm") && strcmp(name, "no") != 0)
        return err_set(err, 125, "conflicting options: cannot specify both --restart and --rm");
    return check_restart(name, max, s, err);
}

/* -a, -d, -i, -t. With neither -a nor -d everything is attached; -d attaches nothing. */
static int read_streams(const struct opt_parsed *p, struct container_spec *s, struct err *err)
{
    const struct strlist *attach = opt_list(p, "attach");

    s->tty = opt_bool(p, "tty");
    s->interactive = opt_bool(p, "interactive");
    s->detach = opt_given(p, "detach") && opt_bool(p, "detach");
    s->sig_proxy = opt_given(p, "sig-proxy") ? opt_bool(p, "sig-proxy") : true;
    s->detach_keys = given_string(p, "detach-keys");
    if (attach->len > 0 && s->detach) {
        err_set(err, 1, "conflicting options: cannot specify both --attach and --detach");
        if (err)
            err->code = SPEC_ERR_COMPLETE;
        return -1;
    }
    if (s->detach)
        return 0;
    s->attach_stdin = s->interactive;
    s->attach_stdout = s->attach_stderr = attach->len == 0;
    for (size_t i = 0; i < attach->len; i++) {
        s->attach_stdin |= strcasecmp(attach->items[i], "stdin") == 0;
        s->attach_stdout |= strcasecmp(attach->items[i], "stdout") == 0;
        s->attach_stderr |= strcasecmp(attach->items[i], "stderr") == 0;
    }
    return 0;
}

/* -v, then --mount; the daemon's checks come later, after those of the client. */
static int read_mounts(const struct opt_parsed *p, const struct input *in, struct container_spec *s, struct err *err)
{
    const struct strlist *volumes = opt_list(p, "volume"), *mounts = opt_list(p, "mount");

    for (size_t i = 0; i < opt_list(p, "tmpfs")->len; i++)
        if (mounts_add_tmpfs(&s->mounts, opt_list(p, "tmpfs")->items[i], err) < 0)
            return -1;
    for (size_t i = 0; i < volumes->len; i++)
        if (mounts_add_volume(&s->mounts, volumes->items[i], in, err) < 0)
            return -1;
    for (size_t i = 0; i < mounts->len; i++)
        if (mounts_add_mount(&s->mounts, mounts->items[i], in, err) < 0)
            return -1;
    return 0;
}

/* -p, --expose, -P and the health check. */
static int read_ports_and_health(const struct opt_parsed *p, struct container_spec *s, struct err *err)
{
    const struct strlist *published = opt_list(p, "publish"), *exposed = opt_list(p, "expose");

    for (size_t i = 0; i < published->len; i++)
        if (ports_publish(&s->ports, published->items[i], err) < 0)
            return -1;
    for (size_t i = 0; i < exposed->len; i++)
        if (ports_expose(&s->ports, exposed->items[i], err) < 0)
            return -1;
    s->ports.publish_all = opt_bool(p, "publish-all");
    return ports_finish(&s->ports, err) < 0 ? -1 : health_from_opts(p, &s->healthcheck, err);
}

/* One word of a platform: letters, digits, '_', '.', '-'. */
static bool platform_word_ok(const char *s)
{
    if (*s == '\0')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("_.-", *s))
            return false;
    return true;
}

/* --platform os/arch[/variant], or DOCKER_DEFAULT_PLATFORM. */
static int read_platform(const struct opt_parsed *p, const struct input *in, struct container_spec *s, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *quoted = NULL;

    s->platform = given_string(p, "platform");
    if (!s->platform && in->default_platform && *in->default_platform)
        s->platform = xstrdup(in->default_platform);
    if (!s->platform)
        return 0;
    quoted = quote_go_str(s->platform);
    strlist_split(&words, s->platform, '/');
    for (size_t i = 0; i < words.len; i++) {
        cleanup_free char *word = quote_go_str(words.items[i]);

        if (!platform_word_ok(words.items[i]))
            return err_set(err, 125,
                           "error parsing specified platform: %s is an invalid component of %s: platform specifier "
                           "component must match \"^[A-Za-z0-9_.-]+$\": invalid argument",
                           word, quoted);
    }
    if (words.len > 3)
        return err_set(err, 125,
                       "error parsing specified platform: %s: cannot parse platform specifier: invalid argument",
                       quoted);
    for (char *c = s->platform; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return 0;
}

/* The name, given or generated, and the id. */
static int read_identity(const struct opt_parsed *p, const struct input *in, struct container_spec *s, struct err *err)
{
    cleanup_free char *name = given_string(p, "name");

    container_id_make(in->random, s->id);
    memcpy(&s->name_random, in->random + 32, sizeof(s->name_random));
    if (name)
        return name_parse(name, &s->name, err);
    s->name = name_generate(s->name_random, 0);
    s->name_generated = true;
    return 0;
}

/* IMAGE [COMMAND] [ARG...] and what overrides the image's own settings. */
static int read_process(const struct opt_parsed *p, struct container_spec *s, struct err *err)
{
    const struct strlist *args = opt_args(p);

    if (image_ref_parse(args->items[0], &s->image, err) < 0)
        return -1;
    for (size_t i = 1; i < args->len; i++)
        strlist_add(&s->cmd, args->items[i]);
    s->entrypoint_set = opt_given(p, "entrypoint");
    if (s->entrypoint_set && *opt_str(p, "entrypoint"))
        strlist_add(&s->entrypoint, opt_str(p, "entrypoint"));
    s->workdir = given_string(p, "workdir");
    s->user = given_string(p, "user");
    s->hostname = given_string(p, "hostname");
    s->stop_signal = given_string(p, "stop-signal");
    s->stop_timeout = opt_given(p, "stop-timeout") ? (int)opt_int(p, "stop-timeout") : STOP_TIMEOUT_UNSET;
    s->rm = opt_bool(p, "rm");
    s->quiet = opt_bool(p, "quiet");
    s->cidfile = given_string(p, "cidfile");
    return 0;
}

/* The daemon refuses a directory that is not absolute. */
static int check_workdir(const struct container_spec *s, struct err *err)
{
    if (s->workdir && s->workdir[0] != '/')
        return err_set(
            err, 125,
            "Error response from daemon: the working directory '%s' is invalid, it needs to be an absolute path",
            s->workdir);
    return 0;
}

/* KEY=VALUE lines of a compose file's x-modal. */
static int read_x_modal(const struct strlist *words, enum modal_source source, struct modal_options *o, struct err *err)
{
    for (size_t i = 0; i < words->len; i++) {
        const char *word = words->items[i], *equals = strchr(word, '=');
        cleanup_free char *key = xstrndup(word, equals ? (size_t)(equals - word) : strlen(word));
        cleanup_free char *origin = xasprintf("x-modal.%s", key);

        if (modal_options_set(o, source, origin, key, equals ? equals + 1 : "", err) < 0)
            return -1;
    }
    return 0;
}

/* Environment, labels, and the Modal options that may hide among them. */
static int read_env_and_labels(const struct opt_parsed *p, const struct input *in, struct container_spec *s,
                               struct err *err)
{
    if (env_collect(opt_list(p, "env-file"), opt_list(p, "env"), in, &s->env, err) < 0 ||
        labels_collect(opt_list(p, "label-file"), opt_list(p, "label"), in, &s->labels, err) < 0)
        return -1;
    if (in->profile && modal_options_from_profile(&s->modal, in->profile, err) < 0)
        return -1;
    if (modal_options_from_env(&s->modal, in->environ, err) < 0 ||
        read_x_modal(opt_list(p, "x-modal-top"), MODAL_FROM_X_TOP, &s->modal, err) < 0 ||
        read_x_modal(opt_list(p, "x-modal"), MODAL_FROM_X_SERVICE, &s->modal, err) < 0 ||
        modal_options_from_labels(&s->modal, &s->labels, err) < 0)
        return -1;
    return modal_options_check(&s->modal, err);
}

/* Each --gpus, over modal.gpu; and what a network of one's own or none of it has no room for. */
static int read_modal_words(const struct opt_parsed *p, struct container_spec *s, struct err *err)
{
    for (size_t i = 0; i < opt_list(p, "gpus")->len; i++)
        if (modal_options_gpus(&s->modal, opt_list(p, "gpus")->items[i], err) < 0)
            return -1;
    if (s->network == NETWORK_OWN && modal_given(&s->modal, MODAL_KEY_GPU))
        return err_set(err, 125,
                       "%s is refused by atp-docker in a network of one's own: only a sandbox's main container can have a "
                       "GPU, and containers of a network share a sandbox; give it none (compose: network_mode: bridge)",
                       s->modal.values[MODAL_KEY_GPU].origin);
    return s->network == NETWORK_NONE ? modal_options_check_blocked(&s->modal, "--network none", err) : 0;
}

/* Limits and --network; Docker's words win, except that a network blocked by either is blocked. */
static int read_resources(const struct opt_parsed *p, const struct input *in, struct container_spec *s, struct err *err)
{
    const char *cpus = opt_given(p, "cpus") ? opt_str(p, "cpus") : "";

    if (*cpus && units_parse_cpus(cpus, &s->nano_cpus, err) < 0)
        return -1;
    s->memory_bytes = opt_given(p, "memory") ? opt_int(p, "memory") : 0;
    if (cpus_to_milli(s->nano_cpus, in->host_cpus, &s->milli_cpu, err) < 0 ||
        memory_to_mib(s->memory_bytes, &s->memory_mib, err) < 0 || terms_from_opts(p, in, s, err) < 0)
        return -1;
    if (s->milli_cpu == 0)
        s->milli_cpu = (uint32_t)modal_int(&s->modal, MODAL_KEY_CPU);
    if (s->memory_mib == 0)
        s->memory_mib = (uint32_t)modal_int(&s->modal, MODAL_KEY_MEMORY);
    if (modal_bool(&s->modal, MODAL_KEY_BLOCK_NETWORK)) {
        s->network = NETWORK_NONE;
        network_joins_clear(&s->networks);
    }
    return read_modal_words(p, s, err);
}

/* The steps in the order in which docker's client, then its daemon, would find a fault. */
static int build(const struct opt_parsed *p, const struct input *in, struct container_spec *s, struct err *err)
{
    if (read_pull(p, s, err) < 0 || read_streams(p, s, err) < 0 || read_mounts(p, in, s, err) < 0 ||
        read_ports_and_health(p, s, err) < 0 || verdict_check(p, in, carried, &s->notes, err) < 0 ||
        read_env_and_labels(p, in, s, err) < 0 || read_restart(p, s, err) < 0 ||
        network_parse(opt_list(p, "network"), opt_list(p, "network-alias"), &s->network, &s->networks, err) < 0 ||
        hosts_parse(opt_list(p, "add-host"), &s->hosts, err) < 0 || read_process(p, s, err) < 0 ||
        read_platform(p, in, s, err) < 0)
        return -1;
    if (read_identity(p, in, s, err) < 0 || check_workdir(s, err) < 0 || read_resources(p, in, s, err) < 0 ||
        mounts_finish(&s->mounts, in, err) < 0)
        return -1;
    return 0;
}

int spec_from_opts(const struct opt_parsed *p, const struct input *in, struct container_spec *ret, struct err *err)
{
    struct container_spec s;

    spec_init(&s);
    if (build(p, in, &s, err) < 0) {
        spec_clear(&s);
        return -1;
    }
    spec_clear(ret);
    *ret = s;
    return 0;
}
