#include "backends/engine/tls.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/err.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define CERT_DAYS 3650L /* the engine does not live that long */

struct tls {
    SSL_CTX *ctx;
};

struct tls_session {
    SSL *ssl; /* owns both BIOs */
    BIO *in, *out;
};

/* The newest reason in OpenSSL's queue, which is emptied. */
static int set_openssl_err(struct err *err, const char *what)
{
    char reason[256];

    ERR_error_string_n(ERR_peek_last_error(), reason, sizeof(reason));
    ERR_clear_error();
    return err_set(err, 125, "%s: %s", what, reason);
}

/* h2 for gRPC, http/1.1 for blobs; a client without ALPN is told apart by its first bytes. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
                       unsigned int inlen, void *arg)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    bool without = SSL_get_app_data(ssl) != NULL;
    const unsigned char *offered = without ? both + 3 : both;
    unsigned int len = without ? sizeof(both) - 4 : sizeof(both) - 1;
    unsigned char *chosen;

    (void)arg;
    if (SSL_select_next_proto(&chosen, outlen, offered, len, in, inlen) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Adds the names that local clients use. */
static int add_names(X509 *cert)
{
    X509_EXTENSION *ext =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1");
    int added;

    if (!ext)
        return -1;
    added = X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    return added ? 0 : -1;
}

/* A certificate for localhost, signed by its own key. */
static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    X509_NAME *name;
    uint64_t serial = 0;

    if (!cert)
        return NULL;
    name = X509_get_subject_name(cert);
    RAND_bytes((unsigned char *)&serial, 7);
    if (!X509_set_version(cert, X509_VERSION_3) || !ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial) ||
        !X509_gmtime_adj(X509_getm_notBefore(cert), -3600) ||
        !X509_gmtime_adj(X509_getm_notAfter(cert), CERT_DAYS * 86400) || !X509_set_pubkey(cert, key) ||
        !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0) ||
        !X509_set_issuer_name(cert, name) || add_names(cert) < 0 || !X509_sign(cert, key, EVP_sha256())) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

/* Gives the context its key and certificate. */
static int certify(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? make_certificate(key) : NULL;
    int rc = cert && SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1 ? 0 : -1;

    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

struct tls *stls_new(struct err *err)
{
    struct tls *t = xcalloc(1, sizeof(*t));

    t->ctx = SSL_CTX_new(TLS_server_method());
    if (!t->ctx || certify(t->ctx) < 0) {
        set_openssl_err(err, "making a TLS certificate");
        stls_free(t);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_alpn_select_cb(t->ctx, choose_alpn, NULL);
    return t;
}

void stls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    free(t);
}

struct tls_session *stls_session_new(struct tls *t)
{
    struct tls_session *s = xcalloc(1, sizeof(*s));

    s->ssl = SSL_new(t->ctx);
    s->in = BIO_new(BIO_s_mem());
    s->out = BIO_new(BIO_s_mem());
    if (!s->ssl || !s->in || !s->out)
        abort();
    SSL_set_bio(s->ssl, s->in, s->out);
    SSL_set_accept_state(s->ssl);
    return s;
}

void stls_session_free(struct tls_session *s)
{
    if (!s)
        return;
    SSL_free(s->ssl);
    free(s);
}

void stls_without_h2(struct tls_session *s)
{
    SSL_set_app_data(s->ssl, s);
}

bool stls_is_ready(const struct tls_session *s)
{
    return SSL_is_init_finished(s->ssl);
}

void stls_finish(struct tls_session *s)
{
    ERR_clear_error();
    SSL_shutdown(s->ssl);
}

int stls_feed(struct tls_session *s, const uint8_t *bytes, size_t len, struct buf *plain)
{
    if (BIO_write(s->in, bytes, (int)len) != (int)len)
        return -1;
    for (;;) {
        char *to = buf_reserve(plain, 16384);
        int n;

        if (!to)
            return -1;
        ERR_clear_error();
        n = SSL_read(s->ssl, to, 16384);
        if (n > 0) {
            buf_advance(plain, (size_t)n);
            continue;
        }
        switch (SSL_get_error(s->ssl, n)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
            return 0;
        case SSL_ERROR_ZERO_RETURN:
            return 1;
        default:
            return -1;
        }
    }
}

int stls_write(struct tls_session *s, const void *bytes, size_t len)
{
    ERR_clear_error();
    if (len == 0)
        return 0;
    return SSL_write(s->ssl, bytes, (int)len) == (int)len ? 0 : -1;
}

int stls_take(struct tls_session *s, struct buf *wire)
{
    int pending = (int)BIO_ctrl_pending(s->out);
    char *to;

    if (pending <= 0)
        return 0;
    to = buf_reserve(wire, (size_t)pending);
    if (!to)
        return -1;
    buf_advance(wire, (size_t)BIO_read(s->out, to, pending));
    return 0;
}
