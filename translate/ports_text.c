/* Ports as inspect, ps and port show them, and back from a record. */
#include "translate/ports.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN_MAX (8u << 20) /* of PORTS_MAX ports, each with two addresses */

/* object[key], an empty array if there was none; borrowed. */
static json_t *array_of(json_t *object, const char *key)
{
    json_t *array = json_object_get(object, key);

    if (json_is_array(array))
        return array;
    array = json_array();
    json_object_set_new(object, key, array);
    return array;
}

static char *key_of(uint16_t port, enum port_proto proto)
{
    return xasprintf("%u/%s", port, port_proto_name(proto));
}

/* ---- HostConfig.PortBindings ---- */

json_t *ports_bindings_json(const struct ports *p)
{
    json_t *bindings = json_object();

    for (size_t i = 0; i < p->len; i++) {
        const struct port_binding *b = &p->items[i];
        cleanup_free char *key = key_of(b->target, b->proto), *host = NULL;

        if (b->from != b->to)
            host = xasprintf("%u-%u", b->from, b->to);
        else
            host = b->from ? xasprintf("%u", b->from) : xstrdup("");
        json_array_append_new(array_of(bindings, key), json_pack("{s:s, s:s}", "HostIp", b->host_ip, "HostPort", host));
    }
    return bindings;
}

/* One binding in the words of -p: what those accept is what a record may have. */
static int read_binding(struct ports *p, const char *key, const json_t *one, struct err *err)
{
    const char *ip = json_string_value(json_object_get(one, "HostIp"));
    const char *port = json_string_value(json_object_get(one, "HostPort"));
    cleanup_free char *word = NULL;

    if (!ip || !port || strchr(ip, '=') || strchr(port, ':') || strchr(port, '='))
        return err_set(err, 125, "container record: PortBindings is not well formed");
    word = *ip ? xasprintf("[%s]:%s:%s", ip, port, key) : xasprintf("%s:%s", port, key);
    return ports_publish(p, word, err) < 0 ? err_wrap(err, "container record") : 0;
}

int ports_bindings_read(struct ports *p, const json_t *bindings, struct err *err)
{
    json_t *map = (json_t *)bindings; /* the iterator wants it so */

    if (!bindings || json_is_null(bindings))
        return 0;
    if (!json_is_object(bindings))
        return err_set(err, 125, "container record: PortBindings is not an object");
    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at)) {
        const json_t *list = json_object_iter_value(at), *one;
        enum port_proto proto;
        uint16_t port;
        size_t i;

        if (port_parse(json_object_iter_key(at), &port, &proto) < 0 || strchr(json_object_iter_key(at), ':'))
            return err_set(err, 125, "container record: PortBindings names no port");
        json_array_foreach(list, i, one) if (read_binding(p, json_object_iter_key(at), one, err) < 0) return -1;
    }
    return ports_finish(p, err);
}

/* ---- NetworkSettings.Ports ---- */

void ports_bound_add(json_t *bound, uint16_t target, enum port_proto proto, const char *host_ip, uint16_t host_port)
{
    cleanup_free char *key = key_of(target, proto), *port = xasprintf("%u", host_port);

    json_array_append_new(array_of(bound, key), json_pack("{s:s, s:s}", "HostIp", host_ip, "HostPort", port));
}

json_t *ports_settings_json(const json_t *bound, const struct strlist *exposed)
{
    cleanup_strlist struct strlist keys = STRLIST_INIT;
    json_t *settings = json_object(), *map = (json_t *)bound;

    for (size_t i = 0; i < exposed->len; i++)
        strlist_add(&keys, exposed->items[i]);
    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at))
        strlist_add(&keys, json_object_iter_key(at));
    strlist_sort(&keys);
    for (size_t i = 0; i < keys.len; i++) {
        json_t *value = json_object_get(bound, keys.items[i]);

        if (value)
            json_object_set(settings, keys.items[i], value);
        else
            json_object_set_new(settings, keys.items[i], json_null());
    }
    return settings;
}

