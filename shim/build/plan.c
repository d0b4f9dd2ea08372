#include "shim/build/plan.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/build/board.h"
#include "shim/build/request.h"
#include "translate/dockerfile/config.h"
#include "translate/reference.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define IMAGE_SCHEME  "docker-image://"
#define LAYOUT_SCHEME "oci-layout://"

void build_plan_clear(struct build_plan *p)
{
    for (size_t i = 0; i < p->images_len; i++) {
        free(p->images[i].word);
        free(p->images[i].meaning);
        catalog_base_clear(&p->images[i].base);
        build_context_clear(&p->images[i].files);
        build_source_clear(&p->images[i].source);
    }
    free(p->images);
    for (size_t i = 0; p->configs && i < p->file.len; i++)
        json_decref(p->configs[i]);
    free(p->configs);
    for (size_t i = 0; i < p->steps_len; i++) {
        free(p->steps[i].name);
        free(p->steps[i].shown);
    }
    free(p->steps);
    for (size_t i = 0; i < p->takers_len; i++)
        strlist_clear(&p->takers[i].sources);
    free(p->takers);
    free(p->needed);
    strlist_clear(&p->secrets);
    strlist_clear(&p->notes);
    build_context_clear(&p->files);
    if (p->parsed)
        df_build_clear(&p->file);
    build_source_clear(&p->source);
    *p = (struct build_plan){0};
}

/* ---- the file ---- */

static int read_source(struct build_plan *p, struct board *board, struct err *err)
{
    const char *file = p->request->file, *slash = strrchr(file, '/');
    cleanup_free char *status = NULL, *name = NULL;
    size_t v;

    name = xasprintf("[internal] load build definition from %s", !*file || !strcmp(file, "-") ? "Dockerfile"
                                                                 : slash                      ? slash + 1
                                                                                              : file);
    v = board_add(board, name);
    if (build_source_open(p->request, &p->source, err) < 0)
        return -1;
    status = xasprintf("transferring dockerfile: %zuB", p->source.dockerfile_len);
    board_status(board, v, status, true);
    board_end(board, v, false, NULL);
    return 0;
}

static int parse(struct build_plan *p, struct board *board, struct err *err)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;
    size_t v;

    if (strlen(p->source.dockerfile) != p->source.dockerfile_len)
        return err_set(err, 1, "failed to solve: %s holds a NUL byte: it is no text", p->source.dockerfile_name);
    strlist_split(&lines, p->source.dockerfile, '\n');
    for (size_t i = 0; i < lines.len; i++) {
        size_t len = strlen(lines.items[i]);

        if (len && lines.items[i][len - 1] == '\r')
            lines.items[i][len - 1] = '\0';
    }
    if (df_build_open_for(&lines, &p->request->build_args, p->request->target, &p->file, err) < 0)
        return err_wrap(err, "failed to solve");
    p->parsed = true;
    if (df_build_target(&p->file, p->request->target, &p->target, err) < 0)
        return err_wrap(err, "failed to solve");
    p->needed = xcalloc(p->file.len, sizeof(*p->needed));
    p->configs = xcalloc(p->file.len, sizeof(*p->configs));
    if (df_build_needed(&p->file, p->target, p->needed, err) < 0)
        return err_wrap(err, "failed to solve");
    for (size_t i = 0; i < p->file.len; i++)
        if (p->needed[i] && p->file.stages[i].platform && catalog_check_platform(p->file.stages[i].platform, err) < 0)
            return err_wrap(err, "failed to solve: line %d", p->file.stages[i].line);
    if (p->file.unused_args.len) {
        cleanup_free char *note = NULL;

        for (size_t i = 0; i < p->file.unused_args.len; i++) {
            char *more = xasprintf("%s%s%s", note ? note : "", note ? " " : "", p->file.unused_args.items[i]);

            free(note);
            note = more;
        }
        strlist_addf(&p->notes, "[Warning] One or more build-args [%s] were not consumed", note);
    }
    v = board_add(board, "[internal] load .dockerignore");
    if (p->source.ignore) {
        cleanup_free char *status = xasprintf("transferring context: %zuB", p->source.ignore_len);

        board_status(board, v, status, true);
    } else {
        board_status(board, v, "transferring context: 2B", true);
    }
    board_end(board, v, false, NULL);
    return build_context_init(&p->files, &p->source, err) < 0 ? err_wrap(err, "failed to solve") : 0;
}

