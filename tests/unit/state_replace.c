/* link: atp_state atp_sys atp_base */
/* An image that gets another id: everything that spoke of the old one speaks of the new one. */
#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define OLD   "sha256:0000000000000000000000000000000000000000000000000000000000000001"
#define NEW   "sha256:0000000000000000000000000000000000000000000000000000000000000002"
#define CHILD "sha256:0000000000000000000000000000000000000000000000000000000000000003"

static struct state_image image(const char *id, const char *parent)
{
    return (struct state_image){
        .id = (char *)id, .config = (char *)"{}", .source = (char *)"build", .parent = (char *)parent};
}

static void test_replace(void **unused)
{
    static const char *const files[] = {"state.db", "state.db-wal", "state.db-shm"};
    char dir[] = "/tmp/atp-state-replace-XXXXXX";
    struct strlist refs = STRLIST_INIT, digests = STRLIST_INIT;
    struct state_image old = image(OLD, NULL), new = image(NEW, "docker.io/library/x@sha256:1"), got = {0};
    struct state_image child = image(CHILD, OLD);
    struct err err = ERR_INIT;
    struct state *s;
    char *modal_id = NULL;

    (void)unused;
    assert_non_null(mkdtemp(dir));
    s = state_open(dir, NULL, &err);
    assert_non_null(s);
    assert_int_equal(state_image_put(s, &old, "docker.io/library/a:1", "sha256:d", &err), 0);
    assert_int_equal(state_image_tag(s, OLD, "docker.io/library/b:1", &err), 0);
    assert_int_equal(state_image_put(s, &child, "docker.io/library/c:1", NULL, &err), 0);
    assert_int_equal(state_server_image_put(s, "server", OLD, "base", "im-1", &err), 0);

    assert_int_equal(state_image_replace(s, OLD, &new, &err), 0);
    assert_int_equal(state_image_kept(s, OLD, &got, &err), 0);
    assert_int_equal(state_image_tags(s, NEW, &refs, &digests, &err), 0);
    assert_int_equal(refs.len, 2);
    assert_string_equal(digests.items[0], "sha256:d");
    assert_int_equal(state_server_image_get(s, "server", NEW, "base", &modal_id, &err), 1);
    assert_string_equal(modal_id, "im-1");
    assert_int_equal(state_image_kept(s, CHILD, &got, &err), 1);
    assert_string_equal(got.parent, NEW);
    state_image_clear(&got);

    /* Again, by somebody who did not see it: nothing changes. */
    assert_int_equal(state_image_replace(s, OLD, &new, &err), 0);
    assert_int_equal(state_image_replace(s, NEW, &new, &err), 0);
    assert_int_equal(state_image_by_ref(s, "docker.io/library/b:1", &got, &err), 1);
    assert_string_equal(got.id, NEW);
    assert_string_equal(got.parent, "docker.io/library/x@sha256:1");
    state_image_clear(&got);
    strlist_clear(&refs);
    strlist_clear(&digests);
    free(modal_id);
    state_free(s);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[64];

        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replace)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
