/*
 * The sleeper: a program of a few hundred bytes that does nothing for 48 hours. It is the first process of a Sandbox
 * that was given no command and whose image has none, and needs nothing from the image, not even a shell.
 */
#ifndef ATP_ENGINE_PAUSE_H
#define ATP_ENGINE_PAUSE_H

struct err;

#define PAUSE_TARGET "/__modal/.bin/modal-sleep" /* where containers have it */

/* Puts it below dir if it is not there and gives its path (owned by caller). */
int pause_program(const char *dir, char **ret_path, struct err *err);

#endif
