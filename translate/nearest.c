#include "translate/nearest.h"

#include <stddef.h>
#include <string.h>

#define MAX_WORD 40u /* longer words are nobody's typing error */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Levenshtein's distance with one row; both words are at most MAX_WORD long. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[MAX_WORD + 1];
    size_t len = strlen(b);

    for (unsigned j = 0; j <= len; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            unsigned above = row[j];

            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[len];
}

const char *nearest_word(const char *word, const char *const *words)
{
    const char *best = NULL;
    size_t len = strlen(word);
    unsigned best_distance = (unsigned)len / 3 + 2; /* a third of the letters wrong is a typing error, more a guess */

    if (len > MAX_WORD)
        return NULL;
    for (; *words; words++) {
        unsigned d = strlen(*words) <= MAX_WORD ? distance(word, *words) : MAX_WORD;

        if (d < best_distance) {
            best = *words;
            best_distance = d;
        }
    }
    return best;
}
