/* The user's terminal: size, raw mode, and a restore that every way out passes through. */
#ifndef ATP_SYS_TTY_H
#define ATP_SYS_TTY_H

#include <stdbool.h>
#include <stdint.h>

struct err;

bool tty_is(int fd);

/* False when fd is no terminal or the terminal does not know. */
bool tty_size(int fd, uint16_t *ret_rows, uint16_t *ret_cols);

/*
 * Puts the terminal into raw mode, as Docker does for -it. One terminal at a time. It is put back by tty_restore(), and
 * also when the process exits or is ended by a signal that it does not handle itself (INT, TERM, HUP, QUIT).
 */
int tty_raw(int fd, struct err *err);
int tty_hide(int fd, struct err *err); /* only what is typed is not shown: passwords */
void tty_restore(void);

#endif
