/*
 * -v and --mount: from words to a list of mounts, checked as a whole, in the order in which they are to be laid out
 * (a parent before what lies below it). Nothing here looks at the disk: whether a source exists, and whether it is a
 * file or a directory, is for the caller.
 *
 * Order of calls: mounts_add_volume() and mounts_add_mount() for each word, which make the checks of docker's client;
 * then mounts_finish() once, which makes the daemon's (their texts begin with "Error response from daemon: ") and ours.
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

struct mount { /* strings are owned */
    enum mount_type type;
    bool from_mount; /* --mount, not -v */
    bool from_other; /* --volumes-from */
    char *spec;      /* as typed; of -v with its source made absolute */
    char *type_word; /* --mount: type= in small letters */
    char *source;    /* bind: absolute and clean; volume: its name, NULL = anonymous; others: as typed or NULL */
    char *target;    /* absolute and clean */
    bool readonly;
    bool create_source; /* a missing host directory is made (-v), not refused (--mount) */
    bool whole_home;    /* the source is the user's home directory itself: allowed, worth a line to the user */
    bool nocopy;        /* volume */
    bool anonymous;     /* volume: nobody named it; it goes with its container */
    char *mode;         /* -v: the options as typed ("ro,z"), NULL = none; z, Z and consistency words change nothing */
    char *propagation;  /* "rprivate", "shared"...: nothing is mounted below a synchronised directory, so no effect */
    char *consistency;  /* --mount: "cached"...: no effect, as with Docker on Linux */
    char *driver;       /* volume */
    char *subpath;      /* volume, image */
    struct strlist labels;      /* volume, K=V */
    struct strlist driver_opts; /* volume, K=V */
    int64_t tmpfs_size;         /* bytes, 0 = unset */
    uint32_t tmpfs_mode;        /* 0 = unset */
    unsigned option_groups;     /* --mount: which of bind-*, volume-*, image-*, tmpfs-* were given, 1 << mount_type */
};

struct mounts {
    struct mount *items;
    size_t len;
};

void mounts_clear(struct mounts *m);

/* One -v value. Relative sources ("./x", "..") are resolved against in->cwd. The same word twice counts once. */
int mounts_add_volume(struct mounts *m, const char *spec, const struct input *in, struct err *err);

/* One --tmpfs value: target[:options]. */
int mounts_add_tmpfs(struct mounts *m, const char *spec, struct err *err);

/* One --mount value, a CSV record. Texts are the bare reasons ("target is required"), as compat/docker's parser quotes.
 */
int mounts_add_mount(struct mounts *m, const char *spec, const struct input *in, struct err *err);

/*
 * Checks the whole list: the daemon's rules for each mount, duplicate targets, sources and targets that cannot be
 * synchronised (/, /proc, /sys, /dev, Docker's socket); then sorts by depth of the target. A mount of a kind that is
 * not carried out yet is an error here too: one line that names it. Docker's socket is left out unless in->strict.
 */
int mounts_finish(struct mounts *m, const struct input *in, struct err *err);

/* A path that the image declares, if nothing is mounted there: an anonymous volume. Of what cannot be a target, none.
 */
void mounts_add_declared(struct mounts *m, const char *path);

/*
 * --volumes-from: what another container has mounted, but for tmpfs, where nothing is mounted yet. word: the value, for
 * messages; readonly: ":ro".
 */
int mounts_add_from(struct mounts *m, const struct mounts *from, const char *word, bool readonly, struct err *err);

const char *mount_type_name(enum mount_type type); /* "bind" */

#endif
