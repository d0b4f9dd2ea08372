/* The files of volumes from outside: put, fetched, listed, removed, copied (protocol 4.4, 4.5). */
#include "backends/engine/blobs.h"
#include "backends/engine/engine.h"
#include "backends/engine/images.h"
#include "backends/engine/svc.h"
#include "backends/engine/svc_volume.h"
#include "backends/engine/vol.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define INLINE_MAX (4u << 20) /* of VolumeGetFile; longer pieces come as a blob */
#define LIST_PIECE 500        /* entries of one message */

static int64_t wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* A request's path, or NULL when the call was ended. */
static char *path_of(struct call *c, const char *path)
{
    cleanup_err struct err err = ERR_INIT;
    char *clean = vol_path(svc_text(path), &err);

    if (!clean)
        call_fail_err(c, GRPC_INVALID_ARGUMENT, &err);
    return clean;
}

/* A file appears in the volume. */
int svc_volume_put(struct volume *vol, const char *path, mode_t mode, const char *hash, uint64_t size, struct err *err)
{
    struct vol_entry e = {.mode = S_IFREG | (mode & 0777), .size = size, .mtime_ns = wall_ns()};

    e.path = vol_path(path, err);
    if (!e.path || !*e.path) {
        vol_entry_clear(&e);
        return svc_err(err, GRPC_INVALID_ARGUMENT, "not a path of a file: \"%s\"", path);
    }
    memcpy(e.hash, hash, strlen(hash) + 1);
    return vol_tree_put(&vol->tree, &e, err);
}

int svc_volume_check_free(const struct volume *vol, const char *path, struct err *err)
{
    cleanup_free char *clean = vol_path(path, NULL);

    if (clean && vol_tree_find(&vol->tree, clean))
        return svc_err(err, GRPC_ALREADY_EXISTS, "%s: already exists", clean);
    return 0;
}

static void finish(struct call *c, struct volume *vol, int rc, struct err *err)
{
    if (rc == 0)
        rc = volume_commit(c->engine->volumes, vol, err);
    content_sweep(c->engine->volumes);
    if (rc < 0)
        svc_fail(c, err);
}

/* ---- version 1: contents were uploaded as those of mounts ---- */

static int put_v1(struct call *c, struct volume *vol, const Modal__Client__MountFile *file, struct err *err)
{
    char hash[65];
    uint64_t size;
    cleanup_close int fd = images_open_file(c->engine->images, svc_text(file->sha256_hex), err);

    if (fd < 0)
        return svc_err(err, GRPC_FAILED_PRECONDITION, "the contents of %s were not uploaded", svc_text(file->filename));
    if (content_put_fd(c->engine->volumes, fd, hash, &size, err) < 0)
        return -1;
    return svc_volume_put(vol, svc_text(file->filename), file->has_mode ? file->mode : 0644, hash, size, err);
}

static void volume_put_files(struct call *c, const void *request)
{
    const Modal__Client__VolumePutFilesRequest *r = request;
    struct volume *vol = svc_volume(c, r->volume_id);
    cleanup_err struct err err = ERR_INIT;
    int rc = 0;

    if (!vol)
        return;
    for (size_t i = 0; rc == 0 && r->disallow_overwrite_existing_files && i < r->n_files; i++)
        rc = svc_volume_check_free(vol, svc_text(r->files[i]->filename), &err);
    for (size_t i = 0; rc == 0 && i < r->n_files; i++)
        rc = put_v1(c, vol, r->files[i], &err);
    finish(c, vol, rc, &err);
    if (!c->ended)
        svc_reply_empty(c);
}

/* ---- fetching ---- */

/* The file that a request wants a piece of: -1 when the call was ended. */
static int open_piece(struct call *c, const char *volume_id, const char *path, uint64_t start, uint64_t *len,
                      uint64_t *ret_size)
{
    struct volume *vol = svc_volume(c, volume_id);
    cleanup_free char *clean = vol ? path_of(c, path) : NULL;
    const struct vol_entry *e = clean ? vol_tree_find(&vol->tree, clean) : NULL;
    cleanup_err struct err err = ERR_INIT;
    int fd;

    if (!clean)
        return -1;
    if (!e || !S_ISREG(e->mode)) {
        if (e && S_ISDIR(e->mode))
            call_fail(c, GRPC_INVALID_ARGUMENT, "%s is a directory", clean);
        else
            call_fail(c, GRPC_NOT_FOUND, "No such file: %s", clean);
        return -1;
    }
    if (start > e->size) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "%s has %llu bytes", clean, (unsigned long long)e->size);
        return -1;
    }
    if (!*len || *len > e->size - start)
        *len = e->size - start;
    *ret_size = e->size;
    fd = content_open(c->engine->volumes, e->hash, &err);
    if (fd < 0 || lseek(fd, (off_t)start, SEEK_SET) < 0)
        svc_fail(c, &err);
    return fd;
}

