/* The short form of a port: [[HOST:]PUBLISHED:]TARGET[/PROTOCOL], with ranges. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/canonical.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PORT_MAX 65535

/* "80" or "80-90" */
static bool parse_range(const char *s, unsigned long *ret_first, unsigned long *ret_last)
{
    unsigned long value[2];
    int count = 0;

    for (;;) {
        size_t digits = strspn(s, "0123456789");

        if (digits == 0 || digits > 5)
            return false;
        value[count] = strtoul(s, NULL, 10);
        if (value[count++] > PORT_MAX)
            return false;
        s += digits;
        if (*s != '-' || count == 2)
            break;
        s++;
    }
    if (*s || (count == 2 && value[1] < value[0]))
        return false;
    *ret_first = value[0];
    *ret_last = value[count - 1];
    return true;
}

struct spec {
    char *ip, *host, *target, *protocol;
};

static void spec_clear(struct spec *s)
{
    free(s->ip);
    free(s->host);
    free(s->target);
    free(s->protocol);
}

/* Cuts from the right: the last part is the target, the one before it what is published. */
static void cut(const char *text, struct spec *ret)
{
    const char *last = strrchr(text, ':'), *slash;
    const char *target = last ? last + 1 : text;
    const char *host = NULL;

    if (last) {
        for (host = last; host > text && host[-1] != ':';)
            host--;
        ret->host = xstrndup(host, (size_t)(last - host));
        if (host > text)
            ret->ip = xstrndup(text, (size_t)(host - 1 - text));
    }
    slash = strchr(target, '/');
    if (!*target || slash == target) { /* "8080:", "/udp": no port at all */
        ret->target = xstrdup("");
        ret->protocol = xstrdup("");
        return;
    }
    ret->target = xstrndup(target, slash ? (size_t)(slash - target) : strlen(target));
    ret->protocol = xstrdup(slash && slash[1] ? slash + 1 : "tcp");
    for (char *p = ret->protocol; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    ret->protocol[strcspn(ret->protocol, "/")] = '\0';
}

static bool is_address(const char *ip)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, ip, bytes) == 1 || inet_pton(AF_INET6, ip, bytes) == 1;
}

/* The protocol, then the address: brackets go. */
static int check_ends(struct spec *s, struct err *err)
{
    size_t len;

    if (strcmp(s->protocol, "tcp") != 0 && strcmp(s->protocol, "udp") != 0 && strcmp(s->protocol, "sctp") != 0)
        return err_set(err, 0, "invalid proto: %s", s->protocol);
    if (!s->ip || !*s->ip)
        return 0;
    len = strlen(s->ip);
    if (s->ip[0] == '[') {
        if (s->ip[len - 1] != ']')
            return err_set(err, 0, "invalid IP address %s: address %s:: missing ']' in address", s->ip, s->ip);
        memmove(s->ip, s->ip + 1, len - 2);
        s->ip[len - 2] = '\0';
    }
    if (!is_address(s->ip))
        return err_set(err, 0, "invalid IP address: %s", s->ip);
    return 0;
}

/* One entry for each port of the range. */
static int add_ports(struct cnode *list, const char *text, const struct spec *s, struct err *err)
{
    unsigned long first, last, host_first = 0, host_last = 0;
    bool published = s->host && *s->host;

    if (!*s->target)
        return err_set(err, 0, "no port specified: %s<empty>", text);
    if (!parse_range(s->target, &first, &last))
        return err_set(err, 0, "invalid containerPort: %s", s->target);
    if (published && !parse_range(s->host, &host_first, &host_last))
        return err_set(err, 0, "invalid hostPort: %s", s->host);
    if (published && last - first != host_last - host_first && last != first)
        return err_set(err, 0, "invalid ranges specified for container and host Ports: %s and %s", s->target, s->host);
    for (unsigned long port = first; port <= last; port++) {
        struct cnode *map = canonical_map1("mode", "ingress");
        cleanup_free char *host = first == last && host_first != host_last
                                      ? xasprintf("%lu-%lu", host_first, host_last)
                                      : xasprintf("%lu", host_first + (port - first));

        if (s->ip && *s->ip)
            cnode_set(map, "host_ip", cnode_string(s->ip));
        cnode_set(map, "target", cnode_int((int64_t)port));
        if (published)
            cnode_set(map, "published", cnode_string(host));
        cnode_set(map, "protocol", cnode_string(s->protocol));
        cnode_add(list, map);
    }
    return 0;
}

/* docker compose sorts the ports of one range by their text: "10000" is before "9999". */
static int by_text(const void *a, const void *b)
{
    const struct cnode *x = *(struct cnode *const *)a, *y = *(struct cnode *const *)b;

    return strcmp(cnode_str(x, "target"), cnode_str(y, "target"));
}

static int add_short(struct cnode *list, const char *text, struct err *err)
{
    struct spec s = {NULL, NULL, NULL, NULL};
    size_t before = list->len;
    int r;

    cut(text, &s);
    r = check_ends(&s, err);
    if (r == 0)
        r = add_ports(list, text, &s, err);
    spec_clear(&s);
    if (r == 0 && list->len > before)
        qsort(list->items + before, list->len - before, sizeof(*list->items), by_text);
    return r;
}

int canonical_ports(struct cnode *service, const char *where, bool loose, struct err *err)
{
    struct cnode *ports = cnode_get(service, "ports"), *list;

    if (!ports)
        return 0;
    if (ports->kind != CNODE_LIST)
        return err_set(err, 0, "%s.ports: invalid type for port", where);
    list = cnode_new(CNODE_LIST);
    cnode_place(list, ports);
    for (size_t i = 0; i < ports->len; i++) {
        const struct cnode *entry = ports->items[i];
        size_t before = list->len;
        int r = 0;

        if (entry->kind == CNODE_MAP)
            cnode_add(list, cnode_copy(entry));
        else if (cnode_text(entry))
            r = add_short(list, entry->text, err);
        for (size_t k = before; k < list->len; k++)
            cnode_place(list->items[k], entry);
        if (r == 0)
            continue;
        cnode_free(list);
        if (!loose)
            return -1;
        err_clear(err);
        return 0;
    }
    cnode_set(service, "ports", list);
    return 0;
}
