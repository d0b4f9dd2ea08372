#include "backends/agent/agent.h"

#include "compat/base/err.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: atp-agent init|session|version [--run-dir DIR] [--volumes-dir DIR] [--orphan-grace MS]\n"
    "       [--stop-grace MS] [--linger MS] [--speak-every MS] [--orphaned-after MS] [--init-wait MS]\n"
    "       [--hub [--hub-token TOKEN] [--tunnel PORT]...] [--own-env]\n"
    "       [--hub-port N] [--etc DIR] [--dns-address A] [--dns-port N]\n";

static const struct number_option {
    const char *name;
    size_t offset;
} number_options[] = {
    {"--orphan-grace", offsetof(struct agent_options, orphan_grace)},
    {"--stop-grace", offsetof(struct agent_options, stop_grace)},
    {"--linger", offsetof(struct agent_options, linger)},
    {"--speak-every", offsetof(struct agent_options, speak_every)},
    {"--orphaned-after", offsetof(struct agent_options, orphaned_after)},
    {"--init-wait", offsetof(struct agent_options, init_wait)},
    {"--hub-port", offsetof(struct agent_options, hub_port)},
    {"--dns-port", offsetof(struct agent_options, dns_port)},
};

static const struct text_option {
    const char *name;
    size_t offset;
} text_options[] = {
    {"--run-dir", offsetof(struct agent_options, run_dir)},
    {"--volumes-dir", offsetof(struct agent_options, volumes_dir)},
    {"--hub-token", offsetof(struct agent_options, hub_token)},
    {"--etc", offsetof(struct agent_options, etc)},
    {"--dns-address", offsetof(struct agent_options, dns_address)},
};

static int parse_number(const char *s, int64_t *ret)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(s, &end, 10);
    if (errno || end == s || *end || v < 0 || v > INT64_C(1000) * 3600 * 24 * 365)
        return -1;
    *ret = v;
    return 0;
}

static int add_tunnel(struct agent_options *options, const char *value)
{
    int64_t port;

    if (parse_number(value, &port) < 0 || port < 1 || port > UINT16_MAX || options->n_tunnels == AGENT_TUNNELS_MAX)
        return -1;
    options->tunnels[options->n_tunnels++] = (uint16_t)port;
    return 0;
}

/* An option without a value? */
static bool parse_flag(struct agent_options *options, const char *name)
{
    options->hub |= !strcmp(name, "--hub");
    options->own_env |= !strcmp(name, "--own-env");
    return !strcmp(name, "--hub") || !strcmp(name, "--own-env");
}

/* Returns -1 for what is no option with a value. */
static int parse_option(struct agent_options *options, const char *name, const char *value)
{
    if (!value)
        return -1;
    if (!strcmp(name, "--tunnel"))
        return add_tunnel(options, value);
    for (size_t i = 0; i < sizeof(text_options) / sizeof(text_options[0]); i++)
        if (!strcmp(name, text_options[i].name)) {
            *(const char **)(void *)((char *)options + text_options[i].offset) = value;
            return 0;
        }
    for (size_t i = 0; i < sizeof(number_options) / sizeof(number_options[0]); i++)
        if (!strcmp(name, number_options[i].name))
            return parse_number(value, (int64_t *)(void *)((char *)options + number_options[i].offset));
    return -1;
}

int main(int argc, char **argv)
{
    struct agent_options options = agent_defaults;
    struct err err = ERR_INIT;
    const char *verb = argc > 1 ? argv[1] : "";
    int code;

    for (int i = 2; i < argc; i += 2) {
        if (parse_flag(&options, argv[i])) {
            i--;
        } else if (parse_option(&options, argv[i], argv[i + 1]) < 0) {
            fprintf(stderr, "atp-agent: bad option or value: %s\n%s", argv[i], usage);
            return 100;
        }
    }
    if (options.hub && !options.hub_token) {
        fprintf(stderr, "atp-agent: --hub needs --hub-token\n%s", usage);
        return 100;
    }
    if (!strcmp(verb, "version") || !strcmp(verb, "--version")) {
        printf("atp-agent %s\n", ATP_VERSION);
        return 0;
    }
    if (!strcmp(verb, "init")) {
        code = agent_init(&options, &err);
    } else if (!strcmp(verb, "session")) {
        code = agent_session(&options, &err);
    } else {
        fputs(usage, stderr);
        return 100;
    }
    if (err.msg)
        fprintf(stderr, "atp-agent: %s\n", err.msg);
    err_clear(&err);
    return code;
}
