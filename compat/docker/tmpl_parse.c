/* From tokens to a tree. The grammar and the texts of errors are those of Go's text/template. */
#include "compat/docker/tmpl_node.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "compat/docker/units.h"

#include <stdlib.h>
#include <string.h>

struct parser {
    struct tmpl *t;
    struct tokens tokens;
    size_t at;
    struct strlist vars; /* in scope */
    int ranges, depth;
    struct err *err;
};

/* What ended a list of nodes. */
enum list_end { END_FAILED, END_EOF, END_END, END_ELSE };

static struct node *parse_pipeline(struct parser *p, const char *context, enum token_type end);
static enum list_end parse_list(struct parser *p, struct node *list);

static struct node *node_new(struct parser *p, enum node_type type, size_t pos)
{
    struct node *node = xcalloc(1, sizeof(*node));

    node->type = type;
    node->pos = pos;
    node->next_owned = p->t->owned;
    p->t->owned = node;
    return node;
}

static void node_add(struct node *node, struct node *kid)
{
    if (node->count == node->cap) {
        node->cap = node->cap ? node->cap * 2 : 4;
        node->kids = xreallocarray(node->kids, node->cap, sizeof(struct node *));
    }
    node->kids[node->count++] = kid;
}

static struct token *next(struct parser *p)
{
    struct token *token = &p->tokens.items[p->at];

    if (p->at + 1 < p->tokens.len)
        p->at++;
    return token;
}

static struct token *peek(const struct parser *p)
{
    return &p->tokens.items[p->at];
}

static struct token *peek_solid(struct parser *p)
{
    while (peek(p)->type == TOKEN_SPACE)
        p->at++;
    return peek(p);
}

static struct token *next_solid(struct parser *p)
{
    peek_solid(p);
    return next(p);
}

static char *token_text(const struct parser *p, const struct token *token)
{
    return xstrndup(p->t->text + token->pos, token->len);
}

static bool token_is(const struct parser *p, const struct token *token, const char *word)
{
    return token->type == TOKEN_KEYWORD && strlen(word) == token->len &&
           !strncmp(p->t->text + token->pos, word, token->len);
}

/* Fills err at the line of a token. Always NULL. */
static struct node *fail(struct parser *p, const struct token *token, const char *message)
{
    size_t line, column;

    tmpl_position(p->t, token->pos, &line, &column);
    err_set(p->err, 0, "template: %s:%zu: %s", p->t->name, line, message);
    return NULL;
}

/* A token where it does not belong; one that could not be cut says so itself. */
static struct node *unexpected(struct parser *p, const struct token *token, const char *context)
{
    cleanup_free char *text = token_text(p, token), *quoted = NULL, *message = NULL;

    if (token->type == TOKEN_ERROR)
        return fail(p, token, token->message);
    if (token->type == TOKEN_EOF)
        message = xasprintf("unexpected EOF in %s", context);
    else if (token->type == TOKEN_KEYWORD || token->type == TOKEN_DOT || token->type == TOKEN_NIL)
        message = xasprintf("unexpected <%s> in %s", text, context);
    else if (strlen(text) > 10) {
        text[10] = '\0';
        quoted = quote_go_str(text);
        message = xasprintf("unexpected %s... in %s", quoted, context);
    } else {
        quoted = quote_go_str(text);
        message = xasprintf("unexpected %s in %s", quoted, context);
    }
    return fail(p, token, message);
}

static struct token *expect(struct parser *p, enum token_type type, const char *context)
{
    struct token *token = next_solid(p);

    if (token->type == type)
        return token;
    unexpected(p, token, context);
    return NULL;
}

