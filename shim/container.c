/* Containers by name, their folders and their locks. */
#include "shim/container.h"

#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/events.h"
#include "shim/forward.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define OWN_MS      40   /* whoever only looks at the lock holds it for microseconds */
#define OWN_NEXT_MS 2000 /* for the monitor of the life before to see that it is over */
#define OWN_WAIT_NS 2000000
#define DEPTH_MAX   64 /* of a container's folder, which we made ourselves */

void container_init(struct container *c, struct app *app)
{
    *c = (struct container){.app = app, .lock_fd = -1, .owner_fd = -1};
}

static void forget_record(struct container *c)
{
    if (c->loaded) {
        process_clear(&c->process);
        spec_clear(&c->spec);
    }
    c->loaded = false;
}

void container_clear(struct container *c)
{
    modal_task_free(c->task);
    forget_record(c);
    state_container_clear(&c->row);
    free(c->intent);
    forward_sockets_free(c->sockets);
    container_unlock(c);
    if (c->owner_fd >= 0)
        close(c->owner_fd);
    container_init(c, c->app);
}

bool container_is(const struct container *c, const char *status)
{
    return !strcmp(c->row.status, status);
}

bool container_may_run(const struct container *c)
{
    return c->row.sandbox_id &&
           (container_is(c, "running") || container_is(c, "restarting") || container_is(c, "paused"));
}

int64_t container_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void container_set_status(struct state_container *row, const char *status)
{
    free(row->status);
    row->status = xstrdup(status);
}

void container_set_exited(struct state_container *row, int code, int64_t ended_ns)
{
    if (!strcmp(row->status, "exited"))
        return;
    container_set_status(row, "exited");
    row->exit_code = code;
    /* a container's clock may differ from ours */
    row->finished_ns = ended_ns > row->started_ns ? ended_ns : container_now_ns();
}

void container_died(struct container *c)
{
    forward_stop(c);
    state_container_update(c->app->state, &c->row, STATE_PART_PORTS, NULL);
    event_died(c);
}

/* ---- the folder ---- */

char *container_path(const char *id, const char *name)
{
    cleanup_free char *state = fs_state_dir();

    return xasprintf("%s/containers/%s%s%s", state, id, name ? "/" : "", name ? name : "");
}

int container_dir_make(const char *id, struct err *err)
{
    cleanup_free char *dir = container_path(id, NULL);

    return mkdir(dir, 0700) == 0 || errno == EEXIST ? 0 : fs_mkdirs(dir, 0700, err);
}

/* Removes what name is below the folder; links are not followed. */
static void remove_below(int dirfd, const char *name, int depth)
{
    cleanup_dir DIR *dir = NULL;
    const struct dirent *entry;
    int fd;

    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT || depth > DEPTH_MAX)
        return;
    fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            remove_below(fd, entry->d_name, depth + 1);
    unlinkat(dirfd, name, AT_REMOVEDIR);
}

void container_dir_remove(const char *id)
{
    cleanup_free char *dir = container_path(id, NULL);

    forward_stop_id(id); /* its lock is there */
    remove_below(AT_FDCWD, dir, 0);
}

/* ---- locks ---- */

/* Opens a lock file that is still in its folder once the lock is had; *ret_fd -1 where somebody else has it. */
static int take_lock(const char *id, const char *name, int operation, int *ret_fd, struct err *err)
{
    cleanup_free char *path = container_path(id, name);

    for (;;) {
        cleanup_close int fd = -1;
        struct stat st;

        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 && errno != ENOENT)
            return err_set_errno(err, 125, errno, "open %s", path);
        if (fd < 0) {
            if (container_dir_make(id, err) < 0)
                return -1;
            continue;
        }
        while (flock(fd, operation) < 0) {
            if (errno == EWOULDBLOCK) {
                *ret_fd = -1;
                return 0;
            }
            if (errno != EINTR)
                return err_set_errno(err, 125, errno, "locking %s", path);
        }
        if (fstat(fd, &st) == 0 && st.st_nlink > 0) { /* else the container was removed while we waited */
            *ret_fd = steal_fd(&fd);
            return 0;
        }
    }
}

