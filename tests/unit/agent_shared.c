/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
/*
 * One mount, several commands: real sessions on both sides over pipes, in one process and on one loop, so that a test
 * decides which frame is delivered next. Two containers are two agents with a run directory and a target each.
 */
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

static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void sh(const char *fmt, ...)
{
    cleanup_free char *script = NULL;
    va_list ap;
    pid_t pid;

    va_start(ap, fmt);
    script = xvasprintf(fmt, ap);
    va_end(ap);
    pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-ec", script, (char *)NULL);
        _exit(99);
    }
    if (rig_wait(pid, RIG_DEADLINE) != 0)
        fail_msg("failed: %s", script);
}

static int open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void box_init(struct box *b)
{
    rig_start(&b->rig, "--linger", "300", NULL);
    b->target = xasprintf("%s/in/work", b->rig.dir);
    b->state = xasprintf("%s/state", b->rig.dir);
    assert_int_equal(mkdir(b->state, 0700), 0);
    b->state_fd = open_dir(b->state);
}

static void place_init(struct place *p)
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

static void place_clear(struct place *p)
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

static void on_out(void *arg, const void *bytes, size_t len)
{
    assert_int_equal(buf_add(&((struct cmd *)arg)->out, bytes, len), 0);
}

static size_t on_out_pending(void *arg)
{
    return ((struct cmd *)arg)->out.len;
}

static size_t on_output(void *arg, int stream, const void *bytes, size_t len)
{
    (void)stream;
    buf_add(&((struct cmd *)arg)->got, bytes, len);
    return len;
}

static void on_started(void *arg)
{
    ((struct cmd *)arg)->started = true;
}

static void on_note(void *arg, const char *line)
{
    buf_addf(&((struct cmd *)arg)->notes, "%s\n", line);
}

static void on_done(void *arg, const struct session_result *result)
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

static void on_readable(struct loop *loop, int fd, short revents, void *arg)
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
static size_t head(const struct buf *b, uint8_t *ret_type)
{
    const uint8_t *p = (const uint8_t *)b->data;
    size_t len;

    if (b->len < WIRE_HEADER)
        return 0;
    len = WIRE_HEADER + (p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16 | (size_t)p[4] << 24);
    *ret_type = p[0];
    return b->len >= len ? len : 0;
}

static bool may(const struct cmd *c, uint8_t type)
{
    return !c->hold_type[type];
}

/* Delivers one frame to the client; 0 if there is none, else its type. */
static uint8_t deliver_in(struct cmd *c)
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

static uint8_t deliver_out(struct cmd *c)
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
static void turn(struct place *p)
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

static struct cmd *cmd_begin(struct place *p, int box, const char *script)
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

static bool waits(const struct buf *b, uint8_t type)
{
    uint8_t t = 0;

    return head(b, &t) && t == type;
}

static void cmd_free(struct cmd *c)
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
static void cmd_end(struct cmd *c)
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

static void run(struct place *p, int box, const char *script)
{
    struct cmd *c = cmd_begin(p, box, script);

    UNTIL(p, c->done && !c->out.len);
    assert_string_equal(c->notes.data, "");
    cmd_end(c);
}

static bool same_trees(const struct place *p)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("diff", "diff", "-rq", p->host, p->box[0].target, (char *)NULL);
        _exit(99);
    }
    return rig_wait(pid, RIG_DEADLINE) == 0;
}

/* Both sides hold the same, names and contents, and nothing unfinished. */
static void assert_agree(struct place *p, int box)
{
    sh("cd %s; test -z \"$(find . -name '.atp*')\"; test -z \"$(find %s -name '.atp*')\"; diff -r . %s", p->host,
       p->box[box].target, p->box[box].target);
}

static void assert_no_conflicts(struct place *p)
{
    sh("test -z \"$(find %s -path '*conflicts*' -type f)\"", p->keep);
}

/* ---- two commands at once ---- */