/* The next len bytes as a blob of their own; *ret_id is borrowed. */
static int as_blob(struct call *c, int fd, uint64_t len, const char **ret_id, const char **ret_key, struct err *err)
{
    cleanup_free char *bytes = xmalloc((size_t)len + 1);
    struct upload *u;
    size_t parts, got = 0;
    char md5[33];

    while (got < len) {
        ssize_t n = read(fd, bytes + got, (size_t)len - got);

        if (n <= 0)
            return svc_err(err, GRPC_INTERNAL, "the contents of a volume cannot be read");
        got += (size_t)n;
    }
    if (blobs_create(c->engine->blobs, len, ret_id, ret_key, &parts, err) < 0)
        return -1;
    u = blobs_upload(c->engine->blobs, *ret_id, *ret_key, 0, err);
    if (!u || upload_write(u, bytes, (size_t)len, err) < 0) {
        upload_free(u);
        return -1;
    }
    return upload_finish(u, md5, err);
}

static void volume_get_file(struct call *c, const void *request)
{
    const Modal__Client__VolumeGetFileRequest *r = request;
    Modal__Client__VolumeGetFileResponse response = MODAL__CLIENT__VOLUME_GET_FILE_RESPONSE__INIT;
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *bytes = NULL;
    const char *id, *key;
    uint64_t len = r->len, size;
    cleanup_close int fd = open_piece(c, r->volume_id, r->path, r->start, &len, &size);

    if (fd < 0 || c->ended)
        return;
    response.has_size = response.has_start = response.has_len = 1;
    response.size = size;
    response.start = r->start;
    response.len = len;
    if (len <= INLINE_MAX) {
        bytes = xmalloc((size_t)len + 1);
        if (read(fd, bytes, (size_t)len) != (ssize_t)len) {
            call_fail(c, GRPC_INTERNAL, "the contents of a volume cannot be read");
            return;
        }
        response.data_oneof_case = MODAL__CLIENT__VOLUME_GET_FILE_RESPONSE__DATA_ONEOF_DATA;
        response.data.data = (uint8_t *)bytes;
        response.data.len = (size_t)len;
    } else {
        if (as_blob(c, fd, len, &id, &key, &err) < 0) {
            svc_fail(c, &err);
            return;
        }
        response.data_oneof_case = MODAL__CLIENT__VOLUME_GET_FILE_RESPONSE__DATA_ONEOF_DATA_BLOB_ID;
        response.data_blob_id = SVC_CONST(id);
    }
    call_reply(c, &response);
}

static void volume_get_file2(struct call *c, const void *request)
{
    const Modal__Client__VolumeGetFile2Request *r = request;
    Modal__Client__VolumeGetFile2Response response = MODAL__CLIENT__VOLUME_GET_FILE2_RESPONSE__INIT;
    cleanup_strlist struct strlist urls = STRLIST_INIT;
    cleanup_free char *base = NULL;
    cleanup_err struct err err = ERR_INIT;
    uint64_t len = r->len, size;
    cleanup_close int fd = open_piece(c, r->volume_id, r->path, r->start, &len, &size);

    if (fd < 0 || c->ended)
        return;
    base = svc_http_url(c);
    for (uint64_t at = 0; at < len;) {
        uint64_t in_block = (r->start + at) % VOL_BLOCK, n = VOL_BLOCK - in_block;
        const char *id, *key;

        if (n > len - at)
            n = len - at;
        if (as_blob(c, fd, n, &id, &key, &err) < 0) {
            svc_fail(c, &err);
            return;
        }
        strlist_addf(&urls, "%s/blob/%s/%s", base, id, key);
        at += n;
    }
    response.get_urls = urls.items;
    response.n_get_urls = urls.len;
    response.has_size = response.has_start = response.has_len = 1;
    response.size = size;
    response.start = r->start;
    response.len = len;
    call_reply(c, &response);
}

