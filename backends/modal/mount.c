/* Build contexts and mounts (protocol 3.5). */
#include "backends/modal/image.h"

#include "backends/modal/blob.h"
#include "backends/modal/http.h"
#include "backends/modal/internal.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIND         "mount"
#define KIND_DIGEST  "mount-digest"
#define INLINE_LIMIT (4u << 20) /* smaller files travel in the call (protocol 9.2) */
#define BATCH        64u        /* hashes in one question */
#define PUT_TURNS    60         /* how often a file is announced until the server has it */
#define PUT_WAIT_MS  1000
#define PUT_AT_ONCE  16          /* small files on their way at a time */
#define PUT_BYTES    (16u << 20) /* and their bytes, which are in memory */

static const struct modal_method mount_check = {
    .path = MODAL_CONTROL(MountBatchedCheckExistence),
    .reply = &modal__client__mount_batched_check_existence_response__descriptor,
    .slow = true,
};

static const struct modal_method mount_put_file = {
    .path = MODAL_CONTROL(MountPutFile),
    .reply = &modal__client__mount_put_file_response__descriptor,
    .slow = true,
};

static const struct modal_method mount_get_or_create = {
    .path = MODAL_CONTROL(MountGetOrCreate),
    .reply = &modal__client__mount_get_or_create_response__descriptor,
    .slow = true,
};

/* A file with what has been found out about it. */
struct item {
    const struct modal_mount_file *file;
    char hex[2 * SHA256_LEN + 1];
    uint64_t size;
    bool missing;
};

static int open_file(const struct modal_mount_file *file, uint64_t *ret_size, struct err *err)
{
    struct stat st;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return err_set_errno(err, 125, errno, "reading %s", file->path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(err, 125, "reading %s: not a regular file", file->path);
    }
    *ret_size = (uint64_t)st.st_size;
    return fd;
}

/* Hash and size of one file; nothing is read if the caller told the hash of bytes in memory. */
static int examine(struct item *item, struct err *err)
{
    const struct modal_mount_file *file = item->file;
    uint8_t digest[SHA256_LEN];
    cleanup_free char *piece = NULL;
    cleanup_close int fd = -1;
    struct sha256 s;
    ssize_t n;

    item->size = file->size;
    if (file->path) {
        fd = open_file(file, &item->size, err);
        if (fd < 0)
            return -1;
    }
    if (file->sha256) {
        if (strlen(file->sha256) != 2 * SHA256_LEN)
            return err_set(err, 125, "the hash of %s is not a SHA-256", file->remote);
        memcpy(item->hex, file->sha256, sizeof(item->hex));
        return 0;
    }
    sha256_init(&s);
    if (!file->path) {
        sha256_update(&s, file->data, file->size);
    } else {
        piece = xmalloc(256 << 10);
        while ((n = read(fd, piece, 256 << 10)) > 0 || (n < 0 && errno == EINTR))
            if (n > 0)
                sha256_update(&s, piece, (size_t)n);
        if (n < 0)
            return err_set_errno(err, 125, errno, "reading %s", file->path);
    }
    sha256_final(&s, digest);
    sha256_hex(digest, item->hex);
    return 0;
}

/* Marks what the server lacks. */
static int ask_missing(struct modal_client *c, struct item *items, size_t count, struct err *err)
{
    for (size_t from = 0; from < count; from += BATCH) {
        Modal__Client__MountBatchedCheckExistenceRequest request =
            MODAL__CLIENT__MOUNT_BATCHED_CHECK_EXISTENCE_REQUEST__INIT;
        cleanup_message Modal__Client__MountBatchedCheckExistenceResponse *reply = NULL;
        size_t n = count - from < BATCH ? count - from : BATCH;
        char *hashes[BATCH];

        for (size_t i = 0; i < n; i++)
            hashes[i] = items[from + i].hex;
        request.n_sha256_hex_hashes = n;
        request.sha256_hex_hashes = hashes;
        if (modal_call(c, &mount_check, &request, &reply, err) < 0)
            return -1;
        for (size_t m = 0; m < reply->n_missing_sha256_hex_hashes; m++)
            for (size_t i = 0; i < n; i++)
                if (strcmp(hashes[i], reply->missing_sha256_hex_hashes[m]) == 0)
                    items[from + i].missing = true;
    }
    return 0;
}

