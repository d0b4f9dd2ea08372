/*
 * File operations that cannot leave a directory, whatever an opponent puts in the tree meanwhile.
 *
 * Two kinds of call. beneath_open_dir() and beneath_open_parent() walk a relative path of many components below a held
 * directory and follow no symbolic link on the way: with openat2(2) where the system has it, else component by
 * component. Everything else takes a held directory and one plain name in it, so there is no path left to be raced.
 * A name with a slash, "." , ".." or an empty one is refused with EINVAL.
 *
 * The threat is the classic one of extractors: "check the path, then open it by name" lets somebody swap a directory
 * for a symbolic link in between, and the write lands elsewhere. Here a directory that was opened is used by its
 * descriptor; swapping its name afterwards changes nothing.
 *
 * Calls behave like the system's: a descriptor or 0, else -1 and errno (ELOOP or ENOTDIR for a link on the way).
 * All descriptors are close-on-exec. Directory descriptors from here may be good for *at() calls only (O_PATH);
 * beneath_list_open() makes one that can be read.
 */
#ifndef ATP_SYS_BENEATH_H
#define ATP_SYS_BENEATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Prefix and room of the names of unfinished files. */
#define BENEATH_TEMP_PREFIX ".atp-tmp-"
#define BENEATH_TEMP_MAX    32

/* ---- walking ---- */

/* The directory `path` below root; "" is root itself. owned by caller. */
int beneath_open_dir(int root, const char *path);
/* The directory that holds path's last component; *ret_name points to that component in path. path is not "". */
int beneath_open_parent(int root, const char *path, const char **ret_name);

/* ---- one name in a held directory ---- */

int beneath_stat(int dir, const char *name, struct stat *ret); /* of a link: the link itself */
int beneath_child_dir(int dir, const char *name);
/* A descriptor that can be read with fdopendir(). */
int beneath_list_open(int dir);
int beneath_child_list(int dir, const char *name); /* the same for a child */
/*
 * Calls each() with every name in such a descriptor's directory but "." and "..", once, in no order; type is the
 * system's DT_* and may be DT_UNKNOWN. each() ends it with -1. -1 then, or if the directory cannot be read (errno).
 */
int beneath_names(int list, int (*each)(void *arg, const char *name, uint8_t type), void *arg);
/* A descriptor of a file or directory that is good for the calls on descriptors below; a link is ELOOP. */
int beneath_handle(int dir, const char *name, struct stat *ret);
/* Opens a regular file for reading; anything else is ELOOP, EISDIR or EINVAL. Never waits for a fifo. */
int beneath_read_open(int dir, const char *name, struct stat *ret);
/* Opens an existing regular file to be written in place, neither truncated nor created. */
int beneath_write_open(int dir, const char *name, struct stat *ret);
/* A new, empty, locked file of mode 0600 with a name nobody can have guessed. */
int beneath_temp_open(int dir, char ret_name[BENEATH_TEMP_MAX]);
/* A file without a name, for staging: on dir's file system if that can, else in memory. */
int beneath_unnamed_open(int dir);
/* A symbolic link of such a name. The descriptor returned says that its maker is alive: close it once the link is
 * renamed. */
int beneath_temp_symlink(const char *text, int dir, char ret_name[BENEATH_TEMP_MAX]);
/* Makes up a name of the same kind. */
void beneath_temp_name(char ret_name[BENEATH_TEMP_MAX]);
/* True if the name is one that was made up here; somebody's own ".atp-tmp-notes" is not. */
bool beneath_temp_ours(const char *name);
/* Removes `name` if it is a temporary file whose writer is gone. True if it was removed. */
bool beneath_temp_sweep(int dir, const char *name);
/* The same for all of a directory, or for as many names of a large one as are read in a millisecond or two. */
void beneath_temp_sweep_dir(int dir);

int beneath_mkdir(int dir, const char *name, mode_t mode);
int beneath_mkfifo(int dir, const char *name, mode_t mode);
int beneath_rename(int from, const char *from_name, int to, const char *to_name);
int beneath_unlink(int dir, const char *name);
int beneath_rmdir(int dir, const char *name);
int beneath_symlink(const char *text, int dir, const char *name);
int beneath_link(int from, const char *from_name, int to, const char *to_name);
/* The link's text; owned by caller; NULL and errno. */
char *beneath_readlink(int dir, const char *name);
/* Removes name and, if it is a directory, everything in it. A missing one is no error. */
int beneath_remove_tree(int dir, const char *name);

/* ---- on descriptors, of files and of directories (also those of beneath_open_dir) ---- */

int beneath_chmod(int fd, mode_t mode);
int beneath_chown(int fd, uid_t uid, gid_t gid);
int beneath_set_mtime(int fd, int64_t ns); /* the access time is left alone */
/* The same for a symbolic link, which cannot be opened. */
int beneath_link_chown(int dir, const char *name, uid_t uid, gid_t gid);
int beneath_link_set_mtime(int dir, const char *name, int64_t ns);

/* Nanoseconds since 1970, clamped to what fits. */
int64_t beneath_mtime(const struct stat *st);
int64_t beneath_ctime(const struct stat *st);

/* What the descriptor is called, for messages only; owned by caller; NULL if the system does not tell. */
char *beneath_fd_path(int fd);

/* ---- for tests: walk component by component even where openat2 exists ---- */

void beneath_force_walk(bool walk);
bool beneath_uses_openat2(void); /* after at least one walk */

#endif
