#include "backends/agent/user.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX INT32_MAX /* Docker's range for uids and gids */

void user_clear(struct user *u)
{
    free(u->groups);
    free(u->home);
    *u = (struct user){0};
}

/* Is s a number? Then Docker takes it as an id and never as a name. */
static bool parse_id(const char *s, long long *ret)
{
    char *end;

    if (*s != '-' && (*s < '0' || *s > '9'))
        return false;
    errno = 0;
    *ret = strtoll(s, &end, 10);
    return !errno && end != s && !*end;
}

static int check_range(long long id, struct err *err)
{
    if (id < 0 || id > ID_MAX)
        return err_set(err, 125, "uids and gids must be in range 0-%d", ID_MAX);
    return 0;
}

/* The next line of a passwd or group file, cut at the colons; false at the end. Comments and empty lines are skipped.
 */
static bool next_line(const char **text, struct strlist *fields)
{
    while (**text) {
        size_t len = strcspn(*text, "\n");
        cleanup_free char *line = xstrndup(*text, len);
        size_t skip = strspn(line, " \t");

        *text += len + ((*text)[len] == '\n');
        if (!line[skip] || line[skip] == '#')
            continue;
        strlist_clear(fields);
        strlist_split(fields, line + skip, ':');
        return true;
    }
    return false;
}

/* Field i as an id; 0 where the line is short or holds no number, as Docker reads it. */
static unsigned field_id(const struct strlist *fields, size_t i)
{
    long long id;

    if (i >= fields->len || !parse_id(fields->items[i], &id) || id < 0 || id > UINT32_MAX)
        return 0;
    return (unsigned)id;
}

/* Finds the first passwd line with this name, or with this uid if want_id. Sets uid, gid and home; returns its name. */
static char *find_passwd(const char *passwd, const char *name, bool want_id, unsigned id, struct user *u)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;

    while (next_line(&passwd, &fields)) {
        if (want_id ? fields.len < 3 || field_id(&fields, 2) != id : strcmp(fields.items[0], name) != 0)
            continue;
        u->uid = field_id(&fields, 2);
        u->gid = field_id(&fields, 3);
        if (fields.len > 5 && fields.items[5][0]) {
            free(u->home);
            u->home = xstrdup(fields.items[5]);
        }
        return xstrdup(fields.items[0]);
    }
    return NULL;
}

/* The groups whose member list names this user. */
static void find_memberships(const char *group, const char *name, struct user *u)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;

    while (u->n_groups + 1 < USER_GROUPS_MAX && next_line(&group, &fields)) {
        cleanup_strlist struct strlist members = STRLIST_INIT;

        if (fields.len < 4)
            continue;
        strlist_split(&members, fields.items[3], ',');
        if (!strlist_has(&members, name))
            continue;
        u->groups = xreallocarray(u->groups, u->n_groups + 1, sizeof(*u->groups));
        u->groups[u->n_groups++] = field_id(&fields, 2);
    }
}

static int resolve_group(const char *want, const char *group, struct user *u, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;
    long long id = 0;
    bool number = parse_id(want, &id);

    while (next_line(&group, &fields))
        if (number ? fields.len > 2 && field_id(&fields, 2) == (unsigned long long)id
                   : !strcmp(fields.items[0], want)) {
            u->gid = field_id(&fields, 2);
            return 0;
        }
    if (!number)
        return err_set(err, 125, "unable to find group %s: no matching entries in group file", want);
    if (check_range(id, err) < 0)
        return -1;
    u->gid = (gid_t)id;
    return 0;
}

static int resolve(const char *spec, const char *passwd, const char *group, struct user *u, struct err *err)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    cleanup_free char *matched = NULL;
    const char *name, *want_group;
    long long id = 0;
    bool number;

    strlist_split(&parts, spec, ':');
    name = parts.items[0];
    want_group = parts.len > 1 ? parts.items[1] : "";
    number = !*name || parse_id(name, &id);
    if (number && check_range(id, err) < 0)
        return -1;
    matched = find_passwd(passwd, name, number, (unsigned)id, u);
    if (!matched && !number)
        return err_set(err, 125, "unable to find user %s: no matching entries in passwd file", name);
    if (!matched)
        u->uid = (uid_t)id;
    if (*want_group)
        return resolve_group(want_group, group, u, err);
    if (matched)
        find_memberships(group, matched, u);
    return 0;
}

/* The primary group is a supplementary one too: a process that changes its gid keeps no rights it did not have. */
static void add_primary_group(struct user *u)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (u->groups[i] == u->gid)
            return;
    u->groups = xreallocarray(u->groups, u->n_groups + 1, sizeof(*u->groups));
    u->groups[u->n_groups++] = u->gid;
}

int user_resolve(const char *spec, const char *passwd, const char *group, struct user *ret, struct err *err)
{
    struct user u = {.home = xstrdup("/")};

    if (resolve(spec, passwd, group, &u, err) < 0) {
        user_clear(&u);
        return -1;
    }
    add_primary_group(&u);
    *ret = u;
    return 0;
}

int user_lookup(const char *spec, struct user *ret, struct err *err)
{
    cleanup_buf struct buf passwd = BUF_INIT(LIMIT_CONFIG_FILE);
    cleanup_buf struct buf group = BUF_INIT(LIMIT_CONFIG_FILE);

    if (fs_read_file("/etc/passwd", &passwd, NULL) < 0)
        buf_reset(&passwd);
    if (fs_read_file("/etc/group", &group, NULL) < 0)
        buf_reset(&group);
    return user_resolve(spec, passwd.data, group.data, ret, err);
}

int user_add_group(struct user *u, const char *name, struct err *err)
{
    cleanup_buf struct buf group = BUF_INIT(LIMIT_CONFIG_FILE);
    struct user found = {.gid = 0};
    long long id = 0;

    if (fs_read_file("/etc/group", &group, NULL) < 0)
        buf_reset(&group);
    if (parse_id(name, &id) && check_range(id, err) < 0)
        return -1;
    if (resolve_group(name, group.data, &found, NULL) < 0)
        return err_set(err, 125, "Unable to find group %s", name);
    if (u->n_groups + 1 >= USER_GROUPS_MAX)
        return err_set(err, 125, "too many groups");
    for (size_t i = 0; i < u->n_groups; i++)
        if (u->groups[i] == found.gid)
            return 0;
    u->groups = xreallocarray(u->groups, u->n_groups + 1, sizeof(*u->groups));
    u->groups[u->n_groups++] = found.gid;
    return 0;
}

char *user_name(uid_t uid)
{
    cleanup_buf struct buf passwd = BUF_INIT(LIMIT_CONFIG_FILE);
    struct user u = {0};
    char *name;

    if (fs_read_file("/etc/passwd", &passwd, NULL) < 0)
        buf_reset(&passwd);
    name = find_passwd(passwd.data, "", /* want_id= */ true, uid, &u);
    user_clear(&u);
    return name ? name : xasprintf("%u", (unsigned)uid);
}
