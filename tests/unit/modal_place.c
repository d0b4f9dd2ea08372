/* link: atp_modal atp_grpc atp_proto atp_sys atp_base */
/* Where a container lives, as one word; and what is refused of a sidecar before anybody is asked. */
#include "backends/modal/sidecar.h"
#include "backends/modal/task.h"
#include "compat/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void places(void **state)
{
    char *place = modal_place_make("sb-1", "ctr-2"), *sandbox = modal_place_sandbox(place);

    (void)state;
    assert_string_equal(sandbox, "sb-1");
    assert_string_equal(modal_place_container(place), "ctr-2");
    assert_null(modal_place_container("sb-1"));
    assert_null(modal_place_container("sb-1/"));
    assert_null(modal_place_container(""));
    free(sandbox);
    sandbox = modal_place_sandbox("sb-1");
    assert_string_equal(sandbox, "sb-1");
    free(sandbox);
    free(place);
}

static void refused(const struct modal_sidecar_spec *spec, const char *text)
{
    struct err err = ERR_INIT;
    char *id = NULL;

    assert_int_equal(modal_sidecar_create(NULL, spec, &id, &err), -1);
    assert_non_null(strstr(err.msg, text));
    assert_null(id);
    err_clear(&err);
}

static void refusals(void **state)
{
    (void)state;
    refused(&(struct modal_sidecar_spec){.image_id = "im-1"}, "needs a name");
    refused(&(struct modal_sidecar_spec){.image_id = "im-1", .name = ""}, "needs a name");
    refused(&(struct modal_sidecar_spec){.image_id = "im-1", .name = "main"}, "needs a name");
    refused(&(struct modal_sidecar_spec){.image_id = "im-1", .name = "x", .network = MODAL_NETWORK_BLOCKED},
            "without a network");
    refused(&(struct modal_sidecar_spec){.image_id = "im-1", .name = "x", .workdir = "rel"}, "not absolute");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(places), cmocka_unit_test(refusals)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
