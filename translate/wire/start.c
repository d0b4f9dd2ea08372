#include "translate/wire/codec.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

/*
 * A START frame is `u8 last`, then fields: `u8 tag, u32 length, bytes`. A field never spans frames. Tags ARG, ENV
 * and TERM come as often as there are strings, in order; RECORD as often as its pieces; the others once. What follows
 * ENV comes with MAIN only. LIFE is `u8 restart, u32 restart_max, u8 stop_signal`; HEALTH, before its tests, is `u64
 * interval, timeout, start_period, start_interval, u32 retries`; NAMES, before its lists, is `u8 internal`, then token,
 * hub and self, each with a NUL byte behind.
 */
enum tag {
    TAG_FLAGS = 1,
    TAG_SIZE = 2,
    TAG_USER = 3,
    TAG_CWD = 4,
    TAG_ARG = 5,
    TAG_ENV = 6,
    TAG_LIFE = 7,
    TAG_RECORD = 8,
    TAG_HEALTH = 9,
    TAG_HEALTH_TEST = 10,
    TAG_NAMES = 11,
    TAG_NAMES_MEMBER = 12,
    TAG_NAMES_HOST = 13,
    TAG_VOLUMES = 14,
    TAG_TERM = 15,
};

#define START_FLAGS                                                                                                    \
    (WIRE_START_MAIN | WIRE_START_TTY | WIRE_START_STDIN | WIRE_START_STDIN_STAYS | WIRE_START_LOG |                   \
     WIRE_START_DETACHED)
#define FIELD_HEADER     5u
#define LIFE_LEN         6u
#define HEALTH_LEN       36u
#define HEALTH_TESTS_MAX 4096u
#define NAMES_HEAD_MAX   1024u

void wire_start_clear(struct wire_start *s)
{
    free(s->user);
    free(s->cwd);
    free(s->record);
    free(s->volumes);
    wire_health_clear(&s->health);
    wire_names_clear(&s->names);
    strlist_clear(&s->argv);
    strlist_clear(&s->env);
    strlist_clear(&s->terms);
    *s = (struct wire_start){0};
}

void wire_start_reader_clear(struct wire_start_reader *r)
{
    wire_start_clear(&r->start);
    *r = (struct wire_start_reader){0};
}

/* Cuts the fields into frames while they are written. */
struct start_writer {
    struct fr frame;
    size_t total;
    bool bad;
};

static void put_field(struct start_writer *w, uint8_t tag, const void *bytes, size_t len)
{
    size_t used = w->frame.b->len - w->frame.start - WIRE_HEADER;

    w->total += FIELD_HEADER + len;
    if (w->bad || len > WIRE_STRING_MAX || w->total > WIRE_START_MAX) {
        w->bad = true;
        return;
    }
    if (used + FIELD_HEADER + len > LIMIT_FRAME) {
        struct buf *b = w->frame.b;

        if (fr_end(&w->frame) < 0)
            w->bad = true;
        w->frame = fr_begin(b, WIRE_START);
        fr_u8(&w->frame, 0);
    }
    fr_u8(&w->frame, tag);
    fr_u32(&w->frame, (uint32_t)len);
    fr_bytes(&w->frame, bytes, len);
}

static void put_strings(struct start_writer *w, uint8_t tag, const struct strlist *l)
{
    for (size_t i = 0; i < l->len; i++)
        put_field(w, tag, l->items[i], strlen(l->items[i]));
}

static void put_health(struct start_writer *w, const struct wire_health *h)
{
    const int64_t times[] = {h->interval_ns, h->timeout_ns, h->start_period_ns, h->start_interval_ns};
    uint8_t bytes[HEALTH_LEN];

    if (!h->test.len)
        return;
    for (size_t i = 0; i < 4 * 8; i++)
        bytes[i] = (uint8_t)((uint64_t)times[i / 8] >> (8 * (i % 8)));
    for (size_t i = 0; i < 4; i++)
        bytes[32 + i] = (uint8_t)(h->retries >> (8 * i));
    if (h->test.len > HEALTH_TESTS_MAX)
        w->bad = true;
    put_field(w, TAG_HEALTH, bytes, sizeof(bytes));
    put_strings(w, TAG_HEALTH_TEST, &h->test);
}

static void put_names(struct start_writer *w, const struct wire_names *n)
{
    const char *texts[] = {n->token, n->hub, n->self};
    struct buf b = BUF_INIT(NAMES_HEAD_MAX);
    char internal = n->internal;

    if (!n->self || !n->self[0])
        return;
    buf_add(&b, &internal, 1);
    for (size_t i = 0; i < 3; i++)
        buf_add(&b, texts[i] ? texts[i] : "", texts[i] ? strlen(texts[i]) + 1 : 1);
    if (b.overflowed || n->members.len > WIRE_NAMES_MAX || n->hosts.len > WIRE_NAMES_MAX)
        w->bad = true;
    put_field(w, TAG_NAMES, b.data, b.len);
    put_strings(w, TAG_NAMES_MEMBER, &n->members);
    put_strings(w, TAG_NAMES_HOST, &n->hosts);
    buf_clear(&b);
}

