/*
 * The word that was probably meant: for messages about unknown keys.
 */
#ifndef ATP_TRANSLATE_NEAREST_H
#define ATP_TRANSLATE_NEAREST_H

/* The entry of words (NULL-terminated) with the smallest edit distance, or NULL when none is near. */
const char *nearest_word(const char *word, const char *const *words);

#endif
