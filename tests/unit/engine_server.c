/* link: atp_grpc atp_proto atp_sys atp_base */
#include "tests/unit/engine_rig.h"

#include "compat/base/limits.h"

#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The one engine that most tests use; NULL where none can run. */
static struct engine_process *shared;

static int begin(void **state)
{
    static const char *const words[] = {"--fault", "", NULL};

    (void)state;
    shared = engine_begin(words);
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (shared)
        engine_end(shared);
    return 0;
}

#define NEED_ENGINE()                                                                                                  \
    do {                                                                                                               \
        (void)state;                                                                                                   \
        if (!shared)                                                                                                   \
            skip();                                                                                                    \
    } while (0)

/* ---- raw connections ---- */

static int connect_tcp(unsigned port)
{
    const struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct timeval patience = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static int connect_unix(const struct engine_process *p)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 10};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/sock", p->dir);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* Sends what the other side still takes. */
static void send_some(int fd, const void *bytes, size_t len)
{
    const char *p = bytes;

    while (len) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        p += n;
        len -= (size_t)n;
    }
}

/* Reads until the text holds what is waited for, or the peer closes. */
static void read_until(int fd, struct buf *got, const char *text)
{
    while (!(text && memmem(got->data, got->len, text, strlen(text)))) {
        char *to = buf_reserve(got, 4096);
        ssize_t n = to ? recv(fd, to, 4096, 0) : 0;

        if (n <= 0)
            return;
        buf_advance(got, (size_t)n);
    }
}

/* One HTTP/1.1 exchange on an open connection; the answer must hold text. */
static void http(int fd, const char *request, const char *body, const char *text)
{
    cleanup_buf struct buf got = BUF_INIT(1u << 20);

    send_some(fd, request, strlen(request));
    send_some(fd, body, strlen(body));
    read_until(fd, &got, text);
    if (!memmem(got.data, got.len, text, strlen(text)))
        fail_msg("no \"%s\" in \"%s\"", text, got.data);
}

static void set_fault(const char *spec)
{
    engine_set_fault(shared, spec);
}

static int token_get(const struct strlist *metadata)
{
    Modal__Client__AuthTokenGetRequest request = MODAL__CLIENT__AUTH_TOKEN_GET_REQUEST__INIT;

    return engine_call_with(shared, metadata, CONTROL "AuthTokenGet", &request, NULL, NULL, NULL);
}

/* The engine still answers. */
static void assert_alive(void)
{
    cleanup_strlist struct strlist metadata = STRLIST_INIT;

    engine_metadata(shared, NULL, &metadata);
    assert_int_equal(token_get(&metadata), GRPC_OK);
}

/* ---- who may call ---- */

static void test_credentials(void **state)
{
    cleanup_strlist struct strlist none = STRLIST_INIT, wrong = STRLIST_INIT, half = STRLIST_INIT, good = STRLIST_INIT;
    cleanup_strlist struct strlist junk = STRLIST_INIT;
    Modal__Client__SandboxListRequest list = MODAL__CLIENT__SANDBOX_LIST_REQUEST__INIT;
    Modal__TaskCommandRouter__TaskExecPollRequest poll = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_POLL_REQUEST__INIT;

    NEED_ENGINE();
    assert_int_equal(token_get(&none), GRPC_UNAUTHENTICATED);
    strlist_addf(&half, "x-modal-token-id=%s", shared->token_id);
    assert_int_equal(token_get(&half), GRPC_UNAUTHENTICATED);
    strlist_addf(&wrong, "x-modal-token-id=%s", shared->token_id);
    strlist_addf(&wrong, "x-modal-token-secret=%s", shared->token_id);
    assert_int_equal(token_get(&wrong), GRPC_UNAUTHENTICATED);

    /* V1 calls need the pair only, V2 calls the auth token too, and a bad one is refused everywhere. */
    engine_metadata(shared, NULL, &good);
    engine_metadata(shared, "not.a.token", &junk);
    assert_int_equal(engine_call_with(shared, &good, CONTROL "SandboxList", &list, NULL, NULL, NULL), GRPC_OK);
    assert_int_equal(engine_call_with(shared, &junk, CONTROL "SandboxList", &list, NULL, NULL, NULL),
                     GRPC_UNAUTHENTICATED);
    assert_int_equal(engine_call_with(shared, &good, CONTROL "SandboxListV2", &list, NULL, NULL, NULL),
                     GRPC_UNAUTHENTICATED);
    assert_int_equal(engine_call(shared, "SandboxListV2", &list, NULL, NULL), GRPC_OK);

    /* The router knows neither: it wants its bearer token. */
    assert_int_equal(engine_call_with(shared, &good, ROUTER "TaskExecPoll", &poll, NULL, NULL, NULL),
                     GRPC_UNAUTHENTICATED);
}