/* ---- names ---- */

/* What --build-context says of a word: by itself, or in Docker's long form. NULL = nothing. */
static const char *named_context(const struct build_request *r, const char *word)
{
    cleanup_free char *normal = catalog_normal_name(word, NULL);

    for (size_t i = 0; i < r->contexts.len; i++) {
        const char *item = r->contexts.items[i], *equals = strchr(item, '=');
        cleanup_free char *name = xstrndup(item, (size_t)(equals - item)), *other = NULL;

        if (!strcasecmp(name, word))
            return equals + 1;
        other = normal ? catalog_normal_name(name, NULL) : NULL;
        if (other && !strcmp(other, normal))
            return equals + 1;
    }
    return NULL;
}

/* A context's name that is a stage's would take its place, which this client does not do. */
static int check_contexts(const struct build_plan *p, struct err *err)
{
    for (size_t i = 0; i < p->request->contexts.len; i++)
        for (size_t s = 0; s < p->file.len; s++) {
            const char *item = p->request->contexts.items[i], *name = p->file.stages[s].name;

            if (name && !strncasecmp(item, name, strlen(name)) && item[strlen(name)] == '=')
                return err_set(err, 1, "--build-context %s is refused by atp-docker: %s is a stage of the Dockerfile",
                               item, name);
        }
    return 0;
}

/* There is no daemon in BuildKit's words. */
static void drop_daemon(struct err *err)
{
    static const char daemon[] = "Error response from daemon: ";

    if (!strncmp(err->msg, daemon, strlen(daemon)))
        memmove(err->msg, err->msg + strlen(daemon), strlen(err->msg + strlen(daemon)) + 1);
}

/* Where the file asks for an image that cannot be had. */
static void show_from(const struct build_plan *p, const char *word, struct board *board)
{
    board_finish(board);
    for (size_t i = 0; i < p->file.len; i++)
        if (p->needed[i] && p->file.stages[i].base_stage == DF_NO_STAGE && !strcmp(p->file.stages[i].base, word)) {
            cleanup_free char *excerpt = build_plan_excerpt(p, p->file.stages[i].line, p->file.stages[i].line);

            board_note(board, excerpt);
            return;
        }
}

static int resolve_image(struct app *app, const struct build_plan *p, struct build_image *image, struct board *board,
                         struct err *err)
{
    const char *context = named_context(p->request, image->word);
    cleanup_free char *name = NULL, *familiar = NULL;
    size_t v;

    if (context && !strncmp(context, LAYOUT_SCHEME, strlen(LAYOUT_SCHEME)))
        return err_set(err, 1, "--build-context %s=%s is refused by atp-docker: load the layout as an image",
                       image->word, context);
    if (context && strncmp(context, IMAGE_SCHEME, strlen(IMAGE_SCHEME))) {
        image->is_source = true;
        return build_source_open_named(context, &image->source, err) < 0 ||
                       build_context_init(&image->files, &image->source, err) < 0
                   ? -1
                   : 0;
    }
    image->meaning = xstrdup(context ? context + strlen(IMAGE_SCHEME) : image->word);
    familiar = catalog_normal_name(image->meaning, NULL);
    name = xasprintf("[internal] load metadata for %s", familiar ? familiar : image->meaning);
    v = board_add(board, name);
    board_begin(board, v);
    if (catalog_base(app, image->meaning, "linux/amd64", p->request->pull, &image->base, err) < 0) {
        drop_daemon(err);
        board_end(board, v, false, err->msg);
        show_from(p, image->word, board);
        return err_wrap(err, "failed to solve: %s", image->meaning);
    }
    board_end(board, v, false, NULL);
    return 0;
}

