#include "backends/engine/img_mode.h"

#include <stddef.h>
#include <string.h>

#define EVERY_BIT 07777u

/* Whose bits a letter names: permissions, and those that belong to them. */
static unsigned bits_of(char who)
{
    switch (who) {
    case 'u':
        return S_IRWXU | S_ISUID;
    case 'g':
        return S_IRWXG | S_ISGID;
    case 'o':
        return S_IRWXO | S_ISVTX;
    default:
        return EVERY_BIT;
    }
}

/* The bits that a letter asks for, of everybody. */
static unsigned asked(char letter, mode_t mode)
{
    unsigned copied = 0;

    switch (letter) {
    case 'r':
        return 0444;
    case 'w':
        return 0222;
    case 'x':
        return 0111;
    case 'X':
        return S_ISDIR(mode) || (mode & 0111) ? 0111 : 0;
    case 's':
        return S_ISUID | S_ISGID;
    case 't':
        return S_ISVTX;
    case 'u':
        copied = mode >> 6 & 7;
        break;
    case 'g':
        copied = mode >> 3 & 7;
        break;
    case 'o':
        copied = mode & 7;
        break;
    }
    return copied << 6 | copied << 3 | copied;
}

static mode_t change(mode_t mode, char how, unsigned whose, unsigned bits)
{
    bits &= whose;
    if (how == '+')
        return mode | bits;
    if (how == '-')
        return mode & ~(mode_t)bits;
    return (mode & ~(mode_t)whose) | bits;
}

/* Goes through the words; false when they are none. */
static bool walk(const char *p, mode_t *mode)
{
    do {
        unsigned whose = 0;

        for (; *p && strchr("ugoa", *p); p++)
            whose |= bits_of(*p);
        if (!*p || !strchr("+-=", *p))
            return false;
        while (*p && strchr("+-=", *p)) {
            char how = *p++;
            unsigned bits = 0;

            for (; *p && strchr("rwxXstugo", *p); p++)
                bits |= asked(*p, *mode);
            *mode = change(*mode, how, whose ? whose : EVERY_BIT, bits);
        }
    } while (*p == ',' && p++);
    return !*p;
}

bool img_mode_valid(const char *words)
{
    mode_t any = 0;

    return walk(words, &any);
}

mode_t img_mode_apply(const char *words, mode_t mode)
{
    walk(words, &mode);
    return mode;
}
