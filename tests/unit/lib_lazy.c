/* link: atp_lib atp_base */
/* Libraries that are loaded when they are used: found once, said plainly when they are missing or the wrong ones. */
#include "compat/base/err.h"
#include "compat/lib/archive.h"
#include "compat/lib/curl.h"
#include "compat/lib/openssl.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct calls {
    void (*first)(void), (*second)(void);
};

static void no_such_library(void **state)
{
    static const char *const names[] = {"first"};
    struct calls table = {0};
    struct lazy_library lib = {
        .files = {"libatp-nowhere.so.7"}, .package = "libnowhere7", .names = names, .count = 1, .table = &table};
    struct err err = ERR_INIT;

    (void)state;
    for (int i = 0; i < 2; i++) { /* a failure is not remembered as a success */
        assert_int_equal(lazy_load(&lib, &err), -1);
        assert_non_null(strstr(err.msg, "libatp-nowhere.so.7 is needed"));
        assert_non_null(strstr(err.msg, "install the package libnowhere7"));
        assert_null(strchr(err.msg, '\n'));
        assert_int_equal(err.exit_code, 125);
        err_clear(&err);
    }
    assert_null(table.first);
}

static void library_without_the_function(void **state)
{
    static const char *const names[] = {"archive_read_new", "archive_read_minds"};
    struct calls table = {0};
    struct lazy_library lib = {
        .files = {"libarchive.so.13"}, .package = "libarchive13", .names = names, .count = 2, .table = &table};
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(lazy_load(&lib, &err), -1);
    assert_non_null(strstr(err.msg, "has no archive_read_minds"));
    err_clear(&err);
}

/* The second name is taken when the first is not there: how one table serves systems that name libraries otherwise. */
static void second_name(void **state)
{
    static const char *const names[] = {"archive_read_new", "archive_write_new"};
    struct calls table = {0};
    struct lazy_library lib = {.files = {"libarchive.13.nowhere", "libarchive.so.13"},
                               .package = "libarchive13",
                               .names = names,
                               .count = 2,
                               .table = &table};

    (void)state;
    assert_int_equal(lazy_load(&lib, NULL), 0);
    assert_non_null(table.first);
    assert_non_null(table.second);
    assert_ptr_not_equal(table.first, table.second);
}

static void *load_all(void *arg)
{
    bool *good = arg;

    *good = lib_curl(NULL) == 0 && lib_archive(NULL) == 0 && lib_openssl(NULL) == 0;
    return NULL;
}

static void every_table_from_many_threads(void **state)
{
    pthread_t threads[8];
    bool good[8] = {0};
    struct archive *a;
    EVP_MD_CTX *digest;
    CURL *curl;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load_all, &good[i]), 0);
    for (size_t i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_true(good[i]);
    }
    /* Each works, and the first and the last member are the functions of their names. */
    curl = curl_easy_init();
    assert_int_equal(curl_easy_setopt(curl, CURLOPT_URL, "http://localhost/"), CURLE_OK);
    assert_string_equal(curl_easy_strerror(CURLE_OK), "No error");
    curl_easy_cleanup(curl);
    curl_slist_free_all(curl_slist_append(NULL, "one"));
    a = archive_write_new();
    assert_int_equal(archive_write_set_format_pax_restricted(a), ARCHIVE_OK);
    archive_write_free(a);
    digest = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex(digest, EVP_md5(), NULL), 1);
    EVP_MD_CTX_free(digest);
    assert_string_equal(X509_verify_cert_error_string(X509_V_OK), "ok");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_such_library),
        cmocka_unit_test(library_without_the_function),
        cmocka_unit_test(second_name),
        cmocka_unit_test(every_table_from_many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
