#include "backends/engine/img_tar.h"

#include "backends/engine/img_tar_head.h"
#include "backends/engine/img_view.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CHUNK       (256u << 10)
#define PATH_ROOM   (2 * LIMIT_PATH)
#define XATTR_MAX   (64u << 10) /* the kernel's own limit of a list and of a value */
#define LINK_SLOTS  4096u
#define WHITEOUT    ".wh."
#define OPAQUE_NAME ".wh..wh..opq"

/* Part of format 1: changing any of these is another format. */
#define SPARSE_BLOCK   (64u << 10)  /* contents are looked at in such pieces */
#define SPARSE_RUN     (1 << 20)    /* zeros shorter than this are written like any data */
#define SPARSE_WORTH   (16ll << 20) /* zeros that make a file sparse */
#define SPARSE_EXTENTS 4096u        /* of one file; what comes after is written with its zeros */

/* A file of several names and the first of them. */
struct seen {
    struct seen *next;
    dev_t dev;
    ino_t ino;
    char *name;
};

struct extent {
    int64_t at, len;
};

struct taring {
    const struct img_tar *what;
    int64_t pos;     /* in the tar */
    int64_t content; /* of the files so far */
    struct buf path; /* of the entry at work, relative; a folder's ends with "/" */
    struct seen **links;
    char *chunk;
};

/* ---- bytes ---- */

static int check_cancelled(const struct taring *t, struct err *err)
{
    return t->what->cancelled && atomic_load(t->what->cancelled) ? err_set(err, 0, "context canceled") : 0;
}

/* Gives the sink what it has not had. */
static int put(struct taring *t, const void *bytes, size_t len, struct err *err)
{
    int64_t start = t->pos, skip = t->what->from - start;

    t->pos += (int64_t)len;
    if (check_cancelled(t, err) < 0)
        return -1;
    if (skip >= (int64_t)len)
        return 0;
    if (skip < 0)
        skip = 0;
    return t->what->sink((const char *)bytes + skip, len - (size_t)skip, t->what->arg, err);
}

static int put_padding(struct taring *t, int64_t len, struct err *err)
{
    static const char zeros[TAR_BLOCK];
    size_t over = (size_t)(len % TAR_BLOCK);

    return over ? put(t, zeros, TAR_BLOCK - over, err) : 0;
}

static int trouble(const struct taring *t, const char *what, struct err *err)
{
    return err_set_errno(err, 0, errno, "%s /%s", what, t->path.data);
}

/* A piece of a file. What the sink does not want is not read. */
static int put_data(struct taring *t, int fd, int64_t at, int64_t len, struct err *err)
{
    if (t->pos + len <= t->what->from) {
        t->pos += len;
        return 0;
    }
    while (len) {
        size_t want = len < (int64_t)CHUNK ? (size_t)len : CHUNK;
        ssize_t n = pread(fd, t->chunk, want, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return trouble(t, "reading", err);
        if (n == 0)
            return err_set(err, 0, "/%s became shorter while it was read", t->path.data);
        if (put(t, t->chunk, (size_t)n, err) < 0)
            return -1;
        at += n;
        len -= n;
    }
    return 0;
}

static int put_head(struct taring *t, const struct img_tar_head *head, struct err *err)
{
    struct buf out cleanup_buf = BUF_INIT(TAR_HEAD_MAX);

    if (img_tar_head(&out, head) < 0)
        return err_set(err, 0, "/%s: its attributes are too large for an archive", t->path.data);
    return put(t, out.data, out.len, err);
}

/* ---- attributes ---- */

/* Those that our own unpacking takes as well; a name with "=" cannot be told in PAX. */
static bool keeps_xattr(const char *name)
{
    if (strchr(name, '='))
        return false;
    return strcmp(name, "security.capability") == 0 ||
           (strncmp(name, "user.", 5) == 0 && strncmp(name, "user.overlay.", 13) != 0);
}

/* The extended attributes of an open file or folder as PAX records, by name. */
static int read_xattrs(const struct taring *t, int fd, struct buf *records, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    cleanup_free char *room = NULL;
    char few[512];
    const char *list = few;
    ssize_t len = flistxattr(fd, few, sizeof(few));

    if (len < 0 && errno == ERANGE) {
        list = room = xmalloc(XATTR_MAX);
        len = flistxattr(fd, room, XATTR_MAX);
    }
    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(list + at) + 1) {
        if (keeps_xattr(list + at))
            strlist_add(&names, list + at);
    }
    strlist_sort(&names);
    for (size_t i = 0; i < names.len; i++) {
        cleanup_free char *key = xasprintf("SCHILY.xattr.%s", names.items[i]), *value = xmalloc(XATTR_MAX);
        ssize_t n = fgetxattr(fd, names.items[i], value, XATTR_MAX);

        if (n < 0)
            return trouble(t, "reading an attribute of", err);
        if (img_tar_record(records, key, value, (size_t)n) < 0)
            return err_set(err, 0, "/%s: its attributes are too large for an archive", t->path.data);
    }
    return 0;
}

