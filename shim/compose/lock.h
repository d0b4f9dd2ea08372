/*
 * One at a time changes which containers a project has: up, create, down, run, rm and scale hold this lock while they
 * look and make, not while they wait or stay. It is flock(2) on a file of the state folder, so a killed process holds
 * none; its jobs (jobs.h), which go on, hold it until they are through.
 */
#ifndef ATP_SHIM_COMPOSE_LOCK_H
#define ATP_SHIM_COMPOSE_LOCK_H

struct err;

/* Waits for it. The descriptor, for project_unlock(); -1 and err. */
int project_lock(const char *project, struct err *err);
/* gone: the project has nothing left, so its file goes too. -1 is fine. */
void project_unlock(const char *project, int fd, int gone);

/* Who watches a project's files is alone with it. The descriptor, to be closed; -1 and err: somebody else does. */
int project_watch_lock(const char *project, struct err *err);

#endif
