/*
 * -v and --mount: from words to a list of mounts, checked as a whole, in the order in which they are to be laid out
 * (a parent before what lies below it). Nothing here looks at the disk: whether a source exists, and whether it is a
 * file or a directory, is for the caller.
 *
 * Order of calls: mounts_add_volume() and mounts_add_mount() for each word, then mounts_finish() once.
 * Texts of Docker's daemon begin with "Error response from daemon: ", those of its client do not.
 */
#ifndef ATP_TRANSLATE_MOUNTS_H
#define ATP_TRANSLATE_MOUNTS_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct input;

enum mount_type { MOUNT_BIND, MOUNT_VOLUME, MOUNT_TMPFS, MOUNT_NPIPE, MOUNT_IMAGE, MOUNT_CLUSTER, MOUNT_TYPE_MAX };

struct mount {
    enum mount_type type;
    char *spec;   /* as typed */
    char *source; /* bind: absolute and clean; volume: its name, NULL = anonymous; others: as typed or NULL */
    char *target; /* absolute and clean */
    bool readonly;
    bool create_source;         /* a missing host directory is made (-v), not refused (--mount) */
    bool whole_home;            /* the source is the user's home directory itself: allowed, worth a line to the user */
    bool nocopy;                /* volume */
    char *mode;                 /* the options of -v as typed ("ro,z"), "" without */
    char *propagation;          /* rprivate, shared, ... or NULL: has no effect on a synchronised directory */
    char *driver;               /* volume */
    char *subpath;              /* volume, image */
    struct strlist labels;      /* volume, K=V */
    struct strlist driver_opts; /* volume, K=V */
    uint64_t tmpfs_size;        /* bytes, 0 = unset */
    uint32_t tmpfs_mode;        /* 0 = unset */
    const char *refused;        /* NULL = carried out; else why not (static text) */
};

struct mounts {
    struct mount *items;
    size_t len;
};

void mounts_clear(struct mounts *m);

/* One -v value. Relative sources ("./x", "..") are resolved against in->cwd. Errors: exit code 125. */
int mounts_add_volume(struct mounts *m, const char *spec, const struct input *in, struct err *err);

/*
 * One --mount value (a CSV record). The error's text is the bare reason ("target is required"): the caller puts it into
 * Docker's `invalid argument "..." for "--mount" flag: ...`. What only the daemon refuses is left to mounts_finish().
 */
int mounts_add_mount(struct mounts *m, const char *spec, const struct input *in, struct err *err);

/*
 * Checks the whole list: the daemon's rules for each mount, duplicate targets, sources and targets that cannot be
 * synchronised (/, /proc, /sys, /dev, Docker's socket); then sorts by depth of the target. A mount of a kind that is
 * not carried out yet is an error here too: one line that names it.
 */
int mounts_finish(struct mounts *m, const struct input *in, struct err *err);

const char *mount_type_name(enum mount_type type); /* "bind" */

#endif
