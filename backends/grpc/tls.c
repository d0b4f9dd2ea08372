#include "backends/grpc/tls.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/lib/openssl.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

struct tls_context {
    SSL_CTX *ctx;
};

struct tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
};

/* The oldest queued reason of the library, in its words; the queue is emptied. */
static const char *library_reason(void)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return reason ? reason : "unknown failure";
}

struct tls_context *tls_context_new(const char *ca_file, bool unverified, struct err *err)
{
    static const unsigned char h2[] = {2, 'h', '2'};
    struct tls_context *context;
    bool ok;

    if (lib_openssl(err) < 0)
        return NULL;
    context = xcalloc(1, sizeof(*context));
    ERR_clear_error();
    context->ctx = SSL_CTX_new(TLS_client_method());
    ok = context->ctx && SSL_CTX_set_min_proto_version(context->ctx, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_alpn_protos(context->ctx, h2, sizeof(h2)) == 0;
    if (ok && !unverified) {
        SSL_CTX_set_verify(context->ctx, SSL_VERIFY_PEER, NULL);
        ok = ca_file ? SSL_CTX_load_verify_locations(context->ctx, ca_file, NULL) == 1
                     : SSL_CTX_set_default_verify_paths(context->ctx) == 1;
    }
    if (ok)
        return context;
    err_set(err, 125, "TLS: %s%s%s", ca_file ? ca_file : "", ca_file ? ": " : "", library_reason());
    tls_context_free(context);
    return NULL;
}

void tls_context_free(struct tls_context *context)
{
    if (context)
        SSL_CTX_free(context->ctx);
    free(context);
}

/* What is asked for by SNI and compared with the certificate: a name or an address. */
static bool set_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls *tls_new(struct tls_context *context, const char *host, struct err *err)
{
    struct tls *tls = xcalloc(1, sizeof(*tls));

    ERR_clear_error();
    tls->ssl = SSL_new(context->ctx);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out || !set_host(tls->ssl, host)) {
        err_set(err, 125, "TLS: %s", library_reason());
        SSL_free(tls->ssl);
        BIO_free(tls->in);
        BIO_free(tls->out);
        free(tls);
        return NULL;
    }
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_connect_state(tls->ssl);
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls)
        SSL_free(tls->ssl);
    free(tls);
}

int tls_feed(struct tls *tls, const void *data, size_t len, struct err *err)
{
    if (BIO_write(tls->in, data, (int)len) == (int)len)
        return 0;
    return err_set(err, 125, "TLS: %s", library_reason());
}

/* Says what was wrong with the certificate if that was it. */
static int handshake_error(const struct tls *tls, struct err *err)
{
    long verdict = SSL_get_verify_result(tls->ssl);

    if (verdict != X509_V_OK) {
        ERR_clear_error();
        return err_set(err, 125, "the server's certificate is not trusted: %s", X509_verify_cert_error_string(verdict));
    }
    return err_set(err, 125, "TLS: %s", library_reason());
}

int tls_handshake(struct tls *tls, struct err *err)
{
    const unsigned char *protocol = NULL;
    unsigned len = 0;
    int ret;

    if (!SSL_is_init_finished(tls->ssl)) {
        ERR_clear_error();
        ret = SSL_do_handshake(tls->ssl);
        if (ret != 1)
            return SSL_get_error(tls->ssl, ret) == SSL_ERROR_WANT_READ ? 0 : handshake_error(tls, err);
    }
    SSL_get0_alpn_selected(tls->ssl, &protocol, &len);
    if (len != 2 || memcmp(protocol, "h2", 2) != 0)
        return err_set(err, 125, "the server does not speak HTTP/2");
    return 1;
}

ssize_t tls_read(struct tls *tls, void *data, size_t len, struct err *err)
{
    int n;

    ERR_clear_error();
    n = SSL_read(tls->ssl, data, (int)len);
    if (n > 0)
        return n;
    switch (SSL_get_error(tls->ssl, n)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return -2;
    default:
        return err_set(err, 125, "TLS: %s", library_reason());
    }
}

int tls_write(struct tls *tls, const void *data, size_t len, struct err *err)
{
    int n;

    if (!len)
        return 0;
    ERR_clear_error();
    n = SSL_write(tls->ssl, data, (int)len);
    if (n == (int)len)
        return 0;
    return err_set(err, 125, "TLS: %s", library_reason());
}

int tls_drain(struct tls *tls, struct buf *out)
{
    size_t pending = BIO_ctrl_pending(tls->out);
    char *room = pending ? buf_reserve(out, pending) : NULL;
    int n;

    if (!pending)
        return 0;
    if (!room)
        return -1;
    n = BIO_read(tls->out, room, (int)pending);
    if (n > 0)
        buf_advance(out, (size_t)n);
    return 0;
}