/* Undoes Go's quoting between the first and the last character. NULL = not a good literal. */
static char *unquote(const char *s, size_t len, size_t *ret_len)
{
    cleanup_buf struct buf out = BUF_INIT(LIMIT_TEMPLATE);
    static const char letters[] = "abfnrtv\\'\"", codes[] = "\a\b\f\n\r\t\v\\'\"";

    for (size_t i = 1; i + 1 < len; i++) {
        const char *letter;
        size_t digits;
        char number[9] = "", *end;
        unsigned long rune;

        if (s[i] != '\\') {
            buf_addc(&out, s[i]);
            continue;
        }
        letter = strchr(letters, s[++i]);
        if (letter && *letter) {
            if ((*letter == '\'' || *letter == '"') && *letter != *s)
                return NULL;
            buf_addc(&out, codes[letter - letters]);
            continue;
        }
        digits = s[i] == 'x' ? 2 : s[i] == 'u' ? 4 : s[i] == 'U' ? 8 : s[i] >= '0' && s[i] <= '7' ? 3 : 0;
        i += digits != 3;
        if (!digits || i + digits + 1 > len)
            return NULL;
        memcpy(number, s + i, digits);
        rune = strtoul(number, &end, digits == 3 ? 8 : 16);
        if (*end || strspn(number, "0123456789abcdefABCDEF") != digits || rune > 0x10FFFF || (digits < 4 && rune > 255))
            return NULL;
        i += digits - 1;
        if (digits < 4)
            buf_addc(&out, (char)rune);
        else
            rune_encode(&out, (uint32_t)rune);
    }
    *ret_len = out.len;
    return buf_detach(&out);
}

/* A literal's node: its text as written, and its value (taken). */
static struct node *literal(struct parser *p, const struct token *token, enum node_type type, json_t *value)
{
    struct node *node = node_new(p, type, token->pos);

    node->text = token_text(p, token);
    node->value = value;
    return node;
}

static struct node *parse_string(struct parser *p, const struct token *token)
{
    const char *s = p->t->text + token->pos;
    cleanup_free char *text = NULL;
    size_t len = token->len;

    if (token->type == TOKEN_RAW)
        return literal(p, token, NODE_STRING, value_string(s + 1, len - 2));
    text = unquote(s, token->len, &len);
    if (!text)
        return fail(p, token, "invalid syntax");
    return literal(p, token, NODE_STRING, value_string(text, len));
}

static struct node *parse_character(struct parser *p, const struct token *token)
{
    cleanup_free char *source = token_text(p, token), *text = NULL, *message = NULL;
    size_t len = 0;
    uint32_t rune = 0;

    text = unquote(source, token->len, &len);
    if (!text || !len)
        return fail(p, token, "invalid syntax");
    if (rune_decode(text, len, &rune) != len) {
        message = xasprintf("malformed character constant: %s", source);
        return fail(p, token, message);
    }
    return literal(p, token, NODE_NUMBER, json_integer(rune == RUNE_INVALID ? (unsigned char)*text : rune));
}

static struct node *parse_number(struct parser *p, const struct token *token)
{
    cleanup_free char *source = token_text(p, token), *quoted = NULL, *message = NULL;
    int64_t integer = 0;
    double real = 0;

    if (units_parse_int(source, 64, &integer, NULL) == 0)
        return literal(p, token, NODE_NUMBER, json_integer(integer));
    quoted = quote_go_str(source);
    if (units_parse_float(source, &real, NULL) < 0)
        message = xasprintf("illegal number syntax: %s", quoted);
    else if (!strpbrk(source, ".eE"))
        message = xasprintf("integer overflow: %s", quoted);
    else
        return literal(p, token, NODE_NUMBER, json_real(real));
    return fail(p, token, message);
}

static bool has_variable(const struct parser *p, const char *name)
{
    return strlist_has(&p->vars, name);
}

static struct node *parse_variable(struct parser *p, const struct token *token)
{
    cleanup_free char *name = token_text(p, token), *quoted = NULL, *message = NULL;
    struct node *node;

    if (!has_variable(p, name)) {
        quoted = quote_go_str(name);
        message = xasprintf("undefined variable %s", quoted);
        return fail(p, token, message);
    }
    node = node_new(p, NODE_VARIABLE, token->pos);
    strlist_add(&node->names, name);
    return node;
}

static struct node *parse_function(struct parser *p, const struct token *token)
{
    cleanup_free char *name = token_text(p, token), *quoted = NULL, *message = NULL;
    struct node *node;

