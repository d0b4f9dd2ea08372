#include "backends/engine/h1.h"

#include "backends/engine/blobs.h"
#include "backends/engine/conn.h"
#include "backends/engine/engine.h"
#include "backends/engine/keys.h"
#include "backends/engine/log.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define H1_HEAD    16384       /* request line and headers */
#define H1_TEXT    (2u << 20)  /* a body that is kept in memory: a list of at most 10,000 parts */
#define H1_IDLE_MS 60000       /* a connection that does nothing is closed */
#define H1_READ    (64u << 10) /* one piece of a download */

enum h1_state { H1_IN_HEAD, H1_IN_BODY, H1_SENDING, H1_ENDING };

struct h1 {
    struct conn *conn;
    struct engine *engine;
    enum h1_state state;
    struct buf in;   /* head, or bytes that came while an answer was being sent */
    struct buf text; /* a body kept in memory */
    char *method, *path, *token_id, *token_secret;
    uint64_t left; /* of the body, or of the download */
    bool keep_alive, has_length, expects_continue, chunked;
    struct upload *upload;
    int download; /* -1 = none */
};

static void advance(struct h1 *h);

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {431, "Request Header Fields Too Large"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Internal Server Error";
}

/* Ready for the next request. */
static void reset(struct h1 *h)
{
    free(steal(&h->method));
    free(steal(&h->path));
    free(steal(&h->token_id));
    free(steal(&h->token_secret));
    upload_free(steal(&h->upload));
    if (h->download >= 0)
        close(steal_fd(&h->download));
    buf_clear(&h->text);
    h->state = H1_IN_HEAD;
    h->left = 0;
    h->has_length = h->expects_continue = h->chunked = false;
}

/* Sends status line and headers; extra is whole header lines or "". */
static void send_head(struct h1 *h, int status, const char *extra, uint64_t length)
{
    cleanup_free char *head =
        xasprintf("HTTP/1.1 %d %s\r\nContent-Length: %llu\r\n%s%s\r\n", status, reason(status),
                  (unsigned long long)length, h->keep_alive ? "" : "Connection: close\r\n", extra);

    conn_write(h->conn, head, strlen(head));
}

/* The whole answer; the next request may follow, unless the body of this one was not read. */
static void answer(struct h1 *h, int status, const char *extra, const char *body)
{
    if (h->state == H1_IN_BODY && h->left > 0)
        h->keep_alive = false;
    send_head(h, status, extra, strlen(body));
    conn_write(h->conn, body, strlen(body));
    if (h->keep_alive) {
        reset(h);
    } else {
        h->state = H1_ENDING;
        conn_finish(h->conn);
    }
}

static void answer_err(struct h1 *h, struct err *err)
{
    cleanup_free char *body = xasprintf("%s\n", err->msg ? err->msg : "error");

    answer(h, err->code >= 400 && err->code < 600 ? err->code : 500, "Content-Type: text/plain\r\n", body);
    err_clear(err);
}

/* ---- requests ---- */

/* Splits "/blob/ID/KEY[?part=N]" in place. */
static bool split_blob_path(char *path, char **ret_id, char **ret_key, size_t *ret_part)
{
    char *slash, *query, *end;

    if (strncmp(path, "/blob/", 6) != 0)
        return false;
    *ret_id = path + 6;
    slash = strchr(*ret_id, '/');
    if (!slash)
        return false;
    *slash = '\0';
    *ret_key = slash + 1;
    *ret_part = 0;
    query = strchr(*ret_key, '?');
    if (!query)
        return true;
    *query = '\0';
    if (strncmp(query + 1, "part=", 5) != 0 || !isdigit((unsigned char)query[6]))
        return false;
    *ret_part = strtoul(query + 6, &end, 10);
    return *ret_part > 0 && *end == '\0';
}

/* The body is complete: what the request asked for is done and answered. */
static void finish_body(struct h1 *h)
{
    cleanup_err struct err err = ERR_INIT;
    cleanup_buf struct buf out = BUF_INIT(4096);
    char *id, *key, md5[33];
    size_t part;

    if (h->upload) {
        cleanup_free char *etag = NULL;

        if (upload_finish(steal(&h->upload), md5, &err) < 0) {
            answer_err(h, &err);
            return;
        }
        etag = xasprintf("ETag: \"%s\"\r\n", md5);
        answer(h, 200, etag, "");
    } else if (strcmp(h->path, "/engine/fault") == 0) {
        if (engine_set_fault(h->engine, h->text.data, &err) < 0) {
            err.code = 400;
            answer_err(h, &err);
            return;
        }
        answer(h, 200, "", "");
    } else if (split_blob_path(h->path, &id, &key, &part)) {
        if (blobs_complete(h->engine->blobs, id, key, h->text.data, &out, &err) < 0)
            answer_err(h, &err);
        else
            answer(h, 200, "Content-Type: application/xml\r\n", out.data);
    }
}