/* ---- lists of them ---- */

/* One line of NetworkSettings.Ports; ip NULL: exposed only. Texts are borrowed. */
struct shown {
    const char *ip;
    unsigned target, host;
    enum port_proto proto;
};

static unsigned number(const char *text)
{
    int64_t value = 0;

    return text && units_parse_int10(text, 32, &value, NULL) == 0 && value >= 0 ? (unsigned)value : 0;
}

/* All of them, in the order of the object; owned by caller. */
static struct shown *flatten(const json_t *settings, size_t *ret_len)
{
    json_t *map = (json_t *)settings;
    struct shown *list = NULL;
    size_t len = 0;

    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at)) {
        const json_t *hosts = json_object_iter_value(at), *host;
        enum port_proto proto;
        uint16_t port;
        size_t i;

        if (port_parse(json_object_iter_key(at), &port, &proto) < 0)
            continue;
        list = xreallocarray(list, len + json_array_size(hosts) + 1, sizeof(*list));
        if (!json_array_size(hosts))
            list[len++] = (struct shown){NULL, port, 0, proto};
        json_array_foreach(hosts, i, host)
        {
            const char *ip = json_string_value(json_object_get(host, "HostIp"));

            list[len++] =
                (struct shown){ip ? ip : "", port, number(json_string_value(json_object_get(host, "HostPort"))), proto};
        }
    }
    *ret_len = len;
    return list;
}

/* IPv4 before IPv6, then by value, as Go's netip compares. */
static int compare_ips(const char *a, const char *b)
{
    unsigned char left[16] = {0}, right[16] = {0};
    bool v6_left, v6_right;

    if (!a || !b)
        return a ? 1 : b ? -1 : 0;
    v6_left = strchr(a, ':') != NULL;
    v6_right = strchr(b, ':') != NULL;
    if (v6_left != v6_right)
        return v6_left ? 1 : -1;
    inet_pton(v6_left ? AF_INET6 : AF_INET, a, left);
    inet_pton(v6_left ? AF_INET6 : AF_INET, b, right);
    return memcmp(left, right, sizeof(left));
}

static int compare_shown(const void *x, const void *y)
{
    const struct shown *a = x, *b = y;
    int ips = compare_ips(a->ip, b->ip);

    if (a->target != b->target)
        return a->target < b->target ? -1 : 1;
    if (ips)
        return ips;
    if (a->host != b->host)
        return a->host < b->host ? -1 : 1;
    return strcmp(port_proto_name(a->proto), port_proto_name(b->proto));
}

/* "0.0.0.0:80", "[::]:80-90" */
static char *joined(const char *ip, const char *port)
{
    return strchr(ip, ':') ? xasprintf("[%s]:%s", ip, port) : xasprintf("%s:%s", ip, port);
}

/* A run of ports that are the same on both sides, or exposed only. */
struct group {
    const char *ip;
    enum port_proto proto;
    unsigned first, last;
};

static void add_item(struct buf *out, const char *text)
{
    buf_addf(out, "%s%s", out->len ? ", " : "", text);
}

static void add_group(struct buf *out, const struct group *g)
{
    cleanup_free char *range = g->first == g->last ? xasprintf("%u", g->first) : xasprintf("%u-%u", g->first, g->last);
    cleanup_free char *host = g->ip ? joined(g->ip, range) : NULL;
    cleanup_free char *text = host ? xasprintf("%s->%s/%s", host, range, port_proto_name(g->proto))
                                   : xasprintf("%s/%s", range, port_proto_name(g->proto));

    add_item(out, text);
}

static struct group *find_group(struct group *groups, size_t len, const struct shown *s)
{
    for (size_t i = 0; i < len; i++)
        if (groups[i].proto == s->proto && compare_ips(groups[i].ip, s->ip) == 0)
            return &groups[i];
    return NULL;
}

