#include "shim/logs.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/agent.h"
#include "shim/attach.h"
#include "translate/wire/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READ_AHEAD   (256u << 10) /* more than any record */
#define PRINT_STEP   (64u << 10)
#define STAMP_LEN    32
#define LOG_KEPT_MAX (UINT64_C(1) << 30) /* on this machine's disk, of what a container says that it has written */
#define FETCH_MS     3600000             /* for that much over a slow line */

/* ---- what is printed of a record ---- */

struct printer {
    const struct logs_query *query;
    bool mid_line[2]; /* by stream */
};

static void add_stamp(struct buf *out, int64_t time_ns)
{
    time_t seconds = (time_t)(time_ns / 1000000000);
    char date[STAMP_LEN];
    struct tm tm;

    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
    buf_addf(out, "%s.%09dZ ", date, (int)(time_ns % 1000000000));
}

static void format_record(struct printer *p, int64_t time_ns, int stream, const uint8_t *bytes, size_t len,
                          struct buf *out)
{
    bool *mid_line = &p->mid_line[stream == 2];

    if (!p->query->timestamps && !p->query->details) {
        buf_add(out, bytes, len);
        return;
    }
    while (len) {
        const uint8_t *end = memchr(bytes, '\n', len);
        size_t n = end ? (size_t)(end - bytes) + 1 : len;

        if (!*mid_line && p->query->timestamps)
            add_stamp(out, time_ns);
        if (!*mid_line && p->query->details) /* the log driver has no attributes to show */
            buf_addc(out, ' ');
        buf_add(out, bytes, n);
        *mid_line = !end;
        bytes += n;
        len -= n;
    }
}

/* ---- files ---- */

struct part {
    int64_t started_ns;
    char *path;
};

struct parts {
    struct part *items;
    size_t len, cap;
};

static void parts_clear(struct parts *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->items[i].path);
    free(l->items);
}

static int by_time(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    return (x->started_ns > y->started_ns) - (x->started_ns < y->started_ns);
}

/* The parts that are here, oldest first. */
static void find_parts(const struct container *c, struct parts *ret)
{
    cleanup_free char *folder = container_path(c->row.id, NULL);
    cleanup_dir DIR *dir = opendir(folder);
    struct dirent *e;

    while (dir && (e = readdir(dir))) {
        char *end;
        long long ns;

        if (strncmp(e->d_name, "log.", 4) != 0)
            continue;
        ns = strtoll(e->d_name + 4, &end, 10);
        if (*end || end == e->d_name + 4)
            continue; /* a copy that was not finished */
        if (ret->len == ret->cap) {
            ret->cap = ret->cap ? 2 * ret->cap : 8;
            ret->items = xreallocarray(ret->items, ret->cap, sizeof(*ret->items));
        }
        ret->items[ret->len++] = (struct part){ns, container_path(c->row.id, e->d_name)};
    }
    if (ret->len)
        qsort(ret->items, ret->len, sizeof(*ret->items), by_time);
}

typedef int record_fn(void *arg, struct wire_log_record *r);

/* Calls fn for each whole record of a file, until it says -1. */
static int each_record(const char *path, record_fn *fn, void *arg, struct err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    cleanup_buf struct buf b = BUF_INIT(2 * READ_AHEAD);

    if (fd < 0)
        return err_set_errno(err, 1, errno, "reading the log %s", path);
    for (;;) {
        struct wire_log_record r;
        size_t at = 0;
        ssize_t n;

        while ((n = wire_log_record((const uint8_t *)b.data + at, b.len - at, &r)) > 0) {
            if (fn(arg, &r) < 0)
                return -1;
            at += (size_t)n;
        }
        if (n < 0)
            return err_set(err, 1, "the log %s is damaged", path);
        buf_consume(&b, at);
        n = read(fd, buf_reserve(&b, READ_AHEAD), READ_AHEAD);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? err_set_errno(err, 1, errno, "reading the log %s", path) : 0;
        buf_advance(&b, (size_t)n);
    }
}

static int count_record(void *arg, struct wire_log_record *r)
{
    wire_log_count(arg, r);
    return 0;
}

static int skip_record(void *arg, struct wire_log_record *r)
{
    wire_log_skip(arg, r);
    return 0;
}

/* ---- printing what is here ---- */

struct local {
    struct printer *printer;
    struct wire_log_skipper skipper;
    struct buf out; /* for one descriptor at a time, so that the order stays */
    int stream;
    struct err *err;
};

