#include "backends/engine/img_user.h"

#include "backends/engine/img_view.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GROUPS 65536u /* the kernel's own limit for one process */

void img_user_clear(struct img_user *u)
{
    free(u->groups);
    *u = (struct img_user){0};
}

/* Parses all of s as an id. */
static bool number(const char *s, uint32_t *ret)
{
    unsigned long value;
    char *end;

    if (*s < '0' || *s > '9')
        return false;
    errno = 0;
    value = strtoul(s, &end, 10);
    if (*end || errno || value >= UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    return true;
}

/* The lines of a file of the image; a file that is not there has none. */
static int read_lines(struct img_view *view, const char *file, struct strlist *ret, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    int r = img_view_read(view, file, &text, err);

    if (r > 0)
        strlist_split(ret, text.data, '\n');
    return r < 0 ? -1 : 0;
}

/* An entry by name, or by id when is_id; *ret_fields has at least `want` of them. */
static bool find(const struct strlist *lines, const char *name, bool is_id, uint32_t id, size_t want,
                 struct strlist *ret_fields)
{
    for (size_t i = 0; i < lines->len; i++) {
        uint32_t found;

        strlist_clear(ret_fields);
        strlist_split(ret_fields, lines->items[i], ':');
        if (ret_fields->len < want || !number(ret_fields->items[2], &found))
            continue;
        if (strcmp(ret_fields->items[0], name) == 0 || (is_id && found == id))
            return true;
    }
    strlist_clear(ret_fields);
    return false;
}

static void add_group(struct img_user *u, gid_t gid)
{
    for (size_t i = 0; i < u->groups_len; i++) {
        if (u->groups[i] == gid)
            return;
    }
    if (u->groups_len == MAX_GROUPS)
        return;
    u->groups = xreallocarray(u->groups, u->groups_len + 1, sizeof(*u->groups));
    u->groups[u->groups_len++] = gid;
}

/* Every group that lists the name. */
static void add_memberships(struct img_user *u, const struct strlist *groups, const char *name)
{
    for (size_t i = 0; i < groups->len; i++) {
        cleanup_strlist struct strlist fields = STRLIST_INIT, members = STRLIST_INIT;
        uint32_t gid;

        strlist_split(&fields, groups->items[i], ':');
        if (fields.len < 4 || !number(fields.items[2], &gid))
            continue;
        strlist_split(&members, fields.items[3], ',');
        if (strlist_has(&members, name))
            add_group(u, gid);
    }
}

static int find_group(const struct strlist *groups, const char *text, gid_t *ret, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;
    uint32_t gid = 0;

    if (number(text, &gid)) {
        *ret = gid;
        return 0;
    }
    if (!find(groups, text, /* is_id= */ false, 0, 3, &fields))
        return err_set(err, 1, "unable to find group %s: no matching entries in group file", text);
    number(fields.items[2], ret);
    return 0;
}

int img_user(struct img_view *view, const char *text, struct img_user *ret, struct err *err)
{
    const char *given = text && *text ? text : "0", *colon = strchr(given, ':');
    cleanup_free char *name = xstrndup(given, colon ? (size_t)(colon - given) : strlen(given));
    cleanup_strlist struct strlist users = STRLIST_INIT, groups = STRLIST_INIT, entry = STRLIST_INIT;
    struct img_user u = {0};
    bool is_id = number(name, &u.uid);

    if (read_lines(view, "etc/passwd", &users, err) < 0 || read_lines(view, "etc/group", &groups, err) < 0)
        return -1;
    if (find(&users, name, is_id, u.uid, 4, &entry)) {
        number(entry.items[2], &u.uid);
        number(entry.items[3], &u.gid);
    } else if (!is_id) {
        return err_set(err, 1, "unable to find user %s: no matching entries in passwd file", name);
    }
    if (colon && find_group(&groups, colon + 1, &u.gid, err) < 0)
        return -1;
    add_group(&u, u.gid);
    if (!colon && entry.len)
        add_memberships(&u, &groups, entry.items[0]);
    *ret = u;
    return 0;
}

int img_owner(struct img_view *view, const char *text, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
    const char *colon = strchr(text, ':');
    cleanup_free char *name = xstrndup(text, colon ? (size_t)(colon - text) : strlen(text));
    cleanup_strlist struct strlist users = STRLIST_INIT, groups = STRLIST_INIT, entry = STRLIST_INIT;
    uint32_t uid = 0, gid = 0;

    if (number(name, &uid)) {
        gid = uid;
    } else {
        if (read_lines(view, "etc/passwd", &users, err) < 0)
            return -1;
        if (!find(&users, name, /* is_id= */ false, 0, 4, &entry))
            return err_set(err, 1, "unable to find user %s: no matching entries in passwd file", name);
        number(entry.items[2], &uid);
        number(entry.items[3], &gid);
    }
    if (colon && !number(colon + 1, &gid) &&
        (read_lines(view, "etc/group", &groups, err) < 0 || find_group(&groups, colon + 1, &gid, err) < 0))
        return -1;
    *ret_uid = uid;
    *ret_gid = gid;
    return 0;
}
