#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One place of the file that names something to copy or mount from. */
struct use {
    const struct df_instruction *in; /* the line that is to blame */
    const char *from;
    size_t stage; /* DF_NO_STAGE: an image */
    bool copy;    /* COPY --from, else RUN --mount */
    const char *target;
};

/* 0 goes on, -1 ends with err set. */
typedef int use_fn(const struct use *u, void *arg, struct err *err);

/* The last stage of that name, wherever it stands. */
static size_t stage_named(const struct df_build *b, const char *name)
{
    for (size_t i = b->len; i-- > 0;) {
        if (b->stages[i].name && strcasecmp(b->stages[i].name, name) == 0)
            return i;
    }
    return DF_NO_STAGE;
}

/* Whether all of s is a number, with a sign perhaps, as Go's Atoi takes it. */
static bool is_number(const char *s)
{
    s += *s == '+' || *s == '-';
    return *s && !s[strspn(s, "0123456789")];
}

int df_from_stage(const struct df_build *b, const char *from, bool numbers, size_t *ret, struct err *err)
{
    unsigned long n;

    *ret = DF_NO_STAGE;
    if (!numbers || !is_number(from)) {
        *ret = b ? stage_named(b, from) : DF_NO_STAGE;
        return 0;
    }
    n = *from == '-' ? DF_NO_STAGE : strtoul(from, NULL, 10);
    if (!b || n >= b->len)
        return err_set(err, 1, "invalid stage index %.20s", from);
    *ret = n;
    return 0;
}

/* ---- every use of a stage's instructions ---- */

static int use_of_copy(const struct df_build *b, const struct df_instruction *in, const struct df_instruction *blame,
                       use_fn *fn, void *arg, struct err *err)
{
    struct use u = {.in = blame, .from = df_flag(in, "from"), .copy = true};
    cleanup_free char *expanded = NULL;

    if (!u.from || !*u.from)
        return 0;
    if (df_expand(u.from, b->file.escape, df_eval_lookup, &(struct df_eval){0}, &expanded, err) < 0)
        return -1;
    if (strcmp(expanded, u.from) != 0)
        return err_set(err, 1,
                       "variable expansion is not supported for --from, define a new stage with FROM using ARG from "
                       "global scope as a workaround");
    return df_from_stage(b, u.from, true, &u.stage, err) < 0 ? -1 : fn(&u, arg, err);
}

static int uses_of_run(const struct df_build *b, const struct df_instruction *in, const struct df_instruction *blame,
                       use_fn *fn, void *arg, struct err *err)
{
    cleanup_strlist struct strlist mounts = STRLIST_INIT;

    df_flag_all(in, "mount", &mounts);
    for (size_t i = 0; i < mounts.len; i++) {
        struct df_mount m;
        int ret = df_mount_parse(NULL, mounts.items[i], &m, err);

        if (ret == 0 && m.from && *m.from) {
            struct use u = {.in = blame, .from = m.from, .target = m.target ? m.target : ""};

            ret = df_from_stage(b, m.from, false, &u.stage, err);
            if (ret == 0)
                ret = fn(&u, arg, err);
        }
        df_mount_clear(&m);
        if (ret < 0)
            return -1;
    }
    return 0;
}

static int uses_of_line(const struct df_build *b, const struct df_instruction *in, const struct df_instruction *blame,
                        use_fn *fn, void *arg, struct err *err)
{
    if (strcmp(in->word, "COPY") == 0)
        return use_of_copy(b, in, blame, fn, arg, err);
    return strcmp(in->word, "RUN") == 0 ? uses_of_run(b, in, blame, fn, arg, err) : 0;
}