/* The hash as bytes. */
static void digest_of(const char *hex, uint8_t digest[SHA256_LEN])
{
    for (size_t i = 0; i < SHA256_LEN; i++) {
        const char two[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        digest[i] = (uint8_t)strtoul(two, NULL, 16);
    }
}

/* Reads a small file again, and refuses it if it is not what was hashed. */
static int read_small(const struct item *item, int fd, char **ret_data, struct err *err)
{
    cleanup_free char *data = xmalloc(item->size + 1);
    uint8_t digest[SHA256_LEN], want[SHA256_LEN];
    size_t at = 0;
    ssize_t n = 1;

    while (at < item->size && n > 0) {
        n = read(fd, data + at, item->size - at);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            at += (size_t)n;
    }
    sha256(data, at, digest);
    digest_of(item->hex, want);
    if (at < item->size || memcmp(digest, want, sizeof(want)) != 0)
        return err_set(err, 125, "%s changed while it was read", item->file->path);
    *ret_data = steal(&data);
    return 0;
}

/* Sends the announcement until the server says that it has the file. */
static int announce(struct modal_client *c, const Modal__Client__MountPutFileRequest *request, struct err *err)
{
    for (int turn = 0; turn < PUT_TURNS; turn++) {
        cleanup_message Modal__Client__MountPutFileResponse *reply = NULL;
        int64_t end;

        if (modal_call(c, &mount_put_file, request, &reply, err) < 0)
            return -1;
        if (reply->has_exists && reply->exists)
            return 0;
        for (end = loop_now() + PUT_WAIT_MS; loop_now() < end;)
            if (!loop_step(c->loop, 50))
                usleep(1000);
    }
    return err_set(err, 125, "the server did not take the contents");
}

static int put_file(struct modal_client *c, const struct item *item, struct err *err)
{
    Modal__Client__MountPutFileRequest request;
    cleanup_free char *data = NULL, *blob = NULL;
    cleanup_close int fd = -1;
    uint64_t size = item->size;
    uint8_t digest[SHA256_LEN];

    modal__client__mount_put_file_request__init(&request);
    request.sha256_hex = (char *)item->hex;
    if (item->file->path && (fd = open_file(item->file, &size, err)) < 0)
        return -1;
    if (size != item->size)
        return err_set(err, 125, "%s changed while it was read", item->file->path);
    if (size < INLINE_LIMIT) {
        if (fd >= 0 && read_small(item, fd, &data, err) < 0)
            return -1;
        request.data_oneof_case = MODAL__CLIENT__MOUNT_PUT_FILE_REQUEST__DATA_ONEOF_DATA;
        request.data.data = fd >= 0 ? (uint8_t *)data : (uint8_t *)item->file->data;
        request.data.len = (size_t)size;
    } else {
        const struct http_body body = {.data = fd >= 0 ? NULL : item->file->data, .fd = fd, .len = size};

        digest_of(item->hex, digest);
        if (modal_blob_upload(c, &body, digest, &blob, err) < 0)
            return -1;
        request.data_oneof_case = MODAL__CLIENT__MOUNT_PUT_FILE_REQUEST__DATA_ONEOF_DATA_BLOB_ID;
        request.data_blob_id = blob;
    }
    return announce(c, &request, err);
}

/* What the mount is made of, as one hash. */
static void hash_mount(const char *app_id, const struct item *items, size_t count, char hex[2 * SHA256_LEN + 1])
{
    uint8_t digest[SHA256_LEN];
    struct sha256 s;

    sha256_init(&s);
    sha256_update(&s, app_id, strlen(app_id) + 1);
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *line = xasprintf("%s %o %lld %s", items[i].hex, items[i].file->mode,
                                            (long long)items[i].file->mtime_ns, items[i].file->remote);

        sha256_update(&s, line, strlen(line) + 1);
    }
    sha256_final(&s, digest);
    sha256_hex(digest, hex);
}

