#include "backends/engine/img_build.h"

#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "backends/engine/img_view.h"
#include "backends/registry/digest.h"
#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* One source that was found: a file of the mount, or everything below a directory of it. */
struct match {
    char *name;   /* relative; "" = the whole context */
    size_t first; /* index of the file, or of the directory's first */
    bool dir;
};

/* One COPY or ADD under way. */
struct copying {
    struct img_job *job;
    const struct img_copy *what;
    struct img_mount mount;
    struct img_view *view; /* the layers below */
    struct img_writer *w;
    struct match *matches;
    size_t matches_len;
    char *dest;    /* relative to the root, clean, links resolved */
    bool dest_dir; /* sources go into it rather than become it */
    uid_t uid;
    gid_t gid;
    bool own;  /* --chown was said */
    long mode; /* --chmod, -1 = not said */
};

/* ---- sources ---- */

static void add_match(struct copying *c, const char *name, size_t len, size_t first, bool dir)
{
    c->matches = xreallocarray(c->matches, c->matches_len + 1, sizeof(*c->matches));
    c->matches[c->matches_len++] = (struct match){xstrndup(name, len), first, dir};
}

/* Length of the first count components of name; 0 when it has fewer. */
static size_t prefix_len(const char *name, size_t count)
{
    const char *p = name;

    while (count--) {
        p += strcspn(p, "/");
        if (!count)
            return (size_t)(p - name);
        if (!*p++)
            return 0;
    }
    return 0;
}

static size_t count_parts(const char *name)
{
    size_t n = 1;

    for (; *name; name++)
        n += *name == '/';
    return n;
}

/* Finds what a source word means: a file, a directory (its files' names begin with it), or all that a pattern fits. */
static int find_source(struct copying *c, const char *word, struct err *err)
{
    cleanup_free char *absolute = img_absolute(NULL, word);
    const char *pattern = absolute + 1;
    bool wild = strpbrk(pattern, "*?[\\") != NULL;
    size_t parts = count_parts(pattern), before = c->matches_len;

    if (!*pattern) {
        add_match(c, "", 0, 0, true);
        return 0;
    }
    for (size_t i = 0; i < c->mount.len; i++) {
        const char *name = c->mount.entries[i].name;
        size_t len = prefix_len(name, parts);
        cleanup_free char *prefix = xstrndup(name, len);
        const struct match *last = c->matches_len > before ? &c->matches[c->matches_len - 1] : NULL;

        if (!len || (last && strcmp(last->name, prefix) == 0))
            continue;
        if (wild ? fnmatch(pattern, prefix, FNM_PATHNAME) == 0 : strcmp(pattern, prefix) == 0)
            add_match(c, prefix, len, i, name[len] == '/');
    }
    if (c->matches_len == before)
        return err_set(err, 1,
                       "%s failed: file not found in build context or excluded by .dockerignore: stat %s: file does "
                       "not exist",
                       c->what->add ? "ADD" : "COPY", pattern);
    return 0;
}

static bool is_url(const char *s)
{
    return strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0 || strncmp(s, "git@", 4) == 0 ||
           strncmp(s, "git://", 6) == 0 || strncmp(s, "ssh://", 6) == 0;
}

static int find_sources(struct copying *c, struct err *err)
{
    const struct strlist *words = c->what->words;
    const char *verb = c->what->add ? "ADD" : "COPY";

    if (words->len < 2)
        return err_set(err, 1, "%s requires at least two arguments%s", verb,
                       words->len ? ", but only one was provided. Destination could not be determined." : "");
    for (size_t i = 0; i + 1 < words->len; i++) {
        if (c->what->add && is_url(words->items[i]))
            return err_set(err, 1, "ADD of a URL (%s) is not supported yet", words->items[i]);
        if (strncmp(words->items[i], "<<", 2) == 0)
            return err_set(err, 1, "here-documents are not supported yet");
        if (find_source(c, words->items[i], err) < 0)
            return -1;
    }
    return 0;
}

/* ---- destination and owner ---- */

static bool ends_as_dir(const char *dest)
{
    size_t len = strlen(dest);

    return len && (dest[len - 1] == '/' || strcmp(dest, ".") == 0 || strcmp(dest, "..") == 0 ||
                   (len > 1 && strcmp(dest + len - 2, "/.") == 0));
}

