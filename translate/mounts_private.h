/*
 * Shared by the files that build mounts; not for other rooms.
 */
#ifndef ATP_TRANSLATE_MOUNTS_PRIVATE_H
#define ATP_TRANSLATE_MOUNTS_PRIVATE_H

#include "translate/mounts.h"

void mount_clear(struct mount *m);
void mounts_take(struct mounts *m, struct mount *mount); /* appends and empties *mount */

#endif
