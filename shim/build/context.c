#include "shim/build/context.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"
#include "compat/sys/beneath.h"
#include "shim/build/resolve.h"
#include "shim/build/source.h"
#include "translate/dockerfile/ignore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 16 /* of links that lead to links */

int build_context_init(struct build_context *c, const struct build_source *source, struct err *err)
{
    *c = (struct build_context){.source = source};
    if (!source->ignore)
        return 0;
    c->ignore = df_ignore_new(source->ignore, source->ignore_len, source->ignore_name, err);
    return c->ignore ? 0 : -1;
}

static void forget_entries(struct build_context *c)
{
    for (size_t i = 0; i < c->len; i++) {
        free(c->entries[i].path);
        free(c->entries[i].link);
    }
    free(c->entries);
    c->entries = NULL;
    c->len = 0;
    strlist_clear(&c->notes);
}

void build_context_clear(struct build_context *c)
{
    for (size_t i = 0; i < c->patterns_len; i++) {
        free(c->patterns[i].text);
        strlist_clear(&c->patterns[i].parts);
    }
    free(c->patterns);
    df_ignore_free(c->ignore);
    forget_entries(c);
    *c = (struct build_context){0};
}

size_t build_context_use(struct build_context *c)
{
    return c->uses++;
}

char *build_context_path(const char *word)
{
    cleanup_free char *joined = xasprintf("/%s", word);

    return path_clean(joined);
}

/* True if it was new. */
static bool add_pattern(struct build_context *c, size_t use, const char *text, size_t source)
{
    struct build_pattern *p;

    for (size_t i = 0; i < c->patterns_len; i++)
        if (c->patterns[i].use == use && c->patterns[i].source == source && !strcmp(c->patterns[i].text, text))
            return false;
    c->patterns = xreallocarray(c->patterns, c->patterns_len + 1, sizeof(*c->patterns));
    p = &c->patterns[c->patterns_len++];
    *p = (struct build_pattern){
        .text = xstrdup(text), .wild = strpbrk(text, "*?[\\") != NULL, .use = use, .source = source};
    strlist_split(&p->parts, text, '/');
    return true;
}

/* What the links on the way to a path, and at its end, lead to. True if something new has to be looked for. */
static bool follow(struct build_context *c, size_t use, const char *path, size_t source)
{
    cleanup_strlist struct strlist links = STRLIST_INIT;
    cleanup_free char *real = build_resolve(c->source->dir, path, &links);
    bool news = false;

    for (size_t i = 0; i < links.len; i++)
        news = add_pattern(c, use, links.items[i], source) || news;
    if (real && strcmp(real, path))
        news = add_pattern(c, use, real, source) || news;
    return news;
}

void build_context_want(struct build_context *c, size_t use, const char *word, size_t source)
{
    cleanup_free char *clean = build_context_path(word);
    const char *text = clean + 1;
    size_t literal = strcspn(text, "*?[\\");

    add_pattern(c, use, text, source);
    if (c->source->dir < 0)
        return;
    if (!text[literal]) {
        follow(c, use, text, source);
        return;
    }
    while (literal && text[literal - 1] != '/')
        literal--;
    if (literal) { /* the directories in front of the first wildcard: the pattern goes on where they lead */
        cleanup_free char *dir = xstrndup(text, literal - 1), *real = build_resolve(c->source->dir, dir, NULL);

        follow(c, use, dir, source);
        if (real && strcmp(real, dir)) {
            cleanup_free char *moved = xasprintf("%s%s%s", real, *real ? "/" : "", text + literal);

            add_pattern(c, use, moved, source);
        }
    }
}

/* ---- matching ---- */

static bool matches(const struct build_pattern *p, const char *path)
{
    return !*p->text || (p->wild ? df_pattern_match(p->text, path) > 0 : !strcmp(p->text, path));
}

/* Whether path or a directory above it is what the pattern names. */
static bool covers(const struct build_pattern *p, const char *path)
{
    cleanup_free char *upper = NULL;
    size_t len = strlen(p->text);

    if (!len)
        return true;
    if (!p->wild)
        return !strncmp(path, p->text, len) && (!path[len] || path[len] == '/');
    upper = xstrdup(path);
    for (;;) {
        char *slash;

        if (matches(p, upper))
            return true;
        slash = strrchr(upper, '/');
        if (!slash)
            return false;
        *slash = '\0';
    }
}

/* Whether something below the directory may be named. */
static bool leads_to(const struct build_pattern *p, const char *dir)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    size_t len = strlen(dir);

    if (!p->wild)
        return !strncmp(p->text, dir, len) && p->text[len] == '/';
    strlist_split(&names, dir, '/');
    for (size_t i = 0; i < names.len; i++) {
        if (i >= p->parts.len)
            return false;
        if (strstr(p->parts.items[i], "**"))
            return true;
        if (df_pattern_match(p->parts.items[i], names.items[i]) <= 0)
            return false;
    }
    return p->parts.len > names.len;
}

bool build_context_covers(const struct build_context *c, size_t use, size_t entry)
{
    for (size_t i = 0; i < c->patterns_len; i++)
        if (c->patterns[i].use == use && covers(&c->patterns[i], c->entries[entry].path))
            return true;
    return false;
}

bool build_context_leads(const struct build_context *c, size_t use, size_t entry)
{
    for (size_t i = 0; i < c->patterns_len; i++)
        if (c->patterns[i].use == use && leads_to(&c->patterns[i], c->entries[entry].path))
            return true;
    return false;
}

/* ---- walking ---- */

struct walk {
    struct build_context *c;
    struct err *err;
    int dir;
    const char *path; /* of dir */
    unsigned depth;
    bool covered; /* dir itself is wanted */
};

static int walk_dir(struct build_context *c, int dir, const char *path, unsigned depth, bool covered, struct err *err);