/* ---- listing ---- */

struct listing {
    struct vol_tree tree; /* a copy: the volume may change meanwhile */
    size_t at;
};

static void listing_free(struct call *c)
{
    struct listing *l = c->state;

    vol_tree_clear(&l->tree);
    free(l);
    c->state = NULL;
}

static int type_of(mode_t mode)
{
    if (S_ISDIR(mode))
        return MODAL__CLIENT__FILE_ENTRY__FILE_TYPE__DIRECTORY;
    return S_ISLNK(mode) ? MODAL__CLIENT__FILE_ENTRY__FILE_TYPE__SYMLINK : MODAL__CLIENT__FILE_ENTRY__FILE_TYPE__FILE;
}

static void list_more(struct call *c)
{
    struct listing *l = c->state;
    Modal__Client__VolumeListFilesResponse response = MODAL__CLIENT__VOLUME_LIST_FILES_RESPONSE__INIT;
    Modal__Client__FileEntry items[LIST_PIECE], *list[LIST_PIECE];
    size_t n = 0;

    if (l->at == l->tree.len) {
        call_finish(c);
        return;
    }
    for (; n < LIST_PIECE && l->at < l->tree.len; n++, l->at++) {
        const struct vol_entry *e = &l->tree.items[l->at];

        modal__client__file_entry__init(&items[n]);
        items[n].path = e->path;
        items[n].has_type = items[n].has_mtime = items[n].has_size = 1;
        items[n].type = (Modal__Client__FileEntry__FileType)type_of(e->mode);
        items[n].mtime = (uint64_t)(e->mtime_ns / 1000000000);
        items[n].size = e->size;
        list[n] = &items[n];
    }
    response.entries = list;
    response.n_entries = n;
    call_send(c, &response);
}

/* Whether path is to be listed for a request of dir. */
static bool is_listed(const char *path, const char *dir, bool recursive)
{
    size_t len = strlen(dir);

    if (len && (strncmp(path, dir, len) != 0 || path[len] != '/'))
        return false;
    path += len ? len + 1 : 0;
    return recursive || !strchr(path, '/');
}

static void volume_list_files(struct call *c, const void *request)
{
    const Modal__Client__VolumeListFilesRequest *r = request;
    struct volume *vol = svc_volume(c, r->volume_id);
    cleanup_free char *dir = vol ? path_of(c, r->path) : NULL;
    const struct vol_entry *e = dir && *dir ? vol_tree_find(&vol->tree, dir) : NULL;
    size_t max = r->max_entries ? r->max_entries : SIZE_MAX;
    struct listing *l;

    if (!dir)
        return;
    if (*dir && !e) {
        call_fail(c, GRPC_NOT_FOUND, "No such file or directory: %s", dir);
        return;
    }
    l = xcalloc(1, sizeof(*l));
    for (size_t i = 0; i < vol->tree.len && l->tree.len < max; i++) {
        struct vol_entry copy = vol->tree.items[i];

        if (e && !S_ISDIR(e->mode) ? &vol->tree.items[i] != e : !is_listed(copy.path, dir, r->recursive))
            continue;
        copy.path = xstrdup(copy.path);
        copy.link = NULL;
        vol_tree_append(&l->tree, &copy);
    }
    c->state = l;
    c->release = listing_free;
    call_stream(c, list_more);
}

/* ---- removing, copying ---- */

static void volume_remove_file(struct call *c, const void *request)
{
    const Modal__Client__VolumeRemoveFileRequest *r = request;
    struct volume *vol = svc_volume(c, r->volume_id);
    cleanup_free char *path = vol ? path_of(c, r->path) : NULL;
    cleanup_err struct err err = ERR_INIT;
    bool found;
    size_t at;

    if (!path)
        return;
    at = vol_tree_at(&vol->tree, path, &found);
    if (!*path && r->recursive)
        vol_tree_clear(&vol->tree);
    else if (!found) {
        call_fail(c, GRPC_NOT_FOUND, "No such file or directory: %s", path);
        return;
    } else if (S_ISDIR(vol->tree.items[at].mode) && !r->recursive) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "%s is a directory: recursive is not set", path);
        return;
    } else {
        vol_tree_remove(&vol->tree, path);
    }
    finish(c, vol, 0, &err);
    if (!c->ended)
        svc_reply_empty(c);
}

