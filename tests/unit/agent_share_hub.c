/* link: atp_agentcore atp_wire atp_sys atp_base */
/* The hub's side of shared volumes, spoken to over sockets by members that are played here. */
#include "backends/agent/link.h"
#include "backends/agent/share_hub.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "translate/wire/share.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct player {
    int fd; /* our end */
    int hub_fd;
    struct link link;
    struct share_guest *guest;
    struct wire_parser parser;
    bool dead;
};

static struct loop *loop;
static struct share_hub *hub;

static int on_frame(void *arg, const struct wire_frame *f, struct err *err)
{
    struct player *p = arg;

    return share_guest_frame(p->guest, f, err);
}

static void on_closed(void *arg, const char *why)
{
    struct player *p = arg;

    (void)why;
    p->dead = true;
    share_guest_gone(p->guest);
}

static void on_drained(void *arg)
{
    share_guest_drained(((struct player *)arg)->guest);
}

static const struct link_events events = {on_frame, on_closed, on_drained};

static void turn(void)
{
    for (int i = 0; i < 20; i++)
        loop_step(loop, 0);
    share_hub_sweep(hub);
}

static void join(struct player *p, uint8_t flags, uint64_t newest)
{
    const struct share s = {.op = SHARE_JOIN, .flags = flags, .number = newest, .path = (char *)"data"};
    int ends[2];

    *p = (struct player){0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    p->fd = ends[0];
    p->hub_fd = ends[1];
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
    wire_parser_init(&p->parser);
    link_init(&p->link, loop, p->hub_fd, p->hub_fd, &events, p);
    p->guest = share_guest_join(hub, &p->link, &s);
    turn();
}

static void quit(struct player *p)
{
    close(p->fd);
    turn();
    link_clear(&p->link);
    close(p->hub_fd);
    wire_parser_clear(&p->parser);
}

static void say(struct player *p, struct share s)
{
    struct buf b = BUF_INIT(2 * LIMIT_FRAME);

    assert_int_equal(share_put(&b, &s), 0);
    assert_int_equal(write(p->fd, b.data, b.len), (ssize_t)b.len);
    buf_clear(&b);
    turn();
}

/* The next frame; op 0: there is none. Its strings are the caller's. */
static struct share heard(struct player *p)
{
    char bytes[65536];
    ssize_t n = read(p->fd, bytes, sizeof(bytes));
    struct wire_frame f;
    struct share s = {0};

    if (n > 0)
        assert_int_equal(wire_parser_feed(&p->parser, bytes, (size_t)n, NULL), 0);
    if (wire_parser_next(&p->parser, &f, NULL) > 0)
        assert_int_equal(share_get(&f, &s, NULL), 0);
    return s;
}

static uint64_t expect(struct player *p, uint8_t op, uint8_t flags)
{
    struct share s = heard(p);
    uint64_t number = s.number;

    assert_int_equal(s.op, op);
    assert_int_equal(s.flags, flags);
    share_clear(&s);
    return number;
}

#define NOTHING(p) expect((p), 0, 0)

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    hub = share_hub_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    share_hub_free(hub);
    loop_free(loop);
    return 0;
}

/* The first takes what was saved; the second gets what the first has. */
static void let_in(struct player *a, struct player *b)
{
    join(a, 0, 4);
    assert_int_equal(expect(a, SHARE_ALONE, 0), 0);
    join(b, 0, 4);
    NOTHING(b); /* a is not ready yet */
    say(a, (struct share){.op = SHARE_READY});
    assert_int_equal(expect(a, SHARE_ROLE, SHARE_SAVE), 0);
    say(a, (struct share){.op = SHARE_FLUSHED, .number = expect(a, SHARE_FLUSH, 0)});
    expect(a, SHARE_SNAPSHOT, 0);
    say(a, (struct share){.op = SHARE_BEGIN});
    say(a, (struct share){.op = SHARE_ENTRY, .kind = SHARE_DIR, .path = (char *)"dir"});
    say(a, (struct share){.op = SHARE_COMPLETE});
    expect(b, SHARE_BEGIN, 0);
    expect(b, SHARE_ENTRY, 0);
    expect(b, SHARE_COMPLETE, 0);
    NOTHING(a); /* what was brought is no change */
}

