/* Carrying a template out. Values are JSON references; NULL is Go's "no value". */
#include "compat/docker/tmpl_node.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/json_text.h"
#include "compat/docker/quote.h"

#include <stdlib.h>
#include <string.h>

enum flow { FLOW_ON, FLOW_FAILED, FLOW_BREAK, FLOW_CONTINUE };

struct variable {
    const char *name; /* the node's */
    json_t *value;
};

struct state {
    const struct tmpl *t;
    const struct tmpl_options *options;
    json_t *root; /* borrowed */
    struct variable *vars;
    size_t var_count, var_cap;
    int depth;
    unsigned long steps;
    const struct node *last; /* the operand evaluated last: Go blames it for a fault in the fields of a parenthesis */
    struct buf *out;
    struct err *err;
};

/* A value on its way: err tells a failure from "no value". */
struct result {
    bool ok;
    json_t *value; /* owned, NULL = no value */
};

static struct result eval_pipeline(struct state *s, json_t *dot, const struct node *pipe);
static struct result eval_operand(struct state *s, json_t *dot, const struct node *node);
static enum flow run_list(struct state *s, json_t *dot, const struct node *list);

static struct result found(json_t *value)
{
    return (struct result){true, value};
}

void tmpl_position(const struct tmpl *t, size_t pos, size_t *ret_line, size_t *ret_column)
{
    size_t line_start = 0;

    *ret_line = 1;
    for (size_t i = 0; i < pos && t->text[i]; i++) {
        if (t->text[i] == '\n') {
            ++*ret_line;
            line_start = i + 1;
        }
    }
    *ret_column = pos - line_start;
}

/* Fills err with Go's words for a fault at a node. */
static struct result fail(struct state *s, const struct node *node, const char *message)
{
    cleanup_buf struct buf context = BUF_INIT(LIMIT_TEMPLATE);
    cleanup_free char *name = quote_go_str(s->t->name);
    size_t line, column;

    node_text(node, &context);
    tmpl_position(s->t, node->pos, &line, &column);
    err_set(s->err, 0, "template: %s:%zu:%zu: executing %s at <%s>: %s", s->t->name, line, column, name, context.data,
            message);
    return (struct result){false, NULL};
}

