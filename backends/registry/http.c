#include "backends/registry/http.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/lib/curl.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define IDLE_HANDLES  4    /* connections kept: one for manifests and as many as layers are fetched at a time */
#define STALL_SECONDS 30L  /* a transfer that moves less than a byte per second for this long is cut (and resumed) */
#define STALL_UPLOAD  120L /* the same where the registry may be busy with what it was sent */
#define MAX_REDIRECTS 10L  /* Docker's own */

struct http {
    pthread_mutex_t lock;
    CURL *idle[IDLE_HANDLES];
    size_t idle_len;
    const atomic_bool *cancelled;
};

/* One exchange under way. */
struct exchange {
    CURL *curl;
    const struct http_request *request;
    struct http_reply *reply;
    const atomic_bool *cancelled;
    int64_t skip; /* the server sent everything though the rest was asked for */
    int64_t sent; /* of the request's body */
    bool begun;   /* the first byte of the body has come */
    bool sink_failed;
    struct err sink_err;
    char text[CURL_ERROR_SIZE];
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct http *http_new(const atomic_bool *cancelled)
{
    struct http *h = xcalloc(1, sizeof(*h));

    pthread_mutex_init(&h->lock, NULL);
    h->cancelled = cancelled;
    return h;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->idle_len; i++)
        curl_easy_cleanup(h->idle[i]);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

void http_reply_init(struct http_reply *reply)
{
    *reply = (struct http_reply){.retry_after = -1, .range_end = -1};
    buf_init(&reply->body, LIMIT_MANIFEST);
}

void http_reply_clear(struct http_reply *reply)
{
    buf_clear(&reply->body);
    strlist_clear(&reply->challenges);
    free(reply->content_type);
    free(reply->digest);
    free(reply->location);
    free(reply->link);
    http_reply_init(reply);
}

/* A handle of our own for the length of one exchange: an idle one with its open connection, or a new one. */
static CURL *take_handle(struct http *h)
{
    CURL *curl = NULL;

    pthread_mutex_lock(&h->lock);
    if (h->idle_len)
        curl = h->idle[--h->idle_len];
    pthread_mutex_unlock(&h->lock);
    return curl ? curl : curl_easy_init();
}

static void give_back(struct http *h, CURL *curl)
{
    curl_easy_reset(curl);
    pthread_mutex_lock(&h->lock);
    if (h->idle_len < IDLE_HANDLES) {
        h->idle[h->idle_len++] = curl;
        curl = NULL;
    }
    pthread_mutex_unlock(&h->lock);
    if (curl)
        curl_easy_cleanup(curl);
}

/* The value of "Name: value\r\n" when the line is that header; owned by caller. */
static char *header_value(const char *line, size_t len, const char *name)
{
    size_t n = strlen(name);

    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return NULL;
    for (n++; n < len && (line[n] == ' ' || line[n] == '\t'); n++)
        ;
    while (len > n && (line[len - 1] == '\r' || line[len - 1] == '\n' || line[len - 1] == ' '))
        len--;
    return xstrndup(line + n, len - n);
}

static void replace(char **to, char *value)
{
    if (value) {
        free(*to);
        *to = value;
    }
}

/* Every header of every answer on the way; a new status line forgets those of the redirect before. */
static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
    struct exchange *x = arg;
    cleanup_free char *value = NULL;

    (void)one;
    if (len > 5 && strncmp(line, "HTTP/", 5) == 0) {
        int64_t skip = x->skip;

        http_reply_clear(x->reply);
        x->skip = skip;
        return len;
    }
    replace(&x->reply->content_type, header_value(line, len, "Content-Type"));
    if (x->reply->content_type)
        x->reply->content_type[strcspn(x->reply->content_type, "; ")] = '\0';
    replace(&x->reply->digest, header_value(line, len, "Docker-Content-Digest"));
    replace(&x->reply->location, header_value(line, len, "Location"));
    replace(&x->reply->link, header_value(line, len, "Link"));
    value = header_value(line, len, "Range");
    if (value && strncmp(value, "0-", 2) == 0)
        x->reply->range_end = strtoll(value + 2, NULL, 10);
    free(steal(&value));
    value = header_value(line, len, "Retry-After");
    if (value && *value >= '0' && *value <= '9')
        x->reply->retry_after = (int)strtol(value, NULL, 10);
    free(steal(&value));
    value = header_value(line, len, "WWW-Authenticate");
    if (value && x->reply->challenges.len < 16)
        strlist_add(&x->reply->challenges, value);
    return len;
}

