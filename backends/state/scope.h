/*
 * The scope: who this machine and user are among all that share a workspace (design 4). The state holds it; the file
 * beside the configuration outlives a deleted state.
 */
#ifndef ATP_STATE_SCOPE_H
#define ATP_STATE_SCOPE_H

#define SCOPE_LEN 12

struct err;

/*
 * The scope in the file; if there is none, a new one, which the file then holds. A file that cannot be read or written
 * is no error. -1: there is no randomness. file may be NULL.
 */
int scope_make(const char *file, char ret[SCOPE_LEN + 1], struct err *err);

/* Puts the scope of a state that is older than the file into it, unless it is there. file may be NULL. */
void scope_keep(const char *file, const char *scope);

#endif