/* More of the body, at most what is left of it. */
static void take_body(struct h1 *h, const void *bytes, size_t len)
{
    cleanup_err struct err err = ERR_INIT;

    if (h->upload) {
        if (upload_write(h->upload, bytes, len, &err) < 0) {
            answer_err(h, &err);
            return;
        }
    } else {
        buf_add(&h->text, bytes, len);
    }
    h->left -= len;
    if (h->left == 0)
        finish_body(h);
}

static void send_more(struct h1 *h)
{
    char bytes[H1_READ];

    while (h->left && !conn_closing(h->conn) && conn_queued(h->conn) < CONN_HIGH) {
        ssize_t n = read(h->download, bytes, h->left < sizeof(bytes) ? (size_t)h->left : sizeof(bytes));

        if (n <= 0) {
            conn_close(h->conn); /* less than announced: all that can still be said */
            return;
        }
        h->left -= (uint64_t)n;
        conn_write(h->conn, bytes, (size_t)n);
    }
    if (h->left || conn_closing(h->conn))
        return;
    if (h->keep_alive) {
        reset(h);
    } else {
        h->state = H1_ENDING;
        conn_finish(h->conn);
    }
}

static void start_download(struct h1 *h)
{
    cleanup_err struct err err = ERR_INIT;
    char *id, *key;
    size_t part;
    uint64_t length;

    if (!split_blob_path(h->path, &id, &key, &part) || part) {
        answer(h, 404, "", "");
        return;
    }
    h->download = blobs_open(h->engine->blobs, id, key, &length, &err);
    if (h->download < 0) {
        answer_err(h, &err);
        return;
    }
    h->state = H1_SENDING;
    h->left = length;
    send_head(h, 200, "Content-Type: application/octet-stream\r\n", length);
    send_more(h);
}

/* A request with a body: 0 if the body is wanted, otherwise the answer was given. */
static int open_body(struct h1 *h)
{
    cleanup_err struct err err = ERR_INIT;
    bool is_fault = strcmp(h->path, "/engine/fault") == 0, is_put = strcmp(h->method, "PUT") == 0;
    cleanup_free char *path = xstrdup(h->path);
    char *id, *key;
    size_t part;

    if (h->chunked || !h->has_length) {
        h->keep_alive = h->keep_alive && !h->chunked;
        answer(h, 411, "", "");
        return -1;
    }
    if (is_fault && !keys_pair_is_ours(h->engine->keys, h->token_id, h->token_secret)) {
        answer(h, 401, "", "");
        return -1;
    }
    if (!is_fault && !split_blob_path(path, &id, &key, &part)) {
        answer(h, 404, "", "");
        return -1;
    }
    if (is_put && !is_fault) {
        h->upload = blobs_upload(h->engine->blobs, id, key, part, &err);
        if (h->upload)
            return 0;
        answer_err(h, &err);
        return -1;
    }
    if (h->left > H1_TEXT || (is_fault && !is_put)) {
        answer(h, h->left > H1_TEXT ? 413 : 405, "", "");
        return -1;
    }
    return 0;
}

static void start_request(struct h1 *h)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

    h->state = H1_IN_BODY;
    if (strcmp(h->method, "GET") == 0 && !h->left && !h->chunked) {
        start_download(h);
        return;
    }
    if (strcmp(h->method, "PUT") != 0 && strcmp(h->method, "POST") != 0) {
        answer(h, 405, "", "");
        return;
    }
    if (open_body(h) < 0)
        return;
    if (h->expects_continue && h->left)
        conn_write(h->conn, go_on, sizeof(go_on) - 1);
    if (h->left == 0)
        finish_body(h);
}

/* ---- the head ---- */

