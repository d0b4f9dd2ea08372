/*
 * libcurl, loaded by lib_curl(). After it the functions are called by their own names, as with <curl/curl.h>.
 */
#ifndef ATP_LIB_CURL_H
#define ATP_LIB_CURL_H

#include "compat/lib/lazy.h"

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

struct err;

/* libcurl counts arguments with macros of these names. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

#define CURL_CALLS(X)                                                                                                  \
    X(curl_global_init)                                                                                                \
    X(curl_easy_init)                                                                                                  \
    X(curl_easy_setopt)                                                                                                \
    X(curl_easy_perform)                                                                                               \
    X(curl_easy_getinfo)                                                                                               \
    X(curl_easy_cleanup)                                                                                               \
    X(curl_easy_reset)                                                                                                 \
    X(curl_easy_strerror)                                                                                              \
    X(curl_slist_append)                                                                                               \
    X(curl_slist_free_all)

struct curl_calls {
    CURL_CALLS(LAZY_MEMBER)
};

extern struct curl_calls curl_calls;

/* Before the first of the calls below. */
int lib_curl(struct err *err);

#define curl_global_init    (curl_calls.curl_global_init)
#define curl_easy_init      (curl_calls.curl_easy_init)
#define curl_easy_setopt    (curl_calls.curl_easy_setopt)
#define curl_easy_perform   (curl_calls.curl_easy_perform)
#define curl_easy_getinfo   (curl_calls.curl_easy_getinfo)
#define curl_easy_cleanup   (curl_calls.curl_easy_cleanup)
#define curl_easy_reset     (curl_calls.curl_easy_reset)
#define curl_easy_strerror  (curl_calls.curl_easy_strerror)
#define curl_slist_append   (curl_calls.curl_slist_append)
#define curl_slist_free_all (curl_calls.curl_slist_free_all)

#endif
