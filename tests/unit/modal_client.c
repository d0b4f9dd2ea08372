/* link: atp_modal atp_grpc atp_proto atp_sys atp_base atp_openssl */
#include "backends/modal/client.h"

#include "backends/modal/image.h"
#include "backends/modal/internal.h"
#include "backends/modal/sandbox.h"
#include "backends/modal/task.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "tests/unit/grpc_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/*
 * How calls are made, against a server that plays back what a test wrote down: refusals, delays, broken streams. That
 * the calls mean the right thing is shown against the engine.
 */

#define SECRET "as-very-secret-word"

/* The script: what the server does, and what it saw. Tests and server take turns, so the lock is rarely wanted. */
static struct script {
    pthread_mutex_t lock;
    int statuses[32]; /* answers to ClientHello in turn; 0 when they are used up; 100 + n: throttled with status n */
    int hellos;
    char metadata[32][2048]; /* of each ClientHello */
    int auth_status;         /* of AuthTokenGet */
    int auth_ttl;
    int auths;           /* tokens given */
    int refuse_token;    /* SandboxCreateV2 refuses the token of this number */
    int creates, access; /* calls seen */
    int joins;
    char last_entry[8][32]; /* of each join */
    int builds;
    char app_id[32];
} script;

static void reset_script(void)
{
    pthread_mutex_lock(&script.lock);
    memset((char *)&script + offsetof(struct script, statuses), 0, sizeof(script) - offsetof(struct script, statuses));
    script.auth_ttl = 1000;
    pthread_mutex_unlock(&script.lock);
}

static void answer(struct server_conn *c, struct server_stream *s, const void *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = xmalloc(len + 1);

    protobuf_c_message_pack(message, packed);
    grpc_frame_add(&s->answer, packed, len);
    free(packed);
    server_answer(c, s, "0");
}

static void refuse(struct server_conn *c, struct server_stream *s, int status, const char *text)
{
    static const char *const names[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                        "9", "10", "11", "12", "13", "14", "15", "16"};

    s->message = text;
    server_answer(c, s, names[status]);
}

/* {"exp": now + ttl} between two parts that nobody reads; number tells one token from another. */
static void make_jwt(char *to, size_t size, int ttl, int number)
{
    struct buf payload = BUF_INIT(256), text = BUF_INIT(256);

    buf_addf(&payload, "{\"exp\": %lld, \"n\": %d}", (long long)time(NULL) + ttl, number);
    grpc_base64_encode(&text, payload.data, payload.len);
    while (text.len && text.data[text.len - 1] == '=')
        buf_truncate(&text, text.len - 1);
    snprintf(to, size, "e30.%s.n%d", text.data, number);
    buf_clear(&payload);
    buf_clear(&text);
}

static void on_hello(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__ClientHelloResponse reply = MODAL__CLIENT__CLIENT_HELLO_RESPONSE__INIT;
    int n = script.hellos++, status = n < 32 ? script.statuses[n] : 0;

    if (n < 32)
        snprintf(script.metadata[n], sizeof(script.metadata[n]), "%s", s->metadata.data);
    if (status >= 100)
        /* RPCStatus{code 8, details [Any{"example.com/modal.client.RPCRetryPolicy", {0.2 s}}]} */
        s->details = "CAgaMAonZXhhbXBsZS5jb20vbW9kYWwuY2xpZW50LlJQQ1JldHJ5UG9saWN5EgUNzcxMPg";
    if (status)
        refuse(c, s, status % 100, "as told by " SECRET);
    else
        answer(c, s, &reply);
}

static void on_auth(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__AuthTokenGetResponse reply = MODAL__CLIENT__AUTH_TOKEN_GET_RESPONSE__INIT;
    char jwt[256];

    if (script.auth_status) {
        refuse(c, s, script.auth_status, "go away");
        return;
    }
    make_jwt(jwt, sizeof(jwt), script.auth_ttl, ++script.auths);
    reply.token = jwt;
    answer(c, s, &reply);
}

