/* link: atp_grpc atp_sys atp_base atp_openssl */
#include "backends/grpc/grpc.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/loop.h"
#include "tests/unit/grpc_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define PATH(method) "/t.T/" method

/* One server, one channel; the kind of connection is what most tests are repeated for. */
struct bench {
    struct server *server;
    struct loop *loop;
    struct grpc_channel *ch;
};

static struct bench bench_open(enum server_kind kind, int64_t lost_ms)
{
    struct bench b = {.server = server_start(kind), .loop = loop_new()};
    struct grpc_options options = {.lost_ms = lost_ms, .ca_file = b.server->ca_path[0] ? b.server->ca_path : NULL};

    b.ch = grpc_channel_new(b.loop, b.server->url, &options, NULL);
    assert_non_null(b.ch);
    return b;
}

static void bench_close(struct bench *b)
{
    grpc_channel_free(b->ch);
    loop_free(b->loop);
    server_stop(b->server);
}

/* A unary call; returns the status. */
static int ask(struct bench *b, const char *path, const char *request, struct grpc_reply *reply)
{
    cleanup_err struct err err = ERR_INIT;
    int ret = grpc_call_sync(b->ch, path, NULL, 0, request, strlen(request), reply, &err);

    assert_int_equal(ret, reply->status == GRPC_OK ? 0 : -1);
    if (ret < 0)
        assert_int_equal(err.code, reply->status);
    return reply->status;
}

/* What a call with handlers has seen. */
struct seen {
    size_t messages, bytes, drained;
    bool ended;
    int status;
    char text[256];
    bool unprocessed, heard, from_server;
    size_t pause_after;        /* pause when this many messages came */
    struct grpc_call **cancel; /* cancelled from the first message */
};

static void seen_message(struct grpc_call *call, const void *data, size_t len, void *arg)
{
    struct seen *seen = arg;

    (void)data;
    assert_false(seen->ended);
    seen->messages++;
    seen->bytes += len;
    if (seen->pause_after && seen->messages == seen->pause_after)
        grpc_call_pause(call);
    if (seen->cancel) {
        grpc_call_cancel(*seen->cancel);
        *seen->cancel = NULL;
        seen->cancel = NULL;
    }
}

static void seen_drained(struct grpc_call *call, void *arg)
{
    struct seen *seen = arg;

    (void)call;
    seen->drained++;
}

static void seen_end(struct grpc_call *call, const struct grpc_result *result, void *arg)
{
    struct seen *seen = arg;

    (void)call;
    assert_false(seen->ended);
    seen->ended = true;
    seen->status = result->status;
    seen->unprocessed = result->unprocessed;
    seen->heard = result->heard;
    seen->from_server = result->from_server;
    snprintf(seen->text, sizeof(seen->text), "%s", result->message);
}

static const struct grpc_handlers seen_handlers = {seen_message, seen_drained, seen_end};

static struct grpc_call *start(struct bench *b, const char *path, const char *request, int64_t deadline_ms,
                               struct seen *seen)
{
    struct grpc_call *call = grpc_call_start(b->ch, path, NULL, deadline_ms, &seen_handlers, seen);

    if (request) {
        assert_int_equal(grpc_call_send(call, request, strlen(request)), 0);
        grpc_call_finish(call);
    }
    return call;
}

/* Turns the loop until *done, for at most ms. */
static void turn_until(struct bench *b, const bool *done, int64_t ms)
{
    int64_t end = loop_now() + ms;

    while (!*done && loop_now() < end)
        loop_step(b->loop, 10);
}

static void turn_for(struct bench *b, int64_t ms)
{
    const bool never = false;

    turn_until(b, &never, ms);
}

/* The same exchange over each kind of connection: one connection serves it all. */
static void unary_everywhere(void **state)
{
    const enum server_kind kinds[] = {SERVER_UNIX, SERVER_TCP, SERVER_TLS};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct bench b = bench_open(kinds[i], 0);
        struct grpc_reply reply;

        assert_int_equal(ask(&b, PATH("Echo"), "hello", &reply), GRPC_OK);
        assert_string_equal(reply.data, "hello");
        grpc_reply_clear(&reply);
        assert_int_equal(ask(&b, PATH("Echo"), "", &reply), GRPC_OK);
        assert_int_equal(reply.len, 0);
        grpc_reply_clear(&reply);
        assert_int_equal(ask(&b, PATH("OneByteFrames"), "", &reply), GRPC_INTERNAL); /* two messages to a unary call */
        grpc_reply_clear(&reply);
        assert_int_equal(grpc_channel_stats(b.ch).connects, 1);
        assert_int_equal(atomic_load(&b.server->connections), 1);
        bench_close(&b);
    }
}

