/* link: atp_images atp_registry atp_dockerfile atp_sys atp_base */
#include "backends/engine/img_mode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* What chmod(1) of coreutils makes of the same words without a umask. */
static void words(void **state)
{
    static const struct {
        const char *words;
        mode_t before, after;
    } cases[] = {
        {"u=rwX,go=rX", S_IFREG | 0600, 0644}, {"u=rwX,go=rX", S_IFREG | 0700, 0755},
        {"u=rwX,go=rX", S_IFDIR | 0700, 0755}, {"+x", S_IFREG | 0644, 0755},
        {"a-w", S_IFREG | 0666, 0444},         {"go=", S_IFREG | 0777, 0700},
        {"g=u", S_IFREG | 0740, 0770},         {"u+s,g+s", S_IFREG | 0755, 06755},
        {"u-s", S_IFREG | 04755, 0755},        {"+t", S_IFDIR | 0777, 01777},
        {"o=rx", S_IFREG | 0640, 0645},        {"u=r,u+x", S_IFREG | 0777, 0577},
        {"u+w-x", S_IFREG | 0500, 0600},       {"a=", S_IFREG | 0777, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_true(img_mode_valid(cases[i].words));
        assert_int_equal(img_mode_apply(cases[i].words, cases[i].before) & 07777, cases[i].after);
    }
}

static void no_words(void **state)
{
    static const char *const wrong[] = {"", "u", "8", "0888", "rwx", "u=rwx,", "u=q", "=r;", "+x,z"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_false(img_mode_valid(wrong[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words), cmocka_unit_test(no_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