/* One source, to be called `to`; directories with what is in them. */
static int copy_one(struct volume *vol, const char *from, const char *to, struct err *err)
{
    struct vol_tree copies = {0};
    size_t len = strlen(from);
    bool found;
    size_t at = vol_tree_at(&vol->tree, from, &found), end;
    int rc = 0;

    if (!found)
        return svc_err(err, GRPC_NOT_FOUND, "No such file or directory: %s", from);
    if (strcmp(from, to) == 0 || (strncmp(from, to, len) == 0 && to[len] == '/'))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "%s cannot be copied into itself", from);
    end = vol_tree_below(&vol->tree, at);
    for (size_t i = at; i < end; i++) {
        struct vol_entry e = vol->tree.items[i];

        e.path = xasprintf("%s%s", to, e.path + len);
        e.link = e.link ? xstrdup(e.link) : NULL;
        vol_tree_append(&copies, &e);
    }
    for (size_t i = 0; rc == 0 && i < copies.len; i++)
        rc = vol_tree_put(&vol->tree, &copies.items[i], err);
    vol_tree_clear(&copies);
    return rc;
}

static int copy_named(struct volume *vol, const char *src, const char *dst, bool into, bool recursive, struct err *err)
{
    cleanup_free char *from = vol_path(src, err), *to = NULL;
    const char *slash = from ? strrchr(from, '/') : NULL;
    const struct vol_entry *e = from ? vol_tree_find(&vol->tree, from) : NULL;

    if (!from)
        return -1;
    if (!e)
        return svc_err(err, GRPC_NOT_FOUND, "No such file or directory: %s", from);
    if (S_ISDIR(e->mode) && !recursive)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "%s is a directory: recursive is not set", from);
    to = into ? xasprintf("%s%s%s", dst, *dst ? "/" : "", slash ? slash + 1 : from) : xstrdup(dst);
    return copy_one(vol, from, to, err);
}

static void volume_copy_files(struct call *c, const void *request)
{
    const Modal__Client__VolumeCopyFilesRequest *r = request;
    struct volume *vol = svc_volume(c, r->volume_id);
    const char *dst = svc_text(r->dst_path);
    cleanup_free char *to = vol ? path_of(c, dst) : NULL;
    const struct vol_entry *there = to ? vol_tree_find(&vol->tree, to) : NULL;
    bool into;
    cleanup_err struct err err = ERR_INIT;
    int rc = 0;

    if (!to)
        return;
    into = !*to || (there && S_ISDIR(there->mode)) || dst[strlen(dst) - 1] == '/' || r->n_src_paths > 1;
    for (size_t i = 0; rc == 0 && i < r->n_src_paths; i++)
        rc = copy_named(vol, r->src_paths[i], to, into, r->recursive, &err);
    finish(c, vol, rc, &err);
    if (!c->ended)
        svc_reply_empty(c);
}

const struct rpc_method svc_volume_files_methods[] = {
    {"VolumeCopyFiles", SVC_REQUEST(volume_copy_files_request), RPC_UNARY, RPC_ONCE, volume_copy_files},
    {"VolumeCopyFiles2", SVC_REQUEST(volume_copy_files_request), RPC_UNARY, RPC_ONCE, volume_copy_files},
    {"VolumeGetFile", SVC_REQUEST(volume_get_file_request), RPC_UNARY, 0, volume_get_file},
    {"VolumeGetFile2", SVC_REQUEST(volume_get_file2_request), RPC_UNARY, 0, volume_get_file2},
    {"VolumeListFiles", SVC_REQUEST(volume_list_files_request), RPC_SERVER_STREAM, 0, volume_list_files},
    {"VolumeListFiles2", SVC_REQUEST(volume_list_files_request), RPC_SERVER_STREAM, 0, volume_list_files},
    {"VolumePutFiles", SVC_REQUEST(volume_put_files_request), RPC_UNARY, RPC_ONCE, volume_put_files},
    {"VolumeRemoveFile", SVC_REQUEST(volume_remove_file_request), RPC_UNARY, RPC_ONCE, volume_remove_file},
    {"VolumeRemoveFile2", SVC_REQUEST(volume_remove_file_request), RPC_UNARY, RPC_ONCE, volume_remove_file},
    {0},
};
