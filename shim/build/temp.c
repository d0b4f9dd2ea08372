#include "shim/build/temp.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/beneath.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#define NAME_DIGITS 16

volatile sig_atomic_t build_signal;
atomic_bool build_cancelled;

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
static struct sigaction before[sizeof(signals) / sizeof(signals[0])];

static void on_signal(int signo)
{
    build_signal = signo;
    atomic_store(&build_cancelled, true);
    signal(signo, SIG_DFL); /* who asks twice does not want to wait */
}

void build_signals_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

void build_signals_restore(void)
{
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &before[i], NULL);
}

int build_signalled(struct err *err)
{
    return err_set(err, 128 + (build_signal ? build_signal : SIGINT), "failed to solve: Canceled: context canceled");
}

/* ---- the folder; its maker holds a lock on it as long as it lives ---- */

/* Removes it if nobody holds it any more. */
static int sweep(void *arg, const char *name, uint8_t type)
{
    int parent = *(const int *)arg;
    cleanup_close int dir = beneath_child_list(parent, name);

    (void)type;
    if (dir >= 0 && flock(dir, LOCK_EX | LOCK_NB) == 0)
        beneath_remove_tree(parent, name);
    return 0;
}

static int make(struct build_temp *t, struct err *err)
{
    cleanup_close int list = beneath_list_open(t->parent);

    if (list < 0 || flock(list, LOCK_EX) < 0) /* nobody sweeps between the two steps of another */
        return err_set_errno(err, 1, errno, "%s", t->path);
    beneath_names(list, sweep, &t->parent);
    if (beneath_mkdir(t->parent, t->name, 0700) < 0)
        return err_set_errno(err, 1, errno, "mkdir %s/%s", t->path, t->name);
    t->dir = beneath_child_list(t->parent, t->name);
    if (t->dir < 0 || flock(t->dir, LOCK_EX | LOCK_NB) < 0)
        return err_set_errno(err, 1, errno, "%s/%s", t->path, t->name);
    return 0;
}

int build_temp_new(struct build_temp *ret, struct err *err)
{
    cleanup_free char *state = fs_state_dir();
    struct build_temp t = BUILD_TEMP_INIT;
    char name[NAME_DIGITS + 1], *parent = xasprintf("%s/build", state);

    t.path = parent;
    if (random_hex(name, NAME_DIGITS, err) < 0 || fs_mkdirs(parent, 0700, err) < 0) {
        build_temp_clear(&t);
        return -1;
    }
    t.name = xstrdup(name);
    t.parent = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t.parent < 0 ? err_set_errno(err, 1, errno, "open %s", parent) < 0 : make(&t, err) < 0) {
        build_temp_clear(&t);
        return -1;
    }
    t.path = xasprintf("%s/%s", parent, name);
    free(parent);
    *ret = t;
    return 0;
}

void build_temp_clear(struct build_temp *t)
{
    if (t->dir >= 0) {
        beneath_remove_tree(t->parent, t->name);
        close(t->dir);
    }
    if (t->parent >= 0)
        close(t->parent);
    free(t->path);
    free(t->name);
    *t = (struct build_temp)BUILD_TEMP_INIT;
}
