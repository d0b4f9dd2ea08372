/*
 * BuildKit's look on a terminal: all vertexes one below the other, drawn anew some ten times a second, the last lines
 * of those that run below them. Nothing is drawn that does not fit: older vertexes scroll away only once.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/sys/loop.h"
#include "compat/sys/tty.h"
#include "shim/build/board_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD_MS 100
#define LOG_LINES 6u         /* of a vertex that runs */
#define DRAWING   (1u << 20) /* far more than any terminal shows */

/* Columns that a UTF-8 text takes, wide characters counted as one; cut is where `columns` of them end. */
static size_t columns_of(const char *text, size_t columns, size_t *ret_bytes)
{
    size_t n = 0, i = 0;

    while (text[i] && (n < columns || ((unsigned char)text[i] & 0xc0) == 0x80)) {
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
        i++;
    }
    *ret_bytes = i;
    return n;
}

/* One line: text on the left, cut where the time on the right begins. */
static void add_line(struct buf *out, unsigned width, const char *colour, const char *text, const char *right)
{
    size_t room = width > strlen(right) + 2 ? width - strlen(right) - 2 : 1, bytes, columns;

    columns = columns_of(text, room, &bytes);
    buf_addf(out, "\033[2K%s%.*s%*s %s%s\n", colour, (int)bytes, text, (int)(room - columns), "", right,
             *colour ? "\033[0m" : "");
}

static char *seconds(int64_t ms)
{
    return xasprintf("%" PRId64 ".%ds", (ms + 50) / 1000, (int)((ms + 50) % 1000 / 100));
}

/* The first line: "[+] Building 1.2s (5/7)". */
static void add_head(const struct board *b, struct buf *out, unsigned width)
{
    char *time = seconds(loop_now() - b->begun_ms), *text;
    size_t done = 0;
    bool running = !b->finished;

    for (size_t i = 0; i < b->len; i++)
        done += b->items[i].ended_ms && !b->items[i].error;
    text = xasprintf("[+] Building %s (%zu/%zu)%s", time, done, b->len, !running && done == b->len ? " FINISHED" : "");
    add_line(out, width, "", text, "");
    free(text);
    free(time);
}

/* A vertex and, while it runs, what it does and says. Returns the lines that it took. */
static unsigned add_vertex(const struct vertex *v, struct buf *out, unsigned width, unsigned rows)
{
    const char *word = board_canceled(v) ? "CANCELED " : v->error ? "ERROR " : v->cached ? "CACHED " : "";
    const char *colour = board_canceled(v) ? "\033[33m" : v->error ? "\033[31m" : v->ended_ms ? "\033[34m" : "";
    char *time = v->begun_ms ? seconds(board_elapsed_ms(v)) : xstrdup("");
    char *text = xasprintf(" => %s%s", word, v->name);
    unsigned used = 1;

    add_line(out, width, colour, text, time);
    free(text);
    if (v->status && used < rows) {
        text = xasprintf(" => => %s", v->status);
        add_line(out, width, v->status_done ? "\033[34m" : "", text, v->status_done ? time : "");
        free(text);
        used++;
    }
    for (size_t i = v->tail.len > LOG_LINES ? v->tail.len - LOG_LINES : 0;
         !v->ended_ms && i < v->tail.len && used < rows; i++, used++) {
        const char *said = strchr(v->tail.items[i], ' ');

        text = xasprintf(" => => # %s", said ? said + 1 : "");
        for (char *p = text; *p; p++)
            if (*p == '\t')
                *p = ' ';
        add_line(out, width, "\033[2m", text, "");
        free(text);
    }
    free(time);
    return used;
}

/* How many lines a vertex would like to have. */
static unsigned wishes(const struct vertex *v)
{
    size_t logs = v->ended_ms ? 0 : v->tail.len > LOG_LINES ? LOG_LINES : v->tail.len;

    return 1 + (v->status != NULL) + (unsigned)logs;
}

/* Back to the first line of the last drawing; in a terminal that has become narrower its lines take several. */
static void add_return(const struct board *b, struct buf *out, unsigned width)
{
    unsigned rows = width && b->drawn_width > width + 1 ? (b->drawn_width - 2) / width + 1 : 1;

    if (b->drawn)
        buf_addf(out, "\033[%uA", b->drawn * rows);
}

static void draw(struct board *b)
{
    cleanup_buf struct buf out = BUF_INIT(DRAWING);
    uint16_t height = 0, width = 0;
    unsigned lines = 0, room;
    size_t first;

    if (!tty_size(fileno(b->to), &height, &width) || height < 3 || width < 20) {
        height = 24;
        width = 80;
    }
    room = b->finished ? DRAWING : height - 2u;
    for (first = b->len; first > 0; first--) { /* the latest that fit */
        if (!b->items[first - 1].begun_ms)
            continue;
        if (lines + wishes(&b->items[first - 1]) > room)
            break;
        lines += wishes(&b->items[first - 1]);
    }
    add_return(b, &out, width);
    buf_adds(&out, "\r\033[?25l");
    add_head(b, &out, width);
    lines = 1;
    for (size_t i = first; i < b->len; i++)
        if (b->items[i].begun_ms)
            lines += add_vertex(&b->items[i], &out, width, room);
    buf_adds(&out, "\033[J\033[?25h");
    fwrite(out.data, 1, out.len, b->to);
    fflush(b->to);
    b->drawn = lines;
    b->drawn_width = width;
    b->drawn_ms = loop_now();
}

static void changed(struct board *b, struct vertex *v)
{
    (void)v;
    if (loop_now() - b->drawn_ms >= PERIOD_MS)
        draw(b);
}

static void line(struct board *b, struct vertex *v, int fd, const char *text)
{
    (void)fd, (void)text;
    changed(b, v);
}

static void note(struct board *b, const char *text)
{
    if (b->drawn && !b->finished)
        fprintf(b->to, "\033[%uA\r\033[J", b->drawn);
    b->drawn = 0;
    fprintf(b->to, "%s\n", text);
    if (!b->finished)
        draw(b);
}

static void tick(struct board *b)
{
    changed(b, NULL);
}

static void finish(struct board *b)
{
    draw(b);
    board_print_errors(b);
}

const struct board_drawer board_tty = {
    .began = changed,
    .said = changed,
    .line = line,
    .ended = changed,
    .note = note,
    .tick = tick,
    .finish = finish,
};
