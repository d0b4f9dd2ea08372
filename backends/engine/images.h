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
 *     3 " => CACHED\n"                             instead of, or behind, the output
 *     3 " => DONE 1.2s\n"  or  3 " => ERROR <text>\n"   always one of CACHED, DONE, ERROR as the last line
 *
 * Only steps that carry something out (FROM, RUN, COPY, ADD, WORKDIR) have a label line; the others have the "=> Step"
 * line alone. Instructions come one after the other, stages in the order in which they are needed.
 */
#ifndef ATP_ENGINE_IMAGES_H
#define ATP_ENGINE_IMAGES_H

#include "compat/base/strlist.h"

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
/* Checks the digest; EBADMSG in err->code when it differs. */
int images_put_file(struct images *im, const char *sha256_hex, const void *bytes, size_t len, struct err *err);
/* The same from a file on disk (a finished blob upload), which is moved away on success. */
int images_put_file_path(struct images *im, const char *sha256_hex, const char *path, struct err *err);

struct images_mount_file {
    const char *filename; /* absolute path in the mount */
    const char *sha256_hex;
    uint32_t mode;
};
/* Registers a list of files; every one must be in the store. *ret_id is "mo-..." owned by caller, the same for the same
 * list. */
int images_put_mount(struct images *im, const struct images_mount_file *files, size_t len, char **ret_id,
                     struct err *err);
/* Directory holding the mount's files laid out (hard links into the store), for containers' mount_ids; made on first
 * use. */
int images_mount_dir(struct images *im, const char *mount_id, char **ret_dir, struct err *err);

/* ---- images ---- */

struct image_config { /* what the server runs with: the image's own configuration after all instructions */
    struct strlist entrypoint, cmd, env;
    char *workdir, *user; /* NULL = unset */
};

struct images_build {            /* borrowed for the call */
    const struct strlist *lines; /* Dockerfile lines; FROM, COPY, ADD (local tar archives are unpacked), ENV, WORKDIR,
                                    USER, ENTRYPOINT, CMD, LABEL, EXPOSE, VOLUME, STOPSIGNAL, SHELL, ARG; RUN fails with
                                    a clear text until the engine builds (issue 4) */
    const char *base_id;         /* image that "FROM base" means, or NULL */
    const char *context_mount;   /* "mo-..." or NULL */
    const struct strlist *build_args;              /* K=V */
    const char *registry_user, *registry_password; /* for the FROM, NULL = anonymous */
    bool force;
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
/* Log lines from index on (borrowed until the image is freed). */
const struct strlist *images_log(struct images *im, const char *id);
void images_on_change(struct images *im, void (*fn)(const char *image_id, void *arg), void *arg);

/* A READY image: layer directories topmost first, and its configuration; borrowed until the next call into the store.
 */
int images_layers(struct images *im, const char *id, struct strlist *ret_dirs, struct err *err);
const struct image_config *images_configuration(struct images *im, const char *id);

/* Named images: "name:tag". */
int images_publish(struct images *im, const char *id, const char *tag, struct err *err);
char *images_by_tag(struct images *im, const char *tag); /* image id owned by caller, or NULL */
/* Calls fn for every tag ("name:tag") with its image. */
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
