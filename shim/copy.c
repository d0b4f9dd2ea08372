#include "shim/copy.h"

#include "backends/tree/reader.h"
#include "backends/tree/writer.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/docker/units.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/commit.h"
#include "shim/container.h"
#include "shim/copy_host.h"
#include "shim/copy_tar.h"
#include "shim/events.h"
#include "shim/inquiry.h"
#include "shim/output.h"
#include "translate/tree/place.h"
#include "translate/tree/tree.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAEMON        "Error response from daemon: "
#define ARCHIVE_HIGH  (1u << 20)        /* archive bytes that wait for stdout: no more of the tree is looked at */
#define RAW_MAX       (2 * WIRE_WINDOW) /* tree bytes that wait: the agent sends no more than the window */
#define PROGRESS_MS   75
#define CURSOR_SAVE   "\x1b[s"
#define LINE_RESTORED "\x1b[u\x1b[2K"

/* One copy, either way. */
struct copy {
    struct app *app;
    const struct copy_request *req;
    struct session *session; /* NULL: it has not begun, or is over */
    struct err err;          /* ours; it counts before what the session says */
    struct wire_stat stat;
    bool stat_seen;
    /* from the container */
    struct tree_writer *writer;
    struct tar_out *tar;
    struct output *out;
    struct buf raw;
    bool tree_ended, tar_ended, out_closed;
    int out_fd;
    struct strlist closed; /* not looked into: mounts, when all of it is exported */
    bool whole;
    /* into it */
    struct host_source source;
    struct tar_in *tar_in;
    struct loop_io *tar_io;
    struct buf tree;
    size_t sent; /* bytes at its start */
    bool tree_read;
    /* the line on a terminal */
    bool progress;
    int64_t shown_at;
};

static void copy_clear(struct copy *c)
{
    loop_io_del(c->tar_io);
    tar_in_free(c->tar_in);
    host_source_clear(&c->source);
    tree_writer_free(c->writer);
    output_free(c->out);
    tar_out_free(c->tar);
    buf_clear(&c->raw);
    buf_clear(&c->tree);
    wire_stat_clear(&c->stat);
    strlist_clear(&c->closed);
    err_clear(&c->err);
}

static void copy_init(struct copy *c, struct app *app, const struct copy_request *req)
{
    *c = (struct copy){.app = app,
                       .req = req,
                       .source = {.dir = -1},
                       .out_fd = STDOUT_FILENO,
                       .raw = BUF_INIT(RAW_MAX),
                       .tree = BUF_INIT(2 * TREE_READER_ROOM),
                       .progress = !req->quiet && isatty(STDERR_FILENO)};
}

/* The copy fails on this side, with c->err: the session ends here and now. */
static void give_up(struct copy *c)
{
    struct session *s = c->session;

    c->session = NULL;
    if (s)
        session_lost(s, c->err.msg ? c->err.msg : "nobody reads the archive");
}

/* ---- what a person sees ---- */

static void show_begin(const struct copy *c)
{
    if (c->progress)
        fputs(CURSOR_SAVE "Preparing to copy...", stderr);
}

static void show_size(struct copy *c, const char *what, uint64_t size)
{
    cleanup_free char *text = NULL;

    if (!c->progress || loop_now() - c->shown_at < PROGRESS_MS)
        return;
    c->shown_at = loop_now();
    text = units_size_digits((double)size, 3);
    fprintf(stderr, LINE_RESTORED "%s - %s", what, text);
}

static void show_end(const struct copy *c, bool done, uint64_t size, const char *to)
{
    cleanup_free char *text = units_size_digits((double)size, 3);

    if (c->progress)
        fputs(LINE_RESTORED, stderr);
    if (!c->req->quiet && done)
        fprintf(stderr, "Successfully copied %s to %s\n", text, to);
}

/* ---- the container ---- */

struct open_container {
    struct container c;
    bool woken;
    bool changed; /* something may have been laid out in it */
};

/* What it was asked to be is needed too: its mounts and its user. */
static int container_ready(struct open_container *o, const char *word, struct err *err)
{
    if (container_find(&o->c, word, err) < 0 || container_refresh(&o->c, err) < 0 || container_load(&o->c, err) < 0)
        return -1;
    if (container_may_run(&o->c)) {
        cleanup_err struct err why = ERR_INIT;

        if (container_open(&o->c, &why) == 0)
            return 0;
        if (why.code != CONTAINER_NOT_RUNNING)
            return err_move(err, &why);
    }
    if (container_wake(&o->c, err) < 0)
        return -1;
    o->woken = true;
    return 0;
}

/* Docker's sentence for what is not there; DAEMON in front. */
static int say_missing(const struct copy *c, struct err *err)
{
    return err_set(err, 1, DAEMON "Could not find the file %s in container %s", c->stat.path, c->req->container);
}

