/* What the files of volume services share. */
#ifndef ATP_ENGINE_SVC_VOLUME_H
#define ATP_ENGINE_SVC_VOLUME_H

struct call;
struct volume;

/* The volume with that id; NULL: the call was ended with NOT_FOUND. */
struct volume *svc_volume(struct call *c, const char *id);

#endif