static int find_dest(struct copying *c, struct err *err)
{
    const char *word = c->what->words->items[c->what->words->len - 1];
    cleanup_free char *absolute = img_absolute(c->what->workdir, word);
    struct stat st;
    int found;

    if (c->matches_len > 1 && !ends_as_dir(word) && strcmp(absolute, "/") != 0)
        return err_set(err, 1,
                       "When using %s with more than one source file, the destination must be a directory and end "
                       "with a /",
                       c->what->add ? "ADD" : "COPY");
    if (c->what->link)
        c->dest = xstrdup(absolute + 1);
    else if (img_view_resolve(c->view, absolute, &c->dest, err) < 0)
        return -1;
    found = img_view_look(c->view, c->dest, &st, NULL, NULL, err);
    if (found < 0)
        return -1;
    c->dest_dir = ends_as_dir(word) || !*c->dest || (found && S_ISDIR(st.st_mode));
    return 0;
}

static int find_owner(struct copying *c, struct err *err)
{
    c->mode = -1;
    if (c->what->chown) {
        if (img_owner(c->view, c->what->chown, &c->uid, &c->gid, err) < 0)
            return -1;
        c->own = true;
    }
    if (c->what->chmod) {
        const char *s = c->what->chmod;
        size_t len = strspn(s, "01234567");

        if (!len || s[len] || len > 5 || strtol(s, NULL, 8) > 07777)
            return err_set(err, 1, "invalid chmod parameter: '%s'. it should be octal string and between 0 and 07777",
                           s);
        c->mode = strtol(s, NULL, 8);
    }
    return 0;
}

/* ---- copying ---- */

static int copy_contents(const char *from, int to, struct err *err)
{
    cleanup_close int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char chunk[65536];
    ssize_t n;

    if (in < 0)
        return err_set_errno(err, 0, errno, "opening %s", from);
    while ((n = copy_file_range(in, NULL, to, NULL, 1u << 30, 0)) > 0)
        ;
    if (n == 0)
        return 0;
    while ((n = read(in, chunk, sizeof(chunk))) > 0) {
        for (ssize_t done = 0, w; done < n; done += w) {
            w = write(to, chunk + done, (size_t)(n - done));
            if (w < 0)
                return err_set_errno(err, 0, errno, "writing");
        }
    }
    return n < 0 ? err_set_errno(err, 0, errno, "reading %s", from) : 0;
}

/* One file of the mount to its place in the layer. */
static int copy_file(struct copying *c, const struct img_mount_entry *e, const char *path, struct err *err)
{
    struct img_attributes a = {.uid = c->uid, .gid = c->gid, .mode = c->mode >= 0 ? (mode_t)c->mode : e->mode};
    cleanup_free char *from = img_store_file(c->job->dir, e->sha256_hex);
    cleanup_close int fd = -1;

    clock_gettime(CLOCK_REALTIME, &a.mtime);
    if (img_writer_file(c->w, path, &fd, err) < 0 || copy_contents(from, fd, err) < 0)
        return err_wrap(err, "copying /%s to /%s", e->name, path);
    return img_writer_file_done(c->w, fd, &a, err);
}

DEFINE_CLEANUP(struct tar_reader *, tar_close)

/* Whether a stored file is a tar, plain or compressed: what its first header says. */
static bool is_tar(const char *path)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    cleanup_with(tar_closep) struct tar_reader *t = fd >= 0 ? tar_open(fd, NULL) : NULL;
    struct archive_entry *e;

    return t && tar_next(t, &e, NULL) > 0;
}

/* ADD of an archive: its contents go below the destination, .wh. files as they are; --chown counts, --chmod does not.
 */
static int add_archive(struct copying *c, const struct img_mount_entry *e, const char *path, struct err *err)
{
    struct img_unpack how = {.below = c->dest, .owner = c->own, .uid = c->uid, .gid = c->gid};
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char diff[DIGEST_HEX + 1];

    if (fd < 0)
        return err_set_errno(err, 0, errno, "opening %s", path);
    if (img_unpack(c->w, fd, &how, diff, err) < 0)
        return err_wrap(err, "ADD /%s", e->name);
    return 0;
}

static char *join(const char *dir, const char *name)
{
    return xasprintf("%s%s%s", dir, *dir ? "/" : "", name);
}

static int copy_one(struct copying *c, const struct match *m, struct err *err)
{
    const struct img_mount_entry *e = &c->mount.entries[m->first];
    const char *slash = strrchr(e->name, '/');
    cleanup_free char *stored = img_store_file(c->job->dir, e->sha256_hex);
    cleanup_free char *into = NULL;

    if (c->what->add && is_tar(stored))
        return add_archive(c, e, stored, err);
    into = c->dest_dir ? join(c->dest, slash ? slash + 1 : e->name) : xstrdup(c->dest);
    return copy_file(c, e, into, err);
}