static struct result failf(struct state *s, const struct node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static struct result failf(struct state *s, const struct node *node, const char *fmt, ...)
{
    cleanup_free char *message = NULL;
    va_list ap;

    va_start(ap, fmt);
    message = xvasprintf(fmt, ap);
    va_end(ap);
    return fail(s, node, message);
}

static void push_variable(struct state *s, const char *name, json_t *value)
{
    if (s->var_count == s->var_cap) {
        s->var_cap = s->var_cap ? s->var_cap * 2 : 8;
        s->vars = xreallocarray(s->vars, s->var_cap, sizeof(*s->vars));
    }
    s->vars[s->var_count++] = (struct variable){name, json_incref(value)};
}

static void pop_variables(struct state *s, size_t count)
{
    while (s->var_count > count)
        json_decref(s->vars[--s->var_count].value);
}

static struct variable *find_variable(struct state *s, const char *name)
{
    for (size_t i = s->var_count; i > 0; i--)
        if (!strcmp(s->vars[i - 1].name, name))
            return &s->vars[i - 1];
    return NULL;
}

/* Declares or sets the variable of a pipe. */
static struct result set_variable(struct state *s, const struct node *pipe, const char *name, json_t *value)
{
    struct variable *variable;

    if (!pipe->assigns) {
        push_variable(s, name, value);
        return found(NULL);
    }
    variable = find_variable(s, name);
    if (!variable) /* Go points to the operand on the right */
        return failf(s, pipe->kids[0]->kids[0], "undefined variable: %s", name);
    json_incref(value);
    json_decref(variable->value);
    variable->value = value;
    return found(NULL);
}

/* An object whose keys are data: nothing in JSON tells, so one that is empty or has only strings is taken for a map. */
static bool is_map(const json_t *object)
{
    json_t *o = (json_t *)object; /* iterating changes nothing */

    for (void *at = json_object_iter(o); at; at = json_object_iter_next(o, at))
        if (!json_is_string(json_object_iter_value(at)))
            return false;
    return true;
}

/* What Go calls the type of a value met on the way. */
static const char *type_name(const struct state *s, const json_t *value)
{
    if (s->options->missing != TMPL_MISSING_FIELD)
        return "interface {}";
    if (value == s->root && s->options->type)
        return s->options->type;
    return value_type(value);
}

/* A key that an object does not have. */
static struct result missing_key(struct state *s, const struct node *node, const json_t *object, const char *name)
{
    json_t *absent = s->options->absent ? s->options->absent(object, name) : NULL;

    if (absent)
        return found(absent);
    if (s->options->missing == TMPL_MISSING_NO_VALUE || (object != s->root && is_map(object)))
        return found(NULL);
    if (s->options->missing == TMPL_MISSING_ERROR) {
        cleanup_free char *quoted = quote_go_str(name);

        return failf(s, node, "map has no entry for key %s", quoted);
    }
    return failf(s, node, "can't evaluate field %s in type %s", name, type_name(s, object));
}

/* A field of what is empty: docker says then that the object does not show it. */
static struct result absent_object(struct state *s, const struct node *node, const char *name)
{
    cleanup_free char *quoted = quote_go_str(name);

    return failf(s, node, "map has no entry for key %s", quoted);
}

/* One field of a value. */
static struct result eval_field(struct state *s, const struct node *node, json_t *value, const char *name)
{
    json_t *member;

    if (!value) {
        cleanup_free char *quoted = quote_go_str(name);

        if (s->options->missing == TMPL_MISSING_ERROR)
            return failf(s, node, "nil data; no entry for key %s", quoted);
        return found(NULL);
    }
    if (json_is_null(value))
        return failf(s, node, "nil pointer evaluating %s.%s", type_name(s, value), name);
    if (!json_is_object(value))
        return failf(s, node, "can't evaluate field %s in type %s", name, type_name(s, value));
    member = json_object_get(value, name);
    return member ? found(json_incref(member)) : missing_key(s, node, value, name);
}

/* A field that was given arguments: only the root's methods take any. */
static struct result call_method(struct state *s, json_t *dot, const struct node *node, const char *name, json_t *args)
{
    json_t *value =
        dot == s->root && s->options->method ? s->options->method(name, args, s->options->method_arg) : NULL;

    if (value)
        return found(value);
    if (s->options->missing != TMPL_MISSING_FIELD)
        return failf(s, node, "%s is not a method but has arguments", name);
    return failf(s, node, "%s has arguments but cannot be invoked as function", name);
}

/* The arguments of a command after the first word, and what came through the pipe, as a JSON array. NULL on failure. */
static json_t *collect(struct state *s, json_t *dot, const struct node *command, const struct result *final)
{
    json_t *args = json_array();

    for (size_t i = 1; i < command->count; i++) {
        struct result r =
            command->kids[i]->type == NODE_NIL ? found(json_null()) : eval_operand(s, dot, command->kids[i]);

        if (!r.ok) {
            json_decref(args);
            return NULL;
        }
        json_array_append_new(args, r.value ? r.value : json_null());
    }
    if (final)
        json_array_append(args, final->value ? final->value : json_null());
    return args;
}

/*
 * .A.B, or the fields of a variable or a parenthesis, from names[first] on; the last one may be a method with
 * arguments. Errors are put down to the node, of a parenthesis to what it evaluated last.
 */
static struct result eval_fields(struct state *s, json_t *dot, const struct node *node, json_t *start, size_t first,
                                 const struct node *command, const struct result *final)
{
    const struct node *blamed = node->type == NODE_CHAIN ? s->last : node;
    struct result r = found(json_incref(start));

    for (size_t i = first; i < node->names.len; i++) {
        const char *name = node->names.items[i];
        struct result field;
        bool has_args = i + 1 == node->names.len && command && (command->count > 1 || final);

        if (i > first && json_is_null(r.value) && s->options->absent)
            return absent_object(s, blamed, node->names.items[i - 1]);
        if (has_args) {
            json_t *args = collect(s, dot, command, final);

            field = args ? call_method(s, r.value, blamed, name, args) : (struct result){false, NULL};
            json_decref(args);
        } else {
            field = eval_field(s, blamed, r.value, name);
        }
        json_decref(r.value);
        r = field;
        if (!r.ok)
            return r;
    }
    return r;
}

static bool is_literal(const struct node *node)
{
    return node->type == NODE_NUMBER || node->type == NODE_STRING || node->type == NODE_BOOL;
}

/* Holds one argument to what the function wants. */
static struct result check_argument(struct state *s, const struct node *command, const struct node *node,
                                    const json_t *value, char kind)
{
    const char *wanted = kind == 's' ? "string" : kind == 'i' ? "int" : "[]string";

    if (kind == '.' || (kind == 'l' && s->options->headers) || (kind == 's' && json_is_string(value)) ||
        (kind == 'i' && json_is_integer(value)) || (kind == 'l' && json_is_array(value)))
        return found(NULL);
    if (node && is_literal(node) && kind == 'l')
        return failf(s, node, "can't handle %s for arg of type []string", node->text);
    if (node && is_literal(node))
        return failf(s, node, "expected %s; found %s", kind == 'i' ? "integer" : "string", node->text);
    if (!value || (node && node->type == NODE_NIL))
        return node && node->type == NODE_NIL ? failf(s, node, "cannot assign nil to %s", wanted)
                                              : failf(s, node ? node : command, "invalid value; expected %s", wanted);
    return failf(s, node ? node : command, "wrong type for value; expected %s; got %s", wanted, value_type(value));
}

static struct result check_arity(struct state *s, const struct node *word, const struct function *f, size_t count)
{
    if (f->max_args < 0 && count < f->min_args)
        return failf(s, word, "wrong number of args for %s: want at least %zu got %zu", f->name, f->min_args, count);
    if (f->max_args >= 0 && (count < f->min_args || count > (size_t)f->max_args))
        return failf(s, word, "wrong number of args for %s: want %zu got %zu", f->name, f->min_args, count);
    return found(NULL);
}

/* "and" and "or" look at their arguments one by one and stop at the one that decides. */
static struct result eval_short(struct state *s, json_t *dot, const struct node *command, const struct result *final,
                                bool stop_at)
{
    struct result r = found(NULL);

    for (size_t i = 1; i < command->count; i++) {
        json_decref(r.value);
        r = eval_operand(s, dot, command->kids[i]);
        if (!r.ok || value_is_true(r.value) == stop_at)
            return r;
    }
    if (final) {
        json_decref(r.value);
        r = found(json_incref(final->value));
    }
    return r;
}

/* Evaluated arguments, to be released together. */
struct arguments {
    json_t **values;
    const struct node **nodes;
    size_t count;
};

static void arguments_clear(struct arguments *a)
{
    for (size_t i = 0; i < a->count; i++)
        json_decref(a->values[i]);
    free(a->values);
    free(a->nodes);
}

static struct result eval_arguments(struct state *s, json_t *dot, const struct node *command,
                                    const struct result *final, const struct function *f, struct arguments *a)
{
    size_t kinds = strlen(f->kinds);

    a->values = xcalloc(command->count + 1, sizeof(json_t *));
    a->nodes = xcalloc(command->count + 1, sizeof(struct node *));
    for (size_t i = 0; i + 1 < command->count + (final ? 1 : 0); i++) {
        const struct node *node = i + 1 < command->count ? command->kids[i + 1] : NULL;
        struct result r = !node                    ? found(json_incref(final->value))
                          : node->type == NODE_NIL ? found(json_null())
                                                   : eval_operand(s, dot, node);

        if (!r.ok)
            return r;
        a->values[a->count] = r.value;
        a->nodes[a->count++] = node;
        r = check_argument(s, command, node, r.value, f->kinds[i < kinds ? i : kinds - 1]);
        if (!r.ok)
            return r;
    }
    return found(NULL);
}

static struct result eval_function(struct state *s, json_t *dot, const struct node *command, const struct result *final)
{
    const struct node *word = command->kids[0];
    const struct function *f = function_find(word->text);
    __attribute__((cleanup(arguments_clear))) struct arguments a = {0};
    struct result r = check_arity(s, word, f, command->count - 1 + (final ? 1 : 0));
    cleanup_err struct err bad = ERR_INIT;
    json_t *value = NULL;
    struct call call;

    s->last = word;
    if (!r.ok)
        return r;
    if (!f->run)
        return eval_short(s, dot, command, final, !strcmp(f->name, "or"));
    r = eval_arguments(s, dot, command, final, f, &a);
    if (!r.ok)
        return r;
    call =
        (struct call){command, a.nodes, a.values, a.count, s->options->headers, s->options->html_root ? s->root : NULL};
    if (f->run(&call, &value, &bad) < 0)
        return failf(s, command, "error calling %s: %s", f->name, bad.msg);
    return found(value);
}

/* A plain value takes no arguments. */
static struct result not_a_function(struct state *s, const struct node *command, const struct result *final)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE);

    if (command->count < 2 && !final)
        return found(NULL);
    node_text(command->kids[0], &text);
    return failf(s, command->kids[0], "can't give argument to non-function %s", text.data);
}

