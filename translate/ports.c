/* The words of -p and --expose, as docker's client reads them. How they are shown: ports_text.c. */
#include "translate/ports.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NO_STREAM "its ports travel as streams of bytes to the container, which %s is not"

static const char *const proto_names[PORT_PROTO_MAX] = {
    [PORT_TCP] = "tcp",
    [PORT_UDP] = "udp",
    [PORT_SCTP] = "sctp",
};

const char *port_proto_name(enum port_proto proto)
{
    return proto_names[proto];
}

void ports_clear(struct ports *p)
{
    for (size_t i = 0; i < p->len; i++)
        free(p->items[i].host_ip);
    free(p->items);
    strlist_clear(&p->exposed);
    *p = (struct ports){0};
}

/* ---- numbers ---- */

enum number_fault { NUMBER_OK, NUMBER_SYNTAX, NUMBER_RANGE };

/* Decimal digits and nothing else, 65535 at most. */
static enum number_fault read_number(const char *text, size_t len, unsigned *ret)
{
    unsigned value = 0;
    bool over = false;

    if (!len)
        return NUMBER_SYNTAX;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]))
            return NUMBER_SYNTAX;
        value = 10 * value + (unsigned)(text[i] - '0');
        over = over || value > UINT16_MAX;
        if (over)
            value = 0;
    }
    *ret = value;
    return over ? NUMBER_RANGE : NUMBER_OK;
}

/* "80", "80-90". The reason why not, as Go says it, in err, without a word of what it was for. */
static int read_range(const char *text, unsigned *ret_from, unsigned *ret_to, struct err *err)
{
    const char *dash = strchr(text, '-'), *faulty = text;
    size_t len = dash ? (size_t)(dash - text) : strlen(text);
    enum number_fault fault = read_number(text, len, ret_from);

    if (!*text)
        return err_set(err, 125, "empty string specified for ports");
    *ret_to = *ret_from;
    if (fault == NUMBER_OK && dash) {
        faulty = dash + 1;
        len = strlen(faulty);
        fault = read_number(faulty, len, ret_to);
    }
    if (fault != NUMBER_OK)
        return err_set(err, 125, "strconv.ParseUint: parsing \"%.*s\": %s", (int)len, faulty,
                       fault == NUMBER_SYNTAX ? "invalid syntax" : "value out of range");
    if (*ret_to < *ret_from)
        return err_set(err, 125, "invalid range specified for port: %s", text);
    return 0;
}

/* The part before a '/' in *ret_port, owned by caller, and what is behind it; "tcp" by default. */
static int split_proto(const char *text, char **ret_port, enum port_proto *ret_proto, struct err *err)
{
    size_t len = strcspn(text, "/");
    const char *word = text[len] ? text + len + 1 : "";
    cleanup_free char *proto = len ? xstrndup(word, strcspn(word, "/")) : xstrdup("");

    *ret_port = xstrndup(text, len);
    if (!*proto) {
        *ret_proto = PORT_TCP;
        return 0;
    }
    for (enum port_proto p = 0; p < PORT_PROTO_MAX; p++)
        if (strcasecmp(proto_names[p], proto) == 0) {
            *ret_proto = p;
            return 0;
        }
    return err_set(err, 125, "invalid proto: %s", proto);
}

/* ---- the list ---- */

static int too_many(struct err *err)
{
    return err_set(err, 125, "a container can have %d ports at most", PORTS_MAX);
}

/* Those that are there already go when all are sorted. */
static int expose_one(struct ports *p, unsigned port, enum port_proto proto, struct err *err)
{
    if (p->exposed.len >= 2 * PORTS_MAX)
        return too_many(err);
    strlist_addf(&p->exposed, "%u/%s", port, proto_names[proto]);
    return 0;
}

/* Takes host_ip. */
static int add(struct ports *p, unsigned target, enum port_proto proto, char *host_ip, unsigned from, unsigned to,
               struct err *err)
{
    if (p->len >= PORTS_PUBLISHED_MAX) {
        free(host_ip);
        return err_set(err, 125, "a container can have %d published ports at most", PORTS_PUBLISHED_MAX);
    }
    p->items = xreallocarray(p->items, p->len + 1, sizeof(*p->items));
    p->items[p->len++] = (struct port_binding){
        .target = (uint16_t)target, .proto = proto, .host_ip = host_ip, .from = (uint16_t)from, .to = (uint16_t)to};
    return expose_one(p, target, proto, err);
}

