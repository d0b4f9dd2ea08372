#include "backends/engine/fault.h"

#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FAULT_RULES 64 /* a test needs a handful */

struct rule {
    char method[64];
    uint64_t first, last, seen;
    enum fault_call kind;
    int code;
    double retry_secs;
};

struct drop {
    uint64_t bytes; /* 0 = off */
    int64_t left;   /* -1 = every connection */
};

struct fault {
    struct rule rules[FAULT_RULES];
    size_t rules_len;
    struct drop drop_out, drop_in;
    uint64_t latency, bandwidth, slow_start, die_after;
    unsigned token_ttl, token_epoch;
    bool expire;
};

static const struct code_name {
    const char *name;
    int code;
} code_names[] = {
    {"aborted", GRPC_ABORTED},
    {"cancelled", GRPC_CANCELLED},
    {"deadline_exceeded", GRPC_DEADLINE_EXCEEDED},
    {"internal", GRPC_INTERNAL},
    {"resource_exhausted", GRPC_RESOURCE_EXHAUSTED},
    {"unavailable", GRPC_UNAVAILABLE},
    {"unknown", GRPC_UNKNOWN},
};

struct fault *fault_new(void)
{
    return xcalloc(1, sizeof(struct fault));
}

void fault_free(struct fault *f)
{
    free(f);
}

/* Reads digits at *p and moves it behind them. */
static int take_number(const char **p, uint64_t *ret)
{
    char *end;
    unsigned long long value;

    if (!isdigit((unsigned char)**p))
        return -1;
    errno = 0;
    value = strtoull(*p, &end, 10);
    if (errno)
        return -1;
    *p = end;
    *ret = value;
    return 0;
}

/* A number and nothing else. */
static int whole_number(const char *text, uint64_t *ret)
{
    return take_number(&text, ret) < 0 || *text ? -1 : 0;
}

/* BYTES[xCOUNT] */
static int parse_drop(const char *text, struct drop *drop)
{
    uint64_t count;

    drop->left = -1;
    if (take_number(&text, &drop->bytes) < 0 || drop->bytes == 0)
        return -1;
    if (!*text)
        return 0;
    if (*text++ != 'x' || whole_number(text, &count) < 0 || count > INT32_MAX)
        return -1;
    drop->left = (int64_t)count;
    return 0;
}

/* K[-L], then the end or ':'. */
static int parse_range(const char **p, struct rule *rule)
{
    if (take_number(p, &rule->first) < 0 || rule->first == 0)
        return -1;
    rule->last = rule->first;
    if (**p == '-') {
        (*p)++;
        if (take_number(p, &rule->last) < 0 || rule->last < rule->first)
            return -1;
    }
    return **p == '\0' || **p == ':' ? 0 : -1;
}

/* [:CODE[:SECS]] */
static int parse_code(const char *p, struct rule *rule)
{
    size_t len;

    rule->code = GRPC_UNAVAILABLE;
    if (!*p)
        return 0;
    len = strcspn(++p, ":");
    rule->code = -1;
    for (size_t i = 0; i < sizeof(code_names) / sizeof(code_names[0]); i++)
        if (strlen(code_names[i].name) == len && strncmp(code_names[i].name, p, len) == 0)
            rule->code = code_names[i].code;
    if (rule->code < 0)
        return -1;
    p += len;
    if (*p) {
        char *end;

        rule->retry_secs = strtod(p + 1, &end);
        if (end == p + 1 || *end || !(rule->retry_secs >= 0 && rule->retry_secs < 3600))
            return -1;
    }
    return 0;
}

/* METHOD:K[-L]..., for fail and lost. */
static int parse_rule(struct fault *f, const char *text, enum fault_call kind)
{
    struct rule rule = {.kind = kind, .code = GRPC_UNAVAILABLE};
    size_t len = strcspn(text, ":");
    const char *p = text + len;

    if (len == 0 || len >= sizeof(rule.method) || *p != ':' || f->rules_len == FAULT_RULES)
        return -1;
    memcpy(rule.method, text, len);
    p++;
    if (parse_range(&p, &rule) < 0)
        return -1;
    if (kind == FAULT_LOST ? *p != '\0' : parse_code(p, &rule) < 0)
        return -1;
    f->rules[f->rules_len++] = rule;
    return 0;
}