/* What the server is told: fixed fields, ours, the deadline. */
static void request_fields(void **state)
{
    struct bench b = bench_open(SERVER_TCP, 0);
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    struct grpc_reply reply;
    const char *const want[] = {
        ":method=POST\n",
        ":scheme=http\n",
        ":path=/t.T/Metadata\n",
        "te=trailers\n",
        "x-one=1\n",
        "x-equals=a=b\n",
        "content-type=application/grpc\n",
        "grpc-timeout=2500m\n",
        ":authority=127.0.0.1:",
        "user-agent=atp-docker/",
    };

    (void)state;
    strlist_add(&metadata, "x-one=1");
    strlist_add(&metadata, "x-equals=a=b");
    assert_int_equal(grpc_call_sync(b.ch, PATH("Metadata"), &metadata, 2500, "", 0, &reply, NULL), 0);
    for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
        assert_non_null(strstr(reply.data, want[i]));
    grpc_reply_clear(&reply);
    bench_close(&b);
}

/* Each way in which an answer can be an error. */
static void unhappy_ends(void **state)
{
    const struct {
        const char *path;
        int status;
        const char *text;
        bool from_server, unprocessed;
    } cases[] = {
        {PATH("TrailersOnly"), GRPC_NOT_FOUND, "no 100% such\nthing", true, false},
        {PATH("Details"), GRPC_RESOURCE_EXHAUSTED, "slow down", true, false},
        {PATH("NoStatus"), GRPC_UNKNOWN, "the server ended the call without a status", false, false},
        {PATH("Http503"), GRPC_UNAVAILABLE, "the server answered with HTTP status 503", false, false},
        {PATH("Html"), GRPC_UNKNOWN, "the server does not speak gRPC", false, false},
        {PATH("Oversize"), GRPC_RESOURCE_EXHAUSTED,
         "a message of 2147483647 bytes is larger than the limit of 104857600", false, false},
        {PATH("Truncated"), GRPC_INTERNAL, "the answer broke off within a message", false, false},
        {PATH("Reset"), GRPC_INTERNAL, "the server reset the call: INTERNAL_ERROR", false, false},
        {PATH("Refuse"), GRPC_UNAVAILABLE, "the server reset the call: REFUSED_STREAM", false, true},
        {PATH("Nonsense"), GRPC_UNIMPLEMENTED, "unknown method", true, false},
    };
    struct bench b = bench_open(SERVER_UNIX, 0);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct grpc_reply reply;

        assert_int_equal(ask(&b, cases[i].path, "x", &reply), cases[i].status);
        assert_string_equal(reply.message, cases[i].text);
        assert_int_equal(reply.from_server, cases[i].from_server);
        assert_int_equal(reply.unprocessed, cases[i].unprocessed);
        if (cases[i].status == GRPC_RESOURCE_EXHAUSTED && cases[i].from_server) {
            assert_int_equal(reply.details_len, 4);
            assert_memory_equal(reply.details, "\x08\x08\x1a\0", 4);
        }
        grpc_reply_clear(&reply);
    }
    /* The connection survived them all. */
    assert_int_equal(grpc_channel_stats(b.ch).connects, 1);
    bench_close(&b);
}

