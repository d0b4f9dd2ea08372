#include "backends/agent/share_barrier.h"

#include "backends/agent/agent.h"
#include "backends/agent/share_mate.h"
#include "backends/agent/volume_keeper.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/loop.h"
#include "translate/wire/volume.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct wait {
    struct share_barrier *barrier;
    int fd; /* -1: it is over */
    struct loop_io *io;
};

struct share_barrier {
    struct wait *waits;
    size_t len, left;
    struct loop_timer *timer;
    void (*done)(void *arg);
    void *arg;
};

/* A mate that is not there says nothing. */
static int connect_mate(const char *run_dir, size_t index)
{
    cleanup_free char *path = mate_path(run_dir, index, "sock");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || strlen(path) >= sizeof(to.sun_path))
        return -1;
    memcpy(to.sun_path, path, strlen(path) + 1);
    return connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : steal_fd(&fd);
}

static void end_wait(struct wait *w)
{
    loop_io_del(w->io);
    w->io = NULL;
    if (w->fd >= 0)
        close(steal_fd(&w->fd));
}

static void on_word(struct loop *loop, int fd, short revents, void *arg)
{
    struct wait *w = arg;
    struct share_barrier *b = w->barrier;

    (void)loop;
    (void)fd;
    (void)revents;
    end_wait(w);
    if (--b->left == 0) {
        loop_timer_stop(b->timer);
        b->done(b->arg);
    }
}

static void on_time(struct loop *loop, void *arg)
{
    struct share_barrier *b = arg;

    (void)loop;
    for (size_t i = 0; i < b->len; i++)
        end_wait(&b->waits[i]);
    b->done(b->arg);
}

struct share_barrier *share_barrier_new(struct loop *loop, const struct agent_options *options, void (*done)(void *arg),
                                        void *arg)
{
    cleanup_with(wire_volumes_clear) struct wire_volumes list = {0};
    struct share_barrier *b;

    if (keeper_list(options->run_dir, &list, NULL) < 0 || !list.len)
        return NULL;
    b = xcalloc(1, sizeof(*b));
    *b = (struct share_barrier){.waits = xcalloc(list.len, sizeof(struct wait)), .done = done, .arg = arg};
    for (size_t i = 0; i < list.len; i++) {
        struct wait *w = &b->waits[b->len];
        int fd = list.items[i].scratch ? -1 : connect_mate(options->run_dir, i);

        if (fd < 0)
            continue;
        *w = (struct wait){b, fd, loop_io_add(loop, fd, POLLIN, on_word, w)};
        b->len++;
    }
    if (!b->len) {
        share_barrier_free(b);
        return NULL;
    }
    b->left = b->len;
    b->timer = loop_timer_add(loop, MATE_PATIENCE, on_time, b);
    return b;
}

void share_barrier_free(struct share_barrier *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->len; i++)
        end_wait(&b->waits[i]);
    loop_timer_del(b->timer);
    free(b->waits);
    free(b);
}