/* What came out of it, in the order of what counts most. */
static int judge(struct copy *c, int status, struct err *why, struct err *err)
{
    static const char must_be[] = "must be a directory";

    if (c->err.msg) {
        err_clear(why);
        return err_move(err, &c->err);
    }
    if (status == 0)
        return c->stat_seen && !c->stat.exists ? say_missing(c, err) : 0;
    if (why->msg && !strncmp(why->msg, must_be, sizeof(must_be) - 1)) {
        err_set(err, 1, "destination \"%s:%s\" %s", c->req->container, c->req->dest, why->msg);
        err_clear(why);
        return -1;
    }
    err_move(err, why);
    if (err)
        err->exit_code = 1;
    return -1;
}

/* Asks, with the tree going or coming. */
static int exchange(struct copy *c, struct open_container *o, const struct wire_ask *ask,
                    const struct inquiry_tree *tree, struct err *err)
{
    struct err why = ERR_INIT;
    int code = 0;

    o->changed = ask->kind == WIRE_ASK_WRITE;
    return judge(c, container_copy(&o->c, ask, tree, c, /* with_mounts= */ !c->whole, &code, &why), &why, err);
}

/* Lets it sleep again if it did before, with what was changed. Returns the copy's status, or what went wrong here. */
static int container_rest(struct open_container *o, int status, struct err *err)
{
    cleanup_err struct err why = ERR_INIT;

    if (o->woken && container_sleep(&o->c, o->changed, &why) < 0 && status == 0)
        status = err_move(err, &why);
    container_clear(&o->c);
    return status;
}

static void on_begun(void *arg, struct session *s)
{
    ((struct copy *)arg)->session = s;
}

static void on_over(void *arg)
{
    ((struct copy *)arg)->session = NULL;
}

static void on_stat(void *arg, const struct wire_frame *frame)
{
    struct copy *c = arg;

    wire_stat_clear(&c->stat);
    c->stat_seen = wire_get_stat(frame, &c->stat, &c->err) == 0;
    if (!c->stat_seen)
        give_up(c);
}

/* ---- from the container ---- */

/* Hands stdout as much of the archive as it takes. */
static void write_archive(struct copy *c)
{
    struct buf *b = tar_out_bytes(c->tar);

    while (b->len) {
        size_t n = output_write(c->out, b->data, b->len);

        if (!n)
            return;
        buf_consume(b, n);
    }
}

/* Turns what waits of the tree into archive, as long as stdout keeps up. */
static void pump_archive(struct copy *c)
{
    for (;;) {
        size_t n = c->raw.len < TREE_CHUNK ? c->raw.len : TREE_CHUNK;

        write_archive(c);
        if (!n || c->err.msg || c->out_closed || tar_out_bytes(c->tar)->len >= ARCHIVE_HIGH)
            break;
        if (tar_out_feed(c->tar, c->raw.data, n, &c->err) < 0)
            give_up(c);
        buf_consume(&c->raw, n);
        if (c->session)
            session_tree_taken(c->session, n);
    }
    if (c->err.msg || c->out_closed || !c->tree_ended || c->raw.len || c->tar_ended)
        return;
    c->tar_ended = true;
    if (tar_out_finish(c->tar, &c->err) == 0)
        write_archive(c);
}

static void on_out_ready(void *arg)
{
    pump_archive(arg);
}

static void on_out_closed(void *arg)
{
    struct copy *c = arg;

    c->out_closed = true;
    give_up(c);
}

/* The name of a link that was followed is not kept in an archive: docker gives the target's. */
static int begin_archive(struct copy *c)
{
    cleanup_free char *target = NULL;

    if (c->tar)
        return 0;
    if (c->req->follow && c->stat.followed && !place_asserts_dir(c->req->source))
        target = place_base(c->stat.path);
    c->tar = tar_out_new(target, &c->err);
    if (!c->tar)
        return -1;
    if (c->whole)
        tar_out_whole(c->tar, &c->closed);
    c->out = output_new(c->app->loop, c->out_fd, on_out_ready, on_out_closed, c);
    return 0;
}

static void on_archive_bytes(void *arg, const void *bytes, size_t len)
{
    struct copy *c = arg;

    if (c->err.msg || c->out_closed)
        return;
    if (begin_archive(c) < 0 || buf_add(&c->raw, bytes, len) < 0) {
        if (!c->err.msg)
            err_set(&c->err, 1, "the container sent more than was asked for");
        give_up(c);
        return;
    }
    pump_archive(c);
}

static void on_tree_bytes(void *arg, const void *bytes, size_t len)
{
    struct copy *c = arg;

    if (c->err.msg)
        return;
    if (tree_writer_feed(c->writer, bytes, len, &c->err) < 0) {
        give_up(c);
        return;
    }
    show_size(c, "Copying from container", tree_writer_tar_size(c->writer));
    session_tree_taken(c->session, len);
}

