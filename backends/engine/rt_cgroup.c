/*
 * Limits and membership. Each sandbox has the directory atp-engine/<key>/<id> in the hierarchies that it needs, and
 * each container but its first one has a directory within that, so that the limits hold for their sum; <key> stands for
 * the engine's state folder, so that what is found there after a crash is known to be ours. The runtime's process
 * enters before it execs, and everything that it starts inherits the place.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY, CPU, PIDS, FREEZER };

static const char *const controllers[RT_CONTROLLERS] = {"memory", "cpu", "pids", "freezer"};

#define TOP           "atp-engine"
#define CPU_PERIOD    100000 /* microseconds; the kernel's default, and Docker's */
#define CPU_QUOTA_MIN 1000   /* the kernel takes no less */

static int write_at(const char *dir, const char *file, const char *value)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, file);
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(value);

    if (fd < 0)
        return -1;
    return write(fd, value, len) == (ssize_t)len ? 0 : -1;
}

static bool has_file(const char *dir, const char *file)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, file);

    return access(path, F_OK) == 0;
}

/* ---- what the machine offers ---- */

/* Makes atp-engine/<key> in a hierarchy; NULL where that is not allowed. */
static char *make_place(const char *mount_point, const char *key)
{
    cleanup_free char *top = xasprintf("%s/" TOP, mount_point);
    char *place = xasprintf("%s/%s", top, key);

    /* Another engine that ends may take the common directory away between the two. */
    for (int tries = 0; tries < 10; tries++) {
        mkdir(top, 0755);
        if (mkdir(place, 0755) == 0 || errno != ENOENT)
            break;
    }
    if (!has_file(place, "cgroup.procs")) {
        free(place);
        return NULL;
    }
    return place;
}

/* cgroup v2 hands a controller down one level at a time. */
static void delegate(const char *mount_point, const char *place)
{
    cleanup_free char *top = xasprintf("%s/" TOP, mount_point);
    const char *levels[] = {mount_point, top, place};

    for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
        for (int c = MEMORY; c <= PIDS; c++) {
            char word[32];

            snprintf(word, sizeof(word), "+%s", controllers[c]);
            write_at(levels[i], "cgroup.subtree_control", word);
        }
}

/* Notes every hierarchy (runc uses them all) and takes places in those with our controllers; the v2 one is handed back.
 */
static char *find_mounts(struct rt_cgroups *all, const char *key, bool *ret_v1)
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    const struct mntent *m;
    char *v2 = NULL;

    while (mounts && (m = getmntent(mounts))) {
        bool second = strcmp(m->mnt_type, "cgroup2") == 0;

        if ((!second && strcmp(m->mnt_type, "cgroup") != 0) || strlist_has(&all->mounts, m->mnt_dir))
            continue;
        strlist_add(&all->mounts, m->mnt_dir);
        if (second && !v2)
            v2 = xstrdup(m->mnt_dir);
        for (int c = 0; c < RT_CONTROLLERS && !second; c++)
            if (hasmntopt(m, controllers[c])) {
                *ret_v1 = true;
                if (!all->dirs[c])
                    all->dirs[c] = make_place(m->mnt_dir, key);
            }
    }
    if (mounts)
        endmntent(mounts);
    return v2;
}

/*
 * cgroup v2 where the machine's root directory is not ours to write in: the highest directory above our own that is,
 * as systemd hands one to each user. From there down we may make places and move processes. Owned by caller.
 */
static char *find_delegated(const char *mount_point)
{
    cleanup_file FILE *f = fopen("/proc/self/cgroup", "re");
    char line[LIMIT_PATH], *path = NULL;

    while (f && !path && fgets(line, sizeof(line), f))
        if (strncmp(line, "0::/", 4) == 0)
            path = line + 4;
    if (!path)
        return NULL;
    path[strcspn(path, "\n")] = '\0';
    for (char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        char *next = strchr(slash + 1, '/');
        cleanup_free char *dir = xasprintf("%s/%.*s", mount_point, next ? (int)(next - path) : (int)strlen(path), path);
        cleanup_free char *procs = xasprintf("%s/cgroup.procs", dir);

        if (access(dir, W_OK) == 0 && access(procs, W_OK) == 0)
            return steal(&dir);
    }
    return NULL;
}