static struct result eval_variable(struct state *s, json_t *dot, const struct node *node, const struct node *command,
                                   const struct result *final)
{
    const struct variable *variable = find_variable(s, node->names.items[0]);

    if (!variable)
        return failf(s, node, "undefined variable: %s", node->names.items[0]);
    return eval_fields(s, dot, node, variable->value, 1, command, final);
}

/* (pipe).A: the parenthesis first, then its fields. */
static struct result eval_chain(struct state *s, json_t *dot, const struct node *node, const struct node *command,
                                const struct result *final)
{
    struct result r = eval_operand(s, dot, node->kids[0]), fields;

    if (!r.ok)
        return r;
    fields = eval_fields(s, dot, node, r.value, 0, command, final);
    json_decref(r.value);
    return fields;
}

/* A command: its first word decides. final is what came through the pipe, or NULL. */
static struct result eval_command(struct state *s, json_t *dot, const struct node *command, const struct result *final)
{
    const struct node *word = command->kids[0];
    struct result r;

    if (++s->steps > LIMIT_TEMPLATE_STEPS)
        return fail(s, command, "the template takes too many steps");
    s->last = word;
    if (word->type == NODE_FIELD)
        return eval_fields(s, dot, word, dot, 0, command, final);
    if (word->type == NODE_CHAIN)
        return eval_chain(s, dot, word, command, final);
    if (word->type == NODE_FUNCTION)
        return eval_function(s, dot, command, final);
    if (word->type == NODE_VARIABLE && word->names.len > 1)
        return eval_variable(s, dot, word, command, final);
    r = not_a_function(s, command, final);
    if (!r.ok)
        return r;
    if (word->type == NODE_NIL)
        return fail(s, word, "nil is not a command");
    return eval_operand(s, dot, word);
}

