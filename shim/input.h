/* Archives that a command reads: a named file, or stdin when somebody feeds it. Descriptors are owned by the caller. */
#ifndef ATP_SHIM_INPUT_H
#define ATP_SHIM_INPUT_H

struct err;

int input_open(const char *path, struct err *err);
/* -1 with refusal's text when stdin is a terminal. */
int input_stdin(const char *refusal, struct err *err);

#endif
