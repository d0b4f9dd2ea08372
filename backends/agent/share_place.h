/*
 * Carries out what the other members of a shared volume changed (share_mate.h): a file is written aside and put in its
 * place when it is complete, so that nobody ever sees half of one. What was changed here meanwhile is left alone, as it
 * comes later in the order that all agree on. Private to share_*.c.
 */
#ifndef ATP_AGENT_SHARE_PLACE_H
#define ATP_AGENT_SHARE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

struct share;
struct share_in;
struct share_tree;

struct share_place {
    struct share_tree *tree;
    int stage;      /* where unfinished files are, on the file system of the volume; borrowed */
    uint64_t acked; /* our own changes that are in the order already */
    bool yields;    /* read-only: what was changed here does not count */
    bool merging;   /* files that both have and nobody knows of: the younger one counts */
    struct share_in *ins;
};

void share_place_init(struct share_place *p, struct share_tree *tree, int stage);
void share_place_clear(struct share_place *p);
/* ENTRY, DATA, END, GONE, DROP. What cannot be done (a full disk) is told on stderr. */
void share_place_take(struct share_place *p, const struct share *s);
/* A sender is gone, 0: all are. */
void share_place_drop(struct share_place *p, uint32_t from);

#endif
