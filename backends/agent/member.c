#include "backends/agent/member.h"

#include "backends/agent/agent.h"
#include "backends/agent/link.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_FIRST 50 /* ms between two attempts, doubled up to the most */
#define RETRY_MOST  2000
#define CONNECT_MAX 3000 /* ms for one attempt */

enum phase { PHASE_WAITING, PHASE_CONNECTING, PHASE_LINKED };

struct member {
    struct loop *loop;
    const struct agent_options *options;
    const struct wire_names *names;
    const struct member_events *events;
    void *arg;
    enum phase phase;
    int fd;
    struct loop_io *connect_io;
    struct link link;
    bool link_made;
    struct loop_timer *timer; /* the next attempt, its deadline, the next heartbeat */
    int64_t retry;
};

/* What is there of a connection goes; the next attempt comes after a while. */
static void try_later(struct member *m)
{
    loop_io_del(m->connect_io);
    m->connect_io = NULL;
    if (m->link_made)
        link_clear(&m->link);
    m->link_made = false;
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
    m->phase = PHASE_WAITING;
    loop_timer_set(m->timer, m->retry);
    m->retry = 2 * m->retry < RETRY_MOST ? 2 * m->retry : RETRY_MOST;
}

static int on_frame(void *arg, const struct wire_frame *f, struct err *err)
{
    struct member *m = arg;
    struct wire_table t;

    if (f->type == WIRE_HEARTBEAT)
        return 0;
    if (f->type != WIRE_TABLE)
        return err_set(err, 125, "%s frame from the hub", wire_type_name(f->type));
    if (wire_get_table(f, &t, err) < 0)
        return -1;
    m->events->table(m->arg, &t);
    return 0;
}

/* Not from within the link's own call: the timer does it. */
static void on_closed(void *arg, const char *why)
{
    struct member *m = arg;

    (void)why;
    loop_timer_set(m->timer, 0);
}

static const struct link_events link_events = {.frame = on_frame, .closed = on_closed};

static void say_join(struct member *m)
{
    m->phase = PHASE_LINKED;
    link_init(&m->link, m->loop, m->fd, m->fd, &link_events, m);
    m->link_made = true;
    wire_put_join(&m->link.queue, m->names);
    link_send(&m->link);
    loop_timer_set(m->timer, m->options->speak_every);
}

static void on_connected(struct loop *loop, int fd, short revents, void *arg)
{
    struct member *m = arg;
    int e = 0;
    socklen_t len = sizeof(e);

    (void)loop;
    (void)revents;
    loop_io_del(m->connect_io);
    m->connect_io = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0 || e)
        try_later(m);
    else
        say_join(m);
}

static void try_now(struct member *m)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)m->options->hub_port)};

    if (!m->events->find_hub(m->arg, &to.sin_addr)) {
        try_later(m);
        return;
    }
    m->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (m->fd < 0 || (connect(m->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)) {
        try_later(m);
        return;
    }
    m->phase = PHASE_CONNECTING;
    m->connect_io = loop_io_add(m->loop, m->fd, POLLOUT, on_connected, m);
    loop_timer_set(m->timer, CONNECT_MAX);
}

static void on_timer(struct loop *loop, void *arg)
{
    struct member *m = arg;

    (void)loop;
    if (m->phase == PHASE_WAITING) {
        try_now(m);
    } else if (m->phase == PHASE_CONNECTING || m->link.closed ||
               loop_now() - m->link.heard >= m->options->orphaned_after) {
        try_later(m);
    } else {
        m->retry = RETRY_FIRST; /* not before: two of one name would take turns for ever */
        wire_put(&m->link.queue, WIRE_HEARTBEAT, NULL, 0);
        link_send(&m->link);
        loop_timer_set(m->timer, m->options->speak_every);
    }
}

struct member *member_new(struct loop *loop, const struct agent_options *options, const struct wire_names *names,
                          const struct member_events *events, void *arg)
{
    struct member *m = xcalloc(1, sizeof(*m));

    *m = (struct member){
        .loop = loop, .options = options, .names = names, .events = events, .arg = arg, .fd = -1, .retry = RETRY_FIRST};
    m->timer = loop_timer_add(loop, 0, on_timer, m);
    try_now(m);
    return m;
}

void member_tell(struct member *m)
{
    if (!m || m->phase != PHASE_LINKED || m->link.closed) /* else the next JOIN has them */
        return;
    wire_put_join(&m->link.queue, m->names);
    link_send(&m->link);
}

void member_free(struct member *m)
{
    if (!m)
        return;
    try_later(m);
    loop_timer_del(m->timer);
    free(m);
}