static void on_create(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__SandboxCreateV2Response reply = MODAL__CLIENT__SANDBOX_CREATE_V2_RESPONSE__INIT;
    Modal__Client__CommandRouterAccess access = MODAL__CLIENT__COMMAND_ROUTER_ACCESS__INIT;
    const char *token = strstr(s->metadata.data, "x-modal-auth-token="), *number = token ? strstr(token, ".n") : NULL;
    char jwt[256];

    script.creates++;
    if (!number || strtol(number + 2, NULL, 10) == script.refuse_token) {
        refuse(c, s, GRPC_UNAUTHENTICATED, "token expired");
        return;
    }
    make_jwt(jwt, sizeof(jwt), 1000, 0);
    access.jwt = jwt;
    access.url = c->server->url;
    reply.sandbox_id = (char *)"sb-v2";
    reply.task_id = (char *)"ta-1";
    reply.command_router_access = &access;
    answer(c, s, &reply);
}

static void on_app(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__AppGetOrCreateResponse reply = MODAL__CLIENT__APP_GET_OR_CREATE_RESPONSE__INIT;

    reply.app_id = (char *)"ap-1";
    answer(c, s, &reply);
}

static void on_environment(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__EnvironmentGetOrCreateResponse reply = MODAL__CLIENT__ENVIRONMENT_GET_OR_CREATE_RESPONSE__INIT;
    Modal__Client__EnvironmentMetadata metadata = MODAL__CLIENT__ENVIRONMENT_METADATA__INIT;
    Modal__Client__EnvironmentSettings settings = MODAL__CLIENT__ENVIRONMENT_SETTINGS__INIT;

    settings.image_builder_version = (char *)"2025.06";
    metadata.settings = &settings;
    reply.metadata = &metadata;
    answer(c, s, &reply);
}

static void on_build(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__ImageGetOrCreateResponse reply = MODAL__CLIENT__IMAGE_GET_OR_CREATE_RESPONSE__INIT;

    script.builds++;
    reply.image_id = (char *)"im-1";
    answer(c, s, &reply);
}

static void add_join(struct server_stream *s, const char *log, const char *entry, int status)
{
    Modal__Client__ImageJoinStreamingResponse m = MODAL__CLIENT__IMAGE_JOIN_STREAMING_RESPONSE__INIT;
    Modal__Client__TaskLogs line = MODAL__CLIENT__TASK_LOGS__INIT, *lines[] = {&line};
    Modal__Client__GenericResult result = MODAL__CLIENT__GENERIC_RESULT__INIT;
    uint8_t packed[512];
    size_t len;

    line.data = (char *)log;
    line.has_file_descriptor = 1;
    line.file_descriptor = MODAL__CLIENT__FILE_DESCRIPTOR__FILE_DESCRIPTOR_STDOUT;
    m.n_task_logs = log ? 1 : 0;
    m.task_logs = lines;
    m.entry_id = (char *)entry;
    if (status) {
        result.has_status = 1;
        result.status = (Modal__Client__GenericResult__GenericStatus)status;
        m.result = &result;
    }
    len = modal__client__image_join_streaming_response__pack(&m, packed);
    grpc_frame_add(&s->answer, packed, len);
}

/* The first stream breaks after a line, the second ends without a result, the third has it, and a line after it. */
static void on_join(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__ImageJoinStreamingRequest *request =
        modal__client__image_join_streaming_request__unpack(NULL, s->request.len - 5, (uint8_t *)s->request.data + 5);
    int n = script.joins++;

    if (n < 8)
        snprintf(script.last_entry[n], 32, "%s", request->last_entry_id);
    modal__client__image_join_streaming_request__free_unpacked(request, NULL);
    if (n == 0) {
        add_join(s, "one\n", "e1", 0);
        s->hold = true;
        c->close_after = true;
    } else if (n == 1) {
        add_join(s, "two\n", "e2", 0);
    } else {
        add_join(s, "three\n", "e3", 0);
        add_join(s, NULL, NULL, script.refuse_token == -1 ? 2 : 1);
        add_join(s, "after\n", "", 0);
    }
    server_answer(c, s, "0");
}

static bool play(struct server_conn *c, struct server_stream *s, const char *method)
{
    static const struct {
        const char *name;
        void (*fn)(struct server_conn *c, struct server_stream *s);
    } methods[] = {
        {"ClientHello", on_hello},
        {"AuthTokenGet", on_auth},
        {"SandboxCreateV2", on_create},
        {"AppGetOrCreate", on_app},
        {"EnvironmentGetOrCreate", on_environment},
        {"ImageGetOrCreate", on_build},
        {"ImageJoinStreaming", on_join},
    };
    bool found = false;

    pthread_mutex_lock(&script.lock);
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
        if (strcmp(methods[i].name, method) == 0) {
            methods[i].fn(c, s);
            found = true;
        }
    pthread_mutex_unlock(&script.lock);
    return found;
}

