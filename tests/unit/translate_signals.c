/* link: atp_translate atp_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "compat/base/err.h"
#include "translate/signals.h"

static void words(void **state)
{
    static const struct {
        const char *word;
        int number; /* 0: refused */
    } cases[] = {
        {"", 0},          {"0", 0},      {"-1", 0},         {"65", 0},       {"015", 0},     {"9x", 0},
        {" 9", 0},        {"SIG", 0},    {"SIGSIGTERM", 0}, {"TERMX", 0},    {"RTMIN-1", 0}, {"RTMIN+16", 0},
        {"RTMAX-15", 0},  {"RTMIN+", 0}, {"9", 9},          {"64", 64},      {"TERM", 15},   {"SIGTERM", 15},
        {"sigterm", 15},  {"Kill", 9},   {"CHLD", 17},      {"SIGUSR1", 10}, {"RTMIN", 34},  {"SIGRTMIN+3", 37},
        {"rtmax-14", 50}, {"RTMAX", 64},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        int number = 0;
        int ret = signals_parse(cases[i].word, &number, &err);

        if ((ret == 0) != (cases[i].number > 0) || number != cases[i].number)
            fail_msg("'%s' gives %d (%d)", cases[i].word, number, ret);
        err_clear(&err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
