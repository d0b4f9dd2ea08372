/*
 * What ASK TOP answers: the container's processes, one JSON object on a line each, in the order of their numbers:
 *
 *     {"pid":7,"ppid":1,"uid":1000,"user":"app","start_ms":1700000000000,"tty":"pts/0","cpu_ms":120,"rss":4096,
 *      "vsz":8192,"memory":8589934592,"state":"S","comm":"sh","argv":["sh","-c","sleep 1"]}
 *
 * pid and ppid are as the container sees them; ppid 0 is what init started. user is the uid's name in the container's
 * passwd, or the number. start_ms is epoch time by the container's clock, rss and vsz are bytes, memory is what there
 * is in all, tty is "" without one, argv is empty for what shows none. Bytes that are no UTF-8 come as U+FFFD.
 */
#ifndef ATP_AGENT_TOP_H
#define ATP_AGENT_TOP_H

#include "compat/base/buf.h"

#include <sys/types.h>

struct err;

/* All lines for the processes below init. -1: there is no /proc. */
int top_list(pid_t init, struct buf *ret_lines, struct err *err);

#endif