struct bench {
    struct server *server;
    struct loop *loop;
    struct modal_client *c;
    struct modal_cache *cache;
    int traces;
};

static void count_trace(void *arg, const char *line)
{
    struct bench *b = arg;

    assert_null(strstr(line, SECRET));
    b->traces++;
}

static struct bench bench_open(struct bench *b, struct modal_cache *cache, int64_t max_throttle_ms)
{
    struct modal_client_options options = {.token_id = "ak-1",
                                           .token_secret = SECRET,
                                           .cache = cache,
                                           .max_throttle_ms = max_throttle_ms,
                                           .trace = count_trace,
                                           .trace_arg = b};

    *b = (struct bench){.server = server_start(SERVER_UNIX), .loop = loop_new(), .cache = cache};
    atomic_store(&b->server->hook, play);
    options.server_url = b->server->url;
    b->c = modal_client_new(b->loop, &options, NULL);
    assert_non_null(b->c);
    return *b;
}

static void bench_close(struct bench *b)
{
    modal_client_free(b->c);
    loop_free(b->loop);
    server_stop(b->server);
}

/* The value of a header in recorded metadata, or "". */
static const char *header(const char *metadata, const char *name)
{
    static char value[256];
    size_t len = strlen(name);

    for (const char *line = metadata; *line; line += strcspn(line, "\n") + 1)
        if (strncmp(line, name, len) == 0 && line[len] == '=') {
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
            return value;
        }
    return "";
}

/* Four attempts with one key and counted headers, 0.1 + 0.2 + 0.4 s apart; what servers ask to be told is told. */
static void retries(void **state)
{
    struct err err = ERR_INIT;
    struct bench b;
    char key[64];
    int64_t before;

    (void)state;
    reset_script();
    bench_open(&b, NULL, 0);
    script.statuses[0] = GRPC_UNAVAILABLE;
    script.statuses[1] = GRPC_INTERNAL;
    script.statuses[2] = GRPC_DEADLINE_EXCEEDED;
    before = loop_now();
    assert_int_equal(modal_client_hello(b.c, &err), 0);
    assert_true(loop_now() - before >= 700 && loop_now() - before < 15000);
    assert_int_equal(script.hellos, 4);
    assert_int_equal(b.traces, 4);
    snprintf(key, sizeof(key), "%s", header(script.metadata[0], "x-idempotency-key"));
    assert_int_equal(strlen(key), 36);
    for (int i = 0; i < 4; i++) {
        char want[8];

        snprintf(want, sizeof(want), "%d", i);
        assert_string_equal(header(script.metadata[i], "x-idempotency-key"), key);
        assert_string_equal(header(script.metadata[i], "x-retry-attempt"), want);
        assert_string_equal(header(script.metadata[i], "x-throttle-retry-attempt"), "0");
        assert_int_equal(*header(script.metadata[i], "x-retry-delay") != '\0', i > 0);
        assert_string_equal(header(script.metadata[i], "x-modal-client-type"), "1");
        assert_string_equal(header(script.metadata[i], "x-modal-token-id"), "ak-1");
        assert_string_equal(header(script.metadata[i], "x-modal-token-secret"), SECRET);
        assert_true(*header(script.metadata[i], "x-modal-python-version") != '\0');
        assert_string_equal(header(script.metadata[i], "x-modal-auth-token"), "");
    }
    for (int i = 4; i < 12; i++)
        script.statuses[i] = GRPC_UNAVAILABLE;
    assert_int_equal(modal_client_hello(b.c, &err), -1);
    assert_int_equal(err.code, GRPC_UNAVAILABLE);
    assert_int_equal(script.hellos, 8);
    assert_string_equal(err.msg, "as told by ***");
    err_clear(&err);
    bench_close(&b);
}