static struct img_tar_head head_of(const struct taring *t, const struct stat *st, char type)
{
    return (struct img_tar_head){.name = t->path.data,
                                 .type = type,
                                 .mode = st->st_mode & 07777,
                                 .uid = st->st_uid,
                                 .gid = st->st_gid,
                                 .real_size = -1,
                                 .mtime = st->st_mtim};
}

/* ---- hard links ---- */

/* The first name of a file that has come before; NULL the first time, which is remembered. */
static const char *seen_before(struct taring *t, const struct stat *st)
{
    struct seen **slot = &t->links[(st->st_ino ^ st->st_dev) % LINK_SLOTS], *s;

    for (s = *slot; s; s = s->next) {
        if (s->ino == st->st_ino && s->dev == st->st_dev)
            return s->name;
    }
    s = xcalloc(1, sizeof(*s));
    *s = (struct seen){.next = *slot, .dev = st->st_dev, .ino = st->st_ino, .name = xstrdup(t->path.data)};
    *slot = s;
    return NULL;
}

static void forget_links(struct taring *t)
{
    for (size_t i = 0; i < LINK_SLOTS; i++) {
        for (struct seen *s = t->links[i], *next; s; s = next) {
            next = s->next;
            free(s->name);
            free(s);
        }
    }
    free(t->links);
}

/* ---- sparse files ---- */

