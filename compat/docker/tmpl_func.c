/* Functions of templates: Go's own, and docker's. */
#include "compat/docker/tmpl_node.h"

#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/json_text.h"
#include "compat/docker/quote.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

json_t *value_string(const char *s, size_t len)
{
    return json_stringn_nocheck(s, len); /* bytes that are no UTF-8 are kept, as Go does */
}

bool value_is_true(const json_t *value)
{
    if (!value || json_is_null(value) || json_is_false(value))
        return false;
    if (json_is_string(value))
        return json_string_length(value);
    if (json_is_integer(value))
        return json_integer_value(value);
    if (json_is_real(value))
        return json_real_value(value) != 0;
    if (json_is_array(value))
        return json_array_size(value);
    return json_is_true(value) || json_object_size(value);
}

const char *value_type(const json_t *value)
{
    if (!value || json_is_null(value))
        return "nil";
    if (json_is_string(value))
        return "string";
    if (json_is_integer(value))
        return "int";
    if (json_is_real(value))
        return "float64";
    if (json_is_array(value))
        return "[]interface {}";
    return json_is_object(value) ? "map[string]interface {}" : "bool";
}

/* The finished text as a value. */
static int give(struct buf *text, json_t **ret_value, struct err *err)
{
    if (text->overflowed)
        return err_set(err, 0, "the text is too long");
    *ret_value = value_string(text->data, text->len);
    return 0;
}

/* In a header line docker's functions give their first argument back; join and the like have no use there. */
static int header(const struct call *call, json_t **ret_value)
{
    *ret_value = json_incref(call->args[0]);
    return 0;
}

static int function_json(const struct call *call, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

    if (call->headers)
        return header(call, ret_value);
    json_text(&text, call->args[0], call->html && call->args[0] == call->html ? JSON_TEXT_HTML : 0);
    return give(&text, ret_value, err);
}

static int function_split(const struct call *call, json_t **ret_value, struct err *err)
{
    const char *s = json_string_value(call->args[0]), *sep = json_string_value(call->args[1]), *end, *next;
    size_t sep_len = json_string_length(call->args[1]);
    json_t *parts;

    (void)err;
    if (call->headers)
        return header(call, ret_value);
    parts = json_array();
    end = s + json_string_length(call->args[0]);
    while (!sep_len && s < end) { /* into characters */
        uint32_t rune;
        size_t len = rune_decode(s, (size_t)(end - s), &rune);

        json_array_append_new(parts, value_string(s, len));
        s += len;
    }
    while (sep_len && (next = memmem(s, (size_t)(end - s), sep, sep_len))) {
        json_array_append_new(parts, value_string(s, (size_t)(next - s)));
        s = next + sep_len;
    }
    if (sep_len)
        json_array_append_new(parts, value_string(s, (size_t)(end - s)));
    *ret_value = parts;
    return 0;
}

static int function_join(const struct call *call, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);
    const json_t *sep = call->args[1];

    if (call->headers)
        return header(call, ret_value);
    for (size_t i = 0; i < json_array_size(call->args[0]); i++) {
        const json_t *part = json_array_get(call->args[0], i);

        if (!json_is_string(part))
            return err_set(err, 0, "wrong type for value; expected string; got %s", value_type(part));
        if (i)
            buf_add(&text, json_string_value(sep), json_string_length(sep));
        buf_add(&text, json_string_value(part), json_string_length(part));
    }
    return give(&text, ret_value, err);
}

/* Changes the case of one letter: ASCII, Latin-1, Greek and Cyrillic, which is where names come from. */
static uint32_t change_case(uint32_t r, bool up)
{
    if (r < 0x80)
        return (uint32_t)(up ? toupper((int)r) : tolower((int)r));
    if (up && ((r >= 0xE0 && r <= 0xFE && r != 0xF7) || (r >= 0x3B1 && r <= 0x3C9 && r != 0x3C2) ||
               (r >= 0x430 && r <= 0x44F)))
        return r - 0x20;
    if (!up && ((r >= 0xC0 && r <= 0xDE && r != 0xD7) || (r >= 0x391 && r <= 0x3A9 && r != 0x3A2) ||
                (r >= 0x410 && r <= 0x42F)))
        return r + 0x20;
    return r;
}

