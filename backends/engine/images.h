/*
 * The engine's images: a content-addressed store of files (what MountPutFile and blobs bring), layers (directories made
 * from registry layers and COPY instructions) and images (a chain of layers and a configuration). Images are built as
 * Modal builds them: a list of Dockerfile lines, the first a FROM, with a context mount (protocol 3.2). Builds run in
 * threads of their own; callbacks come on the loop, and every function but images_has_file() and images_put_file*()
 * belongs to its thread.
 *
 * Two builds of one definition at a time do the work once. A crash leaves old or complete layers only.
 *
 * The log of a build. An item is one piece: its first character is the descriptor ('1' and '2' what a RUN wrote, '3'
 * the builder's own remarks), the rest is text as it is sent, with its newline where it has one. Pieces of 1 and 2 are
 * what the process wrote, cut at LIMIT_BUILD_PIECE bytes, valid UTF-8. Pieces of 3 are whole lines. An instruction is
 *
 *     3 "=> Step 4: RUN make\n"                    as Modal's builder has it; counted from 0 (the first FROM)
 *     3 " => [build 2/5] RUN make\n"               stage name (or "stage-0"), number and count in it, what is shown
 *     1, 2                                         its output
 *     3 "<12 hex digits>: Pulling fs layer\n"      and the rest of a pull's words, under FROM and COPY --from
 *     4 "<12 hex digits>: Downloading 123/4567"    bytes so far, some four times a second; sent as task_progress
 *     3 " => CACHED\n"                             instead of, or behind, the output
 *     3 " => DONE 1.2s\n"  or  3 " => ERROR <text>\n"   always one of CACHED, DONE, ERROR as the last line
 *
 * Only steps that carry something out (FROM, RUN, COPY, ADD, WORKDIR) have a label line; the others have the "=> Step"
 * line alone. Instructions come one after the other, stages in the order in which they are needed.
 */
#ifndef ATP_ENGINE_IMAGES_H
#define ATP_ENGINE_IMAGES_H

#include "compat/base/strlist.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct err;
struct images;

struct images_config {
    const char *dir;               /* private folder, exists */
    const struct strlist *mirrors; /* "docker.io=localhost:5000": pulls for the left host go to the right one */
};

struct images *images_new(uv_loop_t *loop, const struct images_config *config, struct err *err);
void images_free(struct images *im);

/* ---- files by SHA-256 (hex, 64) ---- */

bool images_has_file(struct images *im, const char *sha256_hex);
/* A descriptor to read it from; -1. */
int images_open_file(struct images *im, const char *sha256_hex, struct err *err);
/* Checks the digest; EBADMSG in err->code when it differs. */
int images_put_file(struct images *im, const char *sha256_hex, const void *bytes, size_t len, struct err *err);
/* The same from a file on disk (a finished blob upload), which is moved away on success. */
int images_put_file_path(struct images *im, const char *sha256_hex, const char *path, struct err *err);

struct images_mount_file {
    const char *filename; /* absolute path in the mount */
    const char *sha256_hex;
    uint32_t mode;
    int64_t mtime_ns; /* 0 = not told: what is copied from it gets the time of the copy */
};
/* Registers a list of files; every one must be in the store. *ret_id is "mo-..." owned by caller, the same for the same
 * list. */
int images_put_mount(struct images *im, const struct images_mount_file *files, size_t len, char **ret_id,
                     struct err *err);
/* Directory holding the mount's files laid out (hard links into the store), for containers' mount_ids; made on first
 * use. */
int images_mount_dir(struct images *im, const char *mount_id, char **ret_dir, struct err *err);

/* ---- what carries out RUN ---- */

/* One thing that a RUN finds at target. */
struct images_run_mount {
    enum { IMAGES_RUN_LAYERS, IMAGES_RUN_DIR, IMAGES_RUN_TMPFS, IMAGES_RUN_FILE } kind;
    const char *target;           /* absolute; made when it is not there */
    bool read_write;              /* LAYERS: what is written is thrown away */
    const struct strlist *lowers; /* LAYERS: directories, topmost first */
    const char *source;           /* LAYERS: a path in them, without links, "" = all; DIR: a directory of ours */
    uint64_t size;                /* TMPFS: at most so many bytes, 0 = as the system has it */
    const void *bytes;            /* FILE: its contents, which touch no disk */
    size_t len;
    mode_t mode; /* FILE */
    uid_t uid;
    gid_t gid;
};

enum images_run_network { IMAGES_RUN_OPEN, IMAGES_RUN_NONE, IMAGES_RUN_HOST };

struct images_run { /* borrowed for the call */
    const struct strlist *lowers, *args, *env;
    const char *workdir, *hostname, *hosts; /* hosts: the text of /etc/hosts */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t groups_len;
    enum images_run_network network;
    const struct images_run_mount *mounts;
    size_t mounts_len;
    const char *upper; /* what the process changed is moved here: a path that does not exist, on the store's disk */
    void (*output)(int fd, const char *bytes, size_t len, void *arg); /* in any thread, one call at a time */
    void *arg;
    const atomic_bool *cancelled; /* looked at all the time; the process is killed */
};

/*
 * Called in a build's thread, which waits. 0: the process has ended, *ret_code as a shell says it, all output was given
 * out and upper is there. -1: it could not be started, or was cancelled; nothing of the call is used any more then.
 */