static bool all_zero(const char *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* Whether a block holds zeros only; most blocks of most files say no with their first bytes. */
static int is_zero_block(struct taring *t, int fd, int64_t at, size_t len, struct err *err)
{
    for (size_t done = 0, step = len < 512 ? len : 512; done < len; done += step, step = len - done) {
        ssize_t n = pread(fd, t->chunk, step, at + (int64_t)done);

        if (n < 0 || (size_t)n != step)
            return n < 0 ? trouble(t, "reading", err) : err_set(err, 0, "/%s became shorter", t->path.data);
        if (!all_zero(t->chunk, step))
            return 0;
    }
    return 1;
}

struct map {
    struct extent *extents;
    size_t len;
    int64_t data, zeros; /* sums */
};

/* The end of a run of zeros: short ones belong to the data before them. A file that ends in zeros ends with an extent
 * of no length, as GNU tar writes it. */
static void end_run(struct map *m, int64_t from, int64_t to)
{
    struct extent *last = m->len ? &m->extents[m->len - 1] : NULL;

    if (to - from < SPARSE_RUN || m->len == SPARSE_EXTENTS) {
        if (last)
            last->len = to - last->at;
        else if (to > from)
            m->extents[m->len++] = (struct extent){from, to - from};
        return;
    }
    m->zeros += to - from;
    m->extents[m->len++] = (struct extent){to, 0};
}

/* Divides a file into data and long runs of zeros. */
static int map_file(struct taring *t, int fd, int64_t size, struct map *m, struct err *err)
{
    int64_t run = 0; /* where the zeros at work began */

    m->extents = xcalloc(SPARSE_EXTENTS + 1, sizeof(*m->extents));
    for (int64_t at = 0; at < size;) {
        size_t len = size - at < (int64_t)SPARSE_BLOCK ? (size_t)(size - at) : SPARSE_BLOCK;
        int64_t data;
        int zero;

        if (check_cancelled(t, err) < 0)
            return -1;
        data = lseek(fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            data = size;
        if (data >= at + (int64_t)len) { /* a hole: no need to look */
            at = data >= size ? size : data - data % SPARSE_BLOCK;
            continue;
        }
        zero = is_zero_block(t, fd, at, len, err);
        if (zero < 0)
            return -1;
        at += (int64_t)len;
        if (zero)
            continue;
        if (run < at - (int64_t)len || !m->len)
            end_run(m, run, at - (int64_t)len);
        if (!m->len)
            m->extents[m->len++] = (struct extent){run, 0};
        m->extents[m->len - 1].len = at - m->extents[m->len - 1].at;
        run = at;
    }
    if (run < size)
        end_run(m, run, size);
    for (size_t i = 0; i < m->len; i++)
        m->data += m->extents[i].len;
    return 0;
}

/* GNU's sparse format 1.0: the map as text, padded, before the data. */
static int put_sparse(struct taring *t, int fd, struct img_tar_head *head, const struct map *m, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(TAR_PAX_MAX);

    buf_addf(&text, "%zu\n", m->len);
    for (size_t i = 0; i < m->len; i++)
        buf_addf(&text, "%lld\n%lld\n", (long long)m->extents[i].at, (long long)m->extents[i].len);
    while (text.len % TAR_BLOCK)
        buf_addc(&text, '\0');
    if (text.overflowed)
        return err_set(err, 0, "/%s has too many holes", t->path.data);
    head->size = (int64_t)text.len + m->data;
    if (put_head(t, head, err) < 0 || put(t, text.data, text.len, err) < 0)
        return -1;
    for (size_t i = 0; i < m->len; i++) {
        if (put_data(t, fd, m->extents[i].at, m->extents[i].len, err) < 0)
            return -1;
    }
    return put_padding(t, head->size, err);
}

/* ---- entries ---- */

static int put_file(struct taring *t, int dir, const char *name, const struct stat *st, struct err *err)
{
    struct buf records cleanup_buf = BUF_INIT(TAR_PAX_MAX / 2);
    struct img_tar_head head = head_of(t, st, '0');
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct map map = {0};
    int ret;

    if (fd < 0)
        return trouble(t, "opening", err);
    if (read_xattrs(t, fd, &records, err) < 0)
        return -1;
    head.records = &records;
    t->content += st->st_size;
    if (st->st_size >= SPARSE_WORTH) {
        ret = map_file(t, fd, st->st_size, &map, err);
        if (ret == 0 && map.zeros >= SPARSE_WORTH) {
            head.real_size = st->st_size;
            ret = put_sparse(t, fd, &head, &map, err);
            free(map.extents);
            return ret;
        }
        free(map.extents);
        if (ret < 0)
            return -1;
    }
    head.size = st->st_size;
    if (put_head(t, &head, err) < 0 || put_data(t, fd, 0, st->st_size, err) < 0)
        return -1;
    return put_padding(t, st->st_size, err);
}

static int put_symlink(struct taring *t, int dir, const char *name, const struct stat *st, struct err *err)
{
    struct img_tar_head head = head_of(t, st, '2');
    char text[LIMIT_PATH];
    ssize_t n = readlinkat(dir, name, text, sizeof(text) - 1);

    if (n < 0)
        return trouble(t, "reading", err);
    text[n] = '\0';
    head.link = text;
    head.mode = 0777;
    return put_head(t, &head, err);
}

static int put_node(struct taring *t, const struct stat *st, struct err *err)
{
    struct img_tar_head head = head_of(t, st, S_ISCHR(st->st_mode) ? '3' : S_ISBLK(st->st_mode) ? '4' : '6');

    if (!S_ISFIFO(st->st_mode)) {
        head.major = major(st->st_rdev);
        head.minor = minor(st->st_rdev);
    }
    return put_head(t, &head, err);
}

/* An empty file whose name says what it means. */
static int put_mark(struct taring *t, const char *name, struct err *err)
{
    const struct img_tar_head head = {.name = name, .type = '0', .real_size = -1};

    return put_head(t, &head, err);
}

/* The device 0:0 at the path means that this name is gone. */
static int put_whiteout(struct taring *t, size_t parent, const char *name, struct err *err)
{
    cleanup_free char *mark = xasprintf("%.*s" WHITEOUT "%s", (int)parent, t->path.data, name);

    return put_mark(t, mark, err);
}

static int put_dir(struct taring *t, int fd, struct err *err);

static int put_folder(struct taring *t, int dir, const char *name, const struct stat *st, struct err *err)
{
    struct buf records cleanup_buf = BUF_INIT(TAR_PAX_MAX / 2);
    struct img_tar_head head = {0};
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int ret = -1;

    if (fd < 0)
        return trouble(t, "opening", err);
    buf_addc(&t->path, '/');
    head = head_of(t, st, '5');
    head.records = &records;
    if (read_xattrs(t, fd, &records, err) == 0 && put_head(t, &head, err) == 0)
        ret = put_dir(t, fd, err);
    close(fd);
    return ret;
}

/* What stands at one name of a folder. */
static int put_entry(struct taring *t, int dir, size_t parent, const char *name, struct err *err)
{
    const char *first;
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return trouble(t, "looking at", err);
    if (img_is_whiteout(&st))
        return put_whiteout(t, parent, name, err);
    if (strncmp(name, WHITEOUT, strlen(WHITEOUT)) == 0 || S_ISSOCK(st.st_mode))
        return 0;
    if (S_ISDIR(st.st_mode))
        return put_folder(t, dir, name, &st, err);
    if (st.st_nlink > 1 && (first = seen_before(t, &st))) {
        struct img_tar_head head = head_of(t, &st, '1');

        head.link = first;
        return put_head(t, &head, err);
    }
    if (S_ISREG(st.st_mode))
        return put_file(t, dir, name, &st, err);
    return S_ISLNK(st.st_mode) ? put_symlink(t, dir, name, &st, err) : put_node(t, &st, err);
}

static int list_names(const struct taring *t, int fd, struct strlist *ret, struct err *err)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_dir DIR *d = again < 0 ? NULL : fdopendir(again);
    const struct dirent *e;

    if (!d)
        return trouble(t, "reading", err);
    for (errno = 0; (e = readdir(d)); errno = 0) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            strlist_add(ret, e->d_name);
    }
    if (errno)
        return trouble(t, "reading", err);
    strlist_sort(ret);
    return 0;
}

