/*
 * From the words of `docker run` and `docker create` to what is asked for (container_spec), and from that and the
 * image's configuration to the process that is to run (process_spec).
 *
 *     spec_init(&spec);
 *     if (spec_from_opts(parsed, &input, &spec, err) < 0) ...
 *     process_from_spec(&spec, &config, &process, err);
 *
 * Errors have exit code 125 unless said. err->code tells main how to print one:
 *     SPEC_ERR_PLAIN (0)   `docker: <msg>`, for run and create followed by the "Run 'docker run --help'" line
 *     SPEC_ERR_COMPLETE    as it is: the text has its usage lines, or Docker prints it bare
 */
#ifndef ATP_TRANSLATE_SPEC_H
#define ATP_TRANSLATE_SPEC_H

#include "translate/image_config.h"
#include "translate/input.h"
#include "translate/modal_options.h"
#include "translate/mounts.h"
#include "translate/names.h"
#include "translate/ports.h"
#include "translate/networks.h"
#include "translate/reference.h"
#include "translate/resources.h"

struct opt_parsed;

enum { SPEC_ERR_PLAIN = 0, SPEC_ERR_COMPLETE = 0x5001 };

#define STOP_TIMEOUT_UNSET INT32_MIN

enum pull_policy { PULL_MISSING, PULL_ALWAYS, PULL_NEVER };

enum restart_policy { RESTART_NO, RESTART_ALWAYS, RESTART_UNLESS_STOPPED, RESTART_ON_FAILURE, RESTART_POLICY_MAX };

/* "no", "always", "unless-stopped", "on-failure" */
const char *restart_policy_name(enum restart_policy policy);

/* One of the names; -1: none of them. */
int restart_policy_find(const char *name, enum restart_policy *ret);

struct container_spec {
    char id[CONTAINER_ID_LEN + 1];
    char *name;           /* without a slash; a generated one when name_generated */
    bool name_generated;  /* on a collision ask name_generate() with the next attempt; a given name is a conflict */
    uint64_t name_random; /* for name_generate() */

    struct image_ref image;
    enum pull_policy pull;
    char *platform; /* "linux/arm64", NULL = the machine's */
    bool quiet;     /* no pull output */

    bool entrypoint_set;       /* --entrypoint was given; the image's ENTRYPOINT and CMD are out */
    struct strlist entrypoint; /* empty: cleared */
    struct strlist cmd;        /* words after IMAGE */
    struct strlist env;        /* K=V: env-files, then -e */
    struct strlist labels;     /* K=V; modal.* included, as inspect shows them */
    char *workdir;             /* NULL = the image's */
    char *user;                /* NULL = the image's */
    char *hostname;            /* NULL = the short id */
    char *domainname;          /* NULL = none */
    char
        *host; /* what else was asked for, as members of Docker's HostConfig (translate/terms.h), JSON; NULL: nothing */
    char *stop_signal; /* NULL = the image's */
    int stop_timeout;  /* seconds, negative = wait for ever, or STOP_TIMEOUT_UNSET */

    bool tty, interactive; /* -t, -i (stdin is kept open) */
    bool detach;
    char *detach_keys; /* NULL = the default */
    bool attach_stdin, attach_stdout, attach_stderr;
    bool sig_proxy;
    bool rm;
    enum restart_policy restart;
    int restart_max; /* on-failure: so many attempts, 0 = no end */
    char *cidfile;   /* NULL = none */

    struct mounts mounts;          /* parents first */
    enum network_mode network;     /* with modal.block_network applied: NETWORK_NONE means BLOCKED */
    struct network_joins networks; /* NETWORK_OWN: the networks that it joins, the first is its main one */
    struct strlist hosts;          /* "name:ip": --add-host */
    struct ports ports;            /* -p, -P, --expose */
    char *healthcheck;     /* --health-*, --no-healthcheck: JSON (translate/health.h); NULL = nothing was said */
    uint32_t milli_cpu;    /* 0 = not limited; --cpus, else modal.cpu */
    uint32_t memory_mib;   /* 0 = not limited; -m, else modal.memory */
    uint32_t reserved_mib; /* --memory-reservation: what is asked for where it may have more; 0 = the limit itself */
    int64_t nano_cpus;     /* as asked with --cpus, for inspect */
    int64_t memory_bytes;  /* as asked with -m, for inspect */

    struct modal_options modal;
    struct strlist notes; /* approximations that were accepted, one sentence each: for traces and `docker atp plan` */
};

void spec_init(struct container_spec *s);
void spec_clear(struct container_spec *s);

/*
 * Builds the spec of a parsed `run` or `create`. Every option that was given is either in the spec, refused with one
 * line, or an approximation noted (refused when in->strict); nothing is dropped.
 */
int spec_from_opts(const struct opt_parsed *p, const struct input *in, struct container_spec *ret, struct err *err);

/*
 * What inspect shows as Config: the words of the line and the image's, combined as the daemon does, where that is not
 * what the process gets.
 */
struct config_spec {
    struct strlist entrypoint, cmd;
    struct strlist env;           /* K=V: the person's, then the image's that the person left alone */
    struct strlist labels;        /* K=V, sorted: the image's too, modal.* included */
    struct strlist volumes;       /* paths that the image declares */
    struct strlist exposed_ports; /* "80/tcp" */
    char *workdir;                /* "" = nobody said */
    char *healthcheck;            /* the raw JSON object, NULL = none */
    struct strlist shell;         /* the image's SHELL, for a health check that is one line; empty: /bin/sh -c */
    char *stop_signal;            /* NULL = nobody said */
    int stop_timeout;             /* STOP_TIMEOUT_UNSET = nobody said */
};

/*
 * What the container's process gets. HOME is not in env unless somebody set it: it comes from the passwd file inside
 * the container, so the agent adds it there. User names are resolved there too.
 */
struct process_spec {
    struct strlist argv;
    struct strlist env;
    char *workdir; /* absolute; made when missing */
    char *user;    /* "" = root */
    char *hostname;
    char *stop_signal; /* "SIGTERM" by default, as written in the image or on the command line */
    int stop_timeout;  /* seconds; 10 by default, negative = wait for ever */
    bool tty;
    bool open_stdin; /* without it the process reads end-of-file at once */
    struct config_spec config;
};

void process_clear(struct process_spec *p);

/* ENTRYPOINT/CMD, environment, directory and user as Docker's daemon combines them. */
int process_from_spec(const struct container_spec *s, const struct oci_config *image, struct process_spec *ret,
                      struct err *err);

#endif
