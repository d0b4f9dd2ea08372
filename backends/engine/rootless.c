#include "backends/engine/rootless.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define RANGES_MAX 16          /* the kernel takes 340 lines; nobody has so many */
#define USUAL_IDS  65536u      /* what images expect to be there */
#define SAID_MAX   512         /* of newuidmap's complaint */
#define ALL_IDS    4294967295u /* the count of a namespace that maps everything: the machine's own */

/* ---- what namespace this is ---- */

static struct {
    bool nested;
    unsigned last_gid;
} here;
static pthread_once_t looked = PTHREAD_ONCE_INIT;

/* The first free id after all that are mapped, ALL_IDS where everything is. */
static unsigned mapped_end(const char *path)
{
    cleanup_file FILE *f = fopen(path, "re");
    unsigned inside, outside, count, end = 0;

    while (f && fscanf(f, "%u %u %u", &inside, &outside, &count) == 3)
        if (inside + count > end)
            end = inside + count;
    return f ? end : ALL_IDS;
}

static void look(void)
{
    unsigned end = mapped_end("/proc/self/gid_map");

    here.nested = mapped_end("/proc/self/uid_map") != ALL_IDS;
    here.last_gid = end ? end - 1 : 0;
}

bool rootless(void)
{
    pthread_once(&looked, look);
    return here.nested;
}

unsigned rootless_last_gid(void)
{
    pthread_once(&looked, look);
    return here.last_gid;
}

/* ---- the user's ranges ---- */

/* Appends the words of newuidmap for one line of /etc/subuid that is the user's; how many ids it gives. */
static unsigned take_range(char *line, const char *user, uid_t uid, unsigned inside, struct strlist *words)
{
    char *start = strchr(line, ':'), *count = start ? strchr(start + 1, ':') : NULL;
    char number[16];
    unsigned long n;

    if (!count)
        return 0;
    *start++ = *count++ = '\0';
    snprintf(number, sizeof(number), "%u", (unsigned)uid);
    n = strtoul(count, NULL, 10);
    if ((strcmp(line, user) != 0 && strcmp(line, number) != 0) || n == 0 || n > ALL_IDS - inside)
        return 0;
    strlist_addf(words, "%u", inside);
    strlist_addf(words, "%lu", strtoul(start, NULL, 10));
    strlist_addf(words, "%lu", n);
    return (unsigned)n;
}

/* The words of newuidmap or newgidmap: the user is 0, the ranges follow. */
static int find_ranges(const char *path, const char *user, unsigned id, struct strlist *words, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    cleanup_strlist struct strlist lines = STRLIST_INIT;
    unsigned inside = 1;

    strlist_addf(words, "0");
    strlist_addf(words, "%u", id);
    strlist_addf(words, "1");
    if (fs_read_file(path, &text, NULL) == 0 && text.len)
        strlist_split(&lines, text.data, '\n');
    for (size_t i = 0; i < lines.len && words->len < 3 * RANGES_MAX; i++)
        inside += take_range(lines.items[i], user, getuid(), inside, words);
    if (inside > 1)
        return 0;
    return err_set(err, 125,
                   "the user %s has no range in %s, from which containers get their users: give one, as root, with "
                   "`usermod --add-subuids 100000-%u --add-subgids 100000-%u %s`",
                   user, path, 100000 + USUAL_IDS - 1, 100000 + USUAL_IDS - 1, user);
}

/* ---- the helper, outside ---- */

struct mapper { /* a child that waits until the namespace is there, then becomes newuidmap or newgidmap */
    pid_t pid;
    int go, said;
};

static _Noreturn void become_mapper(const char *program, pid_t target, const struct strlist *ranges, int go, int said)
{
    cleanup_strlist struct strlist argv = STRLIST_INIT;
    char byte;

    strlist_add(&argv, program);
    strlist_addf(&argv, "%d", (int)target);
    for (size_t i = 0; i < ranges->len; i++)
        strlist_add(&argv, ranges->items[i]);
    if (read(go, &byte, 1) != 1 || dup2(said, STDERR_FILENO) < 0)
        _exit(0);
    execvp(program, strlist_argv(&argv));
    dprintf(STDERR_FILENO, "it is not there: install the package uidmap");
    _exit(127);
}