static int resolve_images(struct app *app, struct build_plan *p, struct board *board, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    if (df_build_images(&p->file, p->needed, &words, err) < 0)
        return err_wrap(err, "failed to solve");
    p->images = xcalloc(words.len + 1, sizeof(*p->images));
    for (size_t i = 0; i < words.len; i++) {
        p->images[i] = (struct build_image){.word = xstrdup(words.items[i]), .source = BUILD_SOURCE_INIT};
        p->images_len = i + 1;
        if (build_cancelled)
            return build_signalled(err);
        if (resolve_image(app, p, &p->images[i], board, err) < 0)
            return -1;
    }
    return 0;
}

static struct build_image *find_image(const struct build_plan *p, const char *word)
{
    for (size_t i = 0; i < p->images_len; i++)
        if (!strcmp(p->images[i].word, word))
            return &p->images[i];
    return NULL;
}

/* ---- steps ---- */

/* "[build 2/4] RUN x"; the number as wide as the count, as BuildKit has it. */
static char *step_name(const struct build_plan *p, size_t stage, size_t number, size_t of, const char *shown)
{
    cleanup_free char *label = df_stage_label(&p->file, stage);
    int width = 1;

    for (size_t n = of; n >= 10; n /= 10)
        width++;
    return xasprintf("[%s%s%*zu/%zu] %s", label, *label ? " " : "", width, number, of, shown);
}

static struct build_step *add_step(struct build_plan *p, size_t stage, size_t number, const char *shown, int line,
                                   int last_line)
{
    size_t of = df_stage_steps(&p->file, stage);
    struct build_step *s;

    p->steps = xreallocarray(p->steps, p->steps_len + 1, sizeof(*p->steps));
    s = &p->steps[p->steps_len++];
    *s = (struct build_step){.name = step_name(p, stage, number, of, shown),
                             .shown = xstrdup(shown),
                             .stage = stage,
                             .number = number,
                             .of = of,
                             .vertex = BUILD_NO_USE,
                             .line = line,
                             .last_line = last_line,
                             .use = BUILD_NO_USE};
    return s;
}

static bool is_url(const char *word)
{
    return build_source_is_url(word) || build_source_is_git(word);
}

static struct build_taker *add_taker(struct build_plan *p, const struct df_step *s, size_t use)
{
    struct build_taker *t;

    p->takers = xreallocarray(p->takers, p->takers_len + 1, sizeof(*p->takers));
    t = &p->takers[p->takers_len++];
    *t = (struct build_taker){.instruction = s->onbuild ? DF_NO_STAGE : s->instruction,
                              .use = use,
                              .step = p->steps_len - 1,
                              .is_run = s->kind == DF_RUN};
    return t;
}

/* Files that COPY or ADD takes: from the context, or from a directory that --build-context names. */
static void take_copy(struct build_plan *p, const struct df_step *s)
{
    struct build_image *image = s->from && s->from_stage == DF_NO_STAGE ? find_image(p, s->from) : NULL;
    struct build_taker *t;
    size_t use;

    p->steps[p->steps_len - 1].copies = true;
    if (s->from && (!image || !image->is_source))
        return;
    if (image) {
        use = build_context_use(&image->files);
        for (size_t i = 0; i < s->sources.len; i++)
            build_context_want(&image->files, 0, s->sources.items[i], use);
        return;
    }
    use = build_context_use(&p->files);
    p->steps[p->steps_len - 1].use = use;
    t = add_taker(p, s, use);
    t->archives = s->kind == DF_ADD && s->unpack != 0;
    for (size_t i = 0; i < s->sources.len; i++)
        if (s->kind != DF_ADD || !is_url(s->sources.items[i])) {
            build_context_want(&p->files, use, s->sources.items[i], t->sources.len);
            strlist_add(&t->sources, s->sources.items[i]);
        }
}