/* Body bytes: to the sink when the answer is good, else into the bounded buffer, whose excess of an error page is
 * dropped. */
static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    struct exchange *x = arg;
    long status = 0;
    size_t used = 0;

    (void)one;
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    if (!x->begun) {
        x->begun = true;
        x->skip = status == 200 ? x->request->range_from : 0;
    }
    if (!x->request->sink || (status != 200 && status != 206)) {
        bool good = status >= 200 && status < 300;

        return buf_add(&x->reply->body, bytes, len) < 0 && good ? 0 : len;
    }
    if (x->skip > 0) {
        used = (int64_t)len < x->skip ? len : (size_t)x->skip;
        x->skip -= (int64_t)used;
    }
    if (used < len && x->request->sink(bytes + used, len - used, x->request->sink_arg, &x->sink_err) < 0) {
        x->sink_failed = true;
        return 0;
    }
    return len;
}

/* The next piece of the request's body. */
static size_t on_send(char *to, size_t one, size_t len, void *arg)
{
    struct exchange *x = arg;
    const struct http_body *b = x->request->body;
    int64_t left = b->len - x->sent;
    ssize_t n = (ssize_t)(len < (uint64_t)left ? (int64_t)len : left);

    (void)one;
    if (n > 0 && b->bytes)
        memcpy(to, b->bytes + x->sent, (size_t)n);
    else if (n > 0)
        do
            n = pread(b->fd, to, (size_t)n, (off_t)(b->offset + x->sent));
        while (n < 0 && errno == EINTR);
    if (n < 0 || (n == 0 && left > 0)) {
        err_set_errno(&x->sink_err, 0, n < 0 ? errno : EIO, "reading what is to be uploaded");
        x->sink_failed = true;
        return CURL_READFUNC_ABORT;
    }
    x->sent += n;
    if (b->sent)
        b->sent(x->sent, b->sent_arg);
    return (size_t)n;
}

/* A redirect, or a connection that was closed while idle: from the beginning again. */
static int on_rewind(void *arg, curl_off_t offset, int origin)
{
    struct exchange *x = arg;

    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    x->sent = offset;
    return CURL_SEEKFUNC_OK;
}

