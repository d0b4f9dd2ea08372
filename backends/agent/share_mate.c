#include "backends/agent/share_mate.h"

#include "backends/agent/agent.h"
#include "backends/agent/hosts.h"
#include "backends/agent/link.h"
#include "backends/agent/share_out.h"
#include "backends/agent/share_place.h"
#include "backends/agent/share_tree.h"
#include "backends/agent/target.h"
#include "backends/agent/volume.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/beneath.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"
#include "translate/wire/share.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_MS   50
#define HUB_MS     60000 /* for a hub that is not there at the start; later it is looked for as long as we live */
#define LEAVE_MS   30000 /* for the hub's answer to LEAVE; then we save what we have */
#define ASKERS_MAX 64
#define LAST_WORDS 2000

enum phase { AWAY, ASKED, FILLING, THERE, LEFT };

/* A session that waits for its barrier. */
struct asker {
    int fd;
    uint64_t id;
    int64_t until;
};

struct mate {
    const struct mate_job *job;
    struct loop *loop;
    struct target target;
    struct hosts *hosts;
    struct link link;
    bool link_made;
    int hub; /* the socket; -1: none */
    enum phase phase;
    bool told_init, keeps_files, ready_said, ending;
    struct share_tree tree;
    struct share_place place;
    struct share_out out;
    struct loop_timer *timer; /* the next attempt; later: the next look */
    struct loop_timer *deadline;
    struct loop_io *watch_io;
    uint32_t begun; /* the scan number that what BEGIN brings is marked with */
    struct asker askers[ASKERS_MAX];
    size_t n_askers;
    uint64_t asked;
    int64_t born;
    bool over;
    int code;
    struct err err;
};

static void give_up(struct mate *m)
{
    m->over = true;
    m->code = 1;
}

static void say(struct mate *m, const struct share *s)
{
    if (!m->link_made)
        return;
    share_put(&m->link.queue, s);
    link_send(&m->link);
}

static bool is_ro(const struct mate *m)
{
    return m->job->volume->read_only;
}

static void tell_init(struct mate *m)
{
    static const char word = MATE_READY;

    if (!m->told_init)
        (void)!write(m->job->init, &word, 1);
    m->told_init = true;
    m->keeps_files = true;
}

/* ---- looking for changes ---- */

static void on_watch(struct loop *loop, int fd, short revents, void *arg)
{
    struct mate *m = arg;
    char events[4096];

    (void)loop;
    (void)revents;
    while (read(fd, events, sizeof(events)) > 0)
        ;
    loop_timer_set(m->timer, share_out_soon(&m->out));
}

static void set_active(struct mate *m, bool active)
{
    share_out_active(&m->out, active);
    loop_io_del(m->watch_io);
    m->watch_io = NULL;
    if (!active || is_ro(m)) {
        share_tree_unwatch(&m->tree);
        return;
    }
    share_tree_watch(&m->tree);
    if (m->tree.watch >= 0)
        m->watch_io = loop_io_add(m->loop, m->tree.watch, POLLIN, on_watch, m);
    loop_timer_set(m->timer, 0);
}

static void pump(struct mate *m)
{
    if (m->phase == THERE)
        share_out_pump(&m->out);
}

static void try_hub(struct mate *m);

static void on_timer(struct loop *loop, void *arg)
{
    struct mate *m = arg;

    (void)loop;
    if (m->phase == AWAY) {
        try_hub(m);
        return;
    }
    if (m->phase != THERE || !m->out.active)
        return;
    share_out_look(&m->out);
    pump(m);
    loop_timer_set(m->timer, share_out_later(&m->out));
}

/* ---- barriers of sessions ---- */

static void end_asker(struct mate *m, size_t i)
{
    (void)!write(m->askers[i].fd, "\n", 1);
    close(m->askers[i].fd);
    m->askers[i] = m->askers[--m->n_askers];
}

static void on_barrier_done(struct mate *m, uint64_t id)
{
    for (size_t i = m->n_askers; i-- > 0;)
        if (!id || m->askers[i].id == id)
            end_asker(m, i);
}

