/*
 * What a member of a shared volume (share_mate.h) tells the others: looks for changes, and sends them as the link has
 * room. What is to be said when all that had changed by now has been sent waits in line. Private to share_*.c.
 */
#ifndef ATP_AGENT_SHARE_OUT_H
#define ATP_AGENT_SHARE_OUT_H

#include "compat/base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct link;
struct share_tree;

/* Said when everything before it was. */
struct share_word {
    uint8_t op; /* FLUSHED, BARRIER, LEAVE; BEGIN: all there is follows, and COMPLETE */
    uint64_t number;
    uint64_t looks; /* it waits for this look */
};

struct share_out {
    struct share_tree *tree;
    struct link *link;
    bool ro, active;
    bool wanted; /* to look */
    bool bringing;
    uint64_t looks;
    uint64_t sent; /* changes, each of which the hub counts too */
    int64_t cost;  /* ms of the last look */
    struct share_word *words;
    size_t n_words, room_words;
    size_t at, gone_at; /* in the tree's lists */
    /* the file under way */
    int fd;
    struct stat st;
    uint64_t offset;
    int tries;
    struct sha256 sum;
    uint8_t *bytes;
};

void share_out_init(struct share_out *o, struct share_tree *tree, struct link *link, bool ro);
void share_out_clear(struct share_out *o);
/* The link is another one: what was under way is not. */
void share_out_reset(struct share_out *o);
/* Not active: nobody is there to be told, and words are said at once. */
void share_out_active(struct share_out *o, bool active);

/* Nothing is under way. */
bool share_out_idle(const struct share_out *o);
void share_out_look(struct share_out *o);
void share_out_after(struct share_out *o, uint8_t op, uint64_t number);
/* Sends what there is room for. */
void share_out_pump(struct share_out *o);

/* ms until the next look: when something seems to have changed, and when nothing does. */
int64_t share_out_soon(const struct share_out *o);
int64_t share_out_later(const struct share_out *o);

#endif
