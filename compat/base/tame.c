#include "compat/base/tame.h"

#include <stddef.h>

void tame(char *text, bool keep_lines)
{
    for (unsigned char *p = (unsigned char *)text; p && *p; p++) {
        bool line = *p == '\n' || *p == '\t';

        if ((*p < 0x20 && !(line && keep_lines)) || *p == 0x7f)
            *p = '?';
        else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
            *p = p[1] = '?';
    }
}