/* What the stage's base says ONBUILD happens in the stage. */
static int uses_of_triggers(const struct df_build *b, const struct df_stage *s, use_fn *fn, void *arg, struct err *err)
{
    const struct df_stage *base = &b->stages[s->base_stage];

    for (size_t i = base->first; i < base->first + base->count; i++) {
        struct df_instruction inner;
        int ret;

        if (strcmp(b->file.items[i].word, "ONBUILD") != 0)
            continue;
        df_instruction_read(b->file.items[i].rest, b->file.escape, &inner);
        ret = uses_of_line(b, &inner, &b->file.items[s->first - 1], fn, arg, err);
        df_instruction_clear(&inner);
        if (ret < 0)
            return df_wrap(&b->file.items[s->first - 1], err);
    }
    return 0;
}

static int uses_of_stage(const struct df_build *b, size_t stage, use_fn *fn, void *arg, struct err *err)
{
    const struct df_stage *s = &b->stages[stage];

    if (s->base_stage != DF_NO_STAGE && uses_of_triggers(b, s, fn, arg, err) < 0)
        return -1;
    for (size_t i = s->first; i < s->first + s->count; i++) {
        const struct df_instruction *in = &b->file.items[i];

        if (uses_of_line(b, in, in, fn, arg, err) < 0)
            return df_wrap(in, err);
    }
    return 0;
}

/* ---- circles ---- */

/* Its name, or "stage-2". */
static char *title(const struct df_build *b, size_t stage)
{
    return b->stages[stage].name ? xstrdup(b->stages[stage].name) : xasprintf("stage-%zu", stage);
}

/* Which stages a stage copies or mounts from. */
struct edges {
    size_t *items;
    size_t len;
};

static int edge_use(const struct use *u, void *arg, struct err *err)
{
    struct edges *e = arg;

    if (u->stage == DF_NO_STAGE && strcmp(u->from, "scratch") != 0 && df_check_reference(u->from, err) < 0) {
        cleanup_free char *quoted = quote_go_str(u->from);

        return err_wrap(err, "failed to parse stage name %s", quoted);
    }
    if (u->stage == DF_NO_STAGE)
        return 0;
    e->items = xreallocarray(e->items, e->len + 1, sizeof(*e->items));
    e->items[e->len++] = u->stage;
    return 0;
}

/* Takes away stages whose every source is gone, until none is left or only those that lead into a circle. */
static size_t first_in_circle(const struct df_build *b, const struct edges *edges)
{
    cleanup_free bool *gone = xcalloc(b->len + 1, sizeof(*gone));
    bool more = true;

    while (more) {
        more = false;
        for (size_t i = 0; i < b->len; i++) {
            bool free_of = !gone[i];

            for (size_t k = 0; k < edges[i].len && free_of; k++)
                free_of = gone[edges[i].items[k]];
            gone[i] = gone[i] || free_of;
            more = more || free_of;
        }
    }
    for (size_t i = 0; i < b->len; i++) {
        if (!gone[i])
            return i;
    }
    return DF_NO_STAGE;
}

int df_check_uses(const struct df_build *b, struct err *err)
{
    struct edges *edges = xcalloc(b->len, sizeof(*edges));
    size_t circle = DF_NO_STAGE;
    int ret = 0;

    for (size_t i = 0; i < b->len && ret == 0; i++)
        ret = uses_of_stage(b, i, edge_use, &edges[i], err);
    if (ret == 0)
        circle = first_in_circle(b, edges);
    for (size_t i = 0; i < b->len; i++)
        free(edges[i].items);
    free(edges);
    if (circle != DF_NO_STAGE) {
        cleanup_free char *name = title(b, circle);

        return err_set(err, 1, "circular dependency detected on stage: %s", name);
    }
    return ret;
}

/* ---- which stages are needed ---- */

struct need {
    const struct df_build *b;
    bool *needed;
    size_t stage; /* whose uses are looked at */
};

