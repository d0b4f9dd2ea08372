/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include "backends/session/session.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/strlist.h"
#include "compat/sys/loop.h"
#include "translate/wire/wire.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * The client half against a peer that breaks the rules: the container is hostile, so each of these must end the session
 * with one line and nothing else. What an honest agent says is tested with real ones (agent_session, agent_mounts).
 */

struct owner {
    struct loop *loop;
    struct session *session;
    struct buf out, got, notes;
    unsigned done;
    enum session_end end;
    int code;
    bool agent_failed;
    char *error;
};

static void on_out(void *arg, const void *bytes, size_t len)
{
    assert_int_equal(buf_add(&((struct owner *)arg)->out, bytes, len), 0);
}

static size_t on_out_pending(void *arg)
{
    (void)arg;
    return 0;
}

static size_t on_output(void *arg, int stream, const void *bytes, size_t len)
{
    (void)arg;
    (void)stream;
    (void)bytes;
    (void)len;
    return 0; /* a reader that takes nothing */
}

static void on_note(void *arg, const char *line)
{
    buf_addf(&((struct owner *)arg)->notes, "%s\n", line);
}

static void on_done(void *arg, const struct session_result *result)
{
    struct owner *o = arg;

    o->done++;
    o->end = result->end;
    o->code = result->code;
    o->agent_failed = result->agent_failed;
    o->error = xstrdup(result->err.msg);
}

static const struct session_callbacks callbacks = {
    .out = on_out, .out_pending = on_out_pending, .output = on_output, .note = on_note, .done = on_done};

static void owner_start(struct owner *o, size_t n_mounts)
{
    struct strlist argv = STRLIST_INIT;
    struct session_start start = {.argv = &argv, .main = true, .attach_stdin = true};
    struct session_mount *mounts = xcalloc(n_mounts + 1, sizeof(*mounts));

    strlist_add(&argv, "true");
    *o = (struct owner){.loop = loop_new()};
    buf_init(&o->out, 1u << 26);
    buf_init(&o->got, 1u << 26);
    buf_init(&o->notes, 1u << 20);
    for (size_t i = 0; i < n_mounts; i++)
        mounts[i] =
            (struct session_mount){.host = {.dirfd = -1}, .target = "/work", .label = "./work", .keep_dirfd = -1};
    o->session = session_new(o->loop, &start, mounts, n_mounts, &callbacks, o);
    free(mounts);
    strlist_clear(&argv);
}

static void owner_clear(struct owner *o)
{
    session_free(o->session);
    loop_free(o->loop);
    buf_clear(&o->out);
    buf_clear(&o->got);
    buf_clear(&o->notes);
    free(o->error);
}

static void put_hello(struct buf *b, int64_t skew_ns)
{
    struct wire_hello h = {.oldest = 1, .newest = 1, .program = (char *)"atp-agent", .machine = (char *)""};
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    h.clock_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec + skew_ns;
    wire_put_hello(b, &h);
}

static void feed(struct owner *o, struct buf *b)
{
    session_feed(o->session, b->data, b->len);
    buf_clear(b);
}

/* Feeds HELLO and then b to a session that has said START; expects it to end as lost, with this in its line. */
static void expect_lost(struct buf *b, bool hello, const char *text)
{
    struct buf first = BUF_INIT(1 << 20);
    struct owner o;

    owner_start(&o, 0);
    loop_step(o.loop, 0);
    assert_true(session_prelude_done(o.session));
    if (hello)
        put_hello(&first, 0);
    feed(&o, &first);
    assert_int_equal(o.done, 0);
    feed(&o, b);
    assert_int_equal(o.done, 1);
    assert_int_equal(o.end, SESSION_LOST);
    assert_int_equal(o.code, 125);
    if (!strstr(o.error, text))
        fail_msg("'%s' is not in '%s'", text, o.error);
    session_lost(o.session, "again"); /* harmless */
    session_feed(o.session, "\0", 1);
    assert_int_equal(o.done, 1);
    owner_clear(&o);
}

static void test_rule_breakers(void **state)
{
    struct buf b = BUF_INIT(1u << 26);
    struct wire_exit e = {.kind = WIRE_EXIT_CODE};
    struct wire_pushed p = {.index = 0};
    struct wire_delta_end end = {.index = 0};
    cleanup_free char *zeros = xcalloc(1, LIMIT_FRAME);

    (void)state;
    buf_adds(&b, "HTTP/1.1 200 OK\r\n");
    expect_lost(&b, false, "unknown frame type");
    wire_put_exit(&b, &e);
    expect_lost(&b, false, "before HELLO");
    put_hello(&b, 0);
    expect_lost(&b, true, "second HELLO");
    wire_put_pushed(&b, &p);
    expect_lost(&b, true, "PUSHED for a mount");
    wire_put_stale(&b, 0, true);
    expect_lost(&b, true, "STALE for a mount");
    wire_put_delta(&b, 0, "x", 1); /* files for a mount that does not exist */
    expect_lost(&b, true, "which is not to be pulled");
    wire_put_delta_end(&b, &end);
    expect_lost(&b, true, "which is not to be pulled");
    wire_put_credit(&b, WIRE_STREAM_STDIN, 1);
    expect_lost(&b, true, "more CREDIT than was used");
    wire_put(&b, WIRE_STDIN, "x", 1);
    expect_lost(&b, true, "out of place");
    wire_put_error(&b, WIRE_ERROR_INIT, "gone");
    expect_lost(&b, true, "ended the session: gone");
    for (unsigned i = 0; i < WIRE_WINDOW / LIMIT_FRAME; i++)
        wire_put(&b, WIRE_STDOUT, zeros, LIMIT_FRAME);
    wire_put(&b, WIRE_STDERR, "x", 1); /* one byte beyond the window, to a reader that takes nothing */
    expect_lost(&b, true, "more output came than was asked for");
}