static int create(struct modal_client *c, const char *app_id, const struct item *items, size_t count,
                  char **ret_mount_id, struct err *err)
{
    Modal__Client__MountGetOrCreateRequest request = MODAL__CLIENT__MOUNT_GET_OR_CREATE_REQUEST__INIT;
    cleanup_message Modal__Client__MountGetOrCreateResponse *reply = NULL;
    cleanup_free Modal__Client__MountFile *files = xcalloc(count + 1, sizeof(*files));
    cleanup_free Modal__Client__MountFile **pointers = xcalloc(count + 1, sizeof(*pointers));

    for (size_t i = 0; i < count; i++) {
        modal__client__mount_file__init(&files[i]);
        files[i].filename = (char *)items[i].file->remote;
        files[i].sha256_hex = (char *)items[i].hex;
        files[i].has_mode = 1;
        files[i].mode = items[i].file->mode;
        files[i].has_atp_mtime_ns = items[i].file->mtime_ns != 0;
        files[i].atp_mtime_ns = items[i].file->mtime_ns;
        pointers[i] = &files[i];
    }
    request.n_files = count;
    request.files = pointers;
    request.app_id = (char *)app_id;
    request.environment_name = c->environment;
    request.has_object_creation_type = 1;
    request.object_creation_type = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP;
    if (modal_call(c, &mount_get_or_create, &request, &reply, err) < 0)
        return -1;
    if (!reply->mount_id || !*reply->mount_id)
        return err_set(err, 125, "the server gave no mount id");
    *ret_mount_id = xstrdup(reply->mount_id);
    return 0;
}

void modal_mount_forget(struct modal_client *c, const char *mount_id)
{
    cleanup_free char *digest = modal_cached(c, KIND_DIGEST, mount_id);

    if (digest)
        modal_forget(c, KIND, digest);
}

/* ---- many small files at a time: a round trip each, one after the other, would be minutes to a server far away ----
 */

struct putting;

struct put { /* one that is under way */
    struct putting *all;
    struct item *item;
    struct modal_rpc *rpc; /* NULL: free */
};

struct putting {
    struct modal_client *c;
    const struct modal_mount_watch *watch;
    struct put slots[PUT_AT_ONCE];
    unsigned running;
    uint64_t held, sent; /* bytes in memory, and bytes that arrived */
    struct err err;
    bool failed;
};

static void put_failed(struct putting *p, const struct item *item)
{
    p->failed = true;
    err_wrap(&p->err, "uploading %s", item->file->remote);
}

static void count_sent(struct putting *p, const struct item *item)
{
    p->sent += item->size;
    if (!p->failed && p->watch && p->watch->sent && p->watch->sent(p->watch->arg, p->sent, &p->err) < 0)
        p->failed = true;
}

static void on_put(void *arg, void *reply, const struct err *err)
{
    struct put *put = arg;
    struct putting *p = put->all;
    const Modal__Client__MountPutFileResponse *answer = reply;

    put->rpc = NULL;
    p->running--;
    p->held -= put->item->size;
    if (err && !p->failed) {
        err_set(&p->err, err->exit_code, "%s", err->msg);
        p->err.code = err->code;
        put_failed(p, put->item);
    } else if (!err && answer->has_exists && answer->exists) {
        put->item->missing = false; /* the others are announced again, one by one */
        count_sent(p, put->item);
    }
    modal_message_free(reply);
}

static int put_start(struct putting *p, struct put *put, struct item *item, struct err *err)
{
    Modal__Client__MountPutFileRequest request;
    cleanup_free char *data = NULL;
    cleanup_close int fd = -1;
    uint64_t size = item->size;

    modal__client__mount_put_file_request__init(&request);
    request.sha256_hex = item->hex;
    if (item->file->path && (fd = open_file(item->file, &size, err)) < 0)
        return -1;
    if (size != item->size)
        return err_set(err, 125, "%s changed while it was read", item->file->remote);
    if (fd >= 0 && read_small(item, fd, &data, err) < 0)
        return -1;
    request.data_oneof_case = MODAL__CLIENT__MOUNT_PUT_FILE_REQUEST__DATA_ONEOF_DATA;
    request.data.data = fd >= 0 ? (uint8_t *)data : (uint8_t *)item->file->data;
    request.data.len = (size_t)size;
    *put = (struct put){.all = p, .item = item};
    p->running++;
    p->held += size;
    put->rpc = modal_rpc_start(&p->c->control, &mount_put_file, &request, NULL, on_put, put);
    return 0;
}