/* -1: nobody reads it any more, or the disk is full. */
static int flush_local(struct local *l)
{
    int fd = l->stream == 2 ? STDERR_FILENO : STDOUT_FILENO;

    for (size_t at = 0; at < l->out.len;) {
        ssize_t n = write(fd, l->out.data + at, l->out.len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EPIPE)
            return err_set(l->err, ATTACH_NO_READER, "write /dev/%s: broken pipe", fd == 1 ? "stdout" : "stderr");
        if (n < 0)
            return err_set_errno(l->err, 1, errno, "writing the log");
        at += (size_t)n;
    }
    buf_reset(&l->out);
    return 0;
}

static int print_record(void *arg, struct wire_log_record *r)
{
    struct local *l = arg;
    const struct logs_query *q = l->printer->query;

    wire_log_cut(&l->skipper, r);
    if (!r->len || r->time_ns < q->since_ns || (q->until_ns && r->time_ns >= q->until_ns))
        return 0;
    if ((l->stream != r->stream || l->out.len >= PRINT_STEP) && flush_local(l) < 0)
        return -1;
    l->stream = r->stream;
    format_record(l->printer, r->time_ns, r->stream, r->bytes, r->len, &l->out);
    return 0;
}

/* One part, without its first `skip` lines. */
static int print_part(struct local *l, const char *path, const struct wire_log_lines *lines, uint64_t skip)
{
    l->skipper = (struct wire_log_skipper){.left = skip};
    if (skip) {
        if (each_record(path, skip_record, &l->skipper, l->err) < 0)
            return -1;
        wire_log_skip_open(&l->skipper, lines);
    }
    return each_record(path, print_record, l, l->err);
}

/* The last `tail` lines of all parts together; -1: all of them. */
static int print_parts(struct printer *printer, const struct parts *parts, int64_t tail, struct err *err)
{
    struct local l = {.printer = printer, .out = BUF_INIT(READ_AHEAD * 64), .stream = 1, .err = err};
    cleanup_free struct wire_log_lines *lines = xcalloc(parts->len + 1, sizeof(*lines));
    uint64_t total = 0, skip;
    int ret = 0;

    for (size_t i = 0; tail > 0 && i < parts->len && ret == 0; i++) {
        ret = each_record(parts->items[i].path, count_record, &lines[i], err);
        total += wire_log_lines(&lines[i]);
    }
    skip = tail > 0 && total > (uint64_t)tail ? total - (uint64_t)tail : 0;
    for (size_t i = 0; tail && i < parts->len && ret == 0; i++) {
        uint64_t n = wire_log_lines(&lines[i]);

        if (skip && skip >= n) {
            skip -= n;
            continue;
        }
        ret = print_part(&l, parts->items[i].path, &lines[i], skip);
        skip = 0;
    }
    if (ret == 0)
        ret = flush_local(&l);
    buf_clear(&l.out);
    return ret;
}

/* ---- the agent's part ---- */

struct live {
    struct printer *printer;
    const struct parts *parts;
    bool counted; /* the agent said how many lines are its own: the others have been printed */
    struct err err;
};

static void on_live(void *arg, int64_t time_ns, int stream, const void *bytes, size_t len, struct buf *out)
{
    struct live *l = arg;
    int64_t tail = l->printer->query->tail;

    if (len) {
        format_record(l->printer, time_ns, stream, bytes, len, out);
    } else if (!l->counted && tail >= 0) {
        l->counted = true;
        if (time_ns >= 0 && time_ns < tail)
            print_parts(l->printer, l->parts, tail - time_ns, &l->err);
    }
}

static int print_live(struct container *c, struct live *live, struct err *err)
{
    const struct logs_query *q = live->printer->query;
    const struct wire_ask ask = {
        .kind = WIRE_ASK_LOGS,
        .flags = (uint8_t)(WIRE_ASK_STDOUT | WIRE_ASK_STDERR | (q->follow ? WIRE_ASK_FOLLOW : 0)),
        .since_ns = q->since_ns,
        .until_ns = q->until_ns,
        .tail = q->tail,
        .text = (char *)"",
    };
    const struct attach_request req = {
        .agent = AGENT_PATH,
        .sandbox_id = c->row.sandbox_id,
        .ask = &ask,
        .log = on_live,
        .arg = live,
        .leaves = true,
        .quick = !q->follow,
    };
    struct attach_result result;

    attach_run(c->app, c->task, &req, &result);
    if (live->err.msg) {
        err_clear(&result.err);
        return err_move(err, &live->err);
    }
    if (result.end == SESSION_DETACHED || result.end == SESSION_EXITED) {
        err_clear(&result.err);
        return result.code;
    }
    if (q->follow && result.end == SESSION_LOST) { /* it has ended with its sandbox, which is what was waited for */
        err_clear(&result.err);
        return 0;
    }
    return err_move(err, &result.err);
}

