/*
 * COPY, ADD and WORKDIR. Twice over the same files: first a digest of all that is copied, which with the layers below
 * is the layer's key, then, unless the layer is there, into a new one. Times are no part of the key.
 */
#include "backends/engine/img_copy.h"

#include "backends/engine/img_layer.h"
#include "backends/engine/img_mode.h"
#include "backends/engine/img_user.h"
#include "backends/registry/digest.h"
#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"
#include "translate/dockerfile/ignore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *verb(const struct copying *c)
{
    return c->step->kind == DF_ADD ? "ADD" : "COPY";
}

/* ---- sources ---- */

static void add_item(struct copying *c, const struct img_source *source, char *path, bool unpack)
{
    c->items = xreallocarray(c->items, c->items_len + 1, sizeof(*c->items));
    c->items[c->items_len++] = (struct copy_item){source, path, unpack};
}

/* Whether a word has a wildcard that is not escaped. */
static bool is_wild(const char *word)
{
    for (; *word; word++) {
        if (*word == '\\' && word[1])
            word++;
        else if (strchr("*?[", *word))
            return true;
    }
    return false;
}

struct matching {
    struct copying *c;
    const char *base, *pattern;
};

static int on_match(const struct img_entry *e, void *arg, struct err *err)
{
    const struct matching *m = arg;

    if (img_cancelled(m->c->b->job, err) < 0)
        return -1;
    if (!*e->path || df_source_match(m->pattern, e->path) <= 0)
        return 0;
    if (!S_ISDIR(e->st.st_mode) && copy_excluded(m->c, e->name))
        return 0;
    add_item(m->c, &m->c->source, xasprintf("/%s%s%s", m->base, *m->base ? "/" : "", e->path),
             m->c->step->kind == DF_ADD && m->c->step->unpack != 0);
    return 1;
}

/* The part of a path before its first component with a wildcard, and the rest. */
static void split_wild(const char *path, char **ret_base, char **ret_pattern)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    struct buf base = BUF_INIT(LIMIT_PATH), pattern = BUF_INIT(LIMIT_PATH);

    strlist_split(&parts, path + 1, '/');
    for (size_t i = 0; i < parts.len; i++) {
        struct buf *to = pattern.len || is_wild(parts.items[i]) ? &pattern : &base;

        buf_addf(to, "%s%s", to->len ? "/" : "", parts.items[i]);
    }
    *ret_base = buf_detach(&base);
    *ret_pattern = buf_detach(&pattern);
}

/* A source word: one thing, or all that a pattern fits (which may be nothing). */
static int find_source(struct copying *c, const char *word, struct err *err)
{
    cleanup_free char *path = img_absolute(NULL, word), *base = NULL, *pattern = NULL, *real = NULL;
    struct matching m = {.c = c};
    struct stat st;

    if (!is_wild(path)) {
        if (img_source_resolve(&c->source, path, &real, &st, err) < 0)
            return -1;
        add_item(c, &c->source, steal(&path), c->step->kind == DF_ADD && c->step->unpack != 0);
        return 0;
    }
    split_wild(path, &base, &pattern);
    if (df_source_match(pattern, "") < 0)
        return err_set(err, 1, "syntax error in pattern: %s", word);
    if (img_source_resolve(&c->source, *base ? base : "/", &real, &st, err) < 0)
        return -1;
    m.base = real;
    m.pattern = pattern;
    return img_view_walk(c->source.view, real, on_match, &m, err);
}

/* --parents: the directories of the word come too, from its "/./" on if it has one. */
static int find_with_parents(struct copying *c, const char *word, struct err *err)
{
    const char *pivot = strstr(word, "/./");
    cleanup_free char *root = pivot ? xstrndup(word, (size_t)(pivot - word)) : xstrdup("/");
    cleanup_free char *pattern = img_absolute(NULL, pivot ? pivot + 3 : word), *path = NULL, *real = NULL;
    struct stat st;

    if (!is_wild(root) && !is_wild(pattern)) {
        path = xasprintf("%s/%s", root, pattern);
        free(steal(&real));
        if (img_source_resolve(&c->source, path, &real, &st, err) < 0)
            return -1;
    }
    strlist_add(&c->includes, pattern + 1);
    add_item(c, &c->source, img_absolute(NULL, root), c->step->kind == DF_ADD && c->step->unpack != 0);
    return 0;
}

/* A folder of our own that is a source for this step. */
static int add_folder(struct copying *c, const char *dir, const char *name, bool unpack, struct err *err)
{
    struct img_source *source = &c->folders[c->folders_len];

    if (img_source_folder(dir, source, err) < 0)
        return -1;
    c->folders_len++;
    add_item(c, source, xasprintf("/%s", name), unpack);
    return 0;
}