static void on_tree_end(void *arg)
{
    struct copy *c = arg;

    c->tree_ended = true;
    if (c->err.msg)
        return;
    if (c->tar)
        pump_archive(c);
    else if (c->writer && tree_writer_finish(c->writer, &c->err) < 0)
        give_up(c);
}

/* stdout may still be slow when the container has said everything. */
static void drain_archive(struct copy *c)
{
    while (c->tar && !c->err.msg && !c->out_closed && (!c->tar_ended || tar_out_bytes(c->tar)->len)) {
        pump_archive(c);
        if (tar_out_bytes(c->tar)->len && !loop_step(c->app->loop, -1))
            return;
    }
}

static const struct inquiry_tree into_files = {
    .begun = on_begun, .over = on_over, .bytes = on_tree_bytes, .end = on_tree_end, .stat = on_stat};
static const struct inquiry_tree into_archive = {
    .begun = on_begun, .over = on_over, .bytes = on_archive_bytes, .end = on_tree_end, .stat = on_stat};

/* The tree is asked for and goes where it belongs; path is NULL for stdout. */
static int fetch(struct copy *c, struct open_container *o, char *path, struct err *err)
{
    struct wire_ask ask = {.kind = WIRE_ASK_READ,
                           .flags = (uint8_t)((c->req->follow ? WIRE_ASK_FOLLOW : 0) | (path ? 0 : WIRE_ASK_DENSE)),
                           .text = (char *)c->req->source};
    int status;

    if (path)
        c->writer = tree_writer_new(host_place, path);
    show_begin(c);
    status = exchange(c, o, &ask, path ? &into_files : &into_archive, err);
    drain_archive(c);
    if (status == 0 && c->err.msg)
        status = err_move(err, &c->err);
    if (status == 0 && !c->tree_ended)
        status = err_set(err, 1, "the container sent no tree");
    if (path)
        show_end(c, status == 0, tree_writer_tar_size(c->writer), path);
    return status;
}

int copy_from_container(struct app *app, const struct copy_request *req, struct err *err)
{
    cleanup_with(copy_clear) struct copy c;
    bool archive = !strcmp(req->dest, "-");
    cleanup_free char *path = NULL;
    struct open_container o = {.woken = false};
    int status = -1;

    copy_init(&c, app, req);
    if (!archive) {
        if (app_input(app, err) < 0 || input_check_path(&app->input, req->dest, err) < 0)
            return -1;
        path = host_path(app->cwd, req->dest);
        if (host_check_dest(path, err) < 0)
            return -1;
    }
    container_init(&o.c, app);
    if (container_ready(&o, req->container, err) == 0)
        status = fetch(&c, &o, path, err);
    if (status == 0)
        event_container(&o.c, "archive-path", NULL);
    status = container_rest(&o, status, err);
    if (c.out_closed && status < 0) { /* as if the signal had ended us: nobody is told */
        err_clear(err);
        return 128 + SIGPIPE;
    }
    return status;
}

/* ---- all of it ---- */

/* What docker mounts over a container's own files, and what the user does. */
static void close_mounts(struct copy *c, const struct container *container)
{
    static const char *const files[] = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"};

    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        strlist_add(&c->closed, files[i]);
    commit_closed(container, &c->closed);
}

int copy_export(struct app *app, const char *container, int fd, struct err *err)
{
    const struct copy_request req = {.container = container, .source = "/", .dest = "-", .quiet = true};
    cleanup_with(copy_clear) struct copy c;
    struct open_container o = {.woken = false};
    int status = -1;

    copy_init(&c, app, &req);
    c.out_fd = fd;
    c.whole = true;
    container_init(&o.c, app);
    if (container_ready(&o, container, err) == 0) {
        close_mounts(&c, &o.c);
        status = fetch(&c, &o, NULL, err);
    }
    if (status == 0)
        event_container(&o.c, "export", NULL);
    status = container_rest(&o, status, err);
    if (c.out_closed && status < 0)
        err_set(err, 1, "the archive could not be written to its end: its reader has gone, or there is no room");
    return status;
}

/* ---- into the container ---- */

static void on_archive_in(struct loop *loop, int fd, short revents, void *arg);