static void test_unknown_methods(void **state)
{
    Modal__Client__Empty empty = MODAL__CLIENT__EMPTY__INIT;
    cleanup_strlist struct strlist metadata = STRLIST_INIT;

    NEED_ENGINE();
    engine_metadata(shared, NULL, &metadata);
    assert_int_equal(engine_call_with(shared, &metadata, CONTROL "QueuePut", &empty, NULL, NULL, NULL),
                     GRPC_UNIMPLEMENTED);
    assert_int_equal(engine_call_with(shared, &metadata, ROUTER "TaskSnapshotMemory", &empty, NULL, NULL, NULL),
                     GRPC_UNIMPLEMENTED);
    assert_int_equal(engine_call_with(shared, &metadata, "/", &empty, NULL, NULL, NULL), GRPC_UNIMPLEMENTED);
    assert_int_equal(engine_call_with(shared, &metadata, CONTROL, &empty, NULL, NULL, NULL), GRPC_UNIMPLEMENTED);
}

/* ---- transports ---- */

static void test_tls_on_the_same_port(void **state)
{
    const struct grpc_options options = {.tls_unverified = true, .no_proxy = true};
    struct grpc_channel *plain;
    cleanup_free char *url = NULL;

    NEED_ENGINE();
    url = xasprintf("https://127.0.0.1:%u", shared->port);
    plain = shared->channel;
    shared->channel = grpc_channel_new(shared->loop, url, &options, NULL);
    assert_alive();
    assert_alive();
    grpc_channel_free(shared->channel);
    shared->channel = plain;
}

