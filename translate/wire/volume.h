/*
 * The text of START's `volumes`: which volumes the container has, for backends/agent/volume.h. A line each; the first
 * is "save" and the seconds between two saves (0: none but the asked for). Then, apart by tabs: the volume's key, which
 * is the name of its folder below /.atp/volumes; where its files belong; "ro", "nocopy", both with a comma, or "-"; and
 * the paths below that where something else is mounted, relative. "%", tabs and newlines are written as %XX.
 */
#ifndef ATP_WIRE_VOLUME_H
#define ATP_WIRE_VOLUME_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct wire_volume {
    char *key, *target;
    bool read_only; /* never saved */
    bool scratch; /* no volume, but an empty directory of this mode ("tmpfs:1777"), never saved; the key is anything */
    uint32_t mode;
    bool nocopy; /* new: what the image has at the target goes, instead of becoming the volume's */
    struct strlist closed;
};

struct wire_volumes {
    struct wire_volume *items;
    size_t len;
    int64_t save_s;
};

void wire_volumes_clear(struct wire_volumes *v);
/* Empty strings and a closed list to be filled in; borrowed until the next call. */
struct wire_volume *wire_volumes_add(struct wire_volumes *v, const char *key, const char *target);
char *wire_volumes_text(const struct wire_volumes *v); /* owned by caller; NULL where there are none */
int wire_volumes_read(const char *text, struct wire_volumes *ret, struct err *err);

#endif
