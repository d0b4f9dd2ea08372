/*
 * A host folder and two containers that share it: real agents, and the client's halves of their commands, whose frames
 * a test hands over one by one.
 */
#ifndef ATP_TEST_AGENT_SHARED_H
#define ATP_TEST_AGENT_SHARED_H

#include "tests/unit/agent_rig.h"

#include "translate/wire/wire.h"

#include <dirent.h>

#define COMMANDS 24

/* ---- a host folder and its containers ---- */

struct box { /* one container */
    struct rig rig;
    char *target, *state;
    int state_fd;
};

struct place {
    struct loop *loop;
    char *host, *keep;
    int host_fd, keep_fd;
    struct box box[2];
    struct cmd *cmds[COMMANDS];
    size_t n_cmds;
};

static inline int open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static inline void box_init(struct box *b)
{
    rig_start(&b->rig, "--linger", "300", NULL);
    b->target = xasprintf("%s/in/work", b->rig.dir);
    b->state = xasprintf("%s/state", b->rig.dir);
    assert_int_equal(mkdir(b->state, 0700), 0);
    b->state_fd = open_dir(b->state);
}

static inline void place_init(struct place *p)
{
    *p = (struct place){.loop = loop_new()};
    for (int i = 0; i < 2; i++)
        box_init(&p->box[i]);
    p->host = xasprintf("%s/host", p->box[0].rig.dir);
    p->keep = xasprintf("%s/keep", p->box[0].rig.dir);
    sh("mkdir %s %s", p->host, p->keep);
    p->host_fd = open_dir(p->host);
    p->keep_fd = open_dir(p->keep);
}

static inline void place_clear(struct place *p)
{
    assert_int_equal(p->n_cmds, 0);
    close(p->host_fd);
    close(p->keep_fd);
    for (int i = 1; i >= 0; i--) {
        close(p->box[i].state_fd);
        rig_stop(&p->box[i].rig);
        free(p->box[i].target);
        free(p->box[i].state);
    }
    free(p->host);
    free(p->keep);
    loop_free(p->loop);
}

/* ---- one command ---- */

struct cmd {
    struct place *place;
    struct box *box;
    struct session *session;
    pid_t agent;
    int to, from;
    struct loop_io *io;
    struct buf in, out; /* frames that are not delivered yet: to the client, to the agent */
    bool held;          /* nothing is delivered but by hand */
    bool hold_type[WIRE_TYPE_MAX];
    unsigned seen_in[WIRE_TYPE_MAX], seen_out[WIRE_TYPE_MAX]; /* delivered */
    size_t bytes_out;
    struct buf notes, got;
    bool started, done, gone;
    struct session_result result;
    char *error;
    struct strlist argv, env;
    unsigned number; /* in the walk */
};

static inline void on_out(void *arg, const void *bytes, size_t len)
{
    assert_int_equal(buf_add(&((struct cmd *)arg)->out, bytes, len), 0);
}

static inline size_t on_out_pending(void *arg)
{
    return ((struct cmd *)arg)->out.len;
}

static inline size_t on_output(void *arg, int stream, const void *bytes, size_t len)
{
    (void)stream;
    buf_add(&((struct cmd *)arg)->got, bytes, len);
    return len;
}

static inline void on_started(void *arg)
{
    ((struct cmd *)arg)->started = true;
}

static inline void on_note(void *arg, const char *line)
{
    buf_addf(&((struct cmd *)arg)->notes, "%s\n", line);
}

static inline void on_done(void *arg, const struct session_result *result)
{
    struct cmd *c = arg;

    assert_false(c->done);
    c->done = true;
    c->result = *result;
    c->error = xstrdup(result->err.msg);
}

static const struct session_callbacks callbacks = {.out = on_out,
                                                   .out_pending = on_out_pending,
                                                   .output = on_output,
                                                   .started = on_started,
                                                   .note = on_note,
                                                   .done = on_done};

static inline void on_readable(struct loop *loop, int fd, short revents, void *arg)
{
    struct cmd *c = arg;
    static char bytes[65536];
    ssize_t n = read(fd, bytes, sizeof(bytes));

    (void)loop;
    (void)revents;
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        c->gone = true;
        loop_io_set(c->io, 0);
        return;
    }
    assert_int_equal(buf_add(&c->in, bytes, (size_t)n), 0);
}

/* Length and type of the frame at the head; 0 if there is no whole one. */
static inline size_t head(const struct buf *b, uint8_t *ret_type)
{
    const uint8_t *p = (const uint8_t *)b->data;
    size_t len;

    if (b->len < WIRE_HEADER)
        return 0;
    len = WIRE_HEADER + (p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16 | (size_t)p[4] << 24);
    *ret_type = p[0];
    return b->len >= len ? len : 0;
}

static inline bool may(const struct cmd *c, uint8_t type)
{
    return !c->hold_type[type];
}

/* Delivers one frame to the client; 0 if there is none, else its type. */
static inline uint8_t deliver_in(struct cmd *c)
{
    uint8_t type = 0;
    size_t len = head(&c->in, &type);

    if (!len || !may(c, type))
        return 0;
    c->seen_in[type]++;
    session_feed(c->session, c->in.data, len);
    buf_consume(&c->in, len);
    return type;
}

