/*
 * A session's wait for the shared volumes of its container to be in step (share_mate.h): what others wrote before is
 * here, what was written here is there. Ends at once where no volume is shared, and after MATE_PATIENCE in any case.
 */
#ifndef ATP_AGENT_SHARE_BARRIER_H
#define ATP_AGENT_SHARE_BARRIER_H

struct agent_options;
struct loop;
struct share_barrier;

/* done comes from the loop, once; NULL: there is nothing to wait for, and no done. */
struct share_barrier *share_barrier_new(struct loop *loop, const struct agent_options *options, void (*done)(void *arg),
                                        void *arg);
void share_barrier_free(struct share_barrier *b); /* NULL is fine; not from within done */

#endif
