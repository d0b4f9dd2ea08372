/* Finding the program of a command line as Docker's runtime does, and its words when there is none. */
#ifndef ATP_AGENT_LOOKUP_H
#define ATP_AGENT_LOOKUP_H

struct err;

/*
 * Resolves name: as it is if it has a slash, else in the directories of path (the container's PATH; NULL is none).
 * Returns the file to execute, owned by caller; NULL with err: exit code 127 (not found) or 126, code is the errno.
 * To be called as the user who will run it, in the directory where it will run.
 */
char *lookup_program(const char *name, const char *path, struct err *err);

/* The text for an errno as Docker's tools print it: "no such file or directory". */
const char *lookup_strerror(int errnum);

#endif