/* Fills c->tree: 1 = there is something, 0 = the end, -1 = err, 2 = later. */
static int refill(struct copy *c)
{
    char *room;
    ssize_t n;
    int more;

    buf_reset(&c->tree);
    c->sent = 0;
    if (!c->tar_in) {
        more = c->tree_read ? 0 : tree_reader_next(c->source.reader, &c->tree, &c->err);
        c->tree_read = more == 0;
        return more < 0 ? -1 : c->tree.len > 0;
    }
    room = buf_reserve(&c->tree, TREE_CHUNK);
    n = read(tar_in_fd(c->tar_in), room, TREE_CHUNK);
    if (n > 0) {
        buf_advance(&c->tree, (size_t)n);
        return 1;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (!c->tar_io)
            c->tar_io = loop_io_add(c->app->loop, tar_in_fd(c->tar_in), POLLIN, on_archive_in, c);
        loop_io_set(c->tar_io, POLLIN);
        return 2;
    }
    if (tar_in_result(c->tar_in, &c->err) == 0)
        return 0;
    err_wrap(&c->err, "Error response from daemon");
    return -1;
}

/* Sends while the container takes it. */
static void push(void *arg)
{
    struct copy *c = arg;

    while (c->session) {
        size_t left = c->tree.len - c->sent;
        int got;

        if (left) {
            size_t n = session_tree(c->session, c->tree.data + c->sent, left);

            c->sent += n;
            if (n < left)
                return; /* until it is ready again */
            continue;
        }
        if (c->source.reader)
            show_size(c, "Copying to container", tree_reader_tar_size(c->source.reader));
        got = refill(c);
        if (got == 2)
            return;
        if (got < 0) {
            give_up(c);
            return;
        }
        if (got == 0) {
            session_tree_end(c->session);
            return;
        }
    }
}

static void on_archive_in(struct loop *loop, int fd, short revents, void *arg)
{
    struct copy *c = arg;

    (void)loop;
    (void)fd;
    (void)revents;
    loop_io_set(c->tar_io, 0);
    push(c);
}

static const struct inquiry_tree out_of_host = {.begun = on_begun, .over = on_over, .stat = on_stat, .ready = push};

/* Docker looks at the mount that the path is written in, not at where its links lead. */
static int check_read_only(const struct container *c, const char *dest, struct err *err)
{
    cleanup_free char *path = path_absolute("/", dest);

    for (size_t i = c->spec.mounts.len; i-- > 0;) { /* parents first: the innermost decides */
        const struct mount *m = &c->spec.mounts.items[i];

        if (!path_within(path, m->target))
            continue;
        if (m->type == MOUNT_VOLUME && c->woken)
            return err_set(err, 1,
                           "docker cp into the volume at %s of a container that is not running is not carried out: its "
                           "files are in the volume; start the container, or copy through another one with the volume",
                           m->target);
        return m->readonly ? err_set(err, 1, DAEMON "mounted volume is marked read-only") : 0;
    }
    return 0;
}

static int send(struct copy *c, struct open_container *o, struct err *err)
{
    struct wire_ask ask = {.kind = WIRE_ASK_WRITE, .flags = c->req->archive ? WIRE_ASK_ARCHIVE : 0};
    cleanup_free char *text = NULL, *to = xasprintf("%s:%s", c->req->container, c->req->dest);
    const char *user = o->c.process.user ? o->c.process.user : "";
    int status;

    if (check_read_only(&o->c, c->req->dest, err) < 0)
        return -1;
    if (c->req->archive && strchr(user, '/'))
        return err_set(err, 1, "docker cp -a to a container whose user is called %s is not carried out", user);
    ask.text = text = c->req->archive ? xasprintf("%s/%s", user, c->req->dest) : xstrdup(c->req->dest);
    show_begin(c);
    status = exchange(c, o, &ask, &out_of_host, err);
    if (!c->tar_in)
        show_end(c, status == 0, tree_reader_tar_size(c->source.reader), to);
    return status;
}

/* A container that is not there is, for an archive, a destination that is no directory. */
static int no_container(const struct copy_request *req, bool archive, struct err *err)
{
    if (archive && err->code == CONTAINER_NO_SUCH)
        err_set(err, 1, "destination \"%s:%s\" must be a directory", req->container, req->dest);
    return -1;
}

int copy_to_container(struct app *app, const struct copy_request *req, struct err *err)
{
    cleanup_with(copy_clear) struct copy c;
    bool archive = !strcmp(req->source, "-");
    struct open_container o = {.woken = false};
    int status = -1;

    copy_init(&c, app, req);
    if (!archive) {
        cleanup_free char *path = NULL;

        if (app_input(app, err) < 0 || input_check_path(&app->input, req->source, err) < 0)
            return -1;
        path = host_path(app->cwd, req->source);
        if (host_source_open(path, req->follow, &c.source, err) < 0)
            return -1;
    }
    container_init(&o.c, app);
    if (container_ready(&o, req->container, err) < 0)
        no_container(req, archive, err);
    else if (!archive || (c.tar_in = tar_in_start(STDIN_FILENO, req->dest, err)))
        status = send(&c, &o, err);
    if (status == 0)
        event_container(&o.c, "extract-to-dir", NULL);
    return container_rest(&o, status, err);
}
