#include "backends/modal/http.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/lib/curl.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define ANSWER_MAX (1u << 20)

/* How far the body has been read. */
struct reading {
    const struct http_body *body;
    uint64_t at;
};

static size_t on_read(char *to, size_t size, size_t count, void *arg)
{
    struct reading *r = arg;
    uint64_t left = r->body->len - r->at;
    size_t n = size * count;
    ssize_t got;

    if (n > left)
        n = (size_t)left;
    if (r->body->data) {
        memcpy(to, (const char *)r->body->data + r->at, n);
        r->at += n;
        return n;
    }
    do
        got = n ? pread(r->body->fd, to, n, (off_t)(r->body->offset + r->at)) : 0;
    while (got < 0 && errno == EINTR);
    if (got < 0 || (!got && n))
        return CURL_READFUNC_ABORT; /* shorter than it was */
    r->at += (uint64_t)got;
    return (size_t)got;
}

static size_t on_write(char *data, size_t size, size_t count, void *arg)
{
    struct http_answer *answer = arg;

    return buf_add(&answer->body, data, size * count) == 0 ? size * count : 0;
}

/* Keeps the ETag, bare. */
static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct http_answer *answer = arg;
    size_t len = size * count, n = 0;
    const char *end = line + len;

    if (len < 5 || strncasecmp(line, "etag:", 5) != 0)
        return len;
    for (line += 5; line < end && (*line == ' ' || *line == '\t'); line++)
        ;
    if (end - line > 2 && line[0] == 'W' && line[1] == '/')
        line += 2;
    for (; line < end && n + 1 < sizeof(answer->etag); line++)
        if (*line > ' ' && *line != '"')
            answer->etag[n++] = *line;
    answer->etag[n] = '\0';
    return len;
}

void http_answer_clear(struct http_answer *answer)
{
    buf_clear(&answer->body);
}

static CURLcode perform(CURL *curl, const char *method, const char *url, struct curl_slist *headers,
                        struct reading *reading, struct http_answer *answer)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)DEADLINE_CONNECT);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)(DEADLINE_LOST_PEER / 1000));
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)reading->body->len);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, reading);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    return curl_easy_perform(curl);
}

int http_send(const char *socket_path, const char *method, const char *url, const char *const *headers,
              const struct http_body *body, struct http_answer *answer, struct err *err)
{
    struct reading reading = {.body = body};
    struct curl_slist *list = NULL;
    CURLcode code;
    CURL *curl;

    *answer = (struct http_answer){.status = 0};
    buf_init(&answer->body, ANSWER_MAX);
    if (lib_curl(err) < 0)
        return err_wrap(err, "uploading");
    curl = curl_easy_init();
    if (!curl)
        return err_set(err, 125, "uploading: libcurl does not start");
    list = curl_slist_append(NULL, "Expect:"); /* no waiting for "100 Continue" */
    for (; *headers; headers++)
        list = curl_slist_append(list, *headers);
    if (socket_path)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path);
    code = perform(curl, method, url, list, &reading, answer);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    if (code == CURLE_OK)
        return 0;
    return err_set(err, 125, "uploading: %s", curl_easy_strerror(code)); /* without the URL: it is signed */
}
