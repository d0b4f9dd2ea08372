#include "shim/build/source.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/sys/beneath.h"
#include "compat/sys/fs.h"
#include "shim/build/request.h"
#include "shim/build/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void build_source_clear(struct build_source *s)
{
    if (s->dir >= 0)
        close(s->dir);
    free(s->path);
    free(s->dockerfile);
    free(s->dockerfile_name);
    free(s->ignore);
    free(s->ignore_name);
    build_temp_clear(&s->temp);
    *s = (struct build_source)BUILD_SOURCE_INIT;
}

static int open_directory(const char *word, struct build_source *s, struct err *err)
{
    struct stat st;

    if (stat(word, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(err, 1, "unable to prepare context: path \"%s\" not found", word);
    s->dir = open(word, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0 && errno == ENOTDIR)
        return err_set(err, 1, "unable to prepare context: context must be a directory: %s", word);
    if (s->dir < 0)
        return err_set_errno(err, 1, errno, "unable to prepare context: open %s", word);
    s->path = realpath(word, NULL);
    if (!s->path)
        s->path = xstrdup(word);
    return 0;
}

/* Everything that a descriptor still gives, behind what was read before. */
static int read_rest(int fd, const struct buf *first, struct buf *out, const char *what, struct err *err)
{
    buf_add(out, first->data, first->len);
    for (;;) {
        char piece[16384];
        ssize_t n = read(fd, piece, sizeof(piece));

        if (build_cancelled)
            return build_signalled(err);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 1, errno, "reading %s", what);
        if (n == 0)
            return 0;
        if (buf_add(out, piece, (size_t)n) < 0)
            return err_set(err, 1, "%s is larger than %u MiB", what, BUILD_DOCKERFILE_MAX >> 20);
    }
}

/* `-`: an archive, or a Dockerfile alone. */
static int open_stdin(struct build_source *s, struct err *err)
{
    cleanup_buf struct buf head = BUF_INIT(BUILD_SOURCE_HEAD), text = BUF_INIT(BUILD_DOCKERFILE_MAX);

    while (head.len < BUILD_SOURCE_HEAD) {
        char *to = buf_reserve(&head, BUILD_SOURCE_HEAD - head.len);
        ssize_t n = read(STDIN_FILENO, to, BUILD_SOURCE_HEAD - head.len);

        if (build_cancelled)
            return build_signalled(err);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 1, errno, "unable to prepare context: failed to peek context header from STDIN");
        if (n == 0)
            break;
        buf_advance(&head, (size_t)n);
    }
    if (!head.len)
        return err_set(err, 1, "unable to prepare context: failed to peek context header from STDIN: EOF");
    if (build_source_is_archive(head.data, head.len))
        return build_source_unpack(STDIN_FILENO, &head, s, err);
    if (read_rest(STDIN_FILENO, &head, &text, "the Dockerfile on standard input", err) < 0)
        return -1;
    s->dockerfile_len = text.len;
    s->dockerfile = buf_detach(&text);
    s->dockerfile_name = xstrdup("Dockerfile");
    return 0;
}

/* A file of the context, wherever its links lead within it; 1, 0 = it is not there. */
static int read_in(const struct build_source *s, const char *name, struct buf *out, struct err *err)
{
    cleanup_free char *real = NULL;
    const char *last;
    struct stat st;
    cleanup_close int parent = -1, fd = -1;

    if (s->dir < 0)
        return 0;
    real = build_resolve(s->dir, name, NULL);
    if (!real || !*real)
        return 0;
    parent = beneath_open_parent(s->dir, real, &last);
    fd = parent >= 0 ? beneath_read_open(parent, last, &st) : -1;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0)
        return err_set_errno(err, 1, errno, "open %s", name);
    const struct buf nothing = BUF_INIT(0);
    return read_rest(fd, &nothing, out, name, err) < 0 ? -1 : 1;
}

/* <name>.dockerignore beside the Dockerfile, else the context's. beside: a path of this machine, or NULL. */
static int read_ignore(struct build_source *s, const char *beside, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(BUILD_DOCKERFILE_MAX);
    cleanup_free char *name = xasprintf("%s.dockerignore", beside ? beside : s->dockerfile_name);
    struct err why = ERR_INIT;
    int got = 0;

    if (beside && fs_read_file(name, &text, &why) == 0)
        got = 1;
    else if (beside && why.code != ENOENT && why.code != ENOTDIR)
        return err_move(err, &why);
    else if (!beside)
        got = read_in(s, name, &text, err);
    err_clear(&why);
    if (got > 0)
        s->ignore_name = xstrdup(name);
    if (got == 0) {
        got = read_in(s, ".dockerignore", &text, err);
        s->ignore_name = got > 0 ? xstrdup(".dockerignore") : NULL;
    }
    if (got <= 0)
        return got;
    s->ignore_len = text.len;
    s->ignore = buf_detach(&text);
    return 0;
}

