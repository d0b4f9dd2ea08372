/*
 * What a compose file may hold, as data: for each key which kinds of value the specification takes, what docker compose
 * makes of the value, and what becomes of it here. One table (shape_table.c) drives the check of a file (schema.c),
 * the form in which the model is printed and hashed (bind.c, render.c) and the report (report.c).
 *
 * The keys of an object stand in the order in which docker compose prints them.
 */
#ifndef ATP_COMPOSE_SHAPE_H
#define ATP_COMPOSE_SHAPE_H

#include "translate/compose/compose.h"

enum shape_type {
    TYPE_STRING = 1 << 0,
    TYPE_INTEGER = 1 << 1,
    TYPE_NUMBER = 1 << 2, /* integers too */
    TYPE_BOOLEAN = 1 << 3,
    TYPE_NULL = 1 << 4,
    TYPE_ARRAY = 1 << 5,
    TYPE_OBJECT = 1 << 6
};

/* What a value is made into. Empty ones are left out of the model, unless it says "kept". */
enum form {
    FORM_NONE, /* the specification knows the key, docker compose does not: dropped */
    FORM_STRING,
    FORM_BOOL,
    FORM_BOOL_KEPT,
    FORM_INT,
    FORM_INT_KEPT,
    FORM_FLOAT,
    FORM_BYTES, /* a size: its number, as a string */
    FORM_DURATION,
    FORM_DURATION_KEPT,
    FORM_STRINGS, /* a list; one string is a list of one */
    FORM_WORDS,   /* a command: a string is split as a shell does; kept */
    FORM_TEST,    /* healthcheck.test */
    FORM_ENV,     /* a map of strings; what has no value is null */
    FORM_MAPPING, /* a map of strings; what has no value is "" */
    FORM_LISTS,   /* a map of lists of strings */
    FORM_HOSTS,   /* extra_hosts: a sorted list of name=address */
    FORM_OBJECT,  /* the shape's keys */
    FORM_OBJECT_KEPT,
    FORM_OBJECTS, /* a list of those */
    FORM_NAMED,   /* a map of those by name */
    FORM_NAMED_OR_NULL,
    FORM_ULIMITS,
    FORM_ENV_FILES,
    FORM_SSH,
    FORM_EXTERNAL,
    FORM_COUNT, /* of devices: -1 is all */
    FORM_MODE   /* of a file: octal, as a string */
};

struct shape {
    unsigned types;           /* of enum shape_type; 0: whatever one_of says */
    const struct key *keys;   /* of an object: ends with an empty row; NULL: names are free */
    const struct shape *item; /* of a list, or of an object with free names; NULL: anything */
    const char *names;        /* what free names may be: NAMES_*; others are additional properties */
    const struct shape *one_of[4];
    const char *words;    /* a|b|c: nothing else */
    const char *pattern;  /* a regular expression that the string matches somewhere */
    const char *required; /* a|b */
    long min, max;        /* of an integer, when max > min */
    bool unique;          /* no item twice */
    bool open;            /* names that are not known are let through */
    bool no_x;            /* "x-..." is not let through */
};

enum key_flag {
    KEY_ALWAYS = 1 << 0,  /* kept when it is empty */
    KEY_JSON = 1 << 1,    /* JSON has it always: null, {} */
    KEY_CAPITAL = 1 << 2, /* JSON spells it with a capital */
    KEY_PARTS = 1 << 3    /* the report speaks of the parts, not of the whole */
};

struct key {
    const char *name;
    const struct shape *shape;
    enum form form;
    unsigned flags; /* of enum key_flag */
    enum compose_verdict verdict;
    const char *reason; /* NULL: carried as Docker does */
};

extern const struct shape compose_shape; /* of a whole file */

#define NAMES_ANY   ".+"
#define NAMES_ID    "^[a-zA-Z0-9._-]+$"
#define NAMES_LOWER "^[a-z]+$"

/* The row of a key, NULL. An alternative of one_of that is an object counts. */
const struct key *shape_key(const struct shape *s, const char *name);
/* The shape itself or its alternative of a type; NULL. */
const struct shape *shape_as(const struct shape *s, unsigned type);
/* "x-something" */
bool shape_is_extension(const char *name);

#endif