/* What RUN mounts: files of the context, and secrets. */
static void take_run(struct build_plan *p, const struct df_step *s)
{
    for (size_t i = 0; i < s->mounts_len; i++) {
        const struct df_mount *m = &s->mounts[i];
        struct build_image *image = m->from && m->from_stage == DF_NO_STAGE ? find_image(p, m->from) : NULL;
        const char *source = m->source ? m->source : "/";

        if (m->type == DF_MOUNT_SECRET && m->id && !strlist_has(&p->secrets, m->id))
            strlist_add(&p->secrets, m->id);
        if (m->type != DF_MOUNT_BIND)
            continue;
        if (image && image->is_source) {
            build_context_want(&image->files, 0, source, build_context_use(&image->files));
        } else if (!m->from) {
            size_t use = build_context_use(&p->files);
            struct build_taker *t = add_taker(p, s, use);

            p->steps[p->steps_len - 1].use = use;
            build_context_want(&p->files, use, source, 0);
            strlist_add(&t->sources, source);
        }
    }
}

/* The configuration that a stage starts with. */
static json_t *first_config(const struct build_plan *p, size_t stage, struct err *err)
{
    const struct df_stage *s = &p->file.stages[stage];
    const struct build_image *image;

    if (s->base_stage != DF_NO_STAGE)
        return json_deep_copy(p->configs[s->base_stage]);
    image = find_image(p, s->base);
    if (!image || image->is_source) /* scratch, or a directory */
        return df_config_new();
    return df_config_load(image->base.config, strlen(image->base.config), err);
}

/* FROM counts as a step where it brings an image. */
static void add_from(struct build_plan *p, size_t stage)
{
    const struct df_stage *s = &p->file.stages[stage];
    const struct build_image *image = s->base_stage == DF_NO_STAGE ? find_image(p, s->base) : NULL;
    const char *digest = image && image->base.from ? strchr(image->base.from, '@') : NULL;
    cleanup_free char *name = image && image->meaning ? catalog_normal_name(image->meaning, NULL) : NULL, *shown = NULL;

    if (p->request->classic && s->first > 0) {
        add_step(p, stage, image != NULL, p->file.file.items[s->first - 1].text, s->line, s->line);
        return;
    }
    if (!image)
        return;
    shown = xasprintf("FROM %s%s", name ? name : image->word, digest && name && !strchr(name, '@') ? digest : "");
    add_step(p, stage, 1, shown, s->line, s->line);
}

static bool has_image(const struct build_plan *p, size_t stage)
{
    return p->file.stages[stage].base_stage == DF_NO_STAGE && find_image(p, p->file.stages[stage].base);
}

static int walk_stage(struct build_plan *p, size_t stage, struct err *err)
{
    struct df_walk *walk;
    struct df_step s;
    size_t number;
    int got;

    add_from(p, stage);
    number = p->steps_len && p->steps[p->steps_len - 1].stage == stage && has_image(p, stage) ? 1 : 0;
    p->configs[stage] = first_config(p, stage, err);
    walk = p->configs[stage] ? df_walk_new(&p->file, stage, p->configs[stage], err) : NULL;
    if (!walk)
        return err_wrap(err, "failed to solve");
    while ((got = df_walk_next(walk, &s, err)) > 0) {
        if (s.kind == DF_RUN && s.network && !strcmp(s.network, "host") && !p->request->host_network) {
            got = err_set(err, 1, "failed to load LLB: network.host is not allowed");
            df_step_clear(&s);
            break;
        }
        if (s.kind != DF_CONFIG)
            add_step(p, stage, ++number, s.shown, s.line, s.last_line);
        else if (p->request->classic) /* it counted every line */
            add_step(p, stage, 0, s.onbuild ? s.shown : p->file.file.items[s.instruction].text, s.line, s.last_line);
        if (s.kind == DF_COPY || s.kind == DF_ADD)
            take_copy(p, &s);
        else if (s.kind == DF_RUN)
            take_run(p, &s);
        df_walk_done(walk, &s, NULL);
        df_step_clear(&s);
    }
    df_walk_free(walk);
    return got < 0 ? err_wrap(err, "failed to solve") : 0;
}