/* Docker's order: runs that were broken off, then the last run of each address and protocol, then what is mapped to
 * another number. */
char *ports_column(const json_t *settings)
{
    size_t len, n_groups = 0;
    cleanup_free struct shown *list = flatten(settings, &len);
    cleanup_free struct group *groups = xcalloc(len + 1, sizeof(*groups));
    struct buf out = BUF_INIT(COLUMN_MAX);
    cleanup_buf struct buf mapped = BUF_INIT(COLUMN_MAX);

    if (len)
        qsort(list, len, sizeof(*list), compare_shown);
    for (size_t i = 0; i < len; i++) {
        const struct shown *s = &list[i];
        struct group *g = find_group(groups, n_groups, s);

        if (s->ip && s->host != s->target) {
            cleanup_free char *port = xasprintf("%u", s->host), *host = joined(s->ip, port);
            cleanup_free char *text = xasprintf("%s->%u/%s", host, s->target, port_proto_name(s->proto));

            add_item(&mapped, text);
        } else if (!g) {
            groups[n_groups++] = (struct group){s->ip, s->proto, s->target, s->target};
        } else if (s->target == g->last + 1) {
            g->last = s->target;
        } else {
            add_group(&out, g);
            g->first = g->last = s->target;
        }
    }
    for (size_t i = 0; i < n_groups; i++)
        add_group(&out, &groups[i]);
    if (mapped.len)
        add_item(&out, mapped.data);
    buf_adds(&out, "");
    return buf_detach(&out);
}

/* ---- docker port ---- */

/* Texts as people sort them: numbers by their value. */
static int natural(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            size_t left = strspn(a, "0123456789"), right = strspn(b, "0123456789");
            int order = left != right ? (left < right ? -1 : 1) : strncmp(a, b, left);

            if (order)
                return order;
            a += left;
            b += right;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return *a ? 1 : *b ? -1 : 0;
}

static int compare_lines(const void *x, const void *y)
{
    return natural(*(char *const *)x, *(char *const *)y);
}

static int not_published(const char *word, const char *name, struct err *err)
{
    return err_set(err, 1, "Error: No public port '%s' published for %s", word, name);
}

/* Docker reads what is before a '/' as a number of 16 bits. */
static int parse_private(const char *word, uint16_t *ret_port, enum port_proto *ret_proto, const char *name,
                         struct err *err)
{
    size_t len = strcspn(word, "/"), digits = strspn(word, "0123456789");
    cleanup_free char *number_text = xstrndup(word, len);

    if (port_parse(word, ret_port, ret_proto) == 0)
        return 0;
    if (len == digits && len && strlen(number_text) < 6 && number(number_text) <= UINT16_MAX)
        return not_published(word, name, err); /* of a protocol that nobody has */
    return err_set(err, 1, "Error: invalid port (%s): strconv.ParseUint: parsing \"%s\": %s", number_text, number_text,
                   len == digits && len ? "value out of range" : "invalid syntax");
}

int ports_lines(const json_t *settings, const char *private, const char *name, struct strlist *ret, struct err *err)
{
    size_t len;
    cleanup_free struct shown *list = flatten(settings, &len);
    enum port_proto proto = PORT_TCP;
    uint16_t port = 0;

    if (private && parse_private(private, &port, &proto, name, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_free char *host = NULL, *text = NULL;

        if (!list[i].ip || (private && (list[i].target != port || list[i].proto != proto)))
            continue;
        text = xasprintf("%u", list[i].host);
        host = joined(list[i].ip, text);
        if (private)
            strlist_add(ret, host);
        else
            strlist_addf(ret, "%u/%s -> %s", list[i].target, port_proto_name(list[i].proto), host);
    }
    if (private && !ret->len)
        return not_published(private, name, err);
    if (ret->len)
        qsort(ret->items, ret->len, sizeof(*ret->items), compare_lines);
    return 0;
}
