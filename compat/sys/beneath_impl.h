/* Private to beneath*.c. */
#ifndef ATP_SYS_BENEATH_IMPL_H
#define ATP_SYS_BENEATH_IMPL_H

#include <fcntl.h>

/* How a directory is held: without the right to read it, where the system knows such descriptors. */
#ifdef O_PATH
#define BENEATH_DIR_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#else
#define BENEATH_DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#endif

/* One call for the whole path; -1 with ENOSYS where the system has no such call or does not allow it. */
int beneath_openat2_dir(int root, const char *path);

#endif