/* One item, trimmed. */
static int parse_item(struct fault *f, const char *item)
{
    const char *eq = strchr(item, '=');
    size_t len = eq ? (size_t)(eq - item) : strlen(item);
    uint64_t number = 0;
    static const struct numeric {
        const char *name;
        size_t offset;
    } numerics[] = {
        {"latency", offsetof(struct fault, latency)},
        {"bandwidth", offsetof(struct fault, bandwidth)},
        {"slow-start", offsetof(struct fault, slow_start)},
        {"die-after", offsetof(struct fault, die_after)},
    };

    if (!eq) {
        f->expire = strcmp(item, "expire-tokens") == 0;
        return f->expire ? 0 : -1;
    }
    eq++;
    for (size_t i = 0; i < sizeof(numerics) / sizeof(numerics[0]); i++)
        if (strlen(numerics[i].name) == len && strncmp(numerics[i].name, item, len) == 0)
            return whole_number(eq, (uint64_t *)((char *)f + numerics[i].offset));
    if (strncmp(item, "drop=", 5) == 0)
        return parse_drop(eq, &f->drop_out);
    if (strncmp(item, "drop-in=", 8) == 0)
        return parse_drop(eq, &f->drop_in);
    if (strncmp(item, "fail=", 5) == 0)
        return parse_rule(f, eq, FAULT_FAIL);
    if (strncmp(item, "lost=", 5) == 0)
        return parse_rule(f, eq, FAULT_LOST);
    if (strncmp(item, "token-ttl=", 10) != 0 || whole_number(eq, &number) < 0 || number > UINT32_MAX)
        return -1;
    f->token_ttl = (unsigned)number;
    return 0;
}

/* Removes white space at both ends, in place. */
static char *trim(char *s)
{
    size_t len;

    while (isspace((unsigned char)*s))
        s++;
    for (len = strlen(s); len && isspace((unsigned char)s[len - 1]); len--)
        s[len - 1] = '\0';
    return s;
}

int fault_set(struct fault *f, const char *spec, struct err *err)
{
    cleanup_strlist struct strlist items = STRLIST_INIT;
    cleanup_free struct fault *next = fault_new();

    strlist_split(&items, spec, ',');
    for (size_t i = 0; i < items.len; i++) {
        const char *item = trim(items.items[i]);

        if (*item && parse_item(next, item) < 0)
            return err_set(err, 125, "invalid fault \"%s\"", item);
    }
    next->token_epoch = f->token_epoch + (next->expire ? 1 : 0);
    *f = *next;
    return 0;
}

/* Every rule that names the method counts the call; the first whose range holds decides. */
enum fault_call fault_next_call(struct fault *f, const char *method, int *ret_code, double *ret_retry_secs)
{
    enum fault_call kind = FAULT_NONE;

    for (size_t i = 0; i < f->rules_len; i++) {
        struct rule *rule = &f->rules[i];

        if (strcmp(rule->method, "*") != 0 && strcmp(rule->method, method) != 0)
            continue;
        rule->seen++;
        if (kind != FAULT_NONE || rule->seen < rule->first || rule->seen > rule->last)
            continue;
        kind = rule->kind;
        *ret_code = rule->code;
        *ret_retry_secs = rule->retry_secs;
    }
    return kind;
}

uint64_t fault_latency(const struct fault *f)
{
    return f->latency;
}

uint64_t fault_bandwidth(const struct fault *f)
{
    return f->bandwidth;
}

uint64_t fault_take_drop(struct fault *f, bool incoming)
{
    struct drop *drop = incoming ? &f->drop_in : &f->drop_out;

    if (drop->left == 0)
        return 0;
    if (drop->left > 0)
        drop->left--;
    return drop->bytes;
}

unsigned fault_token_ttl(const struct fault *f)
{
    return f->token_ttl;
}

unsigned fault_token_epoch(const struct fault *f)
{
    return f->token_epoch;
}

uint64_t fault_slow_start(const struct fault *f)
{
    return f->slow_start;
}

uint64_t fault_die_after(const struct fault *f)
{
    return f->die_after;
}
