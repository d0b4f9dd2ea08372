/*
 * Options that only Modal has (design.md 9): one table of keys, four spellings, one precedence.
 *
 *     struct modal_options o;
 *     modal_options_init(&o);
 *     modal_options_from_labels(&o, labels, err) ... in any order: the higher source wins whichever comes first
 *     modal_options_check(&o, err);    refuses what was given and is not carried out, and what contradicts itself
 *     modal_int(&o, MODAL_KEY_TIMEOUT)
 *
 * What becomes of a key where several containers share a sandbox is the table's column `pod`; translate/modal_pod.h
 * carries it out.
 */
#ifndef ATP_TRANSLATE_MODAL_OPTIONS_H
#define ATP_TRANSLATE_MODAL_OPTIONS_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum modal_key {
    MODAL_KEY_ACQUIRE_TIMEOUT,
    MODAL_KEY_APP,
    MODAL_KEY_BLOCK_NETWORK,
    MODAL_KEY_CIDR_ALLOWLIST,
    MODAL_KEY_CLOUD,
    MODAL_KEY_CPU,
    MODAL_KEY_CPU_ENV,
    MODAL_KEY_CUSTOM_DOMAIN,
    MODAL_KEY_DOMAIN_ALLOWLIST,
    MODAL_KEY_ENCRYPTED_PORTS,
    MODAL_KEY_ENVIRONMENT,
    MODAL_KEY_EXEC_TIMEOUT,
    MODAL_KEY_GPU,
    MODAL_KEY_H2_PORTS,
    MODAL_KEY_IDLE_TIMEOUT,
    MODAL_KEY_INBOUND_CIDR_ALLOWLIST,
    MODAL_KEY_LINKS,
    MODAL_KEY_MAX_COST,
    MODAL_KEY_MAX_LIFETIME,
    MODAL_KEY_MAX_SANDBOXES,
    MODAL_KEY_MEMORY,
    MODAL_KEY_MIN_SANDBOXES,
    MODAL_KEY_ORPHAN_GRACE,
    MODAL_KEY_POOL,
    MODAL_KEY_PROFILE,
    MODAL_KEY_PTY,
    MODAL_KEY_REGION,
    MODAL_KEY_RESET,
    MODAL_KEY_SANDBOX_ENV,
    MODAL_KEY_SECRETS,
    MODAL_KEY_SLOTS_PER_SANDBOX,
    MODAL_KEY_SYNC_CACHE,
    MODAL_KEY_SYNC_CONFLICT,
    MODAL_KEY_SYNC_EXCLUDE,
    MODAL_KEY_SYNC_WHEN,
    MODAL_KEY_TIMEOUT,
    MODAL_KEY_UNENCRYPTED_PORTS,
    MODAL_KEY_USER,
    MODAL_KEY_VERBOSE,
    MODAL_KEY_VOLUME_SAVE,
    MODAL_KEY_VOLUMES,
    MODAL_KEY_WARM,
    MODAL_KEY_WORKSPACE_BASE,
    MODAL_KEY_MAX
};

enum modal_type {
    MODAL_TYPE_STRING,
    MODAL_TYPE_NAME,    /* modal-protocol.md 9.3: app */
    MODAL_TYPE_BOOL,    /* true false 1 0 yes no */
    MODAL_TYPE_SECONDS, /* whole seconds within the key's range */
    MODAL_TYPE_CPU,     /* decimal cores; the number is in thousandths */
    MODAL_TYPE_MEMORY,  /* MiB, or with a suffix as -m; the number is in MiB */
    MODAL_TYPE_LIST,    /* split at newlines when there are any, else at commas; blanks around an item are dropped */
    MODAL_TYPE_CIDRS,   /* a list, each checked */
    MODAL_TYPE_DOMAINS, /* a list of host names, "*.example.com" or "*" */
    MODAL_TYPE_ENV,     /* a list of NAME=VALUE */
    MODAL_TYPE_PORTS,   /* a list of numbers from 1 to 65535, each once */
    MODAL_TYPE_GPU,     /* TYPE or TYPE:COUNT; the number is the count, 0 when none was said */
    MODAL_TYPE_CHOICE   /* one of the words in the table */
};

