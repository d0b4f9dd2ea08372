/*
 * OpenSSL, libssl with the libcrypto that it brings, loaded by lib_openssl(). After it the functions are called by
 * their own names, as with <openssl/ssl.h>.
 */
#ifndef ATP_LIB_OPENSSL_H
#define ATP_LIB_OPENSSL_H

#include "compat/lib/lazy.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct err;

#define OPENSSL_CALLS(X)                                                                                               \
    X(BIO_ctrl_pending)                                                                                                \
    X(BIO_free)                                                                                                        \
    X(BIO_new)                                                                                                         \
    X(BIO_read)                                                                                                        \
    X(BIO_s_mem)                                                                                                       \
    X(BIO_write)                                                                                                       \
    X(ERR_clear_error)                                                                                                 \
    X(ERR_get_error)                                                                                                   \
    X(ERR_reason_error_string)                                                                                         \
    X(EVP_DigestFinal_ex)                                                                                              \
    X(EVP_DigestInit_ex)                                                                                               \
    X(EVP_DigestUpdate)                                                                                                \
    X(EVP_MD_CTX_free)                                                                                                 \
    X(EVP_MD_CTX_new)                                                                                                  \
    X(EVP_md5)                                                                                                         \
    X(SSL_CTX_ctrl)                                                                                                    \
    X(SSL_CTX_free)                                                                                                    \
    X(SSL_CTX_load_verify_locations)                                                                                   \
    X(SSL_CTX_new)                                                                                                     \
    X(SSL_CTX_set_alpn_protos)                                                                                         \
    X(SSL_CTX_set_default_verify_paths)                                                                                \
    X(SSL_CTX_set_verify)                                                                                              \
    X(SSL_ctrl)                                                                                                        \
    X(SSL_do_handshake)                                                                                                \
    X(SSL_free)                                                                                                        \
    X(SSL_get0_alpn_selected)                                                                                          \
    X(SSL_get0_param)                                                                                                  \
    X(SSL_get_error)                                                                                                   \
    X(SSL_get_verify_result)                                                                                           \
    X(SSL_is_init_finished)                                                                                            \
    X(SSL_new)                                                                                                         \
    X(SSL_read)                                                                                                        \
    X(SSL_set_bio)                                                                                                     \
    X(SSL_set_connect_state)                                                                                           \
    X(SSL_write)                                                                                                       \
    X(TLS_client_method)                                                                                               \
    X(X509_VERIFY_PARAM_set1_host)                                                                                     \
    X(X509_VERIFY_PARAM_set1_ip_asc)                                                                                   \
    X(X509_VERIFY_PARAM_set_hostflags)                                                                                 \
    X(X509_verify_cert_error_string)

struct openssl_calls {
    OPENSSL_CALLS(LAZY_MEMBER)
};

extern struct openssl_calls openssl_calls;

/* Before the first of the calls below. */
int lib_openssl(struct err *err);

#define BIO_ctrl_pending                 (openssl_calls.BIO_ctrl_pending)
#define BIO_free                         (openssl_calls.BIO_free)
#define BIO_new                          (openssl_calls.BIO_new)
#define BIO_read                         (openssl_calls.BIO_read)
#define BIO_s_mem                        (openssl_calls.BIO_s_mem)
#define BIO_write                        (openssl_calls.BIO_write)
#define ERR_clear_error                  (openssl_calls.ERR_clear_error)
#define ERR_get_error                    (openssl_calls.ERR_get_error)
#define ERR_reason_error_string          (openssl_calls.ERR_reason_error_string)
#define EVP_DigestFinal_ex               (openssl_calls.EVP_DigestFinal_ex)
#define EVP_DigestInit_ex                (openssl_calls.EVP_DigestInit_ex)
#define EVP_DigestUpdate                 (openssl_calls.EVP_DigestUpdate)
#define EVP_MD_CTX_free                  (openssl_calls.EVP_MD_CTX_free)
#define EVP_MD_CTX_new                   (openssl_calls.EVP_MD_CTX_new)
#define EVP_md5                          (openssl_calls.EVP_md5)
#define SSL_CTX_ctrl                     (openssl_calls.SSL_CTX_ctrl)
#define SSL_CTX_free                     (openssl_calls.SSL_CTX_free)
#define SSL_CTX_load_verify_locations    (openssl_calls.SSL_CTX_load_verify_locations)
#define SSL_CTX_new                      (openssl_calls.SSL_CTX_new)
#define SSL_CTX_set_alpn_protos          (openssl_calls.SSL_CTX_set_alpn_protos)
#define SSL_CTX_set_default_verify_paths (openssl_calls.SSL_CTX_set_default_verify_paths)
#define SSL_CTX_set_verify               (openssl_calls.SSL_CTX_set_verify)
#define SSL_ctrl                         (openssl_calls.SSL_ctrl)
#define SSL_do_handshake                 (openssl_calls.SSL_do_handshake)
#define SSL_free                         (openssl_calls.SSL_free)
#define SSL_get0_alpn_selected           (openssl_calls.SSL_get0_alpn_selected)
#define SSL_get0_param                   (openssl_calls.SSL_get0_param)
#define SSL_get_error                    (openssl_calls.SSL_get_error)
#define SSL_get_verify_result            (openssl_calls.SSL_get_verify_result)
#define SSL_is_init_finished             (openssl_calls.SSL_is_init_finished)
#define SSL_new                          (openssl_calls.SSL_new)
#define SSL_read                         (openssl_calls.SSL_read)
#define SSL_set_bio                      (openssl_calls.SSL_set_bio)
#define SSL_set_connect_state            (openssl_calls.SSL_set_connect_state)
#define SSL_write                        (openssl_calls.SSL_write)
#define TLS_client_method                (openssl_calls.TLS_client_method)
#define X509_VERIFY_PARAM_set1_host      (openssl_calls.X509_VERIFY_PARAM_set1_host)
#define X509_VERIFY_PARAM_set1_ip_asc    (openssl_calls.X509_VERIFY_PARAM_set1_ip_asc)
#define X509_VERIFY_PARAM_set_hostflags  (openssl_calls.X509_VERIFY_PARAM_set_hostflags)
#define X509_verify_cert_error_string    (openssl_calls.X509_verify_cert_error_string)

#endif