/* The contents of a directory, not the directory itself. */
static int copy_dir(struct copying *c, const struct match *m, struct err *err)
{
    size_t len = strlen(m->name);

    for (size_t i = m->first; i < c->mount.len; i++) {
        const struct img_mount_entry *e = &c->mount.entries[i];
        cleanup_free char *into = NULL;

        if (len && (strncmp(e->name, m->name, len) != 0 || e->name[len] != '/'))
            break;
        into = join(c->dest, e->name + len + (len ? 1 : 0));
        if (copy_file(c, e, into, err) < 0)
            return -1;
    }
    return 0;
}

static int copy_all(struct copying *c, struct err *err)
{
    for (size_t i = 0; i < c->matches_len; i++) {
        const struct match *m = &c->matches[i];

        if (atomic_load(&c->job->cancelled))
            return err_set(err, 0, "context canceled");
        if ((m->dir ? copy_dir(c, m, err) : copy_one(c, m, err)) < 0)
            return -1;
    }
    return 0;
}

/* What the layer is made from, for its key. */
static char *describe(const struct copying *c)
{
    struct buf out = BUF_INIT(LIMIT_CONFIG_FILE);

    buf_addf(&out, "%d %d %u:%u %ld %s %d /%s", c->what->add, c->what->link, (unsigned)c->uid, (unsigned)c->gid,
             c->mode, c->job->context_mount ? c->job->context_mount : "", c->dest_dir, c->dest);
    for (size_t i = 0; i < c->matches_len; i++)
        buf_addf(&out, "\n%d %s", c->matches[i].dir, c->matches[i].name);
    return buf_detach(&out);
}

/* Makes the layer unless it is there from an earlier build. */
static int make_layer(struct copying *c, struct err *err)
{
    struct img_writer_options options = {
        .below = c->view, .follow_below = !c->what->link, .uid = c->uid, .gid = c->gid};
    cleanup_free char *text = describe(c);
    char key[DIGEST_HEX + 1];
    int ret = 0;

    img_chain_key(&c->job->layers, "copy", text, key);
    if (img_lock(c->job->locks, key, &c->job->cancelled, err) < 0)
        return -1;
    if (!img_layer_exists(c->job->dir, key)) {
        c->w = img_writer_new(c->job->dir, &options, err);
        ret = c->w ? copy_all(c, err) : -1;
        if (ret == 0)
            ret = img_writer_commit(c->w, key, err);
    }
    img_unlock(c->job->locks, key);
    if (ret == 0)
        strlist_add(&c->job->layers, key);
    return ret;
}

int img_copy(struct img_job *job, const struct img_copy *copy, struct err *err)
{
    struct copying c = {.job = job, .what = copy, .view = img_job_view(job, err)};
    int ret = c.view ? 0 : -1;

    if (ret == 0 && job->context_mount)
        ret = img_mount_load(job->dir, job->context_mount, &c.mount, err);
    if (ret == 0 &&
        (find_sources(&c, err) < 0 || find_dest(&c, err) < 0 || find_owner(&c, err) < 0 || make_layer(&c, err) < 0))
        ret = -1;
    for (size_t i = 0; i < c.matches_len; i++)
        free(c.matches[i].name);
    free(c.matches);
    free(c.dest);
    img_writer_free(c.w);
    img_view_free(c.view);
    img_mount_clear(&c.mount);
    return ret;
}

int img_make_dir(struct img_job *job, const char *path, struct err *err)
{
    struct img_view *view = img_job_view(job, err);
    struct img_writer_options options = {.below = view, .follow_below = true};
    cleanup_free char *real = NULL;
    struct img_writer *w = NULL;
    char key[DIGEST_HEX + 1];
    struct stat st;
    int ret = -1, found;

    if (!view || img_view_resolve(view, path, &real, err) < 0)
        goto out;
    found = img_view_look(view, real, &st, NULL, NULL, err);
    if (found && (found < 0 || S_ISDIR(st.st_mode))) {
        ret = found < 0 ? -1 : 0;
        goto out;
    }
    if (found) {
        err_set(err, 1, "mkdir %s: not a directory", path);
        goto out;
    }
    img_chain_key(&job->layers, "mkdir", real, key);
    if (img_lock(job->locks, key, &job->cancelled, err) < 0)
        goto out;
    ret = 0;
    if (!img_layer_exists(job->dir, key)) {
        struct img_attributes a = {.mode = 0755};

        clock_gettime(CLOCK_REALTIME, &a.mtime);
        w = img_writer_new(job->dir, &options, err);
        ret = w && img_writer_dir(w, real, &a, err) == 0 ? img_writer_commit(w, key, err) : -1;
    }
    img_unlock(job->locks, key);
    if (ret == 0)
        strlist_add(&job->layers, key);
out:
    img_writer_free(w);
    img_view_free(view);
    return ret;
}