/* Takes a place in the one hierarchy of v2. */
static void place_v2(struct rt_cgroups *all, const char *mount_point, const char *key)
{
    cleanup_free char *delegated = NULL;
    const char *top = mount_point;

    all->dirs[0] = make_place(top, key);
    if (!all->dirs[0] && (delegated = find_delegated(mount_point))) {
        top = delegated;
        all->dirs[0] = make_place(top, key);
        strlist_add(&all->mounts, top); /* where places are looked for and removed */
    }
    if (all->dirs[0])
        delegate(top, all->dirs[0]);
}

/* Says which limits cannot be kept here, in one line. */
static void explain(struct rt_cgroups *all)
{
    cleanup_buf struct buf missing = BUF_INIT(RT_LINE_MAX);
    cleanup_free char *offered_path = NULL, *offered = NULL;

    if (all->v2 && all->dirs[0]) {
        offered_path = xasprintf("%s/cgroup.controllers", all->dirs[0]);
        offered = rt_read_line(offered_path);
    }
    for (int c = MEMORY; c <= PIDS; c++) {
        all->limits[c] = all->v2 ? offered && strstr(offered, controllers[c]) : all->dirs[c] != NULL;
        if (!all->limits[c])
            buf_addf(&missing, "%s%s", missing.len ? ", " : "", controllers[c]);
    }
    if (missing.len)
        all->reason =
            xasprintf("cgroup %s does not let the engine set limits for: %s", all->v2 ? "v2" : "v1", missing.data);
}

void rt_cgroups_init(struct rt_cgroups *all, const char *key)
{
    cleanup_free char *v2 = NULL;
    bool v1 = false;

    *all = (struct rt_cgroups){.kill_at = -1, .key = xstrdup(key)};
    v2 = find_mounts(all, key, &v1);
    all->v2 = v2 && !v1;
    if (all->v2)
        place_v2(all, v2, key);
    for (int c = RT_CONTROLLERS - 1; c >= 0 && all->kill_at < 0; c--)
        if (all->dirs[c])
            all->kill_at = c;
    explain(all);
}

void rt_cgroups_clear(struct rt_cgroups *all)
{
    for (size_t i = 0; i < all->mounts.len; i++) {
        cleanup_free char *place = xasprintf("%s/" TOP "/%s", all->mounts.items[i], all->key);
        cleanup_free char *top = xasprintf("%s/" TOP, all->mounts.items[i]);

        rmdir(place);
        rmdir(top); /* another engine's directory keeps it */
    }
    for (int c = 0; c < RT_CONTROLLERS; c++)
        free(all->dirs[c]);
    strlist_clear(&all->mounts);
    free(all->key);
    free(all->reason);
    *all = (struct rt_cgroups){.kill_at = -1};
}

char *rt_cgroup_path(const struct rt_cgroups *all, const char *id)
{
    return xasprintf("/" TOP "/%s/%s", all->key, id);
}

/* ---- one sandbox ---- */

static int set_limit(const char *dir, const char *file, uint64_t value, struct err *err)
{
    char text[32];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    if (write_at(dir, file, text) == 0)
        return 0;
    return err_set_errno(err, 125, errno, "setting the limit %s to %s", file, text);
}

/* Swap counts as memory: the limit is what the sandbox has, not what it has before it swaps. */
static int limit_memory(const struct rt_cgroups *all, const char *dir, uint64_t bytes, struct err *err)
{
    const char *swap = all->v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes";

    if (set_limit(dir, all->v2 ? "memory.max" : "memory.limit_in_bytes", bytes, err) < 0)
        return -1;
    return has_file(dir, swap) ? set_limit(dir, swap, all->v2 ? 0 : bytes, err) : 0;
}

static int limit_cpu(const struct rt_cgroups *all, const char *dir, uint64_t milli, struct err *err)
{
    uint64_t quota = milli * (CPU_PERIOD / 1000);
    char text[64];

    if (quota < CPU_QUOTA_MIN)
        quota = CPU_QUOTA_MIN;
    if (all->v2) {
        snprintf(text, sizeof(text), "%llu %d", (unsigned long long)quota, CPU_PERIOD);
        return write_at(dir, "cpu.max", text) == 0 ? 0 : err_set_errno(err, 125, errno, "setting the limit cpu.max");
    }
    if (set_limit(dir, "cpu.cfs_period_us", CPU_PERIOD, err) < 0)
        return -1;
    return set_limit(dir, "cpu.cfs_quota_us", quota, err);
}