static void test_unix_socket(void **state)
{
    struct grpc_channel *plain;
    cleanup_free char *path = NULL, *env = NULL;
    struct stat st;

    NEED_ENGINE();
    plain = shared->channel;
    shared->channel = grpc_channel_new(shared->loop, shared->unix_url, NULL, NULL);
    assert_alive();
    grpc_channel_free(shared->channel);
    shared->channel = plain;
    path = engine_path(shared, "sock");
    env = engine_path(shared, "sock.env");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(env, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

/* ---- what nobody should send ---- */

/* The bytes of a good unary call as a client sends them: preface, settings, headers, one message. */
static ssize_t read_message(nghttp2_session *session, int32_t id, uint8_t *to, size_t cap, uint32_t *flags,
                            nghttp2_data_source *source, void *arg)
{
    struct buf *body = source->ptr;
    size_t len = body->len < cap ? body->len : cap;

    (void)session;
    (void)id;
    (void)arg;
    memcpy(to, body->data, len);
    buf_consume(body, len);
    if (!body->len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)len;
}

#define NV(n, v)                                                                                                       \
    {                                                                                                                  \
        (uint8_t *)TEXT(n), (uint8_t *)TEXT(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE                             \
    }

static void good_call(struct buf *out, const char *method, const char *type, const void *body, size_t body_len)
{
    const nghttp2_nv nv[] = {NV(":method", method),
                             NV(":scheme", "http"),
                             NV(":authority", "x"),
                             NV(":path", CONTROL "AppGetOrCreate"),
                             NV("content-type", type),
                             NV("te", "trailers"),
                             NV("x-modal-token-id", shared->token_id),
                             NV("x-modal-token-secret", shared->token_secret)};
    struct buf rest = BUF_INIT(1u << 20);
    const nghttp2_data_provider provider = {.source = {.ptr = &rest}, .read_callback = read_message};
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;

    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_client_new(&session, callbacks, NULL);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
    buf_add(&rest, body, body_len);
    nghttp2_submit_request(session, NULL, nv, sizeof(nv) / sizeof(nv[0]), &provider, NULL);
    for (;;) {
        const uint8_t *bytes;
        ssize_t len = nghttp2_session_mem_send(session, &bytes);

        if (len <= 0)
            break;
        buf_add(out, bytes, (size_t)len);
    }
    nghttp2_session_del(session);
    buf_clear(&rest);
}

/* A frame that asks the engine to look the app "a" up: it does not exist. */
static const char app_request[] = "\0\0\0\0\3\n\1a";

/* Sends bytes and gives the answer's raw bytes, as far as they come at once. */
static void exchange(const void *bytes, size_t len, struct buf *got)
{
    const struct timeval short_patience = {.tv_usec = 200000};
    cleanup_close int fd = connect_tcp(shared->port);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &short_patience, sizeof(short_patience));
    send_some(fd, bytes, len);
    read_until(fd, got, NULL);
}

static void test_what_is_not_grpc(void **state)
{
    static const char *const junk[] = {"\n",
                                       "GET",
                                       "PRI * HTTP/2.0\r\n\r\nXX",
                                       "PRI \r\n",
                                       "\x16\x03\x01\x00\x05hello",
                                       "\x16",
                                       "SSH-2.0-x\r\n\r\n",
                                       "GET / HTTP/1.1\r\nnonsense\r\n\r\n"};
    cleanup_buf struct buf call = BUF_INIT(65536);

    NEED_ENGINE();
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        cleanup_buf struct buf got = BUF_INIT(65536);

        exchange(junk[i], strlen(junk[i]), &got);
    }
    good_call(&call, "GET", "application/grpc", app_request, 8);
    good_call(&call, "POST", "text/plain", app_request, 8);
    assert_alive();
}

/* Messages that break gRPC's own grammar end their call and nothing else. */
static void test_bad_messages(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bodies[] = {
        {"", 0},                /* no message */
        {"\0\0\0", 3},          /* half a head */
        {"\0\0\0\0\5ab", 7},    /* half a message */
        {"\1\0\0\0\3\n\1a", 8}, /* compressed */
        {"\7\0\0\0\3\n\1a", 8}, /* nonsense flag */
        {"\0\xff\xff\xff\xff"
         "abc",
         8},                                    /* four gigabytes */
        {"\0\0\0\0\3\n\177a", 8},               /* protobuf that runs over its end */
        {"\0\0\0\0\3\n\1a\0\0\0\0\3\n\1a", 16}, /* two messages */
    };

    NEED_ENGINE();
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        cleanup_buf struct buf call = BUF_INIT(65536), got = BUF_INIT(65536);

        good_call(&call, "POST", "application/grpc", bodies[i].bytes, bodies[i].len);
        exchange(call.data, call.len, &got);
        assert_true(got.len > 9); /* settings, and an answer */
        assert_alive();
    }
}

/* A good call with some bytes changed, cut or repeated: whatever it becomes, the engine stays. */
static void test_mutated_calls(void **state)
{
    cleanup_buf struct buf call = BUF_INIT(65536);
    unsigned seed = 20240607;

    NEED_ENGINE();
    good_call(&call, "POST", "application/grpc", app_request, 8);
    for (int round = 0; round < 300; round++) {
        cleanup_free char *bytes = xmemdup(call.data, call.len);
        cleanup_close int fd = connect_tcp(shared->port);
        size_t len = call.len;

        for (int n = rand_r(&seed) % 8; n >= 0; n--) {
            /* The preface stays whole in most rounds: behind it lies what is of interest. */
            size_t at = (round % 10 ? 24 : 0) + (size_t)rand_r(&seed) % (call.len - 24);

            bytes[at] = (char)(rand_r(&seed) % 4 ? bytes[at] ^ (1 << rand_r(&seed) % 8) : rand_r(&seed));
        }
        if (round % 7 == 0)
            len = (size_t)rand_r(&seed) % call.len;
        send_some(fd, bytes, len);
        if (round % 5 == 0)
            send_some(fd, bytes + 24, call.len - 24);
    }
    assert_alive();
}

