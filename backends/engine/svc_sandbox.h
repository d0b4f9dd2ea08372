/* What the two files of sandbox services share. */
#ifndef ATP_ENGINE_SVC_SANDBOX_H
#define ATP_ENGINE_SVC_SANDBOX_H

#include "backends/proto/api.pb-c.h"
#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>

struct call;
struct err;
struct sandbox;

/* The sandbox with that id; NULL: the call was ended with NOT_FOUND. */
struct sandbox *svc_sandbox(struct call *c, const char *id);
/* Fills ret (strings borrowed) and returns true once it has ended. */
bool svc_result(const struct sandbox *s, Modal__Client__GenericResult *ret);

/* Checks tags and appends them as "name=value". */
int svc_tags(Modal__Client__SandboxTag *const *tags, size_t len, struct strlist *ret, struct err *err);

struct svc_tag_list { /* tags as a message wants them */
    Modal__Client__SandboxTag *items, **list;
    char **names;
    size_t len;
};

void svc_tag_list_fill(struct svc_tag_list *ret, const struct strlist *tags);
void svc_tag_list_clear(struct svc_tag_list *l);

#endif