/* One header line, name and value apart. */
static bool take_header(struct h1 *h, const char *name, const char *value)
{
    char *end;

    if (strcasecmp(name, "content-length") == 0) {
        if (h->has_length || !isdigit((unsigned char)*value) || strlen(value) > 18)
            return false;
        h->left = strtoull(value, &end, 10);
        h->has_length = true;
        return *end == '\0';
    }
    if (strcasecmp(name, "transfer-encoding") == 0)
        h->chunked = true;
    else if (strcasecmp(name, "connection") == 0 && strcasestr(value, "close"))
        h->keep_alive = false;
    else if (strcasecmp(name, "expect") == 0 && strcasecmp(value, "100-continue") == 0)
        h->expects_continue = true;
    else if (strcasecmp(name, "x-modal-token-id") == 0 && !h->token_id)
        h->token_id = xstrdup(value);
    else if (strcasecmp(name, "x-modal-token-secret") == 0 && !h->token_secret)
        h->token_secret = xstrdup(value);
    return true;
}

/* "METHOD PATH HTTP/1.x" */
static bool take_request_line(struct h1 *h, char *line)
{
    char *path = strchr(line, ' '), *version = path ? strchr(path + 1, ' ') : NULL;

    if (!version || path[1] != '/' || strncmp(version + 1, "HTTP/1.", 7) != 0)
        return false;
    *path++ = '\0';
    *version++ = '\0';
    h->method = xstrdup(line);
    h->path = xstrdup(path);
    h->keep_alive = strcmp(version, "HTTP/1.0") != 0;
    return true;
}

/* The head without its empty line, which is destroyed. */
static bool parse_head(struct h1 *h, char *head)
{
    char *line = head, *next;

    for (; line; line = next) {
        char *colon;

        next = strstr(line, "\r\n");
        if (next) {
            *next = '\0';
            next += 2;
        }
        if (line == head) {
            if (!take_request_line(h, line))
                return false;
            continue;
        }
        colon = strchr(line, ':');
        if (!colon || isspace((unsigned char)*line))
            return false;
        *colon++ = '\0';
        colon += strspn(colon, " \t");
        if (!take_header(h, line, colon))
            return false;
    }
    return true;
}

/* Takes one head out of the buffer and starts the request. False when it is not whole yet. */
static bool take_head(struct h1 *h)
{
    char *end = memmem(h->in.data, h->in.len, "\r\n\r\n", 4);
    size_t len;
    bool good;

    if (!end && h->in.len < H1_HEAD)
        return false;
    if (!end) {
        h->keep_alive = false;
        answer(h, 431, "", "");
        return false;
    }
    len = (size_t)(end - h->in.data);
    *end = '\0';
    good = strlen(h->in.data) == len && parse_head(h, h->in.data);
    buf_consume(&h->in, len + 4);
    if (good) {
        start_request(h);
    } else {
        h->keep_alive = false;
        answer(h, 400, "", "");
    }
    return true;
}

/* Goes on with what is in the buffer as far as it leads. */
static void advance(struct h1 *h)
{
    while (!conn_closing(h->conn)) {
        if (h->state == H1_IN_HEAD) {
            if (h->in.len == 0 || !take_head(h))
                return;
        } else if (h->state == H1_IN_BODY) {
            size_t len = h->in.len < h->left ? h->in.len : (size_t)h->left;

            if (len == 0)
                return;
            take_body(h, h->in.data, len);
            buf_consume(&h->in, len);
        } else {
            return;
        }
    }
}

static void on_bytes(void *arg, const uint8_t *bytes, size_t len)
{
    struct h1 *h = arg;

    if (buf_add(&h->in, bytes, len) < 0) {
        log_line("h1: a peer that does not wait for answers was dropped");
        conn_close(h->conn);
        return;
    }
    advance(h);
}

static void on_drained(void *arg)
{
    struct h1 *h = arg;

    if (h->state == H1_SENDING)
        send_more(h);
    advance(h);
}

static void on_tick(void *arg, uint64_t silent_ms)
{
    struct h1 *h = arg;

    if (silent_ms > H1_IDLE_MS)
        conn_close(h->conn);
}

static void on_gone(void *arg)
{
    struct h1 *h = arg;

    reset(h);
    buf_clear(&h->in);
    free(h);
}

void h1_attach(struct conn *c, const struct conn_handler **ret_handler, void **ret_arg)
{
    static const struct conn_handler handler = {on_bytes, on_drained, on_tick, on_gone, /* goodbye= */ NULL};
    struct h1 *h = xcalloc(1, sizeof(*h));

    h->conn = c;
    h->engine = conn_engine(c);
    h->download = -1;
    buf_init(&h->in, 1u << 20);
    buf_init(&h->text, H1_TEXT);
    *ret_handler = &handler;
    *ret_arg = h;
}
