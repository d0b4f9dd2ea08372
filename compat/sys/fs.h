/*
 * Our own files: the state folder, configuration, sockets. Paths are trusted here (they come from the user's own
 * environment); files below a mount, whose names come from outside, go through beneath.h instead.
 */
#ifndef ATP_SYS_FS_H
#define ATP_SYS_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct buf;
struct err;

/* Makes path and its missing parents with mode; an existing directory is fine. */
int fs_mkdirs(const char *path, mode_t mode, struct err *err);

/* Reads a whole file into out (bounded by its ceiling). err->code is the errno; a missing file is ENOENT. */
int fs_read_file(const char *path, struct buf *out, struct err *err);

/* Writes atomically: a temporary file beside it, then rename. */
int fs_write_file(const char *path, const void *data, size_t len, mode_t mode, struct err *err);

bool fs_exists(const char *path);

/* Folder of the running program (resolved link), owned by caller; NULL when the system does not say. */
char *fs_program_dir(void);

/* $XDG_STATE_HOME, $XDG_CONFIG_HOME or $XDG_RUNTIME_DIR with the defaults below HOME, then "/atp-docker"; owned by
 * caller. A runtime folder that belongs to another user counts as not named. */
char *fs_state_dir(void);
char *fs_config_dir(void);
char *fs_runtime_dir(void);

#endif
