/*
 * What a build consists of before anything is sent: the parsed Dockerfile, the stages that the target needs, what the
 * names behind FROM and --from= mean, the steps as progress shows them, the files that they use, and the configuration
 * that will come out.
 */
#ifndef ATP_SHIM_BUILD_PLAN_H
#define ATP_SHIM_BUILD_PLAN_H

#include "shim/build/context.h"
#include "shim/build/source.h"
#include "shim/catalog.h"
#include "translate/dockerfile/stages.h"

#include <jansson.h>

struct app;
struct board;
struct build_request;
struct err;

/* A word behind FROM or --from= that is no stage. */
struct build_image {
    char *word;    /* as the Dockerfile has it */
    char *meaning; /* what is looked up: the word, or what --build-context says; NULL: a directory */
    struct catalog_base base;
    struct build_source source; /* of a --build-context that is a directory, an archive... */
    struct build_context files;
    bool is_source;
};

struct build_step {
    char *name; /* "[stage-1 2/4] RUN x" */
    char *shown;
    size_t stage, number, of; /* number in its stage, FROM is 1 */
    size_t vertex;            /* of the board */
    int line, last_line;
    size_t use;  /* of the main context; BUILD_NO_USE */
    bool copies; /* COPY or ADD */
};

#define BUILD_NO_USE ((size_t)-1)

/* An instruction of the file that takes files of the context: what has to be changed in it when a mount cannot hold
 * them. */
struct build_taker {
    size_t instruction; /* index into file.items */
    size_t use;
    size_t step;
    bool is_run, archives; /* archives: an ADD with a file that it unpacks */
    struct strlist sources;
};

struct build_plan {
    const struct build_request *request;
    struct build_source source;
    struct df_build file;
    bool parsed;
    size_t target;
    bool *needed;
    struct build_image *images;
    size_t images_len;
    struct build_context files;
    size_t files_vertex; /* of the board: runs until the files are sent; BUILD_NO_USE */
    json_t **configs;    /* of each needed stage after its walk */
    struct build_step *steps;
    size_t steps_len;
    struct build_taker *takers;
    size_t takers_len;
    struct strlist secrets; /* ids that RUN --mount=type=secret asks for */
    struct strlist notes;
};

/* Everything up to the point where files are read; what is shown meanwhile goes to the board. */
int build_plan_make(struct app *app, const struct build_request *r, struct board *board, struct build_plan *ret,
                    struct err *err);
void build_plan_clear(struct build_plan *p);

/* "Dockerfile:3" and the lines around it, as BuildKit shows where a failure is. Owned by caller. */
char *build_plan_excerpt(const struct build_plan *p, int line, int last_line);

/* ---- lines.c ---- */

struct modal_mount_file;

/* What a server gets: the lines, and the files of the mount that they copy from. */
struct build_upload {
    struct strlist lines;
    struct strlist remotes; /* of files, in the same order */
    struct modal_mount_file *files;
    size_t len;
    struct strlist paths; /* of files on this machine, and the bytes of tars: kept for files */
    struct strlist notes;
    uint64_t bytes;
};
void build_upload_clear(struct build_upload *u);

/* engine: the server is ours, which carries out what others may not. */
int build_upload_make(const struct build_plan *p, bool engine, struct build_upload *ret, struct err *err);

#endif
