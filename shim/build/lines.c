/*
 * The Dockerfile as a server gets it. A server's mount holds regular files alone; an instruction that takes more than
 * that (links, empty directories, modes of directories) copies from a stage of its own, which is made of the mount's
 * files and a small tar:
 *
 *     FROM scratch AS atp-context-0
 *     COPY .atp-context/0 /
 *     ADD .atp-context-0.tar /
 *     ...
 *     COPY --from=atp-context-0 src /src
 *
 * One stage for each such instruction: what else changes in the context is nothing to its place in a cache.
 */
#include "backends/modal/image.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/beneath.h"
#include "shim/build/plan.h"
#include "shim/build/request.h"
#include "shim/build/secret_run.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define STAGE "atp-context-"

void build_upload_clear(struct build_upload *u)
{
    strlist_clear(&u->lines);
    strlist_clear(&u->remotes);
    strlist_clear(&u->paths);
    strlist_clear(&u->notes);
    for (size_t i = 0; i < u->len; i++)
        free((void *)(uintptr_t)u->files[i].data);
    free(u->files);
    *u = (struct build_upload){0};
}

static struct modal_mount_file *add_file(struct build_upload *u, char *remote)
{
    u->files = xreallocarray(u->files, u->len + 1, sizeof(*u->files));
    u->files[u->len] = (struct modal_mount_file){.mode = 0644};
    strlist_add_owned(&u->remotes, remote);
    return &u->files[u->len++];
}

static void add_entry(struct build_upload *u, const struct build_context *c, size_t at, char *remote, bool times)
{
    const struct build_entry *e = &c->entries[at];
    struct modal_mount_file *f = add_file(u, remote);
    char *path = xasprintf("%s/%s", c->source->path, e->path);

    strlist_add_owned(&u->paths, path);
    f->path = path;
    f->mode = e->mode & 07777;
    f->sha256 = e->hex;
    f->size = e->size;
    f->mtime_ns = times ? e->mtime_ns : 0;
    u->bytes += e->size;
}

/* A context's use as a stage: its lines, and its files below a folder of their own. */
static void add_stage(struct build_upload *u, const struct build_context *c, size_t use, const char *name, char *meta,
                      size_t meta_len, bool times, struct strlist *stages)
{
    bool any = false;

    strlist_addf(stages, "FROM scratch AS " STAGE "%s", name);
    for (size_t i = 0; i < c->len; i++)
        if (S_ISREG(c->entries[i].mode) && build_context_covers(c, use, i)) {
            add_entry(u, c, i, xasprintf("/.atp-context/%s/%s", name, c->entries[i].path), times);
            any = true;
        }
    if (any)
        strlist_addf(stages, "COPY .atp-context/%s /", name);
    if (meta) {
        struct modal_mount_file *f = add_file(u, xasprintf("/.atp-context-%s.tar", name));

        f->data = meta;
        f->size = meta_len;
        u->bytes += meta_len;
        strlist_addf(stages, "ADD .atp-context-%s.tar /", name);
    }
}

/* Whether the file begins as an archive does: ADD would unpack it. */
static bool is_archive(const struct build_context *c, const struct build_entry *e)
{
    char head[BUILD_SOURCE_HEAD];
    const char *name;
    struct stat st;
    cleanup_close int parent = beneath_open_parent(c->source->dir, e->path, &name);
    cleanup_close int fd = parent >= 0 ? beneath_read_open(parent, name, &st) : -1;
    ssize_t n = fd >= 0 ? read(fd, head, sizeof(head)) : -1;

    return n > 0 && build_source_is_archive(head, (size_t)n);
}

/* Whether an ADD unpacks one of its sources: it then has to stay an ADD, which knows no other stage. */
static bool unpacks(const struct build_plan *p, const struct build_taker *t)
{
    const struct build_context *c = &p->files;

    for (size_t i = 0; t->archives && i < c->patterns_len; i++)
        for (size_t n = 0; c->patterns[i].use == t->use && n < c->len; n++) {
            const char *text = c->patterns[i].text;

            if (S_ISREG(c->entries[n].mode) && build_context_covers(c, t->use, n) &&
                (c->patterns[i].wild || !strcmp(text, c->entries[n].path)) && is_archive(c, &c->entries[n]))
                return true;
        }
    return false;
}

/* ---- editing lines ---- */

