/*
 * The rim of sync: reads a tree into a manifest, turns the difference of two manifests into a byte stream, and applies
 * such a stream beneath a held directory. The host and the agent run the same code; what differs is the policy given to
 * the receiver. Decisions (diff, three-way, limits, stream codec) are pure and live in translate/sync; rules:
 * sync-rules.md sections 3 and 4.
 *
 * A tree is named by a directory descriptor and, for a mount of a single file, the file's name in it. Nothing here
 * opens a joined path; everything below goes through compat/sys/beneath.h.
 *
 * One exchange:   scan (both know the manifest they last agreed on) -> diff -> sender reads bytes -> any transport ->
 * receiver writes bytes -> finish -> report. The stream describes itself, is bounded, and is safe to cut anywhere: a
 * receiver that is freed without finish has left old or complete files only, and no temporary ones. One exception: a
 * file that must keep its inode (a mount of a single file; a file that the peer wrote in place and that has names
 * outside the tree) is copied over in place from its complete content, and a SIGKILL may meet that copy half way.
 *
 * What is agreed after an exchange is what the sender has. Where the receiver kept something of its own, its manifest
 * holds the peer's version all the same, so that the next exchange in the other direction carries its own over. Both
 * sides must store their new manifest (sender: sync_sender_agreed, receiver: sync_receiver_finish) or neither; if they
 * came apart, the receiver refuses the stream with err->code ESTALE before it touches anything, and a sender with base
 * NULL mends it: the receiver measures that full listing against its own ancestor. A scan always gets the agreed
 * manifest as `known`, also before such a full exchange: it carries what is remembered of unresolved conflicts and of
 * excluded paths.
 */
#ifndef ATP_SYNC_SYNC_H
#define ATP_SYNC_SYNC_H

#include "translate/sync/manifest.h" /* struct manifest: sorted entries, init/clear, encode/decode, find */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct strlist;

struct sync_tree {
    int dirfd;        /* borrowed: the mount's root directory, or the directory that holds the single file */
    const char *file; /* NULL for a directory tree */
};

struct sync_scan_stats {
    uint64_t entries, hashed_files, hashed_bytes;
    uint64_t skipped_special; /* sockets, fifos, devices: skipped and counted */
    uint64_t moving;          /* files that kept changing while read: carried to the next barrier */
};

/*
 * Reads the tree. known (may be NULL) is an earlier manifest of this very tree: files whose type, size, mtime, ctime,
 * inode and mode are unchanged and that are not racy keep their digest and are not read. exclude: paths (relative, no
 * leading slash) that are not entered; what known says of them is carried over. Temporary files that a killed receiver
 * left are swept on the way. A file that may not be read is an error. A tree root that does not exist is an empty
 * manifest with root_missing set.
 */
int sync_scan(const struct sync_tree *tree, const struct manifest *known, const struct strlist *exclude,
              struct manifest *ret, struct sync_scan_stats *ret_stats, struct err *err);

/* ---- sender ---- */

struct sync_sender;

/*
 * Sends what turns base into now (base NULL: everything; the receiver then makes the whole tree equal, removing what is
 * not in it, unless its policy forbids). tree is read while sending; a file that changes meanwhile is read again at
 * most 3 times and otherwise left out and counted (rule 5). now is borrowed until the sender is freed.
 */
struct sync_sender *sync_sender_new(const struct sync_tree *tree, const struct manifest *base,
                                    const struct manifest *now);
void sync_sender_free(struct sync_sender *s);
/*
 * For base NULL, before the first read: the receiver is told which paths are still as in `agreed`, a state that was
 * agreed with it though it may not know that one. Those are no change of the sender's, whatever stands there.
 */
void sync_sender_mark_untouched(struct sync_sender *s, const struct manifest *agreed);
/* The next at most cap bytes of the stream, after some megabytes of files at most; 0 = all was sent; -1 = err. Never
 * blocks on anything but the local disk. */
ssize_t sync_sender_read(struct sync_sender *s, void *bytes, size_t cap, struct err *err);
/* True if nothing is to be sent: the tree is what base says. */
bool sync_sender_empty(const struct sync_sender *s);
/* After the end: the manifest that the receiver now holds if it accepted all: `now` less the files left out. */
void sync_sender_agreed(const struct sync_sender *s, struct manifest *ret);

/* ---- receiver ---- */

enum sync_conflict { SYNC_CONFLICT_HOST, SYNC_CONFLICT_CONTAINER, SYNC_CONFLICT_FAIL };

struct sync_policy {
    /*
     * The manifest last agreed with this very peer, NULL without one: then nothing in the tree is ever deleted by a
     * deletion of the peer, and every differing file is a conflict (host), unless `replace`.
     */
    const struct manifest *ancestor;
    /*
     * Without an ancestor: what was once agreed with this very peer, which has gone on from there in a way that we do
     * not know. A file that was not touched here since is the peer's to change. NULL: none. Deletions need more.
     */
    const struct manifest *past;
    bool replace; /* container side, first push: the tree is made equal, whatever was there before is hidden */
    bool host; /* host rules for modes and owners (rule 8): rwx bits only, setuid/setgid/sticky dropped; numeric owner
                  as root, else the invoking user's */
    enum sync_conflict conflict;
    int keep_dirfd; /* directory for conflict copies and trash, -1 = none (container side). Created sub-folders are 0700
                     */
    const struct strlist *exclude;
    bool bulk_delete;   /* the user allowed it: the bulk guard of rule 3 does not apply */
    uint64_t max_bytes; /* 0: what the target's file system has free */
};

struct sync_report {
    uint64_t files, bytes, deleted, conflicts, kept_deletions, skipped;
    struct strlist *notes; /* one line each for the user ("conflict: src/a.c: the container's version is kept in ...");
                              owned; NULL when empty */
};
void sync_report_clear(struct sync_report *r);

struct sync_receiver;

struct sync_receiver *sync_receiver_new(const struct sync_tree *tree, const struct sync_policy *policy);
/* Removes temporary files that an unfinished stream left. */
void sync_receiver_free(struct sync_receiver *r);
/* Takes bytes as they come. -1: the stream is not acceptable; nothing more may be written, free it. */
int sync_receiver_write(struct sync_receiver *r, const void *bytes, size_t len, struct err *err);
/*
 * The stream has ended: checks that it was whole, then carries out what waits for the end (deletions, links,
 * directory times) and returns the manifest now agreed (to be stored as the ancestor after the data, atomically).
 */
int sync_receiver_finish(struct sync_receiver *r, struct manifest *ret_agreed, struct sync_report *ret_report,
                         struct err *err);
/* True once the stream said that it is complete (the transport may learn the end this way). */
bool sync_receiver_done(const struct sync_receiver *r);

/* ---- ancestors on disk: <dir>/<key>, written atomically; host: the state folder, agent: below /.atp/run ---- */

#define SYNC_NONCE_LEN 16

int sync_ancestor_save(int dirfd, const char *key, const uint8_t nonce[SYNC_NONCE_LEN], uint64_t generation,
                       const struct manifest *m, struct err *err);
/* Only whose it is and of which generation: a few bytes are read. 1, 0 = there is none, -1 = err. */
int sync_ancestor_mark(int dirfd, const char *key, uint8_t ret_nonce[SYNC_NONCE_LEN], uint64_t *ret_generation,
                       struct err *err);
/* 1 = loaded, 0 = there is none (or one of another version, or damaged: then it is as if there were none). */
int sync_ancestor_load(int dirfd, const char *key, uint8_t ret_nonce[SYNC_NONCE_LEN], uint64_t *ret_generation,
                       struct manifest *ret, struct err *err);

#endif