/* What only the container's process has. */
static void put_main(struct start_writer *w, const struct wire_start *s)
{
    const uint8_t life[LIFE_LEN] = {s->restart,
                                    (uint8_t)s->restart_max,
                                    (uint8_t)(s->restart_max >> 8),
                                    (uint8_t)(s->restart_max >> 16),
                                    (uint8_t)(s->restart_max >> 24),
                                    s->stop_signal};
    size_t len = s->record ? strlen(s->record) : 0;

    put_field(w, TAG_LIFE, life, sizeof(life));
    put_health(w, &s->health);
    put_names(w, &s->names);
    if (s->volumes && s->volumes[0])
        put_field(w, TAG_VOLUMES, s->volumes, strlen(s->volumes));
    if (s->terms.len > WIRE_TERMS_MAX)
        w->bad = true;
    put_strings(w, TAG_TERM, &s->terms);
    if (len > WIRE_RECORD_MAX)
        w->bad = true;
    w->total = 0; /* the record has a limit of its own */
    for (size_t at = 0; at < len; at += WIRE_STRING_MAX)
        put_field(w, TAG_RECORD, s->record + at, len - at < WIRE_STRING_MAX ? len - at : WIRE_STRING_MAX);
}

int wire_put_start(struct buf *b, const struct wire_start *s)
{
    size_t start = b->len, last;
    struct start_writer w = {.frame = fr_begin(b, WIRE_START)};
    const uint8_t flags[4] = {(uint8_t)s->flags, (uint8_t)(s->flags >> 8), (uint8_t)(s->flags >> 16),
                              (uint8_t)(s->flags >> 24)};
    const uint8_t size[4] = {(uint8_t)s->rows, (uint8_t)(s->rows >> 8), (uint8_t)s->cols, (uint8_t)(s->cols >> 8)};

    fr_u8(&w.frame, 0);
    put_field(&w, TAG_FLAGS, flags, sizeof(flags));
    put_field(&w, TAG_SIZE, size, sizeof(size));
    put_field(&w, TAG_USER, s->user ? s->user : "", s->user ? strlen(s->user) : 0);
    put_field(&w, TAG_CWD, s->cwd ? s->cwd : "", s->cwd ? strlen(s->cwd) : 0);
    put_strings(&w, TAG_ARG, &s->argv);
    put_strings(&w, TAG_ENV, &s->env);
    if (s->flags & WIRE_START_MAIN)
        put_main(&w, s);
    last = w.frame.start;
    if (fr_end(&w.frame) < 0 || w.bad) {
        buf_truncate(b, start);
        return -1;
    }
    b->data[last + WIRE_HEADER] = 1;
    return 0;
}

static uint32_t load32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool take_life(struct wire_start *s, const uint8_t *bytes, size_t len)
{
    if (len != LIFE_LEN || bytes[0] > WIRE_RESTART_UNLESS_STOPPED || bytes[LIFE_LEN - 1] > 64)
        return false;
    s->restart = bytes[0];
    s->restart_max = load32(bytes + 1);
    s->stop_signal = bytes[LIFE_LEN - 1];
    return true;
}

/* One more piece of the record: few, as each is large. */
static void take_record(struct wire_start *s, const uint8_t *bytes, size_t len)
{
    size_t had = s->record ? strlen(s->record) : 0;

    s->record = xrealloc(s->record, had + len + 1);
    memcpy(s->record + had, bytes, len);
    s->record[had + len] = '\0';
}

static bool take_health(struct wire_health *h, const uint8_t *bytes, size_t len)
{
    int64_t *const times[] = {&h->interval_ns, &h->timeout_ns, &h->start_period_ns, &h->start_interval_ns};

    if (len != HEALTH_LEN || h->test.len)
        return false;
    for (size_t i = 0; i < 4; i++) {
        *times[i] = (int64_t)(load32(bytes + 8 * i) | (uint64_t)load32(bytes + 8 * i + 4) << 32);
        if (*times[i] < 0)
            return false;
    }
    h->retries = load32(bytes + 32);
    return true;
}

