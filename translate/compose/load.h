/*
 * The loader's own seams: from the text of a file to one merged tree. Everything here works on one load (struct
 * loader), which keeps the variables, the warnings and what may still be made: each ceiling holds for all files of a
 * load together, so neither aliases nor `extends` nor `include` multiply without end.
 *
 * The order for one document is compose's: variables, `extends`, what !reset and !override take away from the files
 * before, `include`, laid over those files, repeated entries dropped, checked, made canonical.
 */
#ifndef ATP_COMPOSE_LOAD_H
#define ATP_COMPOSE_LOAD_H

#include "translate/compose/compose.h"

struct buf;
struct err;

struct loader {
    const struct compose_input *in;
    struct strlist *warnings;
    size_t nodes_left; /* values that may still be made out of files, aliases and extended services */
    size_t text_left;  /* bytes that variables may still put in */
    size_t files_left; /* files that may still be read */
};

/* Where files are looked for and what variables are: changes with each `include`. */
struct scope {
    const char *dir;       /* absolute: the project's folder, or the one of the including file's `project_directory` */
    const char *shown_dir; /* the same as paths are joined to it: maybe relative to the including file's folder */
    const struct cnode *env; /* a map of strings */
    bool resolve_paths;      /* relative paths are joined to shown_dir once all files are in */
};

/* ---- yaml.c, scalar.c ---- */

struct yaml_doc {
    struct cnode *root;  /* NULL: the document is empty. Aliases and merge keys are carried out. */
    struct strlist cuts; /* paths that !reset and !override stood at: what other files have there goes away */
};
struct yaml_docs {
    struct yaml_doc *items;
    size_t len;
};
#define YAML_DOCS_INIT                                                                                                 \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }
void yaml_docs_clear(struct yaml_docs *d);

/* What kind of fault yaml_parse() found (err->code), since compose comes upon them at different times. */
enum yaml_fault {
    YAML_VALUE = 1, /* while values are made */
    YAML_SYNTAX,    /* while the first document is read */
    YAML_TOP_KEY,   /* a key of the first document that is there twice */
    YAML_KEY        /* a key that is no string */
};
/* Values made are taken off *nodes_left. Errors name the line, not the file: "yaml: line 3: ...". */
int yaml_parse(const char *file, const char *text, size_t len, size_t *nodes_left, struct yaml_docs *ret,
               struct err *err);

/* The kind of an unquoted word, and its text as compose prints it (owned by caller; NULL for CNODE_NULL). */
enum cnode_kind scalar_resolve(const char *word, char **ret_text);
/* As Go prints a float of 64 or 32 bits with %v. */
char *scalar_float(double value, bool single);

/* ---- interpolate.c, cast.c ---- */

/* Puts variables into every string of a file's tree, then makes numbers and booleans of the values that are to be. */
int interpolate(struct loader *l, struct cnode *tree, const struct cnode *env, struct err *err);

/* Where variables of a text come from; NULL: not set. */
typedef const char *lookup_fn(const void *arg, const char *name);
/*
 * One text. -1: err->code is INTERPOLATE_FORMAT for a text that is not one (the message is the template), else 0.
 * warnings: NULL for silence.
 */
#define INTERPOLATE_FORMAT 1
int interpolate_text(const char *text, lookup_fn *lookup, const void *arg, struct strlist *warnings, size_t *text_left,
                     char **ret, struct err *err);
/* Casts a string as the key at `path` wants it; other keys stay. */
int cast_value(struct loader *l, const char *const *path, size_t len, struct cnode *value, struct err *err);

/* Whether a path is that of a pattern: parts with dots between them, "*" for any key, "[]" for any item. */
bool path_matches(const char *const *path, size_t len, const char *pattern);

/* ---- dotenv.c ---- */

/*
 * Reads the text of an env file over `vars` (a map of strings). Variables in it come from `first`, then from what the
 * file and `vars` have. Errors: "line 2: ...".
 */
int dotenv_parse(const char *text, lookup_fn *lookup, const void *arg, struct cnode *vars, struct strlist *warnings,
                 size_t *text_left, struct err *err);
/* Files in order, each must be one; `current` wins where the files use variables. */
int dotenv_files(struct loader *l, const struct cnode *current, const struct strlist *files, struct cnode *vars,
                 struct err *err);
const char *lookup_map(const void *map, const char *name); /* a lookup_fn */

/* ---- merge.c, unicity.c, cuts.c ---- */

/* Lays `over` on `base` (both are taken); path is where they stand: "", "services.x". NULL with err. */
int merge_trees(struct cnode *base, struct cnode *over, const char *path, struct cnode **ret, struct err *err);
/* Repeated entries of lists that are sets: the last one stays, at the place of the first. */
int unicity_enforce(struct cnode *tree, struct err *err);
void cuts_apply(const struct strlist *cuts, struct cnode *tree);
/* Entries that say nothing, where they would mean nothing. */
void omit_empty(struct cnode *tree);

/* ---- extends.c, include.c, file.c ---- */

/* Services that were met on the way, for circles. */
struct trail {
    const struct trail *before;
    const char *file, *service;
};
int extends_apply(struct loader *l, const struct scope *scope, const char *file, struct cnode *tree,
                  const struct strlist *cuts, struct err *err);

/* Files that include one another. */
struct included {
    const struct included *before;
    const char *file;
};
int include_apply(struct loader *l, const struct scope *scope, struct cnode *tree, const struct included *included,
                  struct err *err);

struct file_flags {
    bool no_extends, no_include, no_check;
};
/* Lays a file over *tree (NULL: there was none). text: NULL when it is to be read. last_cuts: of its last document,
 * NULL when nobody asks. */
int file_load(struct loader *l, const struct scope *scope, const char *name, const char *text, struct file_flags flags,
              const struct included *included, struct cnode **tree, struct strlist *last_cuts, struct err *err);
/* All files of a scope over one another, with defaults, checked, with paths. texts: NULL, or one for each name. */
int files_load(struct loader *l, const struct scope *scope, const struct strlist *names, char *const *texts,
               const struct included *included, struct cnode **ret, struct err *err);
/* Compose files of registries and of git are not read: an error that says so. */
int file_check_local(const char *path, struct err *err);
/* A file's text, owned by caller; errors as the operating system's through Go. */
char *file_read(struct loader *l, const char *path, struct err *err);

/* ---- path.c: as Go's path/filepath; see compat/base/paths.h too ---- */

char *path_join(const char *dir, const char *path); /* clean; an absolute path is put below dir as well */
char *path_dir(const char *path);
char *path_relative(const char *base, const char *path); /* both absolute, or both not */
const char *path_base(const char *path);                 /* of a clean path */

/* ---- find.c ---- */

char *project_name_normalize(const char *name); /* "My Project" -> "myproject" */
int project_name_check(const char *name, struct err *err);

#endif
