/*
 * A member of a shared volume (translate/wire/share.h): one process for each volume of a container in a pod, forked by
 * init, which brings the files there before the container's process starts, tells the others what changes here, and
 * carries out what changes there. With nobody else it only waits.
 *
 * What it says to init, one byte each on a socket: MATE_READY when the files are there. What init says: MATE_END, when
 * the container's process has ended; the mate tells the last changes, saves if nobody else will, and exits: 0, or not 0
 * with the reason in <run dir>/volume.<index>.error. When init goes away it exits at once.
 *
 * Sessions connect to <run dir>/volume.<index>.sock: a byte comes back when all that was written to the volume before,
 * by whomever, is here, and what was written here is there (or after MATE_PATIENCE).
 *
 * Whether this container saves the volume now and then is in <run dir>/volumes/<key>.role, for volume_save().
 */
#ifndef ATP_AGENT_SHARE_MATE_H
#define ATP_AGENT_SHARE_MATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent_options;
struct wire_names;
struct wire_volume;

#define MATE_READY    'R'
#define MATE_END      'E'
#define MATE_PATIENCE 10000 /* ms */

struct mate_job {
    const struct agent_options *options;
    const struct wire_volume *volume;
    const struct wire_names *names; /* self, hub and token are used */
    size_t index;
    int init;   /* the socket */
    bool again; /* an earlier mate has ended: the files are there already */
};

/* True if the container's volumes can be shared at all: it has names. */
bool mate_wanted(const struct wire_names *names, const struct wire_volume *v);
/* The process; returns its exit code. */
int mate_run(const struct mate_job *job);

/* Owned by caller. */
char *mate_path(const char *run_dir, size_t index, const char *suffix);

/* ---- the role ---- */

struct mate_role {
    bool known, saves; /* not known: the volume is nobody's but ours */
    uint64_t floor;
};
void mate_role_read(const char *run_dir, const char *key, struct mate_role *ret);
void mate_role_write(const char *run_dir, const char *key, const struct mate_role *role); /* NULL: none */

#endif
