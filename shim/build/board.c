#include "shim/build/board.h"

#include "compat/base/alloc.h"
#include "compat/base/tame.h"
#include "compat/sys/loop.h"
#include "shim/build/board_impl.h"

#include <stdlib.h>
#include <string.h>

static const struct board_drawer *drawer_of(enum board_look look)
{
    switch (look) {
    case BOARD_TTY:
        return &board_tty;
    case BOARD_QUIET:
        return &board_quiet;
    case BOARD_RAWJSON:
        return &board_rawjson;
    case BOARD_CLASSIC:
        return &board_classic;
    default:
        return &board_plain;
    }
}

struct board *board_new(enum board_look look, FILE *to)
{
    struct board *b = xcalloc(1, sizeof(*b));

    b->to = to;
    b->drawer = drawer_of(look);
    b->begun_ms = loop_now();
    return b;
}

void board_free(struct board *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->len; i++) {
        free(b->items[i].name);
        free(b->items[i].error);
        free(b->items[i].status);
        strlist_clear(&b->items[i].tail);
        buf_clear(&b->items[i].partial);
    }
    free(b->items);
    free(b);
}

size_t board_add(struct board *b, const char *name)
{
    struct vertex *v;

    b->items = xreallocarray(b->items, b->len + 1, sizeof(*b->items));
    v = &b->items[b->len];
    *v = (struct vertex){.name = xstrdup(name)};
    tame(v->name, /* keep_lines= */ false);
    buf_init(&v->partial, BOARD_LINE_MAX);
    return b->len++;
}

bool board_begun(const struct board *b, size_t v)
{
    return b->items[v].begun_ms != 0;
}

bool board_ended(const struct board *b, size_t v)
{
    return b->items[v].ended_ms != 0;
}

void board_begin(struct board *b, size_t v)
{
    if (b->items[v].begun_ms)
        return;
    b->items[v].begun_ms = loop_now();
    b->drawer->began(b, &b->items[v]);
}

void board_status(struct board *b, size_t v, const char *what, bool done)
{
    struct vertex *x = &b->items[v];

    board_begin(b, v);
    free(x->status);
    x->status = xstrdup(what);
    tame(x->status, /* keep_lines= */ false);
    x->status_done = done;
    b->drawer->said(b, x);
}

int64_t board_elapsed_ms(const struct vertex *v)
{
    return v->begun_ms ? (v->ended_ms ? v->ended_ms : loop_now()) - v->begun_ms : 0;
}

/* A whole line of output: into the tail, and drawn. What came before a carriage return would be overwritten. */
static void end_line(struct board *b, struct vertex *v)
{
    char *text = v->partial.data, *cr;
    int64_t ms = board_elapsed_ms(v);

    while (v->partial.len && text[v->partial.len - 1] == '\r')
        buf_truncate(&v->partial, v->partial.len - 1);
    text = v->partial.data;
    cr = v->partial.len ? strrchr(text, '\r') : NULL;
    text = cr ? cr + 1 : text;
    if (v->partial.len)
        tame(text, /* keep_lines= */ true);
    if (v->tail.len == BOARD_TAIL)
        strlist_remove(&v->tail, 0);
    strlist_addf(&v->tail, "%lld.%03lld %s", (long long)(ms / 1000), (long long)(ms % 1000), text);
    b->drawer->line(b, v, v->fd, text);
    buf_reset(&v->partial);
}

void board_output(struct board *b, size_t at, int fd, const char *text, size_t len)
{
    struct vertex *v = &b->items[at];

    board_begin(b, at);
    v->fd = fd;
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\n')
            end_line(b, v);
        else if (text[i] && buf_addc(&v->partial, text[i]) < 0) {
            end_line(b, v);
            buf_addc(&v->partial, text[i]);
        }
}

void board_end(struct board *b, size_t at, bool cached, const char *error)
{
    struct vertex *v = &b->items[at];

    if (v->ended_ms)
        return;
    board_begin(b, at);
    if (v->partial.len)
        end_line(b, v);
    v->ended_ms = loop_now();
    v->cached = cached;
    v->error = xstrdup(error);
    tame(v->error, /* keep_lines= */ true);
    if (v->status && !v->status_done && !error) {
        v->status_done = true;
        b->drawer->said(b, v);
    }
    b->drawer->ended(b, v);
}

void board_note(struct board *b, const char *text)
{
    char *safe = xstrdup(text);

    tame(safe, /* keep_lines= */ true);
    b->drawer->note(b, safe);
    free(safe);
}

void board_tick(struct board *b)
{
    if (!b->finished)
        b->drawer->tick(b);
}

void board_finish(struct board *b)
{
    if (b->finished)
        return;
    b->finished = true;
    for (size_t i = 0; i < b->len; i++)
        if (b->items[i].begun_ms && !b->items[i].ended_ms && b->items[i].partial.len)
            end_line(b, &b->items[i]);
    b->drawer->finish(b);
    fflush(b->to);
}

bool board_canceled(const struct vertex *v)
{
    static const char words[] = "context canceled";
    size_t len = v->error ? strlen(v->error) : 0;

    return len >= strlen(words) && !strcmp(v->error + len - strlen(words), words);
}

void board_print_errors(struct board *b)
{
    for (size_t i = 0; i < b->len; i++) {
        const struct vertex *v = &b->items[i];

        if (!v->error || board_canceled(v))
            continue;
        fprintf(b->to, "------\n > %s:\n", v->name);
        for (size_t n = 0; n < v->tail.len; n++)
            fprintf(b->to, "%s\n", v->tail.items[n]);
        fputs("------\n", b->to);
    }
}

/* ---- nothing at all, but for the end of a failure ---- */

static void no_vertex(struct board *b, struct vertex *v)
{
    (void)b, (void)v;
}

static void no_line(struct board *b, struct vertex *v, int fd, const char *text)
{
    (void)b, (void)v, (void)fd, (void)text;
}

static void no_tick(struct board *b)
{
    (void)b;
}

static void plain_note(struct board *b, const char *text)
{
    fprintf(b->to, "%s\n", text);
}

const struct board_drawer board_quiet = {
    .began = no_vertex,
    .said = no_vertex,
    .line = no_line,
    .ended = no_vertex,
    .note = plain_note,
    .tick = no_tick,
    .finish = board_print_errors,
};
