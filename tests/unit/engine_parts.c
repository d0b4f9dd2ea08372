/* link: atp_engine atp_sys atp_base */
#include "backends/engine/blobs.h"
#include "backends/engine/fault.h"
#include "backends/engine/idem.h"
#include "backends/engine/ids.h"
#include "backends/engine/jwt.h"
#include "backends/engine/keys.h"
#include "backends/engine/options.h"
#include "backends/engine/plan.h"
#include "backends/engine/store.h"
#include "backends/engine/utf8.h"
#include "backends/engine/waiter.h"
#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <getopt.h>

#include <cmocka.h>

/* Everything that the tests write is below one folder. */
static char base[] = "/tmp/atp-parts-XXXXXX";

static int make_base(void **state)
{
    (void)state;
    return mkdtemp(base) ? 0 : -1;
}

static int remove_base(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        execlp("rm", "rm", "-rf", base, (char *)NULL);
        _exit(127);
    }
    return waitpid(child, &status, 0) == child ? status : -1;
}

/* A new folder, owned by caller. */
static char *folder(void)
{
    char *dir = xasprintf("%s/XXXXXX", base);

    assert_non_null(mkdtemp(dir));
    return dir;
}

/* ---- faults ---- */

static void test_fault_specs(void **state)
{
    static const struct {
        const char *spec;
        bool good;
    } cases[] = {
        {"", true},
        {" , ,", true},
        {"latency=200", true},
        {" latency=200 , bandwidth=1000 ", true},
        {"latency=", false},
        {"latency=-1", false},
        {"latency=1x", false},
        {"latency", false},
        {"nonsense=1", false},
        {"drop=0", false},
        {"drop=10", true},
        {"drop=10x2", true},
        {"drop=10x", false},
        {"drop-in=1x1", true},
        {"fail=A:1", true},
        {"fail=A:0", false},
        {"fail=A", false},
        {"fail=:1", false},
        {"fail=A:2-1", false},
        {"fail=A:1-3:internal", true},
        {"fail=A:1:no_such_code", false},
        {"fail=A:1:resource_exhausted:0.5", true},
        {"fail=A:1:resource_exhausted:x", false},
        {"fail=A:1:resource_exhausted:nan", false},
        {"lost=A:1", true},
        {"lost=A:1:internal", false},
        {"expire-tokens", true},
        {"token-ttl=99999999999999999999999", false},
    };
    struct fault *f = fault_new();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_err struct err err = ERR_INIT;
        int rc = fault_set(f, cases[i].spec, &err);

        if ((rc == 0) != cases[i].good)
            fail_msg("\"%s\" gave %d", cases[i].spec, rc);
    }
    fault_free(f);
}

/* Which calls of which method fail, and that a bad spec leaves the good one alone. */
static void test_fault_calls(void **state)
{
    struct fault *f = fault_new();
    int code = -1;
    double retry = -1;

    (void)state;
    assert_int_equal(fault_set(f, "fail=A:2-3:resource_exhausted:1.5,lost=B:1", NULL), 0);
    assert_int_equal(fault_set(f, "fail=A:1,bogus", NULL), -1);
    assert_int_equal(fault_next_call(f, "A", &code, &retry), FAULT_NONE);
    assert_int_equal(fault_next_call(f, "B", &code, &retry), FAULT_LOST);
    assert_int_equal(fault_next_call(f, "B", &code, &retry), FAULT_NONE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fault_next_call(f, "A", &code, &retry), FAULT_FAIL);
        assert_int_equal(code, GRPC_RESOURCE_EXHAUSTED);
        assert_true(retry == 1.5);
    }
    assert_int_equal(fault_next_call(f, "A", &code, &retry), FAULT_NONE);
    fault_free(f);
}

static void test_fault_drops_are_used_up(void **state)
{
    struct fault *f = fault_new();

    (void)state;
    fault_set(f, "drop=100x2,drop-in=7", NULL);
    assert_int_equal(fault_take_drop(f, false), 100);
    assert_int_equal(fault_take_drop(f, false), 100);
    assert_int_equal(fault_take_drop(f, false), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fault_take_drop(f, true), 7);
    fault_free(f);
}

/* ---- tokens ---- */

