/* --progress=rawjson: BuildKit's SolveStatus, one JSON document per change. */
#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/sha256.h"
#include "compat/docker/units.h"
#include "shim/build/board_impl.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

/* A moment of the monotonic clock as the wall's, or now for 0. */
static char *stamp(int64_t ms_ago)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return units_stamp((int64_t)now.tv_sec * 1000000000 + now.tv_nsec - ms_ago * 1000000);
}

/* What stands for the vertex: a digest of its place and name. */
static json_t *digest(const struct board *b, const struct vertex *v)
{
    char *text = xasprintf("%zu %s", (size_t)(v - b->items), v->name);
    uint8_t sum[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    sha256(text, strlen(text), sum);
    sha256_hex(sum, hex);
    free(text);
    return json_sprintf("sha256:%s", hex);
}

static void print(struct board *b, const char *member, json_t *item)
{
    json_t *root = json_object(), *list = json_array();
    char *text;

    json_array_append_new(list, item);
    json_object_set_new(root, member, list);
    text = json_dumps(root, JSON_COMPACT);
    if (text)
        fprintf(b->to, "%s\n", text);
    fflush(b->to);
    free(text);
    json_decref(root);
}

static void set_stamp(json_t *item, const char *member, int64_t ms_ago)
{
    char *text = stamp(ms_ago);

    json_object_set_new(item, member, json_string(text));
    free(text);
}

static void vertex(struct board *b, struct vertex *v)
{
    json_t *item = json_object();
    int64_t age = v->ended_ms ? 0 : board_elapsed_ms(v);

    json_object_set_new(item, "digest", digest(b, v));
    json_object_set_new(item, "name", json_string(v->name));
    set_stamp(item, "started", v->ended_ms ? board_elapsed_ms(v) : age);
    if (v->ended_ms)
        set_stamp(item, "completed", 0);
    if (v->cached)
        json_object_set_new(item, "cached", json_true());
    if (v->error)
        json_object_set_new(item, "error", json_string(v->error));
    print(b, "vertexes", item);
}

static void said(struct board *b, struct vertex *v)
{
    json_t *item = json_object();

    json_object_set_new(item, "id", json_string(v->status));
    json_object_set_new(item, "vertex", digest(b, v));
    json_object_set_new(item, "name", json_string(v->status));
    json_object_set_new(item, "current", json_integer(0));
    set_stamp(item, "timestamp", 0);
    set_stamp(item, "started", board_elapsed_ms(v));
    if (v->status_done)
        set_stamp(item, "completed", 0);
    print(b, "statuses", item);
}

static void line(struct board *b, struct vertex *v, int fd, const char *text)
{
    json_t *item = json_object();
    cleanup_buf struct buf raw = BUF_INIT(BOARD_LINE_MAX + 1), data = BUF_INIT(2 * BOARD_LINE_MAX);

    buf_addf(&raw, "%s\n", text);
    grpc_base64_encode(&data, raw.data, raw.len);
    json_object_set_new(item, "vertex", digest(b, v));
    json_object_set_new(item, "stream", json_integer(fd == 2 ? 2 : 1));
    json_object_set_new(item, "data", json_stringn(data.data, data.len));
    set_stamp(item, "timestamp", 0);
    print(b, "logs", item);
}

static void note(struct board *b, const char *text)
{
    (void)b;
    fprintf(stderr, "%s\n", text);
}

static void nothing(struct board *b)
{
    (void)b;
}

const struct board_drawer board_rawjson = {
    .began = vertex,
    .said = said,
    .line = line,
    .ended = vertex,
    .note = note,
    .tick = nothing,
    .finish = nothing,
};
