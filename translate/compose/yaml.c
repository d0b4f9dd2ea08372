/*
 * From the text of a YAML file to trees of values. Events are read one by one, so that every ceiling holds before
 * memory is taken; aliases are copies. When a document is whole, merge keys are carried out and !reset and !override
 * are noted.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/load.h"
#include "translate/compose/yaml.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

#define MERGE_KEY "<<"
#define YAML_TAG  "tag:yaml.org,2002:"

/* A list or map whose end was not met yet. */
struct open {
    struct cnode *node;
    struct cnode *lines; /* of a map: the line of each key */
    char *key;           /* of a map: read, its value is not */
};

struct reader {
    const char *file;
    struct fy_parser *parser;
    struct open stack[LIMIT_COMPOSE_DEPTH];
    size_t depth;
    struct cnode *anchors; /* by name: the place in anchored */
    struct cnode **anchored;
    size_t anchored_len;
    struct cnode *root;
    size_t docs;           /* that are whole */
    size_t total, aliased; /* values made, and those of them that are copies */
    size_t *nodes_left;
    struct err *err;
};

static void reader_clear_document(struct reader *r)
{
    for (size_t i = 0; i < r->depth; i++) {
        free(r->stack[i].key);
        cnode_free(r->stack[i].lines);
    }
    cnode_free(r->anchors);
    free(r->anchored);
    cnode_free(r->root);
    r->anchors = r->root = NULL;
    r->anchored = NULL;
    r->anchored_len = r->depth = 0;
}

void yaml_docs_clear(struct yaml_docs *d)
{
    for (size_t i = 0; i < d->len; i++) {
        cnode_free(d->items[i].root);
        strlist_clear(&d->items[i].cuts);
    }
    free(d->items);
    *d = (struct yaml_docs){0};
}

/* Which kind of fault it is, for who puts words around it. */
static int say(struct reader *r, enum yaml_fault fault)
{
    if (r->err)
        r->err->code = fault;
    return -1;
}

static int too_many(struct reader *r)
{
    return err_set(r->err, 1, "yaml: more than %u values", LIMIT_COMPOSE_NODES);
}

/* Takes n values off what may still be made. */
static int account(struct reader *r, size_t n)
{
    r->total += n;
    if (n > *r->nodes_left)
        return too_many(r);
    *r->nodes_left -= n;
    return 0;
}

/* The place of the event, from 1. */
static void mark(const struct reader *r, struct fy_event *event, struct cnode *n)
{
    const struct fy_mark *m = fy_event_start_mark(event);

    n->file = r->file;
    n->line = m ? m->line + 1 : 0;
    n->column = m ? m->column + 1 : 0;
}

/* The text of a token; NULL when there is none, or it has a NUL byte (*ret_bad). */
static char *token_text(struct fy_token *token, bool *ret_bad)
{
    size_t len = 0;
    const char *text = token ? fy_token_get_text(token, &len) : NULL;

    *ret_bad = text && memchr(text, '\0', len);
    return text && !*ret_bad ? xstrndup(text, len) : NULL;
}

/* Where the innermost list or map stands, for messages: services.web.ports[0]. */
static void where(const struct reader *r, struct buf *out)
{
    for (size_t i = 0; i + 1 < r->depth; i++) {
        const struct cnode *n = r->stack[i].node;

        if (n->kind == CNODE_LIST)
            buf_addf(out, "[%zu]", n->len - 1);
        else
            buf_addf(out, "%s%s", out->len ? "." : "", n->keys[n->len - 1]);
    }
}

/* ---- values ---- */

/* "!!str" in its short or long form */
static bool is_tag(const char *tag, const char *name)
{
    if (!strncmp(tag, YAML_TAG, strlen(YAML_TAG)))
        tag += strlen(YAML_TAG);
    else if (!strncmp(tag, "!!", 2))
        tag += 2;
    else
        return false;
    return !strcmp(tag, name);
}