static void test_jwt(void **state)
{
    json_t *claims = json_pack("{s:s, s:i}", "aud", "x", "exp", 5), *back;
    cleanup_free char *token = jwt_sign(claims, "key"), *forged = NULL;

    (void)state;
    back = jwt_verify(token, "key");
    assert_int_equal(json_integer_value(json_object_get(back, "exp")), 5);
    json_decref(back);
    assert_null(jwt_verify(token, "other key"));
    assert_null(jwt_verify("", "key"));
    assert_null(jwt_verify(".", "key"));
    assert_null(jwt_verify("..", "key"));
    assert_null(jwt_verify(NULL, "key"));
    for (size_t i = 0; token[i]; i++) { /* no byte of it may change */
        cleanup_free char *bad = xstrdup(token);

        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        assert_null(jwt_verify(bad, "key"));
    }
    forged = xasprintf("%sA", token);
    assert_null(jwt_verify(forged, "key"));
    json_decref(claims);
}

static void test_keys(void **state)
{
    cleanup_free char *dir = folder(), *other_dir = folder();
    struct fault *f = fault_new();
    struct keys *k, *again, *other;
    cleanup_free char *auth = NULL, *router = NULL, *task = NULL;
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    k = keys_new(dir, 100, f, &err);
    other = keys_new(other_dir, 100, f, &err);
    assert_true(keys_pair_is_ours(k, keys_token_id(k), keys_token_secret(k)));
    assert_false(keys_pair_is_ours(k, keys_token_id(k), NULL));
    assert_false(keys_pair_is_ours(k, keys_token_id(k), ""));
    assert_false(keys_pair_is_ours(k, keys_token_secret(k), keys_token_id(k)));
    assert_false(keys_pair_is_ours(k, keys_token_id(other), keys_token_secret(other)));

    auth = keys_auth_token(k);
    router = keys_router_token(k, "ta-1");
    assert_int_equal(keys_check_auth_token(k, auth, &err), 0);
    assert_int_equal(keys_check_router_token(k, router, &task, &err), 0);
    assert_string_equal(task, "ta-1");
    assert_int_equal(keys_check_auth_token(k, router, &err), -1); /* made for something else */
    assert_int_equal(keys_check_auth_token(other, auth, &err), -1);

    /* Restarting keeps credentials and tokens good; expiring does not. */
    again = keys_new(dir, 100, f, &err);
    assert_string_equal(keys_token_id(again), keys_token_id(k));
    assert_int_equal(keys_check_auth_token(again, auth, &err), 0);
    fault_set(f, "expire-tokens", NULL);
    assert_int_equal(keys_check_auth_token(again, auth, &err), -1);
    assert_non_null(strstr(err.msg, "expired"));
    keys_free(k);
    keys_free(again);
    keys_free(other);
    fault_free(f);
}

/* ---- small things ---- */

static void test_ids(void **state)
{
    cleanup_free char *v1 = id_new("sb"), *v2 = id_new_ulid("sb"), *twin = id_new("sb");

    (void)state;
    assert_int_equal(strlen(v1), 25);
    assert_int_equal(strlen(v2), 29);
    assert_string_not_equal(v1, twin);
    assert_false(name_is_valid(""));
    assert_false(name_is_valid(NULL));
    assert_false(name_is_valid("a b"));
    assert_false(name_is_valid("ap-abcdefghijklmnopqrstuv"));
    assert_true(name_is_valid("ap-abcdefghijklmnopqrstu"));
    assert_true(name_is_valid("a.b_c-D9"));
    assert_false(environment_name_is_valid("en-x"));
    assert_false(environment_name_is_valid("-x"));
    assert_true(environment_name_is_valid("main"));
}

