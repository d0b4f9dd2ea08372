#include "shim/compose/watch_sync.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/lib/archive.h"
#include "shim/app.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (64u << 10)

/* One container's part: a job. */
struct part {
    const char *id;
    const struct strlist *gone; /* what is to be taken away */
    int archive;                /* what is to be put in; -1: nothing */
};

/* ---- the archive ---- */

static int fail(struct archive *a, struct err *err)
{
    return err_set(err, 1, "adding files to tar: %s", archive_error_string(a));
}

/* As many bytes as were told, whatever becomes of the file meanwhile: a change comes again as a change. */
static int put_data(struct archive *a, int fd, int64_t size, struct err *err)
{
    char bytes[PIECE];

    while (size > 0) {
        ssize_t n = read(fd, bytes, size < (int64_t)sizeof(bytes) ? (size_t)size : sizeof(bytes));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 1, errno, "adding files to tar");
        if (n == 0) {
            n = size < (int64_t)sizeof(bytes) ? (ssize_t)size : (ssize_t)sizeof(bytes);
            memset(bytes, 0, (size_t)n);
        }
        if (archive_write_data(a, bytes, (size_t)n) != (la_ssize_t)n)
            return fail(a, err);
        size -= n;
    }
    return 0;
}

/* A file, a folder by itself, or a link as text; others are left out, and so is what went away in the meantime. */
static int put(struct archive *a, const char *from, const char *to, struct err *err)
{
    struct archive_entry *e = NULL;
    char link[4096];
    cleanup_close int fd = -1;
    struct stat st;
    ssize_t len = 0;
    int ret;

    if (lstat(from, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)))
        return 0;
    if (S_ISREG(st.st_mode)) {
        fd = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 && errno == ENOENT)
            return 0;
        if (fd < 0)
            return err_set_errno(err, 1, errno, "adding files to tar: archiving \"%s\"", from);
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
            return 0;
    }
    if (S_ISLNK(st.st_mode) && ((len = readlink(from, link, sizeof(link))) < 0 || (size_t)len == sizeof(link)))
        return 0;
    e = archive_entry_new();
    archive_entry_set_pathname(e, to + strspn(to, "/"));
    archive_entry_set_filetype(e, S_ISREG(st.st_mode) ? S_IFREG : S_ISDIR(st.st_mode) ? S_IFDIR : S_IFLNK);
    archive_entry_set_perm(e, st.st_mode & 07777);
    archive_entry_set_uid(e, st.st_uid);
    archive_entry_set_gid(e, st.st_gid);
    archive_entry_set_mtime(e, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    archive_entry_set_size(e, S_ISREG(st.st_mode) ? st.st_size : 0);
    if (S_ISLNK(st.st_mode)) {
        link[len] = '\0';
        archive_entry_set_symlink(e, link);
    }
    ret = archive_write_header(a, e);
    archive_entry_free(e);
    if (ret != ARCHIVE_OK && ret != ARCHIVE_WARN)
        return fail(a, err);
    return S_ISREG(st.st_mode) ? put_data(a, fd, st.st_size, err) : 0;
}

/* Of what is there; a path that comes twice counts as it comes last. The descriptor of a file without a name. */
static int make_archive(const struct strlist *from, const struct strlist *to, struct err *err)
{
    cleanup_close int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    struct archive *a;
    int ret = 0;

    if (fd < 0)
        return err_set_errno(err, 1, errno, "adding files to tar");
    if (lib_archive(err) < 0)
        return -1;
    a = archive_write_new();
    if (archive_write_set_format_pax_restricted(a) != ARCHIVE_OK || archive_write_open_fd(a, fd) != ARCHIVE_OK)
        ret = fail(a, err);
    for (size_t i = 0; i < from->len && ret == 0; i++)
        ret = put(a, from->items[i], to->items[i], err);
    if (ret == 0 && archive_write_close(a) != ARCHIVE_OK)
        ret = fail(a, err);
    archive_write_free(a);
    return ret < 0 ? -1 : steal_fd(&fd);
}

/* ---- the containers ---- */

static int put_in(struct app *app, const struct part *p, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *path = xasprintf("/proc/self/fd/%d", p->archive), *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC); /* from its beginning, whoever else reads it */

    if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
        return err_set_errno(err, 1, errno, "copying files to %s", p->id);
    close(fd);
    strlist_add(&words, "-a");
    strlist_add(&words, "-");
    strlist_addf(&words, "%s:/", p->id);
    if (jobs_command_quiet(app, "cp", &words, &text, err) < 0)
        return err_wrap(err, "copying files to %s", p->id);
    return 0;
}

static int take_out(struct app *app, const struct part *p, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *text = NULL;

    strlist_add(&words, p->id);
    strlist_add(&words, "rm");
    strlist_add(&words, "-rf");
    strlist_copy(&words, p->gone);
    if (jobs_command(app, "exec", &words, &text, err) < 0)
        return err_wrap(err, "deleting paths in %s", p->id);
    return 0;
}

static int sync_one(struct app *app, void *arg, char **ret_text, struct err *err)
{
    const struct part *p = arg;

    (void)ret_text;
    if (p->gone->len && take_out(app, p, err) < 0)
        return -1;
    return p->archive >= 0 ? put_in(app, p, err) : 0;
}

int watch_sync(struct team *w, const char *service, const struct strlist *from, const struct strlist *to,
               struct err *err)
{
    cleanup_strlist struct strlist gone = STRLIST_INIT, here = STRLIST_INIT, there = STRLIST_INIT, one = STRLIST_INIT;
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    cleanup_free struct part *parts = NULL;
    cleanup_close int archive = -1;
    struct stat st;

    for (size_t i = 0; i < from->len; i++) {
        bool exists = lstat(from->items[i], &st) == 0;

        strlist_add(exists ? &there : &gone, to->items[i]);
        if (exists)
            strlist_add(&here, from->items[i]);
    }
    strlist_add(&one, service);
    if (team_look(w, &one, 0, err) < 0 || (here.len && (archive = make_archive(&here, &there, err)) < 0))
        return -1;
    parts = xcalloc(w->members.len + 1, sizeof(*parts));
    for (size_t i = 0; i < w->members.len; i++) {
        parts[i] = (struct part){.id = w->members.items[i].row.id, .gone = &gone, .archive = archive};
        acts_do(&acts, acts_add(&acts, ""), NULL, NULL, sync_one, &parts[i]);
    }
    return acts_run(&acts, w->app, NULL, 0, err);
}