    if (!function_find(name)) {
        quoted = quote_go_str(name);
        message = xasprintf("function %s not defined", quoted);
        return fail(p, token, message);
    }
    node = node_new(p, NODE_FUNCTION, token->pos);
    node->text = steal(&name);
    return node;
}

static struct node *parse_field(struct parser *p, const struct token *token)
{
    struct node *node = node_new(p, NODE_FIELD, token->pos);

    strlist_add_owned(&node->names, xstrndup(p->t->text + token->pos + 1, token->len - 1));
    return node;
}

static struct node *parse_parenthesis(struct parser *p, const struct token *token)
{
    struct node *node;

    if (++p->depth > LIMIT_TEMPLATE_DEPTH)
        return fail(p, token, "max expression depth exceeded");
    node = parse_pipeline(p, "parenthesized pipeline", TOKEN_RIGHT_PAREN);
    p->depth--;
    return node;
}

/* Whether a token begins an operand. */
static bool begins_operand(enum token_type type)
{
    switch (type) {
    case TOKEN_FIELD:
    case TOKEN_VARIABLE:
    case TOKEN_IDENTIFIER:
    case TOKEN_DOT:
    case TOKEN_NIL:
    case TOKEN_BOOL:
    case TOKEN_NUMBER:
    case TOKEN_CHARACTER:
    case TOKEN_STRING:
    case TOKEN_RAW:
    case TOKEN_LEFT_PAREN:
        return true;
    default:
        return false;
    }
}

/* One term: the token is one that begins_operand(). */
static struct node *parse_term(struct parser *p, const struct token *token)
{
    switch (token->type) {
    case TOKEN_FIELD:
        return parse_field(p, token);
    case TOKEN_VARIABLE:
        return parse_variable(p, token);
    case TOKEN_IDENTIFIER:
        return parse_function(p, token);
    case TOKEN_DOT:
        return node_new(p, NODE_DOT, token->pos);
    case TOKEN_NIL:
        return node_new(p, NODE_NIL, token->pos);
    case TOKEN_BOOL:
        return literal(p, token, NODE_BOOL, json_boolean(token->len == 4));
    case TOKEN_NUMBER:
        return parse_number(p, token);
    case TOKEN_CHARACTER:
        return parse_character(p, token);
    case TOKEN_LEFT_PAREN:
        return parse_parenthesis(p, token);
    default:
        return parse_string(p, token);
    }
}

/* A term with the fields that follow it at once: $x.A, .A.B, (index . 0).C */
static struct node *parse_operand(struct parser *p)
{
    const struct token *token = next_solid(p);
    struct node *node = parse_term(p, token), *term = node;

    if (!node || peek(p)->type != TOKEN_FIELD)
        return node;
    token = peek(p);
    if (node->type == NODE_FIELD || node->type == NODE_VARIABLE) {
        node->pos = token->pos; /* where Go points to in errors */
    } else if (node->type == NODE_PIPE || node->type == NODE_FUNCTION) {
        node = node_new(p, NODE_CHAIN, token->pos);
        node_add(node, term);
    } else {
        cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE);
        cleanup_free char *quoted = NULL, *message = NULL;

        node_text(node, &text);
        quoted = quote_go_str(text.data);
        message = xasprintf("unexpected . after term %s", quoted);
        return fail(p, token, message);
    }
    while (peek(p)->type == TOKEN_FIELD) {
        token = next(p);
        strlist_add_owned(&node->names, xstrndup(p->t->text + token->pos + 1, token->len - 1));
    }
    return node;
}

/* Operands up to a pipe, a parenthesis or the end of the action. */
static struct node *parse_command(struct parser *p)
{
    struct node *command = node_new(p, NODE_COMMAND, peek_solid(p)->pos);

    for (;;) {
        const struct token *token = peek_solid(p);

        if (begins_operand(token->type)) {
            struct node *operand = parse_operand(p);

            if (!operand)
                return NULL;
            node_add(command, operand);
            token = peek(p);
            if (token->type == TOKEN_SPACE)
                continue;
        }
        if (token->type == TOKEN_PIPE)
            next(p);
        else if (token->type != TOKEN_RIGHT && token->type != TOKEN_RIGHT_PAREN)
            return unexpected(p, token, "operand");
        return command;
    }
}