/* Nobody listens; no such socket; a port that says nothing; a name that does not exist. */
static void connect_failures(void **state)
{
    struct loop *loop = loop_new();
    int mute = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    cleanup_free char *mute_url = NULL;
    const char *urls[] = {"http://127.0.0.1:1", "unix:///nonexistent/socket", NULL, "http://no-such-name.invalid:80"};
    const char *texts[] = {"cannot connect to http://127.0.0.1:1: Connection refused",
                           "cannot connect to unix:///nonexistent/socket: No such file or directory",
                           "no answer within 0.3 s", "cannot connect to http://no-such-name.invalid:80: "};

    (void)state;
    bind(mute, (struct sockaddr *)&address, sizeof(address));
    listen(mute, 1);
    getsockname(mute, (struct sockaddr *)&address, &len);
    mute_url = xasprintf("https://127.0.0.1:%u", ntohs(address.sin_port)); /* accepts, never says a word of TLS */
    urls[2] = mute_url;
    for (size_t i = 0; i < 4; i++) {
        struct grpc_options options = {.connect_ms = i == 2 ? 300 : 5000};
        struct grpc_channel *ch = grpc_channel_new(loop, urls[i], &options, NULL);
        struct grpc_reply reply;
        int64_t before = loop_now();

        assert_int_equal(grpc_call_sync(ch, PATH("Echo"), NULL, 0, "", 0, &reply, NULL), -1);
        assert_int_equal(reply.status, GRPC_UNAVAILABLE);
        assert_non_null(strstr(reply.message, texts[i]));
        assert_true(reply.unprocessed);
        assert_true(i != 2 || loop_now() - before < 4500);
        grpc_reply_clear(&reply);
        grpc_channel_free(ch);
    }
    close(mute);
    loop_free(loop);
}

/* Certificates: unknown issuer, another name, no HTTP/2; and the leave to take any. */
static void tls_trust(void **state)
{
    const enum server_kind kinds[] = {SERVER_TLS, SERVER_TLS_OTHER_NAME, SERVER_TLS_NO_H2, SERVER_TLS};
    const char *texts[] = {"the server's certificate is not trusted: self-signed certificate",
                           "the server's certificate is not trusted: hostname mismatch",
                           "the server does not speak HTTP/2", NULL};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct bench b = bench_open(kinds[i], 0);
        struct grpc_options options = {.ca_file = i == 0 || i == 3 ? NULL : b.server->ca_path,
                                       .tls_unverified = i == 3};
        struct grpc_channel *ch = grpc_channel_new(b.loop, b.server->url, &options, NULL);
        struct grpc_reply reply;

        assert_int_equal(grpc_call_sync(ch, PATH("Echo"), NULL, 0, "", 0, &reply, NULL), texts[i] ? -1 : 0);
        if (texts[i]) {
            assert_non_null(strstr(reply.message, texts[i]));
            assert_true(reply.unprocessed);
        }
        grpc_reply_clear(&reply);
        grpc_channel_free(ch);
        bench_close(&b);
    }
}

/* Two hundred calls at once on one connection, one in five cancelled, big and small. */
static void many_at_once(void **state)
{
    enum { CALLS = 200 };
    const enum server_kind kinds[] = {SERVER_UNIX, SERVER_TLS};

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct bench b = bench_open(kinds[k], 0);
        struct seen seen[CALLS] = {0};
        bool all = false;

        for (size_t i = 0; i < CALLS; i++) {
            struct grpc_call *call = start(&b, i % 2 ? PATH("Stream-50-20000") : PATH("Stream-3-1"), "", 0, &seen[i]);

            if (i % 5 == 0)
                grpc_call_cancel(call);
        }
        for (int64_t end = loop_now() + 20000; !all && loop_now() < end;) {
            loop_step(b.loop, 100);
            all = true;
            for (size_t i = 0; i < CALLS; i++)
                all = all && (seen[i].ended || i % 5 == 0);
        }
        for (size_t i = 0; i < CALLS; i++) {
            assert_int_equal(seen[i].ended, i % 5 != 0);
            if (i % 5 == 0)
                continue;
            assert_int_equal(seen[i].status, GRPC_OK);
            assert_int_equal(seen[i].messages, i % 2 ? 50 : 3);
            assert_int_equal(seen[i].bytes, i % 2 ? 1000000 : 3);
        }
        assert_int_equal(atomic_load(&b.server->connections), 1);
        bench_close(&b);
    }
}