/* Both offer from the same state: the second is asked again, and nothing is lost or said twice. */
static void test_two_ends(void **state)
{
    struct place p;
    struct cmd *a, *b;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > one; echo 2 > two; echo x > gone", p.host);
    run(&p, 0, "true");
    a = cmd_begin(&p, 0, "echo a > a; echo more >> one; rm gone");
    b = cmd_begin(&p, 0, "while test -e gone; do sleep 0.01; done; echo b > b; echo more >> two");
    a->hold_type[WIRE_OFFER] = b->hold_type[WIRE_OFFER] = true;
    UNTIL(&p, waits(&a->in, WIRE_OFFER) && waits(&b->in, WIRE_OFFER));
    assert_int_equal(a->seen_out[WIRE_MOUNT] + b->seen_out[WIRE_MOUNT], 2);
    assert_int_equal(a->seen_in[WIRE_STALE] + b->seen_in[WIRE_STALE], 0);
    a->hold_type[WIRE_OFFER] = false;
    UNTIL(&p, a->done);
    b->hold_type[WIRE_OFFER] = false;
    UNTIL(&p, b->done);
    assert_int_equal(a->seen_out[WIRE_PULL], 0);
    assert_int_equal(b->seen_out[WIRE_PULL], 1);
    assert_string_equal(a->notes.data, "");
    assert_string_equal(b->notes.data, "");
    cmd_end(a);
    cmd_end(b);
    sh("cd %s; test $(cat a) = a; test $(cat b) = b; test $(grep -c more one two | grep -c :1) = 2; ! test -e gone",
       p.host);
    a = cmd_begin(&p, 0, "true"); /* and now all is quiet */
    UNTIL(&p, a->done);
    assert_int_equal(a->seen_out[WIRE_DELTA] + a->seen_in[WIRE_DELTA] + a->seen_in[WIRE_STALE], 0);
    cmd_end(a);
    assert_agree(&p, 0);
    place_clear(&p);
}