static void on_ask(struct loop *loop, int fd, short revents, void *arg)
{
    struct mate *m = arg;
    int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)loop;
    (void)revents;
    if (s < 0)
        return;
    if (m->n_askers == ASKERS_MAX)
        end_asker(m, 0); /* the oldest has waited long enough */
    m->askers[m->n_askers++] = (struct asker){s, ++m->asked, loop_now() + MATE_PATIENCE};
    if (m->phase != THERE || !m->out.active) {
        on_barrier_done(m, m->asked);
        return;
    }
    share_out_after(&m->out, SHARE_BARRIER, m->asked);
    pump(m);
}

static int listen_here(const struct mate *m)
{
    cleanup_free char *path = mate_path(m->job->options->run_dir, m->job->index, "sock");
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || strlen(path) >= sizeof(at.sun_path))
        return -1;
    memcpy(at.sun_path, path, strlen(path) + 1);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || chmod(path, 0600) < 0 || listen(fd, 16) < 0)
        return -1;
    return steal_fd(&fd);
}

/* ---- the end ---- */

static void save_and_end(struct mate *m)
{
    const struct volume_dirs dirs = {m->job->options->volumes_dir, m->job->options->run_dir};
    struct volume_report report;

    if (is_ro(m))
        m->over = true;
    else if (volume_save(&dirs, m->job->volume, &report, &m->err) < 0) {
        err_wrap(&m->err, "saving the volume at %s", m->job->volume->target);
        give_up(m);
    } else {
        say(m, &(struct share){.op = SHARE_SAVED, .number = report.generation});
        if (m->link_made)
            link_flush(&m->link, LAST_WORDS);
        m->over = true;
    }
}

static void write_role(const struct mate *m, const struct share *s)
{
    const struct mate_role role = {true, s->flags & SHARE_SAVE, s->number};

    mate_role_write(m->job->options->run_dir, m->job->volume->key, &role);
}

static void take_left(struct mate *m, const struct share *s)
{
    m->phase = LEFT;
    if (s->flags & SHARE_SAVE)
        save_and_end(m);
    else
        m->over = true;
}

/* The hub does not answer: nobody else is known to save. */
static void on_deadline(struct loop *loop, void *arg)
{
    struct mate *m = arg;

    (void)loop;
    if (m->ending) {
        mate_role_write(m->job->options->run_dir, m->job->volume->key, NULL);
        save_and_end(m);
    } else if (!m->told_init && m->phase == AWAY) {
        err_set(&m->err, 125, "the volume %s: the hub of the container's network does not answer", m->job->volume->key);
        give_up(m);
    }
}

static void on_init(struct loop *loop, int fd, short revents, void *arg)
{
    struct mate *m = arg;
    char word = 0;
    ssize_t n = read(fd, &word, 1);

    (void)loop;
    (void)revents;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        m->over = true;
        return;
    }
    m->ending = true;
    loop_timer_set(m->deadline, LEAVE_MS);
    if (m->phase == THERE) {
        share_out_after(&m->out, SHARE_LEAVE, 0);
        pump(m);
    }
}

/* ---- coming in ---- */

/* What was saved, as nobody else has newer files. */
static int restore(struct mate *m, uint64_t need)
{
    const struct volume_dirs dirs = {m->job->options->volumes_dir, m->job->options->run_dir};
    uint64_t newest = 0;

    if (volume_newest(&dirs, m->job->volume->key, /* empty_too= */ true, &newest, &m->err) < 0)
        return -1;
    if (newest < need)
        return err_set(&m->err, 125, "volume %s: " SHARE_BEHIND, m->job->volume->key);
    return volume_restore(&dirs, m->job->volume, &m->err);
}

static void take_alone(struct mate *m, const struct share *s)
{
    if (!m->keeps_files && restore(m, s->number) < 0) {
        err_wrap(&m->err, "restoring the volume at %s", m->job->volume->target);
        give_up(m);
        return;
    }
    share_tree_reset(&m->tree);
    if (is_ro(m)) /* what the others may get from us is as it is now */
        share_tree_scan(&m->tree, SHARE_SCAN_TAKE);
    set_active(m, false);
    m->phase = THERE;
    m->ready_said = true;
    say(m, &(struct share){.op = SHARE_READY});
}

