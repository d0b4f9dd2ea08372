/*
 * A gRPC server for tests of the transport, in a thread of the test: it misbehaves on request. What it does is chosen
 * by the method's name (see act()); it knows nothing of Modal. For anything beyond the transport the engine is the
 * server.
 */
#ifndef ATP_TESTS_GRPC_SERVER_H
#define ATP_TESTS_GRPC_SERVER_H

#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVER_CONNS 16

struct server_conn {
    struct server *server;
    int fd;
    nghttp2_session *h2;
    SSL *ssl;
    bool accepted, close_soon, close_after; /* now, or when what is queued has been written */
    struct server_stream *streams;
};

struct server_stream {
    struct server_stream *next;
    int32_t id;
    struct buf metadata; /* "key=value\n" of the request's fields */
    char path[96];
    struct buf request, answer;
    size_t at, piece; /* piece: most bytes of one DATA frame, 0: as many as fit */
    const char *status, *message, *details;
    bool no_trailers, hold; /* hold: the answer goes on some time later */
};

/* What a test adds: true if the request was dealt with. Runs in the server's thread. */
typedef bool server_hook(struct server_conn *c, struct server_stream *s, const char *method);

struct server {
    _Atomic(server_hook *) hook;
    pthread_t thread;
    int listen_fd, stop[2];
    char url[128];
    char socket_path[64], ca_path[64];
    SSL_CTX *tls;
    struct server_conn conns[SERVER_CONNS];
    atomic_int connections;  /* accepted so far */
    atomic_int resets;       /* RST_STREAM frames received */
    atomic_int pings;        /* PING frames received */
    atomic_int served;       /* requests that were complete */
    atomic_bool silent;      /* touch no socket */
    atomic_int served_bytes; /* body bytes sent */
};

static nghttp2_nv server_field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static ssize_t server_read_body(nghttp2_session *h2, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                                nghttp2_data_source *source, void *arg)
{
    struct server_stream *s = source->ptr;
    struct server_conn *c = arg;
    size_t n = s->answer.len - s->at;
    nghttp2_nv trailers[3];
    size_t count = 0;

    if (s->piece && room > s->piece)
        room = s->piece;
    if (n > room)
        n = room;
    memcpy(to, s->answer.data + s->at, n);
    s->at += n;
    atomic_fetch_add(&c->server->served_bytes, (int)n);
    if (s->at < s->answer.len)
        return (ssize_t)n;
    if (s->hold)
        return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->no_trailers)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    trailers[count++] = server_field("grpc-status", s->status);
    if (s->message)
        trailers[count++] = server_field("grpc-message", s->message);
    if (s->details)
        trailers[count++] = server_field("grpc-status-details-bin", s->details);
    nghttp2_submit_trailer(h2, id, trailers, count);
    return (ssize_t)n;
}

/* Answer head, then s->answer, then trailers. */
static void server_answer(struct server_conn *c, struct server_stream *s, const char *status)
{
    nghttp2_nv head[] = {server_field(":status", "200"), server_field("content-type", "application/grpc+proto")};
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = server_read_body};

    s->status = status;
    nghttp2_submit_response(c->h2, s->id, head, 2, &provider);
}

static void server_head_only(struct server_conn *c, struct server_stream *s, const nghttp2_nv *head, size_t n)
{
    nghttp2_submit_response(c->h2, s->id, head, n, NULL);
}

