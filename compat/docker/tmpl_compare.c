/* eq, ne, lt, le, gt, ge: Go compares values of one kind only. */
#include "compat/docker/tmpl_node.h"

#include "compat/base/err.h"

#include <string.h>

enum kind { KIND_NONE, KIND_BOOL, KIND_INT, KIND_FLOAT, KIND_STRING, KIND_OTHER };

static enum kind kind_of(const json_t *value)
{
    if (!value || json_is_null(value))
        return KIND_NONE;
    if (json_is_boolean(value))
        return KIND_BOOL;
    if (json_is_integer(value))
        return KIND_INT;
    if (json_is_real(value))
        return KIND_FLOAT;
    return json_is_string(value) ? KIND_STRING : KIND_OTHER;
}

static int incompatible(struct err *err)
{
    return err_set(err, 0, "incompatible types for comparison");
}

static int compare_strings(const json_t *a, const json_t *b)
{
    size_t x = json_string_length(a), y = json_string_length(b);
    int order = memcmp(json_string_value(a), json_string_value(b), x < y ? x : y);

    return order ? order : x < y ? -1 : x > y;
}

/* Whether two values are equal. */
static int equal(const json_t *a, const json_t *b, bool *ret_equal, struct err *err)
{
    enum kind x = kind_of(a), y = kind_of(b);

    if (x == KIND_NONE || y == KIND_NONE) {
        *ret_equal = x == y;
        return 0;
    }
    if (x != y)
        return incompatible(err);
    if (x == KIND_OTHER)
        return err_set(err, 0, "non-comparable type %s: %s", value_type(a), value_type(b));
    *ret_equal = x == KIND_STRING ? !compare_strings(a, b) : json_equal(a, b);
    return 0;
}

/* Whether a comes before b. */
static int before(const json_t *a, const json_t *b, bool *ret_before, struct err *err)
{
    enum kind x = kind_of(a), y = kind_of(b);

    if (x != y && x != KIND_OTHER && y != KIND_OTHER && x != KIND_NONE && y != KIND_NONE)
        return incompatible(err);
    if (x != y || x == KIND_BOOL || x == KIND_OTHER || x == KIND_NONE)
        return err_set(err, 0, "invalid type for comparison");
    if (x == KIND_INT)
        *ret_before = json_integer_value(a) < json_integer_value(b);
    else if (x == KIND_FLOAT)
        *ret_before = json_real_value(a) < json_real_value(b);
    else
        *ret_before = compare_strings(a, b) < 0;
    return 0;
}

/* The first argument equals any of the others. */
int function_eq(const struct call *call, json_t **ret_value, struct err *err)
{
    bool same = false;

    if (kind_of(call->args[0]) == KIND_OTHER)
        return err_set(err, 0, "non-comparable type %s", value_type(call->args[0]));
    if (call->count < 2)
        return err_set(err, 0, "missing argument for comparison");
    for (size_t i = 1; i < call->count && !same; i++)
        if (equal(call->args[0], call->args[i], &same, err) < 0)
            return -1;
    *ret_value = json_boolean(same);
    return 0;
}

int function_ne(const struct call *call, json_t **ret_value, struct err *err)
{
    bool same = false;

    if (equal(call->args[0], call->args[1], &same, err) < 0)
        return -1;
    *ret_value = json_boolean(!same);
    return 0;
}

int function_lt(const struct call *call, json_t **ret_value, struct err *err)
{
    bool less = false;

    if (before(call->args[0], call->args[1], &less, err) < 0)
        return -1;
    *ret_value = json_boolean(less);
    return 0;
}

int function_le(const struct call *call, json_t **ret_value, struct err *err)
{
    bool less = false, same = false;

    if (before(call->args[0], call->args[1], &less, err) < 0 || equal(call->args[0], call->args[1], &same, err) < 0)
        return -1;
    *ret_value = json_boolean(less || same);
    return 0;
}

int function_gt(const struct call *call, json_t **ret_value, struct err *err)
{
    json_t *le = NULL;

    if (function_le(call, &le, err) < 0)
        return -1;
    *ret_value = json_boolean(!json_is_true(le));
    return 0;
}

int function_ge(const struct call *call, json_t **ret_value, struct err *err)
{
    json_t *lt = NULL;

    if (function_lt(call, &lt, err) < 0)
        return -1;
    *ret_value = json_boolean(!json_is_true(lt));
    return 0;
}