/* What title takes for the space between words. */
static bool is_separator(uint32_t r)
{
    return r < 0x80 ? !isalnum((int)r) && r != '_' : r == 0xA0 || r == 0x3000;
}

enum letters { LETTERS_LOWER, LETTERS_UPPER, LETTERS_TITLE };

static int change_letters(const struct call *call, enum letters letters, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);
    const char *s = json_string_value(call->args[0]);
    size_t len = json_string_length(call->args[0]), took;
    uint32_t rune, last = ' ';

    if (call->headers)
        return header(call, ret_value);
    for (size_t i = 0; i < len; i += took) {
        bool change = letters != LETTERS_TITLE || is_separator(last);

        took = rune_decode(s + i, len - i, &rune);
        if (rune == RUNE_INVALID)
            buf_add(&text, s + i, took);
        else
            rune_encode(&text, change ? change_case(rune, letters != LETTERS_LOWER) : rune);
        last = rune;
    }
    return give(&text, ret_value, err);
}

static int function_lower(const struct call *call, json_t **ret_value, struct err *err)
{
    return change_letters(call, LETTERS_LOWER, ret_value, err);
}

static int function_upper(const struct call *call, json_t **ret_value, struct err *err)
{
    return change_letters(call, LETTERS_UPPER, ret_value, err);
}

static int function_title(const struct call *call, json_t **ret_value, struct err *err)
{
    return change_letters(call, LETTERS_TITLE, ret_value, err);
}

static int add_blanks(struct buf *text, json_int_t count, struct err *err)
{
    if (count < 0)
        return err_set(err, 0, "strings: negative Repeat count");
    for (; count && !text->overflowed; count--)
        buf_addc(text, ' ');
    return 0;
}

static int function_pad(const struct call *call, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE);
    const json_t *s = call->args[0];

    if (call->headers || !json_string_length(s))
        return header(call, ret_value);
    if (add_blanks(&text, json_integer_value(call->args[1]), err) < 0)
        return -1;
    buf_add(&text, json_string_value(s), json_string_length(s));
    if (add_blanks(&text, json_integer_value(call->args[2]), err) < 0)
        return -1;
    return give(&text, ret_value, err);
}

static int function_truncate(const struct call *call, json_t **ret_value, struct err *err)
{
    json_int_t len = json_integer_value(call->args[1]);

    if (call->headers || (json_int_t)json_string_length(call->args[0]) < len)
        return header(call, ret_value);
    if (len < 0)
        return err_set(err, 0, "runtime error: slice bounds out of range [:%" JSON_INTEGER_FORMAT "]", len);
    *ret_value = value_string(json_string_value(call->args[0]), (size_t)len);
    return 0;
}

static int function_len(const struct call *call, json_t **ret_value, struct err *err)
{
    const json_t *value = call->args[0];

    if (!value || (call->nodes[0] && call->nodes[0]->type == NODE_NIL))
        return err_set(err, 0, "reflect: call of reflect.Value.Type on zero Value");
    if (json_is_null(value))
        return err_set(err, 0, "len of nil pointer");
    if (json_is_string(value))
        *ret_value = json_integer((json_int_t)json_string_length(value));
    else if (json_is_array(value))
        *ret_value = json_integer((json_int_t)json_array_size(value));
    else if (json_is_object(value))
        *ret_value = json_integer((json_int_t)json_object_size(value));
    else
        return err_set(err, 0, "len of type %s", value_type(value));
    return 0;
}

