/* What the files of volume services share. */
#ifndef ATP_ENGINE_SVC_VOLUME_H
#define ATP_ENGINE_SVC_VOLUME_H

#include <stdint.h>
#include <sys/types.h>

struct call;
struct err;
struct volume;

/* The volume with that id; NULL: the call was ended with NOT_FOUND. */
struct volume *svc_volume(struct call *c, const char *id);

/* A file appears in the volume, its contents are there. */
int svc_volume_put(struct volume *vol, const char *path, mode_t mode, const char *hash, uint64_t size, struct err *err);
/* -1 and ALREADY_EXISTS. */
int svc_volume_check_free(const struct volume *vol, const char *path, struct err *err);

#endif
