#include "backends/agent/layer_walk.h"

#include "backends/agent/agent.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/base/strlist.h"
#include "compat/sys/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define XATTR_NAMES_MAX (64u << 10) /* the system's own limit */
#define MOUNTS_MAX      65536u      /* a machine that mounts more of them into a container does not mean well */

/* A directory that is being gone through. */
struct level {
    int fd;
    struct strlist names;
    size_t at;
    size_t path_len; /* of the directory itself */
};

struct layer_walk {
    struct level levels[LIMIT_DEPTH + 1];
    size_t depth; /* levels in use */
    char path[LIMIT_PATH];
    size_t path_len;
    char *link;            /* owned; of the last one */
    struct strlist hidden; /* paths without their slash at the start, sorted */
    int dir;               /* borrowed: that holds the last one */
    const char *name;      /* borrowed: the last one in it */
    struct stat st;
    uint32_t entries;
};

/* ---- what is not part of the image ---- */

/* "\040" and the like, as the kernel writes blanks in paths. */
static void unescape(char *s)
{
    char *to = s;

    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

/* Every mount point but the root; what a system without /proc has is in the list below. */
static void add_mounts(struct strlist *hidden)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    cleanup_free char *line = NULL;
    size_t cap = 0;

    while (f && hidden->len < MOUNTS_MAX && getline(&line, &cap, f) > 0) {
        char *at = line;

        for (int field = 0; at && field < 4; field++)
            at = (at = strchr(at, ' ')) ? at + 1 : NULL;
        if (!at || at[0] != '/' || !strchr(at, ' '))
            continue;
        *strchr(at, ' ') = '\0';
        unescape(at);
        if (at[1])
            strlist_add(hidden, at + 1);
    }
    if (f)
        fclose(f);
}

static void add_hidden(struct strlist *hidden)
{
    static const char *const always[] = {"proc", "sys", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf"};

    strlist_add(hidden, AGENT_HIDDEN_DIR + 1);
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        strlist_add(hidden, always[i]);
    add_mounts(hidden);
    strlist_sort(hidden);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, *(char *const *)b);
}

static bool is_hidden(const struct layer_walk *w)
{
    return bsearch(w->path, w->hidden.items, w->hidden.len, sizeof(*w->hidden.items), by_text) != NULL ||
           beneath_temp_ours(w->name);
}

/* ---- extended attributes ---- */

/* What images hold: file capabilities, and what users wrote. The rest is the machine's own bookkeeping. */
static bool xattr_travels(const char *name)
{
    return !strcmp(name, "security.capability") ||
           (!strncmp(name, "user.", 5) && strncmp(name, "user.overlay.", 13) && strncmp(name, "user.containers.", 16) &&
            strncmp(name, "user.fuseoverlayfs.", 19));
}

/* One of them. What vanished is not there, what is too long for a layer stays behind. */
static int tell_xattr(const char *full, const char *name, layer_xattr_fn *each, void *arg, struct err *err)
{
    static char value[TREE_CHUNK];
    ssize_t len = lgetxattr(full, name, value, sizeof(value));

    return len < 0 ? 0 : each(arg, name, value, (size_t)len, err);
}

int layer_xattrs(const char *path, layer_xattr_fn *each, void *arg, struct err *err)
{
    static char names[XATTR_NAMES_MAX + 1];
    cleanup_free char *full = xasprintf("/%s", path);
    cleanup_strlist struct strlist sorted = STRLIST_INIT;
    ssize_t len = llistxattr(full, names, XATTR_NAMES_MAX);

    if (len <= 0) /* none, or a file system that knows none */
        return 0;
    names[len] = '\0';
    for (const char *name = names; name < names + len; name += strlen(name) + 1)
        if (xattr_travels(name) && sorted.len < TREE_XATTRS_MAX && strlen(name) <= LIMIT_NAME)
            strlist_add(&sorted, name);
    strlist_sort(&sorted);
    for (size_t i = 0; i < sorted.len; i++)
        if (tell_xattr(full, sorted.items[i], each, arg, err) < 0)
            return -1;
    return 0;
}