/* What is final is asked once. */
static void final_errors(void **state)
{
    const int codes[] = {3, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16};
    struct bench b;

    (void)state;
    reset_script();
    bench_open(&b, NULL, 0);
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        struct err err = ERR_INIT;

        script.statuses[i] = codes[i];
        assert_int_equal(modal_client_hello(b.c, &err), -1);
        assert_int_equal(err.code, codes[i]);
        assert_int_equal(err.exit_code, 125);
        assert_null(strstr(err.msg, SECRET));
        assert_int_equal(script.hellos, (int)i + 1);
        err_clear(&err);
    }
    bench_close(&b);
}

/* The server says when to come back: followed beyond the three, counted apart, up to our own limit. */
static void throttling(void **state)
{
    struct err err = ERR_INIT;
    struct bench b;
    int64_t before;

    (void)state;
    reset_script();
    bench_open(&b, NULL, 0);
    for (int i = 0; i < 5; i++)
        script.statuses[i] = 100 + GRPC_RESOURCE_EXHAUSTED;
    before = loop_now();
    assert_int_equal(modal_client_hello(b.c, NULL), 0);
    assert_true(loop_now() - before >= 1000);
    assert_int_equal(script.hellos, 6);
    assert_string_equal(header(script.metadata[5], "x-retry-attempt"), "0");
    assert_string_equal(header(script.metadata[5], "x-throttle-retry-attempt"), "5");
    bench_close(&b);

    reset_script();
    bench_open(&b, NULL, 500);
    for (int i = 0; i < 9; i++)
        script.statuses[i] = 100 + GRPC_RESOURCE_EXHAUSTED;
    assert_int_equal(modal_client_hello(b.c, &err), -1);
    assert_int_equal(err.code, GRPC_RESOURCE_EXHAUSTED);
    assert_true(script.hellos >= 2 && script.hellos <= 3);
    err_clear(&err);
    bench_close(&b);

    reset_script();
    bench_open(&b, NULL, -1);
    script.statuses[0] = 100 + GRPC_RESOURCE_EXHAUSTED;
    assert_int_equal(modal_client_hello(b.c, NULL), -1);
    assert_int_equal(script.hellos, 1);
    bench_close(&b);
}

static int create(struct bench *b, struct err *err)
{
    struct modal_sandbox_spec spec = {.app_id = "ap-1", .image_id = "im-1"};
    struct modal_sandbox sandbox = MODAL_SANDBOX_INIT;
    int ret = modal_sandbox_create(b->c, &spec, &sandbox, err);

    if (ret == 0) {
        assert_string_equal(sandbox.id, "sb-v2");
        assert_string_equal(sandbox.task_id, "ta-1");
    }
    modal_sandbox_clear(&sandbox);
    return ret;
}

/* One token for many calls and the next process; a refused or ended one is replaced once. */
static void auth_token(void **state)
{
    struct modal_cache *cache = modal_cache_memory_new();
    struct err err = ERR_INIT;
    struct bench b;

    (void)state;
    reset_script();
    bench_open(&b, cache, 0);
    assert_int_equal(create(&b, NULL), 0);
    assert_int_equal(create(&b, NULL), 0);
    assert_int_equal(script.auths, 1);
    /* Another process: what was cached serves, and no call but the create itself is made. */
    bench_close(&b);
    b.c = NULL;
    bench_open(&b, cache, 0);
    assert_int_equal(create(&b, NULL), 0);
    assert_int_equal(script.auths, 1);
    assert_int_equal(b.traces, 1);
    /* The server forgets it: fetched once, tried once more. */
    script.refuse_token = 1;
    script.creates = 0;
    assert_int_equal(create(&b, NULL), 0);
    assert_int_equal(script.creates, 2);
    assert_int_equal(script.auths, 2);
    /* And refuses the new one too: the end. */
    script.refuse_token = 3;
    script.auths = 2;
    free(b.c->auth.token);
    b.c->auth.token = NULL;
    script.creates = 0;
    script.refuse_token = 3;
    assert_int_equal(create(&b, &err), 0); /* number 3 refused, number 4 taken */
    assert_int_equal(script.creates, 2);
    bench_close(&b);
    modal_cache_memory_free(cache);
}