/* Makes the value the kind that its tag names, where YAML knows the tag. */
static int apply_tag(struct reader *r, struct cnode *n, const char *tag)
{
    static const struct {
        const char *name;
        enum cnode_kind kind;
    } kinds[] = {{"null", CNODE_NULL}, {"bool", CNODE_BOOL}, {"int", CNODE_INT}, {"float", CNODE_FLOAT}};

    if (is_tag(tag, "binary"))
        return err_set(r->err, 1, "yaml: line %d: !!binary is not taken in a compose file", n->line);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        cleanup_free char *text = NULL;
        enum cnode_kind kind;

        if (!is_tag(tag, kinds[i].name))
            continue;
        kind = scalar_resolve(n->text ? n->text : "", &text);
        if (kind != kinds[i].kind && !(kind == CNODE_INT && kinds[i].kind == CNODE_FLOAT))
            return err_set(r->err, 1, "yaml: cannot decode !!str `%s` as a !!%s", n->text, kinds[i].name);
        n->kind = kinds[i].kind;
        free(n->text);
        n->text = steal(&text);
    }
    return 0;
}

/* The value of a scalar's event; NULL with err. */
static struct cnode *scalar(struct reader *r, struct fy_event *event)
{
    struct cnode *n = cnode_new(CNODE_STRING);
    cleanup_free char *tag = NULL, *text = NULL;
    bool bad = false, bad_tag = false;

    mark(r, event, n);
    text = token_text(fy_event_get_token(event), &bad);
    tag = token_text(fy_event_get_tag_token(event), &bad_tag);
    if (bad || bad_tag) {
        err_set(r->err, 1, "yaml: line %d: a NUL character is not allowed", n->line);
        cnode_free(n);
        return NULL;
    }
    if (!text && !tag) { /* nothing was written */
        n->kind = CNODE_NULL;
        return n;
    }
    if (!text)
        text = xstrdup("");
    if (!tag && (!fy_event_get_token(event) || fy_event_get_node_style(event) == FYNS_PLAIN)) {
        n->kind = scalar_resolve(text, &n->text);
        return n;
    }
    n->text = steal(&text);
    if (tag && !strcmp(tag, "!reset"))
        n->tag = CNODE_RESET;
    else if (tag && !strcmp(tag, "!override"))
        n->tag = CNODE_OVERRIDE;
    else if (tag && apply_tag(r, n, tag) < 0) {
        cnode_free(n);
        return NULL;
    }
    return n;
}

/* A list or map that begins here. */
static struct cnode *collection(struct reader *r, struct fy_event *event, enum cnode_kind kind)
{
    struct cnode *n = cnode_new(kind);
    cleanup_free char *tag = NULL;
    bool bad;

    mark(r, event, n);
    tag = token_text(fy_event_get_tag_token(event), &bad);
    if (tag && !strcmp(tag, "!reset"))
        n->tag = CNODE_RESET;
    else if (tag && !strcmp(tag, "!override"))
        n->tag = CNODE_OVERRIDE;
    return n;
}

/* Remembers what an anchor's name stands for from here on. */
static void anchor_set(struct reader *r, struct fy_event *event, struct cnode *node)
{
    bool bad;
    cleanup_free char *name = token_text(fy_event_get_anchor_token(event), &bad);

    if (!name)
        return;
    if (!r->anchors)
        r->anchors = cnode_new(CNODE_MAP);
    if ((r->anchored_len & (r->anchored_len + 1)) == 0)
        r->anchored = xreallocarray(r->anchored, (r->anchored_len + 1) * 2, sizeof(*r->anchored));
    cnode_set(r->anchors, name, cnode_int((int64_t)r->anchored_len));
    r->anchored[r->anchored_len++] = node;
}

static size_t count(const struct cnode *n)
{
    size_t all = 1;

    for (size_t i = 0; i < n->len; i++)
        all += count(n->items[i]) + (n->kind == CNODE_MAP);
    return all;
}

static size_t height(const struct cnode *n)
{
    size_t most = 0;

    for (size_t i = 0; i < n->len; i++) {
        size_t h = height(n->items[i]);

        most = h > most ? h : most;
    }
    return most + 1;
}

/* The rule of compose's YAML library: small files may be nearly all aliases, large ones ever less. */
static bool excessive(const struct reader *r)
{
    const double low = 400000, high = 4000000;
    double total = (double)r->total, allowed = 0.99;

    if (total >= high)
        allowed = 0.10;
    else if (total > low)
        allowed = 0.99 - 0.89 * ((total - low) / (high - low));
    return r->aliased > 100 && r->total > 1000 && (double)r->aliased / total > allowed;
}

