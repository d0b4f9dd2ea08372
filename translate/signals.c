#include "translate/signals.h"

#include "compat/base/err.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RTMIN 34 /* as Docker and the C libraries of Linux count them */
#define RTMAX 64

/* The table of Docker's client; numbers of x86 and ARM. */
static const struct {
    const char *name;
    int number;
} table[] = {
    {"ABRT", 6},  {"ALRM", 14}, {"BUS", 7},     {"CHLD", 17},  {"CLD", 17},  {"CONT", 18},   {"FPE", 8},
    {"HUP", 1},   {"ILL", 4},   {"INT", 2},     {"IO", 29},    {"IOT", 6},   {"KILL", 9},    {"PIPE", 13},
    {"POLL", 29}, {"PROF", 27}, {"PWR", 30},    {"QUIT", 3},   {"SEGV", 11}, {"STKFLT", 16}, {"STOP", 19},
    {"SYS", 31},  {"TERM", 15}, {"TRAP", 5},    {"TSTP", 20},  {"TTIN", 21}, {"TTOU", 22},   {"URG", 23},
    {"USR1", 10}, {"USR2", 12}, {"VTALRM", 26}, {"WINCH", 28}, {"XCPU", 24}, {"XFSZ", 25},
};

/* A decimal number of at most two digits; -1 for anything else. */
static int small_number(const char *s)
{
    size_t len = strlen(s);

    return len >= 1 && len <= 2 && strspn(s, "0123456789") == len ? (int)strtol(s, NULL, 10) : -1;
}

/* "RTMIN", "RTMIN+3", "RTMAX-2"; -1 for anything else. */
static int real_time(const char *s)
{
    int base = !strncasecmp(s, "RTMIN", 5) ? RTMIN : !strncasecmp(s, "RTMAX", 5) ? RTMAX : -1;
    char sign = base == RTMIN ? '+' : '-';
    int n;

    if (base < 0 || !s[5])
        return base;
    n = s[5] == sign ? small_number(s + 6) : -1;
    if (n < 1 || n > 15)
        return -1;
    return base == RTMIN ? base + n : n < 15 ? base - n : -1;
}

int signals_parse(const char *word, int *ret, struct err *err)
{
    const char *name = strncasecmp(word, "SIG", 3) == 0 ? word + 3 : word;
    int number = small_number(word);

    if (number < 0)
        number = real_time(name);
    for (size_t i = 0; number < 0 && i < sizeof(table) / sizeof(table[0]); i++)
        if (!strcasecmp(table[i].name, name))
            number = table[i].number;
    if (number < 1 || number > RTMAX)
        return err_set(err, 1, "Invalid signal: %s", word);
    *ret = number;
    return 0;
}
