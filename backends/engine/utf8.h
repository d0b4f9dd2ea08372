/* Text for protobuf strings out of bytes that anybody wrote. */
#ifndef ATP_ENGINE_UTF8_H
#define ATP_ENGINE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/*
 * Appends bytes as valid UTF-8 without NUL: what is not becomes U+FFFD. A character that is cut off at the end is left
 * for the next time, unless last is set. Returns how many bytes were used.
 */
size_t utf8_clean(struct buf *out, const void *bytes, size_t len, bool last);

#endif