static void test_push_error_and_lost(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    struct owner o;

    (void)state;
    owner_start(&o, 0);
    loop_step(o.loop, 0);
    put_hello(&b, 0);
    wire_put_error(&b, WIRE_ERROR_PUSH, "/work: no space left on device");
    feed(&o, &b);
    assert_int_equal(o.end, SESSION_PUSH_FAILED);
    assert_string_equal(o.error, "pushing to the container: /work: no space left on device");
    owner_clear(&o);
    owner_start(&o, 0);
    session_lost(o.session, NULL); /* before anything at all */
    assert_int_equal(o.end, SESSION_LOST);
    owner_clear(&o);
}

/* EXIT is the end only when the user has all output. */
static void test_exit_waits_for_output(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    struct wire_exit e = {.kind = WIRE_EXIT_CODE, .value = 7};
    struct owner o;

    (void)state;
    owner_start(&o, 0);
    loop_step(o.loop, 0);
    put_hello(&b, 0);
    wire_put(&b, WIRE_STDOUT, "abc", 3);
    wire_put_exit(&b, &e);
    feed(&o, &b);
    assert_int_equal(o.done, 0);
    session_output_closed(o.session, 1); /* the user does not want it any more */
    assert_int_equal(o.done, 1);
    assert_int_equal(o.end, SESSION_EXITED);
    assert_int_equal(o.code, 7);
    assert_int_equal((uint8_t)o.out.data[o.out.len - WIRE_HEADER], WIRE_FINISH);
    owner_clear(&o);
}

static void test_clock_skew(void **state)
{
    static const struct {
        int64_t skew;
        const char *note;
    } t[] = {{0, ""}, {INT64_C(3600000000000), "ahead of"}, {INT64_C(-3600000000000), "behind"}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct buf b = BUF_INIT(1 << 20);
        struct owner o;

        owner_start(&o, 1);
        loop_step(o.loop, 0);
        put_hello(&b, t[i].skew);
        feed(&o, &b);
        if (!strstr(o.notes.data, t[i].note) || (!t[i].note[0] && o.notes.len))
            fail_msg("%zu: %s", i, o.notes.data);
        owner_clear(&o);
    }
}

static void test_too_many_mounts(void **state)
{
    struct owner o;

    (void)state;
    owner_start(&o, WIRE_MOUNTS_MAX + 1);
    loop_step(o.loop, 0);
    assert_int_equal(o.done, 1);
    assert_int_equal(o.end, SESSION_PUSH_FAILED);
    assert_non_null(strstr(o.error, "256 mounts at most"));
    owner_clear(&o);
}

/* A peer that has greeted and then falls silent is lost; a suspended machine of ours is not its silence. */
static void test_silence(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    int64_t at = loop_now();
    struct owner o;

    (void)state;
    owner_start(&o, 0);
    session_set_lease(o.session, 50, 200);
    loop_step(o.loop, 0);
    put_hello(&b, 0);
    feed(&o, &b);
    {
        struct timespec nap = {.tv_nsec = 300000000};

        nanosleep(&nap, NULL);
    }
    loop_step(o.loop, 0);
    assert_int_equal(o.done, 0);
    while (!o.done && loop_now() < at + 10000)
        loop_step(o.loop, 10);
    assert_int_equal(o.end, SESSION_LOST);
    assert_true(loop_now() - at >= 480);
    assert_non_null(memchr(o.out.data, WIRE_HEARTBEAT, o.out.len));
    owner_clear(&o);
}