static int mapper_start(struct mapper *m, const char *program, const struct strlist *ranges, struct err *err)
{
    int go[2], said[2];
    pid_t target = getpid();

    if (pipe2(go, O_CLOEXEC) < 0)
        return err_set_errno(err, 125, errno, "pipe");
    if (pipe2(said, O_CLOEXEC) < 0) {
        close(go[0]);
        close(go[1]);
        return err_set_errno(err, 125, errno, "pipe");
    }
    m->pid = fork();
    if (m->pid == 0) {
        close(go[1]);
        become_mapper(program, target, ranges, go[0], said[1]);
    }
    close(go[0]);
    close(said[1]);
    m->go = go[1];
    m->said = said[0];
    return m->pid < 0 ? err_set_errno(err, 125, errno, "fork") : 0;
}

/* Lets it go (or go away) and waits for it. */
static int mapper_finish(struct mapper *m, const char *program, bool wanted, struct err *err)
{
    char said[SAID_MAX + 1] = "";
    size_t len = 0;
    ssize_t n = wanted ? write(m->go, "x", 1) : 0;
    int status = 0;

    close(m->go);
    while ((n = read(m->said, said + len, SAID_MAX - len)) > 0)
        len += (size_t)n;
    close(m->said);
    while (m->pid > 0 && waitpid(m->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!wanted || (m->pid > 0 && status == 0))
        return 0;
    said[strcspn(said, "\n")] = '\0';
    return err_set(err, 125, "%s: %s", program, *said ? said : "it failed and did not say why");
}

/* ---- going in ---- */

/* Only words of our own go to the message, so the kernel's possible reasons are named. */
static int no_namespace(int errnum, struct err *err)
{
    return err_set_errno(
        err, 125, errnum,
        "ordinary users may not make user namespaces here (see the settings user.max_user_namespaces, "
        "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns of sysctl)");
}

static int enter(const struct strlist *uids, const struct strlist *gids, struct err *err)
{
    struct mapper u = {.pid = -1}, g = {.pid = -1};
    int result = -1, errnum = 0, mapped;

    if (mapper_start(&u, "newuidmap", uids, err) < 0)
        return -1;
    if (mapper_start(&g, "newgidmap", gids, err) == 0) {
        result = unshare(CLONE_NEWUSER | CLONE_NEWNS);
        errnum = errno;
        mapped = mapper_finish(&g, "newgidmap", result == 0, err);
        if (mapped == 0)
            mapped = mapper_finish(&u, "newuidmap", result == 0, err);
        else
            mapper_finish(&u, "newuidmap", false, NULL);
        if (result < 0)
            return no_namespace(errnum, err);
        result = mapped;
    } else {
        mapper_finish(&u, "newuidmap", false, NULL);
    }
    return result;
}

int rootless_enter(struct err *err)
{
    cleanup_strlist struct strlist uids = STRLIST_INIT, gids = STRLIST_INIT;
    cleanup_free char *user = NULL;
    const struct passwd *pw = getpwuid(getuid());

    if (geteuid() == 0)
        return 0;
    user = pw ? xstrdup(pw->pw_name) : xasprintf("%u", (unsigned)getuid());
    if (find_ranges("/etc/subuid", user, geteuid(), &uids, err) < 0 ||
        find_ranges("/etc/subgid", user, getegid(), &gids, err) < 0 || enter(&uids, &gids, err) < 0)
        return err_wrap(err, "containers without root");
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 || setgroups(0, NULL) < 0)
        return err_set_errno(err, 125, errno, "containers without root: becoming root in the namespace");
    if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return err_set_errno(err, 125, errno, "containers without root: the mount namespace");
    return 0;
}