static void test_order(void **state)
{
    struct player a, b, c;
    struct share s;

    (void)state;
    let_in(&a, &b);
    say(&b, (struct share){.op = SHARE_ENTRY, .kind = SHARE_FILE, .path = (char *)"f", .size = 1});
    say(&a, (struct share){.op = SHARE_GONE, .path = (char *)"g"});
    say(&b, (struct share){.op = SHARE_DATA, .bytes = (const uint8_t *)"x", .len = 1});
    say(&b, (struct share){.op = SHARE_END});
    s = heard(&a);
    assert_int_equal(s.op, SHARE_ENTRY);
    assert_true(s.from != 0);
    share_clear(&s);
    assert_int_equal(expect(&a, SHARE_ECHO, 0), 1);
    expect(&a, SHARE_DATA, 0);
    expect(&a, SHARE_END, 0);
    NOTHING(&a);
    expect(&b, SHARE_GONE, 0);
    assert_int_equal(expect(&b, SHARE_ECHO, 0), 1);
    NOTHING(&b);
    /* a third asks while b is in the midst of a file, and b goes away: its half is dropped, a lets the third in */
    say(&b, (struct share){.op = SHARE_ENTRY, .kind = SHARE_FILE, .path = (char *)"half", .size = 9});
    join(&c, 0, 4);
    quit(&b);
    expect(&a, SHARE_ENTRY, 0);
    say(&a, (struct share){.op = SHARE_FLUSHED, .number = expect(&a, SHARE_FLUSH, 0)});
    expect(&a, SHARE_DROP, 0);
    expect(&a, SHARE_SNAPSHOT, 0);
    quit(&a); /* and so does a: the third is alone, and may take what was saved */
    expect(&c, SHARE_ALONE, 0);
    quit(&c);
}

/* A barrier ends when the others were flushed, or are gone. */
static void test_barrier(void **state)
{
    struct player a, b;

    (void)state;
    let_in(&a, &b);
    say(&a, (struct share){.op = SHARE_BARRIER, .number = 77});
    NOTHING(&a);
    say(&b, (struct share){.op = SHARE_FLUSHED, .number = expect(&b, SHARE_FLUSH, 0)});
    assert_int_equal(expect(&a, SHARE_DONE, 0), 77);
    say(&a, (struct share){.op = SHARE_BARRIER, .number = 78});
    quit(&b);
    assert_int_equal(expect(&a, SHARE_DONE, 0), 78);
    expect(&a, SHARE_OFF, 0);
    quit(&a);
}

/* Who goes leaves saving to the others; the last one saves, and whoever comes later must have seen that. */
static void test_leaving(void **state)
{
    struct player a, b, c;
    uint64_t floor;

    (void)state;
    let_in(&a, &b);
    say(&a, (struct share){.op = SHARE_LEAVE});
    expect(&a, SHARE_LEFT, 0);
    floor = expect(&b, SHARE_ROLE, SHARE_SAVE);
    assert_true(floor > 4);
    quit(&a);
    expect(&b, SHARE_OFF, 0);
    say(&b, (struct share){.op = SHARE_LEAVE});
    expect(&b, SHARE_LEFT, SHARE_SAVE);
    join(&c, 0, 4);
    NOTHING(&c); /* until b has saved */
    say(&b, (struct share){.op = SHARE_SAVED, .number = floor + 1});
    assert_true(expect(&c, SHARE_ALONE, 0) == floor + 1);
    quit(&b);
    quit(&c);
}

/* Whoever may not write tells nothing, and gets what the first writer has. */
static void test_read_only(void **state)
{
    struct player r, w;

    (void)state;
    join(&r, SHARE_RO, 3);
    expect(&r, SHARE_ALONE, 0);
    say(&r, (struct share){.op = SHARE_READY});
    expect(&r, SHARE_ROLE, 0);
    join(&w, 0, 3);
    expect(&w, SHARE_ALONE, 0);
    say(&w, (struct share){.op = SHARE_READY});
    expect(&w, SHARE_ROLE, SHARE_SAVE);
    say(&w, (struct share){.op = SHARE_FLUSHED, .number = expect(&w, SHARE_FLUSH, 0)});
    expect(&w, SHARE_SNAPSHOT, 0);
    say(&w, (struct share){.op = SHARE_BEGIN});
    say(&w, (struct share){.op = SHARE_COMPLETE});
    expect(&r, SHARE_BEGIN, 0);
    expect(&r, SHARE_COMPLETE, 0);
    say(&r, (struct share){.op = SHARE_GONE, .path = (char *)"f"});
    assert_true(r.dead); /* it broke the rules */
    expect(&w, SHARE_OFF, 0);
    quit(&r);
    quit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_barrier, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
