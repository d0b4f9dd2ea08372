#include "shim/build/log.h"

#include "backends/modal/image.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "shim/build/board.h"
#include "shim/build/plan.h"
#include "shim/build/request.h"

#include <stdlib.h>
#include <string.h>

#define REMARK_MAX (64u << 10)
#define STEP       "=> Step "
#define OWN_STAGE  "atp-context-"

void build_log_init(struct build_log *l, struct board *board, const struct build_plan *plan)
{
    *l = (struct build_log){
        .board = board, .plan = plan, .current = BUILD_NO_USE, .other = BUILD_NO_USE, .failed = BUILD_NO_USE};
    buf_init(&l->line, REMARK_MAX);
}

void build_log_clear(struct build_log *l)
{
    buf_clear(&l->line);
    free(l->pending);
    free(l->error);
}

static void end_current(struct build_log *l, bool cached, const char *error)
{
    if (l->current != BUILD_NO_USE)
        board_end(l->board, l->plan->steps[l->current].vertex, cached, error);
    if (error) {
        l->failed = l->current;
        free(l->error);
        l->error = xstrdup(error);
    }
    l->current = BUILD_NO_USE;
}

/* Whether both begin with the same word: "RUN", "COPY". */
static bool same_word(const char *a, const char *b)
{
    size_t len = strcspn(a, " ");

    return strcspn(b, " ") == len && !strncmp(a, b, len);
}

/*
 * The step that a line of the log speaks of. Names were rewritten for the server, and stages put in, so the text may
 * differ: the same text in the same place, the same text, the same kind in the same place, the next of that kind.
 */
static size_t find_step(const struct build_log *l, const char *shown, size_t number, size_t of)
{
    const struct build_plan *p = l->plan;

    for (int pass = 0; pass < 4; pass++)
        for (size_t i = 0; i < p->steps_len; i++) {
            const struct build_step *s = &p->steps[i];
            bool text = !strcmp(s->shown, shown), place = number && s->number == number && s->of == of;
            bool kind = same_word(s->shown, shown) || (s->copies && !strncmp(shown, "COPY", 4));

            if (board_begun(l->board, s->vertex))
                continue;
            if ((pass == 0 && text && place) || (pass == 1 && text) || (pass == 2 && kind && place) ||
                (pass == 3 && kind))
                return i;
        }
    return BUILD_NO_USE;
}

/* The lines before a step that carry nothing out: the classic builder says them too. */
static void begin_silent(struct build_log *l, size_t before)
{
    for (size_t i = 0; l->plan->request->classic && i < before; i++) {
        const struct build_step *s = &l->plan->steps[i];

        if (!s->number && !board_begun(l->board, s->vertex))
            board_end(l->board, s->vertex, false, NULL);
    }
}

static void begin(struct build_log *l, const char *shown, size_t number, size_t of)
{
    if (l->current != BUILD_NO_USE)
        end_current(l, false, NULL);
    l->current = find_step(l, shown, number, of);
    if (l->current == BUILD_NO_USE)
        return;
    begin_silent(l, l->current);
    board_begin(l->board, l->plan->steps[l->current].vertex);
}

/* " => [build 2/5] RUN make": true if it is such a line. */
static bool take_label(struct build_log *l, const char *line)
{
    const char *end = strchr(line, ']'), *slash, *at;
    size_t number, of;

    if (strncmp(line, " => [", 5) || !end || end[1] != ' ')
        return false;
    for (slash = end; slash > line && *slash != '/'; slash--)
        ;
    for (at = slash; at > line && (at[-1] == ' ' || (at[-1] >= '0' && at[-1] <= '9')); at--)
        ;
    if (*slash != '/')
        return false;
    number = strtoul(at, NULL, 10);
    of = strtoul(slash + 1, NULL, 10);
    l->labelled = true;
    free(steal(&l->pending));
    l->hidden = !strncmp(line + 5, OWN_STAGE, strlen(OWN_STAGE));
    if (l->hidden)
        end_current(l, false, NULL);
    else
        begin(l, end + 2, number, of);
    return true;
}

/* What the client has put into the file itself, and FROM scratch, which is no step. */
static bool is_own(const char *shown)
{
    return !strncmp(shown, "FROM scratch", strlen("FROM scratch")) ||
           !strncmp(shown, "COPY ." OWN_STAGE, strlen("COPY ." OWN_STAGE) - 1) ||
           !strncmp(shown, "ADD ." OWN_STAGE, strlen("ADD ." OWN_STAGE));
}

