/*
 * A Dockerfile as a build: its stages, which of them a target needs, and what each instruction of a stage asks for once
 * variables are put in. Pure: the engine carries the steps out, the client walks the same file to learn what has to be
 * uploaded and what configuration will come out. What BuildKit's frontend (dockerfile 1.x, versions 0.29 to 0.34) does
 * decides.
 *
 *     df_build_open(lines, build_args, &b, &err);      parses all of it; errors that need no files are found
 *     df_build_target(&b, "final", &target, &err);     NULL or "": the last stage
 *     df_build_needed(&b, target, needed, &err);
 *     for each needed stage, in order:
 *         w = df_walk_new(&b, stage, config, &err);    config: the base's, changed in place
 *         while (df_walk_next(w, &step, &err) > 0) { ...; df_walk_done(w, &step, created); df_step_clear(&step); }
 *         df_walk_free(w);
 *
 * A stage that stands on another one of the file inherits its ARGs: walk that one first, with the same df_build, up to
 * its end. Different stages may be walked by different threads.
 *
 * Error texts are BuildKit's ("dockerfile parse error on line 3: unknown instruction: FOO"); those that belong to a
 * line begin so even where BuildKit shows the line another way, and have its number in err->code.
 */
#ifndef ATP_TRANSLATE_DOCKERFILE_STAGES_H
#define ATP_TRANSLATE_DOCKERFILE_STAGES_H

#include "compat/base/strlist.h"
#include "translate/dockerfile/parse.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define DF_NO_STAGE ((size_t)-1)

struct df_stage {
    int line;
    char *name;          /* lower case; NULL = none was given */
    char *base;          /* the word behind FROM, variables put in: a reference, "scratch", or a stage's name */
    size_t base_stage;   /* the earlier stage that base means, else DF_NO_STAGE */
    char *platform;      /* --platform, variables put in; NULL = not said */
    size_t first, count; /* instructions behind FROM, indexes into file.items */
};

struct df_build {
    struct df_file file;
    struct df_stage *stages;
    size_t len;
    struct strlist build_args;  /* K=V, as given */
    struct strlist global_args; /* K=V: the predefined ones (TARGETARCH...) and ARG lines before the first FROM */
    struct strlist unused_args; /* names of build_args that no ARG declares (proxies and the predefined are none) */
    struct strlist warnings; /* "LegacyKeyValueFormat: ... (line 3)": what BuildKit's linter would say; may be empty */
    struct df_stage_end *ends; /* private: where walks of stages ended */
    size_t text;               /* private: bytes of global_args so far */
};

/* build_args: "K=V", or "K" for one whose value the caller did not know (it is then as if it was not given). */
int df_build_open(const struct strlist *lines, const struct strlist *build_args, struct df_build *ret, struct err *err);
/* The same when --target is known: $TARGETSTAGE has it (else the last stage's name). target may be NULL. */
int df_build_open_for(const struct strlist *lines, const struct strlist *build_args, const char *target,
                      struct df_build *ret, struct err *err);
void df_build_clear(struct df_build *b);

/* By name (without regard to case) or number; NULL or "" is the last one. `target stage "x" could not be found`. */
int df_build_target(const struct df_build *b, const char *target, size_t *ret, struct err *err);
/* needed[i] for each stage: those that target stands on or copies from, itself included. */
int df_build_needed(const struct df_build *b, size_t target, bool *needed, struct err *err);
/*
 * "[stage-1 2/5]"'s parts: the name or "stage-N" ("" when the file has one stage and uses no other, then it is
 * "[2/5]"), and how many steps progress counts: FROM of an image is 1, then RUN, COPY, ADD and WORKDIR (not those of a
 * base's ONBUILD).
 */
char *df_stage_label(const struct df_build *b, size_t stage); /* owned by caller */
size_t df_stage_steps(const struct df_build *b, size_t stage);

/* ---- what instructions ask for ---- */

enum df_kind {
    DF_RUN,
    DF_COPY,
    DF_ADD,
    DF_WORKDIR, /* the directory has to exist */
    DF_CONFIG,  /* the configuration alone has changed: nothing to carry out, but a line of history and of progress */
};

enum df_mount_type { DF_MOUNT_BIND, DF_MOUNT_CACHE, DF_MOUNT_TMPFS, DF_MOUNT_SECRET, DF_MOUNT_SSH };
enum df_sharing { DF_SHARED, DF_PRIVATE, DF_LOCKED };