/* A whole number as an index up to max. */
static int as_index(const json_t *index, size_t max, size_t *ret_index, struct err *err)
{
    if (!index || json_is_null(index))
        return err_set(err, 0, "cannot index slice/array with nil");
    if (!json_is_integer(index))
        return err_set(err, 0, "cannot index slice/array with type %s", value_type(index));
    if (json_integer_value(index) < 0 || (json_int_t)max < json_integer_value(index))
        return err_set(err, 0, "index out of range: %" JSON_INTEGER_FORMAT, json_integer_value(index));
    *ret_index = (size_t)json_integer_value(index);
    return 0;
}

/* A key that is not there: the empty text where all members are texts (a map of strings), else no value. */
static json_t *absent_member(const json_t *object)
{
    json_t *o = (json_t *)object; /* iterating changes nothing */

    for (void *at = json_object_iter(o); at; at = json_object_iter_next(o, at))
        if (!json_is_string(json_object_iter_value(at)))
            return NULL;
    return value_string("", 0);
}

/* One step of index; *ret_value is a new reference. */
static int index_once(const json_t *value, const json_t *index, json_t **ret_value, struct err *err)
{
    size_t at;

    if (!value || json_is_null(value))
        return err_set(err, 0, "index of untyped nil");
    if (json_is_object(value)) {
        json_t *member;

        if (!json_is_string(index))
            return err_set(err, 0, "value has type %s; should be string", value_type(index));
        member = json_object_get(value, json_string_value(index));
        *ret_value = member ? json_incref(member) : absent_member(value);
        return 0;
    }
    if (json_is_array(value)) {
        if (as_index(index, json_array_size(value), &at, err) < 0)
            return -1;
        if (at == json_array_size(value))
            return err_set(err, 0, "reflect: slice index out of range");
        *ret_value = json_incref(json_array_get(value, at));
        return 0;
    }
    if (!json_is_string(value))
        return err_set(err, 0, "can't index item of type %s", value_type(value));
    if (as_index(index, json_string_length(value), &at, err) < 0)
        return -1;
    if (at == json_string_length(value))
        return err_set(err, 0, "reflect: string index out of range");
    *ret_value = json_integer((unsigned char)json_string_value(value)[at]);
    return 0;
}

static int function_index(const struct call *call, json_t **ret_value, struct err *err)
{
    json_t *value = json_incref(call->args[0]);

    if (!value || json_is_null(value))
        return err_set(err, 0, "index of untyped nil");
    for (size_t i = 1; i < call->count; i++) {
        json_t *member = NULL;
        int rc = index_once(value, call->args[i], &member, err);

        json_decref(value);
        if (rc < 0)
            return -1;
        value = member;
    }
    *ret_value = value;
    return 0;
}

static int function_slice(const struct call *call, json_t **ret_value, struct err *err)
{
    const json_t *value = call->args[0];
    bool text = json_is_string(value);
    size_t len = text ? json_string_length(value) : json_array_size(value), from = 0, to = len;

    if (!value || json_is_null(value))
        return err_set(err, 0, "slice of untyped nil");
    if (!text && !json_is_array(value))
        return err_set(err, 0, "can't slice item of type %s", value_type(value));
    if (call->count > 3)
        return err_set(err, 0, text ? "cannot 3-index slice a string" : "too many slice indexes: %zu", call->count - 1);
    if ((call->count > 1 && as_index(call->args[1], len, &from, err) < 0) ||
        (call->count > 2 && as_index(call->args[2], len, &to, err) < 0))
        return -1;
    if (from > to)
        return err_set(err, 0, "invalid slice index: %zu > %zu", from, to);
    if (text) {
        *ret_value = value_string(json_string_value(value) + from, to - from);
        return 0;
    }
    *ret_value = json_array();
    for (; from < to; from++)
        json_array_append(*ret_value, json_array_get(value, from));
    return 0;
}

static int function_not(const struct call *call, json_t **ret_value, struct err *err)
{
    (void)err;
    *ret_value = json_boolean(!value_is_true(call->args[0]));
    return 0;
}

