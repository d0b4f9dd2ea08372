/*
 * A compose project: from files, variables and words of the command line to one model, as the compose specification has
 * it and docker compose does it.
 *
 * The way of a file: read (yaml.c), variables put in (interpolate.c), `extends` and `include` followed, brought into
 * canonical form (canonical.c: short syntaxes become long ones), laid over the files before it (merge.c); then all of
 * it is checked against the specification (schema.c), profiles choose, and names, paths and defaults are settled
 * (normalize.c).
 *
 * The model is a tree in the shape that `docker compose config --format json` prints: `name`, `services`, `networks`,
 * `volumes`, `configs`, `secrets` and `x-*`. Who carries it out reads it with cnode_get() and its kin.
 *
 * Pure: files are read through the input, nothing is printed. Errors carry exit code and text as docker compose prints
 * them, with file, line and key where a person has something to mend.
 */
#ifndef ATP_COMPOSE_COMPOSE_H
#define ATP_COMPOSE_COMPOSE_H

#include "compat/base/strlist.h"
#include "translate/compose/node.h"

struct err;

struct compose_input {
    struct strlist files; /* -f, in order; "-" is `stdin_text`; empty: COMPOSE_FILE, then looked for from cwd upwards */
    struct strlist env_files; /* --env-file; empty: COMPOSE_ENV_FILES, then .env of the project's folder */
    struct strlist profiles;  /* --profile; COMPOSE_PROFILES besides */
    const char *project_name; /* -p, NULL */
    const char *project_dir;  /* --project-directory, NULL */
    const char *cwd;          /* absolute */
    const char *home;
    const struct strlist *environ; /* K=V, of the process */
    const char *stdin_text;        /* NULL: stdin was not read */
    bool no_interpolate, no_normalize, no_consistency, no_path_resolution, no_env_resolution,
        all_resources;       /* config's */
    struct strlist services; /* the words behind the verb: their profiles are enabled */
    /* A file's text, owned by caller, LIMIT_CONFIG_FILE at most; NULL with errno. */
    char *(*read)(void *arg, const char *path, struct err *err);
    bool (*exists)(void *arg, const char *path, bool *ret_is_dir);
    void *arg;
};

struct compose_project {
    char *name;
    char *working_dir;    /* absolute */
    struct strlist files; /* absolute */
    struct strlist env_files;
    bool env_named;             /* they were named, by --env-file or COMPOSE_ENV_FILES */
    struct strlist environment; /* K=V: what interpolation saw */
    struct strlist profiles;    /* those enabled */
    struct strlist warnings;    /* lines for stderr, e.g. of variables that are not set */
    struct cnode *model;        /* services that the profiles leave out are in `disabled` */
    struct cnode *disabled;     /* a map, maybe empty */
};
void compose_project_clear(struct compose_project *p);

/* All of the above. -1: err; *ret has the warnings that came before it, and nothing else. */
int compose_load(const struct compose_input *in, struct compose_project *ret, struct err *err);

/* ---- the parts, between which two people can stand ---- */

/* One file's tree in canonical form, in place: before it is merged. schema.c's check of kinds and keys comes first. */
int compose_schema_check(const struct cnode *file, struct err *err);
int compose_canonical(struct cnode *file, struct err *err);
/* The merged tree: relative paths, defaults, the networks and names that nobody wrote; then what must fit together
 * (undefined networks, volumes, depends_on...). */
int compose_normalize(struct compose_project *p, const struct compose_input *in, struct err *err);
int compose_consistent(const struct compose_project *p, struct err *err);
int compose_apply_profiles(struct compose_project *p, const struct compose_input *in, struct err *err);

/* ---- what comes out ---- */

struct buf;
int compose_render_yaml(const struct cnode *model, struct buf *out, struct err *err); /* as `config` prints it */
int compose_render_json(const struct cnode *model, struct buf *out, struct err *err);
/* sha256 hex of the service as it decides whether a container is made anew; what replicas say does not count. Owned by
 * caller. */
char *compose_hash(const struct compose_project *p, const char *service, struct err *err);
/* The same of a network or a volume of the model; kind: "networks", "volumes". */
char *compose_resource_hash(const struct cnode *resource, const char *kind, struct err *err);

/* Services in the order in which they start: who is depended on first. Error for a circle. */
int compose_order(const struct compose_project *p, struct strlist *ret, struct err *err);

/* What becomes of each key of the file: `config --x-modal-report`. */
enum compose_verdict { COMPOSE_CARRIED, COMPOSE_APPROXIMATED, COMPOSE_REFUSED, COMPOSE_NO_EFFECT };
struct compose_finding {
    char *service; /* NULL: top level */
    char *key;     /* "deploy.resources.limits.cpus" */
    enum compose_verdict verdict;
    const char *reason;
    const char *file; /* where it stands; NULL: nowhere */
    int line;
};
/* Every key that the model uses; *ret is an array owned by caller (compose_findings_free). */
int compose_report(const struct compose_project *p, struct compose_finding **ret, size_t *ret_len, struct err *err);
void compose_findings_free(struct compose_finding *list, size_t len);

/*
 * The words of `docker create` that make this service's container `number` (from 1), without image pull and without
 * starting: options, "--", image, command. Everything the service says is in them or compose_report() refuses it. The
 * labels com.docker.compose.* are among them.
 */
int compose_service_words(const struct compose_project *p, const char *service, unsigned number,
                          struct strlist *ret_words, struct err *err);

#endif