static int sender_says(struct err *err, int errnum, const char *path)
{
    cleanup_free char *reason = xstrdup(strerror(errnum));

    if (*reason >= 'A' && *reason <= 'Z')
        *reason = (char)(*reason + ('a' - 'A'));
    return err_set(err, 1, "failed to solve: error from sender: open %s: %s", path, reason);
}

static int add_entry(struct build_context *c, int dir, const char *name, const char *path, const struct stat *st,
                     struct err *err)
{
    struct build_entry e = {.mode = st->st_mode,
                            .size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
                            .mtime_ns = beneath_mtime(st),
                            .ctime_ns = beneath_ctime(st),
                            .dev = (uint64_t)st->st_dev,
                            .ino = (uint64_t)st->st_ino};

    if (c->len >= LIMIT_ENTRIES)
        return err_set(err, 1, "failed to solve: the build uses more than %u files", LIMIT_ENTRIES);
    if (S_ISSOCK(st->st_mode))
        return 0; /* BuildKit passes over them too */
    if (S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode)) {
        strlist_addf(&c->notes, "WARNING: %s is a device, which cannot be copied: it is left out", path);
        return 0;
    }
    if (S_ISLNK(st->st_mode) && !(e.link = beneath_readlink(dir, name)))
        return sender_says(err, errno, path);
    e.path = xstrdup(path);
    if ((c->len & (c->len - 1)) == 0)
        c->entries = xreallocarray(c->entries, c->len ? 2 * c->len : 1, sizeof(*c->entries));
    c->entries[c->len++] = e;
    return 0;
}

static int visit(void *arg, const char *name, uint8_t type)
{
    const struct walk *w = arg;
    struct build_context *c = w->c;
    cleanup_free char *path = *w->path ? xasprintf("%s/%s", w->path, name) : xstrdup(name);
    bool wanted = w->covered, leads = false, ignored;
    size_t before;
    struct stat st;
    int ret = 0;

    (void)type;
    for (size_t i = 0; i < c->patterns_len && !wanted; i++) {
        wanted = matches(&c->patterns[i], path);
        leads = leads || leads_to(&c->patterns[i], path);
    }
    if (!wanted && !leads)
        return 0;
    if (build_cancelled)
        return build_signalled(w->err);
    if (beneath_stat(w->dir, name, &st) < 0)
        return errno == ENOENT ? 0 : sender_says(w->err, errno, path); /* it has just been removed */
    ignored = c->ignore && df_ignore_match(c->ignore, path);
    if ((wanted || S_ISDIR(st.st_mode)) && !ignored && add_entry(c, w->dir, name, path, &st, w->err) < 0)
        return -1;
    if (S_ISDIR(st.st_mode) && !(ignored && df_ignore_prunes(c->ignore, path))) {
        cleanup_close int below = beneath_child_list(w->dir, name);

        if (below < 0)
            return ignored ? 0 : sender_says(w->err, errno, path);
        before = c->len;
        ret = walk_dir(c, below, path, w->depth + 1, wanted, w->err);
        if (ret == 0 && ignored && c->len > before) /* what was let in again below it brings it along */
            ret = add_entry(c, w->dir, name, path, &st, w->err);
    }
    return ret;
}

static int walk_dir(struct build_context *c, int dir, const char *path, unsigned depth, bool covered, struct err *err)
{
    struct walk w = {c, err, dir, path, depth, covered};
    struct err why = ERR_INIT;
    int ret;

    if (depth > LIMIT_DEPTH)
        return err_set(err, 1, "failed to solve: %s: more than %u directories deep", path, LIMIT_DEPTH);
    w.err = &why;
    ret = beneath_names(dir, visit, &w);
    if (ret < 0 && why.msg)
        return err_move(err, &why);
    return ret < 0 ? sender_says(err, errno, *path ? path : ".") : 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct build_entry *)a)->path, ((const struct build_entry *)b)->path);
}

static int walk_all(struct build_context *c, struct err *err)
{
    cleanup_close int root = beneath_list_open(c->source->dir);
    bool all = false;

    forget_entries(c);
    for (size_t i = 0; i < c->patterns_len; i++)
        all = all || !*c->patterns[i].text;
    if (root < 0)
        return sender_says(err, errno, ".");
    if (walk_dir(c, root, "", 0, all, err) < 0)
        return -1;
    if (c->len)
        qsort(c->entries, c->len, sizeof(*c->entries), by_path);
    return 0;
}

/* Links that a wildcard found are sources too: what they lead to has to come along. */
static bool follow_found(struct build_context *c)
{
    bool news = false;
    size_t patterns = c->patterns_len;

    for (size_t i = 0; i < patterns; i++)
        for (size_t n = 0; c->patterns[i].wild && n < c->len; n++)
            if (c->entries[n].link && matches(&c->patterns[i], c->entries[n].path))
                news = follow(c, c->patterns[i].use, c->entries[n].path, c->patterns[i].source) || news;
    return news;
}

int build_context_read(struct build_context *c, struct err *err)
{
    if (!c->patterns_len || c->source->dir < 0)
        return 0;
    for (int round = 0; round < ROUNDS; round++) {
        if (walk_all(c, err) < 0)
            return -1;
        if (!follow_found(c))
            break;
    }
    return 0;
}

bool build_context_found(const struct build_context *c, size_t use, size_t source)
{
    for (size_t i = 0; i < c->patterns_len; i++) {
        const struct build_pattern *p = &c->patterns[i];

        if (p->use != use || p->source != source)
            continue;
        if (p->wild || !*p->text)
            return true;
        for (size_t n = 0; n < c->len; n++)
            if (!c->entries[n].link && covers(p, c->entries[n].path))
                return true;
    }
    return false;
}
