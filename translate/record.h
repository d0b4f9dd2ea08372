/*
 * A container's record: everything that it was asked to be, in the words of `docker inspect` (Config, HostConfig,
 * Mounts, NetworkSettings...), as JSON. One text for three uses: what the state keeps and `start` reads back, what the
 * agent holds so that a container can be known without the state (design 4), and what `inspect` prints after the
 * changing half (State, RestartCount, LogPath) has been put in. What Docker has no word for is below "Atp".
 *
 * record_decode() gives back every field of spec and process that matters after the creation: encode, decode, encode
 * yields the same text. In the decoded spec the image's settings are the person's own (entrypoint_set, cmd, env,
 * labels...): process_from_spec() with an empty image gives the same process again. What only the client that created
 * it needs (detach_keys, sig_proxy, pull, quiet, notes, name_generated) is not in it.
 *
 * Bytes that are no UTF-8 are kept, see record_text.h. A record that an agent hands back may have been written by
 * somebody inside the container: it is well formed then, but its mounts name host paths that nobody here asked for.
 * Such a one must never lead to a write on this machine.
 */
#ifndef ATP_TRANSLATE_RECORD_H
#define ATP_TRANSLATE_RECORD_H

#include "translate/spec.h"

#include <stdint.h>

struct err;

#define RECORD_VERSION 1            /* "Atp": {"Version": 1, ...}; another one is refused with a line */
#define RECORD_MAX     (16u << 20)  /* bytes: several times the longest command line and environment of a system */
#define RECORD_DRIVER  "atp-docker" /* Driver: who keeps the file systems */

/* image_id: sha256:...; owned by caller. */
char *record_encode(const struct container_spec *spec, const struct process_spec *process, const char *image_id,
                    int64_t created_ns);

/* *ret_spec and *ret_process must be initialised ({0} will do) and are cleared first; *ret_image_id is owned by caller.
 */
int record_decode(const char *record, struct container_spec *ret_spec, struct process_spec *ret_process,
                  char **ret_image_id, int64_t *ret_created_ns, struct err *err);

/* The same record under another name (rename). */
char *record_renamed(const char *record, const char *name, struct err *err);

#endif