/* Takes "$x :=", "$x =", "$k, $v :=" into the pipe. Returns false on an error. */
static bool parse_declaration(struct parser *p, struct node *pipe, const char *context)
{
    size_t start = p->at, count = 0;
    bool range = !strcmp(context, "range");

    for (;;) {
        const struct token *variable = peek_solid(p), *after;

        if (variable->type != TOKEN_VARIABLE) {
            if (!count)
                return true;
            if (variable->type == TOKEN_RIGHT || variable->type == TOKEN_RIGHT_PAREN)
                return true;
            fail(p, variable, "range can only initialize variables");
            return false;
        }
        next(p);
        after = peek_solid(p);
        if (after->type == TOKEN_ASSIGN || after->type == TOKEN_DECLARE) {
            pipe->assigns = after->type == TOKEN_ASSIGN;
            strlist_add_owned(&pipe->declared, token_text(p, variable));
            next(p);
            strlist_copy(&p->vars, &pipe->declared);
            return true;
        }
        if (after->type != TOKEN_CHAR || p->t->text[after->pos] != ',') {
            p->at = start;
            strlist_clear(&pipe->declared);
            return true;
        }
        strlist_add_owned(&pipe->declared, token_text(p, variable));
        next(p);
        if (!range || ++count > 1) {
            cleanup_free char *message = xasprintf("too many declarations in %s", context);

            fail(p, after, message);
            return false;
        }
    }
}

/* Only the first command of a pipe may be a plain value. */
static bool check_pipeline(struct parser *p, const struct node *pipe, const struct token *end, const char *context)
{
    cleanup_free char *message = NULL;

    if (!pipe->count) {
        message = xasprintf("missing value for %s", context);
        fail(p, end, message);
        return false;
    }
    for (size_t i = 1; i < pipe->count; i++) {
        enum node_type type = pipe->kids[i]->kids[0]->type;

        if (type == NODE_BOOL || type == NODE_DOT || type == NODE_NIL || type == NODE_NUMBER || type == NODE_STRING) {
            message = xasprintf("non executable command in pipeline stage %zu", i + 1);
            fail(p, end, message);
            return false;
        }
    }
    return true;
}

static struct node *parse_pipeline(struct parser *p, const char *context, enum token_type end)
{
    struct node *pipe = node_new(p, NODE_PIPE, peek_solid(p)->pos);

    if (!parse_declaration(p, pipe, context))
        return NULL;
    for (;;) {
        const struct token *token = peek_solid(p);
        struct node *command;

        if (token->type == end) {
            next(p);
            return check_pipeline(p, pipe, token, context) ? pipe : NULL;
        }
        if (!begins_operand(token->type))
            return unexpected(p, token, context);
        command = parse_command(p);
        if (!command)
            return NULL;
        node_add(pipe, command);
    }
}

/* Variables of a block end with it. */
static void leave_scope(struct parser *p, size_t vars)
{
    while (p->vars.len > vars)
        strlist_remove(&p->vars, p->vars.len - 1);
}

static struct node *parse_control(struct parser *p, enum node_type type, const char *word, size_t pos);

/* What follows {{else: another condition, or a list up to {{end}}. */
static bool parse_else(struct parser *p, struct node *control, const char *word)
{
    struct node *list = node_new(p, NODE_LIST, peek(p)->pos);
    const struct token *token = peek_solid(p);
    enum list_end end;

    node_add(control, list);
    if (control->type != NODE_RANGE && token_is(p, token, word)) {
        struct node *nested;

        next(p);
        if (++p->depth > LIMIT_TEMPLATE_DEPTH)
            return fail(p, token, "max expression depth exceeded");
        nested = parse_control(p, control->type, word, token->pos);
        p->depth--;
        if (nested)
            node_add(list, nested);
        return nested;
    }
    end = parse_list(p, list);
    if (end == END_ELSE)
        fail(p, peek(p), "expected end; found {{else}}");
    else if (end == END_EOF)
        fail(p, peek(p), "unexpected EOF");
    return end == END_END;
}