/* The request is complete. */
static void server_act(struct server_conn *c, struct server_stream *s)
{
    const char *name = strrchr(s->path, '/') + 1;
    server_hook *hook = atomic_load(&c->server->hook);
    unsigned count = 0, size = 0;

    atomic_fetch_add(&c->server->served, 1);
    if (hook && hook(c, s, name))
        return;
    if (strcmp(name, "Echo") == 0) {
        buf_add(&s->answer, s->request.data, s->request.len);
        server_answer(c, s, "0");
    } else if (strcmp(name, "Metadata") == 0) {
        grpc_frame_add(&s->answer, s->metadata.data, s->metadata.len);
        server_answer(c, s, "0");
    } else if (sscanf(name, "Stream-%u-%u", &count, &size) == 2) {
        char *message = xcalloc(1, size ? size : 1);

        for (unsigned i = 0; i < count; i++) {
            memset(message, (int)('a' + i % 26), size);
            grpc_frame_add(&s->answer, message, size);
        }
        free(message);
        server_answer(c, s, "0");
    } else if (strcmp(name, "OneByteFrames") == 0) {
        s->piece = 1;
        grpc_frame_add(&s->answer, "in pieces", 9);
        grpc_frame_add(&s->answer, "", 0);
        server_answer(c, s, "0");
    } else if (strcmp(name, "TrailersOnly") == 0) {
        nghttp2_nv head[] = {server_field(":status", "200"), server_field("content-type", "application/grpc"),
                             server_field("grpc-status", "5"), server_field("grpc-message", "no 100%25 such%0Athing")};

        server_head_only(c, s, head, 4);
    } else if (strcmp(name, "Details") == 0) {
        s->message = "slow down";
        s->details = "CAgaAA";
        server_answer(c, s, "8");
    } else if (strcmp(name, "NoStatus") == 0) {
        s->no_trailers = true;
        grpc_frame_add(&s->answer, "x", 1);
        server_answer(c, s, "0");
    } else if (strcmp(name, "Http503") == 0) {
        nghttp2_nv head[] = {server_field(":status", "503"), server_field("content-type", "text/html")};

        server_head_only(c, s, head, 2);
    } else if (strcmp(name, "Html") == 0) {
        nghttp2_nv head[] = {server_field(":status", "200"), server_field("content-type", "text/html")};

        server_head_only(c, s, head, 2);
    } else if (strcmp(name, "Oversize") == 0) {
        buf_add(&s->answer, "\0\x7f\xff\xff\xff", 5);
        server_answer(c, s, "0");
    } else if (strcmp(name, "Truncated") == 0) {
        buf_add(&s->answer, "\0\0\0\0\x09ha", 7);
        server_answer(c, s, "0");
    } else if (strcmp(name, "Reset") == 0) {
        nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
    } else if (strcmp(name, "Refuse") == 0) {
        nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_REFUSED_STREAM);
    } else if (strcmp(name, "Goaway") == 0) {
        /* This one is not served, those before it are. */
        nghttp2_submit_goaway(c->h2, NGHTTP2_FLAG_NONE, s->id - 2, NGHTTP2_NO_ERROR, NULL, 0);
    } else if (strcmp(name, "Calm") == 0) {
        nghttp2_submit_goaway(c->h2, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_ENHANCE_YOUR_CALM, NULL, 0);
        grpc_frame_add(&s->answer, "", 0);
        server_answer(c, s, "0");
    } else if (strcmp(name, "Close") == 0) {
        c->close_soon = true;
    } else if (strcmp(name, "Silence") == 0) {
        atomic_store(&c->server->silent, true);
    } else if (strcmp(name, "Hang") != 0) {
        s->message = "unknown method";
        server_answer(c, s, "12");
    }
}

static int server_on_begin(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
    struct server_conn *c = arg;
    struct server_stream *s;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    s = xcalloc(1, sizeof(*s));
    s->id = frame->hd.stream_id;
    buf_init(&s->metadata, 1 << 20);
    buf_init(&s->request, 256 << 20);
    buf_init(&s->answer, 1u << 30);
    s->next = c->streams;
    c->streams = s;
    nghttp2_session_set_stream_user_data(h2, s->id, s);
    return 0;
}

static int server_on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                            const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct server_stream *s = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);

    (void)flags;
    (void)arg;
    if (!s)
        return 0;
    if (name_len == 5 && memcmp(name, ":path", 5) == 0)
        snprintf(s->path, sizeof(s->path), "%.*s", (int)value_len, (const char *)value);
    buf_addf(&s->metadata, "%.*s=%.*s\n", (int)name_len, (const char *)name, (int)value_len, (const char *)value);
    return 0;
}

static int server_on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
    struct server_stream *s = nghttp2_session_get_stream_user_data(h2, id);

    (void)flags;
    (void)arg;
    if (s)
        buf_add(&s->request, data, len);
    return 0;
}