/* A here-document becomes a file. */
static int find_inline(struct copying *c, const struct df_inline *text, struct err *err)
{
    cleanup_free char *dir = img_store_tmp(c->b->job->dir, err);
    cleanup_free char *path = dir ? xasprintf("%s/%s", dir, text->name) : NULL;

    if (!dir)
        return -1;
    strlist_add(&c->tmp, dir);
    if (!*text->name || strchr(text->name, '/') || strcmp(text->name, ".") == 0 || strcmp(text->name, "..") == 0)
        return err_set(err, 1, "invalid name of a here-document: %s", text->name);
    if (fs_mkdirs(dir, 0700, err) < 0 || fs_write_file(path, text->data, strlen(text->data), 0644, err) < 0)
        return -1;
    if (chmod(path, 0644) < 0)
        return err_set_errno(err, 0, errno, "%s", path);
    return add_folder(c, dir, text->name, false, err);
}

static int find_url(struct copying *c, const char *url, struct err *err)
{
    cleanup_free char *dir = NULL, *name = NULL;

    if (c->step->kind != DF_ADD)
        return err_set(err, 1, "source can't be a URL for COPY");
    if (copy_is_git(url))
        return err_set(err, 1, "ADD of a git repository (%s) is not supported by this builder: use RUN git clone", url);
    if (copy_fetch(c, url, &dir, &name, err) < 0)
        return -1;
    return add_folder(c, dir, name, c->step->unpack == 1, err);
}

static int find_sources(struct copying *c, struct err *err)
{
    const struct df_step *s = c->step;

    c->folders = xcalloc(s->sources.len + s->inlines_len + 1, sizeof(*c->folders));
    if (s->sources.len + s->inlines_len > 1 && !c->dest_dir)
        return err_set(err, 1,
                       "When using %s with more than one source file, the destination must be a directory and end "
                       "with a /",
                       verb(c));
    if (s->checksum && (s->sources.len != 1 || !copy_is_url(s->sources.items[0])))
        return err_set(err, 1, "checksum requires HTTP(S) sources");
    for (size_t i = 0; i < s->sources.len; i++) {
        const char *word = s->sources.items[i];
        int r;

        if (copy_is_url(word) || copy_is_git(word))
            r = find_url(c, word, err);
        else
            r = s->parents ? find_with_parents(c, word, err) : find_source(c, word, err);
        if (r < 0)
            return -1;
    }
    for (size_t i = 0; i < s->inlines_len; i++) {
        if (find_inline(c, &s->inlines[i], err) < 0)
            return -1;
    }
    return 0;
}

static int open_source(struct copying *c, struct err *err)
{
    const struct img_tree *tree;

    if (!c->step->from)
        return img_source_context(c->b->job, &c->source, err);
    if (img_from(c->b, c->step->from_stage, c->step->from, &tree, err) < 0)
        return -1;
    return img_source_layers(c->b->job, &tree->layers, &c->source, err);
}

/* ---- destination and owner ---- */

static bool ends_as_dir(const char *dest)
{
    size_t len = strlen(dest);

    return !len || dest[len - 1] == '/' || strcmp(dest, ".") == 0 || strcmp(dest, "..") == 0 ||
           (len > 1 && strcmp(dest + len - 2, "/.") == 0);
}

static int find_owner(struct copying *c, struct err *err)
{
    const char *chmod = c->step->chmod;

    c->mode = -1;
    if (c->step->chown) {
        if (img_owner(c->below, c->step->chown, &c->uid, &c->gid, err) < 0)
            return -1;
        c->own = true;
    }
    if (chmod && strspn(chmod, "01234567") == strlen(chmod) && *chmod) {
        if (strlen(chmod) > 6 || strtol(chmod, NULL, 8) > 07777)
            return err_set(err, 1, "invalid chmod parameter: '%s'. it should be octal string and between 0 and 07777",
                           chmod);
        c->mode = strtol(chmod, NULL, 8);
    } else if (chmod) {
        if (!img_mode_valid(chmod))
            return err_set(err, 1, "invalid chmod parameter: '%s'. it should be octal string and between 0 and 07777",
                           chmod);
        c->mode_words = chmod;
    }
    return 0;
}

/* ---- the key ---- */

