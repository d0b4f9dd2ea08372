#include "backends/engine/vol.h"

#include "backends/engine/ids.h"
#include "backends/engine/log.h"
#include "backends/engine/vol_view.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/beneath.h"
#include "compat/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define COMMIT_MS       5000 /* between background commits */
#define EPHEMERAL_LASTS 900  /* seconds without a heartbeat, which comes every 300 */
#define PIECE           (256u << 10)

/* ---- one volume on disk ---- */

/* The folder of a volume, made if it is missing. */
static int folder_of(const struct volumes *v, const struct volume *vol, struct err *err)
{
    int fd;

    if (mkdirat(v->dirfd, vol->id, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, 125, errno, "making the volume %s", vol->id);
    fd = openat(v->dirfd, vol->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 ? fd : err_set_errno(err, 125, errno, "opening the volume %s", vol->id);
}

static int save_about(const struct volumes *v, const struct volume *vol, struct err *err)
{
    cleanup_close int dir = folder_of(v, vol, err);
    json_t *about;
    int fd, rc = -1;

    if (dir < 0)
        return -1;
    about = json_pack("{s:s, s:s, s:i, s:f}", "environment", vol->environment, "name", vol->name, "version",
                      vol->version, "created_at", vol->created_at);
    fd = openat(dir, "volume.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && json_dumpfd(about, fd, 0) == 0 && fsync(fd) == 0)
        rc = renameat(dir, "volume.json.new", dir, "volume.json");
    if (rc < 0)
        err_set_errno(err, 125, errno, "writing the volume %s", vol->id);
    if (fd >= 0)
        close(fd);
    json_decref(about);
    return rc;
}

static void volume_free(struct volume *vol)
{
    free(vol->id);
    free(vol->environment);
    free(vol->name);
    vol_tree_clear(&vol->tree);
    free(vol);
}

/* Newest first. */
static void add(struct volumes *v, struct volume *vol)
{
    struct volume **p = &v->newest;

    while (*p && (*p)->created_at > vol->created_at)
        p = &(*p)->next;
    vol->next = *p;
    *p = vol;
}

/* One that cannot be read is left where it is, and told. */
static void load(struct volumes *v, const char *id)
{
    cleanup_close int dir = openat(v->dirfd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), fd = -1;
    struct volume *vol = xcalloc(1, sizeof(*vol));
    cleanup_err struct err err = ERR_INIT;
    const char *environment = NULL, *name = NULL;
    json_t *about = NULL;

    if (dir >= 0)
        fd = openat(dir, "volume.json", O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        about = json_loadfd(fd, 0, NULL);
    if (about &&
        json_unpack(about, "{s:s, s:s, s:i, s:F}", "environment", &environment, "name", &name, "version", &vol->version,
                    "created_at", &vol->created_at) == 0 &&
        vol_tree_load(dir, "tree.json", &vol->tree, &err) == 0) {
        vol->id = xstrdup(id);
        vol->environment = xstrdup(environment);
        vol->name = xstrdup(name);
        add(v, vol);
    } else {
        log_line("the volume %s cannot be read: %s", id, err.msg ? err.msg : "its description is missing");
        volume_free(vol);
    }
    json_decref(about);
}

static int load_all(struct volumes *v, struct err *err)
{
    cleanup_dir DIR *d = opendir(v->dir);
    struct dirent *entry;

    if (!d)
        return err_set_errno(err, 125, errno, "opening %s", v->dir);
    while ((entry = readdir(d)) != NULL)
        if (strncmp(entry->d_name, "vo-", 3) == 0)
            load(v, entry->d_name);
    return 0;
}

static void on_time(uv_timer_t *timer)
{
    struct volumes *v = timer->data;

    vol_views_commit_all(v);
    for (struct volume *vol = v->newest, *next; vol; vol = next) {
        next = vol->next;
        if (!vol->name && unix_now() - vol->heard > EPHEMERAL_LASTS)
            volume_delete(v, vol);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

struct volumes *volumes_new(const char *state_dir, uv_loop_t *loop, struct err *err)
{
    struct volumes *v = xcalloc(1, sizeof(*v));
    cleanup_free char *content = NULL, *views = NULL;

    v->dirfd = v->content_fd = -1;
    v->dir = xasprintf("%s/volumes", state_dir);
    content = xasprintf("%s/content", v->dir);
    views = xasprintf("%s/views", v->dir);
    if (fs_mkdirs(v->dir, 0700, err) == 0 && fs_mkdirs(content, 0700, err) == 0) {
        v->dirfd = open(v->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        v->content_fd = open(content, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    /* what containers of an engine that was killed had not committed is gone, as it is with a lost machine */
    if (v->content_fd >= 0 && beneath_remove_tree(v->dirfd, "views") < 0)
        log_line("views of volumes are left: %s", strerror(errno));
    if (v->content_fd < 0 || fs_mkdirs(views, 0700, err) < 0 || load_all(v, err) < 0) {
        err_wrap(err, "opening the volumes");
        volumes_free(v);
        return NULL;
    }
    content_sweep(v);
    if (loop) {
        v->commits = xcalloc(1, sizeof(*v->commits));
        uv_timer_init(loop, v->commits);
        v->commits->data = v;
        uv_timer_start(v->commits, on_time, COMMIT_MS, COMMIT_MS);
        uv_unref((uv_handle_t *)v->commits);
    }
    return v;
}

void volumes_free(struct volumes *v)
{
    if (!v)
        return;
    while (v->newest) {
        struct volume *vol = v->newest;

        v->newest = vol->next;
        volume_free(vol);
    }
    if (v->commits)
        uv_close((uv_handle_t *)v->commits, on_timer_closed);
    if (v->content_fd >= 0)
        close(v->content_fd);
    if (v->dirfd >= 0)
        close(v->dirfd);
    strlist_clear(&v->block_hashes);
    strlist_clear(&v->block_blobs);
    free(v->dir);
    free(v);
}

/* ---- volumes ---- */

struct volume *volume_by_id(const struct volumes *v, const char *id)
{
    for (struct volume *vol = v->newest; vol; vol = vol->next)
        if (strcmp(vol->id, id) == 0)
            return vol;
    return NULL;
}

struct volume *volume_by_name(const struct volumes *v, const char *environment, const char *name)
{
    for (struct volume *vol = v->newest; vol; vol = vol->next)
        if (vol->name && strcmp(vol->name, name) == 0 && strcmp(vol->environment, environment) == 0)
            return vol;
    return NULL;
}

struct volume *volume_create(struct volumes *v, const char *environment, const char *name, int version, struct err *err)
{
    struct volume *vol = xcalloc(1, sizeof(*vol));

    vol->id = id_new("vo");
    vol->environment = xstrdup(environment);
    vol->name = name ? xstrdup(name) : NULL;
    vol->version = version;
    vol->created_at = vol->heard = unix_now();
    if (v->newest && vol->created_at < v->newest->created_at + 0.001) /* lists go on by it */
        vol->created_at = v->newest->created_at + 0.001;
    if (name && save_about(v, vol, err) < 0) {
        volume_free(vol);
        return NULL;
    }
    add(v, vol);
    return vol;
}

int volume_rename(struct volumes *v, struct volume *vol, const char *name, struct err *err)
{
    char *old = vol->name;

    vol->name = xstrdup(name);
    if (save_about(v, vol, err) == 0) {
        free(old);
        return 0;
    }
    free(vol->name);
    vol->name = old;
    return -1;
}

void volume_delete(struct volumes *v, struct volume *vol)
{
    for (struct volume **p = &v->newest; *p; p = &(*p)->next)
        if (*p == vol) {
            *p = vol->next;
            break;
        }
    if (vol->name)
        beneath_remove_tree(v->dirfd, vol->id);
    volume_free(vol);
    content_sweep(v);
}

int volume_commit(struct volumes *v, struct volume *vol, struct err *err)
{
    cleanup_close int dir = -1;

    vol->generation++;
    if (!vol->name)
        return 0;
    dir = folder_of(v, vol, err);
    return dir < 0 ? -1 : vol_tree_save(dir, "tree.json", &vol->tree, err);
}

/* ---- contents ---- */

bool content_has(const struct volumes *v, const char *hash)
{
    return faccessat(v->content_fd, hash, F_OK, 0) == 0;
}

int content_open(const struct volumes *v, const char *hash, struct err *err)
{
    int fd = openat(v->content_fd, hash, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    return fd >= 0 ? fd : err_set_errno(err, 125, errno, "the contents %s of a volume", hash);
}

int content_temp(const struct volumes *v, char ret_name[32], struct err *err)
{
    int fd = beneath_temp_open(v->content_fd, ret_name);

    return fd >= 0 ? fd : err_set_errno(err, 125, errno, "writing to a volume");
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Gives the file its name, unless it is there already. */
static int keep(struct volumes *v, int fd, const char *temp, const char *hash, struct err *err)
{
    if (content_has(v, hash)) {
        unlinkat(v->content_fd, temp, 0);
        return 0;
    }
    if (fsync(fd) == 0 && renameat(v->content_fd, temp, v->content_fd, hash) == 0)
        return 0;
    err_set_errno(err, 125, errno, "writing to a volume");
    unlinkat(v->content_fd, temp, 0);
    return -1;
}

/* Reads from one descriptor to its end; what is read goes to another, if there is one. */
static int hash_fd(int from, int to, char ret_hash[65], uint64_t *ret_size)
{
    cleanup_free char *piece = xmalloc(PIECE);
    uint8_t digest[SHA256_LEN];
    struct sha256 sum;
    ssize_t n;

    *ret_size = 0;
    sha256_init(&sum);
    while ((n = read(from, piece, PIECE)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || (to >= 0 && write_all(to, piece, (size_t)n) < 0))
            return -1;
        sha256_update(&sum, piece, (size_t)n);
        *ret_size += (uint64_t)n;
    }
    sha256_final(&sum, digest);
    sha256_hex(digest, ret_hash);
    return 0;
}

int content_put_fd(struct volumes *v, int fd, char ret_hash[65], uint64_t *ret_size, struct err *err)
{
    char temp[BENEATH_TEMP_MAX];
    cleanup_close int to = content_temp(v, temp, err);

    if (to < 0)
        return -1;
    if (hash_fd(fd, to, ret_hash, ret_size) < 0) {
        err_set_errno(err, 125, errno, "writing to a volume");
        unlinkat(v->content_fd, temp, 0);
        return -1;
    }
    return keep(v, to, temp, ret_hash, err);
}

int content_put(struct volumes *v, const void *bytes, size_t len, char ret_hash[65], struct err *err)
{
    char temp[BENEATH_TEMP_MAX];
    uint8_t digest[SHA256_LEN];
    cleanup_close int to = -1;

    sha256(bytes, len, digest);
    sha256_hex(digest, ret_hash);
    if (content_has(v, ret_hash))
        return 0;
    to = content_temp(v, temp, err);
    if (to < 0)
        return -1;
    if (write_all(to, bytes, len) == 0)
        return keep(v, to, temp, ret_hash, err);
    err_set_errno(err, 125, errno, "writing to a volume");
    unlinkat(v->content_fd, temp, 0);
    return -1;
}

int content_keep(struct volumes *v, int fd, const char *temp, char ret_hash[65], uint64_t *ret_size, struct err *err)
{
    int rc = -1;

    if (lseek(fd, 0, SEEK_SET) == 0 && hash_fd(fd, -1, ret_hash, ret_size) == 0)
        rc = keep(v, fd, temp, ret_hash, err);
    else
        err_set_errno(err, 125, errno, "writing to a volume");
    close(fd);
    return rc;
}

void content_drop(const struct volumes *v, int fd, const char *temp)
{
    close(fd);
    unlinkat(v->content_fd, temp, 0);
}

static int compare_hashes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void content_sweep(struct volumes *v)
{
    cleanup_free char **needed = NULL;
    int list = dup(v->content_fd);
    cleanup_dir DIR *d = list >= 0 ? fdopendir(list) : NULL;
    struct dirent *entry;
    size_t len = 0, all = 0;

    for (const struct volume *vol = v->newest; vol; vol = vol->next)
        all += vol->tree.len;
    needed = xcalloc(all + 1, sizeof(*needed));
    for (const struct volume *vol = v->newest; vol; vol = vol->next)
        for (size_t i = 0; i < vol->tree.len; i++)
            if (S_ISREG(vol->tree.items[i].mode))
                needed[len++] = vol->tree.items[i].hash;
    qsort(needed, len, sizeof(*needed), compare_hashes);
    if (!d)
        return;
    rewinddir(d);
    while ((entry = readdir(d)) != NULL) {
        char *name = entry->d_name;

        if (name[0] != '.' && !bsearch(&name, needed, len, sizeof(*needed), compare_hashes))
            unlinkat(v->content_fd, name, 0);
    }
    beneath_temp_sweep_dir(v->content_fd);
}
