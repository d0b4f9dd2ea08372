/* link: atp_state atp_sys atp_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/atp-state-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 7);
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const files[] = {"state.db", "state.db-wal", "state.db-shm"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char *path = xasprintf("%s/%s", dir, files[i]);

        unlink(path);
        free(path);
    }
    return rmdir(dir);
}

static struct state *open_state(void)
{
    struct err err = ERR_INIT;
    struct state *s = state_open(dir, NULL, &err);

    if (!s)
        fail_msg("%s", err.msg);
    return s;
}

static void scope_stays(void **state)
{
    struct state *s = open_state();
    char *scope = xstrdup(state_scope(s));

    (void)state;
    assert_int_equal(strlen(scope), 12);
    state_free(s);
    s = open_state();
    assert_string_equal(state_scope(s), scope);
    state_free(s);
    free(scope);
}

static void cache_expires(void **state)
{
    struct state *s = open_state();
    struct err err = ERR_INIT;
    char *value = NULL;

    (void)state;
    assert_int_equal(state_cache_put(s, "k", "v", 100, &err), 0);
    assert_int_equal(state_cache_get(s, "k", &value, 99, &err), 1);
    assert_string_equal(value, "v");
    free(value);
    assert_int_equal(state_cache_get(s, "k", &value, 100, &err), 0);
    assert_int_equal(state_cache_drop(s, "k", &err), 0);
    assert_int_equal(state_cache_get(s, "k", &value, 1, &err), 0);
    state_free(s);
}

static void images_by_tag_and_prefix(void **state)
{
    struct state_image a = {
        .id = "sha256:aa11", .config = "{}", .source = "registry", .pull = "x@sha256:1", .created = 1};
    struct state_image b = {.id = "sha256:aa22", .config = "{}", .source = "load", .created = 2};
    struct state_image got = {0}, *list = NULL;
    struct state *s = open_state();
    struct err err = ERR_INIT;
    size_t len = 0;
    char *server = NULL;

    (void)state;
    assert_int_equal(state_image_put(s, &a, "docker.io/library/x:1", "sha256:1", &err), 0);
    assert_int_equal(state_image_put(s, &b, NULL, NULL, &err), 0);
    assert_int_equal(state_image_by_ref(s, "docker.io/library/x:1", &got, &err), 1);
    assert_string_equal(got.id, "sha256:aa11");
    state_image_clear(&got);
    assert_int_equal(state_image_by_id(s, "aa2", &got, &err), 1);
    assert_string_equal(got.source, "load");
    state_image_clear(&got);
    assert_int_equal(state_image_by_id(s, "sha256:aa", &got, &err), 0); /* of both */
    assert_int_equal(state_image_by_id(s, "zz", &got, &err), 0);
    assert_int_equal(state_image_by_id(s, "", &got, &err), 0);
    assert_int_equal(state_image_list(s, &list, &len, &err), 0);
    assert_int_equal(len, 2);
    assert_string_equal(list[0].id, "sha256:aa22");
    while (len > 0)
        state_image_clear(&list[--len]);
    free(list);
    assert_int_equal(state_server_image_put(s, "srv", "sha256:aa11", "base", "im-1", &err), 0);
    assert_int_equal(state_image_untag(s, "docker.io/library/x:1", &err), 1);
    assert_int_equal(state_image_untag(s, "docker.io/library/x:1", &err), 0);
    assert_int_equal(state_server_image_get(s, "srv", "sha256:aa11", "base", &server, &err), 1);
    assert_string_equal(server, "im-1");
    free(server);
    state_free(s);
}

/* What names an image has, as one text: "ref=digest ref=digest". */
static char *names_of(struct state *s, const char *id)
{
    struct strlist refs = STRLIST_INIT, digests = STRLIST_INIT;
    char *text = xstrdup("");

    assert_int_equal(state_image_tags(s, id, &refs, &digests, NULL), 0);
    for (size_t i = 0; i < refs.len; i++) {
        char *longer = xasprintf("%s%s%s=%s", text, i ? " " : "", refs.items[i], digests.items[i]);

        free(text);
        text = longer;
    }
    strlist_clear(&refs);
    strlist_clear(&digests);
    return text;
}

static void expect_names(struct state *s, const char *id, const char *want)
{
    char *got = names_of(s, id);

    assert_string_equal(got, want);
    free(got);
}

