/* link: atp_state atp_sys atp_base */
/* Networks, pods, and what containers say of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ID_A "aaaa111111111111111111111111111111111111111111111111111111111111"
#define ID_B "aaaa222222222222222222222222222222222222222222222222222222222222"

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

static void add(struct state *s, const char *id, const char *name, int want)
{
    const struct state_network n = {
        .id = (char *)id,
        .name = (char *)name,
        .driver = (char *)"bridge",
        .labels = (char *)"[\"a=b\"]",
        .options = (char *)"[]",
        .internal = true,
        .created_ns = 7,
    };
    struct err err = ERR_INIT;

    assert_int_equal(state_network_add(s, &n, &err), want);
    if (want < 0) {
        char *text = xasprintf("network with name %s already exists", name);

        assert_string_equal(err.msg, text);
        assert_int_equal(err.exit_code, 1);
        free(text);
    }
    err_clear(&err);
}

/* Id, name, prefix; a name wins over a prefix, and two of a prefix are none. */
static void networks_are_found(void **state)
{
    struct state *s = open_state();
    struct state_network n = {0}, *list = NULL;
    struct err err = ERR_INIT;
    size_t len = 0;

    (void)state;
    add(s, ID_A, "zz", 0);
    add(s, ID_B, "aaaa1", 0);
    add(s, "bbbb", "zz", -1);
    assert_int_equal(state_network_find(s, ID_A, &n, &err), 1);
    assert_string_equal(n.name, "zz");
    assert_string_equal(n.labels, "[\"a=b\"]");
    assert_true(n.internal && !n.attachable && n.created_ns == 7);
    state_network_clear(&n);
    assert_int_equal(state_network_find(s, "aaaa1", &n, &err), 1);
    assert_string_equal(n.id, ID_B);
    state_network_clear(&n);
    assert_int_equal(state_network_find(s, "aaaa11", &n, &err), 1);
    assert_string_equal(n.id, ID_A);
    state_network_clear(&n);
    assert_int_equal(state_network_find(s, "aaaa", &n, &err), -1);
    assert_string_equal(err.msg, "network aaaa is ambiguous (2 matches found based on ID prefix)");
    err_clear(&err);
    assert_int_equal(state_network_find(s, "", &n, &err), 0);
    assert_int_equal(state_network_find(s, "*", &n, &err), 0);
    assert_int_equal(state_network_list(s, &list, &len, &err), 0);
    assert_int_equal(len, 2);
    assert_string_equal(list[0].name, "aaaa1");
    for (size_t i = 0; i < len; i++)
        state_network_clear(&list[i]);
    free(list);
    assert_int_equal(state_network_remove(s, ID_A, &err), 1);
    assert_int_equal(state_network_remove(s, ID_A, &err), 0);
    add(s, ID_A, "zz", 0);
    state_free(s);
}

static void pods_are_kept(void **state)
{
    struct state_pod p = {.id = (char *)"pod-1",
                          .server = (char *)"here",
                          .app = (char *)"app",
                          .token = (char *)"00ff",
                          .networks = (char *)"[]",
                          .created_ns = 5},
                     got = {0}, *list = NULL;
    struct state *s = open_state();
    struct err err = ERR_INIT;
    size_t len = 0;

    (void)state;
    assert_int_equal(state_pod_put(s, &p, &err), 0);
    assert_int_equal(state_pod_find(s, "pod-1", &got, &err), 1);
    assert_null(got.sandbox_id);
    state_pod_clear(&got);
    p.sandbox_id = (char *)"sb-1";
    p.networks = (char *)"[\"x\"]";
    assert_int_equal(state_pod_put(s, &p, &err), 0);
    p.id = (char *)"pod-2";
    p.server = (char *)"there";
    assert_int_equal(state_pod_put(s, &p, &err), 0);
    assert_int_equal(state_pod_list(s, "here", &list, &len, &err), 0);
    assert_int_equal(len, 1);
    assert_string_equal(list[0].sandbox_id, "sb-1");
    assert_string_equal(list[0].networks, "[\"x\"]");
    state_pod_clear(&list[0]);
    free(list);
    assert_int_equal(state_pod_remove(s, "pod-1", &err), 1);
    assert_int_equal(state_pod_find(s, "pod-1", &got, &err), 0);
    state_free(s);
}

/* Pod and networks of a container are written each by itself. */
static void containers_name_them(void **state)
{
    struct state_container c = {.id = (char *)ID_A,
                                .name = (char *)"box",
                                .image = (char *)"i",
                                .command = (char *)"[]",
                                .labels = (char *)"[]",
                                .status = (char *)"created",
                                .networks = (char *)"[\"n\"]"},
                           got = {0};
    struct state *s = open_state();
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(state_container_add(s, &c, &err), 0);
    c.pod = (char *)"pod-1";
    c.networks = (char *)"[\"other\"]";
    c.status = (char *)"running";
    assert_int_equal(state_container_update(s, &c, STATE_PART_POD, &err), 1);
    assert_int_equal(state_container_find(s, "box", &got, &err), 1);
    assert_string_equal(got.pod, "pod-1");
    assert_string_equal(got.networks, "[\"n\"]");
    assert_string_equal(got.status, "created");
    state_container_clear(&got);
    c.pod = NULL;
    assert_int_equal(state_container_update(s, &c, STATE_PART_NETWORKS, &err), 1);
    assert_int_equal(state_container_find(s, "box", &got, &err), 1);
    assert_string_equal(got.pod, "pod-1");
    assert_string_equal(got.networks, "[\"other\"]");
    state_container_clear(&got);
    assert_int_equal(state_container_update(s, &c, STATE_PART_POD, &err), 1);
    assert_int_equal(state_container_find(s, "box", &got, &err), 1);
    assert_null(got.pod);
    state_container_clear(&got);
    state_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(networks_are_found, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(pods_are_kept, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(containers_name_them, make_dir, remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
