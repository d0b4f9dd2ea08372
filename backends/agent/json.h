/*
 * JSON that the agent writes; it reads none. Bytes that are no UTF-8 come as U+FFFD.
 */
#ifndef ATP_AGENT_JSON_H
#define ATP_AGENT_JSON_H

#include <stddef.h>
#include <stdint.h>

struct buf;

void json_string(struct buf *b, const char *text, size_t len); /* with its quotes */
/* Nanoseconds since 1970 as RFC 3339 in UTC, with its quotes; the fraction without zeros at its end, as Go has it. */
void json_time(struct buf *b, int64_t ns);

#endif