/* if, range, with: from the pipeline to {{end}}. */
static struct node *parse_control(struct parser *p, enum node_type type, const char *word, size_t pos)
{
    struct node *control = node_new(p, type, pos), *list = node_new(p, NODE_LIST, pos);
    size_t vars = p->vars.len;
    struct node *pipe = parse_pipeline(p, word, TOKEN_RIGHT);
    enum list_end end;

    if (!pipe)
        return NULL;
    control->pos = pipe->pos;
    node_add(control, pipe);
    node_add(control, list);
    p->ranges += type == NODE_RANGE;
    end = parse_list(p, list);
    p->ranges -= type == NODE_RANGE;
    if (end == END_EOF)
        return fail(p, peek(p), "unexpected EOF");
    if (end == END_FAILED || (end == END_ELSE && !parse_else(p, control, word)))
        return NULL;
    leave_scope(p, vars);
    return control;
}

static struct node *parse_jump(struct parser *p, const struct token *token, bool breaks)
{
    const char *word = breaks ? "{{break}}" : "{{continue}}";
    cleanup_free char *message = NULL;

    if (!expect(p, TOKEN_RIGHT, word))
        return NULL;
    if (p->ranges)
        return node_new(p, breaks ? NODE_BREAK : NODE_CONTINUE, token->pos);
    message = xasprintf("%s outside {{range}}", word);
    return fail(p, token, message);
}

/* The name in {{define "x"}}, {{template "x"}}, {{block "x"}}; owned by caller. */
static char *parse_name(struct parser *p, const char *context)
{
    const struct token *token = next_solid(p);
    struct node *name;

    if (token->type != TOKEN_STRING && token->type != TOKEN_RAW) {
        unexpected(p, token, context);
        return NULL;
    }
    name = parse_string(p, token);
    return name ? xstrdup(json_string_value(name->value)) : NULL;
}

/* The body of {{define}} or {{block}}, up to its {{end}}; its variables are its own. */
static bool parse_body(struct parser *p, char *name)
{
    struct node *list = node_new(p, NODE_LIST, peek(p)->pos);
    struct strlist outer = p->vars;
    int ranges = p->ranges;
    enum list_end end;

    strlist_add_owned(&p->t->defined, name);
    p->t->bodies = xreallocarray(p->t->bodies, p->t->defined.len, sizeof(struct node *));
    p->t->bodies[p->t->defined.len - 1] = list;
    p->vars = (struct strlist)STRLIST_INIT;
    strlist_add(&p->vars, "$");
    p->ranges = 0;
    end = parse_list(p, list);
    strlist_clear(&p->vars);
    p->vars = outer;
    p->ranges = ranges;
    if (end == END_EOF)
        fail(p, peek(p), "unexpected EOF");
    else if (end == END_ELSE)
        fail(p, peek(p), "unexpected {{else}} in define clause");
    return end == END_END;
}

/* {{template "x" pipe}}, and {{block "x" pipe}}, which defines x as well. */
static struct node *parse_template(struct parser *p, const char *word)
{
    cleanup_free char *name = NULL, *context = xasprintf("%s clause", word);
    size_t pos = peek_solid(p)->pos;
    bool block = *word == 'b';
    struct node *node, *pipe;

    name = parse_name(p, context);
    if (!name)
        return NULL;
    node = node_new(p, NODE_TEMPLATE, pos);
    node->text = xstrdup(name);
    if (!block && peek_solid(p)->type == TOKEN_RIGHT) {
        next(p);
        return node;
    }
    pipe = parse_pipeline(p, context, TOKEN_RIGHT);
    if (!pipe)
        return NULL;
    node_add(node, pipe);
    return !block || parse_body(p, steal(&name)) ? node : NULL;
}

/* {{define "x"}}: leaves nothing in the list. */
static struct node *parse_define(struct parser *p, const struct token *token)
{
    char *name = parse_name(p, "define clause");

    if (!name)
        return NULL;
    if (!expect(p, TOKEN_RIGHT, "define clause")) {
        free(name);
        return NULL;
    }
    return parse_body(p, name) ? node_new(p, NODE_LIST, token->pos) : NULL;
}