/* A line that changes the configuration alone is a step for the classic builder, over as soon as it is said. */
static void mark_config(struct build_log *l, const char *shown)
{
    for (size_t i = 0; i < l->plan->steps_len; i++) {
        const struct build_step *s = &l->plan->steps[i];

        if (s->number || board_begun(l->board, s->vertex) || !same_word(s->shown, shown))
            continue;
        begin_silent(l, i + 1);
        return;
    }
}

/* A step that was announced without a label begins with the first that is said of it. */
static void begin_pending(struct build_log *l)
{
    char *shown = steal(&l->pending);

    if (shown && !l->labelled && !is_own(shown))
        begin(l, shown, 0, 0);
    else if (shown && l->plan->request->classic && !l->hidden)
        mark_config(l, shown);
    free(shown);
}

static void output(struct build_log *l, int fd, const char *text, size_t len)
{
    begin_pending(l);
    if (l->current != BUILD_NO_USE) {
        board_output(l->board, l->plan->steps[l->current].vertex, fd, text, len);
        return;
    }
    if (l->hidden)
        return;
    if (l->other == BUILD_NO_USE)
        l->other = board_add(l->board, "[internal] building on the server");
    if (!board_ended(l->board, l->other))
        board_output(l->board, l->other, fd, text, len);
}

/* What a pull says of layers that are there, and around them: BuildKit's FROM is silent then. */
static bool is_pull_noise(const char *line)
{
    return strstr(line, ": Already exists") || strstr(line, ": Pulling from ") ||
           !strncmp(line, "Digest: sha256:", strlen("Digest: sha256:"));
}

/* One whole line of the builder's. */
static void remark(struct build_log *l, char *line)
{
    size_t len = strlen(line);

    while (len && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        line[--len] = '\0';
    if (take_label(l, line))
        return;
    begin_pending(l);
    if (!strncmp(line, STEP, strlen(STEP))) {
        const char *colon = strchr(line, ':');

        l->pending = colon ? xstrdup(colon + 1 + strspn(colon + 1, " ")) : NULL;
        return;
    }
    if (!strcmp(line, " => CACHED"))
        end_current(l, true, NULL);
    else if (!strncmp(line, " => DONE ", strlen(" => DONE ")))
        end_current(l, false, NULL);
    else if (!strncmp(line, " => ERROR ", strlen(" => ERROR ")))
        end_current(l, false, line + strlen(" => ERROR "));
    else if (len && !is_pull_noise(line)) {
        line[len] = '\n'; /* there is room for it: buf keeps a byte behind the text */
        output(l, 3, line, len + 1);
        line[len] = '\0';
    }
}

void build_log_piece(void *arg, int fd, const char *text)
{
    struct build_log *l = arg;
    char *end;

    if (fd == MODAL_LOG_PROGRESS) /* a step has no bars */
        return;
    if (fd == 1 || fd == 2) {
        /* Modal's builder puts its steps onto stdout too */
        if (fd == 2 || (strncmp(text, STEP, strlen(STEP)) && !l->line.len)) {
            output(l, fd, text, strlen(text));
            return;
        }
    }
    if (buf_adds(&l->line, text) < 0) {
        buf_reset(&l->line);
        return;
    }
    while ((end = strchr(l->line.data, '\n'))) {
        size_t len = (size_t)(end - l->line.data) + 1;
        char *line = xstrndup(l->line.data, len);

        buf_consume(&l->line, len);
        remark(l, line);
        free(line);
    }
}

void build_log_end(struct build_log *l, const char *error)
{
    if (l->line.len) {
        char *line = xstrdup(l->line.data);

        buf_reset(&l->line);
        remark(l, line);
        free(line);
    }
    begin_pending(l);
    if (l->other != BUILD_NO_USE)
        board_end(l->board, l->other, false, NULL);
    end_current(l, false, l->current != BUILD_NO_USE ? error : NULL);
    for (size_t i = 0; !error && i < l->plan->steps_len; i++)
        if (!board_ended(l->board, l->plan->steps[i].vertex))
            board_end(l->board, l->plan->steps[i].vertex, true, NULL);
}