typedef int images_run_fn(const struct images_run *run, int *ret_code, void *arg, struct err *err);

/* Without it a RUN fails. Before the first build. */
void images_set_runner(struct images *im, images_run_fn *run, void *arg);

/* ---- images ---- */

struct image_config { /* what the server runs with: the image's own configuration after all instructions */
    struct strlist entrypoint, cmd, env;
    char *workdir, *user; /* NULL = unset */
};

struct images_base {
    const char *name; /* what FROM or --from= says */
    const char *id;
};

struct images_build {                /* borrowed for the call */
    const struct strlist *lines;     /* a Dockerfile, see translate/dockerfile/stages.h */
    const struct images_base *bases; /* images by name; any other name is a registry's */
    size_t bases_len;
    const char *context_mount;        /* "mo-..." or NULL */
    const struct strlist *build_args; /* K=V */
    /*
     * K=V for RUN, no part of images or of cache keys but for the names. ATP_SECRET_<id in hex> holds the base64 of a
     * secret for RUN --mount=type=secret and is no variable; the others are variables of every RUN.
     */
    const struct strlist *secrets;
    const struct strlist *add_hosts;               /* "host:ip" for RUN's /etc/hosts */
    const struct strlist *labels;                  /* K=V for the configuration, no part of its history; may be NULL */
    const char *registry_user, *registry_password; /* for the FROM, NULL = anonymous */
    bool force;                                    /* every step is carried out again */
};

struct images_snapshot {     /* borrowed for the call */
    const char *base_id;     /* the image that the container runs on, which is held; it may be deleted */
    const char *upper;       /* the container's changes: an overlay's upper directory, in use or not */
    const char *key;         /* who asks with the same key gets the same image */
    int64_t ttl_secs;        /* the image is deleted then; -1 = never */
    void (*done)(void *arg); /* called once, later: upper is not read any more */
    void *arg;
};

enum images_state { IMAGES_BUILDING, IMAGES_READY, IMAGES_FAILED };

/*
 * The id ("im-" + 22 characters) is known at once and is the same for the same definition while it is cached. Progress
 * is read with images_log() and announced by on_change (called on the loop after every new log line and state change).
 */
int images_build(struct images *im, const struct images_build *build, char **ret_id, struct err *err);
/*
 * An image of a running container: the layers of its image and one of its changes, with the image's configuration.
 * Built like any other, in a thread: BUILDING, then READY or FAILED. done is not called when -1 is returned.
 */
int images_snapshot(struct images *im, const struct images_snapshot *snapshot, char **ret_id, struct err *err);
/* The image that was made, or is being made, with this key; owned by caller, NULL = none. */
char *images_by_key(struct images *im, const char *key);
/* Gives up every build and snapshot under way and waits for their threads: nothing outside is read any more. */
void images_stop(struct images *im);
/* -1: no such image. For FAILED *ret_error (borrowed) is one line. */
int images_state(struct images *im, const char *id, enum images_state *ret, const char **ret_error);
/*
 * Who waits for a build says so: one that nobody has waited for in LIMIT_BUILD_LONELY ms is given up, since its client
 * is gone and it may never end by itself. Each follow has its unfollow; an image that is not there is passed over. True
 * for the first: it has the log coming to it, however soon the build was over.
 */
bool images_follow(struct images *im, const char *id);
void images_unfollow(struct images *im, const char *id);
/* Log lines from index on (borrowed until the image is freed). */
const struct strlist *images_log(struct images *im, const char *id);
void images_on_change(struct images *im, void (*fn)(const char *image_id, void *arg), void *arg);

/* A READY image: layer directories topmost first, and its configuration; borrowed until the next call into the store.
 */
int images_layers(struct images *im, const char *id, struct strlist *ret_dirs, struct err *err);
const struct image_config *images_configuration(struct images *im, const char *id);

/*
 * Named images: "environment/name:tag" means the image that was published last under it, which is its newest revision.
 * Publishing the same image again changes nothing. A name goes with its image.
 */
struct images_revision {                /* borrowed until the name changes */
    const char *image_id, *revision_id; /* "ir-..." */
    int64_t made;                       /* milliseconds since 1970 */
};
int images_publish(struct images *im, const char *id, const char *tag, struct err *err);
char *images_by_tag(struct images *im, const char *tag); /* image id owned by caller, or NULL */
/* The revision number n, 0 being the newest; false: there is none. */
bool images_revision(struct images *im, const char *tag, size_t n, struct images_revision *ret);
/* Calls fn for every tag with its image, in the order of their bytes. */
void images_each_tag(struct images *im, void (*fn)(const char *tag, const char *id, void *arg), void *arg);
int images_delete(struct images *im, const char *id, struct err *err); /* layers that nothing else uses go with it */
/* Keeps a READY image's layers on the disk while a container runs on them, even when the image is deleted meanwhile. */
int images_hold(struct images *im, const char *id, struct err *err);
void images_release(struct images *im, const char *id);
/* Bytes on the disk of all the layers that the image stands on; -1: no such image, or not READY. */
int64_t images_size(struct images *im, const char *id);
/* The image's OCI configuration (JSON text, borrowed until the image is freed); NULL unless READY. */
const char *images_oci_config(struct images *im, const char *id);

#endif