/* Stages are walked in order: a use of this one or of a later one cannot be served. */
static int need_use(const struct use *u, void *arg, struct err *err)
{
    struct need *n = arg;
    cleanup_free char *from = NULL;
    cleanup_free char *other = NULL;

    if (u->stage == DF_NO_STAGE)
        return 0;
    if (u->stage < n->stage) {
        n->needed[u->stage] = true;
        return 0;
    }
    from = quote_go_str(u->from);
    if (!u->copy) {
        other = quote_go_str(u->target);
        return err_set(err, 1, "cannot mount from stage %s to %s, stage needs to be defined before current command",
                       from, other);
    }
    other = title(n->b, n->stage);
    return err_set(err, 1, "cannot copy from stage %s, it needs to be defined before current stage \"%s\"", from,
                   other);
}

int df_build_needed(const struct df_build *b, size_t target, bool *needed, struct err *err)
{
    memset(needed, 0, b->len * sizeof(*needed));
    needed[target] = true;
    for (size_t i = target + 1; i-- > 0;) {
        struct need n = {.b = b, .needed = needed, .stage = i};

        if (!needed[i])
            continue;
        if (b->stages[i].base_stage != DF_NO_STAGE)
            needed[b->stages[i].base_stage] = true;
        if (uses_of_stage(b, i, need_use, &n, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- images ---- */

static void add_image(struct strlist *ret, const char *name)
{
    if (strcmp(name, "scratch") != 0 && !strlist_has(ret, name))
        strlist_add(ret, name);
}

static int image_use(const struct use *u, void *arg, struct err *err)
{
    (void)err;
    if (u->stage == DF_NO_STAGE)
        add_image(arg, u->from);
    return 0;
}

int df_build_images(const struct df_build *b, const bool *needed, struct strlist *ret, struct err *err)
{
    for (size_t i = 0; i < b->len; i++) {
        if (!needed[i])
            continue;
        if (b->stages[i].base_stage == DF_NO_STAGE)
            add_image(ret, b->stages[i].base);
        if (uses_of_stage(b, i, image_use, ret, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- target and label ---- */

int df_build_target(const struct df_build *b, const char *target, size_t *ret, struct err *err)
{
    cleanup_free char *quoted = NULL;
    cleanup_free char *hint = NULL;
    cleanup_strlist struct strlist names = STRLIST_INIT;

    if (!target || !*target) {
        *ret = b->len - 1;
        return 0;
    }
    *ret = stage_named(b, target);
    if (*ret == DF_NO_STAGE && is_number(target) && strtoul(target, NULL, 10) < b->len)
        *ret = strtoul(target, NULL, 10);
    if (*ret != DF_NO_STAGE)
        return 0;
    for (size_t i = 0; i < b->len; i++) {
        if (b->stages[i].name)
            strlist_add(&names, b->stages[i].name);
    }
    quoted = quote_go_str(target);
    hint = df_suggest(target, (const char *const *)strlist_argv(&names), false);
    return err_set(err, 1, "target stage %s could not be found%s", quoted, hint);
}

/* Whether anything of the file is made into a stage that is not written in it: BuildKit counts these, too. */
static bool has_other_stages(const struct df_build *b)
{
    cleanup_strlist struct strlist images = STRLIST_INIT;

    for (size_t i = 0; i < b->file.len; i++) {
        if (strcmp(b->file.items[i].word, "RUN") == 0 && df_flag(&b->file.items[i], "mount"))
            return true;
    }
    return uses_of_stage(b, 0, image_use, &images, NULL) < 0 || images.len;
}

char *df_stage_label(const struct df_build *b, size_t stage)
{
    if (b->len == 1 && !has_other_stages(b))
        return xstrdup("");
    return title(b, stage);
}

size_t df_stage_steps(const struct df_build *b, size_t stage)
{
    const struct df_stage *s = &b->stages[stage];
    size_t steps = s->base_stage == DF_NO_STAGE && strcmp(s->base, "scratch") != 0;

    for (size_t i = s->first; i < s->first + s->count; i++) {
        const char *word = b->file.items[i].word;

        steps += strcmp(word, "RUN") == 0 || strcmp(word, "COPY") == 0 || strcmp(word, "ADD") == 0 ||
                 strcmp(word, "WORKDIR") == 0;
    }
    return steps;
}