/* A word that stands alone: an argument, or the only word of a command. */
static struct result eval_operand(struct state *s, json_t *dot, const struct node *node)
{
    struct node *kids[] = {(struct node *)node};
    struct node alone = {.type = NODE_COMMAND, .pos = node->pos, .kids = kids, .count = 1};

    s->last = node;
    switch (node->type) {
    case NODE_DOT:
        return found(json_incref(dot));
    case NODE_NIL:
        return fail(s, node, "nil is not a command");
    case NODE_BOOL:
    case NODE_NUMBER:
    case NODE_STRING:
        return found(json_incref(node->value));
    case NODE_FIELD:
        return eval_fields(s, dot, node, dot, 0, NULL, NULL);
    case NODE_VARIABLE:
        return eval_variable(s, dot, node, NULL, NULL);
    case NODE_CHAIN:
        return eval_chain(s, dot, node, NULL, NULL);
    case NODE_FUNCTION:
        return eval_function(s, dot, &alone, NULL);
    default:
        return eval_pipeline(s, dot, node);
    }
}

static struct result eval_pipeline(struct state *s, json_t *dot, const struct node *pipe)
{
    struct result r = found(NULL);

    for (size_t i = 0; i < pipe->count; i++) {
        struct result value = eval_command(s, dot, pipe->kids[i], i ? &r : NULL);

        json_decref(r.value);
        r = value;
        if (!r.ok)
            return r;
    }
    return r;
}

