/*
 * What stands on disk at one name, in the words of a manifest.
 */
#ifndef ATP_SYNC_LOCAL_H
#define ATP_SYNC_LOCAL_H

#include "translate/sync/manifest.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* An entry of st's type, without digest and text; false if no manifest names such a thing (socket, fifo, device). */
bool local_entry(struct manifest_entry *ret, const char *path, const struct stat *st);

/* True if known says, beyond doubt, what `now` (without a digest yet) holds: rule 4. */
bool local_untouched(const struct manifest_entry *known, const struct manifest_entry *now);

/* Nanoseconds since 1970. */
int64_t local_now(void);

/*
 * Marks e as unsure if it may still be written without its times showing it: written within the clock's grain (10 ms; 2
 * s where times have no fraction) before `now`.
 */
void local_mark_racy(struct manifest_entry *e, int64_t now);

#endif
