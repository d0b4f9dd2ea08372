#include "shim/compose/display.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/tame.h"
#include "compat/docker/opt.h"
#include "compat/sys/loop.h"
#include "compat/sys/tty.h"
#include "shim/app.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DRAW_MS     100
#define LINES_MAX   4096u /* things shown; a project has fewer */
#define TEXT_MAX    (64u << 10)
#define SPINNERS    10
#define DRY         " DRY-RUN MODE - "
#define NAME_MARGIN 15 /* compose keeps so many columns free right of a status */

#define BLUE   "\033[34m"
#define CYAN   "\033[36m"
#define GREEN  "\033[32m"
#define YELLOW "\033[33m"
#define BOLD   "\033[1m"
#define RED    "\033[31m"
#define RESET  "\033[0m"

struct line {
    char *id, *text, *status;
    enum display_kind kind;
    int64_t begun, ended;
};

struct display {
    enum display_look look;
    bool colours, dry;
    char *title;
    struct line *items;
    size_t len;
    size_t drawn; /* lines of things on the terminal, without the first one */
    bool repeated;
    int64_t drawn_at;
};

static const char *ansi_of(const struct app *app)
{
    const char *env = getenv("COMPOSE_ANSI");

    if (app->group && opt_given(app->group, "ansi"))
        return opt_str(app->group, "ansi");
    if (app->group && opt_bool(app->group, "no-ansi"))
        return "never";
    return env ? env : "auto";
}

static bool no_colour(void)
{
    const char *env = getenv("NO_COLOR");

    return env && *env;
}

bool display_colours(struct app *app)
{
    const char *ansi = ansi_of(app);

    if (no_colour() || !strcmp(ansi, "never"))
        return false;
    return !strcmp(ansi, "always") || (!strcmp(ansi, "auto") && tty_is(STDOUT_FILENO));
}

int display_look(struct app *app, enum display_look *ret, struct err *err)
{
    const char *ansi = ansi_of(app), *env = getenv("COMPOSE_PROGRESS");
    const char *progress = app->group && opt_given(app->group, "progress") ? opt_str(app->group, "progress")
                           : env                                           ? env
                                                                           : "";
    bool never = !strcmp(ansi, "never"), always = !strcmp(ansi, "always");

    *ret = never ? DISPLAY_PLAIN : always ? DISPLAY_TTY : DISPLAY_AUTO;
    if (!*progress || !strcmp(progress, "auto"))
        return 0;
    if (!strcmp(progress, "tty")) {
        if (never)
            return err_set(err, 1, "can't use --progress tty while ANSI support is disabled");
        *ret = DISPLAY_TTY;
    } else if (!strcmp(progress, "plain")) {
        if (always)
            return err_set(err, 1, "can't use --progress plain while ANSI support is forced");
        *ret = DISPLAY_PLAIN;
    } else if (!strcmp(progress, "quiet") || !strcmp(progress, "none")) {
        *ret = DISPLAY_QUIET;
    } else if (!strcmp(progress, "json")) {
        *ret = DISPLAY_JSON;
    } else {
        return err_set(err, 1, "unsupported --progress value \"%s\"", progress);
    }
    return 0;
}

static struct display *open_look(struct app *app, const char *title, bool draws, struct err *err)
{
    enum display_look look;
    struct display *d;

    if (display_look(app, &look, err) < 0)
        return NULL;
    if (look == DISPLAY_AUTO)
        look = tty_is(STDERR_FILENO) ? DISPLAY_TTY : DISPLAY_PLAIN;
    if (look == DISPLAY_TTY && !draws)
        look = DISPLAY_PLAIN;
    d = xcalloc(1, sizeof(*d));
    d->look = look;
    d->colours = !no_colour();
    d->dry = app->dry_run;
    d->title = xstrdup(title);
    return d;
}

struct display *display_open(struct app *app, const char *title, struct err *err)
{
    return open_look(app, title, true, err);
}

struct display *display_open_plain(struct app *app, struct err *err)
{
    return open_look(app, "", false, err);
}

bool display_draws(const struct display *d)
{
    return d->look == DISPLAY_TTY;
}

bool display_is_quiet(const struct display *d)
{
    return d->look == DISPLAY_QUIET;
}

/* ---- a terminal ---- */

static const char *colour(const struct display *d, const char *code)
{
    return d->colours ? code : "";
}

static void draw_sign(const struct display *d, const struct line *l, struct buf *out)
{
    static const char *const spin[SPINNERS] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};

    switch (l->kind) {
    case DISPLAY_DONE:
        buf_addf(out, "%s✔%s", colour(d, GREEN), colour(d, RESET));
        break;
    case DISPLAY_WARNING:
        buf_addf(out, "%s!%s", colour(d, YELLOW BOLD), colour(d, RESET));
        break;
    case DISPLAY_ERROR:
        buf_addf(out, "%s✘%s", colour(d, RED BOLD), colour(d, RESET));
        break;
    default:
        buf_addf(out, "%s%s%s", colour(d, YELLOW), spin[(loop_now() - l->begun) / DRAW_MS % SPINNERS],
                 colour(d, RESET));
    }
}

static const char *status_colour(const struct display *d, enum display_kind kind)
{
    static const char *const codes[] = {"", GREEN, YELLOW BOLD, RED BOLD};

    return colour(d, codes[kind]);
}