static void take_begin(struct mate *m)
{
    m->phase = FILLING;
    share_place_drop(&m->place, 0);
    if (!m->keeps_files) {
        share_tree_reset(&m->tree);
        if (volume_empty(m->tree.root, &m->job->volume->closed, &m->err) < 0)
            give_up(m);
    } else if (is_ro(m)) {
        share_tree_scan(&m->tree, SHARE_SCAN_TAKE); /* what is not brought goes */
    }
    m->place.merging = m->keeps_files && !is_ro(m);
    m->begun = ++m->tree.scan;
}

/* What we knew of and nobody brought is gone. */
static void drop_rest(struct mate *m)
{
    struct strlist gone = STRLIST_INIT;

    for (size_t i = 0; i < m->tree.n_slots; i++)
        for (const struct share_node *n = m->tree.slots[i]; n; n = n->next)
            if (n->seen != m->begun && n->kind && *n->path)
                strlist_add(&gone, n->path);
    strlist_sort(&gone);
    for (size_t i = gone.len; i-- > 0;)
        share_place_take(&m->place, &(struct share){.op = SHARE_GONE, .path = gone.items[i]});
    strlist_clear(&gone);
}

static void take_complete(struct mate *m)
{
    if (m->phase != FILLING)
        return;
    drop_rest(m);
    m->place.merging = false;
    m->phase = THERE;
    set_active(m, true);
    tell_init(m);
    if (m->ending)
        share_out_after(&m->out, SHARE_LEAVE, 0);
    pump(m);
}

static int on_frame(void *arg, const struct wire_frame *f, struct err *err)
{
    struct mate *m = arg;
    cleanup_with(share_clear) struct share s = {0};

    if (f->type == WIRE_HEARTBEAT)
        return 0;
    if (f->type != WIRE_SHARE)
        return err_set(err, 125, "%s frame from the hub", wire_type_name(f->type));
    if (share_get(f, &s, err) < 0)
        return -1;
    switch (s.op) {
    case SHARE_ALONE:
        take_alone(m, &s);
        break;
    case SHARE_BEGIN:
        take_begin(m);
        break;
    case SHARE_COMPLETE:
        take_complete(m);
        break;
    case SHARE_SNAPSHOT:
        if (!m->out.active && !is_ro(m) && share_out_idle(&m->out))
            share_tree_scan(&m->tree, SHARE_SCAN_TAKE); /* otherwise some is sent twice */
        set_active(m, true);
        share_out_after(&m->out, SHARE_BEGIN, 0);
        break;
    case SHARE_FLUSH:
        share_out_after(&m->out, SHARE_FLUSHED, s.number);
        break;
    case SHARE_DONE:
        on_barrier_done(m, s.number);
        break;
    case SHARE_ECHO:
        m->place.acked = s.number;
        break;
    case SHARE_ROLE:
        write_role(m, &s);
        if (m->ready_said)
            tell_init(m);
        if (m->ending && m->phase == THERE)
            share_out_after(&m->out, SHARE_LEAVE, 0);
        break;
    case SHARE_LEFT:
        take_left(m, &s);
        break;
    case SHARE_OFF:
        set_active(m, false);
        break;
    default:
        share_place_take(&m->place, &s);
        break;
    }
    pump(m);
    return 0;
}

/* ---- the link ---- */

static void lose_hub(struct mate *m)
{
    if (m->link_made)
        link_clear(&m->link);
    if (m->hub >= 0)
        close(steal_fd(&m->hub));
    m->link_made = m->ready_said = false;
    m->phase = AWAY;
    share_place_drop(&m->place, 0);
    share_out_reset(&m->out);
    m->place.acked = 0;
    on_barrier_done(m, 0);
    set_active(m, false);
    loop_timer_set(m->timer, RETRY_MS);
}

/* Not from within the link's own call: the deadline's timer would be the next turn's; the flag is looked at there. */
static void on_closed(void *arg, const char *why)
{
    struct mate *m = arg;

    (void)why;
    if (m->phase != LEFT)
        m->phase = AWAY;
    loop_timer_set(m->timer, 0);
}

static void on_drained(void *arg)
{
    pump(arg);
}

static const struct link_events events = {.frame = on_frame, .closed = on_closed, .drained = on_drained};

static int connect_hub(struct mate *m)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)m->job->options->hub_port)};
    cleanup_close int fd = -1;

    if (!hosts_find(m->hosts, m->job->names->hub, &to.sin_addr))
        return -1;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        return -1;
    return steal_fd(&fd);
}

