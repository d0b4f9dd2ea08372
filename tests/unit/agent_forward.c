/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include "tests/unit/agent_rig.h"

#include "backends/session/forward.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* TCP connections into a container: the agent's half against real servers, driven through the client's half. */

#define MANY 200

/* ---- servers ---- */

typedef void serve_fn(int fd);

static pid_t servers[8];
static size_t n_servers;

static void serve_loop(int listener, serve_fn *fn)
{
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0 || fork() != 0) {
            close(fd);
            continue;
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        fn(fd);
        _exit(0);
    }
}

/* Listens on a port of its own and serves each connection in a process. */
static uint16_t serve(uint32_t address, serve_fn *fn)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(address)}};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 512) == 0);
    getsockname(fd, (struct sockaddr *)&at, &len);
    if (!fn) { /* nobody listens there: the port was only drawn */
        close(fd);
        return ntohs(at.sin_port);
    }
    servers[n_servers] = fork();
    if (servers[n_servers++] == 0)
        serve_loop(fd, fn);
    close(fd);
    return ntohs(at.sin_port);
}

static void stop_servers(void)
{
    while (n_servers) {
        kill(servers[--n_servers], SIGKILL);
        waitpid(servers[n_servers], NULL, 0);
    }
}

static void serve_echo(int fd)
{
    char bytes[65536];
    ssize_t n;

    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        for (ssize_t at = 0, m; at < n; at += m)
            if ((m = write(fd, bytes + at, (size_t)(n - at))) <= 0)
                return;
}

/* Answers when the other half is over. */
static void serve_count(int fd)
{
    char bytes[65536], line[64];
    size_t all = 0;
    ssize_t n;

    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        all += (size_t)n;
    snprintf(line, sizeof(line), "%zu bytes\n", all);
    (void)!write(fd, line, strlen(line));
}

static void serve_flood(int fd)
{
    char bytes[65536] = {0};

    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
}

/* Says something, ends its half, and goes on reading. */
static void serve_early_end(int fd)
{
    (void)!write(fd, "bye", 3);
    shutdown(fd, SHUT_WR);
    serve_count(fd);
}

static void serve_deaf(int fd)
{
    (void)fd;
    pause();
}

