/* One entry's head in a tar: ustar, with PAX or GNU entries before it for what does not fit (img_tar.h). No I/O. */
#ifndef ATP_ENGINE_IMG_TAR_HEAD_H
#define ATP_ENGINE_IMG_TAR_HEAD_H

#include "compat/base/buf.h"

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define TAR_BLOCK    512u
#define TAR_PAX_MAX  (1u << 20) /* of one entry: what common readers take */
#define TAR_HEAD_MAX (TAR_PAX_MAX + (64u << 10))

struct img_tar_head {
    const char *name; /* as it stands in the archive */
    const char *link; /* of links; NULL = none */
    char type;        /* '0' file, '1' hard link, '2' symbolic link, '3', '4' devices, '5' folder, '6' pipe */
    mode_t mode;      /* permission bits */
    uint64_t uid, gid;
    int64_t size;      /* of what follows the head */
    int64_t real_size; /* of a sparse file; -1 = it is none */
    struct timespec mtime;
    unsigned major, minor;
    const struct buf *records; /* further PAX records, made with img_tar_record(); NULL = none */
};

/* One PAX record, "<length> <key>=<value>\n". -1: past the buffer's ceiling. */
int img_tar_record(struct buf *out, const char *key, const void *value, size_t len);

/* -1: past the buffer's ceiling, which TAR_HEAD_MAX is enough for. */
int img_tar_head(struct buf *out, const struct img_tar_head *head);

#endif