static char *place_of(const struct rt_cgroups *all, int c, const char *id)
{
    return xasprintf("%s/%s", all->dirs[all->v2 ? 0 : c], id);
}

/* Makes the directory in one hierarchy and opens the door to it. */
static int enter_hierarchy(struct rt_cgroup *cg, int c, struct err *err)
{
    cleanup_free char *dir = place_of(cg->all, c, cg->id);
    cleanup_free char *procs = xasprintf("%s/cgroup.procs", dir);
    int fd;

    /* The engine's own directory is empty while nothing runs, and a tidy neighbour may have taken it away. */
    if (mkdir(dir, 0755) < 0 && errno != EEXIST && (errno != ENOENT || fs_mkdirs(dir, 0755, NULL) < 0))
        return err_set_errno(err, 125, errno, "making the cgroup %s", dir);
    cg->held[c] = true;
    fd = open(procs, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, 125, errno, "%s", procs);
    cg->procs[cg->procs_len++] = fd;
    return 0;
}

static int set_limits(const struct rt_cgroup *cg, const uint64_t limits[3], struct err *err)
{
    for (int c = MEMORY; c <= PIDS; c++) {
        cleanup_free char *dir = limits[c] ? place_of(cg->all, c, cg->id) : NULL;
        int result = 0;

        if (!limits[c])
            continue;
        if (c == MEMORY)
            result = limit_memory(cg->all, dir, limits[c], err);
        else if (c == CPU)
            result = limit_cpu(cg->all, dir, limits[c], err);
        else
            result = set_limit(dir, "pids.max", limits[c], err);
        if (result < 0)
            return -1;
    }
    return 0;
}

int rt_cgroup_check(const struct rt_cgroups *all, uint64_t memory, uint64_t milli_cpu, uint64_t pids, struct err *err)
{
    const uint64_t limits[3] = {memory, milli_cpu, pids};

    for (int c = MEMORY; c <= PIDS; c++)
        if (limits[c] && !all->limits[c])
            return err_set(err, 125, "a %s limit was asked for, but %s", controllers[c], all->reason);
    if (milli_cpu > 1000000)
        return err_set(err, 125, "a limit of %llu CPUs is more than any machine has",
                       (unsigned long long)(milli_cpu / 1000));
    return 0;
}

int rt_cgroup_make(struct rt_cgroup *cg, const struct rt_cgroups *all, const char *id, uint64_t memory,
                   uint64_t milli_cpu, uint64_t pids, struct err *err)
{
    const uint64_t limits[RT_CONTROLLERS] = {memory, milli_cpu, pids, 0};

    *cg = (struct rt_cgroup){.all = all, .id = xstrdup(id)};
    if (rt_cgroup_check(all, memory, milli_cpu, pids, err) < 0)
        return -1;
    for (int c = 0; c < (all->v2 ? 1 : RT_CONTROLLERS); c++)
        if ((c == all->kill_at || (!all->v2 && limits[c])) && enter_hierarchy(cg, c, err) < 0)
            return -1;
    return set_limits(cg, limits, err);
}

int rt_cgroup_make_below(struct rt_cgroup *cg, const struct rt_cgroup *parent, const char *id, struct err *err)
{
    *cg = (struct rt_cgroup){.all = parent->all, .id = xstrdup(id)};
    for (int c = 0; c < RT_CONTROLLERS; c++)
        if (parent->held[c] && enter_hierarchy(cg, c, err) < 0)
            return -1;
    return 0;
}

void rt_cgroup_clear(struct rt_cgroup *cg)
{
    for (size_t i = 0; i < cg->procs_len; i++)
        close(cg->procs[i]);
    free(cg->id);
    *cg = (struct rt_cgroup){0};
}

/* ---- members ---- */

