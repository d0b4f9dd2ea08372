#include "backends/grpc/url.h"

#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

void grpc_url_clear(struct grpc_url *url)
{
    free(url->host);
    free(url->authority);
    *url = (struct grpc_url){0};
}

void grpc_proxy_clear(struct grpc_proxy *proxy)
{
    free(proxy->host);
    free(proxy->authorization);
    *proxy = (struct grpc_proxy){0};
}

/* Cuts the bracket or the text before the last colon out of "host", "host:port", "[v6]:port". -1: no such thing. */
static int split_host_port(const char *text, size_t len, char **ret_host, uint16_t *port)
{
    const char *colon = memrchr(text, ':', len), *host = text;
    size_t host_len = len;
    unsigned long value = 0;

    if (len && text[0] == '[') {
        const char *close = memchr(text, ']', len);

        if (!close || (close + 1 < text + len && close[1] != ':'))
            return -1;
        host = text + 1;
        host_len = (size_t)(close - host);
        colon = close + 1 < text + len ? close + 1 : NULL;
    } else if (colon) {
        host_len = (size_t)(colon - text);
        if (memchr(text, ':', host_len))
            return -1;
    }
    if (!host_len || memchr(host, '@', host_len) || memchr(host, '%', host_len))
        return -1;
    if (colon) {
        size_t digits = (size_t)(text + len - colon - 1);

        if (!digits || digits > 5)
            return -1;
        for (const char *d = colon + 1; d < text + len; d++) {
            if (*d < '0' || *d > '9')
                return -1;
            value = value * 10 + (unsigned long)(*d - '0');
        }
        if (!value || value > UINT16_MAX)
            return -1;
        *port = (uint16_t)value;
    }
    *ret_host = xstrndup(host, host_len);
    return 0;
}

int grpc_url_parse(const char *text, struct grpc_url *ret_url, struct err *err)
{
    struct grpc_url url = {.scheme = GRPC_SCHEME_HTTPS, .port = 443};
    const char *rest, *end;

    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c <= 0x20 || *c == 0x7f)
            return err_set(err, 125, "invalid server URL: it holds a blank or a control character");
    if (strncmp(text, "unix://", 7) == 0) {
        if (text[7] != '/' || strlen(text + 7) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
            return err_set(err, 125, "invalid server URL %s: unix:// takes an absolute path of at most %zu bytes", text,
                           sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
        url =
            (struct grpc_url){.scheme = GRPC_SCHEME_UNIX, .host = xstrdup(text + 7), .authority = xstrdup("localhost")};
        *ret_url = url;
        return 0;
    }
    if (strncmp(text, "http://", 7) == 0)
        url = (struct grpc_url){.scheme = GRPC_SCHEME_HTTP, .port = 80};
    else if (strncmp(text, "https://", 8) != 0)
        return err_set(err, 125, "invalid server URL %s: must start with https://, http:// or unix://", text);
    rest = strstr(text, "://") + 3;
    end = rest + strlen(rest);
    if (end > rest && end[-1] == '/')
        end--;
    if (memchr(rest, '/', (size_t)(end - rest)) || memchr(rest, '?', (size_t)(end - rest)) ||
        memchr(rest, '#', (size_t)(end - rest)) || memchr(rest, ',', (size_t)(end - rest)) ||
        split_host_port(rest, (size_t)(end - rest), &url.host, &url.port) < 0)
        return err_set(err, 125, "invalid server URL: after the scheme there must be one host or host:port");
    url.authority = xstrndup(rest, (size_t)(end - rest));
    *ret_url = url;
    return 0;
}

bool grpc_url_is_local(const struct grpc_url *url)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "::1", "172.21.0.1"};

    if (url->scheme == GRPC_SCHEME_UNIX)
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcasecmp(url->host, names[i]) == 0)
            return true;
    return false;
}

/* One entry of NO_PROXY against a host. */
static bool exempts(const char *entry, size_t len, const char *host, uint16_t port)
{
    cleanup_free char *name = NULL;
    size_t host_len = strlen(host), name_len;
    uint16_t only = 0;

    if (len == 1 && *entry == '*')
        return true;
    if (!len || split_host_port(entry, len, &name, &only) < 0) {
        free(name); /* a bare IPv6 address, as people write it here */
        name = xstrndup(entry, len);
        only = 0;
    }
    if (only && only != port)
        return false;
    name_len = strlen(name);
    if (name_len && *name == '.')
        return exempts(name + 1, name_len - 1, host, port);
    if (!name_len || name_len > host_len || strcasecmp(host + host_len - name_len, name) != 0)
        return false;
    return name_len == host_len || host[host_len - name_len - 1] == '.';
}

bool grpc_no_proxy(const char *list, const char *host, uint16_t port)
{
    while (list && *list) {
        size_t len = strcspn(list, ", \t");

        if (len && exempts(list, len, host, port))
            return true;
        list += len;
        list += strspn(list, ", \t");
    }
    return false;
}

/* The first of the names that is set and not empty. */
static const char *first_set(char *(*lookup)(const char *name), const char *const *names)
{
    for (; *names; names++) {
        const char *value = lookup(*names);

        if (value && *value)
            return value;
    }
    return NULL;
}

int grpc_proxy_find(const struct grpc_url *url, char *(*lookup)(const char *name), struct grpc_proxy *ret_proxy,
                    struct err *err)
{
    static const char *const names[] = {"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", NULL};
    static const char *const exempt[] = {"NO_PROXY", "no_proxy", NULL};
    struct grpc_proxy proxy = {.port = 8080};
    const char *text, *rest, *at, *end;

    *ret_proxy = (struct grpc_proxy){0};
    if (url->scheme != GRPC_SCHEME_HTTPS || !(text = first_set(lookup, names)) || grpc_url_is_local(url) ||
        grpc_no_proxy(first_set(lookup, exempt), url->host, url->port))
        return 0;
    rest = strstr(text, "://");
    if (rest && strncmp(text, "http://", 7) != 0)
        return err_set(err, 125, "the proxy of the environment is of the kind %.*s://, only http:// is supported",
                       (int)(rest - text), text);
    rest = rest ? rest + 3 : text;
    end = rest + strcspn(rest, "/");
    at = memrchr(rest, '@', (size_t)(end - rest));
    if (at) {
        cleanup_buf struct buf line = BUF_INIT(LIMIT_PATH);
        cleanup_free char *user = grpc_percent_decode(rest, (size_t)(at - rest));

        buf_adds(&line, "Basic ");
        if (grpc_base64_encode(&line, user, strlen(user)) < 0)
            return err_set(err, 125, "the proxy of the environment has a name or password that is too long");
        proxy.authorization = buf_detach(&line);
        rest = at + 1;
    }
    if (split_host_port(rest, (size_t)(end - rest), &proxy.host, &proxy.port) < 0) {
        grpc_proxy_clear(&proxy);
        return err_set(err, 125, "the proxy of the environment is not of the form http://host:port");
    }
    *ret_proxy = proxy;
    return 0;
}