/* Everything that the layer is made of, but for the layers below. */
static int describe(struct copying *c, struct buf *out, struct err *err)
{
    buf_addf(out, "%s %d %d %u:%u %lo %s %zu:%s %d", verb(c), c->step->link, c->own, (unsigned)c->uid, (unsigned)c->gid,
             (unsigned long)(c->mode + 1), c->mode_words ? c->mode_words : "", strlen(c->dest), c->dest, c->dest_dir);
    for (size_t i = 0; i < c->items_len; i++) {
        const struct copy_item *item = &c->items[i];
        cleanup_free char *real = NULL;
        char hex[DIGEST_HEX + 1];
        struct stat st;
        int r;

        if (img_source_resolve(item->source, item->path, &real, &st, err) < 0)
            return -1;
        c->digest = digest_new();
        r = copy_walk(c, item, real, "", err);
        digest_hex(c->digest, hex);
        digest_free(c->digest);
        c->digest = NULL;
        if (r < 0)
            return -1;
        /* The name of a file counts where it is copied to a directory; that of a directory does not. */
        buf_addf(out, "\n%d %s %s", item->unpack, hex, S_ISDIR(st.st_mode) ? "" : strrchr(item->path, '/') + 1);
    }
    return out->overflowed ? err_set(err, 1, "%s: too many sources", verb(c)) : 0;
}

/* ---- the layer ---- */

DEFINE_CLEANUP(struct tar_reader *, tar_close)

/* Whether a file is a tar, plain or compressed: what its first header says. */
static bool is_tar(const struct copy_item *item, const char *real)
{
    cleanup_close int fd = -1;
    struct archive_entry *e;
    struct stat st;

    if (img_view_look(item->source->view, real, &st, NULL, &fd, NULL) <= 0 || !S_ISREG(st.st_mode) || !st.st_size)
        return false;
    {
        cleanup_with(tar_closep) struct tar_reader *t = tar_open(fd, NULL);

        return t && tar_next(t, &e, NULL) > 0;
    }
}

/* ADD of an archive: its contents go below the destination, .wh. files as they are; --chown counts, --chmod does not.
 */
static int add_archive(struct copying *c, const struct copy_item *item, const char *real, struct err *err)
{
    cleanup_free char *dest = NULL;
    struct img_unpack how = {.owner = c->own, .uid = c->uid, .gid = c->gid};
    cleanup_close int fd = -1;
    char diff[DIGEST_HEX + 1];
    struct stat st;

    if (img_view_resolve(c->so_far, c->dest, &dest, err) < 0 || copy_mkdirs(c, dest, err) < 0)
        return -1;
    how.below = dest;
    if (img_view_look(item->source->view, real, &st, NULL, &fd, err) < 0)
        return -1;
    if (img_unpack(c->w, fd, &how, diff, err) < 0)
        return err_wrap(err, "ADD %s", item->path);
    return 0;
}

/* Where an item goes; directories on the way are made. */
static int prepare_target(struct copying *c, const struct copy_item *item, bool is_dir, char **ret, struct err *err)
{
    cleanup_free char *dest = NULL, *parent = NULL;
    struct stat st;
    char *slash;
    int found;

    if (img_view_resolve(c->so_far, c->dest, &dest, err) < 0)
        return -1;
    if (c->dest_dir && copy_mkdirs(c, dest, err) < 0)
        return -1;
    found = img_view_look(c->so_far, dest, &st, NULL, NULL, err);
    if (found < 0)
        return -1;
    if (!is_dir && (!*dest || (found && S_ISDIR(st.st_mode)))) {
        char *into = xasprintf("%s%s%s", dest, *dest ? "/" : "", strrchr(item->path, '/') + 1);

        free(dest);
        dest = into;
    }
    parent = xstrdup(dest);
    slash = strrchr(parent, '/');
    if (!is_dir || found)
        parent[slash ? slash - parent : 0] = '\0';
    if (copy_mkdirs(c, parent, err) < 0)
        return -1;
    *ret = steal(&dest);
    return 0;
}

static int copy_item(struct copying *c, const struct copy_item *item, struct err *err)
{
    cleanup_free char *real = NULL, *target = NULL;
    struct stat st;

    if (img_source_resolve(item->source, item->path, &real, &st, err) < 0)
        return -1;
    if (item->unpack && is_tar(item, real))
        return add_archive(c, item, real, err);
    if (prepare_target(c, item, S_ISDIR(st.st_mode), &target, err) < 0)
        return -1;
    return copy_walk(c, item, real, target, err);
}