static inline uint8_t deliver_out(struct cmd *c)
{
    uint8_t type = 0;
    size_t len = head(&c->out, &type), at = 0;

    if (!len || !may(c, type))
        return 0;
    c->seen_out[type]++;
    c->bytes_out += len;
    while (at < len) {
        ssize_t n = write(c->to, c->out.data + at, len - at);

        if (n < 0 && errno == EAGAIN)
            loop_step(c->place->loop, 5); /* its answers may have to be read first */
        else if (n < 0)
            break; /* killed */
        else
            at += (size_t)n;
    }
    buf_consume(&c->out, len);
    session_writable(c->session);
    return type;
}

/* Delivers what may be, for all commands that are not held, and turns the loop once. */
static inline void turn(struct place *p)
{
    bool moved = false;

    for (size_t i = 0; i < p->n_cmds; i++) {
        struct cmd *c = p->cmds[i];

        if (c->held)
            continue;
        while (deliver_out(c))
            moved = true;
        while (!c->done && deliver_in(c))
            moved = true;
        if (c->gone && !c->in.len && !c->done)
            session_lost(c->session, "the agent's session has ended");
    }
    loop_step(p->loop, moved ? 0 : 2);
}

static inline struct cmd *cmd_begin(struct place *p, int box, const char *script)
{
    struct cmd *c = xcalloc(1, sizeof(*c));
    struct session_start start = {.argv = &c->argv, .env = &c->env, .cwd = p->box[box].target};
    struct session_mount m = {.host = {.dirfd = p->host_fd},
                              .label = p->host,
                              .target = p->box[box].target,
                              .keep_dirfd = p->keep_fd,
                              .state_dirfd = p->box[box].state_fd,
                              .state_name = "mount-0"};
    int in[2], out[2];

    c->place = p;
    c->box = &p->box[box];
    buf_init(&c->in, 64u << 20);
    buf_init(&c->out, 64u << 20);
    buf_init(&c->notes, 1u << 20);
    buf_init(&c->got, 1u << 20);
    strlist_add(&c->argv, "sh");
    strlist_add(&c->argv, "-c");
    strlist_add(&c->argv, script);
    strlist_add(&c->env, RIG_PATH);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    c->agent = rig_spawn(&c->box->rig, "session", in[0], out[1]);
    close(in[0]);
    close(out[1]);
    c->to = in[1];
    c->from = out[0];
    fcntl(c->to, F_SETFL, O_NONBLOCK);
    fcntl(c->from, F_SETFL, O_NONBLOCK);
    c->io = loop_io_add(p->loop, c->from, POLLIN, on_readable, c);
    c->session = session_new(p->loop, &start, &m, 1, &callbacks, c);
    assert_true(p->n_cmds < COMMANDS);
    p->cmds[p->n_cmds++] = c;
    return c;
}

/* Turns until the condition holds. */
#define UNTIL(p, condition)                                                                                            \
    do {                                                                                                               \
        int64_t until_ = loop_now() + RIG_DEADLINE;                                                                    \
                                                                                                                       \
        while (!(condition)) {                                                                                         \
            if (loop_now() > until_)                                                                                   \
                fail_msg("line %d: never: %s", __LINE__, #condition);                                                  \
            turn(p);                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline bool waits(const struct buf *b, uint8_t type)
{
    uint8_t t = 0;

    return head(b, &t) && t == type;
}

static inline void cmd_free(struct cmd *c)
{
    struct place *p = c->place;

    session_free(c->session);
    loop_io_del(c->io);
    close(c->to);
    close(c->from);
    if (rig_wait(c->agent, RIG_DEADLINE) < 0)
        fail_msg("the agent's session does not end");
    for (size_t i = 0; i < p->n_cmds; i++)
        if (p->cmds[i] == c)
            p->cmds[i--] = p->cmds[--p->n_cmds];
    buf_clear(&c->in);
    buf_clear(&c->out);
    buf_clear(&c->notes);
    buf_clear(&c->got);
    strlist_clear(&c->argv);
    strlist_clear(&c->env);
    free(c->error);
    free(c);
}

/* To its end, with its last words; must be well. */
static inline void cmd_end(struct cmd *c)
{
    c->held = false;
    memset(c->hold_type, 0, sizeof(c->hold_type));
    UNTIL(c->place, c->done && !c->out.len);
    if (c->error)
        fail_msg("%s", c->error);
    if (c->result.code)
        fail_msg("%s: %d: %s", c->argv.items[2], c->result.code, c->got.data);
    cmd_free(c);
}

static inline void run(struct place *p, int box, const char *script)
{
    struct cmd *c = cmd_begin(p, box, script);

    UNTIL(p, c->done && !c->out.len);
    assert_string_equal(c->notes.data, "");
    cmd_end(c);
}

static inline bool same_trees(const struct place *p)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("diff", "diff", "-rq", p->host, p->box[0].target, (char *)NULL);
        _exit(99);
    }
    return rig_wait(pid, RIG_DEADLINE) == 0;
}

/* Both sides hold the same, names and contents, and nothing unfinished. */
static inline void assert_agree(struct place *p, int box)
{
    sh("cd %s; test -z \"$(find . -name '.atp*')\"; test -z \"$(find %s -name '.atp*')\"; diff -r . %s", p->host,
       p->box[box].target, p->box[box].target);
}

static inline void assert_no_conflicts(struct place *p)
{
    sh("test -z \"$(find %s -path '*conflicts*' -type f)\"", p->keep);
}

#endif