static void try_hub(struct mate *m)
{
    const struct volume_dirs dirs = {m->job->options->volumes_dir, m->job->options->run_dir};
    struct share join = {.op = SHARE_JOIN};

    if (m->link_made) {
        lose_hub(m);
        return;
    }
    if (m->ending) {
        loop_timer_set(m->deadline, 0);
        return;
    }
    m->hub = connect_hub(m);
    if (m->hub < 0) {
        loop_timer_set(m->timer, RETRY_MS);
        return;
    }
    if (volume_newest(&dirs, m->job->volume->key, /* empty_too= */ false, &join.number, &m->err) < 0) {
        give_up(m);
        return;
    }
    join.flags = (uint8_t)((is_ro(m) ? SHARE_RO : 0) | (m->keeps_files ? SHARE_AGAIN : 0));
    join.path = m->job->volume->key;
    join.text = m->job->names->self;
    join.link = m->job->names->token;
    link_init(&m->link, m->loop, m->hub, m->hub, &events, m);
    m->link_made = true;
    m->phase = ASKED;
    say(m, &join);
}

/* ---- life ---- */

/* Unfinished files are kept beside the agent's own where that is the same file system, so that nobody meets them. */
static int open_stage(const struct mate *m)
{
    cleanup_free char *path = xasprintf("%s/volumes", m->job->options->run_dir);
    struct stat here, there;
    int fd;

    if (fs_mkdirs(path, 0700, NULL) < 0)
        return -1;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &here) == 0 && fstat(m->tree.root, &there) == 0 && here.st_dev == there.st_dev)
        return fd;
    if (fd >= 0)
        close(fd);
    return fcntl(m->tree.root, F_DUPFD_CLOEXEC, 0);
}

static void report(const struct mate *m)
{
    cleanup_free char *path = mate_path(m->job->options->run_dir, m->job->index, "error");

    if (m->err.msg)
        fs_write_file(path, m->err.msg, strlen(m->err.msg), 0600, NULL);
}

static void live(struct mate *m, int stage, int asks)
{
    cleanup_free char *hosts = xasprintf("%s/hosts", m->job->options->etc);

    m->loop = loop_new();
    m->hosts = hosts_new(hosts);
    m->born = loop_now();
    beneath_temp_sweep_dir(stage); /* of an earlier mate */
    share_place_init(&m->place, &m->tree, stage);
    m->place.yields = is_ro(m);
    share_out_init(&m->out, &m->tree, &m->link, is_ro(m));
    m->timer = loop_timer_add(m->loop, 0, on_timer, m);
    m->deadline = loop_timer_add(m->loop, HUB_MS, on_deadline, m);
    loop_io_add(m->loop, m->job->init, POLLIN, on_init, m);
    if (asks >= 0)
        loop_io_add(m->loop, asks, POLLIN, on_ask, m);
    while (!m->over && loop_step(m->loop, -1))
        ;
    on_barrier_done(m, 0);
    if (m->link_made)
        link_clear(&m->link);
    share_out_clear(&m->out);
    share_place_clear(&m->place);
    share_tree_clear(&m->tree);
    hosts_free(m->hosts);
    loop_free(m->loop);
}

int mate_run(const struct mate_job *job)
{
    struct mate m = {
        .job = job, .hub = -1, .keeps_files = job->again, .told_init = job->again, .target = {.dirfd = -1}};
    cleanup_close int stage = -1, asks = -1, root = -1;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN); /* init's end is ours */
    signal(SIGINT, SIG_IGN);
    fcntl(job->init, F_SETFL, fcntl(job->init, F_GETFL) | O_NONBLOCK);
    mate_role_write(job->options->run_dir, job->volume->key, &(struct mate_role){.known = true});
    if (target_open(job->volume->target, /* is_file= */ false, job->options->run_dir, &m.target, &m.err) < 0) {
        report(&m);
        return 1;
    }
    root = m.target.dirfd;
    m.target.dirfd = -1;
    share_tree_init(&m.tree, root, job->volume->target, &job->volume->closed);
    stage = open_stage(&m);
    asks = listen_here(&m);
    live(&m, stage, asks);
    report(&m);
    err_clear(&m.err);
    target_clear(&m.target);
    return m.code;
}
