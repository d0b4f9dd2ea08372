/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/session/forward.h"
#include "backends/session/session.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "translate/wire/wire.h"

#include <errno.h>
#include <string.h>

/* A session whose agent is this test: what the client says is parsed, what the agent would say is fed. */
static struct {
    struct loop *loop;
    struct session *session;
    struct conns *conns;
    struct wire_parser parser;
    struct buf to_client;
    bool done;
    enum session_end end;
    /* what the connections were told */
    size_t data, readied;
    int eofs, closed, error;
} t;

static void on_data(void *arg, const void *bytes, size_t len)
{
    (void)bytes;
    assert_ptr_equal(arg, &t);
    t.data += len;
}

static void on_eof(void *arg)
{
    (void)arg;
    t.eofs++;
}

static void on_ready(void *arg)
{
    (void)arg;
    t.readied++;
}

static void on_closed(void *arg, int error)
{
    (void)arg;
    t.closed++;
    t.error = error;
}

static const struct conns_handlers handlers = {on_data, on_eof, on_ready, on_closed};

static void on_out(void *arg, const void *bytes, size_t len)
{
    (void)arg;
    assert_int_equal(wire_parser_feed(&t.parser, bytes, len, NULL), 0);
}

static size_t on_pending(void *arg)
{
    (void)arg;
    return 0;
}

static int on_port(void *arg, const struct wire_frame *f, struct err *err)
{
    (void)arg;
    return conns_frame(t.conns, f, err);
}

static void on_asked(void *arg)
{
    (void)arg;
    conns_begin(t.conns, t.session);
}

static void on_done(void *arg, const struct session_result *result)
{
    (void)arg;
    t.done = true;
    t.end = result->end;
}

static const struct session_callbacks callbacks = {
    .out = on_out, .out_pending = on_pending, .port = on_port, .asked = on_asked, .done = on_done};

/* The next frame that the client said; 0: none. */
static int next(struct wire_frame *f)
{
    return wire_parser_next(&t.parser, f, NULL);
}

static void feed(void)
{
    session_feed(t.session, t.to_client.data, t.to_client.len);
    buf_reset(&t.to_client);
}

/* Up to the question, which has been heard. */
static int begin(void **state)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_FORWARD, .text = (char *)""};
    struct wire_hello hello = {
        .oldest = WIRE_VERSION, .newest = WIRE_VERSION, .program = (char *)"a", .machine = (char *)"m"};
    struct wire_frame f;

    (void)state;
    memset(&t, 0, sizeof(t));
    buf_init(&t.to_client, 16u << 20);
    wire_parser_init(&t.parser);
    t.loop = loop_new();
    t.conns = conns_new(&handlers);
    t.session = session_ask(t.loop, &ask, NULL, 0, &callbacks, NULL);
    for (int i = 0; i < 10 && !session_prelude_done(t.session); i++)
        loop_step(t.loop, 10);
    assert_int_equal(next(&f), 1);
    assert_int_equal(f.type, WIRE_HELLO);
    assert_int_equal(next(&f), 1);
    assert_int_equal(f.type, WIRE_ASK);
    wire_put_hello(&t.to_client, &hello);
    feed();
    return 0;
}

static int finish(void **state)
{
    (void)state;
    conns_free(t.conns);
    session_free(t.session);
    wire_parser_clear(&t.parser);
    buf_clear(&t.to_client);
    loop_free(t.loop);
    return 0;
}

static void opened_sent_and_closed(void **state)
{
    struct conn *conn = conn_open(t.conns, 80, &t);
    struct wire_frame f;
    const uint8_t *bytes;
    uint32_t id = 0, other;
    uint16_t port;
    size_t len;

    (void)state;
    assert_int_equal(conn_send(conn, "GET /", 5), 5);
    conn_eof(conn);
    assert_int_equal(next(&f), 1);
    assert_int_equal(wire_get_port_open(&f, &id, &port, NULL), 0);
    assert_int_equal(port, 80);
    assert_int_equal(next(&f), 1);
    assert_int_equal(wire_get_port_data(&f, &other, &bytes, &len, NULL), 0);
    assert_int_equal(other, id);
    assert_memory_equal(bytes, "GET /", len);
    assert_int_equal(next(&f), 1);
    assert_int_equal(f.type, WIRE_PORT_EOF);
    wire_put_port_opened(&t.to_client, id);
    wire_put_port_data(&t.to_client, id, "hello", 5);
    wire_put_port_eof(&t.to_client, id);
    wire_put_port_closed(&t.to_client, id, 0);
    feed();
    assert_int_equal(t.data, 5);
    assert_int_equal(t.eofs, 1);
    assert_int_equal(t.closed, 1);
    assert_int_equal(t.error, 0);
    assert_int_equal(conns_count(t.conns), 0);
    wire_put_port_data(&t.to_client, id, "late", 4); /* frames that were under way are no fault */
    feed();
    assert_false(t.done);
}

