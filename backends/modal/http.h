/*
 * Uploads over plain HTTP, which blobs need and nothing else here. libcurl is loaded when the first one happens: most
 * commands never get here, and loading it costs each start of the program some 5 ms. Blocks; a transfer that stands
 * still for DEADLINE_LOST_PEER is given up. Private to this room.
 */
#ifndef ATP_MODAL_HTTP_H
#define ATP_MODAL_HTTP_H

#include "compat/base/buf.h"

#include <stddef.h>
#include <stdint.h>

struct err;

/* What is sent: memory, or a stretch of a descriptor. */
struct http_body {
    const void *data; /* NULL: fd */
    int fd;
    uint64_t offset; /* in fd */
    uint64_t len;
};

struct http_answer {
    long status;
    char etag[80]; /* without quotes and "W/"; "" if there was none */
    struct buf body;
};

/*
 * socket_path: talk HTTP to this Unix socket, whatever the URL's host; NULL: connect to the URL's host. method PUT or
 * POST. headers: "Name: value" lines, NULL-terminated. 0 also for a bad status; -1: no answer.
 */
int http_send(const char *socket_path, const char *method, const char *url, const char *const *headers,
              const struct http_body *body, struct http_answer *answer, struct err *err);
void http_answer_clear(struct http_answer *answer);

#endif
