/* What the parts of COPY and ADD share; nobody else includes it. */
#ifndef ATP_ENGINE_IMG_COPY_H
#define ATP_ENGINE_IMG_COPY_H

#include "backends/engine/img_source.h"
#include "backends/engine/img_step.h"

struct img_writer;

/* One thing to copy: a place in a source. */
struct copy_item {
    const struct img_source *source;
    char *path; /* absolute, links not followed: its last component is the name of a file's copy */
    bool unpack;
};

struct copy_link { /* a file of several names that was copied under its first one */
    struct copy_link *next;
    dev_t dev;
    ino_t ino;
    char *path; /* in the layer */
};

struct copy_parent { /* a directory of the source above what is looked at */
    char *path;      /* from where the walk began */
    struct stat st;
    bool done; /* it is in the layer */
};

#define COPY_LINK_SLOTS 1024u

/* One COPY or ADD under way. */
struct copying {
    struct img_build *b;
    const struct df_step *step;
    struct img_source source;   /* the context, or --from */
    struct img_source *folders; /* of here-documents and downloads */
    size_t folders_len;
    struct strlist tmp; /* to be removed */
    struct copy_item *items;
    size_t items_len;
    struct strlist includes; /* --parents */
    struct strlist excludes; /* --exclude */
    struct img_view *below;  /* the layers so far */
    uid_t uid;
    gid_t gid;
    bool own;               /* --chown was said */
    const char *mode_words; /* --chmod in words, NULL = not said so */
    long mode;              /* --chmod, -1 = not said */
    char *dest;             /* absolute and clean */
    bool dest_dir;          /* it was written as a directory */
    struct timespec now;

    /* while the layer is made */
    struct img_writer *w;
    struct img_view *so_far; /* the layer and those below */

    /* of the item at work */
    const struct copy_item *item;
    const char *real;      /* its path, links followed */
    const char *target;    /* relative, links followed */
    struct digest *digest; /* what is met goes here instead of into the layer; NULL = into the layer */
    struct copy_parent *parents;
    size_t parents_len;
    struct copy_link *links[COPY_LINK_SLOTS];
};

/* ---- img_copy_walk.c ---- */

/* Walks the item: its entries go into the digest, or to target (relative, links followed) in the layer. */
int copy_walk(struct copying *c, const struct copy_item *item, const char *real, const char *target, struct err *err);
/* Makes path and the directories above it that are missing, as COPY makes them. */
int copy_mkdirs(struct copying *c, const char *path, struct err *err);
/* Whether --exclude names the path, which is relative to what is copied. */
bool copy_excluded(const struct copying *c, const char *path);
void copy_forget_links(struct copying *c);

/* ---- img_fetch.c ---- */

bool copy_is_url(const char *word);
bool copy_is_git(const char *word);
/* ADD of a URL: a new folder (owned by caller) with the file in it. */
int copy_fetch(struct copying *c, const char *url, char **ret_folder, char **ret_name, struct err *err);

#endif
