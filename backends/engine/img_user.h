/*
 * Users of an image: what its own /etc/passwd and /etc/group say of the words that USER, --chown and mounts use. The
 * rules are those of BuildKit; a number needs no entry.
 */
#ifndef ATP_ENGINE_IMG_USER_H
#define ATP_ENGINE_IMG_USER_H

#include <stddef.h>
#include <sys/types.h>

struct err;
struct img_view;

struct img_user {
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary, with gid */
    size_t groups_len;
};
void img_user_clear(struct img_user *u);

/* USER: "user", "user:group", numbers; NULL or "" is root. A user alone has the groups that list it. */
int img_user(struct img_view *view, const char *text, struct img_user *ret, struct err *err);
/* --chown: the same words; a number alone is the group's as well. */
int img_owner(struct img_view *view, const char *text, uid_t *ret_uid, gid_t *ret_gid, struct err *err);

#endif