/* The same with the variables that the pipe sets. */
static struct result eval_declaring(struct state *s, json_t *dot, const struct node *pipe)
{
    struct result r = eval_pipeline(s, dot, pipe);

    for (size_t i = 0; r.ok && i < pipe->declared.len; i++) {
        struct result set = set_variable(s, pipe, pipe->declared.items[i], r.value);

        if (!set.ok) {
            json_decref(r.value);
            return set;
        }
    }
    return r;
}

static void print_value(const struct state *s, const json_t *value)
{
    if (!value || (json_is_null(value) && s->options->missing != TMPL_MISSING_FIELD && !s->options->absent))
        buf_adds(s->out, "<no value>");
    else
        json_plain(s->out, value);
}

static enum flow run_action(struct state *s, json_t *dot, const struct node *node)
{
    const struct node *pipe = node->kids[0];
    struct result r = eval_declaring(s, dot, pipe);

    if (!r.ok)
        return FLOW_FAILED;
    if (!pipe->declared.len)
        print_value(s, r.value);
    json_decref(r.value);
    return FLOW_ON;
}

/* if and with. */
static enum flow run_condition(struct state *s, json_t *dot, const struct node *node)
{
    size_t vars = s->var_count;
    struct result r = eval_declaring(s, dot, node->kids[0]);
    enum flow flow = FLOW_ON;

    if (!r.ok)
        return FLOW_FAILED;
    if (value_is_true(r.value))
        flow = run_list(s, node->type == NODE_WITH ? r.value : dot, node->kids[1]);
    else if (node->count > 2)
        flow = run_list(s, dot, node->kids[2]);
    json_decref(r.value);
    pop_variables(s, vars);
    return flow;
}

/* One turn of a range; key and element are taken. */
static enum flow run_turn(struct state *s, const struct node *node, json_t *key, json_t *element)
{
    const struct node *pipe = node->kids[0];
    size_t vars = s->var_count, count = pipe->declared.len;
    struct result r = found(NULL);
    enum flow flow = FLOW_FAILED;

    if (count)
        r = set_variable(s, pipe, pipe->declared.items[count - 1], element);
    if (r.ok && count > 1)
        r = set_variable(s, pipe, pipe->declared.items[0], key);
    if (r.ok)
        flow = ++s->steps > LIMIT_TEMPLATE_STEPS ? (fail(s, pipe, "the template takes too many steps"), FLOW_FAILED)
                                                 : run_list(s, element, node->kids[1]);
    pop_variables(s, vars);
    json_decref(key);
    json_decref(element);
    return flow == FLOW_CONTINUE ? FLOW_ON : flow;
}

/* All turns over a value. *ret_none is set when there were none. */
static enum flow run_turns(struct state *s, const struct node *node, json_t *value, bool *ret_none)
{
    enum flow flow = FLOW_ON;

    if (json_is_object(value)) {
        size_t len;
        cleanup_free struct json_member *members = json_sorted(value, &len);

        *ret_none = !len;
        for (size_t i = 0; i < len && flow == FLOW_ON; i++)
            flow = run_turn(s, node, json_string(members[i].key), json_incref(members[i].value));
    } else if (json_is_array(value)) {
        *ret_none = !json_array_size(value);
        for (size_t i = 0; i < json_array_size(value) && flow == FLOW_ON; i++)
            flow = run_turn(s, node, json_integer((json_int_t)i), json_incref(json_array_get(value, i)));
    } else {
        *ret_none = json_integer_value(value) <= 0;
        for (json_int_t i = 0; i < json_integer_value(value) && flow == FLOW_ON; i++)
            flow = run_turn(s, node, json_integer(i), json_integer(i));
    }
    return flow == FLOW_BREAK ? FLOW_ON : flow;
}