/* ---- files ---- */

/* A source that is not there: where it was looked for, and which line asks for it. */
static int check_sources(const struct build_plan *p, struct board *board, struct err *err)
{
    for (size_t i = 0; i < p->takers_len; i++)
        for (size_t n = 0; n < p->takers[i].sources.len; n++) {
            const struct build_taker *t = &p->takers[i];
            cleanup_free char *path = build_context_path(t->sources.items[n]), *excerpt = NULL, *why = NULL;
            const struct build_step *s = &p->steps[t->step];

            if (build_context_found(&p->files, t->use, n))
                continue;
            why = xasprintf("failed to calculate checksum of ref: \"%s\": not found", path);
            board_end(board, s->vertex, false, why);
            board_finish(board);
            excerpt = build_plan_excerpt(p, s->line, s->last_line);
            board_note(board, excerpt);
            return err_set(err, 1, "failed to solve: failed to compute cache key: %s%s", why,
                           p->files.ignore && p->source.dir >= 0 ? " (.dockerignore may leave it out)" : "");
        }
    return 0;
}

static int read_files(struct app *app, struct build_plan *p, struct board *board, struct err *err)
{
    if (p->takers_len) {
        p->files_vertex = board_add(board, "[internal] load build context");
        board_begin(board, p->files_vertex);
    }
    if (build_context_read(&p->files, err) < 0 || build_context_hash(&p->files, app, err) < 0)
        return -1;
    for (size_t i = 0; i < p->images_len; i++)
        if (p->images[i].is_source &&
            (build_context_read(&p->images[i].files, err) < 0 || build_context_hash(&p->images[i].files, app, err) < 0))
            return -1;
    strlist_copy(&p->notes, &p->files.notes);
    return check_sources(p, board, err);
}

int build_plan_make(struct app *app, const struct build_request *r, struct board *board, struct build_plan *ret,
                    struct err *err)
{
    struct build_plan *p = ret;

    *p = (struct build_plan){.request = r, .source = BUILD_SOURCE_INIT, .files_vertex = BUILD_NO_USE};
    if (read_source(p, board, err) < 0 || parse(p, board, err) < 0 || check_contexts(p, err) < 0 ||
        resolve_images(app, p, board, err) < 0)
        return -1;
    for (size_t i = 0; i < p->file.len; i++)
        if (p->needed[i] && walk_stage(p, i, err) < 0)
            return -1;
    for (size_t i = 0; i < p->steps_len; i++)
        p->steps[i].vertex = board_add(board, p->steps[i].name);
    return read_files(app, p, board, err);
}

/* ---- where a failure is ---- */

char *build_plan_excerpt(const struct build_plan *p, int line, int last_line)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;
    cleanup_buf struct buf out = BUF_INIT(1u << 20);
    int start = line, end = last_line < line ? line : last_line, pad = start == end ? 4 : 2, len;

    strlist_split(&lines, p->source.dockerfile, '\n');
    len = (int)lines.len;
    if (line < 1 || line > len)
        return xstrdup("");
    end = end > len ? len : end;
    last_line = end;
    for (int added = 0; added < pad; added++) {
        if (start > 1) {
            start--;
            added++;
        }
        if (end < len) {
            end++;
            added++;
        }
    }
    buf_addf(&out, "%s:%d\n--------------------\n", p->source.dockerfile_name, line);
    for (int i = start; i <= end; i++)
        buf_addf(&out, " %3d | %s %s\n", i, i >= line && i <= last_line ? ">>>" : "   ", lines.items[i - 1]);
    buf_adds(&out, "--------------------");
    return buf_detach(&out);
}