/* An action that a keyword begins, other than end and else. */
static struct node *parse_keyword(struct parser *p, const struct token *token)
{
    if (token_is(p, token, "if"))
        return parse_control(p, NODE_IF, "if", token->pos);
    if (token_is(p, token, "range"))
        return parse_control(p, NODE_RANGE, "range", token->pos);
    if (token_is(p, token, "with"))
        return parse_control(p, NODE_WITH, "with", token->pos);
    if (token_is(p, token, "template"))
        return parse_template(p, "template");
    if (token_is(p, token, "block"))
        return parse_template(p, "block");
    if (token_is(p, token, "define"))
        return parse_define(p, token);
    return parse_jump(p, token, token_is(p, token, "break"));
}

/* What stands between {{ and }}. */
static struct node *parse_action(struct parser *p)
{
    const struct token *token = peek_solid(p);
    struct node *action, *pipe;

    if (token->type == TOKEN_KEYWORD) {
        next(p);
        if (++p->depth > LIMIT_TEMPLATE_DEPTH)
            return fail(p, token, "max expression depth exceeded");
        action = parse_keyword(p, token);
        p->depth--;
        return action;
    }
    action = node_new(p, NODE_ACTION, token->pos);
    pipe = parse_pipeline(p, "command", TOKEN_RIGHT);
    if (!pipe)
        return NULL;
    node_add(action, pipe);
    return action;
}

static struct node *parse_text(struct parser *p, const struct token *token)
{
    struct node *node = node_new(p, NODE_TEXT, token->pos);

    node->text = token_text(p, token);
    node->len = token->len;
    return node;
}

static enum list_end parse_list(struct parser *p, struct node *list)
{
    for (;;) {
        const struct token *token = next(p);
        struct node *node;

        if (token->type == TOKEN_EOF)
            return END_EOF;
        if (token->type == TOKEN_TEXT) {
            node_add(list, parse_text(p, token));
            continue;
        }
        if (token->type != TOKEN_LEFT) {
            unexpected(p, token, "input");
            return END_FAILED;
        }
        token = peek_solid(p);
        if (token_is(p, token, "end")) {
            next(p);
            return expect(p, TOKEN_RIGHT, "end") ? END_END : END_FAILED;
        }
        if (token_is(p, token, "else")) {
            next(p);
            token = peek_solid(p); /* "else if" and "else with" are for the caller */
            if (token_is(p, token, "if") || token_is(p, token, "with"))
                return END_ELSE;
            return expect(p, TOKEN_RIGHT, "else") ? END_ELSE : END_FAILED;
        }
        node = parse_action(p);
        if (!node)
            return END_FAILED;
        node_add(list, node);
    }
}

struct tmpl *tmpl_parse(const char *name, const char *text, struct err *err)
{
    struct parser p = {.t = xcalloc(1, sizeof(*p.t)), .err = err};
    enum list_end end;
    struct tmpl *t = p.t;

    t->name = xstrdup(name);
    t->text = xstrdup(text);
    if (strlen(text) > LIMIT_TEMPLATE) {
        err_set(err, 0, "template: %s: longer than %u bytes", name, LIMIT_TEMPLATE);
        tmpl_free(t);
        return NULL;
    }
    tokens_read(&p.tokens, t->text);
    strlist_add(&p.vars, "$");
    t->root = node_new(&p, NODE_LIST, 0);
    end = parse_list(&p, t->root);
    if (end == END_END || end == END_ELSE)
        fail(&p, peek(&p), end == END_END ? "unexpected {{end}}" : "unexpected {{else}}");
    tokens_clear(&p.tokens);
    strlist_clear(&p.vars);
    if (end == END_EOF)
        return t;
    tmpl_free(t);
    return NULL;
}

void tmpl_free(struct tmpl *t)
{
    if (!t)
        return;
    for (struct node *node = t->owned, *after; node; node = after) {
        after = node->next_owned;
        free(node->text);
        free(node->kids);
        json_decref(node->value);
        strlist_clear(&node->names);
        strlist_clear(&node->declared);
        free(node);
    }
    strlist_clear(&t->defined);
    free(t->bodies);
    free(t->name);
    free(t->text);
    free(t);
}
