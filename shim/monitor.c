#include "shim/monitor.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/attach.h"
#include "shim/container.h"
#include "shim/inquiry.h"
#include "shim/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_GRACE_MS  10000 /* when its time is over; what it left is pulled within the sandbox's margin */
#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS   60000
#define LOCAL_TRIES    3   /* an engine on this machine that does not answer is dead; the next command starts another */
#define SETTLE_TRIES   12  /* about ten minutes: then the agent's orphan rule has ended the sandbox anyway */
#define LOOK_MS        200 /* between two looks whether there is still something to wait for */
#define LOCK_WAIT_MS   20
#define OWNER_FD       3 /* where the monitor finds the lock that it was born with */
#define LOG_MAX        (1 << 20)
#define FD_MAX         4096 /* where close_range() is not there */

/* ---- the process ---- */

int monitor_open_log(void)
{
    cleanup_free char *state = fs_state_dir(), *path = xasprintf("%s/monitor.log", state);
    struct stat st;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_size > LOG_MAX) && ftruncate(fd, 0) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Nothing of our caller's is held but `owner`: its pipes would not end before the container does. */
static void let_go(int owner_fd)
{
    int null = open("/dev/null", O_RDWR), log = monitor_open_log();

    for (int fd = 0; null >= 0 && fd < OWNER_FD; fd++)
        dup2(fd == STDERR_FILENO && log >= 0 ? log : null, fd);
    if (dup2(owner_fd, OWNER_FD) < 0 || fcntl(OWNER_FD, F_SETFD, 0) < 0)
        _exit(1);
    if (close_range(OWNER_FD + 1, ~0u, 0) < 0)
        for (int fd = OWNER_FD + 1; fd < FD_MAX; fd++)
            close(fd);
    setsid();
    if (chdir("/") < 0)
        _exit(1);
}

void monitor_reset_signals(void)
{
    sigset_t none;

    for (int signo = 1; signo < NSIG; signo++)
        signal(signo, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void container_watch(struct container *c)
{
    const char *argv[] = {"docker", "atp", "monitor", c->row.id, c->row.sandbox_id, NULL};
    pid_t pid;

    if (c->owner_fd < 0 && (container_watched(c) || container_own(c) < 0))
        return;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        monitor_reset_signals();
        let_go(c->owner_fd);
        if (fork() == 0)
            execv("/proc/self/exe", (char **)argv);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(c->owner_fd); /* the lock is the monitor's from now on; it was free at no moment */
    c->owner_fd = -1;
}

/* ---- its work ---- */

static void sleep_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000}, NULL);
}

/* A state folder that was deleted under us is nobody's any more: the next command finds the container by what its agent
 * says, and has a monitor of its own. */
static int reread(struct container *c, struct err *err)
{
    if (state_is_lost(c->app->state))
        return err_set(err, 1, "the state file was moved away");
    return container_reread(c, err);
}

/* Whether the row still speaks of the life that is watched: one that was started again is somebody else's to watch. */
static bool is_same_life(const struct container *c, const char *life)
{
    return container_is(c, "removing") || (c->row.sandbox_id && life && !strcmp(c->row.sandbox_id, life));
}

/* Waits, but for no longer than there is something to watch: who starts the container again waits for `owner`. */
static void wait_in_life(struct container *c, const char *life, int64_t ms)
{
    cleanup_err struct err err = ERR_INIT;

    for (; ms > 0 && reread(c, &err) == 0 && is_same_life(c, life); ms -= LOOK_MS)
        sleep_ms(ms < LOOK_MS ? ms : LOOK_MS);
}

/*
 * The lock, for this life. Who has it may be about to start the next one and wait for `owner`, so it is asked for again
 * and again. 0 = it is not had: the life is over and was seen to, or the container is gone.
 */
static int lock_life(struct container *c, const char *life, struct err *err)
{
    struct err why = ERR_INIT;
    int got = 0;
    bool had = false;

    while ((got = reread(c, &why)) == 0 && is_same_life(c, life)) {
        got = container_lock_now(c, &had, &why);
        if (got == 0 && had)
            got = container_lock(c, &why);
        if (got < 0 || had)
            break;
        sleep_ms(LOCK_WAIT_MS);
    }
    if (got == 0 && had && is_same_life(c, life))
        return 1;
    container_unlock(c);
    if (got == 0)
        return 0;
    if (why.code != CONTAINER_NO_SUCH)
        return err_move(err, &why);
    err_clear(&why);
    return 0;
}

/* Until its lifetime is over, in milliseconds; at least 1. */
static int64_t time_left(const struct container *c)
{
    int64_t gone_ms = (container_now_ns() - c->row.started_ns) / 1000000, life = sandbox_lifetime_ms(&c->spec);

    if (gone_ms < 0) /* the clock was set back */
        gone_ms = 0;
    return gone_ms < life ? life - gone_ms : 1;
}