static int make_layer(void *arg, const char *key, struct err *err)
{
    struct copying *c = arg;
    struct img_layer_meta meta = img_step_meta(c->b->job);
    struct img_writer_options options = {.below = c->step->link ? NULL : c->below,
                                         .follow_below = !c->step->link,
                                         .uid = c->uid,
                                         .gid = c->gid,
                                         .mode = c->mode >= 0 ? (mode_t)c->mode : 0,
                                         .meta = &meta};
    cleanup_strlist struct strlist dirs = STRLIST_INIT;

    c->w = img_writer_new(c->b->job->dir, &options, err);
    if (!c->w)
        return -1;
    strlist_add_owned(&dirs, img_writer_dir_path(c->w));
    if (!c->step->link) /* --link knows nothing of what is below */
        img_layer_dirs(c->b->job, &c->b->job->layers, &dirs);
    c->so_far = img_view_open(&dirs, err);
    if (!c->so_far)
        return -1;
    for (size_t i = 0; i < c->items_len; i++) {
        if (copy_item(c, &c->items[i], err) < 0)
            return -1;
    }
    return img_writer_commit(c->w, key, err);
}

static void clear(struct copying *c)
{
    copy_forget_links(c);
    for (size_t i = 0; i < c->items_len; i++)
        free(c->items[i].path);
    free(c->items);
    for (size_t i = 0; i < c->folders_len; i++)
        img_source_clear(&c->folders[i]);
    free(c->folders);
    img_source_clear(&c->source);
    for (size_t i = 0; i < c->tmp.len; i++)
        img_store_remove(c->tmp.items[i]);
    strlist_clear(&c->tmp);
    strlist_clear(&c->includes);
    strlist_clear(&c->excludes);
    img_writer_free(c->w);
    img_view_free(c->so_far);
    img_view_free(c->below);
    free(c->dest);
}

int img_copy(struct img_build *b, const struct df_step *step, bool *ret_cached, struct err *err)
{
    struct copying *c = xcalloc(1, sizeof(*c));
    struct buf what cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    int ret = -1;

    *c = (struct copying){.b = b, .step = step, .dest = img_absolute(step->workdir, step->dest)};
    clock_gettime(CLOCK_REALTIME, &c->now);
    c->dest_dir = ends_as_dir(step->dest) || strcmp(c->dest, "/") == 0;
    for (size_t i = 0; i < step->excludes.len; i++) {
        const char *p = step->excludes.items[i];
        cleanup_free char *clean = img_absolute(NULL, p + (*p == '!'));

        strlist_addf(&c->excludes, "%s%s", *p == '!' ? "!" : "", clean + 1);
    }
    c->below = img_job_view(b->job, err);
    if (c->below && find_owner(c, err) == 0 && open_source(c, err) == 0 && find_sources(c, err) == 0 &&
        describe(c, &what, err) == 0)
        ret = img_step_layer(b->job, "copy", what.data, make_layer, c, ret_cached, err);
    clear(c);
    free(c);
    return ret;
}

/* ---- WORKDIR ---- */

struct making_dir {
    struct img_job *job;
    struct img_view *below;
    const char *path; /* links followed */
    struct img_user user;
};

static int make_dir_layer(void *arg, const char *key, struct err *err)
{
    struct making_dir *m = arg;
    struct img_layer_meta meta = img_step_meta(m->job);
    struct img_writer_options options = {
        .below = m->below, .follow_below = true, .uid = m->user.uid, .gid = m->user.gid, .meta = &meta};
    struct img_attributes a = {.uid = m->user.uid, .gid = m->user.gid, .mode = 0755};
    struct img_writer *w = img_writer_new(m->job->dir, &options, err);
    struct stat st;
    int ret = w ? 0 : -1, found = img_view_look(m->below, m->path, &st, NULL, NULL, err);

    clock_gettime(CLOCK_REALTIME, &a.mtime);
    if (found < 0)
        ret = -1;
    else if (found && !S_ISDIR(st.st_mode))
        ret = err_set(err, 1, "mkdir /%s: not a directory", m->path);
    if (ret == 0 && !found)
        ret = img_writer_dir(w, m->path, &a, err);
    if (ret == 0)
        ret = img_writer_commit(w, key, err);
    img_writer_free(w);
    return ret;
}

/* The directory and those above it that are missing belong to USER, as BuildKit makes them; one that is there stays as
 * it is, and the layer is an empty one then. */
int img_workdir(struct img_build *b, const struct df_step *step, bool *ret_cached, struct err *err)
{
    struct making_dir m = {.job = b->job, .below = img_job_view(b->job, err)};
    cleanup_free char *real = NULL, *what = NULL;
    int ret = -1;

    if (m.below && img_view_resolve(m.below, step->workdir, &real, err) == 0 &&
        (!step->user || img_user(m.below, step->user, &m.user, err) == 0)) {
        m.path = real;
        what = xasprintf("%u:%u /%s", (unsigned)m.user.uid, (unsigned)m.user.gid, real);
        ret = img_step_layer(b->job, "mkdir", what, make_dir_layer, &m, ret_cached, err);
    }
    img_user_clear(&m.user);
    img_view_free(m.below);
    return ret;
}