/* Random bytes in the place of frames, and of a TLS handshake. */
static void test_noise(void **state)
{
    unsigned seed = 42;

    NEED_ENGINE();
    for (int round = 0; round < 100; round++) {
        cleanup_close int fd = connect_tcp(shared->port);
        unsigned char bytes[512];

        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (unsigned char)rand_r(&seed);
        if (round % 2 == 0)
            send_some(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        else
            bytes[0] = 0x16;
        send_some(fd, bytes, sizeof(bytes));
    }
    assert_alive();
}

/* ---- HTTP/1.1 and blobs ---- */

/* "http://127.0.0.1:1234/blob/..." -> "/blob/..." */
static const char *path_of(const char *url)
{
    return strchr(strstr(url, "://") + 3, '/');
}

static void test_http_errors(void **state)
{
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {"GET /blob/x/y HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
        {"DELETE /blob/x/y HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "},
        {"PUT /blob/x/y HTTP/1.1\r\n\r\n", "HTTP/1.1 411 "},
        {"PUT /blob/x/y HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 411 "},
        {"PUT /blob/x/y HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 404 "},
        {"PUT /blob/x/y HTTP/1.1\r\nContent-Length: -3\r\n\r\n", "HTTP/1.1 400 "},
        {"PUT /blob/x/y HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400 "},
        {"PUT /blob/../../etc/x HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 404 "},
        {"PUT /engine/fault HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 401 "},
        {"POST /blob/x/y HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "HTTP/1.1 413 "},
        {"GET http://x/ HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"GET / HTTP/2.0\r\n\r\n", "HTTP/1.1 400 "},
    };
    cleanup_free char *long_head = xcalloc(1, 20001);

    NEED_ENGINE();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_close int fd = connect_tcp(shared->port);

        http(fd, cases[i].request, "", cases[i].answer);
    }
    memset(long_head, 'a', 20000);
    for (int i = 0; i < 1; i++) {
        cleanup_close int fd = connect_tcp(shared->port);

        http(fd, "GET / HTTP/1.1\r\nX: ", long_head, "HTTP/1.1 431 ");
    }
    assert_alive();
}

static void test_blob_up_and_down(void **state)
{
    Modal__Client__BlobCreateRequest create = MODAL__CLIENT__BLOB_CREATE_REQUEST__INIT;
    Modal__Client__BlobGetRequest get = MODAL__CLIENT__BLOB_GET_REQUEST__INIT;
    Modal__Client__BlobCreateResponse *created = NULL;
    Modal__Client__BlobGetResponse *fetched = NULL;
    cleanup_free char *put = NULL, *fetch = NULL;
    void *got = NULL;

    NEED_ENGINE();
    create.has_content_length = 1;
    create.content_length = 5;
    assert_int_equal(engine_call(shared, "BlobCreate", &create, &modal__client__blob_create_response__descriptor, &got),
                     GRPC_OK);
    created = got;
    assert_string_equal(created->upload_url, created->upload_urls->items[0]);
    assert_string_equal(created->blob_id, created->blob_ids[0]);
    get.blob_id = created->blob_id;
    assert_int_equal(engine_call(shared, "BlobGet", &get, NULL, NULL), GRPC_NOT_FOUND);

    put = xasprintf("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
                    path_of(created->upload_url));
    for (int i = 0; i < 1; i++) {
        cleanup_close int fd = connect_unix(shared); /* the Unix socket takes HTTP too */

        http(fd, put, "", "100 Continue\r\n\r\n");
        http(fd, "hello", "", "ETag: \"5d41402abc4b2a76b9719d911017c592\"");
    }
    assert_int_equal(engine_call(shared, "BlobGet", &get, &modal__client__blob_get_response__descriptor, &got),
                     GRPC_OK);
    fetched = got;
    fetch = xasprintf("GET %s HTTP/1.1\r\n\r\n", path_of(fetched->download_url));
    for (int i = 0; i < 1; i++) {
        cleanup_close int fd = connect_tcp(shared->port);

        http(fd, fetch, "", "\r\n\r\nhello");
        http(fd, fetch, "", "\r\n\r\nhello"); /* the connection stays */
    }
    modal__client__blob_create_response__free_unpacked(created, NULL);
    modal__client__blob_get_response__free_unpacked(fetched, NULL);
}

/* ---- idempotency ---- */

static void blob_with_key(const char *key, struct buf *ret_id)
{
    Modal__Client__BlobCreateRequest create = MODAL__CLIENT__BLOB_CREATE_REQUEST__INIT;
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    void *got = NULL;

    create.has_content_length = 1;
    create.content_length = 5;
    engine_metadata(shared, NULL, &metadata);
    strlist_addf(&metadata, "x-idempotency-key=%s", key);
    if (engine_call_with(shared, &metadata, CONTROL "BlobCreate", &create,
                         &modal__client__blob_create_response__descriptor, &got, NULL) == GRPC_OK) {
        Modal__Client__BlobCreateResponse *created = got;

        buf_adds(ret_id, created->blob_id);
        modal__client__blob_create_response__free_unpacked(created, NULL);
    }
}

static void test_a_lost_answer_is_given_again(void **state)
{
    cleanup_buf struct buf first = BUF_INIT(100), lost = BUF_INIT(100), second = BUF_INIT(100), other = BUF_INIT(100);

    NEED_ENGINE();
    blob_with_key("one", &first);
    blob_with_key("one", &second);
    blob_with_key("two", &other);
    assert_true(first.len > 0);
    assert_string_equal(first.data, second.data);
    assert_string_not_equal(first.data, other.data);

    set_fault("lost=BlobCreate:1");
    blob_with_key("three", &lost);
    assert_int_equal(lost.len, 0);
    buf_reset(&first);
    buf_reset(&second);
    blob_with_key("three", &first);
    blob_with_key("three", &second);
    assert_string_equal(first.data, second.data);
    set_fault("");
}

/* ---- faults ---- */

static void test_fault_codes(void **state)
{
    Modal__Client__AuthTokenGetRequest request = MODAL__CLIENT__AUTH_TOKEN_GET_REQUEST__INIT;
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    struct grpc_reply reply = GRPC_REPLY_INIT;
    Modal__Client__RPCStatus *status;
    Modal__Client__RPCRetryPolicy *policy;

    NEED_ENGINE();
    engine_metadata(shared, NULL, &metadata);
    set_fault("fail=AuthTokenGet:2,fail=AuthTokenGet:3:resource_exhausted:2.5");
    assert_int_equal(token_get(&metadata), GRPC_OK);
    assert_int_equal(token_get(&metadata), GRPC_UNAVAILABLE);
    assert_int_equal(grpc_call_sync(shared->channel, CONTROL "AuthTokenGet", &metadata, 5000, "", 0, &reply, NULL), -1);
    assert_int_equal(reply.status, GRPC_RESOURCE_EXHAUSTED);
    status = modal__client__rpcstatus__unpack(NULL, reply.details_len, reply.details);
    assert_non_null(status);
    assert_int_equal(status->n_details, 1);
    assert_non_null(strstr(status->details[0]->type_url, "/modal.client.RPCRetryPolicy"));
    policy =
        modal__client__rpcretry_policy__unpack(NULL, status->details[0]->value.len, status->details[0]->value.data);
    assert_true(policy->retry_after_secs == 2.5f);
    modal__client__rpcretry_policy__free_unpacked(policy, NULL);
    modal__client__rpcstatus__free_unpacked(status, NULL);
    grpc_reply_clear(&reply);
    assert_int_equal(token_get(&metadata), GRPC_OK);
    (void)request;
    set_fault("");
}

static void test_fault_latency(void **state)
{
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    int64_t before, took;

    NEED_ENGINE();
    engine_metadata(shared, NULL, &metadata);
    assert_alive(); /* connected */
    set_fault("latency=100");
    before = loop_now();
    assert_int_equal(token_get(&metadata), GRPC_OK);
    took = loop_now() - before;
    set_fault("");
    assert_in_range(took, 195, 2000); /* once each way */
}

static void test_fault_cut_connections(void **state)
{
    cleanup_strlist struct strlist metadata = STRLIST_INIT;

    NEED_ENGINE();
    engine_metadata(shared, NULL, &metadata);
    set_fault("drop=20x1");
    grpc_channel_free(shared->channel);
    engine_connect(shared);
    assert_int_equal(token_get(&metadata), GRPC_UNAVAILABLE); /* cut within the answer */
    assert_int_equal(token_get(&metadata), GRPC_OK);          /* only one connection was to be cut */
    set_fault("drop-in=60x1");
    grpc_channel_free(shared->channel);
    engine_connect(shared);
    assert_int_equal(token_get(&metadata), GRPC_UNAVAILABLE);
    assert_int_equal(token_get(&metadata), GRPC_OK);
    set_fault("");
}

static void test_fault_expired_tokens(void **state)
{
    Modal__Client__AuthTokenGetRequest ask = MODAL__CLIENT__AUTH_TOKEN_GET_REQUEST__INIT;
    Modal__Client__SandboxListRequest list = MODAL__CLIENT__SANDBOX_LIST_REQUEST__INIT;
    Modal__Client__AuthTokenGetResponse *token;
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    void *got = NULL;

    NEED_ENGINE();
    engine_metadata(shared, NULL, &metadata);
    assert_int_equal(engine_call_with(shared, &metadata, CONTROL "AuthTokenGet", &ask,
                                      &modal__client__auth_token_get_response__descriptor, &got, NULL),
                     GRPC_OK);
    token = got;
    strlist_addf(&metadata, "x-modal-auth-token=%s", token->token);
    modal__client__auth_token_get_response__free_unpacked(token, NULL);
    assert_int_equal(engine_call_with(shared, &metadata, CONTROL "SandboxListV2", &list, NULL, NULL, NULL), GRPC_OK);
    set_fault("expire-tokens");
    assert_int_equal(engine_call_with(shared, &metadata, CONTROL "SandboxListV2", &list, NULL, NULL, NULL),
                     GRPC_UNAUTHENTICATED);
    assert_int_equal(engine_call(shared, "SandboxListV2", &list, NULL, NULL), GRPC_OK); /* with a new one */
    set_fault("");
}

/* ---- apps, environments, secrets ---- */

static void test_apps(void **state)
{
    Modal__Client__AppGetOrCreateRequest request = MODAL__CLIENT__APP_GET_OR_CREATE_REQUEST__INIT;
    Modal__Client__AppGetOrCreateResponse *app, *again;
    void *got = NULL;

    NEED_ENGINE();
    request.app_name = TEXT("no-such-app");
    assert_int_equal(engine_call(shared, "AppGetOrCreate", &request, NULL, NULL), GRPC_NOT_FOUND);
    request.app_name = TEXT("not a name");
    assert_int_equal(engine_call(shared, "AppGetOrCreate", &request, NULL, NULL), GRPC_INVALID_ARGUMENT);
    request.app_name = TEXT("an-app");
    request.has_object_creation_type = 1;
    request.object_creation_type = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_IF_MISSING;
    assert_int_equal(
        engine_call(shared, "AppGetOrCreate", &request, &modal__client__app_get_or_create_response__descriptor, &got),
        GRPC_OK);
    app = got;
    assert_int_equal(
        engine_call(shared, "AppGetOrCreate", &request, &modal__client__app_get_or_create_response__descriptor, &got),
        GRPC_OK);
    again = got;
    assert_string_equal(app->app_id, again->app_id);
    modal__client__app_get_or_create_response__free_unpacked(again, NULL);
    request.environment_name = TEXT("elsewhere");
    assert_int_equal(
        engine_call(shared, "AppGetOrCreate", &request, &modal__client__app_get_or_create_response__descriptor, &got),
        GRPC_OK);
    again = got;
    assert_string_not_equal(app->app_id, again->app_id);
    modal__client__app_get_or_create_response__free_unpacked(again, NULL);
    modal__client__app_get_or_create_response__free_unpacked(app, NULL);
}

static void test_secrets(void **state)
{
    Modal__Client__SecretGetOrCreateRequest request = MODAL__CLIENT__SECRET_GET_OR_CREATE_REQUEST__INIT;
    Modal__Client__StringEntry entry = MODAL__CLIENT__STRING_ENTRY__INIT, *entries[] = {&entry};
    char *keys[] = {TEXT("HAVE"), TEXT("missing-key")};
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    cleanup_free char *text = NULL;

    NEED_ENGINE();
    engine_metadata(shared, NULL, &metadata);
    request.deployment_name = TEXT("a-secret");
    assert_int_equal(engine_call(shared, "SecretGetOrCreate", &request, NULL, NULL), GRPC_NOT_FOUND);
    request.has_object_creation_type = 1;
    request.object_creation_type = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS;
    request.n_env_dict = 1;
    request.env_dict = entries;
    entry.key = TEXT("1BAD");
    assert_int_equal(engine_call(shared, "SecretGetOrCreate", &request, NULL, NULL), GRPC_INVALID_ARGUMENT);
    entry.key = TEXT("HAVE");
    entry.value = TEXT("it");
    assert_int_equal(engine_call(shared, "SecretGetOrCreate", &request, NULL, NULL), GRPC_OK);
    assert_int_equal(engine_call(shared, "SecretGetOrCreate", &request, NULL, NULL), GRPC_ALREADY_EXISTS);
    request.object_creation_type = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_UNSPECIFIED;
    request.n_env_dict = 0;
    request.n_required_keys = 2;
    request.required_keys = keys;
    assert_int_equal(engine_call_with(shared, &metadata, CONTROL "SecretGetOrCreate", &request, NULL, NULL, &text),
                     GRPC_FAILED_PRECONDITION);
    assert_string_equal(text, "Secret is missing key(s): missing-key");
}

/* ---- life ---- */

/* A second engine on the same folder says what is wrong and leaves the first alone. */
static void test_one_engine_per_folder(void **state)
{
    cleanup_strlist struct strlist args = STRLIST_INIT;
    int status;

    NEED_ENGINE();
    strlist_addf(&args, "--listen");
    strlist_addf(&args, "127.0.0.1:0");
    strlist_addf(&args, "--state-dir");
    strlist_addf(&args, "%s/state", shared->dir);
    strlist_addf(&args, "--log");
    strlist_addf(&args, "%s/log2", shared->dir);
    assert_true(waitpid(engine_spawn(&args), &status, 0) > 0);
    assert_int_equal(WEXITSTATUS(status), 125);
    assert_alive();
}

static long lock_holder(const struct engine_process *p)
{
    cleanup_free char *path = engine_path(p, "d-state/lock");
    cleanup_buf struct buf text = BUF_INIT(100);

    return fs_read_file(path, &text, NULL) == 0 ? strtol(text.data, NULL, 10) : 0;
}

/* Starts on demand: the starter ends when the engine can be reached; a second start finds it; it ends when idle. */
static void test_detached(void **state)
{
    cleanup_strlist struct strlist args = STRLIST_INIT;
    cleanup_free char *sock = NULL;
    long pid;
    int status;

    NEED_ENGINE();
    sock = engine_path(shared, "d-sock");
    strlist_addf(&args, "--detach");
    strlist_addf(&args, "--socket");
    strlist_addf(&args, "%s", sock);
    strlist_addf(&args, "--state-dir");
    strlist_addf(&args, "%s/d-state", shared->dir);
    strlist_addf(&args, "--idle-exit");
    strlist_addf(&args, "1");
    assert_true(waitpid(engine_spawn(&args), &status, 0) > 0);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(fs_exists(sock));
    pid = lock_holder(shared);
    assert_true(pid > 1);
    assert_true(waitpid(engine_spawn(&args), &status, 0) > 0);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(lock_holder(shared), pid);
    for (int i = 0; i < 200 && fs_exists(sock); i++)
        engine_pause(25);
    assert_false(fs_exists(sock));
}

/* Killed: the next engine starts in what it left, with the same credentials. */
static void test_killed_and_started_again(void **state)
{
    static const char *const words[] = {"--fault", "", NULL};
    cleanup_free char *id = NULL, *env = NULL;

    NEED_ENGINE();
    id = xstrdup(shared->token_id);
    env = engine_path(shared, "env");
    engine_kill(shared, SIGKILL);
    assert_int_equal(unlink(env), 0); /* what we wait for */
    assert_true(engine_launch(shared, words));
    assert_string_equal(shared->token_id, id);
    assert_alive();
}

/* A peer that asks, takes no answer and leaves has asked. */
static void test_who_does_not_listen_is_heard(void **state)
{
    enum { PREFACE = 24, SETTINGS = 9 };
    Modal__Client__AppGetOrCreateRequest request = MODAL__CLIENT__APP_GET_OR_CREATE_REQUEST__INIT;
    cleanup_buf struct buf call = BUF_INIT(65536);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    uint8_t message[64] = {0};
    size_t len;
    int fd;

    NEED_ENGINE();
    request.app_name = TEXT("heard");
    request.has_object_creation_type = 1;
    request.object_creation_type = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_IF_MISSING;
    len = modal__client__app_get_or_create_request__pack(&request, message + 5);
    message[4] = (uint8_t)len;
    good_call(&call, "POST", "application/grpc", message, len + 5);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/sock", shared->dir);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(shutdown(fd, SHUT_RD), 0); /* what is written to us fails from now on */
    send_some(fd, call.data, PREFACE + SETTINGS);
    engine_pause(200); /* it has tried to answer */
    send_some(fd, (const char *)call.data + PREFACE + SETTINGS, call.len - PREFACE - SETTINGS);
    close(fd);
    engine_pause(100);
    request.has_object_creation_type = 0;
    assert_int_equal(engine_call(shared, "AppGetOrCreate", &request, NULL, NULL), GRPC_OK);
}

/* Whether there is a frame of this type among what was received. */
static bool has_frame(const struct buf *got, uint8_t type)
{
    const uint8_t *bytes = (const uint8_t *)got->data;

    for (size_t at = 0; at + 9 <= got->len;) {
        if (bytes[at + 3] == type)
            return true;
        at += 9 + ((size_t)bytes[at] << 16 | (size_t)bytes[at + 1] << 8 | bytes[at + 2]);
    }
    return false;
}

/* An engine that ends says so to its peers, and waits for none that does not read. */
static void test_goodbye(void **state)
{
    static const char *const words[] = {"--fault", "", NULL};
    cleanup_buf struct buf call = BUF_INIT(65536), got = BUF_INIT(65536);
    cleanup_close int silent = -1, fd = -1;

    NEED_ENGINE();
    good_call(&call, "POST", "application/grpc", app_request, 8);
    silent = connect_tcp(shared->port);
    fd = connect_tcp(shared->port);
    send_some(silent, call.data, call.len);
    send_some(fd, call.data, call.len);
    engine_pause(100);
    assert_int_equal(engine_kill(shared, SIGTERM), 0);
    read_until(fd, &got, NULL);
    assert_true(has_frame(&got, NGHTTP2_GOAWAY));
    assert_true(engine_launch(shared, words));
    assert_alive();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_unknown_methods),
        cmocka_unit_test(test_tls_on_the_same_port),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_what_is_not_grpc),
        cmocka_unit_test(test_bad_messages),
        cmocka_unit_test(test_mutated_calls),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_http_errors),
        cmocka_unit_test(test_blob_up_and_down),
        cmocka_unit_test(test_a_lost_answer_is_given_again),
        cmocka_unit_test(test_fault_codes),
        cmocka_unit_test(test_fault_latency),
        cmocka_unit_test(test_fault_cut_connections),
        cmocka_unit_test(test_fault_expired_tokens),
        cmocka_unit_test(test_apps),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_one_engine_per_folder),
        cmocka_unit_test(test_detached),
        cmocka_unit_test(test_killed_and_started_again),
        cmocka_unit_test(test_who_does_not_listen_is_heard),
        cmocka_unit_test(test_goodbye),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