static int no_such(const char *word, struct err *err)
{
    err_set(err, 1, "Error response from daemon: No such container: %s", word);
    if (err)
        err->code = CONTAINER_NO_SUCH;
    return -1;
}

int container_reread(struct container *c, struct err *err)
{
    struct state_container now = {0};
    int got = state_container_find(c->app->state, c->row.id, &now, err);

    if (got < 0)
        return -1;
    if (got == 0 || strcmp(now.id, c->row.id)) {
        state_container_clear(&now);
        return no_such(c->row.id, err);
    }
    state_container_clear(&c->row);
    c->row = now;
    return 0;
}

int container_lock(struct container *c, struct err *err)
{
    struct err why = ERR_INIT;

    if (c->lock_fd < 0 && take_lock(c->row.id, "lock", LOCK_EX, &c->lock_fd, err) < 0)
        return -1;
    if (container_reread(c, &why) == 0)
        return 0;
    if (why.code == CONTAINER_NO_SUCH)
        container_dir_remove(c->row.id); /* what the lock made */
    container_unlock(c);
    return err_move(err, &why);
}

int container_lock_now(struct container *c, bool *ret_had, struct err *err)
{
    if (take_lock(c->row.id, "lock", LOCK_EX | LOCK_NB, &c->lock_fd, err) < 0)
        return -1;
    *ret_had = c->lock_fd >= 0;
    return 0;
}

void container_unlock(struct container *c)
{
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    c->lock_fd = -1;
}

bool container_watched(const struct container *c)
{
    cleanup_free char *path = container_path(c->row.id, "owner");
    cleanup_close int fd = -1;

    if (c->owner_fd >= 0)
        return true;
    fd = open(path, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* Takes `owner` as soon as it is free, within so many milliseconds. */
static int own_within(struct container *c, int64_t ms)
{
    const int64_t until = loop_now() + ms;

    while (c->owner_fd < 0) {
        if (take_lock(c->row.id, "owner", LOCK_EX | LOCK_NB, &c->owner_fd, NULL) < 0)
            return -1;
        if (c->owner_fd >= 0)
            break;
        if (loop_now() >= until)
            return -1;
        nanosleep(&(struct timespec){.tv_nsec = OWN_WAIT_NS}, NULL);
    }
    return 0;
}

int container_own(struct container *c)
{
    return own_within(c, OWN_MS);
}

int container_own_next(struct container *c)
{
    return own_within(c, OWN_NEXT_MS);
}

/* ---- found and read ---- */

int container_find(struct container *c, const char *word, struct err *err)
{
    int got;

    if (app_state(c->app, err) < 0)
        return -1;
    got = state_container_find(c->app->state, word, &c->row, err);
    if (got == 0 && container_may_recover(c->app)) {
        if (container_recover(c->app, err) < 0)
            return -1;
        got = state_container_find(c->app->state, word, &c->row, err);
    }
    if (got < 0)
        return err_wrap(err, "Error response from daemon");
    return got > 0 ? 0 : no_such(word, err);
}

int container_load(struct container *c, struct err *err)
{
    cleanup_free char *image_id = NULL;
    int64_t created_ns;

    if (c->loaded)
        return 0;
    if (!c->row.record)
        return err_set(err, 1, "the container %s was made by an older atp-docker: remove it and create it anew",
                       c->row.name);
    spec_init(&c->spec);
    if (record_decode(c->row.record, &c->spec, &c->process, &image_id, &created_ns, err) < 0) {
        spec_clear(&c->spec);
        return err_wrap(err, "the record of container %s", c->row.name);
    }
    if (c->row.recovered)
        mounts_clear(&c->spec.mounts); /* host paths that nobody here asked for */
    c->loaded = true;
    return 0;
}