/* The log of the present sandbox is with its agent. */
static bool is_live(const struct container *c, const struct parts *parts)
{
    if (!c->row.sandbox_id || !c->row.started_ns)
        return false;
    for (size_t i = 0; i < parts->len; i++)
        if (parts->items[i].started_ns == c->row.started_ns)
            return false;
    return true;
}

/* It has ended and its log is on its way here: whoever comes first brings it. */
static int bring_home(struct container *c, struct err *err)
{
    int ret;

    if (!container_is(c, "exited") || !c->row.sandbox_id)
        return 0;
    if (container_lock(c, err) < 0)
        return -1;
    ret = container_is(c, "exited") && c->row.sandbox_id ? container_settle(c, err) : 0;
    container_unlock(c);
    return ret;
}

int logs_print(struct container *c, const struct logs_query *query, struct err *err)
{
    struct printer printer = {.query = query};
    struct parts parts = {0};
    struct live live = {.printer = &printer, .parts = &parts, .err = ERR_INIT};
    int ret = 0;

    if (bring_home(c, err) < 0)
        return -1;
    find_parts(c, &parts);
    if (!is_live(c, &parts)) {
        ret = print_parts(&printer, &parts, query->tail, err);
    } else {
        if (container_open(c, err) < 0)
            ret = -1;
        else if (query->tail < 0)
            ret = print_parts(&printer, &parts, -1, err);
        if (ret == 0)
            ret = print_live(c, &live, err);
    }
    parts_clear(&parts);
    return ret;
}

/* ---- bringing it here ---- */

struct fetch {
    FILE *file;
    uint64_t len;
    bool failed, enough;
};

static void on_fetched(void *arg, int64_t time_ns, int stream, const void *bytes, size_t len, struct buf *out)
{
    struct fetch *f = arg;
    uint8_t head[WIRE_LOG_HEAD];

    (void)out;
    f->len += sizeof(head) + len;
    f->enough = f->enough || f->len > LOG_KEPT_MAX;
    if (f->enough)
        return;
    wire_log_head(head, time_ns, (uint8_t)stream, len);
    if (fwrite(head, 1, sizeof(head), f->file) != sizeof(head) || fwrite(bytes, 1, len, f->file) != len)
        f->failed = true;
}

static int fetch_into(struct container *c, struct fetch *f, struct err *err)
{
    const struct wire_ask ask = {
        .kind = WIRE_ASK_LOGS, .flags = WIRE_ASK_STDOUT | WIRE_ASK_STDERR, .tail = -1, .text = (char *)""};
    const struct attach_request req = {.agent = AGENT_PATH,
                                       .sandbox_id = c->row.sandbox_id,
                                       .ask = &ask,
                                       .log = on_fetched,
                                       .arg = f,
                                       .quick = true,
                                       .enough = &f->enough,
                                       .deadline_ms = FETCH_MS};
    struct attach_result result;

    attach_run(c->app, c->task, &req, &result);
    if (f->enough || result.agent_failed)
        fprintf(stderr, "docker: the log of container %s is not kept to its end: %s\n", c->row.name,
                f->enough ? "it is longer than 1 GiB" : result.err.msg);
    else if (result.end != SESSION_EXITED && result.end != SESSION_REFUSED)
        return err_move(err, &result.err);
    err_clear(&result.err); /* refused: it keeps none */
    if (fflush(f->file) != 0 || f->failed)
        return err_set_errno(err, 1, errno, "keeping the log of %s", c->row.name);
    return 0;
}

int logs_fetch(struct container *c, struct err *err)
{
    cleanup_free char *name = xasprintf("log.%lld", (long long)c->row.started_ns);
    cleanup_free char *temp_name = xasprintf("%s.%d", name, (int)getpid());
    cleanup_free char *path = container_path(c->row.id, name), *temp = container_path(c->row.id, temp_name);
    cleanup_file FILE *file = NULL;
    struct fetch f = {0};

    if (container_open(c, err) < 0 || container_dir_make(c->row.id, err) < 0)
        return -1;
    file = f.file = fopen(temp, "we");
    if (!file)
        return err_set_errno(err, 1, errno, "keeping the log of %s", c->row.name);
    if (fetch_into(c, &f, err) == 0 && rename(temp, path) == 0)
        return 0;
    unlink(temp);
    return err && err->msg ? -1 : err_set_errno(err, 1, errno, "keeping the log of %s", c->row.name);
}
