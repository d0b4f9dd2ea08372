/*
 * Go's text/template over JSON values, as docker's --format takes it: actions, pipelines, variables, if, range, with,
 * define, the built-in functions and docker's own. Texts of errors are Go's.
 *
 *     struct tmpl *t = tmpl_parse("", text, &err);            "template: :1: unclosed action"; inspect exits with 64
 *     tmpl_exec(t, data, &options, &out, &err);                "template: :1:2: executing "" at <.X>: map has no entry
 * ..."
 *
 * Docker puts "template parsing error: " (or "failed to execute template: ") in front: the caller does. JSON does not
 * know Go's types: an object is a struct or a map; one that is empty or has only strings counts as a map, where a
 * missing key is no error. Nesting, steps and output are bounded.
 */
#ifndef ATP_DOCKER_TMPL_H
#define ATP_DOCKER_TMPL_H

#include <jansson.h>
#include <stdbool.h>

struct buf;
struct err;
struct tmpl;

enum tmpl_missing {
    TMPL_MISSING_NO_VALUE, /* prints <no value> */
    TMPL_MISSING_ERROR,    /* map has no entry for key "X" (inspect) */
    TMPL_MISSING_FIELD,    /* can't evaluate field X in type T (lists, version, info) */
};

/* A field called with arguments, such as {{.Label "k"}}: returns a new reference, or NULL when there is no such method.
 */
typedef json_t *tmpl_method_fn(const char *name, const json_t *args, void *arg);

/*
 * A field that an object does not show because it is empty, though Go's type has it (State.Health): its value, a new
 * reference, or NULL when there is no such field. Asked before `missing` decides.
 */
typedef json_t *tmpl_absent_fn(const json_t *object, const char *name);

struct tmpl_options {
    enum tmpl_missing missing;
    tmpl_absent_fn *absent; /* or NULL */
    const char *type; /* the root's Go type as TMPL_MISSING_FIELD names it, or NULL */
    tmpl_method_fn *method;
    void *method_arg;
    bool headers;   /* docker's functions return their argument: for the header line of tables */
    bool html_root; /* json of the root escapes <, > and &: the rows of lists write themselves that way */
};

struct tmpl *tmpl_parse(const char *name, const char *text, struct err *err); /* NULL on error */
void tmpl_free(struct tmpl *t);
int tmpl_exec(const struct tmpl *t, json_t *data, const struct tmpl_options *options, struct buf *out, struct err *err);

#endif
