/*
 * --detach-keys: the keys that leave a terminal without ending what runs in it. "ctrl-p,ctrl-q", "a,b", "ctrl-x,@".
 */
#ifndef ATP_TRANSLATE_DETACH_KEYS_H
#define ATP_TRANSLATE_DETACH_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define DETACH_KEYS_MAX 16u

struct detach_keys {
    uint8_t keys[DETACH_KEYS_MAX];
    size_t len;
    size_t matched; /* of the keys, typed in a row and held back */
};

/* NULL and "": Docker's own, ctrl-p ctrl-q. */
int detach_keys_parse(const char *text, struct detach_keys *ret, struct err *err);

/*
 * Filters what was typed into out, which has room for len + DETACH_KEYS_MAX bytes. Keys that may be the beginning of
 * the sequence are held back until it is known. True: the sequence is complete, and what followed it is dropped.
 */
bool detach_keys_filter(struct detach_keys *k, const uint8_t *in, size_t len, uint8_t *out, size_t *ret_len);

#endif