static int server_on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
    struct server_conn *c = arg;
    struct server_stream *s = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);

    if (frame->hd.type == NGHTTP2_RST_STREAM)
        atomic_fetch_add(&c->server->resets, 1);
    if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
        atomic_fetch_add(&c->server->pings, 1);
    /* This one answers before the request is over. */
    if (s && frame->hd.type == NGHTTP2_HEADERS && strstr(s->path, "/Early")) {
        s->message = "heard enough";
        server_answer(c, s, "9");
    }
    if (s && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        frame->hd.flags & NGHTTP2_FLAG_END_STREAM && !strstr(s->path, "/Early"))
        server_act(c, s);
    return 0;
}

static void server_forget(struct server_conn *c, struct server_stream *s)
{
    for (struct server_stream **p = &c->streams; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    buf_clear(&s->metadata);
    buf_clear(&s->request);
    buf_clear(&s->answer);
    free(s);
}

static int server_on_close(nghttp2_session *h2, int32_t id, uint32_t code, void *arg)
{
    struct server_stream *s = nghttp2_session_get_stream_user_data(h2, id);

    (void)code;
    if (s)
        server_forget(arg, s);
    return 0;
}

static ssize_t server_send(nghttp2_session *h2, const uint8_t *data, size_t len, int flags, void *arg)
{
    struct server_conn *c = arg;
    ssize_t n;

    (void)h2;
    (void)flags;
    if (c->ssl) {
        n = SSL_write(c->ssl, data, (int)len);
        return n > 0 ? n : NGHTTP2_ERR_WOULDBLOCK;
    }
    n = send(c->fd, data, len, MSG_NOSIGNAL);
    return n >= 0 ? n : errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static ssize_t server_recv(nghttp2_session *h2, uint8_t *data, size_t len, int flags, void *arg)
{
    struct server_conn *c = arg;
    ssize_t n;

    (void)h2;
    (void)flags;
    if (c->ssl) {
        n = SSL_read(c->ssl, data, (int)len);
        if (n > 0)
            return n;
        return SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_EOF;
    }
    n = recv(c->fd, data, len, 0);
    return n > 0 ? n : n < 0 && errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_EOF;
}

static void server_drop(struct server_conn *c)
{
    nghttp2_session_del(c->h2);
    while (c->streams)
        server_forget(c, c->streams);
    SSL_free(c->ssl);
    close(c->fd);
    *c = (struct server_conn){.fd = -1};
}

static void server_accept(struct server *server)
{
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000},
                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 64 << 20}};
    int fd = accept(server->listen_fd, NULL, NULL);
    nghttp2_session_callbacks *callbacks;

    if (fd < 0)
        return;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (size_t i = 0; i < SERVER_CONNS; i++) {
        struct server_conn *c = &server->conns[i];

        if (c->fd >= 0)
            continue;
        *c = (struct server_conn){.server = server, .fd = fd, .accepted = !server->tls};
        atomic_fetch_add(&server->connections, 1);
        if (server->tls) {
            c->ssl = SSL_new(server->tls);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
        }
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, server_on_begin);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, server_on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, server_on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, server_on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, server_on_close);
        nghttp2_session_callbacks_set_send_callback(callbacks, server_send);
        nghttp2_session_callbacks_set_recv_callback(callbacks, server_recv);
        nghttp2_session_server_new(&c->h2, callbacks, c);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, settings, 2);
        nghttp2_session_set_local_window_size(c->h2, NGHTTP2_FLAG_NONE, 0, 64 << 20);
        return;
    }
    close(fd);
}

static void server_turn(struct server_conn *c)
{
    if (!c->accepted) {
        int ret = SSL_accept(c->ssl);

        if (ret != 1) {
            if (SSL_get_error(c->ssl, ret) != SSL_ERROR_WANT_READ)
                server_drop(c);
            return;
        }
        c->accepted = true;
    }
    if (nghttp2_session_recv(c->h2) != 0 || c->close_soon || atomic_load(&c->server->silent)) {
        if (!atomic_load(&c->server->silent))
            server_drop(c);
        return;
    }
    /* The peer closes first: closing with its bytes unread would throw away what it has not received yet. */
    if (nghttp2_session_send(c->h2) != 0 || c->close_after)
        server_drop(c);
}

