/*
 * Lists of things that wait for an event: calls parked until a sandbox ends, an exec has output, an image is built. A
 * waiter sits in one list at most; it is embedded in its owner's state and taken out when the owner goes away.
 */
#ifndef ATP_ENGINE_WAITER_H
#define ATP_ENGINE_WAITER_H

struct waiter {
    struct waiter *next;
    struct waiter **slot; /* what points at us; NULL = in no list */
    void (*wake)(struct waiter *w, void *arg);
    void *arg;
};

void waiter_add(struct waiter **list, struct waiter *w, void (*wake)(struct waiter *w, void *arg), void *arg);
void waiter_del(struct waiter *w);
/* Wakes those that were in the list when it was called, each after taking it out; a woken one may add itself again. */
void waiter_wake_all(struct waiter **list);

#endif