struct xattr_digest {
    struct sha256 sum;
    bool some;
};

static int digest_xattr(void *arg, const char *name, const void *value, size_t len, struct err *err)
{
    struct xattr_digest *d = arg;
    uint64_t size = len;

    (void)err;
    d->some = true;
    sha256_update(&d->sum, name, strlen(name) + 1);
    sha256_update(&d->sum, &size, sizeof(size));
    sha256_update(&d->sum, value, len);
    return 0;
}

static uint64_t xattrs_digest(const char *path)
{
    struct xattr_digest d = {.some = false};
    uint8_t digest[SHA256_LEN];
    uint64_t ret;

    sha256_init(&d.sum);
    layer_xattrs(path, digest_xattr, &d, NULL);
    sha256_final(&d.sum, digest);
    memcpy(&ret, digest, sizeof(ret));
    return d.some ? ret | 1 : 0;
}

/* ---- the walk ---- */

static int fail_errno(const struct layer_walk *w, const char *what, struct err *err)
{
    return err_set_errno(err, 1, errno, "%s /%s", what, w->path);
}

/* Reads the names of a directory and goes into it; fd is taken. */
static int enter(struct layer_walk *w, int fd, struct err *err)
{
    struct level *level = &w->levels[w->depth];
    cleanup_dir DIR *dir = NULL;
    struct dirent *d;

    if (w->depth > LIMIT_DEPTH - 1) {
        close(fd);
        return err_set(err, 1, "/%s is nested too deep", w->path);
    }
    *level = (struct level){.fd = fd, .names = STRLIST_INIT, .path_len = w->path_len};
    w->depth++;
    dir = fdopendir(dup(fd));
    if (!dir)
        return fail_errno(w, "reading", err);
    while (errno = 0, (d = readdir(dir))) {
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        if (level->names.len >= LIMIT_ENTRIES)
            return err_set(err, 1, "/%s has more than %u files", w->path, LIMIT_ENTRIES);
        strlist_add(&level->names, d->d_name);
    }
    if (errno)
        return fail_errno(w, "reading", err);
    strlist_sort(&level->names);
    return 0;
}

struct layer_walk *layer_walk_new(struct err *err)
{
    struct layer_walk *w = xcalloc(1, sizeof(*w));
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        fail_errno(w, "open", err);
    if (fd < 0 || enter(w, fd, err) < 0) {
        layer_walk_free(w);
        return NULL;
    }
    add_hidden(&w->hidden);
    return w;
}

static void leave(struct layer_walk *w)
{
    struct level *level = &w->levels[--w->depth];

    close(level->fd);
    strlist_clear(&level->names);
}

void layer_walk_free(struct layer_walk *w)
{
    if (!w)
        return;
    while (w->depth)
        leave(w);
    strlist_clear(&w->hidden);
    free(w->link);
    free(w);
}

/* Puts the next name of the innermost directory behind its path: 1, 0 = it has no more. */
static int next_name(struct layer_walk *w, struct err *err)
{
    struct level *level = &w->levels[w->depth - 1];
    size_t at = level->path_len, len;

    if (level->at == level->names.len)
        return 0;
    w->dir = level->fd;
    w->name = level->names.items[level->at++];
    len = strlen(w->name);
    if (at + 1 + len >= sizeof(w->path))
        return err_set(err, 1, "/%s/%s is too long a path", w->path, w->name);
    if (at)
        w->path[at++] = '/';
    memcpy(w->path + at, w->name, len + 1);
    w->path_len = at + len;
    return 1;
}

