#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/config.h"
#include "translate/dockerfile/internal.h"
#include "translate/dockerfile/lex.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "80" or "8000-8010", 0 to 65535 each. */
static bool port_range(const char *text, unsigned long *ret_first, unsigned long *ret_last)
{
    char *end = NULL;

    if (!isdigit((unsigned char)*text))
        return false;
    *ret_first = *ret_last = strtoul(text, &end, 10);
    if (*end == '-' && isdigit((unsigned char)end[1]))
        *ret_last = strtoul(end + 1, &end, 10);
    return !*end && *ret_last <= 65535 && *ret_first <= *ret_last;
}

/* An address in front of two ports; "[::1]" as well. */
static bool is_address(const char *text, size_t len)
{
    cleanup_free char *s = xstrndup(text, len);
    unsigned char out[16];

    if (len > 1 && s[0] == '[' && s[len - 1] == ']') {
        s[len - 1] = '\0';
        return inet_pton(AF_INET6, s + 1, out) == 1;
    }
    return inet_pton(AF_INET, s, out) == 1 || inet_pton(AF_INET6, s, out) == 1;
}

/* What stands in front of the container's port has no meaning here, but has to be well-formed. */
static int check_front(const char *port, const char *container, unsigned long count, struct err *err)
{
    const char *colon = container - 1, *host = colon;
    cleanup_free char *host_port = NULL;
    unsigned long first, last;

    while (host > port && host[-1] != ':')
        host--;
    host_port = xstrndup(host, (size_t)(colon - host));
    if (host > port && !is_address(port, (size_t)(host - 1 - port)))
        return err_set(err, 1, "invalid IP address: %.*s", (int)(host - 1 - port), port);
    if (!*host_port)
        return 0;
    if (!port_range(host_port, &first, &last))
        return err_set(err, 1, "invalid hostPort: %s", host_port);
    if (last - first + 1 != count && count != 1)
        return err_set(err, 1, "invalid ranges specified for container and host Ports: %s and %s", container,
                       host_port);
    return 0;
}

/* "[[ip:]host:]80[-90][/udp]" -> "80/udp"..., appended. */
static int expose_one(const char *port, struct strlist *ret, struct err *err)
{
    const char *colon = strrchr(port, ':'), *container = colon ? colon + 1 : port, *slash = strchr(container, '/');
    size_t len = slash ? (size_t)(slash - container) : strlen(container);
    const char *proto = slash && slash[1] ? slash + 1 : "tcp";
    cleanup_free char *range = xstrndup(container, len);
    cleanup_free char *quoted = quote_go_str(port);
    unsigned long first, last;

    if (!len)
        return err_set(err, 1, "invalid port: %s: no port specified", quoted);
    if (strcasecmp(proto, "tcp") != 0 && strcasecmp(proto, "udp") != 0 && strcasecmp(proto, "sctp") != 0)
        return err_set(err, 1, "invalid port: %s: invalid proto: %s", quoted, proto);
    if (!port_range(range, &first, &last))
        return err_set(err, 1, "invalid containerPort: %s", range);
    if (colon && check_front(port, container, last - first + 1, err) < 0)
        return -1;
    for (unsigned long p = first; p <= last; p++) {
        char *key = xasprintf("%lu/%s", p, proto);

        for (char *c = key; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        strlist_add_owned(ret, key);
    }
    return 0;
}

int df_eval_expose(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_strlist struct strlist ports = STRLIST_INIT;
    cleanup_strlist struct strlist keys = STRLIST_INIT;
    struct buf said cleanup_buf = BUF_INIT(LIMIT_DOCKERFILE);

    df_fields(in->rest, &words);
    strlist_sort(&words);
    for (size_t i = 0; i < words.len; i++) {
        if (df_lex(words.items[i], e->escape, 0, df_eval_lookup, e, NULL, &ports, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < ports.len; i++) {
        if (keys.len > 65536 || expose_one(ports.items[i], &keys, err) < 0)
            return keys.len > 65536 ? err_set(err, 1, "there are too many ports") : -1;
    }
    buf_adds(&said, "EXPOSE [");
    for (size_t i = 0; i < keys.len; i++) {
        buf_addf(&said, "%s%s", i ? " " : "", keys.items[i]);
        df_config_put(e->config, "ExposedPorts", keys.items[i], NULL);
    }
    buf_addc(&said, ']');
    step->created_by = buf_detach(&said);
    return 0;
}