/* A copy of what an alias stands for. NULL with err. */
static struct cnode *alias(struct reader *r, struct fy_event *event)
{
    bool bad;
    cleanup_free char *name = token_text(fy_event_get_token(event), &bad);
    const struct cnode *target;
    struct cnode *copy;
    size_t size;

    if (name && cnode_get(r->anchors, name)) {
        target = r->anchored[cnode_number(r->anchors, name, 0)];
    } else {
        err_set(r->err, 1, "yaml: unknown anchor '%s' referenced", name ? name : "");
        say(r, r->docs == 0 ? YAML_SYNTAX : YAML_VALUE);
        return NULL;
    }
    for (size_t i = 0; i < r->depth; i++) {
        if (r->stack[i].node == target) {
            err_set(r->err, 1, "yaml: anchor '%s' value contains itself", name);
            return NULL;
        }
    }
    size = count(target);
    r->aliased += size;
    r->total += size;
    if (excessive(r)) {
        err_set(r->err, 1, "yaml: document contains excessive aliasing");
        return NULL;
    }
    r->total -= size;
    if (r->depth + height(target) > LIMIT_COMPOSE_DEPTH) {
        err_set(r->err, 1, "yaml: exceeded max depth of %u", LIMIT_COMPOSE_DEPTH);
        return NULL;
    }
    if (account(r, size) < 0)
        return NULL;
    copy = cnode_copy(target);
    mark(r, event, copy);
    return copy;
}

/* ---- the tree as it grows ---- */

/* As Go prints a key that is no string. */
static int bad_key(struct reader *r, const struct cnode *key)
{
    struct buf place = BUF_INIT(4096);

    where(r, &place);
    err_set(r->err, 1, "non-string key %s%s: %s", place.len ? "in " : "at top level", place.data,
            key->kind == CNODE_NULL ? "<nil>" : key->text);
    buf_clear(&place);
    return say(r, YAML_KEY);
}

/* A key of the innermost map; the value is taken. */
static int put_key(struct reader *r, struct cnode *key)
{
    struct open *top = &r->stack[r->depth - 1];
    const char *text = key->text ? key->text : "";
    int64_t line;

    if (key->kind == CNODE_LIST || key->kind == CNODE_MAP)
        return err_set(r->err, 1, "yaml: line %d: a key must be a word, not a list or a map", key->line);
    if (key->kind != CNODE_STRING)
        return bad_key(r, key);
    line = cnode_number(top->lines, text, 0);
    if (line) {
        err_set(r->err, 1, "line %d: mapping key \"%s\" already defined at line %d", key->line, text, (int)line);
        return say(r, r->depth == 1 && r->docs == 0 ? YAML_TOP_KEY : YAML_VALUE);
    }
    cnode_set(top->lines, text, cnode_int(key->line));
    top->key = xstrdup(text);
    return 0;
}

/* A value that is whole or begins: into the innermost list or map, or the root. Takes it. */
static int put(struct reader *r, struct cnode *n)
{
    struct open *top = r->depth ? &r->stack[r->depth - 1] : NULL;
    int rc = 0;

    if (!top) {
        r->root = n;
    } else if (top->node->kind == CNODE_LIST) {
        cnode_add(top->node, n);
    } else if (!top->key) {
        rc = put_key(r, n);
        cnode_free(n);
    } else {
        cnode_set(top->node, top->key, n);
        free(top->key);
        top->key = NULL;
    }
    return rc;
}

static bool key_is_next(const struct reader *r)
{
    return r->depth && r->stack[r->depth - 1].node->kind == CNODE_MAP && !r->stack[r->depth - 1].key;
}

static int open_collection(struct reader *r, struct fy_event *event, enum cnode_kind kind)
{
    struct cnode *n = collection(r, event, kind);

    if (key_is_next(r))
        return put(r, n);
    if (r->depth == LIMIT_COMPOSE_DEPTH) {
        cnode_free(n);
        return err_set(r->err, 1, "yaml: exceeded max depth of %u", LIMIT_COMPOSE_DEPTH);
    }
    put(r, n);
    anchor_set(r, event, n);
    r->stack[r->depth++] = (struct open){n, kind == CNODE_MAP ? cnode_new(CNODE_MAP) : NULL, NULL};
    return account(r, 1);
}

