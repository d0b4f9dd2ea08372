/*
 * The container's record, as the client gave it with START: opaque here, kept in <run dir>/record, and given back to
 * whoever has lost it.
 */
#ifndef ATP_AGENT_RECORD_H
#define ATP_AGENT_RECORD_H

struct err;

/* Whole or not at all, whatever happens meanwhile. */
int record_save(const char *run_dir, const char *record, struct err *err);
/* NULL: there is none. Owned by caller. */
char *record_load(const char *run_dir);

#endif