/* ---- -p ---- */

static bool is_ip(const char *text)
{
    unsigned char raw[16];

    return inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1;
}

/* The address without its brackets; owned by caller, NULL and err. */
static char *read_ip(const char *text, struct err *err)
{
    size_t len = strlen(text);
    char *ip;

    if (*text == '[' && text[len - 1] != ']') {
        err_set(err, 125, "invalid IP address %s: address %s:: missing ']' in address", text, text);
        return NULL;
    }
    ip = *text == '[' ? xstrndup(text + 1, len - 2) : xstrdup(text);
    if (!*ip || is_ip(ip))
        return ip;
    err_set(err, 125, "invalid IP address: %s", ip);
    free(ip);
    return NULL;
}

/* One word cut at its colons: [[ip]:[host]:]container. */
struct words {
    char *ip, *host, *container;
};

static void words_clear(struct words *w)
{
    free(w->ip);
    free(w->host);
    free(w->container);
}

static void cut(const char *word, struct words *ret)
{
    const char *last = strrchr(word, ':'), *before = NULL;

    *ret = (struct words){.container = xstrdup(last ? last + 1 : word)};
    for (const char *c = word; last && c < last; c++)
        if (*c == ':')
            before = c;
    ret->ip = before ? xstrndup(word, (size_t)(before - word)) : xstrdup("");
    if (!last)
        ret->host = xstrdup("");
    else
        ret->host = before ? xstrndup(before + 1, (size_t)(last - before - 1)) : xstrndup(word, (size_t)(last - word));
}

/* Both ranges: of one length, or a range of the host for one port. */
static int add_range(struct ports *p, const struct words *w, const char *ip, const char *port, enum port_proto proto,
                     struct err *err)
{
    unsigned from, to, host_from = 0, host_to = 0;

    if (read_range(port, &from, &to, NULL) < 0)
        return err_set(err, 125, "invalid containerPort: %s", port);
    if (*w->host && read_range(w->host, &host_from, &host_to, NULL) < 0)
        return err_set(err, 125, "invalid hostPort: %s", w->host);
    if (*w->host && to - from != host_to - host_from && to != from)
        return err_set(err, 125, "invalid ranges specified for container and host Ports: %s and %s", port, w->host);
    for (unsigned i = 0; i <= to - from; i++) {
        unsigned first = *w->host ? host_from + i : 0;

        if (add(p, from + i, proto, xstrdup(ip), first, from == to && *w->host ? host_to : first, err) < 0)
            return -1;
    }
    return 0;
}

static int publish(struct ports *p, const char *word, struct err *err)
{
    cleanup_with(words_clear) struct words w;
    cleanup_free char *ip = NULL, *port = NULL;
    struct err why = ERR_INIT;
    enum port_proto proto = PORT_TCP;
    int ret;

    cut(word, &w);
    ret = split_proto(w.container, &port, &proto, &why);
    ip = read_ip(w.ip, err);
    if (!ip) {
        err_clear(&why);
        return -1;
    }
    if (!*port) {
        err_clear(&why);
        return err_set(err, 125, "no port specified: %s<empty>", word);
    }
    if (ret < 0)
        return err_move(err, &why);
    return add_range(p, &w, ip, port, proto, err);
}

/* published=8080,target=80,protocol=tcp: the same in other words; what it does not know it passes over. */
static int publish_named(struct ports *p, const char *word, struct err *err)
{
    cleanup_free char *published = xstrdup(""), *target = xstrdup(""), *protocol = xstrdup("tcp"), *usual = NULL;
    cleanup_strlist struct strlist params = STRLIST_INIT;

    strlist_split(&params, word, ',');
    for (size_t i = 0; i < params.len; i++) {
        const char *param = params.items[i], *value = strchr(param, '=');
        size_t len = value ? (size_t)(value - param) : 0;
        char **place = NULL;

        if (!len)
            return err_set(err, 125, "invalid publish opts format (should be name=value but got '%s')", param);
        if (len == strlen("published") && !strncmp(param, "published", len))
            place = &published;
        else if (len == strlen("target") && !strncmp(param, "target", len))
            place = &target;
        else if (len == strlen("protocol") && !strncmp(param, "protocol", len))
            place = &protocol;
        if (place) {
            free(*place);
            *place = xstrdup(value + 1);
        }
    }
    usual = xasprintf("%s:%s/%s", published, target, protocol);
    return publish(p, usual, err);
}