/* What is in a folder; the path is the folder's own, "" or with its "/". */
static int put_dir(struct taring *t, int fd, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    size_t parent = t->path.len;

    if (img_is_opaque(fd)) {
        cleanup_free char *mark = xasprintf("%s" OPAQUE_NAME, t->path.data);

        if (put_mark(t, mark, err) < 0)
            return -1;
    }
    if (list_names(t, fd, &names, err) < 0)
        return -1;
    for (size_t i = 0; i < names.len; i++) {
        if (buf_adds(&t->path, names.items[i]) < 0)
            return err_set(err, 0, "/%.60s...: file name too long", t->path.data);
        if (put_entry(t, fd, parent, names.items[i], err) < 0)
            return -1;
        buf_truncate(&t->path, parent);
    }
    return 0;
}

/* The root has an entry only when it says something that any root has not. */
static int put_root(struct taring *t, int fd, struct err *err)
{
    struct buf records cleanup_buf = BUF_INIT(TAR_PAX_MAX / 2);
    struct img_tar_head head;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return trouble(t, "looking at", err);
    if (read_xattrs(t, fd, &records, err) < 0)
        return -1;
    if ((st.st_mode & 07777) == 0755 && st.st_uid == 0 && st.st_gid == 0 && !records.len)
        return 0;
    head = head_of(t, &st, '5');
    head.name = "./";
    head.records = &records;
    return put_head(t, &head, err);
}

int img_tar_write(const struct img_tar *tar, int64_t *ret_size, struct err *err)
{
    static const char end[2 * TAR_BLOCK];
    cleanup_close int fd = -1;
    struct taring t = {.what = tar, .path = BUF_INIT(PATH_ROOM)};
    int ret = -1;

    if (tar->format != IMG_TAR_FORMAT)
        return err_set(err, 0, "layers of format %u are not known to this engine", tar->format);
    fd = open(tar->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_set_errno(err, 0, errno, "opening %s", tar->dir);
    t.links = xcalloc(LINK_SLOTS, sizeof(struct seen *));
    t.chunk = xmalloc(CHUNK);
    if (put_root(&t, fd, err) == 0 && put_dir(&t, fd, err) == 0)
        ret = put(&t, end, sizeof(end), err);
    if (ret == 0 && ret_size)
        *ret_size = t.pos;
    if (ret == 0 && tar->ret_content)
        *tar->ret_content = t.content;
    forget_links(&t);
    free(t.chunk);
    buf_clear(&t.path);
    return ret;
}