static void *server_main(void *arg)
{
    struct server *server = arg;

    for (;;) {
        struct pollfd polls[SERVER_CONNS + 2] = {{.fd = server->stop[0], .events = POLLIN},
                                                 {.fd = server->listen_fd, .events = POLLIN}};
        struct server_conn *who[SERVER_CONNS + 2];
        nfds_t n = 2;

        for (size_t i = 0; i < SERVER_CONNS; i++) {
            struct server_conn *c = &server->conns[i];

            if (c->fd < 0)
                continue;
            who[n] = c;
            polls[n++] = (struct pollfd){
                .fd = c->fd,
                .events = (short)(POLLIN | (c->accepted && nghttp2_session_want_write(c->h2) ? POLLOUT : 0))};
        }
        if (atomic_load(&server->silent))
            n = 1;
        poll(polls, n, -1);
        if (polls[0].revents)
            return NULL;
        if (n > 1 && polls[1].revents)
            server_accept(server);
        for (nfds_t i = 2; i < n; i++)
            if (polls[i].revents)
                server_turn(who[i]);
    }
}

static int server_alpn(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    for (unsigned i = 0; i + 2 < in_len; i += in[i] + 1u)
        if (in[i] == 2 && memcmp(in + i + 1, "h2", 2) == 0) {
            *out = in + i + 1;
            *len = 2;
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_NOACK;
}

/* A certificate of its own for san ("DNS:localhost"), written to server->ca_path. */
static void server_make_tls(struct server *server, const char *san, bool alpn)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    FILE *f;

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1,
                               0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_add_ext(cert, extension, -1);
    X509_sign(cert, key, EVP_sha256());
    server->tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(server->tls, cert);
    SSL_CTX_use_PrivateKey(server->tls, key);
    SSL_CTX_set_mode(server->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (alpn)
        SSL_CTX_set_alpn_select_cb(server->tls, server_alpn, NULL);
    snprintf(server->ca_path, sizeof(server->ca_path), "/tmp/grpc-test-%d.pem", (int)getpid());
    f = fopen(server->ca_path, "w");
    PEM_write_X509(f, cert);
    fclose(f);
    X509_EXTENSION_free(extension);
    X509_free(cert);
    EVP_PKEY_free(key);
}

enum server_kind { SERVER_UNIX, SERVER_TCP, SERVER_TLS, SERVER_TLS_OTHER_NAME, SERVER_TLS_NO_H2 };

static struct server *server_start(enum server_kind kind)
{
    struct server *server = xcalloc(1, sizeof(*server));

    for (size_t i = 0; i < SERVER_CONNS; i++)
        server->conns[i].fd = -1;
    if (kind == SERVER_UNIX) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        snprintf(server->socket_path, sizeof(server->socket_path), "/tmp/grpc-test-%d.sock", (int)getpid());
        memcpy(address.sun_path, server->socket_path, strlen(server->socket_path) + 1);
        unlink(server->socket_path);
        server->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bind(server->listen_fd, (struct sockaddr *)&address, sizeof(address));
        snprintf(server->url, sizeof(server->url), "unix://%s", server->socket_path);
    } else {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);

        server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bind(server->listen_fd, (struct sockaddr *)&address, sizeof(address));
        getsockname(server->listen_fd, (struct sockaddr *)&address, &len);
        snprintf(server->url, sizeof(server->url), "%s:%u",
                 kind == SERVER_TCP ? "http://127.0.0.1" : "https://localhost", ntohs(address.sin_port));
        if (kind != SERVER_TCP)
            server_make_tls(server, kind == SERVER_TLS_OTHER_NAME ? "DNS:elsewhere.test" : "DNS:localhost",
                            kind != SERVER_TLS_NO_H2);
    }
    listen(server->listen_fd, 16);
    if (pipe(server->stop) != 0)
        abort();
    pthread_create(&server->thread, NULL, server_main, server);
    return server;
}

static void server_stop(struct server *server)
{
    close(server->stop[1]);
    pthread_join(server->thread, NULL);
    for (size_t i = 0; i < SERVER_CONNS; i++)
        if (server->conns[i].fd >= 0)
            server_drop(&server->conns[i]);
    close(server->stop[0]);
    close(server->listen_fd);
    if (server->socket_path[0])
        unlink(server->socket_path);
    if (server->ca_path[0])
        unlink(server->ca_path);
    SSL_CTX_free(server->tls);
    free(server);
}

#endif