static int take_scalar(struct reader *r, struct fy_event *event, struct cnode *n)
{
    bool key = key_is_next(r);

    if (!n)
        return -1;
    if (fy_event_get_anchor_token(event) && key) {
        int line = n->line;

        cnode_free(n);
        return err_set(r->err, 1, "yaml: line %d: an anchor on a key is not taken", line);
    }
    if (!key)
        anchor_set(r, event, n);
    return put(r, n) < 0 ? -1 : account(r, 1);
}

static void close_collection(struct reader *r)
{
    struct open *top = &r->stack[--r->depth];

    cnode_free(top->lines);
    free(top->key);
    *top = (struct open){0};
}

static int take_event(struct reader *r, struct fy_event *event)
{
    struct cnode *n;

    switch (event->type) {
    case FYET_SCALAR:
        return take_scalar(r, event, scalar(r, event));
    case FYET_ALIAS:
        n = alias(r, event);
        return n ? put(r, n) : -1;
    case FYET_MAPPING_START:
        return open_collection(r, event, CNODE_MAP);
    case FYET_SEQUENCE_START:
        return open_collection(r, event, CNODE_LIST);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        close_collection(r);
        return 0;
    default:
        return 0;
    }
}

/* ---- the whole stream ---- */

static int document_end(struct reader *r, struct yaml_docs *ret)
{
    struct yaml_doc doc = {.cuts = STRLIST_INIT};

    doc.root = steal(&r->root);
    reader_clear_document(r);
    r->total = r->aliased = 0;
    r->docs++;
    ret->items = xreallocarray(ret->items, ret->len + 1, sizeof(*ret->items));
    ret->items[ret->len++] = doc;
    return yaml_finish(&ret->items[ret->len - 1], r->err);
}

static int read_stream(struct reader *r, struct fy_diag *diag, struct yaml_docs *ret)
{
    const struct cnode *open[LIMIT_COMPOSE_DEPTH];
    size_t depth = 0;
    bool more = true;
    int rc = 0;

    while (rc == 0 && more) {
        struct fy_event *event = fy_parser_parse(r->parser);

        if (!event)
            break;
        more = event->type != FYET_STREAM_END;
        if (event->type == FYET_DOCUMENT_END)
            rc = document_end(r, ret);
        else
            rc = take_event(r, event);
        fy_parser_event_free(r->parser, event);
    }
    if (rc < 0 || (!fy_diag_got_error(diag) && !more))
        return rc;
    for (; depth < r->depth; depth++)
        open[depth] = r->stack[depth].node;
    yaml_syntax_error(diag, open, depth, r->err);
    return say(r, r->docs == 0 ? YAML_SYNTAX : YAML_VALUE);
}

int yaml_parse(const char *file, const char *text, size_t len, size_t *nodes_left, struct yaml_docs *ret,
               struct err *err)
{
    struct reader r = {.file = compose_file_name(file), .nodes_left = nodes_left, .err = err};
    struct yaml_docs docs = YAML_DOCS_INIT;
    struct fy_diag_cfg diag_cfg;
    struct fy_diag *diag;
    int rc;

    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        text += 3;
        len -= 3;
    }
    if (yaml_check_text(text, len, err) < 0)
        return say(&r, YAML_SYNTAX);
    if (len == 0)
        return 0;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag = fy_diag_create(&diag_cfg);
    fy_diag_set_collect_errors(diag, true);
    r.parser = fy_parser_create(&(struct fy_parse_cfg){
        .flags = FYPCF_QUIET | FYPCF_ALLOW_DUPLICATE_KEYS | FYPCF_SLOPPY_FLOW_INDENTATION, .diag = diag});
    fy_parser_set_string(r.parser, text, len);
    rc = read_stream(&r, diag, &docs);
    reader_clear_document(&r);
    fy_parser_destroy(r.parser);
    fy_diag_destroy(diag);
    if (rc < 0)
        yaml_docs_clear(&docs);
    else
        *ret = docs;
    return rc;
}