/* One of several streams is cancelled half-way, from within its own handler and from that of another. */
static void cancel_one_of_several(void **state)
{
    struct bench b = bench_open(SERVER_TLS, 0);
    struct seen own = {0}, other = {0}, victim = {0}, hanging = {0};
    struct grpc_call *own_call, *victim_call, *hanging_call;

    (void)state;
    own_call = start(&b, PATH("Stream-1000-10000"), "", 0, &own);
    own.cancel = &own_call;
    victim_call = start(&b, PATH("Stream-1000-10000"), "", 0, &victim);
    start(&b, PATH("Stream-1000-10000"), "", 0, &other);
    other.cancel = &victim_call;
    hanging_call = start(&b, PATH("Hang"), "", 0, &hanging);
    turn_until(&b, &other.ended, 10000);
    assert_int_equal(own.messages, 1);
    assert_false(own.ended);
    assert_false(victim.ended);
    assert_int_equal(other.status, GRPC_OK);
    assert_int_equal(other.messages, 1000);
    grpc_call_cancel(hanging_call);
    turn_for(&b, 100);
    assert_true(atomic_load(&b.server->resets) >= 2); /* of three: one may have ended before */
    assert_int_equal(atomic_load(&b.server->connections), 1);
    bench_close(&b);
}

/* A paused reader holds its own stream only, and holds it at about one window; afterwards nothing is missing. */
static void pause_and_resume(void **state)
{
    struct bench b = bench_open(SERVER_UNIX, 0);
    struct seen slow = {.pause_after = 2}, quick = {0};
    struct grpc_call *call;
    int sent;

    (void)state;
    call = start(&b, PATH("Stream-1200-100000"), "", 0, &slow);
    for (int64_t end = loop_now() + 10000; slow.messages < 2 && loop_now() < end;)
        loop_step(b.loop, 10);
    turn_for(&b, 500);
    assert_int_equal(slow.messages, 2);
    start(&b, PATH("Stream-200-100000"), "", 0, &quick);
    turn_until(&b, &quick.ended, 10000);
    assert_int_equal(quick.messages, 200);
    assert_int_equal(slow.messages, 2);
    sent = atomic_load(&b.server->served_bytes) - (int)quick.bytes;
    assert_true(sent < (int)(LIMIT_GRPC_WINDOW + (2u << 20)));
    assert_true(sent > (int)(LIMIT_GRPC_WINDOW / 2));
    grpc_call_resume(call);
    turn_until(&b, &slow.ended, 20000);
    assert_int_equal(slow.status, GRPC_OK);
    assert_int_equal(slow.messages, 1200);
    assert_int_equal(slow.bytes, 120000000);
    bench_close(&b);
}

/* A paused call that has ended says so only when its messages were taken. */
static void end_waits_for_resume(void **state)
{
    struct bench b = bench_open(SERVER_UNIX, 0);
    struct seen seen = {.pause_after = 1};
    struct grpc_call *call = start(&b, PATH("Stream-3-10"), "", 0, &seen);

    (void)state;
    turn_for(&b, 200);
    assert_int_equal(seen.messages, 1);
    assert_false(seen.ended);
    grpc_call_resume(call);
    assert_int_equal(seen.messages, 1); /* never from within a grpc_* function */
    turn_until(&b, &seen.ended, 2000);
    assert_int_equal(seen.messages, 3);
    bench_close(&b);
}

/* A client stream: messages over time, room is told, then the answer. */
static void client_stream(void **state)
{
    struct bench b = bench_open(SERVER_TLS, 0);
    struct seen seen = {0};
    struct grpc_call *call = start(&b, PATH("Echo"), NULL, 0, &seen);
    cleanup_free char *big = xcalloc(1, 3 << 20);

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(grpc_call_send(call, "ab", 2), 0);
        turn_for(&b, 30);
        assert_int_equal(grpc_call_pending(call), 0);
    }
    assert_int_equal(seen.drained, 3);
    assert_int_equal(grpc_call_send(call, big, 3 << 20), 0);
    assert_int_equal(grpc_call_pending(call), (3 << 20) + 5);
    grpc_call_finish(call);
    assert_int_equal(grpc_call_send(call, "x", 1), -1);
    turn_until(&b, &seen.ended, 10000);
    assert_int_equal(seen.status, GRPC_OK);
    assert_int_equal(seen.messages, 4);
    assert_int_equal(seen.bytes, 6 + (3 << 20));
    bench_close(&b);
}

