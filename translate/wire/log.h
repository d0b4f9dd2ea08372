/*
 * A container's log as it lies in a file, the agent's and later the client's: records one after the other,
 *     i64 time (ns), u8 stream (1 or 2), u32 length, bytes        little endian, no padding
 * each what one read of the process gave, WIRE_CHUNK bytes at most. A file may end within a record: it is still being
 * written, or its writer was killed; what is there of it counts as not there.
 *
 * Lines are counted across both streams in the order in which they were completed; what follows the last newline of a
 * stream is a line too. So `tail` is: wire_log_count() over all records, wire_log_skip() over all records, and
 * wire_log_cut() for each record that is printed.
 */
#ifndef ATP_WIRE_LOG_H
#define ATP_WIRE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WIRE_LOG_HEAD 13u

struct wire_log_record {
    int64_t time_ns;
    uint8_t stream;
    const uint8_t *bytes; /* borrowed */
    size_t len;
};

void wire_log_head(uint8_t ret[WIRE_LOG_HEAD], int64_t time_ns, uint8_t stream, size_t len);
/* The record at the start of these bytes: its whole length, 0 = more bytes are needed, -1 = this is no log. */
ssize_t wire_log_record(const uint8_t *bytes, size_t have, struct wire_log_record *ret);

struct wire_log_lines {
    uint64_t ended;
    bool open[2]; /* by stream: bytes without a newline yet */
};
void wire_log_count(struct wire_log_lines *lines, const struct wire_log_record *r);
uint64_t wire_log_lines(const struct wire_log_lines *lines);

/* How the first `left` lines are divided between the streams. */
struct wire_log_skipper {
    uint64_t left;
    uint64_t skip[2];
};
void wire_log_skip(struct wire_log_skipper *s, const struct wire_log_record *r);
/* After the last record: lines that never ended are the last ones. */
void wire_log_skip_open(struct wire_log_skipper *s, const struct wire_log_lines *lines);
/* Takes what is skipped off the record's front; its len is 0 if nothing is left. */
void wire_log_cut(struct wire_log_skipper *s, struct wire_log_record *r);

#endif