/* The rewritten file's instruction that was this one of the original: those of stages that are not needed are gone. */
static const struct df_instruction *find_line(const struct build_plan *p, const struct df_file *now, size_t instruction)
{
    const struct df_file *was = &p->file.file;
    size_t at = 0;

    for (size_t i = 0; i < was->len && i <= instruction; i++) {
        bool kept = true;

        for (size_t s = 0; s < p->file.len; s++) {
            const struct df_stage *stage = &p->file.stages[s];

            if (!p->needed[s] && i + 1 >= stage->first && i < stage->first + stage->count)
                kept = false;
        }
        if (!kept)
            continue;
        if (i == instruction)
            return at < now->len && !strcmp(now->items[at].word, was->items[i].word) ? &now->items[at] : NULL;
        at++;
    }
    return NULL;
}

/* Puts text behind the instruction's word, which becomes `word` if that is not NULL. */
static void edit_word(struct strlist *lines, const struct df_instruction *in, const char *word, const char *text)
{
    char **line = &lines->items[in->line - 1];
    size_t blanks = strspn(*line, " \t"), len = strlen(in->word);
    cleanup_free char *was = xstrndup(*line + blanks, len);
    char *now = xasprintf("%.*s%s%s%s", (int)blanks, *line, word ? word : was, text, *line + blanks + len);

    free(*line);
    *line = now;
}

/* Puts ",from=<stage>" behind the bind mounts of a RUN that take from the context. */
static int edit_mounts(struct strlist *lines, const struct df_instruction *in, int last_line, const char *stage,
                       struct err *err)
{
    for (size_t i = 0; i < in->flags.len; i++) {
        const char *flag = in->flags.items[i];
        bool done = false;

        if (strncmp(flag, "--mount=", 8) || strstr(flag, "from=") ||
            (strstr(flag, "type=") && !strstr(flag, "type=bind")))
            continue;
        for (int n = in->line - 1; n < (int)lines->len && n < last_line && !done; n++) {
            char *at = strstr(lines->items[n], flag), *now;

            if (!at)
                continue;
            now = xasprintf("%.*s%s,from=%s%s", (int)(at - lines->items[n]), lines->items[n], flag, stage,
                            at + strlen(flag));
            free(lines->items[n]);
            lines->items[n] = now;
            done = true;
        }
        if (!done)
            return err_set(err, 1,
                           "failed to solve: %s takes links or empty directories of the context, which needs "
                           "the flag to stand on one line",
                           flag);
    }
    return 0;
}

static int edit_taker(const struct build_plan *p, const struct build_taker *t, const char *name, struct strlist *lines,
                      const struct df_file *file, struct err *err)
{
    const struct df_instruction *in = find_line(p, file, t->instruction), *next = in ? in + 1 : NULL;
    cleanup_free char *stage = xasprintf(STAGE "%s", name), *flag = xasprintf(" --from=%s", stage);
    int last = next && next < file->items + file->len ? next->line - 1 : (int)lines->len;

    if (!in)
        return err_set(err, 1, "failed to solve: a line of the Dockerfile was lost");
    if (t->is_run)
        return edit_mounts(lines, in, last, stage, err);
    edit_word(lines, in, "COPY", flag);
    return 0;
}

/* ---- the parts ---- */

/* What names become: registry references by digest, images of the server, stages of ours. */
static void name_images(const struct build_plan *p, struct strlist *ret)
{
    bool first = true;

    for (size_t i = 0; i < p->images_len; i++) {
        const struct build_image *image = &p->images[i];

        if (image->is_source) {
            strlist_addf(ret, "%s=" STAGE "n%zu", image->word, i);
        } else if (image->base.from) {
            strlist_addf(ret, "%s=%s", image->word, image->base.from);
        } else if (first) {
            strlist_addf(ret, "%s=base", image->word);
            first = false;
        } else {
            strlist_addf(ret, "%s=atp-base-%zu", image->word, i);
        }
    }
}

/* --label as a line behind the target stage. */
static void label_lines(const struct build_plan *p, struct strlist *ret)
{
    for (size_t i = 0; i < p->request->labels.len; i++) {
        cleanup_buf struct buf line = BUF_INIT(1u << 20);
        bool value = false;

        buf_adds(&line, "LABEL \"");
        for (const char *c = p->request->labels.items[i]; *c; c++) {
            if (*c == '=' && !value) {
                value = true;
                buf_adds(&line, "\"=\"");
                continue;
            }
            if (strchr("\"$", *c) || *c == p->file.file.escape)
                buf_addc(&line, p->file.file.escape);
            buf_addc(&line, *c);
        }
        buf_addc(&line, '"');
        strlist_add(ret, line.data);
    }
}

/* Splits what holds several lines: an instruction's number is then its place in the list. */
static void flatten(const struct strlist *from, struct strlist *to)
{
    for (size_t i = 0; i < from->len; i++)
        strlist_split(to, from->items[i], '\n');
}

