/* link: atp_modal atp_grpc atp_proto atp_sys atp_base */
#include "tests/unit/modal_rig.h"

#include "backends/modal/engine_images.h"
#include "backends/modal/task_snapshot.h"
#include "compat/base/sha256.h"

/*
 * What the engine tells beyond Modal's protocol, asked by the client: the same as the headers of both rooms promise.
 * Needs root and a static busybox; without them, or without the engine's binary beside it, it is skipped.
 */

struct taken {
    char *bytes;
    size_t len, stop_at; /* the sink ends it there; 0 = never */
};

static int take(const void *bytes, size_t len, void *arg, struct err *err)
{
    struct taken *t = arg;

    t->bytes = xrealloc(t->bytes, t->len + len);
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
    return t->stop_at && t->len >= t->stop_at ? err_set(err, 1, "no room") : 0;
}

static void describe_image(const char *id, struct engine_image *ret)
{
    struct err err = ERR_INIT;
    int r = engine_image_describe(world.c, id, ret, &err);

    if (r < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(r, 1);
}

/* How often a text is in another. */
static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    while ((text = strstr(text, what))) {
        text += strlen(what);
        n++;
    }
    return n;
}

/* Configuration and bytes; again with a stream that the engine cuts, and with a sink that has enough. */
static void tells_an_image(void **state)
{
    struct engine_image image = ENGINE_IMAGE_INIT, again = ENGINE_IMAGE_INIT;
    struct taken one = {0}, two = {0}, part = {.stop_at = 100000};
    struct modal_client *other;
    struct err err = ERR_INIT;
    int calls;

    (void)state;
    need_engine();
    assert_int_equal(engine_is_there(world.c, &err), 1);
    calls = world.calls;
    assert_int_equal(engine_is_there(world.c, &err), 1);
    assert_int_equal(world.calls, calls);
    describe_image(world.image.id, &image);
    assert_int_equal(image.len, 1);
    assert_non_null(strstr(image.config, image.layers[0].diff_id));
    assert_non_null(strstr(image.config, "FROM_IMAGE=yes"));
    describe_image(world.image.id, &again);
    assert_string_equal(image.config, again.config);
    if (engine_layer_read(world.c, world.image.id, 0, &image.layers[0], take, &one, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(one.len, image.layers[0].size);
    assert_true(one.len > 5 << 20);
    assert_memory_equal(one.bytes + 257, "ustar", 5);
    set_fault("drop=2000000x2");
    other = connect_as(world.secret);
    if (engine_layer_read(other, world.image.id, 0, &image.layers[0], take, &two, &err) < 0)
        fail_msg("%s", err.msg);
    modal_client_free(other);
    set_fault("");
    assert_int_equal(two.len, one.len);
    assert_memory_equal(one.bytes, two.bytes, one.len);
    assert_int_equal(engine_layer_read(world.c, world.image.id, 0, &image.layers[0], take, &part, &err), -1);
    assert_string_equal(err.msg, "no room");
    err_clear(&err);
    /* A layer that is not what was promised. */
    image.layers[0].digest[10] ^= 1;
    part.stop_at = 0;
    assert_int_equal(engine_layer_read(world.c, world.image.id, 0, &image.layers[0], take, &part, &err), -1);
    assert_non_null(strstr(err.msg, "another digest"));
    err_clear(&err);
    image.layers[0].size--;
    assert_int_equal(engine_layer_read(world.c, world.image.id, 0, &image.layers[0], take, &part, &err), -1);
    assert_non_null(strstr(err.msg, "larger than"));
    err_clear(&err);
    assert_int_equal(engine_layer_read(world.c, world.image.id, 7, &image.layers[0], take, &part, &err), -1);
    assert_int_equal(err.code, GRPC_NOT_FOUND);
    err_clear(&err);
    assert_int_equal(engine_image_describe(world.c, "im-0000000000000000000000", &again, &err), -1);
    assert_int_equal(err.code, GRPC_NOT_FOUND);
    err_clear(&err);
    free(one.bytes);
    free(two.bytes);
    free(part.bytes);
    engine_image_clear(&image);
    engine_image_clear(&again);
}

/* A container's snapshot: its layer is in the tar, and in the configuration. */
static void tells_a_snapshot(void **state)
{
    struct modal_sandbox sandbox = MODAL_SANDBOX_INIT;
    struct engine_image base = ENGINE_IMAGE_INIT, image = ENGINE_IMAGE_INIT, again = ENGINE_IMAGE_INIT;
    struct modal_exec_output output = {0};
    struct modal_task *task;
    struct taken t = {0};
    struct err err = ERR_INIT;
    char *id = NULL;

    (void)state;
    need_engine();
    create(&sandbox, false, NULL);
    assert_int_equal(modal_task_open(world.c, sandbox.id, 20000, &task, &err), 0);
    run(task, "echo new >/etc/new; rm /etc/big; rm -r /old; mkdir /old; echo 3 >/old/three", "", &output);
    modal_exec_output_clear(&output);
    if (modal_task_snapshot(task, MODAL_SNAPSHOT_FOREVER, &id, &err) < 0)
        fail_msg("%s", err.msg);
    describe_image(world.image.id, &base);
    describe_image(id, &image);
    assert_int_equal(image.len, base.len + 1);
    assert_string_equal(image.layers[0].diff_id, base.layers[0].diff_id);
    assert_non_null(strstr(image.config, image.layers[1].diff_id));
    assert_int_equal(count(image.config, "sha256:"), 2);
    describe_image(id, &again);
    assert_string_equal(image.config, again.config);
    if (engine_layer_read(world.c, id, 1, &image.layers[1], take, &t, &err) < 0)
        fail_msg("%s", err.msg);
    assert_non_null(memmem(t.bytes, t.len, "etc/new", 8));
    assert_non_null(memmem(t.bytes, t.len, "etc/.wh.big", 12));
    assert_non_null(memmem(t.bytes, t.len, "old/.wh..wh..opq", 17));
    assert_null(memmem(t.bytes, t.len, "etc/small", 10));
    assert_int_equal(modal_image_delete(world.c, id, &err), 0);
    modal_sandbox_terminate(world.c, sandbox.id, NULL);
    modal_task_free(task);
    modal_sandbox_clear(&sandbox);
    engine_image_clear(&base);
    engine_image_clear(&image);
    engine_image_clear(&again);
    free(t.bytes);
    free(id);
}

/* Counted, and pruned: what images stand on stays. */
static void tells_the_store(void **state)
{
    struct engine_usage before, after;
    struct engine_image image = ENGINE_IMAGE_INIT;
    struct modal_image_spec spec = {.app_id = world.app_id, .base_image_id = world.image.id};
    struct modal_image made;
    struct taken t = {0};
    struct err err = ERR_INIT;
    int64_t records = -1, bytes = -1;

    (void)state;
    need_engine();
    assert_int_equal(engine_prune(world.c, true, 0, 0, &records, &bytes, &err), 1);
    assert_int_equal(engine_usage(world.c, &before, &err), 1);
    assert_int_equal(before.images, 1);
    assert_true(before.image_bytes > 5 << 20);
    assert_true(before.blob_bytes > 5 << 20);
    assert_int_equal(before.cache_records, 0);
    strlist_add(&spec.commands, "FROM base");
    strlist_add(&spec.commands, "WORKDIR /made/by/a/build");
    if (modal_image_build(world.c, &spec, NULL, NULL, &made, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(modal_image_delete(world.c, made.id, &err), 0);
    assert_int_equal(engine_usage(world.c, &after, &err), 1);
    assert_int_equal(after.images, 1);
    assert_int_equal(after.cache_records, 1); /* build cache now */
    assert_int_equal(engine_prune(world.c, false, 3600, 0, &records, &bytes, &err), 1);
    assert_int_equal(records, 0);
    assert_int_equal(engine_prune(world.c, true, 0, 1 << 30, &records, &bytes, &err), 1);
    assert_int_equal(records, 0);
    assert_int_equal(engine_prune(world.c, true, 0, 0, &records, &bytes, &err), 1);
    assert_int_equal(records, 1);
    assert_int_equal(engine_usage(world.c, &after, &err), 1);
    assert_int_equal(after.cache_records, 0);
    assert_int_equal(after.image_bytes, before.image_bytes);
    describe_image(world.image.id, &image);
    assert_int_equal(engine_layer_read(world.c, world.image.id, 0, &image.layers[0], take, &t, &err), 0);
    modal_image_forget(world.c, &spec);
    modal_image_spec_clear(&spec);
    modal_image_clear(&made);
    engine_image_clear(&image);
    free(t.bytes);
}

/* ---- a server that is Modal and nothing else ---- */

static int set_up_plain(void **state)
{
    setenv("ATP_ENGINE_PLAIN", "1", 1);
    return set_up(state);
}

static int tear_down_plain(void **state)
{
    unsetenv("ATP_ENGINE_PLAIN");
    return tear_down(state);
}

static void is_asked_once(void **state)
{
    struct engine_image image = ENGINE_IMAGE_INIT;
    struct engine_usage usage;
    struct err err = ERR_INIT;
    int64_t a, b;
    int calls;

    (void)state;
    need_engine();
    calls = world.calls;
    assert_int_equal(engine_is_there(world.c, &err), 0);
    assert_int_equal(world.calls, calls + 1);
    assert_int_equal(engine_usage(world.c, &usage, &err), 0);
    assert_int_equal(engine_image_describe(world.c, world.image.id, &image, &err), 0);
    assert_int_equal(engine_prune(world.c, true, 0, 0, &a, &b, &err), 0);
    assert_int_equal(world.calls, calls + 1);
    assert_null(err.msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_an_image),
        cmocka_unit_test(tells_an_image),
        cmocka_unit_test(tells_a_snapshot),
        cmocka_unit_test(tells_the_store),
    };
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(builds_an_image),
        cmocka_unit_test(is_asked_once),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);

    return failed + cmocka_run_group_tests(plain, set_up_plain, tear_down_plain);
}
