#include "count.h"

int count_words(const char *text)
{
    int words = 0;

    for (; *text; text++)
        words += *text != ' ' && (text[1] == ' ' || text[1] == '\0');
    return words;
}