/* Called at least once a second: the way out of a transfer that nobody wants any more. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct exchange *x = arg;

    (void)a, (void)b, (void)c, (void)d;
    return x->cancelled && atomic_load(x->cancelled) ? 1 : 0;
}

bool http_is_local(const char *host)
{
    size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");

    if (len == 9 && strncasecmp(host, "localhost", 9) == 0)
        return true;
    if (len == 5 && strncmp(host, "[::1]", 5) == 0)
        return true;
    return strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == len;
}

const char *http_host(const char *url)
{
    const char *p = strstr(url, "://");

    return p ? p + 3 : url;
}

bool http_same_place(const char *a, const char *b)
{
    size_t len = (size_t)(http_host(a) - a) + strcspn(http_host(a), "/?#");

    return len == (size_t)(http_host(b) - b) + strcspn(http_host(b), "/?#") && strncasecmp(a, b, len) == 0;
}

/* The request's method as Go's net package writes it: "Get", "Put". */
static char *verb_of(const struct http_request *q)
{
    char *verb = xstrdup(q->method ? q->method : q->form ? "POST" : "GET");

    for (char *p = verb + 1; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return verb;
}

/* No exchange in the words that Go's net package has for it, which are the ones that Docker shows. */
static int transport_error(struct exchange *x, CURLcode code, bool *ret_again, struct err *err)
{
    const char *host = http_host(x->request->url);
    cleanup_free char *verb = verb_of(x->request);
    int len = (int)strcspn(host, "/"), name = (int)strcspn(host, ":/");
    long connected = 0, os_errno = 0;
    cleanup_free char *what = NULL;

    curl_easy_getinfo(x->curl, CURLINFO_OS_ERRNO, &os_errno);
    curl_easy_getinfo(x->curl, CURLINFO_NUM_CONNECTS, &connected);
    *ret_again = true;
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        *ret_again = false;
        what = xasprintf("dial tcp: lookup %.*s: no such host", name, host);
        break;
    case CURLE_COULDNT_CONNECT:
        *ret_again = os_errno != ECONNREFUSED;
        what = xasprintf("dial tcp %.*s: connect: %s", len, host,
                         os_errno == ECONNREFUSED ? "connection refused"
                         : os_errno               ? strerror((int)os_errno)
                                                  : "no route to host");
        break;
    case CURLE_OPERATION_TIMEDOUT:
        what = xasprintf("%s tcp %.*s: i/o timeout", x->begun ? "read" : "dial", len, host);
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
        *ret_again = false;
        what = xasprintf("tls: failed to verify certificate: %s", x->text);
        break;
    case CURLE_SSL_CONNECT_ERROR:
        *ret_again = false;
        what = strstr(x->text, "wrong version number") ? xstrdup("http: server gave HTTP response to HTTPS client")
                                                       : xasprintf("tls: %s", x->text);
        break;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
        *ret_again = false;
        what = xstrdup(*x->text ? x->text : curl_easy_strerror(code));
        break;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
        what = xstrdup("unexpected EOF");
        break;
    default:
        what = xstrdup(*x->text ? x->text : curl_easy_strerror(code));
    }
    err_set(err, 0, "%s \"%s\": %s", verb, x->request->url, what);
    if (err)
        err->code = REGISTRY_UNREACHABLE;
    return -1;
}

/* What is beyond a GET. */
static struct curl_slist *prepare_method(struct exchange *x, struct curl_slist *headers)
{
    const struct http_request *q = x->request;
    CURL *c = x->curl;

    if (q->form)
        curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, q->form);
    if (!q->method)
        return headers;
    if (strcmp(q->method, "HEAD") == 0) {
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
        return headers;
    }
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, STALL_UPLOAD);
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
    if (strcmp(q->method, "GET") == 0)
        return headers;
    if (!q->body) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, "");
        headers = curl_slist_append(headers, "Content-Type:");
    } else {
        curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        /* On a connection that it has used before, libcurl would begin again by itself where only the registry knows
         * where to go on. */
        curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->body->len);
        curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(c, CURLOPT_READDATA, x);
        curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_rewind);
        curl_easy_setopt(c, CURLOPT_SEEKDATA, x);
    }
    if (q->body && q->range_start > 0) {
        cleanup_free char *line = xasprintf("Content-Range: %lld-%lld", (long long)q->range_start,
                                            (long long)(q->range_start + q->body->len - 1));

        headers = curl_slist_append(headers, line);
    }
    if (q->body && q->body->type) {
        cleanup_free char *line = xasprintf("Content-Type: %s", q->body->type);

        headers = curl_slist_append(headers, line);
    }
    return curl_slist_append(headers, "Expect:"); /* who is let in was asked before */
}

/* A file that Docker keeps for one registry ("/etc/docker/certs.d/x:5000/ca.crt", or below the user's configuration);
 * owned by caller, NULL when there is none. */
static char *certs_file(const char *url, const char *name)
{
    const char *host = http_host(url), *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int len = (int)strcspn(host, "/?#@");
    cleanup_free char *own = config && *config ? xstrdup(config) : home ? xasprintf("%s/.config", home) : NULL;
    char *path = xasprintf("/etc/docker/certs.d/%.*s/%s", len, host, name);

    if (*host == '.' || access(path, R_OK) < 0) {
        free(path);
        path = own && *host != '.' ? xasprintf("%s/docker/certs.d/%.*s/%s", own, len, host, name) : NULL;
    }
    if (path && access(path, R_OK) < 0)
        free(steal(&path));
    return path;
}