/* A token whose life ends: near its end it is not used; after half of it, it is renewed beside the call. */
static void auth_renewal(void **state)
{
    struct bench b;

    (void)state;
    reset_script();
    script.auth_ttl = -3600; /* over as it comes, for our clock is ahead: the server is who judges */
    bench_open(&b, NULL, 0);
    assert_int_equal(modal_client_auth(b.c, NULL), 0);
    script.auth_ttl = 1000;
    assert_int_equal(create(&b, NULL), 0);
    assert_int_equal(script.auths, 1);
    b.c->auth.expires_at = time(NULL) + 3; /* below the margin: the next call fetches */
    assert_int_equal(create(&b, NULL), 0);
    assert_int_equal(script.auths, 2);
    assert_true(b.c->auth.refresh_at >= time(NULL) + 490 && b.c->auth.refresh_at <= time(NULL) + 601);
    b.c->auth.refresh_at = time(NULL) - 1;
    assert_int_equal(create(&b, NULL), 0); /* with the old one; the new one comes meanwhile */
    for (int64_t end = loop_now() + 3000; script.auths < 3 && loop_now() < end;)
        loop_step(b.loop, 10);
    assert_int_equal(script.auths, 3);
    /* A renewal that fails does no harm while the old one lasts. */
    for (int64_t end = loop_now() + 200; loop_now() < end;)
        loop_step(b.loop, 10);
    script.auth_status = GRPC_UNAVAILABLE;
    b.c->auth.refresh_at = time(NULL) - 1;
    assert_int_equal(create(&b, NULL), 0);
    bench_close(&b);
}

/* Wrong credentials: one sentence, and no secret in it. */
static void auth_refused(void **state)
{
    struct err err = ERR_INIT;
    struct bench b;

    (void)state;
    reset_script();
    script.auth_status = GRPC_UNAUTHENTICATED;
    bench_open(&b, NULL, 0);
    assert_int_equal(create(&b, &err), -1);
    assert_int_equal(err.code, GRPC_UNAUTHENTICATED);
    assert_string_equal(err.msg, "the server refused the token: go away");
    assert_int_equal(script.creates, 0);
    err_clear(&err);
    bench_close(&b);
}