static void test_utf8(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        bool last;
        const char *out;
        size_t used;
    } cases[] = {
        {"", 0, true, "", 0},
        {"a\0b", 3, false,
         "a\xef\xbf\xbd"
         "b",
         3},
        {"\xc3\xa9", 2, false, "\xc3\xa9", 2},
        {"x\xc3", 2, false, "x", 1},            /* the rest may still come */
        {"x\xc3", 2, true, "x\xef\xbf\xbd", 2}, /* it will not */
        {"\xf0\x9f\x98", 3, false, "", 0},
        {"\xf0\x9f\x98\x80!", 5, false, "\xf0\x9f\x98\x80!", 5},
        {"\xc0\x80", 2, false, "\xef\xbf\xbd\xef\xbf\xbd", 2},                 /* overlong */
        {"\xed\xa0\x80", 3, false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3}, /* surrogate */
        {"\xf4\x90\x80\x80", 4, false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 4},
        {"\xe2\x82"
         "a",
         3, false,
         "\xef\xbf\xbd\xef\xbf\xbd"
         "a",
         3},
        {"\xff\xfe", 2, false, "\xef\xbf\xbd\xef\xbf\xbd", 2},
        {"\xe0\xa0\x80\xef\xbf\xbf", 6, false, "\xe0\xa0\x80\xef\xbf\xbf", 6},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_buf struct buf out = BUF_INIT(100);

        assert_int_equal(utf8_clean(&out, cases[i].in, cases[i].len, cases[i].last), cases[i].used);
        assert_string_equal(out.data, cases[i].out);
    }
}

static void test_idem(void **state)
{
    struct idem *i = idem_new();
    size_t len = 0;

    (void)state;
    assert_null(idem_get(i, "A", "k", &len));
    idem_put(i, "A", "k", "answer", 6);
    assert_null(idem_get(i, "B", "k", &len));
    assert_null(idem_get(i, "A", "kk", &len));
    assert_memory_equal(idem_get(i, "A", "k", &len), "answer", 6);
    assert_int_equal(len, 6);
    for (int n = 0; n < 10000; n++) {
        cleanup_free char *key = xasprintf("key %d", n);

        idem_put(i, "A", key, key, strlen(key));
        assert_memory_equal(idem_get(i, "A", key, &len), key, strlen(key));
    }
    idem_free(i);
}

/* ---- waiters ---- */

static struct waiter *list, waiters[3];
static int woken[8], woken_len;

static void on_wake(struct waiter *w, void *arg)
{
    woken[woken_len++] = (int)(w - waiters);
    if (arg)
        waiter_del(arg);
}

static void wake_and_wait_again(struct waiter *w, void *arg)
{
    woken[woken_len++] = (int)(w - waiters);
    waiter_add(&list, w, wake_and_wait_again, arg);
}

/* First come first woken; one may take out another, or wait again, while the list is being woken. */
static void test_waiters(void **state)
{
    (void)state;
    waiter_add(&list, &waiters[0], on_wake, &waiters[1]);
    waiter_add(&list, &waiters[1], on_wake, NULL);
    waiter_add(&list, &waiters[2], on_wake, NULL);
    waiter_wake_all(&list);
    assert_int_equal(woken_len, 2);
    assert_int_equal(woken[0], 0);
    assert_int_equal(woken[1], 2);
    assert_null(list);

    woken_len = 0;
    waiter_add(&list, &waiters[0], wake_and_wait_again, NULL);
    waiter_add(&list, &waiters[1], wake_and_wait_again, NULL);
    waiter_wake_all(&list);
    assert_int_equal(woken_len, 2);
    waiter_del(&waiters[0]);
    waiter_del(&waiters[0]);
    waiter_wake_all(&list);
    assert_int_equal(woken_len, 3);
    waiter_del(&waiters[1]);
    assert_null(list);
}

/* ---- blobs ---- */

static void put(struct blobs *b, const char *id, const char *key, size_t part, const char *bytes, char md5[33])
{
    struct upload *u = blobs_upload(b, id, key, part, NULL);

    assert_non_null(u);
    assert_int_equal(upload_write(u, bytes, strlen(bytes), NULL), 0);
    assert_int_equal(upload_finish(u, md5, NULL), 0);
}