static int function_call(const struct call *call, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE);

    (void)ret_value;
    if (!call->args[0] || json_is_null(call->args[0]))
        return err_set(err, 0, "call of nil");
    if (call->nodes[0])
        node_text(call->nodes[0], &text);
    return err_set(err, 0, "non-function %s of type %s", text.data, value_type(call->args[0]));
}

static int function_print(const struct call *call, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

    go_sprint(&text, call->args, call->count, /* line= */ false);
    return give(&text, ret_value, err);
}

static int function_println(const struct call *call, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

    go_sprint(&text, call->args, call->count, /* line= */ true);
    return give(&text, ret_value, err);
}

static int function_printf(const struct call *call, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

    go_sprintf(&text, json_string_value(call->args[0]), call->args + 1, call->count - 1);
    return give(&text, ret_value, err);
}

/* The text of all arguments, printed as print does unless it is one text. */
static void all_text(const struct call *call, struct buf *out)
{
    go_sprint(out, call->args, call->count, /* line= */ false);
}

static int function_html(const struct call *call, json_t **ret_value, struct err *err)
{
    static const char special[] = "\"'&<>";
    static const char *const names[] = {"&#34;", "&#39;", "&amp;", "&lt;", "&gt;"};
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT), out = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

    all_text(call, &text);
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.data[i] ? strchr(special, text.data[i]) : NULL;

        if (!text.data[i])
            buf_adds(&out, "\xEF\xBF\xBD");
        else if (at)
            buf_adds(&out, names[at - special]);
        else
            buf_addc(&out, text.data[i]);
    }
    return give(&out, ret_value, err);
}

static int function_js(const struct call *call, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT), out = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

    all_text(call, &text);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c && strchr("\\'\"", c))
            buf_addf(&out, "\\%c", c);
        else if (c < 0x20 || (c && strchr("<>&=", c)))
            buf_addf(&out, "\\u%04X", c);
        else
            buf_addc(&out, (char)c);
    }
    return give(&out, ret_value, err);
}

static int function_urlquery(const struct call *call, json_t **ret_value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_TEMPLATE_OUTPUT), out = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

    all_text(call, &text);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (isalnum(c) || (c && strchr("-_.~", c)))
            buf_addc(&out, (char)c);
        else if (c == ' ')
            buf_addc(&out, '+');
        else
            buf_addf(&out, "%%%02X", c);
    }
    return give(&out, ret_value, err);
}

static const struct function functions[] = {
    {"and", 1, -1, ".", NULL},
    {"call", 1, -1, ".", function_call},
    {"eq", 1, -1, ".", function_eq},
    {"ge", 2, 2, ".", function_ge},
    {"gt", 2, 2, ".", function_gt},
    {"html", 0, -1, ".", function_html},
    {"index", 1, -1, ".", function_index},
    {"join", 2, 2, "ls", function_join},
    {"js", 0, -1, ".", function_js},
    {"json", 1, 1, ".", function_json},
    {"le", 2, 2, ".", function_le},
    {"len", 1, 1, ".", function_len},
    {"lower", 1, 1, "s", function_lower},
    {"lt", 2, 2, ".", function_lt},
    {"ne", 2, 2, ".", function_ne},
    {"not", 1, 1, ".", function_not},
    {"or", 1, -1, ".", NULL},
    {"pad", 3, 3, "sii", function_pad},
    {"print", 0, -1, ".", function_print},
    {"printf", 1, -1, "s.", function_printf},
    {"println", 0, -1, ".", function_println},
    {"slice", 1, -1, ".", function_slice},
    {"split", 2, 2, "ss", function_split},
    {"title", 1, 1, "s", function_title},
    {"truncate", 2, 2, "si", function_truncate},
    {"upper", 1, 1, "s", function_upper},
    {"urlquery", 0, -1, ".", function_urlquery},
};

const struct function *function_find(const char *name)
{
    for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++)
        if (!strcmp(functions[i].name, name))
            return &functions[i];
    return NULL;
}
