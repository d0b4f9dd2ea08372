/* BuildKit's plain look: "#5 [2/3] RUN x", "#5 0.213 output", "#5 DONE 0.4s"; and the classic builder's. */
#include "shim/build/board_impl.h"

#include <inttypes.h>
#include <string.h>

/* Lines of v stand last now; it is named again when others came between. */
static void show(struct board *b, struct vertex *v)
{
    if (b->shown && b->shown_index == (size_t)(v - b->items))
        return;
    if (b->shown && !b->items[b->shown_index].ended_ms)
        fprintf(b->to, "#%zu ...\n", b->items[b->shown_index].number);
    if (b->shown)
        fputc('\n', b->to);
    if (!v->number)
        v->number = ++b->numbered;
    b->shown = v;
    b->shown_index = (size_t)(v - b->items);
    fprintf(b->to, "#%zu %s\n", v->number, v->name);
}

static void began(struct board *b, struct vertex *v)
{
    show(b, v);
    fflush(b->to);
}

static void said(struct board *b, struct vertex *v)
{
    show(b, v);
    if (v->status_done)
        fprintf(b->to, "#%zu %s done\n", v->number, v->status);
}

static void line(struct board *b, struct vertex *v, int fd, const char *text)
{
    int64_t ms = board_elapsed_ms(v);

    (void)fd;
    show(b, v);
    fprintf(b->to, "#%zu %" PRId64 ".%03d %s\n", v->number, ms / 1000, (int)(ms % 1000), text);
    fflush(b->to);
}

static void ended(struct board *b, struct vertex *v)
{
    int64_t ms = board_elapsed_ms(v);

    show(b, v);
    if (board_canceled(v))
        fprintf(b->to, "#%zu CANCELED\n", v->number);
    else if (v->error)
        fprintf(b->to, "#%zu ERROR: %s\n", v->number, v->error);
    else if (v->cached)
        fprintf(b->to, "#%zu CACHED\n", v->number);
    else
        fprintf(b->to, "#%zu DONE %" PRId64 ".%ds\n", v->number, (ms + 50) / 1000, (int)((ms + 50) % 1000 / 100));
    fflush(b->to);
}

static void note(struct board *b, const char *text)
{
    if (b->shown)
        fputc('\n', b->to);
    b->shown = NULL;
    fprintf(b->to, "%s\n", text);
}

static void tick(struct board *b)
{
    (void)b;
}

static void finish(struct board *b)
{
    board_print_errors(b);
    b->shown = NULL; /* what is noted from here on stands by itself */
}

const struct board_drawer board_plain = {
    .began = began,
    .said = said,
    .line = line,
    .ended = ended,
    .note = note,
    .tick = tick,
    .finish = finish,
};

/* ---- the classic builder ---- */

/* Whether it is a step of the Dockerfile; the classic builder shows nothing else. */
static bool is_step(const struct vertex *v)
{
    return *v->name == '[' && strncmp(v->name, "[internal]", strlen("[internal]"));
}

/* Its number among them, and how many they are. */
static void count_steps(const struct board *b, const struct vertex *v, size_t *ret_at, size_t *ret_all)
{
    *ret_at = *ret_all = 0;
    for (size_t i = 0; i < b->len; i++)
        if (is_step(&b->items[i])) {
            ++*ret_all;
            if (&b->items[i] == v)
                *ret_at = *ret_all;
        }
}

static void classic_began(struct board *b, struct vertex *v)
{
    const char *text = strchr(v->name, ']');
    size_t at, all;

    if (!is_step(v) || !text)
        return;
    count_steps(b, v, &at, &all);
    fprintf(b->to, "Step %zu/%zu :%s\n", at, all, text + 1);
    fflush(b->to);
}

static void classic_said(struct board *b, struct vertex *v)
{
    (void)b, (void)v;
}

static void classic_line(struct board *b, struct vertex *v, int fd, const char *text)
{
    if (!is_step(v))
        return;
    fprintf(fd == 2 ? stderr : b->to, "%s\n", text);
    fflush(b->to);
}

static void classic_ended(struct board *b, struct vertex *v)
{
    if (is_step(v) && v->cached)
        fputs(" ---> Using cache\n", b->to);
    fflush(b->to);
}

static void classic_note(struct board *b, const char *text)
{
    (void)b;
    fprintf(stderr, "%s\n", text);
}

const struct board_drawer board_classic = {
    .began = classic_began,
    .said = classic_said,
    .line = classic_line,
    .ended = classic_ended,
    .note = classic_note,
    .tick = tick,
    .finish = tick,
};