/* BuildKit's last try: the name in small letters, where nothing was said. */
static int read_default(struct build_source *s, struct buf *text, struct err *err)
{
    int got = read_in(s, "Dockerfile", text, err);

    s->dockerfile_name = xstrdup("Dockerfile");
    if (got != 0)
        return got;
    got = read_in(s, "dockerfile", text, err);
    if (got > 0) {
        free(s->dockerfile_name);
        s->dockerfile_name = xstrdup("dockerfile");
    }
    return got;
}

/* The Dockerfile: -f names it on this machine for a directory, else within the context. */
static int read_dockerfile(const struct build_request *r, bool here, struct build_source *s, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(BUILD_DOCKERFILE_MAX);
    const struct buf nothing = BUF_INIT(0);
    const char *beside = NULL, *slash;
    struct err why = ERR_INIT;
    int got;

    if (!strcmp(r->file, "-")) {
        s->dockerfile_name = xstrdup("Dockerfile");
        got = read_rest(STDIN_FILENO, &nothing, &text, "the Dockerfile on standard input", err) < 0 ? -1 : 1;
    } else if (!*r->file) {
        got = read_default(s, &text, err);
    } else if (here) {
        beside = r->file;
        slash = strrchr(r->file, '/');
        s->dockerfile_name = xstrdup(slash ? slash + 1 : r->file);
        got = fs_read_file(r->file, &text, &why) == 0     ? 1
              : why.code == ENOENT || why.code == ENOTDIR ? 0
                                                          : err_move(err, &why);
        err_clear(&why);
    } else {
        s->dockerfile_name = path_clean(*r->file == '/' ? r->file + 1 : r->file);
        got = read_in(s, s->dockerfile_name, &text, err);
    }
    if (got < 0)
        return build_cancelled ? build_signalled(err) : err_wrap(err, "failed to solve: failed to read dockerfile");
    if (got == 0)
        return err_set(err, 1, "failed to solve: failed to read dockerfile: open %s: no such file or directory",
                       s->dockerfile_name);
    s->dockerfile_len = text.len;
    s->dockerfile = buf_detach(&text);
    return read_ignore(s, beside, err);
}

/* The context alone; *ret_here: it is a directory of the user's own. */
static int open_context(const char *word, struct build_source *s, bool *ret_here, struct err *err)
{
    *ret_here = false;
    if (!strcmp(word, "-"))
        return open_stdin(s, err);
    if (build_source_is_git(word) && !fs_exists(word))
        return build_source_clone(word, s, err);
    if (build_source_is_url(word))
        return build_source_fetch(word, s, err);
    *ret_here = true;
    return open_directory(word, s, err);
}

int build_source_open(const struct build_request *r, struct build_source *ret, struct err *err)
{
    struct build_source s = BUILD_SOURCE_INIT;
    bool here;
    int got = open_context(r->context, &s, &here, err);

    if (got == 0 && s.dockerfile && *r->file) {
        build_source_clear(&s);
        return err_set(err, 1, "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles");
    }
    if (got == 0 && !s.dockerfile)
        got = read_dockerfile(r, here, &s, err);
    if (got == 0)
        *ret = s;
    else
        build_source_clear(&s);
    return got;
}

int build_source_open_named(const char *value, struct build_source *ret, struct err *err)
{
    struct build_source s = BUILD_SOURCE_INIT;
    cleanup_buf struct buf text = BUF_INIT(BUILD_DOCKERFILE_MAX);
    bool here;
    int got = open_context(value, &s, &here, err);

    if (got == 0)
        got = read_in(&s, ".dockerignore", &text, err);
    if (got > 0) {
        s.ignore_len = text.len;
        s.ignore = buf_detach(&text);
        s.ignore_name = xstrdup(".dockerignore");
    }
    if (got < 0) {
        build_source_clear(&s);
        return -1;
    }
    *ret = s;
    return 0;
}
