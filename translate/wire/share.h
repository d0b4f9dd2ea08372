/*
 * SHARE frames: how the agents of one pod keep a volume in step that several of its containers have. Each such agent
 * keeps one TCP connection to the hub for each of its volumes (AGENT_HUB_PORT, as for names), and begins it with JOIN.
 * The hub holds no files. It puts the changes that come in into one order and passes them on; everybody carries them
 * out in that order, so that all end with the same files.
 *
 *     member                                              hub
 *     JOIN token, self, key, newest generation, ro
 *                              <- ALONE generation        nobody else has it: take what was saved, which is at least
 *                                                         that generation; else it is behind, and leaves again
 *     READY                                               it has, and its process starts at the next ROLE
 *                              <- BEGIN, changes, COMPLETE   or: here is what the others have; no READY follows
 *                              <- SNAPSHOT                another one needs it: bring your own changes to an end
 *     changes, BEGIN, all there is, COMPLETE              passed on to that one only
 *                              <- OFF                     nobody else is there any more: changes need not be told
 *
 * A change is ENTRY (a directory, link or fifo is complete by it; of a file DATA and END follow; END with CANCEL: it is
 * none after all), or GONE. The hub writes the sender's number into `from`, as those of several senders may be mixed,
 * and says ECHO to the sender itself when it has passed on the n-th of its changes: what others did before is to come
 * no more. DROP: that sender is gone, its unfinished file with it.
 *
 * FLUSH id: answered by FLUSHED id when all that had changed before has been sent. BARRIER id: answered by DONE id when
 * all others were flushed, and what they sent has been passed on. LEAVE: answered by LEFT; with SAVE nobody else will
 * save what is there now, so the member does, says SAVED with the generation, and goes.
 *
 * One of the members that may write saves now and then: ROLE says whether it is this one, and above which number its
 * generations are. If its own view of the saved ones does not reach up to that number it saves everything anew, as the
 * platform may not show it what others have saved meanwhile.
 */
#ifndef ATP_WIRE_SHARE_H
#define ATP_WIRE_SHARE_H

#include "translate/wire/wire.h"

enum share_op {
    SHARE_JOIN = 1, /* path: the volume's key; text: self; link: the token; number: newest generation, 0 for none */
    SHARE_READY,
    SHARE_ENTRY, /* path "": the volume's own directory */
    SHARE_DATA,  /* number: offset */
    SHARE_END,
    SHARE_GONE,
    SHARE_BEGIN,
    SHARE_COMPLETE,
    SHARE_FLUSHED,
    SHARE_BARRIER,
    SHARE_LEAVE,
    SHARE_SAVED,
    /* the hub's */
    SHARE_ALONE,
    SHARE_SNAPSHOT,
    SHARE_ECHO,
    SHARE_DROP,
    SHARE_FLUSH,
    SHARE_DONE,
    SHARE_ROLE,
    SHARE_LEFT,
    SHARE_OFF,
    SHARE_OP_MAX
};

enum share_flag {
    SHARE_RO = 1 << 0,     /* JOIN: never writes */
    SHARE_CANCEL = 1 << 1, /* END */
    SHARE_SAVE = 1 << 2,   /* ROLE, LEFT */
    SHARE_AGAIN = 1 << 3,  /* JOIN: it has been there before, and has files of its own */
};

enum share_kind { SHARE_FILE = 1, SHARE_DIR, SHARE_SYMLINK, SHARE_LINK, SHARE_FIFO, SHARE_KIND_MAX };

/* One for all ops; what an op does not use is 0, "" or empty. */
struct share {
    uint8_t op, flags;
    uint32_t from;
    uint64_t number;
    /* ENTRY */
    uint8_t kind;
    uint16_t mode;
    uint32_t uid, gid;
    int64_t mtime_ns;
    uint64_t size;
    char *path; /* relative, checked: no "..", no "." */
    char *link; /* SYMLINK: the text; LINK: the path of another name of the same file */
    char *text;
    const uint8_t *bytes; /* DATA; borrowed from the frame */
    size_t len;
};
#define SHARE_PIECE  (256u << 10)
/* In what an agent says that was told ALONE and has an older state: whoever started it can have it seen the newest. */
#define SHARE_BEHIND "its newest saved state has not come here yet"

void share_clear(struct share *s);
int share_put(struct buf *b, const struct share *s);
int share_get(const struct wire_frame *f, struct share *ret, struct err *err);

#endif
