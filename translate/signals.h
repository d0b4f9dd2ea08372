/* Signals by their Linux numbers, which a container has whatever this machine is. */
#ifndef ATP_TRANSLATE_SIGNALS_H
#define ATP_TRANSLATE_SIGNALS_H

struct err;

enum { SIGNALS_KILL = 9, SIGNALS_TERM = 15 };

/* "TERM", "SIGTERM", "sigterm", "15", "RTMIN+3" -> the number. -1: "Invalid signal: FOO". */
int signals_parse(const char *word, int *ret, struct err *err);

#endif