enum modal_source { /* lowest first */
                    MODAL_FROM_DEFAULT,
                    MODAL_FROM_PROFILE,
                    MODAL_FROM_ENV,
                    MODAL_FROM_X_TOP,
                    MODAL_FROM_X_SERVICE,
                    MODAL_FROM_LABEL,
                    MODAL_FROM_DOCKER /* a word of docker's own that says the same (--gpus) */
};

/* What a key means to a container that shares its sandbox with others. */
enum modal_in_pod {
    MODAL_POD_OWN,     /* each container has its own */
    MODAL_POD_SAME,    /* one for all of them: two that ask for different values are refused */
    MODAL_POD_LONGEST, /* the largest of all */
    MODAL_POD_SUM,     /* the sum of all */
    MODAL_POD_PORTS,   /* all of them together, each port for one service; the hub passes connections on */
    MODAL_POD_NEVER,   /* a sandbox's only container may have it */
};

struct modal_key_def {
    const char *name; /* "sync.exclude" */
    enum modal_type type;
    enum modal_in_pod pod;
    const char *def;     /* default as text, NULL = unset */
    const char *where;   /* what it acts on: "sandbox", "network", "sync", "client" */
    bool carried_out;    /* false: refused when used */
    const char *choices; /* "host|container|fail" for MODAL_TYPE_CHOICE */
    int64_t min, max;    /* SECONDS, CPU, MEMORY */
    const char *help;
};

/* "profile", "env", "label"...: how a record names it; find: -1 when it is none. */
const char *modal_source_name(enum modal_source source);
int modal_source_find(const char *name, enum modal_source *ret);

extern const struct modal_key_def modal_keys[MODAL_KEY_MAX]; /* sorted by name */

struct modal_value {
    enum modal_source source; /* MODAL_FROM_DEFAULT = nobody said */
    char *text;
    char *origin; /* how it was spelled: "label modal.timeout", "ATP_DOCKER_MODAL_TIMEOUT" */
    int64_t number;
    struct strlist list;
};

struct modal_options {
    struct modal_value values[MODAL_KEY_MAX];
};

void modal_options_init(struct modal_options *o);
void modal_options_clear(struct modal_options *o);

/* Index of a key ("outbound_cidr_allowlist" is cidr_allowlist), or MODAL_KEY_MAX. */
enum modal_key modal_key_find(const char *name);

/* SYNC_EXCLUDE -> sync.exclude; a name that is no key comes back in small letters. Owned by caller. */
char *modal_key_of_variable(const char *name);

/* One value. origin is for messages. An unknown key is an error that names the nearest one. */
int modal_options_set(struct modal_options *o, enum modal_source source, const char *origin, const char *key,
                      const char *value, struct err *err);

int modal_options_from_labels(struct modal_options *o, const struct strlist *labels, struct err *err); /* "modal.k=v" */
int modal_options_from_env(struct modal_options *o, char *const *environ, struct err *err); /* ATP_DOCKER_MODAL_K=v */
int modal_options_from_profile(struct modal_options *o, const struct strlist *keys, struct err *err); /* "k=v" */

int modal_options_check(const struct modal_options *o, struct err *err);
/* For a container whose network is blocked by a word of docker's: what cannot be then. */
int modal_options_check_blocked(const struct modal_options *o, const char *by, struct err *err);

/*
 * --gpus WORD: how many. Of which type only modal.gpu says ("ANY" without it); its own count gives way. A word that
 * asks for none (0) changes nothing.
 */
int modal_options_gpus(struct modal_options *o, const char *word, struct err *err);

const char *modal_in_pod_name(enum modal_in_pod pod); /* "own", "same", "longest", "sum", "ports", "never" */

bool modal_given(const struct modal_options *o, enum modal_key key);      /* by any source above the default */
const char *modal_str(const struct modal_options *o, enum modal_key key); /* NULL when unset */
int64_t modal_int(const struct modal_options *o, enum modal_key key);     /* 0 when unset */
bool modal_bool(const struct modal_options *o, enum modal_key key);
const struct strlist *modal_list(const struct modal_options *o, enum modal_key key); /* never NULL */

#endif