static struct put *free_slot(struct putting *p)
{
    for (size_t i = 0; i < PUT_AT_ONCE; i++)
        if (!p->slots[i].rpc)
            return &p->slots[i];
    return NULL;
}

/* Files that travel in the call itself. */
static int put_small(struct putting *p, struct item *items, size_t count, struct err *err)
{
    for (size_t i = 0; !p->failed && (i < count || p->running);) {
        struct put *slot = free_slot(p);

        if (i < count && (!items[i].missing || items[i].size >= INLINE_LIMIT)) {
            i++;
        } else if (i < count && slot && (!p->running || p->held + items[i].size <= PUT_BYTES)) {
            if (put_start(p, slot, &items[i], &p->err) < 0)
                put_failed(p, &items[i]);
            i++;
        } else {
            loop_step(p->c->loop, -1);
        }
    }
    for (size_t i = 0; i < PUT_AT_ONCE; i++)
        modal_rpc_cancel(p->slots[i].rpc);
    return p->failed ? err_move(err, &p->err) : 0;
}

static int by_hash(const void *a, const void *b)
{
    const struct item *const *x = a, *const *y = b;

    return strcmp((*x)->hex, (*y)->hex);
}

/* The same contents under several names are sent once. */
static void drop_repeated(struct item *items, size_t count)
{
    cleanup_free struct item **sorted = xcalloc(count + 1, sizeof(struct item *));

    for (size_t i = 0; i < count; i++)
        sorted[i] = &items[i];
    qsort(sorted, count, sizeof(struct item *), by_hash);
    for (size_t i = 1; i < count; i++)
        if (strcmp(sorted[i]->hex, sorted[i - 1]->hex) == 0)
            sorted[i]->missing = false;
}

/* Sends what the server lacks. */
static int put_missing(struct modal_client *c, struct item *items, size_t count, const struct modal_mount_watch *watch,
                       struct err *err)
{
    struct putting p = {.c = c, .watch = watch};
    uint64_t bytes = 0;

    drop_repeated(items, count);
    for (size_t i = 0; i < count; i++)
        bytes += items[i].missing ? items[i].size : 0;
    if (watch && watch->begin && watch->begin(watch->arg, bytes, err) < 0)
        return -1;
    if (put_small(&p, items, count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!items[i].missing)
            continue;
        if (put_file(c, &items[i], err) < 0)
            return err_wrap(err, "uploading %s", items[i].file->remote);
        count_sent(&p, &items[i]);
        if (p.failed)
            return err_move(err, &p.err);
    }
    return 0;
}

int modal_mount_create(struct modal_client *c, const char *app_id, const struct modal_mount_file *files, size_t count,
                       char **ret_mount_id, struct err *err)
{
    return modal_mount_upload(c, app_id, files, count, /* watch= */ NULL, ret_mount_id, err);
}

int modal_mount_upload(struct modal_client *c, const char *app_id, const struct modal_mount_file *files, size_t count,
                       const struct modal_mount_watch *watch, char **ret_mount_id, struct err *err)
{
    cleanup_free struct item *items = xcalloc(count + 1, sizeof(*items));
    char digest[2 * SHA256_LEN + 1], *known;

    for (size_t i = 0; i < count; i++) {
        items[i].file = &files[i];
        if (examine(&items[i], err) < 0)
            return -1;
    }
    hash_mount(app_id, items, count, digest);
    known = modal_cached(c, KIND, digest);
    if (known) {
        *ret_mount_id = known;
        return 0;
    }
    if (ask_missing(c, items, count, err) < 0)
        return err_wrap(err, "uploading a build context");
    if (put_missing(c, items, count, watch, err) < 0)
        return -1;
    if (create(c, app_id, items, count, ret_mount_id, err) < 0)
        return err_wrap(err, "uploading a build context");
    modal_remember(c, KIND, digest, *ret_mount_id, MODAL_CACHE_DAY);
    modal_remember(c, KIND_DIGEST, *ret_mount_id, digest, MODAL_CACHE_MONTH);
    return 0;
}