/* RUN reaches nothing, unless it says otherwise itself. */
static void cut_network(struct strlist *lines, const struct df_file *file)
{
    for (size_t i = 0; i < file->len; i++)
        if (!strcmp(file->items[i].word, "RUN") && !df_flag(&file->items[i], "network"))
            edit_word(lines, &file->items[i], NULL, " --network=none");
}

/* The files of each instruction: plain in the mount, or by way of a stage. */
static int place_files(const struct build_plan *p, bool engine, struct build_upload *u, const struct df_file *file,
                       struct strlist *lines, struct strlist *stages, struct err *err)
{
    cleanup_free bool *plain = xcalloc(p->files.len + 1, sizeof(*plain));

    for (size_t t = 0; t < p->takers_len; t++) {
        const struct build_taker *taker = &p->takers[t];
        cleanup_free char *name = xasprintf("%zu", taker->use);
        char *meta = NULL;
        size_t meta_len = 0;
        bool may = taker->instruction != DF_NO_STAGE && !unpacks(p, taker);
        int got = build_context_meta(&p->files, taker->use, engine && may, &meta, &meta_len, err);

        if (got < 0)
            return -1;
        if (got > 0 && may) {
            add_stage(u, &p->files, taker->use, name, meta, meta_len, engine, stages);
            if (edit_taker(p, taker, name, lines, file, err) < 0)
                return -1;
            continue;
        }
        if (got > 0)
            strlist_addf(&u->notes, "WARNING: line %d: links and empty directories are left out of what %s",
                         p->steps[taker->step].line,
                         taker->instruction == DF_NO_STAGE ? "the base image's ONBUILD copies"
                                                           : "an ADD takes that unpacks an archive");
        free(meta);
        for (size_t i = 0; i < p->files.len; i++)
            plain[i] = plain[i] || build_context_covers(&p->files, taker->use, i);
    }
    for (size_t i = 0; i < p->files.len; i++)
        if (plain[i] && S_ISREG(p->files.entries[i].mode))
            add_entry(u, &p->files, i, xasprintf("/%s", p->files.entries[i].path), engine);
    if (p->takers_len && !u->len)
        add_file(u, xstrdup("/.atp-context/none"))->data = xstrdup(""); /* a mount has at least one file */
    return 0;
}

/* Directories that --build-context names. */
static int place_named(const struct build_plan *p, bool engine, struct build_upload *u, struct strlist *stages,
                       struct err *err)
{
    for (size_t i = 0; i < p->images_len; i++) {
        cleanup_free char *name = xasprintf("n%zu", i);
        char *meta = NULL;
        size_t meta_len = 0;

        if (!p->images[i].is_source)
            continue;
        if (build_context_meta(&p->images[i].files, 0, engine, &meta, &meta_len, err) < 0)
            return -1;
        add_stage(u, &p->images[i].files, 0, name, meta, meta_len, engine, stages);
    }
    return 0;
}

int build_upload_make(const struct build_plan *p, bool engine, struct build_upload *ret, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT, extra = STRLIST_INIT, raw = STRLIST_INIT, lines = STRLIST_INIT,
                                   stages = STRLIST_INIT;
    struct df_file file = {0};
    int got;

    name_images(p, &names);
    if (!engine) /* which takes them without a line in the image's history, as BuildKit does */
        label_lines(p, &extra);
    if (df_build_rewrite(&p->file, p->target, &names, &extra, &raw, err) < 0)
        return err_wrap(err, "failed to solve");
    flatten(&raw, &lines);
    if (df_parse(&lines, &file, err) < 0)
        return err_wrap(err, "failed to solve");
    got = place_files(p, engine, ret, &file, &lines, &stages, err);
    if (got == 0)
        got = place_named(p, engine, ret, &stages, err);
    if (got == 0 && p->request->no_network)
        cut_network(&lines, &file);
    if (got == 0 && !engine)
        got = build_secret_lines(&lines, &file, &p->request->secret_ids, err);
    for (size_t i = 0; got == 0 && i < file.len; i++)
        if (!strcmp(file.items[i].word, "FROM")) { /* the arguments in front of the first one stay there */
            for (size_t n = 0; n < lines.len; n++) {
                if ((int)n == file.items[i].line - 1)
                    strlist_copy(&ret->lines, &stages);
                strlist_add(&ret->lines, lines.items[n]);
            }
            break;
        }
    df_file_clear(&file);
    for (size_t i = 0; i < ret->len; i++)
        ret->files[i].remote = ret->remotes.items[i];
    return got;
}