/* `u8 internal`, then three strings with a NUL byte behind each, and nothing more. */
static bool take_names(struct wire_names *n, const uint8_t *bytes, size_t len)
{
    char **const texts[] = {&n->token, &n->hub, &n->self};
    size_t at = 1;

    if (!len || len > NAMES_HEAD_MAX || bytes[0] > 1 || n->self)
        return false;
    n->internal = bytes[0];
    for (size_t i = 0; i < 3; i++) {
        const uint8_t *end = at < len ? memchr(bytes + at, '\0', len - at) : NULL;

        if (!end)
            return false;
        *texts[i] = xmemdup(bytes + at, (size_t)(end - bytes) - at);
        at = (size_t)(end - bytes) + 1;
    }
    return at == len && n->self[0];
}

/* A list may not grow beyond its limit, and its head comes first. */
static bool take_string(struct strlist *to, size_t max, bool may, const uint8_t *bytes, size_t len)
{
    if (!may || to->len >= max)
        return false;
    strlist_add_owned(to, xmemdup(bytes, len));
    return true;
}

/* Does the field hold bytes rather than text? */
static bool is_binary(uint8_t tag)
{
    return tag == TAG_FLAGS || tag == TAG_SIZE || tag == TAG_LIFE || tag == TAG_HEALTH || tag == TAG_NAMES;
}

static bool take_main_field(struct wire_start *s, uint8_t tag, const uint8_t *bytes, size_t len)
{
    switch (tag) {
    case TAG_LIFE:
        return take_life(s, bytes, len);
    case TAG_RECORD:
        take_record(s, bytes, len);
        return true;
    case TAG_HEALTH:
        return take_health(&s->health, bytes, len);
    case TAG_HEALTH_TEST:
        return take_string(&s->health.test, HEALTH_TESTS_MAX, true, bytes, len);
    case TAG_NAMES:
        return take_names(&s->names, bytes, len);
    case TAG_NAMES_MEMBER:
        return take_string(&s->names.members, WIRE_NAMES_MAX, s->names.self, bytes, len);
    case TAG_NAMES_HOST:
        return take_string(&s->names.hosts, WIRE_NAMES_MAX, s->names.self, bytes, len);
    case TAG_VOLUMES:
        if (s->volumes)
            return false;
        s->volumes = xmemdup(bytes, len);
        return true;
    case TAG_TERM:
        return take_string(&s->terms, WIRE_TERMS_MAX, true, bytes, len);
    default:
        return false;
    }
}

/* Takes one field; false if it cannot be. */
static bool take_field(struct wire_start *s, uint8_t tag, const uint8_t *bytes, size_t len)
{
    char **text = tag == TAG_USER ? &s->user : &s->cwd;

    if (!is_binary(tag) && memchr(bytes, '\0', len))
        return false;
    switch (tag) {
    case TAG_FLAGS:
        s->flags = len == 4 ? load32(bytes) : ~0u;
        return !(s->flags & ~START_FLAGS);
    case TAG_SIZE:
        if (len != 4)
            return false;
        s->rows = (uint16_t)(bytes[0] | bytes[1] << 8);
        s->cols = (uint16_t)(bytes[2] | bytes[3] << 8);
        return true;
    case TAG_USER:
    case TAG_CWD:
        if (*text || len >= LIMIT_PATH)
            return false;
        *text = xmemdup(bytes, len);
        return true;
    case TAG_ARG:
        strlist_add_owned(&s->argv, xmemdup(bytes, len));
        return true;
    case TAG_ENV:
        strlist_add_owned(&s->env, xmemdup(bytes, len));
        return true;
    default:
        return take_main_field(s, tag, bytes, len);
    }
}

int wire_start_read(struct wire_start_reader *reader, const struct wire_frame *f, struct err *err)
{
    struct rd r = rd_begin(f);
    uint8_t last = rd_u8(&r);

    if (reader->complete)
        return err_set(err, 125, "a second START");
    reader->size += f->len;
    if (reader->size > WIRE_START_MAX + WIRE_RECORD_MAX + LIMIT_FRAME)
        return err_set(err, 126, "arguments and environment are over %u bytes", WIRE_START_MAX);
    if (last > 1)
        r.bad = true;
    while (r.left && !r.bad) {
        uint8_t tag = rd_u8(&r);
        size_t len = rd_u32(&r);
        const uint8_t *bytes = len > WIRE_STRING_MAX ? NULL : rd_bytes(&r, len);

        if (!bytes || !take_field(&reader->start, tag, bytes, len))
            r.bad = true;
    }
    if (last && (!reader->start.argv.len || !reader->start.user || !reader->start.cwd))
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    reader->complete = last;
    return 0;
}

bool wire_start_is_last(const struct wire_frame *f)
{
    return f->type == WIRE_START && f->len && f->data[0] == 1;
}

bool wire_start_is_main(const struct wire_frame *f)
{
    struct rd r = rd_begin(f);

    rd_u8(&r);
    return rd_u8(&r) == TAG_FLAGS && rd_u32(&r) == 4 && (rd_u32(&r) & WIRE_START_MAIN) && !r.bad;
}