/* No more than the window leaves; credit lets more go, and who was held is told. */
static void window_of_ours(void **state)
{
    static char bytes[WIRE_PORT_WINDOW + 1];
    struct conn *conn = conn_open(t.conns, 80, &t);
    struct wire_frame f;
    size_t sent = 0;

    (void)state;
    assert_int_equal(conn_send(conn, bytes, sizeof(bytes)), WIRE_PORT_WINDOW);
    while (next(&f) == 1)
        sent += f.type == WIRE_PORT_DATA ? f.len - sizeof(uint32_t) : 0;
    assert_int_equal(sent, WIRE_PORT_WINDOW);
    assert_int_equal(conn_room(conn), 0);
    wire_put_port_credit(&t.to_client, 1, 100);
    feed();
    assert_int_equal(t.readied, 1);
    assert_int_equal(conn_room(conn), 100);
    wire_put_port_credit(&t.to_client, 1, WIRE_PORT_WINDOW); /* more than was ever used */
    feed();
    assert_true(t.done);
    assert_int_equal(t.end, SESSION_LOST);
}

/* The agent must keep to its window too, and gets more when what came was taken. */
static void window_of_theirs(void **state)
{
    static char bytes[WIRE_CHUNK];
    struct conn *conn = conn_open(t.conns, 80, &t);
    struct wire_frame f;
    uint32_t id, credit;

    (void)state;
    assert_int_equal(next(&f), 1);
    for (size_t i = 0; i < WIRE_PORT_WINDOW / WIRE_CHUNK; i++)
        wire_put_port_data(&t.to_client, 1, bytes, sizeof(bytes));
    feed();
    assert_false(t.done);
    conn_taken(conn, WIRE_PORT_WINDOW);
    assert_int_equal(next(&f), 1);
    assert_int_equal(wire_get_port_credit(&f, &id, &credit, NULL), 0);
    assert_int_equal(credit, WIRE_PORT_WINDOW);
    for (size_t i = 0; i <= WIRE_PORT_WINDOW / WIRE_CHUNK; i++)
        wire_put_port_data(&t.to_client, 1, bytes, sizeof(bytes));
    feed();
    assert_true(t.done);
    assert_int_equal(t.end, SESSION_LOST);
}

static void frames_out_of_place(void **state)
{
    (void)state;
    wire_put_port_data(&t.to_client, 7, "x", 1); /* an id that was never said */
    feed();
    assert_true(t.done);
    assert_int_equal(t.end, SESSION_LOST);
}

/* A session that ends takes what was said in it along; what was never said waits for the next one. */
static void lost_sessions(void **state)
{
    (void)state;
    assert_non_null(conn_open(t.conns, 80, &t));
    conns_lost(t.conns);
    assert_int_equal(t.closed, 1);
    assert_int_equal(t.error, ECONNRESET);
    assert_non_null(conn_open(t.conns, 81, &t));
    conns_lost(t.conns);
    assert_int_equal(conns_count(t.conns), 1);
}

static void not_more_than_there_may_be(void **state)
{
    (void)state;
    for (size_t i = 0; i < WIRE_PORTS_MAX; i++)
        assert_non_null(conn_open(t.conns, 80, &t));
    assert_null(conn_open(t.conns, 80, &t));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(opened_sent_and_closed), TEST(window_of_ours), TEST(window_of_theirs),
        TEST(frames_out_of_place),    TEST(lost_sessions),  TEST(not_more_than_there_may_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