static void test_blob_in_one_piece(void **state)
{
    cleanup_free char *dir = folder();
    char md5[33], got[16];
    struct blobs *b;
    struct upload *u;
    const char *id, *key;
    size_t parts;
    uint64_t length;
    cleanup_err struct err err = ERR_INIT;
    cleanup_close int fd = -1;

    (void)state;
    b = blobs_new(dir, 100, &err);
    assert_int_equal(blobs_create(b, 5, &id, &key, &parts, &err), 0);
    assert_int_equal(parts, 0);
    assert_null(blobs_key(b, id)); /* not there yet */
    assert_null(blobs_upload(b, id, "wrong key", 0, &err));
    assert_int_equal(err.code, 404);
    assert_null(blobs_upload(b, id, key, 1, &err));

    u = blobs_upload(b, id, key, 0, &err);
    assert_int_equal(upload_write(u, "hello!", 6, &err), -1); /* longer than announced */
    assert_int_equal(err.code, 413);
    upload_free(u);
    u = blobs_upload(b, id, key, 0, &err);
    assert_int_equal(upload_write(u, "hell", 4, &err), 0);
    assert_int_equal(upload_finish(u, md5, &err), -1); /* shorter */

    put(b, id, key, 0, "hello", md5);
    assert_string_equal(md5, "5d41402abc4b2a76b9719d911017c592");
    assert_string_equal(blobs_key(b, id), key);
    fd = blobs_open(b, id, key, &length, &err);
    assert_int_equal(length, 5);
    assert_int_equal(read(fd, got, sizeof(got)), 5);
    assert_memory_equal(got, "hello", 5);
    blobs_drop(b, id);
    blobs_free(b);
}

static void test_blob_in_parts(void **state)
{
    cleanup_free char *dir = folder();
    char md5[2][33], got[32];
    struct blobs *b;
    const char *id, *key;
    size_t parts;
    uint64_t length;
    cleanup_err struct err err = ERR_INIT;
    cleanup_buf struct buf answer = BUF_INIT(4096), list_of_parts = BUF_INIT(4096);
    cleanup_close int fd = -1;

    (void)state;
    b = blobs_new(dir, 8, &err);
    assert_int_equal(blobs_create(b, 11, &id, &key, &parts, &err), 0);
    assert_int_equal(parts, 2);
    assert_null(blobs_upload(b, id, key, 0, &err));
    assert_null(blobs_upload(b, id, key, 3, &err));
    put(b, id, key, 2, "rld", md5[1]);
    buf_addf(&list_of_parts, "<Part><ETag>\"%s\"</ETag></Part>", md5[1]);
    assert_int_equal(blobs_complete(b, id, key, list_of_parts.data, &answer, &err), -1); /* one is missing */
    assert_int_equal(err.code, 400);
    put(b, id, key, 1, "hello wo", md5[0]);
    buf_reset(&list_of_parts);
    buf_addf(&list_of_parts, "<ETag>\"%s\"</ETag><ETag>\"%s\"</ETag>", md5[1], md5[0]);
    assert_int_equal(blobs_complete(b, id, key, list_of_parts.data, &answer, &err), -1); /* wrong order */
    buf_reset(&list_of_parts);
    buf_addf(&list_of_parts, "<ETag>\"%s\"</ETag><ETag>\"%s\"</ETag>", md5[0], md5[1]);
    assert_int_equal(blobs_complete(b, id, "wrong", list_of_parts.data, &answer, &err), -1);
    assert_int_equal(blobs_complete(b, id, key, list_of_parts.data, &answer, &err), 0);
    assert_non_null(strstr(answer.data, "-2\""));
    assert_int_equal(blobs_complete(b, id, key, list_of_parts.data, &answer, &err), 0); /* again: the same */
    fd = blobs_open(b, id, key, &length, &err);
    assert_int_equal(read(fd, got, sizeof(got)), 11);
    assert_memory_equal(got, "hello world", 11);
    blobs_free(b);
}

/* ---- store ---- */

static void test_store_survives(void **state)
{
    cleanup_free char *dir = folder();
    struct store *s;
    struct store_app app = {0}, again = {0};
    struct store_secret secret = {.id = "st-1", .environment = "main", .name = "n", .created_at = 1}, back = {0};
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    s = store_open(dir, &err);
    assert_null(store_environment(s, "bad name", &err));
    assert_int_equal(store_app_by_name(s, "main", "a", &app, &err), 0);
    assert_int_equal(store_app_create(s, "main", "a", &app, &err), 1);
    strlist_add(&secret.env, "K=with ' \"quotes\" and = signs\n");
    assert_int_equal(store_secret_put(s, &secret, &err), 0);
    store_close(s);

    s = store_open(dir, &err);
    assert_int_equal(store_app_by_name(s, "main", "a", &again, &err), 1);
    assert_string_equal(again.id, app.id);
    assert_int_equal(store_app_by_name(s, "other", "a", &again, &err), 0);
    assert_int_equal(store_secret_by_name(s, "main", "n", &back, &err), 1);
    assert_string_equal(back.env.items[0], secret.env.items[0]);
    assert_int_equal(store_secret_delete(s, "st-1", &err), 1);
    assert_int_equal(store_secret_delete(s, "st-1", &err), 0);
    store_close(s);
    strlist_clear(&secret.env);
    store_secret_clear(&back);
    store_app_clear(&app);
    store_app_clear(&again);
}

