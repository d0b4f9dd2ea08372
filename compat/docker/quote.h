/*
 * Go's quoted strings ("%q"), which docker's error texts are full of.
 */
#ifndef ATP_DOCKER_QUOTE_H
#define ATP_DOCKER_QUOTE_H

#include <stddef.h>
#include <stdint.h>

struct buf;

void quote_go(struct buf *out, const char *s, size_t len); /* appends "s" with Go's escapes */
char *quote_go_str(const char *s);                         /* owned by caller */
void quote_go_rune(struct buf *out, uint32_t rune);        /* appends 'x' */

/*
 * Reads one rune of UTF-8 at s (len bytes, at least 1). Returns how many bytes it takes; a byte that is no UTF-8 takes
 * 1 and gives RUNE_INVALID.
 */
#define RUNE_INVALID 0xFFFFFFFFu
size_t rune_decode(const char *s, size_t len, uint32_t *ret_rune);
void rune_encode(struct buf *out, uint32_t rune);
size_t rune_count(const char *s, size_t len); /* an invalid byte counts as one, as in Go */

#endif
