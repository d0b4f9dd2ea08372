#include "shim/progress.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/docker/units.h"
#include "compat/sys/tty.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define BAR_WIDTH   50  /* Docker's */
#define BAR_COLUMNS 110 /* a terminal that is not wider gets the numbers alone */
#define DRAW_MS     100 /* between two drawings of a bar */
#define MAX_LINES   4096

struct line {
    char *id;
    char *state;   /* what was drawn or printed last */
    int64_t drawn; /* when its bar was */
};

struct progress {
    pthread_mutex_t lock; /* layers travel in threads of their own */
    FILE *to;
    bool tty;
    struct line *lines; /* those below the last line of its own, top first */
    size_t len;
};

struct progress *progress_new(FILE *to)
{
    struct progress *p = xcalloc(1, sizeof(*p));

    pthread_mutex_init(&p->lock, NULL);
    p->to = to;
    p->tty = to && tty_is(fileno(to));
    return p;
}

static void forget_lines(struct progress *p)
{
    for (size_t i = 0; i < p->len; i++) {
        free(p->lines[i].id);
        free(p->lines[i].state);
    }
    free(p->lines);
    p->lines = NULL;
    p->len = 0;
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    forget_lines(p);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void progress_line(struct progress *p, const char *fmt, ...)
{
    va_list ap;

    if (!p->to)
        return;
    pthread_mutex_lock(&p->lock);
    forget_lines(p);
    va_start(ap, fmt);
    vfprintf(p->to, fmt, ap);
    va_end(ap);
    fputc('\n', p->to);
    fflush(p->to);
    pthread_mutex_unlock(&p->lock);
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The layer's line; a new one is made room for below the others. NULL: there are more than anybody can read. */
static struct line *find_line(struct progress *p, const char *id)
{
    for (size_t i = 0; i < p->len; i++) {
        if (strncmp(p->lines[i].id, id, 12) == 0)
            return &p->lines[i];
    }
    if (p->len == MAX_LINES)
        return NULL;
    p->lines = xreallocarray(p->lines, p->len + 1, sizeof(*p->lines));
    p->lines[p->len] = (struct line){.id = xstrndup(id, 12)};
    if (p->tty)
        fputc('\n', p->to);
    return &p->lines[p->len++];
}

/* "[====>    ]  12.3MB/45.6MB"; owned by caller. */
static char *bar(const struct progress *p, int64_t done, int64_t total)
{
    cleanup_free char *have = units_size(done > 0 ? (double)done : 0), *of = units_size((double)total);
    int half = done > 0 ? (int)((double)done / (double)total * 100) / 2 : 0;
    char box[BAR_WIDTH + 8] = "";
    uint16_t rows, columns = 200;

    if (half > BAR_WIDTH)
        half = BAR_WIDTH;
    if (!tty_size(fileno(p->to), &rows, &columns))
        columns = 200;
    if (columns > BAR_COLUMNS) {
        memset(box, ' ', BAR_WIDTH + 4);
        memset(box + 1, '=', (size_t)half);
        box[0] = '[';
        box[half + 1] = '>';
        box[BAR_WIDTH + 2] = ']';
        box[BAR_WIDTH + 4] = '\0';
    }
    return done > total ? xasprintf("%s%8s", box, have) : xasprintf("%s%8s/%s", box, have, of);
}

/* Draws the line where it stands: up to it, over it, and down again. */
static void draw(struct progress *p, const struct line *l, const char *state, const char *tail)
{
    int up = (int)(p->len - (size_t)(l - p->lines));

    fprintf(p->to, "\033[%dA\033[2K\r%s: %s %s\r\033[%dB", up, l->id, state, tail, up);
    fflush(p->to);
}

bool progress_is(const struct progress *p, const char *id, const char *state)
{
    for (size_t i = 0; i < p->len; i++) {
        if (strncmp(p->lines[i].id, id, 12) == 0)
            return p->lines[i].state && strcmp(p->lines[i].state, state) == 0;
    }
    return false;
}

bool progress_draws(const struct progress *p)
{
    return p->tty;
}

static void show_state(struct progress *p, const char *id, const char *state)
{
    struct line *l = find_line(p, id);

    if (!l || (l->state && strcmp(l->state, state) == 0 && !l->drawn))
        return;
    free(l->state);
    l->state = xstrdup(state);
    l->drawn = 0;
    if (p->tty) {
        draw(p, l, state, "");
    } else {
        fprintf(p->to, "%s: %s\n", l->id, state);
        fflush(p->to);
    }
}

void progress_state(struct progress *p, const char *id, const char *state)
{
    if (!p->to)
        return;
    pthread_mutex_lock(&p->lock);
    show_state(p, id, state);
    pthread_mutex_unlock(&p->lock);
}

static void show_bytes(struct progress *p, const char *id, const char *state, int64_t done, int64_t total)
{
    cleanup_free char *tail = NULL;
    struct line *l;
    int64_t now;

    l = find_line(p, id);
    now = now_ms();
    if (!l || (l->state && strcmp(l->state, state) == 0 && done < total && now - l->drawn < DRAW_MS))
        return;
    if (total > 0)
        tail = bar(p, done, total);
    else
        tail = done > 0 ? units_size((double)done) : xstrdup("");
    free(l->state);
    l->state = xstrdup(state);
    l->drawn = now;
    draw(p, l, state, tail);
}

void progress_bytes(struct progress *p, const char *id, const char *state, int64_t done, int64_t total)
{
    if (!p->tty) /* a bar is nothing for a file */
        return;
    pthread_mutex_lock(&p->lock);
    show_bytes(p, id, state, done, total);
    pthread_mutex_unlock(&p->lock);
}

/* What a server may say of a layer. */
static bool is_state(const char *text)
{
    static const char *const states[] = {
        "Already exists",   "Download complete",  "Extracting", "Pull complete",
        "Pulling fs layer", "Verifying Checksum", "Waiting",
    };

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strcmp(text, states[i]) == 0)
            return true;
    }
    return false;
}

/* "Downloading 123/4567" */
static void show_transfer(struct progress *p, const char *id, const char *words)
{
    size_t len = strcspn(words, " ");
    cleanup_free char *state = xstrndup(words, len);
    char *slash;
    long long done = strtoll(words + len, &slash, 10);

    if (strcmp(state, "Downloading") == 0 && *slash == '/' && done >= 0)
        progress_bytes(p, id, state, done, strtoll(slash + 1, NULL, 10));
}

void progress_log(struct progress *p, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        cleanup_free char *line = xstrndup(text, len);

        if (strspn(line, "0123456789abcdef") == 12 && strncmp(line + 12, ": ", 2) == 0) {
            line[12] = '\0';
            if (is_state(line + 14))
                progress_state(p, line, line + 14);
            else
                show_transfer(p, line, line + 14);
        }
        text += len + (text[len] == '\n');
    }
}
