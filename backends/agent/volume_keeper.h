/*
 * Init's side of volumes (volume.h). Saving and restoring is done in a child process, so that init stays there for
 * everybody: before the main process starts, now and then while it runs, and once more when it has ended. The list of
 * volumes is kept below the run dir, for sessions that are asked to save.
 */
#ifndef ATP_AGENT_VOLUME_KEEPER_H
#define ATP_AGENT_VOLUME_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

struct agent_options;
struct err;
struct keeper;
struct loop;
struct wire_names;
struct wire_volumes;

/* text and names: START's; in a pod each volume gets a mate (share_mate.h), who brings it and tells of it. text NULL or
 * "": *ret is NULL, and no earlier list counts any more. */
int keeper_new(struct loop *loop, const struct agent_options *options, const char *text, const struct wire_names *names,
               struct keeper **ret, struct err *err);
void keeper_free(struct keeper *k); /* NULL is fine, here and below */

/* Restores; ready comes from the loop, why NULL: all is in place. */
int keeper_restore(struct keeper *k, void (*ready)(void *arg, const char *why), void *arg, struct err *err);
/* The main process runs: saves from now on. */
void keeper_go(struct keeper *k);
/* It has ended: a last save; done comes from the loop, why NULL: all is saved. False: there is nothing to be saved, and
 * no done. */
bool keeper_last(struct keeper *k, void (*done)(void *arg, const char *why), void *arg);
/* A last save or a restore is under way: no process of the container is to be killed now. */
bool keeper_busy(const struct keeper *k);
/* A child was reaped: true if it was ours. */
bool keeper_reaped(struct keeper *k, pid_t pid, int status);

/* For sessions: the list, empty if there is none. */
int keeper_list(const char *run_dir, struct wire_volumes *ret, struct err *err);

#endif
