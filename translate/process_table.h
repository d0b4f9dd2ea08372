/*
 * `docker top`: the agent's list of processes (backends/agent/top.h) in the columns that words for ps ask for. Docker
 * hands these words to the ps of its host; here the usual ones are understood (none, -ef, -e, aux, -o KEYS) and others
 * are refused by name.
 */
#ifndef ATP_TRANSLATE_PROCESS_TABLE_H
#define ATP_TRANSLATE_PROCESS_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct process_column;
struct strlist;

#define PROCESS_COLUMNS_MAX 64

struct process_table {
    const struct process_column *columns[PROCESS_COLUMNS_MAX];
    char *headers[PROCESS_COLUMNS_MAX]; /* owned */
    size_t len;
};

/* Texts are the daemon's, exit code 1. */
int process_table_parse(const struct strlist *words, struct process_table *ret, struct err *err);
void process_table_clear(struct process_table *t);

/* lines: JSON, one process on each. now_ms: epoch, by the clock that start_ms was taken from. */
int process_table_print(const struct process_table *t, const char *lines, int64_t now_ms, struct buf *out,
                        struct err *err);

#endif