/* The server answers while we are still sending: that is the answer, and the connection lives. */
static void early_answer(void **state)
{
    struct bench b = bench_open(SERVER_UNIX, 0);
    struct seen seen = {0};
    struct grpc_call *call = start(&b, PATH("Early"), NULL, 0, &seen);
    struct grpc_reply reply;

    (void)state;
    grpc_call_send(call, "on and on", 9);
    turn_until(&b, &seen.ended, 5000);
    assert_int_equal(seen.status, GRPC_FAILED_PRECONDITION);
    assert_string_equal(seen.text, "heard enough");
    assert_true(seen.from_server);
    assert_int_equal(ask(&b, PATH("Echo"), "still here", &reply), GRPC_OK);
    grpc_reply_clear(&reply);
    assert_int_equal(grpc_channel_stats(b.ch).connects, 1);
    bench_close(&b);
}

/* GOAWAY: the older call is served to its end, the refused one may be repeated, the next goes over a new connection. */
static void goaway(void **state)
{
    struct bench b = bench_open(SERVER_TLS, 0);
    struct seen older = {0}, refused = {0};
    struct grpc_reply reply;

    (void)state;
    start(&b, PATH("Stream-300-100000"), "", 0, &older);
    start(&b, PATH("Goaway"), "", 0, &refused);
    turn_until(&b, &refused.ended, 5000);
    assert_int_equal(refused.status, GRPC_UNAVAILABLE);
    assert_true(refused.unprocessed);
    assert_int_equal(ask(&b, PATH("Echo"), "new", &reply), GRPC_OK);
    grpc_reply_clear(&reply);
    assert_int_equal(grpc_channel_stats(b.ch).connects, 2);
    turn_until(&b, &older.ended, 10000);
    assert_int_equal(older.status, GRPC_OK);
    assert_int_equal(older.messages, 300);
    bench_close(&b);
}

/* The connection breaks under two calls: both end once, may have been processed, and the next call gets a new one. */
static void broken_connection(void **state)
{
    struct bench b = bench_open(SERVER_UNIX, 0);
    struct seen hanging = {0}, closing = {0};
    struct grpc_reply reply;

    (void)state;
    start(&b, PATH("Hang"), "", 0, &hanging);
    start(&b, PATH("Close"), "", 0, &closing);
    turn_until(&b, &hanging.ended, 5000);
    turn_until(&b, &closing.ended, 5000);
    assert_int_equal(hanging.status, GRPC_UNAVAILABLE);
    assert_int_equal(closing.status, GRPC_UNAVAILABLE);
    assert_false(hanging.unprocessed);
    assert_int_equal(ask(&b, PATH("Echo"), "again", &reply), GRPC_OK);
    grpc_reply_clear(&reply);
    bench_close(&b);
}

/* A peer that answers PINGs may take its time; one that says nothing at all is given up in time. */
static void silent_peer(void **state)
{
    struct bench b = bench_open(SERVER_TCP, 300);
    struct seen patient = {0}, lost = {0}, lost_too = {0};
    int64_t before;

    (void)state;
    start(&b, PATH("Hang"), "", 0, &patient);
    turn_for(&b, 1000);
    assert_false(patient.ended);
    assert_true(atomic_load(&b.server->pings) >= 3);
    start(&b, PATH("Silence"), "", 0, &lost);
    start(&b, PATH("Hang"), "", 0, &lost_too);
    before = loop_now();
    turn_until(&b, &lost.ended, 5000);
    assert_true(loop_now() - before >= 200);
    assert_true(loop_now() - before < 4500);
    assert_true(lost.ended && lost_too.ended && patient.ended);
    assert_int_equal(lost.status, GRPC_UNAVAILABLE);
    assert_true(patient.heard);
    assert_non_null(strstr(lost.text, "is lost: it was silent for 0."));
    bench_close(&b);
}

/* A server that finds the PINGs too many gets fewer of them on the next connection. */
static void calmer(void **state)
{
    struct bench b = bench_open(SERVER_TCP, 150);
    struct seen hanging = {0};
    struct grpc_reply reply;
    int pings;

    (void)state;
    assert_int_equal(ask(&b, PATH("Calm"), "", &reply), GRPC_OK);
    grpc_reply_clear(&reply);
    pings = atomic_load(&b.server->pings);
    start(&b, PATH("Hang"), "", 0, &hanging);
    turn_for(&b, 500);
    assert_false(hanging.ended);
    assert_int_equal(atomic_load(&b.server->pings), pings);
    assert_int_equal(grpc_channel_stats(b.ch).connects, 2);
    bench_close(&b);
}

