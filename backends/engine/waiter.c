#include "backends/engine/waiter.h"

#include <stddef.h>

/* At the end: what came first is woken first, as a read waits behind the start that it belongs to. */
void waiter_add(struct waiter **list, struct waiter *w, void (*wake)(struct waiter *w, void *arg), void *arg)
{
    waiter_del(w);
    while (*list)
        list = &(*list)->next;
    *w = (struct waiter){.slot = list, .wake = wake, .arg = arg};
    *list = w;
}

void waiter_del(struct waiter *w)
{
    if (!w->slot)
        return;
    *w->slot = w->next;
    if (w->next)
        w->next->slot = w->slot;
    w->next = NULL;
    w->slot = NULL;
}

/* The whole list is moved aside first: waking may remove any other waiter, or put woken ones back into the list. */
void waiter_wake_all(struct waiter **list)
{
    struct waiter *woken = *list;

    *list = NULL;
    if (woken)
        woken->slot = &woken;
    while (woken) {
        struct waiter *w = woken;

        waiter_del(w);
        w->wake(w, w->arg);
    }
}