static void names_share_a_digest(void **state)
{
    struct state_image a = {.id = "sha256:aa11", .config = "{}", .source = "registry", .layers = "[1,2]"};
    struct state_image b = {.id = "sha256:bb22", .config = "{}", .source = "load"}, got = {0};
    struct state *s = open_state();
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(state_image_put(s, &a, "localhost:5000/x:1", "sha256:d1", &err), 0);
    assert_int_equal(state_image_put(s, &b, "localhost:5000/x:b", NULL, &err), 0);
    assert_int_equal(state_image_tag(s, a.id, "localhost:5000/x:2", &err), 0);
    assert_int_equal(state_image_tag(s, a.id, "localhost:5000/x-y:2", &err), 0);
    assert_int_equal(state_image_tag(s, a.id, "localhost:5000/x:b", &err), 0); /* b loses its name */
    expect_names(s, b.id, "");
    expect_names(s, a.id,
                 "localhost:5000/x-y:2= localhost:5000/x:1=sha256:d1 localhost:5000/x:2=sha256:d1 "
                 "localhost:5000/x:b=sha256:d1");
    assert_int_equal(state_image_by_ref(s, "localhost:5000/x@sha256:d1", &got, &err), 1);
    assert_string_equal(got.id, a.id);
    assert_string_equal(got.layers, "[1,2]");
    state_image_clear(&got);
    assert_int_equal(state_image_by_ref(s, "localhost:5000/x-y@sha256:d1", &got, &err), 0);
    assert_int_equal(state_image_by_ref(s, "localhost:5000/x/y@sha256:d1", &got, &err), 0);
    assert_int_equal(state_image_put(s, &a, "localhost:5000/x@sha256:d1", "sha256:d1", &err), 0);
    assert_int_equal(state_image_put(s, &a, "localhost:5000/x:7@sha256:d1", "sha256:d1", &err), 0);
    assert_int_equal(state_image_drop_digest(s, a.id, "localhost:5000/x", "sha256:d1", &err), 0);
    expect_names(s, a.id, "localhost:5000/x-y:2= localhost:5000/x:1= localhost:5000/x:2= localhost:5000/x:b=");
    state_free(s);
}

/* The digest of a repository stays with its last tag. */
static void a_digest_outlives_its_tag(void **state)
{
    struct state_image a = {.id = "sha256:aa11", .config = "{}", .source = "load"};
    struct state_image b = {.id = "sha256:bb22", .config = "{}", .source = "registry"};
    struct state *s = open_state();
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(state_image_put(s, &a, "h/x:1", NULL, &err), 0);
    assert_int_equal(state_image_put(s, &b, "h/x:other", NULL, &err), 0);
    assert_int_equal(state_image_put(s, &a, "h/x:2", "sha256:d2", &err), 0);
    assert_int_equal(state_image_untag(s, "h/x:2", &err), 1);
    expect_names(s, a.id, "h/x:1=sha256:d2");
    expect_names(s, b.id, "h/x:other=");
    assert_int_equal(state_image_untag(s, "h/x:1", &err), 1);
    expect_names(s, a.id, "");
    state_free(s);
}

static size_t to_sweep(struct state *s, const char *server)
{
    struct strlist ids = STRLIST_INIT;
    size_t len;

    assert_int_equal(state_image_to_sweep(s, server, &ids, NULL), 0);
    len = ids.len;
    strlist_clear(&ids);
    return len;
}

/* From its removal to the end of the last copy, with a container and two servers in the way. */
static void a_removed_image_is_kept_as_long_as_needed(void **state)
{
    struct state_image a = {.id = "sha256:aa11", .config = "{}", .source = "load"}, got = {0};
    struct state_image b = {.id = "sha256:bb22", .config = "{}", .source = "load"};
    struct state_container c = {.id = "c1",
                                .name = "one",
                                .image = "x",
                                .image_id = "sha256:aa11",
                                .command = "[]",
                                .labels = "[]",
                                .status = "exited"};
    struct strlist copies = STRLIST_INIT;
    struct state *s = open_state();
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(state_image_put(s, &a, "h/x:1", NULL, &err), 0);
    assert_int_equal(state_image_put(s, &b, "h/y:1", NULL, &err), 0);
    assert_int_equal(state_server_image_put(s, "one", a.id, "base", "im-shared", &err), 0);
    assert_int_equal(state_server_image_put(s, "one", a.id, "agent", "im-own", &err), 0);
    assert_int_equal(state_server_image_put(s, "two", a.id, "base", "im-far", &err), 0);
    assert_int_equal(state_server_image_put(s, "one", b.id, "base", "im-shared", &err), 0);
    assert_int_equal(state_container_add(s, &c, &err), 0);
    assert_int_equal(state_image_forget(s, a.id, &err), 0); /* it was not removed */
    assert_int_equal(state_image_hide(s, a.id, &err), 0);
    assert_int_equal(state_image_by_id(s, "aa11", &got, &err), 0);
    assert_int_equal(state_image_by_ref(s, "h/x:1", &got, &err), 0);
    assert_int_equal(state_image_kept(s, a.id, &got, &err), 1);
    state_image_clear(&got);
    assert_int_equal(to_sweep(s, NULL), 0);
    assert_int_equal(state_container_remove(s, c.id, &err), 1);
    assert_int_equal(to_sweep(s, NULL), 1);
    assert_int_equal(to_sweep(s, "one"), 1);
    assert_int_equal(to_sweep(s, "three"), 0);
    assert_int_equal(state_server_image_own(s, "one", a.id, &copies, &err), 0);
    assert_int_equal(copies.len, 1);
    assert_string_equal(copies.items[0], "im-own");
    strlist_clear(&copies);
    strlist_clear(&copies);
    assert_int_equal(state_server_image_put(s, "one", a.id, STATE_LAYER_KEPT, "im-own", &err), 0);
    assert_int_equal(state_server_image_own(s, "one", a.id, &copies, &err), 0);
    assert_int_equal(copies.len, 0);
    assert_int_equal(state_server_image_drop(s, "one", a.id, &err), 0);
    assert_int_equal(state_image_forget(s, a.id, &err), 0);
    assert_int_equal(to_sweep(s, "one"), 0);
    assert_int_equal(to_sweep(s, "two"), 1); /* the row waits for the other server */
    assert_int_equal(state_server_image_drop(s, "two", a.id, &err), 0);
    assert_int_equal(state_image_forget(s, a.id, &err), 0);
    assert_int_equal(state_image_kept(s, a.id, &got, &err), 0);
    assert_int_equal(state_image_put(s, &a, NULL, NULL, &err), 0);
    assert_int_equal(state_image_hide(s, a.id, &err), 0);
    assert_int_equal(state_image_put(s, &a, NULL, NULL, &err), 0); /* loaded again */
    assert_int_equal(state_image_by_id(s, "aa11", &got, &err), 1);
    state_image_clear(&got);
    state_free(s);
}