/* Is something below the directory not part of the image? Making that has changed the directory's time. */
static bool holds_hidden(const struct layer_walk *w)
{
    for (size_t i = 0; i < w->hidden.len; i++) {
        const char *slash = strrchr(w->hidden.items[i], '/');

        if (slash && (size_t)(slash - w->hidden.items[i]) == w->path_len &&
            !strncmp(w->hidden.items[i], w->path, w->path_len))
            return true;
    }
    return false;
}

/* What stands there: 1, 0 = nothing that an image can hold, or it vanished. */
static int look_at(struct layer_walk *w, struct tree_look *ret, struct err *err)
{
    struct tree_look l = {0};

    if (beneath_stat(w->dir, w->name, &w->st) < 0)
        return errno == ENOENT ? 0 : fail_errno(w, "lstat", err);
    l.entry = (struct tree_entry){.type = tree_type_of(w->st.st_mode),
                                  .block = S_ISBLK(w->st.st_mode),
                                  .mode = S_ISLNK(w->st.st_mode) ? 0777 : w->st.st_mode & 07777,
                                  .uid = w->st.st_uid,
                                  .gid = w->st.st_gid,
                                  .mtime = beneath_mtime(&w->st),
                                  .size = S_ISREG(w->st.st_mode) ? (uint64_t)w->st.st_size : 0,
                                  .path = w->path,
                                  .link = ""};
    if (l.entry.type == TREE_DEVICE) {
        l.entry.major = major(w->st.st_rdev);
        l.entry.minor = minor(w->st.st_rdev);
    }
    if (l.entry.type == TREE_SYMLINK) {
        free(w->link);
        l.entry.link = w->link = beneath_readlink(w->dir, w->name);
    }
    if (!l.entry.type || !l.entry.link || !tree_path_ok(w->path))
        return 0;
    if (l.entry.type == TREE_DIR && holds_hidden(w))
        l.entry.mtime = 0;
    l.links = l.entry.type == TREE_DIR ? 0 : (uint32_t)w->st.st_nlink;
    l.xattrs = xattrs_digest(w->path);
    l.changed = l.entry.size ? beneath_ctime(&w->st) : 0;
    *ret = l;
    return 1;
}

int layer_walk_next(struct layer_walk *w, struct tree_look *ret, struct err *err)
{
    while (w->depth) {
        int got = next_name(w, err);

        if (got < 0)
            return -1;
        if (got == 0) {
            leave(w);
            continue;
        }
        if (is_hidden(w) || (got = look_at(w, ret, err)) == 0)
            continue;
        if (got > 0 && ++w->entries > LIMIT_ENTRIES)
            return err_set(err, 1, "the image has more than %u files", LIMIT_ENTRIES);
        if (got > 0 && ret->entry.type == TREE_DIR) {
            int fd = beneath_child_list(w->dir, w->name);

            if (fd < 0)
                return fail_errno(w, "open", err);
            return enter(w, fd, err) < 0 ? -1 : 1;
        }
        return got;
    }
    return 0;
}

const struct stat *layer_walk_stat(const struct layer_walk *w)
{
    return &w->st;
}

int layer_walk_open(const struct layer_walk *w, struct stat *ret)
{
    return beneath_read_open(w->dir, w->name, ret);
}

int layer_walk_digest(const struct layer_walk *w, uint64_t *ret, struct err *err)
{
    static char bytes[128u << 10];
    struct stat st;
    cleanup_close int fd = layer_walk_open(w, &st);
    uint8_t digest[SHA256_LEN];
    struct sha256 sum;
    ssize_t n = fd < 0 ? -1 : 1;

    sha256_init(&sum);
    while (n > 0) {
        n = read(fd, bytes, sizeof(bytes));
        if (n > 0)
            sha256_update(&sum, bytes, (size_t)n);
    }
    if (n < 0)
        return fail_errno(w, "reading", err);
    sha256_final(&sum, digest);
    memcpy(ret, digest, sizeof(*ret));
    *ret |= 1;
    return 0;
}