/* A tree whose turn is long in coming: what was gathered for one write goes once the peer has to hear of us. */
static void test_long_prelude(void **state)
{
    struct session_start start = {.argv = &(struct strlist)STRLIST_INIT, .main = true};
    struct session_mount mount = {
        .target = "/work", .label = "./work", .keep_dirfd = -1, .state_name = "m", .host = {.dirfd = -1}};
    char dir[] = "/tmp/atp-session-XXXXXX";
    struct owner o = {.loop = loop_new()};
    int lock, dirfd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    lock = openat(dirfd, "m.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    buf_init(&o.out, 1u << 20);
    mount.state_dirfd = mount.host.dirfd = dirfd;
    o.session = session_new(o.loop, &start, &mount, 1, &callbacks, &o);
    session_set_lease(o.session, 50, 60000);
    loop_step(o.loop, 0);
    assert_false(session_prelude_done(o.session));
    for (int64_t until = loop_now() + 20000; !session_prelude_done(o.session) && loop_now() < until;)
        loop_step(o.loop, 10);
    assert_true(session_prelude_done(o.session));
    assert_non_null(memchr(o.out.data, WIRE_HEARTBEAT, o.out.len));
    assert_int_equal(o.done, 0);
    session_lost(o.session, "enough");
    owner_clear(&o);
    close(lock);
    unlinkat(dirfd, "m.lock", 0);
    close(dirfd);
    rmdir(dir);
}

/* What the agent says of why cannot speak to the user's terminal, nor make lines of its own. */
static void test_words_are_tame(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    struct wire_exit e = {.kind = WIRE_EXIT_REFUSED,
                          .refusal = WIRE_REFUSAL_USER,
                          .value = 126,
                          .text = (char *)"no \033[2J\033]0;x\a\xc2\x9b"
                                          "31m\ndocker: fine\177 \xc3\xa9"};
    struct owner o;

    (void)state;
    owner_start(&o, 0);
    loop_step(o.loop, 0);
    put_hello(&b, 0);
    wire_put_exit(&b, &e);
    feed(&o, &b);
    assert_int_equal(o.end, SESSION_REFUSED);
    assert_string_equal(o.error, "no ?[2J?]0;x???31m?docker: fine? \xc3\xa9");
    owner_clear(&o);
    wire_put_error(&b, WIRE_ERROR_INIT, "gone\033c");
    expect_lost(&b, true, "ended the session: gone?c");
}

/* A gap of our own longer than this is no silence of the peer's: a busy machine has gaps. */
#define BEAT_MS     300
#define PATIENCE_MS 700

/* Asks with a short patience, and answers with nothing but b, then heartbeats for so long. */
static void ask_a_heart(struct owner *o, const struct wire_ask *ask, struct buf *b, int64_t ms)
{
    int64_t until = loop_now() + ms;

    owner_start(o, 0);
    session_free(o->session);
    o->session = session_ask(o->loop, ask, NULL, 0, &callbacks, o);
    session_set_lease(o->session, BEAT_MS, 60000);
    session_set_patience(o->session, PATIENCE_MS);
    loop_step(o->loop, 0);
    feed(o, b);
    while (!o->done && loop_now() < until) {
        loop_step(o->loop, 20);
        wire_put(b, WIRE_HEARTBEAT, NULL, 0);
        wire_put_started(b, 1); /* what nobody asked for */
        if (!o->done)
            feed(o, b);
        buf_clear(b);
    }
}

/* A peer that keeps its lease and never answers, one that never says a word, and one that works. */
static void test_stalling(void **state)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_SIGNAL, .signo = 9, .text = (char *)""};
    struct wire_exit e = {.kind = WIRE_EXIT_CODE};
    struct buf b = BUF_INIT(1 << 20);
    struct owner o;

    (void)state;
    put_hello(&b, 0);
    ask_a_heart(&o, &ask, &b, 20000);
    assert_int_equal(o.done, 1);
    assert_int_equal(o.end, SESSION_LOST);
    assert_true(o.agent_failed);
    assert_string_equal(o.error, "the container's agent does not answer");
    owner_clear(&o);

    owner_start(&o, 0);
    session_set_lease(o.session, BEAT_MS, 60000);
    session_set_patience(o.session, PATIENCE_MS);
    for (int64_t until = loop_now() + 20000; !o.done && loop_now() < until;)
        loop_step(o.loop, 20);
    assert_int_equal(o.end, SESSION_LOST);
    assert_true(o.agent_failed);
    owner_clear(&o);

    put_hello(&b, 0);
    wire_put_exit(&b, &e);
    ask_a_heart(&o, &ask, &b, 20000);
    assert_int_equal(o.end, SESSION_EXITED);
    assert_false(o.agent_failed);
    owner_clear(&o);
}

/* What may last for ever may: a reader that is slow is not the agent's stalling. */
static void test_slow_reader(void **state)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_TOP, .text = (char *)""};
    cleanup_free char *zeros = xcalloc(1, LIMIT_FRAME);
    struct buf b = BUF_INIT(1u << 26);
    struct owner o;

    (void)state;
    put_hello(&b, 0);
    for (unsigned i = 0; i < WIRE_WINDOW / LIMIT_FRAME; i++)
        wire_put(&b, WIRE_STDOUT, zeros, LIMIT_FRAME);
    ask_a_heart(&o, &ask, &b, 3 * PATIENCE_MS);
    assert_int_equal(o.done, 0);
    owner_clear(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule_breakers),         cmocka_unit_test(test_push_error_and_lost),
        cmocka_unit_test(test_exit_waits_for_output), cmocka_unit_test(test_clock_skew),
        cmocka_unit_test(test_too_many_mounts),       cmocka_unit_test(test_silence),
        cmocka_unit_test(test_words_are_tame),        cmocka_unit_test(test_stalling),
        cmocka_unit_test(test_slow_reader),           cmocka_unit_test(test_long_prelude),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