static void names_conflict(void **state)
{
    struct state_container c = {.id = "aaaa",
                                .name = "one",
                                .image = "x",
                                .command = "[]",
                                .labels = "[]",
                                .status = "created",
                                .created_ns = 1};
    struct state_container d = {.id = "aabb",
                                .name = "one",
                                .image = "x",
                                .command = "[]",
                                .labels = "[]",
                                .status = "created",
                                .created_ns = 2};
    struct state_container got = {0};
    struct state *s = open_state();
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(state_container_add(s, &c, &err), 0);
    assert_int_equal(state_container_add(s, &d, &err), -1);
    assert_int_equal(err.exit_code, 125);
    assert_non_null(strstr(err.msg, "The container name \"/one\" is already in use by container \"aaaa\""));
    err_clear(&err);
    d.name = "bb";
    assert_int_equal(state_container_add(s, &d, &err), 0);
    assert_int_equal(state_container_find(s, "bb", &got, &err), 1); /* an exact name wins over an id prefix */
    assert_string_equal(got.id, "aabb");
    state_container_clear(&got);
    assert_int_equal(state_container_find(s, "aa", &got, &err), -1);
    assert_non_null(strstr(err.msg, "Multiple IDs found with provided prefix: aa"));
    err_clear(&err);
    assert_int_equal(state_container_find(s, "/one", &got, &err), 1);
    state_container_clear(&got);
    assert_int_equal(state_container_find(s, "*", &got, &err), 0);
    state_free(s);
}

static void damaged_file_is_named(void **state)
{
    char *path = xasprintf("%s/state.db", dir);
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(fs_write_file(path, "this is not a database, it is a sentence of text", 48, 0600, &err), 0);
    assert_null(state_open(dir, NULL, &err));
    assert_non_null(strstr(err.msg, path));
    assert_non_null(strstr(err.msg, "move it away"));
    err_clear(&err);
    unlink(path);
    free(path);
}

/* Ten processes open a state that does not exist yet and write; nobody sees a lock error, nobody's row is lost. */
static void first_use_by_many(void **state)
{
    struct state *s;
    struct err err = ERR_INIT;
    char *value = NULL;

    (void)state;
    for (int i = 0; i < 10; i++) {
        if (fork() == 0) {
            struct err e = ERR_INIT;
            struct state *mine = state_open(dir, NULL, &e);
            bool ok = mine != NULL;

            for (int k = 0; ok && k < 20; k++) {
                cleanup_free char *key = xasprintf("%d-%d", i, k);

                ok = state_cache_put(mine, key, "v", 1000, &e) == 0;
            }
            if (!ok)
                fprintf(stderr, "%s\n", e.msg);
            state_free(mine);
            _exit(ok ? 0 : 1);
        }
    }
    for (int i = 0; i < 10; i++) {
        int status = 0;

        wait(&status);
        assert_int_equal(status, 0);
    }
    s = open_state();
    for (int i = 0; i < 200; i++) {
        cleanup_free char *key = xasprintf("%d-%d", i / 20, i % 20);

        assert_int_equal(state_cache_get(s, key, &value, 1, &err), 1);
        free(value);
    }
    state_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scope_stays, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(cache_expires, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(images_by_tag_and_prefix, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(names_share_a_digest, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_digest_outlives_its_tag, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_removed_image_is_kept_as_long_as_needed, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(names_conflict, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(damaged_file_is_named, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(first_use_by_many, make_dir, remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