static void serve_reset(int fd)
{
    const struct linger now = {.l_onoff = 1};
    char byte;

    (void)!read(fd, &byte, 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* ---- the client ---- */

struct talk {
    struct conn *conn; /* NULL: closed */
    const char *out;
    size_t out_len, sent;
    bool hold;   /* no end of our half */
    bool greedy; /* takes nothing */
    struct buf got;
    size_t got_len;
    bool eof;
    bool closed;
    int error;
};

static void push(struct talk *t)
{
    t->sent += conn_send(t->conn, t->out + t->sent, t->out_len - t->sent);
    if (t->sent == t->out_len && !t->hold)
        conn_eof(t->conn);
}

static void on_data(void *arg, const void *bytes, size_t len)
{
    struct talk *t = arg;

    t->got_len += len;
    if (t->greedy)
        return; /* and no credit is given back */
    assert_int_equal(buf_add(&t->got, bytes, len), 0);
    conn_taken(t->conn, len);
}

static void on_eof(void *arg)
{
    ((struct talk *)arg)->eof = true;
}

static void on_conn_ready(void *arg)
{
    push(arg);
}

static void on_conn_closed(void *arg, int error)
{
    struct talk *t = arg;

    t->closed = true;
    t->error = error;
    t->conn = NULL;
}

static const struct conns_handlers handlers = {on_data, on_eof, on_conn_ready, on_conn_closed};
static struct conns *conns;
static bool lying; /* frames are made by hand */

static int on_port(void *arg, const struct wire_frame *f, struct err *err)
{
    (void)arg;
    return lying ? 0 : conns_frame(conns, f, err);
}

static void on_writable(struct run *r)
{
    (void)r;
    conns_writable(conns);
}

static bool is_ready(struct run *r)
{
    return session_prelude_done(r->session);
}

static const struct wire_ask ask_forward = {.kind = WIRE_ASK_FORWARD};

/* A container, and a session that carries its ports. */
static void begin_forward(struct run *main, struct run *f, struct rig *rig)
{
    static struct session_callbacks callbacks;

    rig_start(rig, NULL);
    run_init(main, rig, "sleep 100");
    main->start.main = main->start.keep = true;
    run_begin(main, NULL, 0);
    assert_true(run_turn(main, RIG_DEADLINE, is_started));
    session_detach(main->session);

    callbacks = run_callbacks;
    callbacks.port = on_port;
    conns = conns_new(&handlers);
    run_init(f, rig, NULL);
    f->ask = &ask_forward;
    f->callbacks = &callbacks;
    f->writable = on_writable;
    run_begin(f, NULL, 0);
    assert_true(run_turn(f, RIG_DEADLINE, is_ready));
    conns_begin(conns, f->session);
}

static void end_forward(struct run *main, struct run *f, struct rig *rig)
{
    session_detach(f->session);
    run_finish(f);
    run_clear(f);
    conns_free(conns);
    run_finish(main);
    run_clear(main);
    rig_stop(rig);
    stop_servers();
}

static void talk_begin(struct talk *t, uint16_t port)
{
    buf_init(&t->got, 64u << 20);
    t->conn = conn_open(conns, port, t);
    assert_non_null(t->conn);
    push(t);
}

static void talk_clear(struct talk *t)
{
    buf_clear(&t->got);
}

static struct talk *awaited;
static size_t n_awaited;

static bool all_closed(struct run *r)
{
    (void)r;
    for (size_t i = 0; i < n_awaited; i++)
        if (!awaited[i].closed)
            return false;
    return true;
}

static void await_closed(struct run *f, struct talk *t, size_t n)
{
    awaited = t;
    n_awaited = n;
    if (run_turn(f, RIG_DEADLINE, all_closed))
        return;
    for (size_t i = 0; i < n; i++)
        if (!t[i].closed)
            fail_msg("connection %zu is still there: sent %zu, got %zu, eof %d: %s", i, t[i].sent, t[i].got_len,
                     t[i].eof, f->error ? f->error : "");
}

/* Half-closed both ways, and byte for byte, far beyond the window. */
static void test_echo(void **state)
{
    size_t len = 3u << 20;
    cleanup_free char *bytes = xcalloc(1, len);
    struct talk t[3] = {{.out = bytes, .out_len = len}, {.out = "x", .out_len = 1}, {.out = "hello", .out_len = 5}};
    struct run main, f;
    struct rig rig;

    (void)state;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    begin_forward(&main, &f, &rig);
    talk_begin(&t[0], serve(INADDR_ANY, serve_echo));
    talk_begin(&t[1], serve(INADDR_LOOPBACK, serve_count)); /* a server of the loopback alone is reached too */
    talk_begin(&t[2], serve(INADDR_ANY, serve_early_end));
    await_closed(&f, t, 3);
    assert_true(t[0].error == 0 && t[0].eof && t[0].got.len == len);
    assert_memory_equal(t[0].got.data, bytes, len);
    assert_string_equal(t[1].got.data, "1 bytes\n");
    assert_true(t[1].error == 0 && t[1].eof);
    assert_string_equal(t[2].got.data, "bye");
    for (size_t i = 0; i < 3; i++)
        talk_clear(&t[i]);
    end_forward(&main, &f, &rig);
}

static void test_many(void **state)
{
    static struct talk t[MANY];
    cleanup_free char *bytes = xcalloc(1, 20000);
    struct run main, f;
    struct rig rig;
    uint16_t port;

    (void)state;
    begin_forward(&main, &f, &rig);
    port = serve(INADDR_ANY, serve_echo);
    for (size_t i = 0; i < MANY; i++) {
        t[i] = (struct talk){.out = bytes, .out_len = 100 * i};
        talk_begin(&t[i], port);
    }
    await_closed(&f, t, MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(t[i].error, 0);
        assert_int_equal(t[i].got.len, 100 * i);
        talk_clear(&t[i]);
    }
    end_forward(&main, &f, &rig);
}

static void test_refused_and_reset(void **state)
{
    struct talk t[2] = {{.out = "x", .out_len = 1}, {.out = "x", .out_len = 1, .hold = true}};
    struct run main, f;
    struct rig rig;

    (void)state;
    begin_forward(&main, &f, &rig);
    talk_begin(&t[0], serve(INADDR_ANY, NULL));
    talk_begin(&t[1], serve(INADDR_ANY, serve_reset));
    await_closed(&f, t, 2);
    assert_int_equal(t[0].error, ECONNREFUSED);
    assert_int_equal(t[1].error, ECONNRESET);
    for (size_t i = 0; i < 2; i++)
        talk_clear(&t[i]);
    end_forward(&main, &f, &rig);
}

/* One whose reader sleeps, one whose server never reads, and one that does not care. */
static void test_slow_ones_hold_themselves(void **state)
{
    size_t len = 16u << 20;
    cleanup_free char *bytes = xcalloc(1, len);
    struct talk slow = {.hold = true, .greedy = true}, deaf = {.out = bytes, .out_len = len}, t[1];
    struct run main, f;
    struct rig rig;

    (void)state;
    begin_forward(&main, &f, &rig);
    talk_begin(&slow, serve(INADDR_ANY, serve_flood));
    talk_begin(&deaf, serve(INADDR_ANY, serve_deaf));
    for (int i = 0; i < 20; i++) {
        t[0] = (struct talk){.out = bytes, .out_len = 1u << 20};
        talk_begin(&t[0], serve(INADDR_ANY, serve_count));
        await_closed(&f, t, 1);
        assert_string_equal(t[0].got.data, "1048576 bytes\n");
        talk_clear(&t[0]);
        kill(servers[--n_servers], SIGKILL);
        waitpid(servers[n_servers], NULL, 0);
    }
    assert_int_equal(slow.got_len, WIRE_PORT_WINDOW);
    assert_true(deaf.sent < len && !deaf.closed && !slow.closed);
    conn_close(slow.conn);
    conn_close(deaf.conn);
    t[0] = (struct talk){.out = "a", .out_len = 1};
    talk_begin(&t[0], serve(INADDR_ANY, serve_echo));
    await_closed(&f, t, 1);
    assert_string_equal(t[0].got.data, "a");
    talk_clear(&t[0]);
    talk_clear(&slow);
    talk_clear(&deaf);
    end_forward(&main, &f, &rig);
}

/* The container ends: so does the session, with what it carried. */
static void test_end(void **state)
{
    const struct wire_ask stop = {.kind = WIRE_ASK_STOP, .signo = SIGKILL};
    struct talk t[1] = {{.out = "x", .out_len = 1, .hold = true}};
    struct run main, f, s;
    struct rig rig;

    (void)state;
    begin_forward(&main, &f, &rig);
    talk_begin(&t[0], serve(INADDR_ANY, serve_echo));
    run_turn(&f, 200, NULL);
    run_init(&s, &rig, NULL);
    s.ask = &stop;
    run_all(&s, NULL, 0);
    run_clear(&s);
    run_turn(&f, RIG_DEADLINE, NULL);
    assert_true(f.done);
    assert_int_equal(f.result.end, SESSION_EXITED);
    assert_int_equal(f.result.code, 0);
    talk_clear(&t[0]);
    end_forward(&main, &f, &rig);
}

static void add_data(struct buf *b)
{
    static const char bytes[WIRE_CHUNK];

    for (size_t n = 0; n <= 20u << 20; n += WIRE_CHUNK) /* more than all the buffers on the way to a deaf server */
        wire_put_port_data(b, 1, bytes, WIRE_CHUNK);
}

static void add_reopened(struct buf *b)
{
    wire_put_port_open(b, 1, 9);
}

static void add_unknown(struct buf *b)
{
    wire_put_port_eof(b, 2);
}

static void add_credit(struct buf *b)
{
    wire_put_port_credit(b, 1, 1);
}

static void add_tree(struct buf *b)
{
    wire_put(b, WIRE_TREE, "x", 1);
}

/* What a client may not say ends the session, and only that. */
static void test_lies(void **state)
{
    static void (*const lies[])(struct buf * b) = {add_data, add_reopened, add_unknown, add_credit, add_tree};
    static const char *const whys[] = {"more PORT_DATA than was granted", "PORT_OPEN of a number that was used",
                                       "a PORT frame of a number that was not opened", "more PORT_CREDIT than was used",
                                       "TREE frame out of place"};

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        cleanup_buf struct buf b = BUF_INIT(32 << 20);
        struct run main, f;
        struct rig rig;

        begin_forward(&main, &f, &rig);
        lying = true;
        wire_put_port_open(&b, 1, serve(INADDR_ANY, serve_deaf));
        lies[i](&b);
        run_out(&f, b.data, b.len);
        run_turn(&f, RIG_DEADLINE, NULL);
        if (!f.done)
            fail_msg("%s: it goes on", whys[i]);
        assert_int_equal(f.result.end, SESSION_LOST);
        if (!strstr(f.error, whys[i]))
            fail_msg("%zu: %s", i, f.error);
        rig_expect(&rig, "echo on", 0, "on\n", "");
        end_forward(&main, &f, &rig);
        lying = false;
    }
}

static void test_not_running(void **state)
{
    struct rig rig;
    struct run f;

    (void)state;
    rig_start(&rig, NULL);
    run_init(&f, &rig, NULL);
    f.ask = &ask_forward;
    run_all(&f, NULL, 0);
    assert_int_equal(f.result.end, SESSION_REFUSED);
    assert_string_equal(f.error, "the container is not running");
    run_clear(&f);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused_and_reset),
        cmocka_unit_test(test_slow_ones_hold_themselves),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_not_running),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
