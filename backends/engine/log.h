/*
 * The engine's log: one line per event, with the time, on standard error or in a file (--log). It is the only global of
 * the engine. Tokens, secrets, environments and user output are never written to it.
 */
#ifndef ATP_ENGINE_LOG_H
#define ATP_ENGINE_LOG_H

struct err;

/* Lines go to path from now on (created 0600, appended to). */
int log_open(const char *path, struct err *err);
int log_fd(void);
void log_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