/* Its time is over: asked to end, made to if it does not. */
static void stop_it(struct container *c, const char *life)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_STOP, .signo = SIGTERM, .grace_ms = STOP_GRACE_MS};
    int code = 0;

    container_ask(c, &ask, /* with_mounts= */ true, &code, NULL); /* one that does not answer has ended all the same */
    if (lock_life(c, life, NULL) <= 0)
        return;
    container_set_exited(&c->row, ATTACH_TIME_OVER, 0);
    free(c->row.error);
    c->row.error = xstrdup("its time is over (label modal.timeout)");
    state_container_update(c->app->state, &c->row, STATE_PART_STATUS, NULL);
    container_died(c);
    container_unlock(c);
}

/* Waits with its process. True: it has ended, or so it seems. */
static bool wait_for_end(struct container *c, const char *life)
{
    cleanup_with(inquiry_clear) struct inquiry q;
    int code = 0;

    inquiry_init(&q, c->row.sandbox_id, WIRE_ASK_ATTACH);
    q.quiet = true;
    q.alone = true;
    inquiry_run(c->app, &q, 1, time_left(c));
    if (!q.done) {
        stop_it(c, life);
        return true;
    }
    if (q.gone || q.end != SESSION_LOST)
        return true;
    return sandbox_ended(c->app, c->row.sandbox_id, &code, NULL) > 0;
}

/* A removal whose client was killed in the middle is finished; one that is under way is left alone. */
static int finish_removal(struct container *c)
{
    cleanup_err struct err err = ERR_INIT;

    container_unlock(c);
    container_remove(c, /* force= */ true, &err);
    return 0;
}

/* The end is seen to. 1 = it runs after all, -1 = to be tried again. */
static int settle(struct container *c, const char *life, struct err *err)
{
    int got = lock_life(c, life, err);

    if (got <= 0)
        return got;
    got = container_is(c, "removing") ? finish_removal(c) : container_settle(c, err);
    container_unlock(c);
    return got;
}

/* Whether there is still something to watch. */
static bool has_work(struct container *c, const char *life, struct err *err)
{
    return reread(c, err) == 0 && is_same_life(c, life);
}

/* Whether another try makes sense: a network comes back, an engine on this machine that is dead does not. */
static bool may_come_back(const struct container *c, int failures, int silences)
{
    return failures < SETTLE_TRIES && (c->app->route->backend != BACKEND_LOCAL || silences < LOCAL_TRIES);
}

static void watch_and_settle(struct container *c, const char *life, struct err *err)
{
    int64_t pause = RETRY_FIRST_MS;
    int failures = 0, silences = 0;

    while (has_work(c, life, err)) {
        cleanup_err struct err why = ERR_INIT;
        int got = -1;

        if (container_load(c, &why) < 0 || container_reach(c, &why) < 0)
            break;
        if (container_may_run(c) && !wait_for_end(c, life))
            silences++;
        else if ((got = settle(c, life, &why)) < 0)
            failures++;
        if (got == 0 || !may_come_back(c, failures, silences))
            break;
        if (got > 0) {
            pause = RETRY_FIRST_MS;
            silences = 0;
        }
        wait_in_life(c, life, pause);
        pause = pause < RETRY_MAX_MS / 2 ? 2 * pause : RETRY_MAX_MS;
    }
}

/* Whether we were born with the lock. */
static bool inherit_owner(struct container *c)
{
    cleanup_free char *path = container_path(c->row.id, "owner");
    struct stat ours, there;

    if (fstat(OWNER_FD, &ours) < 0 || stat(path, &there) < 0 || ours.st_ino != there.st_ino ||
        ours.st_dev != there.st_dev)
        return false;
    fcntl(OWNER_FD, F_SETFD, FD_CLOEXEC);
    c->owner_fd = OWNER_FD;
    return true;
}

int monitor_run(struct app *app, const char *id, const char *sandbox_id, struct err *err)
{
    cleanup_with(container_clear) struct container c;
    cleanup_free char *life = sandbox_id ? xstrdup(sandbox_id) : NULL;

    container_init(&c, app);
    if (app_state(app, err) < 0)
        return -1;
    /* not container_find(): what was removed is not to be looked for, least of all by starting an engine */
    if (state_container_find(app->state, id, &c.row, err) <= 0) {
        if (strlen(id) == CONTAINER_ID_LEN)
            container_dir_remove(id); /* what `owner` made, if it was removed just then */
        return 0;
    }
    if (!inherit_owner(&c) && container_own(&c) < 0)
        return 0; /* watched by somebody else */
    if (!life && c.row.sandbox_id)
        life = xstrdup(c.row.sandbox_id);
    watch_and_settle(&c, life, err);
    err_clear(err);
    if (container_reread(&c, err) < 0 && err->code == CONTAINER_NO_SUCH)
        container_dir_remove(c.row.id);
    return 0;
}