/* Deadlines: of a call that hangs, of one that is paused, and none for one that is done. */
static void deadlines(void **state)
{
    struct bench b = bench_open(SERVER_UNIX, 0);
    struct seen hanging = {0}, paused = {.pause_after = 1}, done = {0};
    int64_t before = loop_now();

    (void)state;
    start(&b, PATH("Hang"), "", 1000, &hanging);
    start(&b, PATH("Stream-5-5"), "", 1000, &paused);
    start(&b, PATH("Echo"), "x", 1000, &done);
    turn_until(&b, &hanging.ended, 20000);
    assert_true(loop_now() - before >= 1000);
    turn_until(&b, &paused.ended, 20000);
    assert_int_equal(hanging.status, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(paused.status, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(paused.messages, 1);
    assert_int_equal(done.status, GRPC_OK);
    for (int i = 0; i < 200 && !atomic_load(&b.server->resets); i++)
        turn_for(&b, 100);
    assert_true(atomic_load(&b.server->resets) >= 1);
    bench_close(&b);
}

/* Too large to be sent: refused here, and the call can still be used. */
static void own_message_too_large(void **state)
{
    struct bench b = bench_open(SERVER_UNIX, 0);
    cleanup_free char *big = xcalloc(1, LIMIT_GRPC_MESSAGE + 1);
    struct seen seen = {0};
    struct grpc_call *call = start(&b, PATH("Echo"), NULL, 0, &seen);
    struct grpc_reply reply;

    (void)state;
    assert_int_equal(grpc_call_send(call, big, LIMIT_GRPC_MESSAGE + 1), -1);
    assert_int_equal(grpc_call_send(call, "ok", 2), 0);
    grpc_call_finish(call);
    turn_until(&b, &seen.ended, 5000);
    assert_int_equal(seen.bytes, 2);
    assert_int_equal(grpc_call_sync(b.ch, PATH("Echo"), NULL, 0, big, LIMIT_GRPC_MESSAGE + 1, &reply, NULL), -1);
    assert_int_equal(reply.status, GRPC_RESOURCE_EXHAUSTED);
    grpc_reply_clear(&reply);
    /* One of exactly the limit goes there and back: larger than the window. */
    grpc_call_sync(b.ch, PATH("Echo"), NULL, 0, big, LIMIT_GRPC_MESSAGE, &reply, NULL);
    assert_string_equal(reply.message, "");
    assert_int_equal(reply.len, LIMIT_GRPC_MESSAGE);
    grpc_reply_clear(&reply);
    bench_close(&b);
}

/* The channel goes while calls are open, also while it connects: no handler is called. */
static void free_with_open_calls(void **state)
{
    (void)state;
    for (int turns = 0; turns < 6; turns++) {
        struct bench b = bench_open(SERVER_TLS, 0);
        struct seen seen[3] = {0};

        for (size_t i = 0; i < 3; i++)
            start(&b, i ? PATH("Hang") : PATH("Stream-100-100000"), "", 1000, &seen[i]);
        for (int i = 0; i < turns; i++)
            loop_step(b.loop, 20);
        bench_close(&b);
        for (size_t i = 0; i < 3; i++)
            assert_false(seen[i].ended);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unary_everywhere),
        cmocka_unit_test(request_fields),
        cmocka_unit_test(unhappy_ends),
        cmocka_unit_test(connect_failures),
        cmocka_unit_test(tls_trust),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(cancel_one_of_several),
        cmocka_unit_test(pause_and_resume),
        cmocka_unit_test(end_waits_for_resume),
        cmocka_unit_test(client_stream),
        cmocka_unit_test(early_answer),
        cmocka_unit_test(goaway),
        cmocka_unit_test(broken_connection),
        cmocka_unit_test(silent_peer),
        cmocka_unit_test(calmer),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(own_message_too_large),
        cmocka_unit_test(free_with_open_calls),
    };

    unsetenv("HTTPS_PROXY");
    unsetenv("https_proxy");
    unsetenv("ALL_PROXY");
    unsetenv("all_proxy");
    signal(SIGPIPE, SIG_IGN); /* the server's SSL_write */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