static enum flow run_range(struct state *s, json_t *dot, const struct node *node)
{
    struct result r = eval_pipeline(s, dot, node->kids[0]);
    enum flow flow = FLOW_ON;
    bool none = true;

    if (!r.ok)
        return FLOW_FAILED;
    if (r.value && !json_is_null(r.value) && !json_is_object(r.value) && !json_is_array(r.value) &&
        !json_is_integer(r.value)) {
        cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

        json_plain(&text, r.value);
        failf(s, node->kids[0], "range can't iterate over %s", text.data);
        flow = FLOW_FAILED;
    } else if (r.value && !json_is_null(r.value)) {
        flow = run_turns(s, node, r.value, &none);
    }
    json_decref(r.value);
    if (flow == FLOW_ON && none && node->count > 2)
        flow = run_list(s, dot, node->kids[2]);
    return flow;
}

/* {{template "x" pipe}}: its body sees its own variables only. */
static enum flow run_template(struct state *s, json_t *dot, const struct node *node)
{
    const struct node *body = NULL;
    struct result r = found(NULL);
    size_t vars = s->var_count;
    enum flow flow;

    for (size_t i = 0; i < s->t->defined.len; i++)
        if (!strcmp(s->t->defined.items[i], node->text))
            body = s->t->bodies[i];
    if (!body) {
        cleanup_free char *quoted = quote_go_str(node->text);

        failf(s, node, "template %s not defined", quoted);
        return FLOW_FAILED;
    }
    if (s->depth >= LIMIT_TEMPLATE_DEPTH) {
        failf(s, node, "exceeded maximum template depth (%d)", LIMIT_TEMPLATE_DEPTH);
        return FLOW_FAILED;
    }
    if (node->count)
        r = eval_pipeline(s, dot, node->kids[0]);
    if (!r.ok)
        return FLOW_FAILED;
    push_variable(s, "$", r.value);
    s->depth++;
    flow = run_list(s, r.value, body);
    s->depth--;
    pop_variables(s, vars);
    json_decref(r.value);
    return flow;
}

static enum flow run_node(struct state *s, json_t *dot, const struct node *node)
{
    switch (node->type) {
    case NODE_TEXT:
        buf_add(s->out, node->text, node->len);
        return FLOW_ON;
    case NODE_ACTION:
        return run_action(s, dot, node);
    case NODE_IF:
    case NODE_WITH:
        return run_condition(s, dot, node);
    case NODE_RANGE:
        return run_range(s, dot, node);
    case NODE_TEMPLATE:
        return run_template(s, dot, node);
    case NODE_BREAK:
        return FLOW_BREAK;
    case NODE_CONTINUE:
        return FLOW_CONTINUE;
    default:
        return run_list(s, dot, node);
    }
}

static enum flow run_list(struct state *s, json_t *dot, const struct node *list)
{
    size_t vars = s->var_count;
    enum flow flow = FLOW_ON;

    for (size_t i = 0; i < list->count && flow == FLOW_ON; i++) {
        flow = run_node(s, dot, list->kids[i]);
        if (flow != FLOW_FAILED && s->out->overflowed) {
            fail(s, list->kids[i], "the output is too long");
            flow = FLOW_FAILED;
        }
    }
    if (list != s->t->root)
        pop_variables(s, vars);
    return flow;
}

int tmpl_exec(const struct tmpl *t, json_t *data, const struct tmpl_options *options, struct buf *out, struct err *err)
{
    static const struct tmpl_options no_options = {.missing = TMPL_MISSING_NO_VALUE};
    struct state s = {.t = t, .options = options ? options : &no_options, .root = data, .out = out, .err = err};
    enum flow flow;

    push_variable(&s, "$", data);
    flow = run_list(&s, data, t->root);
    pop_variables(&s, 0);
    free(s.vars);
    return flow == FLOW_FAILED ? -1 : 0;
}
