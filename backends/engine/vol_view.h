/*
 * What a container has mounted of volumes: a private copy of the committed state for each, bound into it read-write or
 * read-only. Commits carry what the container changed into the volume, file by file, the later commit winning; a reload
 * commits and then makes the copy what the volume is now. Others see nothing of it until they reload or start.
 *
 *     vol_views_open -> (each: vol_view_mount) -> vol_views_reload ... -> vol_views_close
 *
 * The container may do in its copy whatever it likes, at any time: nothing it puts there is followed.
 */
#ifndef ATP_ENGINE_VOL_VIEW_H
#define ATP_ENGINE_VOL_VIEW_H

#include "backends/proto/api.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

struct err;
struct rt_mount;
struct vol_views;
struct volumes;

/* Checks a request's mounts and copies; *ret is NULL where there are none. err->code is a gRPC status. */
int vol_views_open(struct volumes *v, Modal__Client__VolumeMount *const *mounts, size_t len, struct vol_views **ret,
                   struct err *err);
size_t vol_views_len(const struct vol_views *all); /* NULL: 0 */
/* The i-th as the runtime wants it; strings are borrowed. */
struct rt_mount vol_view_mount(const struct vol_views *all, size_t i);
/* Commits and shows the newest. FAILED_PRECONDITION while files in it are open; what was written is committed even
 * then. */
int vol_views_reload(struct vol_views *all, struct err *err);
int vol_views_commit(struct vol_views *all, struct err *err);
/* The container has ended: commits and removes the copies. NULL is fine. */
void vol_views_close(struct vol_views *all);
/* The same without the commit, of a container that never came to be. */
void vol_views_drop(struct vol_views *all);

/* For the store: whether a view still needs contents is nobody's concern, they are copies. */
void vol_views_commit_all(struct volumes *v);

#endif
