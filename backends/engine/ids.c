#include "backends/engine/ids.h"

#include "compat/base/alloc.h"
#include "compat/sys/random.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ALNUM     "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define CROCKFORD "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

/* Random bytes or the end: an id that could be guessed or repeated would be worse than no engine. */
static void must_random(void *bytes, size_t len)
{
    if (random_bytes(bytes, len, /* err= */ NULL) < 0)
        abort();
}

/* Bytes of 248 and above are skipped, so that every character is equally likely. */
char *id_new(const char *prefix)
{
    char digits[23];
    size_t n = 0;

    while (n < 22) {
        unsigned char pool[32];

        must_random(pool, sizeof(pool));
        for (size_t i = 0; i < sizeof(pool) && n < 22; i++)
            if (pool[i] < 248)
                digits[n++] = ALNUM[pool[i] % 62];
    }
    digits[n] = '\0';
    return xasprintf("%s-%s", prefix, digits);
}

char *id_new_ulid(const char *prefix)
{
    char digits[27];
    unsigned char pool[16];
    uint64_t ms = (uint64_t)(unix_now() * 1000);

    must_random(pool, sizeof(pool));
    for (size_t i = 10; i-- > 0; ms >>= 5)
        digits[i] = CROCKFORD[ms & 31];
    for (size_t i = 0; i < 16; i++)
        digits[10 + i] = CROCKFORD[pool[i] & 31];
    digits[26] = '\0';
    return xasprintf("%s-%s", prefix, digits);
}

/* Shaped like "ap-" and 22 letters and digits. */
static bool looks_like_app_id(const char *name)
{
    return strncmp(name, "ap-", 3) == 0 && strlen(name) == 25 && strspn(name + 3, ALNUM) == 22;
}

bool name_is_valid(const char *name)
{
    size_t len = name ? strlen(name) : 0;

    return len > 0 && len <= 64 && strspn(name, ALNUM "-_.") == len && !looks_like_app_id(name);
}

bool environment_name_is_valid(const char *name)
{
    size_t len = name ? strlen(name) : 0;

    return len > 1 && len <= 64 && strspn(name, ALNUM "-_.") == len && strchr(ALNUM, name[0]) &&
           strncasecmp(name, "en-", 3) != 0;
}

double unix_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}