/* Half a token, a token with a newline, a bad URL: refused before anything is sent. */
static void bad_options(void **state)
{
    struct loop *loop = loop_new();
    const struct modal_client_options bad[] = {
        {.server_url = "https://a", .token_id = "ak-1"},
        {.server_url = "https://a", .token_id = "ak-1", .token_secret = ""},
        {.server_url = "https://a", .token_id = "ak-1", .token_secret = "x\ny"},
        {.server_url = "ftp://a", .token_id = "ak-1", .token_secret = "x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err err = ERR_INIT;

        assert_null(modal_client_new(loop, &bad[i], &err));
        assert_non_null(err.msg);
        err_clear(&err);
    }
    loop_free(loop);
}

/* Ids are asked for once, also across processes. */
static void cached_ids(void **state)
{
    struct modal_cache *cache = modal_cache_memory_new();
    struct bench b;

    (void)state;
    reset_script();
    for (int i = 0; i < 2; i++) {
        cleanup_free char *app = NULL, *builder = NULL;

        bench_open(&b, cache, 0);
        assert_int_equal(modal_app_id(b.c, "atp-docker", &app, NULL), 0);
        assert_string_equal(app, "ap-1");
        assert_int_equal(modal_builder_version(b.c, &builder, NULL), 0);
        assert_string_equal(builder, "2025.06");
        assert_int_equal(b.traces, i == 0 ? 2 : 0);
        if (i == 1) {
            modal_app_forget(b.c, "atp-docker");
            free(app);
            app = NULL;
            assert_int_equal(modal_app_id(b.c, "atp-docker", &app, NULL), 0);
            assert_int_equal(b.traces, 1);
        }
        bench_close(&b);
    }
    modal_cache_memory_free(cache);
}

static void add_log(void *arg, int fd, const char *text)
{
    assert_int_equal(fd, 1);
    buf_adds(arg, text);
}

/* A build's log over a broken and an ended stream, each line once; then the cache. */
static void build_log(void **state)
{
    struct buf log = BUF_INIT(4096);
    struct modal_image image;
    struct modal_image_spec spec = {.app_id = "ap-1"};
    struct err err = ERR_INIT;
    struct bench b;

    (void)state;
    reset_script();
    bench_open(&b, NULL, 0);
    strlist_add(&spec.commands, "FROM busybox");
    assert_int_equal(modal_image_build(b.c, &spec, add_log, &log, &image, NULL), 0);
    assert_string_equal(image.id, "im-1");
    assert_string_equal(log.data, "one\ntwo\nthree\nafter\n");
    assert_string_equal(script.last_entry[0], "");
    assert_string_equal(script.last_entry[1], "e1");
    assert_string_equal(script.last_entry[2], "e2");
    modal_image_clear(&image);
    assert_int_equal(modal_image_build(b.c, &spec, add_log, &log, &image, NULL), 0);
    assert_int_equal(script.builds, 1);
    modal_image_clear(&image);
    modal_image_forget(b.c, &spec);
    script.joins = 2;
    script.refuse_token = -1; /* now it fails: the log's last words are the reason */
    assert_int_equal(modal_image_build(b.c, &spec, NULL, NULL, &image, &err), -1);
    assert_int_equal(err.code, GRPC_FAILED_PRECONDITION);
    assert_string_equal(err.msg, "three\nafter");
    assert_int_equal(script.builds, 2);
    err_clear(&err);
    modal_image_spec_clear(&spec);
    buf_clear(&log);
    bench_close(&b);
}

static void jwt_expiry(void **state)
{
    const struct {
        const char *jwt;
        int64_t expiry;
    } cases[] = {
        {"e30.eyJleHAiOiAxMjN9.x", 123},
        {"e30.eyJleHAiOiAxMjN9.", 123},
        {"e30.eyJleHAiOjEuNWUzfQ.x", 1500},
        {"e30.e30.x", 0},
        {"", 0},
        {"no dots", 0},
        {"one.dot", 0},
        {"a.!!!.b", 0},
        {"e30.eyJleHAiOiAtNX0.x", 0},
        {"e30.eyJleHAiOiAiMTIzIn0.x", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(modal_jwt_expiry(cases[i].jwt), cases[i].expiry);
}

static void router_urls(void **state)
{
    const struct {
        const char *server, *router;
        int ret;
        bool unverified;
    } cases[] = {
        {"https://api.modal.com", "https://w1.modal.host:443", 0, false},
        {"https://api.modal.com", "http://w1.modal.host", -1, false},
        {"https://api.modal.com", "unix:///tmp/x", -1, false},
        {"http://localhost:5", "http://127.0.0.1:6", 0, false},
        {"http://localhost:5", "https://127.0.0.1:6", 0, true},
        {"http://localhost:5", "unix:///tmp/x", -1, false},
        {"unix:///tmp/x", "unix:///tmp/x", 0, false},
        {"unix:///tmp/x", "http://127.0.0.1:6", 0, false},
        {"http://far.test:80", "http://far.test:80", -1, false},
        {"https://api.modal.com", "nonsense", -1, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bool unverified = false;

        assert_int_equal(modal_router_url_check(cases[i].server, cases[i].router, &unverified, NULL), cases[i].ret);
        assert_int_equal(unverified, cases[i].unverified);
    }
}

/* Which back end an id belongs to is in its shape. */
static void id_shapes(void **state)
{
    (void)state;
    assert_true(modal_sandbox_id_is_v1("sb-nGEijt9WbBMlGrsPH9FOaC"));
    assert_false(modal_sandbox_id_is_v1("sb-nGEijt9WbBMlGrsPH9FOa"));
    assert_false(modal_sandbox_id_is_v1("sb-nGEijt9WbBMlGrsPH9FOaCx"));
    assert_false(modal_sandbox_id_is_v1("sb-01BX5ZZKBKACTAV9WEVGEMMVRY"));
    assert_false(modal_sandbox_id_is_v1("sb-nGEijt9WbBMlGrsPH9FO_C"));
    assert_false(modal_sandbox_id_is_v1("ta-nGEijt9WbBMlGrsPH9FOaC"));
    assert_false(modal_sandbox_id_is_v1(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retries),     cmocka_unit_test(final_errors), cmocka_unit_test(throttling),
        cmocka_unit_test(auth_token),  cmocka_unit_test(auth_renewal), cmocka_unit_test(auth_refused),
        cmocka_unit_test(bad_options), cmocka_unit_test(cached_ids),   cmocka_unit_test(build_log),
        cmocka_unit_test(jwt_expiry),  cmocka_unit_test(router_urls),  cmocka_unit_test(id_shapes),
    };

    pthread_mutex_init(&script.lock, NULL);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
