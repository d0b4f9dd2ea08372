/*
 * Private to receiver*.c. One row for each path that an exchange speaks of. The plan (receiver_plan.c) looks at what is
 * here and gives every row its verdict before anything is changed; contents are placed as they come (receiver_place.c);
 * the rest is carried out at the end (receiver_finish.c), where each row says what is now agreed about its path.
 */
#ifndef ATP_SYNC_RECEIVER_IMPL_H
#define ATP_SYNC_RECEIVER_IMPL_H

#include "backends/sync/dirs.h"
#include "backends/sync/keep.h"
#include "backends/sync/sync.h"
#include "compat/sys/beneath.h"
#include "translate/sync/merge.h"
#include "translate/sync/stream.h"

/* What stands at a path on this side. */
enum here_kind {
    HERE_NOTHING,
    HERE_ENTRY,
    HERE_SPECIAL, /* a socket, fifo or device */
    HERE_BLOCKED, /* something above it is no directory */
};

enum row_outcome {
    ROW_OPEN,     /* not carried out yet */
    ROW_LOCAL,    /* here is what the peer has: agreed as it is here */
    ROW_PEER,     /* here is something else: agreed is what the peer has */
    ROW_LEFT_OUT, /* the peer could not read it: agreed stays what it was */
    ROW_ABSENT,   /* neither the peer nor the agreement has it */
};

struct row {
    const char *path;
    const char *leader;                  /* LINK only */
    const struct manifest_entry *peer;   /* NULL: the peer does not have it */
    const struct manifest_entry *base;   /* in the ancestor, NULL if it is not */
    const struct manifest_entry *past;   /* without a base: what may stand for it (policy.past), if untouched here */
    struct manifest_entry *peer_instead; /* owned: what was read in the end, where that differs from the announcement */
    struct manifest_entry here;          /* what stands (or, after placing, stood) here; no link text */
    struct merge_meta meta;              /* for MERGE_META: what mode, owner and time shall be */
    uint8_t kind;                        /* enum sync_op_kind */
    uint8_t flags;                       /* enum sync_op_flag */
    uint8_t here_kind;                   /* enum here_kind */
    uint8_t verdict;                     /* enum merge_verdict */
    uint8_t outcome;                     /* enum row_outcome */
    bool fixed;                          /* the verdict is no longer a matter of what stands here */
    bool differs;                        /* MERGE_META, and yet what stands here is our own changed content */
    bool in_new_dir;                     /* below a directory that this exchange makes: nothing is here yet */
    uint64_t links;                      /* link count of what stands here */
};

/* A file whose content is complete but whose place is still taken by a directory. */
struct waiting {
    size_t row;
    int dir; /* owned */
    int fd;  /* owned */
    char name[BENEATH_TEMP_MAX];
};

struct sync_receiver {
    struct sync_tree tree;
    struct sync_policy policy;
    struct stream_parser *parser;
    bool failed, planned, ended, as_root;

    struct row *rows; /* in path order */
    size_t row_count;
    size_t *row_of_op;
    struct dirs *dirs;
    struct keep *keep;
    struct sync_report report;
    uint64_t unsaid; /* notes beyond the limit */
    uint64_t risky;  /* files that tools on this machine run or read */
    char *risky_path;

    /* The file that is coming. */
    size_t current;
    int fd;                      /* where its bytes go; -1: nowhere */
    int dir;                     /* owned: where its temporary name is; -1: it has none */
    char name[BENEATH_TEMP_MAX]; /* its temporary name */
    uint64_t at, limit, taken;   /* place in the file; bytes allowed and taken in all */

    struct waiting *waiting;
    size_t waiting_count, waiting_cap;
};

/* ---- receiver_plan.c ---- */

/* Makes the rows, decides, and checks the whole against the policy. Changes nothing on disk. */
int receiver_plan(struct sync_receiver *r, struct err *err);
/* Looks again at what stands at the row's path and decides anew if that is not what was planned with. */
int receiver_reconsider(struct sync_receiver *r, struct row *row, struct err *err);
struct row *receiver_row(struct sync_receiver *r, const char *path); /* NULL if the exchange does not speak of it */
const struct manifest_entry *row_peer(const struct row *row);
/* What taking the peer's mode, owner and time means on this side. */
struct merge_meta receiver_wanted(const struct sync_receiver *r, const struct row *row);

/* ---- receiver_place.c ---- */

/* Makes the directories that the plan takes, parents first. */
int receiver_make_dirs(struct sync_receiver *r, struct err *err);
int receiver_begin_file(struct sync_receiver *r, size_t row, struct err *err);
int receiver_data(struct sync_receiver *r, const uint8_t *bytes, uint64_t len, struct err *err);
int receiver_hole(struct sync_receiver *r, uint64_t len, struct err *err);
int receiver_again(struct sync_receiver *r, struct err *err);
void receiver_left_out(struct sync_receiver *r);
int receiver_done(struct sync_receiver *r, const struct manifest_entry *done, struct err *err);
/* Forgets the file that is coming, and its temporary file. */
void receiver_drop_file(struct sync_receiver *r);
/* Carries a row's MERGE_META out on what stands here. */
int receiver_apply_meta(struct sync_receiver *r, struct row *row, struct err *err);
/* Puts the local version out of the way, or says that it stays: true if the peer's may take the place. */
bool receiver_yields(const struct sync_receiver *r, const struct row *row);
int receiver_put_aside(struct sync_receiver *r, struct row *row, int dir, const char *name, struct err *err);
/* Removes a file or link; on the host it goes to the trash, unless it is larger than all of that. -1 and errno. */
int receiver_remove(struct sync_receiver *r, const struct row *row, int dir, const char *name);
/* Makes a symbolic link of the row's text at name, complete or not at all. *ret_st is how it looks then. -1 and errno.
 */
int receiver_symlink(const struct sync_receiver *r, const struct row *row, int dir, const char *name,
                     const struct merge_meta *m, struct stat *ret_st);
/* Remembers how the row's path looks now that it was placed. expected_mtime: as it was set. */
void receiver_note_placed(struct row *row, const struct stat *st, int64_t expected_mtime);
/* The parent of the row's path for writing; missing directories above are made again. */
int receiver_parent(struct sync_receiver *r, const char *path, const char **ret_name, struct err *err);
/* The peer's version of the row is kept aside as `what`, or lost if nothing can be kept; tells the user. */
void receiver_conflict(struct sync_receiver *r, struct row *row, bool kept);
/* 0 if the owner was given or need not be; an owner that may not be given is no failure. */
int receiver_own_fd(const struct sync_receiver *r, int fd, const struct merge_meta *m);

/* ---- receiver_finish.c ---- */

int receiver_finish_all(struct sync_receiver *r, struct err *err);
void receiver_agreed(const struct sync_receiver *r, struct manifest *ret);

/* ---- receiver_report.c ---- */

void receiver_note(struct sync_receiver *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "doing PATH: strerror"; uses errno. Returns -1. */
int receiver_errno(const char *doing, const char *path, struct err *err);
/* Counts a placed path if tools on this machine would run or read it (git hooks and the like). */
void receiver_watch_risky(struct sync_receiver *r, const char *path);
void receiver_close_report(struct sync_receiver *r);
char *receiver_quoted(const char *path); /* owned by caller */

#endif