int ports_publish(struct ports *p, const char *word, struct err *err)
{
    return strchr(word, '=') ? publish_named(p, word, err) : publish(p, word, err);
}

/* ---- --expose ---- */

int ports_expose(struct ports *p, const char *word, struct err *err)
{
    cleanup_free char *port = NULL;
    enum port_proto proto = PORT_TCP;
    struct err why = ERR_INIT;
    unsigned from = 0, to = 0;

    if (strchr(word, ':'))
        return err_set(err, 125, "invalid port format for --expose: %s", word);
    if (split_proto(word, &port, &proto, err) < 0)
        return -1;
    if (read_range(port, &from, &to, &why) < 0) {
        err_set(err, 125, "invalid range format for --expose: %s, error: %s", word, why.msg);
        err_clear(&why);
        return -1;
    }
    for (unsigned i = from; i <= to; i++)
        if (expose_one(p, i, proto, err) < 0)
            return -1;
    return 0;
}

/* ---- all of them ---- */

/* By the text of the port, as the keys of Docker's maps come; equal ones stay in their order. */
static int compare(const struct port_binding *a, const struct port_binding *b)
{
    char left[16], right[16];

    snprintf(left, sizeof(left), "%u/%s", a->target, proto_names[a->proto]);
    snprintf(right, sizeof(right), "%u/%s", b->target, proto_names[b->proto]);
    return strcmp(left, right);
}

/* Stable, and quick where all are in order. */
static void sort_bindings(struct ports *p)
{
    for (size_t i = 1; i < p->len; i++) {
        struct port_binding item = p->items[i];
        size_t at = i;

        for (; at > 0 && compare(&p->items[at - 1], &item) > 0; at--)
            p->items[at] = p->items[at - 1];
        p->items[at] = item;
    }
}

/* Sorted, each once. */
static void sort_exposed(struct strlist *list)
{
    size_t kept = 0;

    strlist_sort(list);
    for (size_t i = 0; i < list->len; i++) {
        if (kept && !strcmp(list->items[kept - 1], list->items[i]))
            free(list->items[i]);
        else
            list->items[kept++] = list->items[i];
    }
    if (list->items)
        list->items[kept] = NULL;
    list->len = kept;
}

int ports_finish(struct ports *p, struct err *err)
{
    for (size_t i = 0; i < p->len; i++) {
        if (p->items[i].proto != PORT_TCP)
            return err_set(err, 125, "publishing port %u/%s is refused by atp-docker: " NO_STREAM, p->items[i].target,
                           proto_names[p->items[i].proto], proto_names[p->items[i].proto]);
        if (!p->items[i].target)
            return err_set(err, 125, "invalid containerPort: 0");
    }
    sort_bindings(p);
    sort_exposed(&p->exposed);
    return 0;
}

void ports_expose_all(struct strlist *ret, const struct strlist *image, const struct strlist *line)
{
    strlist_copy(ret, image);
    strlist_copy(ret, line);
    sort_exposed(ret);
}

static bool is_published(const struct ports *p, uint16_t port, enum port_proto proto)
{
    for (size_t i = 0; i < p->len; i++)
        if (p->items[i].target == port && p->items[i].proto == proto)
            return true;
    return false;
}

void ports_publish_exposed(struct ports *p, const struct strlist *exposed)
{
    for (size_t i = 0; i < exposed->len; i++) {
        enum port_proto proto;
        uint16_t port;

        if (port_parse(exposed->items[i], &port, &proto) == 0 && port && proto == PORT_TCP &&
            !is_published(p, port, proto))
            (void)add(p, port, proto, xstrdup(""), 0, 0, NULL);
    }
    sort_bindings(p);
    sort_exposed(&p->exposed);
}

int port_parse(const char *text, uint16_t *ret_port, enum port_proto *ret_proto)
{
    cleanup_free char *port = NULL;
    unsigned number = 0;

    if (split_proto(text, &port, ret_proto, NULL) < 0 || read_number(port, strlen(port), &number) != NUMBER_OK)
        return -1;
    *ret_port = (uint16_t)number;
    return 0;
}
