/*
 * The log of the container's process: what it wrote, in the order in which it was read, in <run dir>/log; its form is
 * translate/wire/log.h's. A disk that is full loses log, never output: when there is room again a line on stream 2 says
 * how much is missing.
 */
#ifndef ATP_AGENT_LOG_H
#define ATP_AGENT_LOG_H

#include "translate/wire/log.h"

struct err;
struct log;

/* Appends to what an earlier process of this container left. */
struct log *log_open(const char *run_dir, struct err *err);
void log_close(struct log *log); /* NULL is fine */
void log_write(struct log *log, int stream, const void *bytes, size_t len);

/* ---- reading: records one after the other, in bounded memory ---- */

struct log_reader {
    int fd; /* borrowed */
    off_t at;
    uint8_t *piece; /* read ahead */
    size_t have, used;
};
void log_reader_init(struct log_reader *r, int fd); /* also back to the beginning, after a clear */
void log_reader_clear(struct log_reader *r);
/* 1 = a record, 0 = the end as it is now (a record that is half written counts as not there), -1 = damaged. */
int log_reader_next(struct log_reader *r, struct wire_log_record *ret);

#endif