/* ---- words ---- */

static void test_cidrs(void **state)
{
    static const char *const bad[] = {"not-an-ip/8", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33",
                                      "10.0.0.0/8x", "::/129",   "/8",        ""};
    static const char *const good[] = {"10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *one = (char *)(uintptr_t)bad[i];
        cleanup_free char *text = xasprintf("Invalid CIDR: %s", bad[i]);
        cleanup_err struct err err = ERR_INIT;

        assert_int_equal(plan_check_cidrs(&one, 1, &err), -1);
        assert_int_equal(err.code, GRPC_INVALID_ARGUMENT);
        assert_string_equal(err.msg, text);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char *one = (char *)(uintptr_t)good[i];

        assert_int_equal(plan_check_cidrs(&one, 1, NULL), 0);
    }
}

static enum options_result parse(struct engine_config *config, struct err *err, ...)
{
    char *argv[16] = {"atp-engine"};
    int argc = 1;
    va_list ap;

    va_start(ap, err);
    while (argc < 15 && (argv[argc] = va_arg(ap, char *)))
        argc++;
    va_end(ap);
    optind = 0;
    return options_parse(argc, argv, config, err);
}

static void test_options(void **state)
{
    struct engine_config config;
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(
        parse(&config, &err, "--socket", "s", "--mirror", "a=b", "--mirror", "c=d", "--idle-exit", "7", NULL),
        OPTIONS_RUN);
    assert_int_equal(config.socket_path[0], '/');
    assert_int_equal(config.mirrors.len, 2);
    assert_int_equal(config.idle_exit, 7);
    assert_true(config.network);
    assert_false(config.plain);
    options_clear(&config);
    assert_int_equal(parse(&config, &err, "--socket", "s", "--plain", NULL), OPTIONS_RUN);
    assert_true(config.plain);
    options_clear(&config);
    setenv("ATP_ENGINE_PLAIN", "1", 1);
    assert_int_equal(parse(&config, &err, "--socket", "s", NULL), OPTIONS_RUN);
    assert_true(config.plain);
    options_clear(&config);
    setenv("ATP_ENGINE_PLAIN", "0", 1);
    assert_int_equal(parse(&config, &err, "--socket", "s", NULL), OPTIONS_RUN);
    assert_false(config.plain);
    unsetenv("ATP_ENGINE_PLAIN");
    options_clear(&config);
    assert_int_equal(parse(&config, &err, "--version", NULL), OPTIONS_VERSION);
    options_clear(&config);
    assert_int_equal(parse(&config, &err, NULL), OPTIONS_BAD);
    options_clear(&config);
    assert_int_equal(parse(&config, &err, "--socket", NULL), OPTIONS_BAD);
    options_clear(&config);
    assert_int_equal(parse(&config, &err, "--socket", "s", "--idle-exit", "-1", NULL), OPTIONS_BAD);
    options_clear(&config);
    assert_int_equal(parse(&config, &err, "--socket", "s", "--mirror", "ab", NULL), OPTIONS_BAD);
    options_clear(&config);
    assert_int_equal(parse(&config, &err, "--socket", "s", "extra", NULL), OPTIONS_BAD);
    options_clear(&config);
    assert_int_equal(parse(&config, &err, "--socket", "s", "--token-ttl", "0", NULL), OPTIONS_BAD);
    options_clear(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_specs),
        cmocka_unit_test(test_fault_calls),
        cmocka_unit_test(test_fault_drops_are_used_up),
        cmocka_unit_test(test_jwt),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_idem),
        cmocka_unit_test(test_waiters),
        cmocka_unit_test(test_blob_in_one_piece),
        cmocka_unit_test(test_blob_in_parts),
        cmocka_unit_test(test_store_survives),
        cmocka_unit_test(test_cidrs),
        cmocka_unit_test(test_options),
    };

    return cmocka_run_group_tests(tests, make_base, remove_base);
}