/* The first one's PULLED is on its way while the second pushes, works and ends. */
static void test_late_pulled(void **state)
{
    struct place p;
    struct cmd *a, *b;

    (void)state;
    place_init(&p);
    sh("echo 1 > %s/one", p.host);
    run(&p, 0, "true");
    a = cmd_begin(&p, 0, "echo a > a");
    a->hold_type[WIRE_PULLED] = true;
    UNTIL(&p, waits(&a->out, WIRE_PULLED));
    sh("echo host >> %s/one; echo host >> %s/a", p.host, p.host);
    b = cmd_begin(&p, 0, "cat one a; echo b >> a");
    UNTIL(&p, b->done);
    assert_int_equal(b->seen_in[WIRE_STALE], 0); /* what is pending counts when the client shows that it has it */
    assert_string_equal(b->got.data, "1\nhost\na\nhost\n");
    cmd_end(b);
    cmd_end(a); /* now it comes, and changes nothing */
    run(&p, 0, "test \"$(cat a)\" = 'a\nhost\nb'");
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/* Nobody may start to read or store while another one's push is not stored; and it holds nobody up for ever. */
static void test_push_against_pull(void **state)
{
    struct place p;
    struct cmd *a, *b, *c;

    (void)state;
    place_init(&p);
    sh("echo 1 > %s/one", p.host);
    run(&p, 0, "true");
    b = cmd_begin(&p, 0, "until test -e new; do sleep 0.01; done; head -c 6000000 /dev/urandom > big; echo b > b");
    UNTIL(&p, b->started);
    sh("echo host > %s/new; rm %s/one", p.host, p.host);
    a = cmd_begin(&p, 0, "test -e new; ! test -e one; echo a > a");
    a->hold_type[WIRE_PUSHED] = true;
    UNTIL(&p, waits(&a->in, WIRE_PUSHED)); /* it is in the container, and a has the host's lock */
    c = cmd_begin(&p, 0, "echo c > c");
    UNTIL(&p,
          b->seen_in[WIRE_EXIT] == 1); /* more than is held for it; its offer started from the state before the push */
    for (int i = 0; i < 50; i++)
        turn(&p);
    assert_false(b->done);
    assert_int_equal(c->seen_out[WIRE_MOUNT], 0);
    sh("! test -e %s/b", p.host);
    a->hold_type[WIRE_PUSHED] = false;
    UNTIL(&p, a->done && b->done && c->done);
    assert_int_equal(b->seen_out[WIRE_PULL] > 0, 1);
    cmd_end(a);
    cmd_end(b);
    cmd_end(c);
    run(&p, 0, "true");
    sh("cd %s; test -e a; test -e b; test -e c; test -e new; ! test -e one; test $(stat -c %%s big) = 6000000", p.host);
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/* An unchanged host's MOUNT is overtaken by another command's pull: no reason to send anything. */
static void test_same_overtaken(void **state)
{
    struct place p;
    struct cmd *a;

    (void)state;
    place_init(&p);
    sh("echo 1 > %s/one", p.host);
    run(&p, 0, "true");
    a = cmd_begin(&p, 0, "cat b");
    a->hold_type[WIRE_MOUNT] = true;
    UNTIL(&p, waits(&a->out, WIRE_MOUNT));
    run(&p, 0, "echo b > b");
    a->hold_type[WIRE_MOUNT] = false;
    UNTIL(&p, a->done);
    assert_int_equal(a->seen_in[WIRE_STALE], 0);
    assert_string_equal(a->got.data, "b\n");
    cmd_end(a);
    /* but another one's push is: the host is asked to look again */
    a = cmd_begin(&p, 0, "cat one");
    a->hold_type[WIRE_MOUNT] = true;
    UNTIL(&p, waits(&a->out, WIRE_MOUNT));
    sh("echo 2 > %s/one", p.host);
    run(&p, 0, "test $(cat one) = 2");
    a->hold_type[WIRE_MOUNT] = false;
    UNTIL(&p, a->done);
    assert_int_equal(a->seen_in[WIRE_STALE], 1);
    assert_int_equal(a->seen_out[WIRE_DELTA], 0);
    assert_string_equal(a->got.data, "2\n");
    cmd_end(a);
    assert_agree(&p, 0);
    place_clear(&p);
}

static void test_twenty(void **state)
{
    struct cmd *c[20];
    struct place p;

    (void)state;
    place_init(&p);
    sh("cd %s; for i in $(seq 50); do echo $i > f$i; done", p.host);
    run(&p, 0, "true");
    for (int i = 0; i < 20; i++) {
        cleanup_free char *script = xasprintf("echo %d > made%d; echo more >> f%d; rm f%d", i, i, i + 1, i + 21);

        c[i] = cmd_begin(&p, 0, script);
    }
    for (int i = 0; i < 20; i++)
        UNTIL(&p, c[i]->done);
    for (int i = 0; i < 20; i++) {
        cleanup_free char *path = xasprintf("%s/made%d", p.host, i);

        assert_string_equal(c[i]->notes.data, "");
        assert_int_equal(access(path, F_OK), 0);
        cmd_end(c[i]);
    }
    sh("cd %s; test $(ls | wc -l) = 50; test $(cat f* | grep -c more) = 20", p.host);
    assert_agree(&p, 0);
    place_clear(&p);
}

/* ---- kills ---- */

/* The client dies after it carried a pull out and before it stored that: equal contents are no conflict. */
static void test_killed_between_data_and_state(void **state)
{
    struct place p;
    struct cmd *a;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > one; echo 2 > two", p.host);
    run(&p, 0, "true");
    sh("cp %s/mount-0 %s/../before", p.box[0].state, p.box[0].state);
    a = cmd_begin(&p, 0, "echo a > a; echo more >> one; rm two");
    a->hold_type[WIRE_PULLED] = true;
    UNTIL(&p, waits(&a->out, WIRE_PULLED));
    cmd_free(a);
    sh("cp %s/../before %s/mount-0", p.box[0].state, p.box[0].state);
    run(&p, 0, "test $(cat a) = a; ! test -e two; echo b > b");
    run(&p, 0, "true");
    sh("cd %s; test \"$(cat one)\" = '1\nmore'; test -e b", p.host);
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/* The agent stored a push whose client is gone; the host then is again as it was before. The container follows. */
static void test_killed_before_pushed(void **state)
{
    struct place p;
    struct cmd *a;

    (void)state;
    place_init(&p);
    sh("cd %s; echo old > f; echo keep > keep; cp -p f ../f", p.host);
    run(&p, 0, "echo own > own");
    sh("cd %s; echo new > f; echo new > g", p.host);
    a = cmd_begin(&p, 0, "true");
    a->hold_type[WIRE_PUSHED] = true;
    UNTIL(&p, waits(&a->in, WIRE_PUSHED));
    cmd_free(a);
    sh("cd %s; cp -p ../f f; rm g", p.host);
    run(&p, 0, "test $(cat f) = old; ! test -e g; test -e own; test -e keep");
    run(&p, 0, "true");
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/*
 * The agent stored a's push and a is gone before the host did; a command that ran all the while brings its own changes
 * and those of the push, and the host has gone on. Returns the command that ran, done.
 */
static struct cmd *killed_before_saved(struct place *p, const char *script, const char *pushed, const char *after)
{
    struct cmd *a, *b;

    sh("cd %s; for i in f x both reverted; do echo 1 > $i; done", p->host);
    run(p, 0, "true");
    b = cmd_begin(p, 0, script);
    b->hold_type[WIRE_OFFER] = true;
    UNTIL(p, b->started);
    sh("cd %s; %s; echo > go", p->host, pushed);
    a = cmd_begin(p, 0, "true");
    a->hold_type[WIRE_PUSHED] = true;
    UNTIL(p, waits(&a->in, WIRE_PUSHED) && waits(&b->in, WIRE_OFFER));
    cmd_free(a);
    sh("cd %s; %s", p->host, after);
    b->hold_type[WIRE_OFFER] = false;
    UNTIL(p, b->done);
    assert_int_equal(b->seen_out[WIRE_PULL], 1);
    return b;
}

#define WHEN_GO "until test -e go; do sleep 0.01; done; "

/* What one side alone changed is no conflict, and what the host removed does not come back. */
static void test_killed_before_saved(void **state)
{
    struct place p;
    struct cmd *b;

    (void)state;
    place_init(&p);
    b = killed_before_saved(&p, WHEN_GO "echo b >> x; echo new > new", "echo a >> f; echo a > gone; ln -s f link",
                            "echo b >> f; rm gone; ln -sf x link");
    assert_string_equal(b->notes.data, "");
    cmd_end(b);
    sh("cd %s; test \"$(cat f)\" = '1\na\nb'; test \"$(cat x)\" = '1\nb'; test -e new; ! test -e gone; "
       "test $(readlink link) = x",
       p.host);
    run(&p, 0, "test \"$(cat f)\" = '1\na\nb'; test \"$(cat x)\" = '1\nb'; ! test -e gone");
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/* And what both did is one, also where the host took back what had been pushed. */
static void test_killed_before_saved_conflict(void **state)
{
    struct place p;
    struct cmd *b;

    (void)state;
    place_init(&p);
    b = killed_before_saved(&p, WHEN_GO "echo b >> both; echo b >> reverted", "echo 2 > reverted",
                            "echo host >> both; echo 1 > reverted");
    assert_non_null(strstr(b->notes.data, "both"));
    assert_non_null(strstr(b->notes.data, "reverted"));
    cmd_end(b);
    sh("cd %s; test \"$(cat both)\" = '1\nhost'; test $(cat reverted) = 1; "
       "test \"$(cat $(find %s -type f -name both))\" = '1\nb'; "
       "test \"$(cat $(find %s -type f -name reverted))\" = '2\nb'",
       p.host, p.keep, p.keep);
    run(&p, 0, "true");
    assert_agree(&p, 0);
    place_clear(&p);
}

/*
 * One command with changes both ways, in which `who` is killed after n frames in all: 0 the client (its process), 1 the
 * agent's session. Returns false if it came to its end before.
 */
static bool killed_after(struct place *p, int who, unsigned n)
{
    cleanup_free char *script = xasprintf("echo %u >> c; echo %u > c%u; rm -f c%u", n, n, n, n - 1);
    pid_t pid = fork();
    int code;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct cmd *c = cmd_begin(p, 0, script);
        unsigned frames = 0;

        c->held = true;
        while (!c->done || c->out.len) {
            bool moved = deliver_out(c);

            frames += moved;
            if (frames < n && !c->done && deliver_in(c)) {
                frames++;
                moved = true;
            }
            if (frames >= n) {
                kill(who ? c->agent : getpid(), SIGKILL);
                break;
            }
            if (c->gone && !c->in.len)
                break;
            loop_step(p->loop, moved ? 0 : 2);
        }
        if (frames >= n) {
            session_free(c->session);
            _exit(7);
        }
        close(c->to);
        _exit(0);
    }
    code = rig_wait(pid, RIG_DEADLINE);
    assert_true(code == 0 || code == 7 || code == 128 + SIGKILL);
    return code != 0;
}

static void killed_at_each_frame(int who)
{
    struct place p;
    unsigned n = 1;
    bool killed = true;

    place_init(&p);
    sh("cd %s; echo 0 > h; for i in $(seq 20); do echo $i > f$i; done", p.host);
    run(&p, 0, "true");
    for (; killed && n < 60; n++) {
        sh("cd %s; echo %u >> h; echo %u > h%u; rm -f h%u", p.host, n, n, n, n - 1);
        killed = killed_after(&p, who, n);
        /* what the command still does after its session's death comes with a later barrier */
        for (int i = 0; i < 40; i++) {
            cleanup_free char *script = xasprintf(
                "test $(tail -n 1 h) = %u; test -e h%u; ! test -e h%u || exit 1; test \"$(ls -A | grep -c atp)\" = 0",
                n, n, n - 1);

            run(&p, 0, script);
            if (i > 0 && same_trees(&p))
                break;
            usleep(20000);
        }
        assert_agree(&p, 0);
        assert_no_conflicts(&p);
        sh("cd %s; test $(ls f* | wc -l) = 20; for i in $(seq 20); do test $(cat f$i) = $i; done", p.host);
    }
    assert_true(n > 8 && n < 60);
    place_clear(&p);
}

static void test_client_killed(void **state)
{
    (void)state;
    killed_at_each_frame(0);
}

static void test_agent_killed(void **state)
{
    (void)state;
    killed_at_each_frame(1);
}

/* ---- successors, and two containers ---- */

/* A new sandbox on a copy of the old one's files goes on with deltas. */
static void test_successor(void **state)
{
    struct place p;
    struct cmd *a;

    (void)state;
    place_init(&p);
    sh("cd %s; for i in $(seq 100); do echo $i > f$i; done", p.host);
    run(&p, 0, "echo own > own");
    a = cmd_begin(&p, 0, "echo late > late");
    a->hold_type[WIRE_PULLED] = true; /* the copy is made before it comes */
    UNTIL(&p, waits(&a->out, WIRE_PULLED));
    sh("cp -a %s %s.copy", p.box[0].rig.run_dir, p.box[0].rig.run_dir);
    cmd_end(a);
    kill(p.box[0].rig.init, SIGTERM);
    rig_wait(p.box[0].rig.init, RIG_DEADLINE);
    sh("rm -r %s; mv %s.copy %s; rm -f %s/agent.sock; echo edited > %s/f7", p.box[0].rig.run_dir, p.box[0].rig.run_dir,
       p.box[0].rig.run_dir, p.box[0].rig.run_dir, p.host);
    p.box[0].rig.init = rig_spawn(&p.box[0].rig, "init", -1, -1);
    a = cmd_begin(&p, 0, "cat f7 own late; rm f8");
    UNTIL(&p, a->done);
    assert_int_equal(a->seen_in[WIRE_STALE], 0);
    assert_true(a->bytes_out < 1500);
    assert_string_equal(a->got.data, "edited\nown\nlate\n");
    cmd_end(a);
    sh("! test -e %s/f8", p.host);
    assert_agree(&p, 0);
    place_clear(&p);
}

/* An older copy: the host is right, what it did meanwhile is done again, and nothing is lost or deleted on it. */
static void test_older_copy(void **state)
{
    struct place p;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > f; echo 1 > stays; echo 1 > goes", p.host);
    run(&p, 0, "echo own > own");
    sh("cp -a %s %s.copy; cp -a %s %s.copy", p.box[0].rig.run_dir, p.box[0].rig.run_dir, p.box[0].target,
       p.box[0].target);
    run(&p, 0, "echo later > later; echo 2 > f");
    sh("cd %s; rm goes; echo host > host", p.host);
    run(&p, 0, "true");
    kill(p.box[0].rig.init, SIGTERM);
    rig_wait(p.box[0].rig.init, RIG_DEADLINE);
    sh("for d in %s %s; do rm -r $d; mv $d.copy $d; done; rm -f %s/agent.sock", p.box[0].rig.run_dir, p.box[0].target,
       p.box[0].rig.run_dir);
    p.box[0].rig.init = rig_spawn(&p.box[0].rig, "init", -1, -1);
    run(&p, 0, "test $(cat f) = 2; test -e later; test -e host; ! test -e goes; test -e own; echo x > x");
    run(&p, 0, "true");
    sh("cd %s; test $(cat f) = 2; test -e later; test -e host; ! test -e goes; test -e own; test -e x; test -e stays",
       p.host);
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

static void test_two_containers(void **state)
{
    struct place p;
    struct cmd *a, *b;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > one; echo 1 > both; echo 1 > gone", p.host);
    run(&p, 0, "echo a > a");
    run(&p, 1, "test $(cat a) = a; echo b > b; rm gone");
    run(&p, 0, "test $(cat b) = b; ! test -e gone");
    /* both at once: other files pass by each other, the same file is a conflict for the second */
    a = cmd_begin(&p, 0, "echo a > new-a; echo a > both");
    b = cmd_begin(&p, 1, "echo b > new-b; echo b > both");
    a->hold_type[WIRE_OFFER] = b->hold_type[WIRE_OFFER] = true;
    UNTIL(&p, waits(&a->in, WIRE_OFFER) && waits(&b->in, WIRE_OFFER));
    a->hold_type[WIRE_OFFER] = false;
    UNTIL(&p, a->done);
    b->hold_type[WIRE_OFFER] = false;
    UNTIL(&p, b->done);
    assert_string_equal(a->notes.data, "");
    assert_non_null(strstr(b->notes.data, "both"));
    cmd_end(a);
    cmd_end(b);
    sh("cd %s; test $(cat both) = a; test -e new-a; test -e new-b; test $(cat $(find %s -type f -name both)) = b",
       p.host, p.keep);
    run(&p, 0, "test $(cat both) = a");
    run(&p, 1, "test $(cat both) = a");
    run(&p, 0, "true");
    assert_agree(&p, 0);
    assert_agree(&p, 1);
    place_clear(&p);
}

/* A state that the host lost: nothing of the container's is removed, nothing on the host either. */
static void test_host_lost_its_state(void **state)
{
    struct place p;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > one; echo 2 > two", p.host);
    run(&p, 0, "echo own > own");
    sh("rm %s/mount-0; rm %s/two", p.box[0].state, p.host);
    run(&p, 0, "test -e own; test -e two; echo new > new");
    sh("cd %s; test -e own; test -e two; test -e one; test -e new", p.host);
    assert_agree(&p, 0);
    place_clear(&p);
}

/* ---- a long walk ---- */

static unsigned long long seed;

static unsigned rnd(unsigned n)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(seed >> 33) % n;
}

/* Any frame of any command, or the end of one, or a kill. */
static void random_step(struct place *p, unsigned *killed, bool *finished)
{
    struct cmd *c = p->cmds[rnd((unsigned)p->n_cmds)];

    if (c->done && !c->out.len) {
        if (c->error && strstr(c->error, "ended") == NULL)
            fail_msg("%s", c->error);
        assert_string_equal(c->notes.data, "");
        finished[c->number] |= !c->error;
        cmd_free(c);
    } else if (c->gone && !c->in.len && !c->done) {
        session_lost(c->session, "the agent's session has ended");
        buf_reset(&c->out);
    } else if (rnd(400) == 0) {
        ++*killed;
        if (rnd(2))
            kill(c->agent, SIGKILL);
        else
            cmd_free(c); /* its state may still be stored: as if it had died just after that */
    } else if (rnd(2)) {
        deliver_out(c);
    } else if (!c->done) {
        deliver_in(c);
    }
    loop_step(p->loop, rnd(8) ? 0 : 1);
}

/*
 * Up to six commands on two containers at once; each writes files that nobody else writes, and removes some of them.
 * So there is never a conflict, and when all is quiet the three trees are the same and hold what commands that came to
 * their end have written.
 */
static void walk(struct place *p, unsigned steps)
{
    unsigned n = 0, killed = 0, whole = 0;
    cleanup_free bool *finished = xcalloc(steps + 1, sizeof(*finished));

    sh("cd %s; mkdir d; for i in $(seq 10); do echo $i > d/f$i; done", p->host);
    run(p, 0, "true");
    run(p, 1, "true");
    for (unsigned i = 0; i < steps; i++) {
        unsigned box = rnd(2);

        if (p->n_cmds < 6 && rnd(6) == 0) {
            cleanup_free char *script = xasprintf(
                "echo %u > c%u; echo %u >> d/log%u; rm -f c%u; mkdir -p e%u; mv d/log%u e%u/ 2>/dev/null; true", n, n,
                n, n, n > 3 ? n - 3 : 9999, n % 3, n, n % 3);

            cmd_begin(p, (int)box, script)->held = true;
            p->cmds[p->n_cmds - 1]->number = n++;
        }
        if (rnd(40) == 0)
            sh("cd %s; echo %u > h%u; rm -f h%u; echo %u >> d/host", p->host, i, i, i > 80 ? i - 80 : 9999, i);
        for (unsigned k = 0; k < 12 && p->n_cmds; k++)
            random_step(p, &killed, finished);
    }
    for (size_t i = 0; i < p->n_cmds; i++) /* each may wait for a lock that another one has */
        p->cmds[i]->held = false;
    while (p->n_cmds) {
        struct cmd *c = p->cmds[0];

        UNTIL(p, (c->done || c->gone) && !c->out.len);
        assert_string_equal(c->notes.data, "");
        cmd_free(c);
    }
    for (int i = 0; i < 6; i++)
        run(p, i % 2, "sleep 0.02");
    assert_agree(p, 0);
    assert_agree(p, 1);
    assert_no_conflicts(p);
    sh("cd %s; test $(ls d/f* | wc -l) = 10; for f in e*/log*; do test $(wc -l < $f) = 1; done", p->host);
    for (unsigned i = 0; i < n; i++) {
        cleanup_free char *path = xasprintf("%s/e%u/log%u", p->host, i % 3, i);

        whole += finished[i];
        if (finished[i] && access(path, F_OK) < 0)
            fail_msg("command %u ended well and %s is not there", i, path);
    }
    print_message("%u commands, %u of them to the end, %u killed\n", n, whole, killed);
}

static void test_walk(void **state)
{
    const char *given = getenv("ATP_MODEL_SEED"), *steps = getenv("ATP_MODEL_STEPS");

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct place p;

        seed = (given ? strtoull(given, NULL, 10) : 20261121) + i;
        place_init(&p);
        walk(&p, steps ? (unsigned)strtoul(steps, NULL, 10) : 300);
        place_clear(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_ends),
        cmocka_unit_test(test_late_pulled),
        cmocka_unit_test(test_push_against_pull),
        cmocka_unit_test(test_same_overtaken),
        cmocka_unit_test(test_twenty),
        cmocka_unit_test(test_killed_between_data_and_state),
        cmocka_unit_test(test_killed_before_pushed),
        cmocka_unit_test(test_killed_before_saved),
        cmocka_unit_test(test_killed_before_saved_conflict),
        cmocka_unit_test(test_client_killed),
        cmocka_unit_test(test_agent_killed),
        cmocka_unit_test(test_successor),
        cmocka_unit_test(test_older_copy),
        cmocka_unit_test(test_two_containers),
        cmocka_unit_test(test_host_lost_its_state),
        cmocka_unit_test(test_walk),
    };

    if (geteuid() != 0) {
        print_message("needs root\n");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    cmocka_set_test_filter(getenv("ATP_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