struct df_mount { /* RUN --mount; strings are NULL when not said, variables are put in */
    enum df_mount_type type;
    char *id;   /* cache: its name (the target by default); secret, ssh: which one */
    char *from; /* bind, cache: a stage or an image, else the context (bind) or nothing (cache) */
    size_t from_stage;
    char *source; /* bind, cache: path in from */
    char *target; /* absolute; secret with env only: NULL */
    char *env;    /* secret: the variable that holds it */
    bool read_write, required;
    enum df_sharing sharing;
    int64_t size; /* tmpfs; 0 = not said */
    int32_t mode; /* cache, secret; -1 = not said */
    int64_t uid, gid;
};

struct df_inline { /* a here-document: a file of COPY (mode 0644), or RUN's script that begins with "#!" (mode 0755): it
                      has to be /dev/pipes/<name>, read-only, while the command runs */
    char *name;    /* one name, no path */
    char *data;    /* variables put in unless its word was quoted */
};

struct df_step { /* owned; what does not belong to the kind is empty */
    enum df_kind kind;
    int line, last_line; /* of the file, counted from 1; FROM's for a base's ONBUILD */
    size_t instruction;  /* index into file.items; FROM's for a base's ONBUILD */
    bool onbuild;        /* it comes from the base image */
    char *shown;         /* as progress shows it: "RUN apt-get update" */
    char *created_by;    /* as history shows it: "RUN /bin/sh -c apt-get update # buildkit" */
    bool empty_layer;

    struct strlist argv; /* RUN: complete, the shell's words and an inline's path included */
    struct strlist env;  /* RUN: ENV, and ARG for those that ENV does not name */
    char *user;     /* USER so far; NULL = root (COPY does not look at it, WORKDIR's new directory belongs to it) */
    char *workdir;  /* RUN, COPY, ADD: WORKDIR so far, "/" at least; WORKDIR: the new one, absolute and clean */
    char *network;  /* RUN --network: "default", "none", "host" */
    char *security; /* RUN --security: "sandbox", "insecure" */
    struct df_mount *mounts;
    size_t mounts_len;
    struct df_inline *inlines;
    size_t inlines_len;

    struct strlist sources; /* COPY, ADD: variables put in; not those in inlines */
    char *dest;             /* as written */
    char *from;             /* COPY --from: a name; NULL = the context */
    size_t from_stage;      /* the stage that it means, else DF_NO_STAGE */
    char *chown, *chmod;
    bool link, parents, keep_git_dir;
    struct strlist excludes; /* --exclude */
    char *checksum;          /* ADD --checksum */
    int unpack;              /* ADD --unpack: 1, 0, -1 = not said */
};
void df_step_clear(struct df_step *s);

struct df_walk;

/*
 * config: an OCI image configuration (borrowed, changed in place: "config" and, by df_walk_done(), "history"); for
 * FROM scratch df_config_new(). Its own ONBUILD triggers are taken out and walked first.
 */
struct df_walk *df_walk_new(const struct df_build *b, size_t stage, json_t *config, struct err *err);
void df_walk_free(struct df_walk *w);
/* 1 = *ret is the next step, 0 = the stage has ended, -1 = err (with "dockerfile parse error on line N: ..." or
 * BuildKit's words). */
int df_walk_next(struct df_walk *w, struct df_step *ret, struct err *err);
/* Writes the step into the configuration's history. created: RFC 3339, or NULL for none. */
void df_walk_done(struct df_walk *w, const struct df_step *s, const char *created);

/* Every name behind FROM and --from= that is no stage and not "scratch", once each, in order of appearance, for the
 * needed stages. Steps of base images' ONBUILD lines are not seen here. */
int df_build_images(const struct df_build *b, const bool *needed, struct strlist *ret, struct err *err);

/*
 * The same Dockerfile with other words, for a server: only the needed stages; names behind FROM and --from= are
 * replaced (names: "word=replacement" pairs; replacement of FROM may be anything, e.g. "docker.io/library/x@sha256:..."
 * or "base"); numbers of stages become names; `extra` lines ("LABEL a=b") are put behind the target stage, which is the
 * last. Here-documents, comments on directives and line numbers of error texts stay as they are where they can.
 */
int df_build_rewrite(const struct df_build *b, size_t target, const struct strlist *names, const struct strlist *extra,
                     struct strlist *ret_lines, struct err *err);

#endif