/* One thing: " ✔ Container p-web-1  Created    0.1s", cut to the terminal's width. */
static void draw_line(const struct display *d, const struct line *l, size_t padding, size_t width, struct buf *out)
{
    size_t used = strlen(l->id) + 1 + strlen(l->text), status = strlen(l->status), left;
    size_t pad = padding > used ? padding - used : 0;
    int64_t ms = (l->kind == DISPLAY_WORKING ? loop_now() : l->ended) - l->begun;
    cleanup_free char *timer = xasprintf("%.1fs ", (double)ms / 1000);
    size_t room = width > used + padding + NAME_MARGIN ? width - used - padding - NAME_MARGIN : 0;

    buf_addc(out, ' ');
    draw_sign(d, l, out);
    if (d->dry)
        buf_addf(out, "%s%s%s", colour(d, CYAN), DRY, colour(d, RESET));
    buf_addf(out, " %s %s%*s ", l->id, l->text, (int)pad, "");
    if (room && status > room)
        status = room;
    buf_addf(out, "%s%.*s%s", status_colour(d, l->kind), (int)status, l->status, l->kind ? colour(d, RESET) : "");
    left = 3 + (d->dry ? strlen(DRY) : 0) + used + pad + 1 + status + strlen(timer);
    buf_addf(out, "%*s%s%s%s\n", width > left ? (int)(width - left) : 0, "", colour(d, BLUE), timer, colour(d, RESET));
}

static void draw(struct display *d)
{
    cleanup_buf struct buf out = BUF_INIT(4u << 20);
    uint16_t rows = 24, cols = 80;
    size_t padding = 0, done = 0;

    if (!d->len)
        return;
    tty_size(STDERR_FILENO, &rows, &cols);
    for (size_t i = 0; i < d->len; i++) {
        size_t used = strlen(d->items[i].id) + 1 + strlen(d->items[i].text);

        padding = used > padding ? used : padding;
        done += d->items[i].kind != DISPLAY_WORKING;
    }
    if (d->repeated)
        buf_addf(&out, "\033[%zuA", d->drawn + 1);
    buf_adds(&out, "\r\033[?25l");
    d->repeated = true;
    buf_addf(&out, "%s[+] %s %zu/%zu%s\033[K\n", d->drawn && done == d->drawn ? colour(d, BLUE) : "", d->title, done,
             d->len, d->drawn && done == d->drawn ? colour(d, RESET) : "");
    /* a terminal that is not high enough shows the newest */
    d->drawn = 0;
    for (size_t i = rows > 2 && d->len > rows - 2u ? d->len - (rows - 2u) : 0; i < d->len; i++, d->drawn++)
        draw_line(d, &d->items[i], padding, cols, &out);
    buf_adds(&out, "\033[?25h");
    fwrite(out.data, 1, out.len, stderr);
    fflush(stderr);
    d->drawn_at = loop_now();
}

void display_tick(struct display *d)
{
    if (d->look == DISPLAY_TTY && loop_now() - d->drawn_at >= DRAW_MS)
        draw(d);
}

/* ---- events ---- */

static char *tame_copy(const char *text)
{
    char *copy = xstrdup(text);

    tame(copy, /* keep_lines= */ false);
    return copy;
}

static void print_json(const struct display *d, const char *id, const char *text, const char *status)
{
    json_auto_t *o = json_object();
    cleanup_free char *line = NULL;

    if (d->dry)
        json_object_set_new(o, "dry-run", json_true());
    if (*id)
        json_object_set_new(o, "id", json_string(id));
    if (*text)
        json_object_set_new(o, "text", json_string(text));
    if (*status)
        json_object_set_new(o, "status", json_string(status));
    line = json_dumps(o, JSON_COMPACT);
    fprintf(stderr, "%s\n", line ? line : "{}");
}

static void remember(struct display *d, enum display_kind kind, const char *id, const char *text, const char *status)
{
    struct line *l = NULL;

    for (size_t i = 0; i < d->len && !l; i++)
        if (!strcmp(d->items[i].id, id))
            l = &d->items[i];
    if (!l) {
        if (d->len == LINES_MAX)
            return;
        d->items = xreallocarray(d->items, d->len + 1, sizeof(*d->items));
        l = &d->items[d->len++];
        *l = (struct line){.id = xstrdup(id), .begun = loop_now()};
    }
    free(l->text);
    free(l->status);
    l->text = xstrdup(text);
    l->status = xstrdup(status);
    l->kind = kind;
    l->ended = loop_now();
}

void display_event(struct display *d, enum display_kind kind, const char *id, const char *text, const char *status)
{
    cleanup_free char *tame_id = tame_copy(id), *tame_text = tame_copy(text), *tame_status = tame_copy(status);

    if (!d)
        return;
    switch (d->look) {
    case DISPLAY_TTY:
        remember(d, kind, tame_id, tame_text, tame_status);
        display_tick(d);
        break;
    case DISPLAY_JSON:
        print_json(d, tame_id, tame_text, tame_status);
        break;
    case DISPLAY_QUIET:
        break;
    default:
        fprintf(stderr, "%s %s %s %s\n", d->dry ? DRY : "", tame_id, tame_text, tame_status);
    }
}

void display_free(struct display *d)
{
    if (!d)
        return;
    if (d->look == DISPLAY_TTY)
        draw(d);
    for (size_t i = 0; i < d->len; i++) {
        free(d->items[i].id);
        free(d->items[i].text);
        free(d->items[i].status);
    }
    free(d->items);
    free(d->title);
    free(d);
}
