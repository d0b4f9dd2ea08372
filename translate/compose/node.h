/*
 * A value of a compose file: what YAML had, with the place where it stood. Files are read into such trees, variables
 * are put in, trees are laid over one another, and the result is the model that everything else reads (compose.h).
 *
 * A tree owns its strings and its children. Maps keep the order in which the keys were written, unless somebody sorts
 * them; keys change only through the functions below, since large maps are indexed. A scalar's kind says what compose's
 * YAML library takes the word for, and `text` is the value as compose prints it: 0644 and 0x1a4 are an INT "420", 1.50
 * a FLOAT "1.5", True a BOOL "true"; a string is what was written (yaml.c, scalar.c).
 */
#ifndef ATP_COMPOSE_NODE_H
#define ATP_COMPOSE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cnode_kind { CNODE_NULL, CNODE_BOOL, CNODE_INT, CNODE_FLOAT, CNODE_STRING, CNODE_LIST, CNODE_MAP };

enum cnode_tag { CNODE_PLAIN, CNODE_RESET, CNODE_OVERRIDE }; /* !reset and !override, for who merges */

struct cnode {
    enum cnode_kind kind;
    enum cnode_tag tag;
    char *text;           /* of a scalar; of CNODE_NULL: NULL */
    struct cnode **items; /* LIST and MAP */
    char **keys;          /* MAP: keys[i] belongs to items[i] */
    size_t len, size;
    struct cnode_index *index; /* node.c's own */
    const char *file;          /* where it stood: lives as long as the process (compose_file_name()), or NULL */
    int line, column;          /* from 1; 0: it was made, not read */
};

/* A copy of a file's name that lives as long as the process; the same for the same name. */
const char *compose_file_name(const char *name);

struct cnode *cnode_new(enum cnode_kind kind);
struct cnode *cnode_string(const char *text);
struct cnode *cnode_int(int64_t value);
struct cnode *cnode_bool(bool value);
void cnode_free(struct cnode *n); /* NULL is fine */
struct cnode *cnode_copy(const struct cnode *n);
/* The same place as another one: what was made out of it is blamed on it. */
void cnode_place(struct cnode *n, const struct cnode *from);

/* ---- maps: the value is taken ---- */
struct cnode *cnode_get(const struct cnode *map, const char *key); /* borrowed; NULL: not there, or no map */
/* a.b.c; keys with dots cannot be named so */
struct cnode *cnode_path(const struct cnode *map, const char *path);
void cnode_set(struct cnode *map, const char *key, struct cnode *value); /* replaces in place, or adds at the end */
struct cnode *cnode_take(struct cnode *map, const char *key);            /* out of the map; owned by caller */
/* The value, owned by caller; the key stays where it is and must be set again. */
struct cnode *cnode_take_value(struct cnode *map, const char *key);
void cnode_remove(struct cnode *map, const char *key);
void cnode_sort(struct cnode *map); /* by key, bytes */

/* ---- lists ---- */
void cnode_add(struct cnode *list, struct cnode *value);
void cnode_list_remove(struct cnode *list, size_t i);

/* Changes what two lists, or two maps, hold. */
void cnode_swap_children(struct cnode *a, struct cnode *b);

/* ---- reading ---- */
bool cnode_is(const struct cnode *n, enum cnode_kind kind);      /* NULL is nothing */
const char *cnode_text(const struct cnode *n);                   /* of a scalar, else NULL */
const char *cnode_str(const struct cnode *map, const char *key); /* the scalar's text, NULL if there is none */
bool cnode_true(const struct cnode *map, const char *key);       /* it is there and true */
int64_t cnode_number(const struct cnode *map, const char *key, int64_t otherwise);
bool cnode_same(const struct cnode *a, const struct cnode *b); /* kind, text and children; places do not count */

#endif