bool rt_cgroup_members(const struct rt_cgroups *all, const char *id, pid_t **ret_pids, size_t *ret_len)
{
    cleanup_free char *dir = all->kill_at >= 0 ? place_of(all, all->kill_at, id) : NULL;
    cleanup_free char *path = dir ? xasprintf("%s/cgroup.procs", dir) : NULL;
    cleanup_file FILE *f = path ? fopen(path, "re") : NULL;
    size_t room = 0;
    int pid;

    *ret_pids = NULL;
    *ret_len = 0;
    while (f && fscanf(f, "%d", &pid) == 1) {
        if (*ret_len == room) {
            room = room ? room * 2 : 32;
            *ret_pids = xreallocarray(*ret_pids, room, sizeof(pid_t));
        }
        (*ret_pids)[(*ret_len)++] = pid;
    }
    return dir != NULL;
}

static void kill_members(const struct rt_cgroups *all, const char *id)
{
    cleanup_free pid_t *pids = NULL;
    size_t len;

    rt_cgroup_members(all, id, &pids, &len);
    for (size_t i = 0; i < len; i++)
        if (pids[i] > 1)
            kill(pids[i], SIGKILL);
}

/* Frozen first where there is a freezer: nobody forks away between the reading of the list and the kill. */
void rt_cgroup_kill(const struct rt_cgroups *all, const char *id)
{
    cleanup_free char *dir = all->kill_at >= 0 ? place_of(all, all->kill_at, id) : NULL;

    if (!dir || (all->v2 && write_at(dir, "cgroup.kill", "1") == 0))
        return;
    if (all->v2)
        write_at(dir, "cgroup.freeze", "1");
    else if (all->kill_at == FREEZER)
        write_at(dir, "freezer.state", "FROZEN");
    kill_members(all, id);
    if (all->v2)
        write_at(dir, "cgroup.freeze", "0");
    else if (all->kill_at == FREEZER)
        write_at(dir, "freezer.state", "THAWED");
}

bool rt_cgroup_empty(const struct rt_cgroups *all, const char *id)
{
    cleanup_free pid_t *pids = NULL;
    size_t len;

    rt_cgroup_members(all, id, &pids, &len);
    return len == 0;
}

/* The directories in one: of containers, which an engine that was killed left behind. */
static void list_below(const char *dir, struct strlist *ret)
{
    cleanup_dir DIR *entries = opendir(dir);
    const struct dirent *e;

    while (entries && (e = readdir(entries)))
        if (e->d_type == DT_DIR && e->d_name[0] != '.' && !strlist_has(ret, e->d_name))
            strlist_add(ret, e->d_name);
}

/* What is in a directory of ours goes before it, processes and directories. */
static void clear_below(const struct rt_cgroups *all, const char *dir, const char *id)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;

    list_below(dir, &names);
    for (size_t i = 0; i < names.len; i++) {
        cleanup_free char *below = xasprintf("%s/%s", dir, names.items[i]);
        cleanup_free char *name = xasprintf("%s/%s", id, names.items[i]);

        rt_cgroup_kill(all, name);
        rmdir(below);
    }
}

/* One try in every hierarchy, for runtimes make directories in those that we do not use. */
static bool remove_places(const struct rt_cgroups *all, const char *id)
{
    bool gone = true;

    for (size_t i = 0; i < all->mounts.len; i++) {
        cleanup_free char *dir = xasprintf("%s/" TOP "/%s/%s", all->mounts.items[i], all->key, id);

        if (rmdir(dir) == 0 || errno == ENOENT)
            continue;
        clear_below(all, dir, id);
        gone = rmdir(dir) == 0 && gone;
    }
    return gone;
}

int rt_cgroup_remove(const struct rt_cgroups *all, const char *id, struct err *err)
{
    struct timespec pause = {.tv_nsec = 500000};

    for (int waited = 0; !remove_places(all, id); waited++) {
        if (waited > RT_KILL_DEADLINE)
            return err_set(err, 125, "processes of the sandbox %s do not end after SIGKILL", id);
        rt_cgroup_kill(all, id);
        nanosleep(&pause, NULL);
        pause.tv_nsec = 1000000;
    }
    return 0;
}

void rt_cgroups_list(const struct rt_cgroups *all, struct strlist *ret_ids)
{
    for (size_t i = 0; i < all->mounts.len; i++) {
        cleanup_free char *place = xasprintf("%s/" TOP "/%s", all->mounts.items[i], all->key);

        list_below(place, ret_ids);
    }
}