/* Whom to trust beyond the system's authorities, and who we are for this registry. */
static void prepare_certs(CURL *c, const char *url)
{
    cleanup_free char *ca = certs_file(url, "ca.crt"), *cert = certs_file(url, "client.cert");
    cleanup_free char *key = certs_file(url, "client.key");

    if (ca)
        curl_easy_setopt(c, CURLOPT_CAINFO, ca);
    if (cert && key) {
        curl_easy_setopt(c, CURLOPT_SSLCERT, cert);
        curl_easy_setopt(c, CURLOPT_SSLKEY, key);
    }
}

/* Everything that libcurl must know of one request. The header list is the caller's to free. */
static struct curl_slist *prepare(struct exchange *x)
{
    const struct http_request *q = x->request;
    bool https = strncmp(q->url, "https://", 8) == 0;
    struct curl_slist *headers = NULL;
    CURL *c = x->curl;

    curl_easy_setopt(c, CURLOPT_URL, q->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    /* A registry spoken to over TLS cannot send us on to one without. */
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, MAX_REDIRECTS);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "atp-docker/" ATP_VERSION);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->text);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)DEADLINE_CONNECT);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, q->timeout_ms);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
    if (http_is_local(http_host(q->url)))
        curl_easy_setopt(c, CURLOPT_PROXY, "");
    if (https)
        prepare_certs(c, q->url);
    if (q->range_from > 0) {
        cleanup_free char *range = xasprintf("%lld-", (long long)q->range_from);

        curl_easy_setopt(c, CURLOPT_RANGE, range);
    }
    headers = prepare_method(x, headers);
    if (q->authorization) {
        cleanup_free char *line = xasprintf("Authorization: %s", q->authorization);

        headers = curl_slist_append(headers, line);
    }
    if (q->accept) {
        cleanup_free char *line = xasprintf("Accept: %s", q->accept);

        headers = curl_slist_append(headers, line);
    }
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    return headers;
}

int http_do(struct http *h, const struct http_request *request, struct http_reply *reply, bool *ret_again,
            struct err *err)
{
    struct exchange x = {.request = request, .reply = reply, .cancelled = h->cancelled, .sink_err = ERR_INIT};
    struct curl_slist *headers;
    const char *place = NULL;
    CURLcode code;
    int ret = 0;

    *ret_again = false;
    if (lib_curl(err) < 0)
        return -1;
    pthread_once(&curl_once, curl_start);
    x.curl = take_handle(h);
    if (!x.curl)
        return err_set(err, 0, "no memory for a connection");
    http_reply_clear(reply);
    headers = prepare(&x);
    code = curl_easy_perform(x.curl);
    curl_easy_getinfo(x.curl, CURLINFO_RESPONSE_CODE, &reply->status);
    curl_easy_getinfo(x.curl, CURLINFO_EFFECTIVE_URL, &place);
    if (place && !http_same_place(place, request->url))
        strlist_clear(&reply->challenges); /* another host has no say in where the login of this one is sent */
    if (x.sink_failed) {
        ret = err_move(err, &x.sink_err);
    } else if (code == CURLE_ABORTED_BY_CALLBACK) {
        ret = err_set(err, 0, "context canceled");
        if (err)
            err->code = REGISTRY_CANCELLED;
    } else if (code == CURLE_WRITE_ERROR) {
        cleanup_free char *verb = verb_of(request);

        ret = err_set(err, 0, "%s \"%s\": the answer is larger than %u bytes", verb, request->url, LIMIT_MANIFEST);
        if (err)
            err->code = REGISTRY_CORRUPT;
    } else if (code != CURLE_OK) {
        ret = transport_error(&x, code, ret_again, err);
    }
    err_clear(&x.sink_err);
    curl_slist_free_all(headers);
    give_back(h, x.curl);
    return ret;
}
