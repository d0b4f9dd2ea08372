/*
 * The containers of one sandbox: who belongs to whom, and their names in /etc/hosts. All of it happens on the loop; a
 * container that is starting begins with the names of that moment and gets the rest when it runs.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_NAME   "main" /* what the first container is called */
#define POD_NAME_MAX 64u
#define HOSTS_KEPT   65536 /* a file that is longer is cut off */

static bool is_name(const char *name)
{
    size_t len = name ? strlen(name) : 0;

    return len > 0 && len <= POD_NAME_MAX &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

int rt_pod_check(const struct rt *rt, const struct rt_sandbox_spec *spec, struct err *err)
{
    const struct rt_sandbox *first = spec->beside;

    if (!first)
        return 0;
    if (first->main || first->state != RT_RUNNING || first->killed)
        return err_set(err, 125, "the sandbox %s is not running", first->id);
    if (!is_name(spec->name) || strcmp(spec->name, FIRST_NAME) == 0)
        return err_set(err, 125, "container name %s: letters, digits, -, _ and . only, and not %s",
                       spec->name ? spec->name : "(none)", FIRST_NAME);
    if (spec->network == RT_NETWORK_BLOCKED || spec->network == RT_NETWORK_HOST)
        return err_set(err, 125, "one more container of a sandbox needs its network");
    if (spec->memory_bytes || spec->milli_cpu || spec->pids)
        return err_set(err, 125, "one more container of a sandbox has no limits of its own");
    if (rt->net && !rt_net_joins(rt->net))
        return err_set(err, 125, "an engine without root cannot join the containers of a sandbox");
    return 0;
}

struct rt_sandbox *rt_pod_main(struct rt_sandbox *s)
{
    return s->main ? s->main : s;
}

/* ---- names ---- */

void rt_pod_name_line(const struct rt_sandbox *s, struct buf *ret)
{
    if (*s->net.address)
        buf_addf(ret, "%s\t%s\n", s->net.address, s->name ? s->name : FIRST_NAME);
}

/* One that runs, or is about to know the others. */
static bool is_named(const struct rt_sandbox *one, const struct rt_sandbox *first, const struct rt_sandbox *asker)
{
    return one == asker || (rt_pod_main((struct rt_sandbox *)(uintptr_t)one) == first && one->state == RT_RUNNING);
}

/* The oldest first: a line stays where it is when more come. The list has the newest first. */
void rt_pod_names(struct rt_sandbox *s, struct buf *ret)
{
    const struct rt_sandbox *first = rt_pod_main(s);
    cleanup_free const struct rt_sandbox **members = NULL;
    size_t len = 0, room = 0;

    for (const struct rt_sandbox *one = s->rt->sandboxes; one; one = one->next) {
        if (!is_named(one, first, s))
            continue;
        if (len == room) {
            room = room ? room * 2 : 16;
            members = xreallocarray(members, room, sizeof(*members));
        }
        members[len++] = one;
    }
    while (len)
        rt_pod_name_line(members[--len], ret);
}

/*
 * Into the file that is mounted there, for another file would leave the container with the old one. One write, from the
 * beginning and never shorter than what it replaces: nobody finds the file empty or cut off meanwhile.
 */
static void replace_text(const char *path, struct buf *text)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    if (st.st_size > HOSTS_KEPT) /* the container's own doing */
        st.st_size = 0;
    while ((off_t)text->len < st.st_size && !text->overflowed)
        buf_adds(text, "\n");
    if (text->overflowed || pwrite(fd, text->data, text->len, 0) != (ssize_t)text->len)
        return;
    if (ftruncate(fd, (off_t)text->len) < 0)
        return;
}

static void write_hosts(struct rt_sandbox *s)
{
    cleanup_free char *path = xasprintf("%s/etc/hosts", s->dir), *usual = rt_root_hosts(s->hostname, s->net.address);
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);

    buf_adds(&text, usual);
    rt_pod_names(s, &text);
    replace_text(path, &text);
}

void rt_pod_changed(struct rt_sandbox *s)
{
    struct rt_sandbox *first = rt_pod_main(s);

    if (first->state != RT_RUNNING || first->killed) /* they all go: nobody reads names any more */
        return;
    for (struct rt_sandbox *one = s->rt->sandboxes; one; one = one->next)
        if (rt_pod_main(one) == first && one->state == RT_RUNNING)
            write_hosts(one);
}

/* ---- the end ---- */

void rt_pod_kill(struct rt_sandbox *s)
{
    for (struct rt_sandbox *other = s->rt->sandboxes; other; other = other->next)
        if (other->main == s)
            rt_sandbox_kill(other);
}

bool rt_pod_is_empty(const struct rt_sandbox *s)
{
    for (const struct rt_sandbox *other = s->rt->sandboxes; other; other = other->next)
        if (other->main == s)
            return false;
    return true;
}
