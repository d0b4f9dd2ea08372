#include "translate/detach_keys.h"

#include "compat/base/err.h"
#include "compat/base/strlist.h"

#include <string.h>

/* One key as Docker spells it; -1: there is none of this name. */
static int key_code(const char *name)
{
    static const char after_z[] = "[\\]^_";
    const char *at;

    if (strlen(name) == 1)
        return (uint8_t)name[0];
    if (strncmp(name, "ctrl-", 5) != 0 || strlen(name) != 6)
        return -1;
    if (name[5] == '@')
        return 0;
    if (name[5] >= 'a' && name[5] <= 'z')
        return name[5] - 'a' + 1;
    at = strchr(after_z, name[5]);
    return at ? (int)(27 + (at - after_z)) : -1;
}

int detach_keys_parse(const char *text, struct detach_keys *ret, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    struct detach_keys k = {.len = 0};

    strlist_split(&names, text && *text ? text : "ctrl-p,ctrl-q", ',');
    for (size_t i = 0; i < names.len; i++) {
        int code = k.len < DETACH_KEYS_MAX ? key_code(names.items[i]) : -1;

        if (code < 0)
            return err_set(err, 0, "invalid detach keys (%s): Unknown character: '%s'", text, names.items[i]);
        k.keys[k.len++] = (uint8_t)code;
    }
    *ret = k;
    return 0;
}

bool detach_keys_filter(struct detach_keys *k, const uint8_t *in, size_t len, uint8_t *out, size_t *ret_len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (in[i] != k->keys[k->matched]) { /* not it: what was held back was meant */
            memcpy(out + n, k->keys, k->matched);
            n += k->matched;
            k->matched = 0;
        }
        if (in[i] == k->keys[k->matched]) {
            if (++k->matched == k->len) {
                *ret_len = n;
                return true;
            }
        } else {
            out[n++] = in[i];
        }
    }
    *ret_len = n;
    return false;
}
