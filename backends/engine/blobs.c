#include "backends/engine/blobs.h"

#include "backends/engine/ids.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOB_LIFE   3600.0       /* seconds; an upload and its use are minutes apart */
#define BLOB_COUNT  10000        /* records held at a time */
#define BLOB_PARTS  10000        /* what S3 allows too */
#define BLOB_LENGTH (1ull << 40) /* one TiB */

struct part {
    uint64_t length;
    char md5[33]; /* "" = not uploaded yet */
};

struct blob {
    struct blob *next;
    char *id, *key, *path;
    uint64_t length;
    double created_at;
    struct part *parts; /* parts_len of them; in one piece: one */
    size_t parts_len;
    bool in_parts, complete;
    bool at_most; /* length is a limit until it is complete */
};

struct blobs {
    char *dir;
    uint64_t part_length;
    struct blob *all;
    size_t len;
};

struct upload {
    struct blobs *blobs;
    char *id, *temp;
    size_t part;
    uint64_t length, written;
    int fd;
    EVP_MD_CTX *md5;
};

/* Removes every file directly in dir. */
static void empty_dir(const char *dir)
{
    cleanup_dir DIR *d = opendir(dir);
    struct dirent *entry;

    while (d && (entry = readdir(d)) != NULL)
        unlinkat(dirfd(d), entry->d_name, 0);
}

struct blobs *blobs_new(const char *dir, uint64_t part_length, struct err *err)
{
    struct blobs *b = xcalloc(1, sizeof(*b));

    b->dir = xasprintf("%s/blobs", dir);
    b->part_length = part_length;
    if (fs_mkdirs(b->dir, 0700, err) < 0) {
        blobs_free(b);
        return NULL;
    }
    empty_dir(b->dir);
    return b;
}

static char *part_path(const struct blob *blob, size_t part)
{
    return xasprintf("%s.%zu", blob->path, part);
}

static void blob_free(struct blob *blob)
{
    unlink(blob->path);
    for (size_t i = 1; blob->in_parts && i <= blob->parts_len; i++) {
        cleanup_free char *path = part_path(blob, i);

        unlink(path);
    }
    free(blob->id);
    free(blob->key);
    free(blob->path);
    free(blob->parts);
    free(blob);
}

void blobs_free(struct blobs *b)
{
    if (!b)
        return;
    while (b->all) {
        struct blob *blob = b->all;

        b->all = blob->next;
        blob_free(blob);
    }
    free(b->dir);
    free(b);
}

static struct blob *find(const struct blobs *b, const char *id)
{
    for (struct blob *blob = b->all; blob; blob = blob->next)
        if (strcmp(blob->id, id) == 0)
            return blob;
    return NULL;
}

/* The blob if key opens it. */
static struct blob *find_with_key(const struct blobs *b, const char *id, const char *key)
{
    struct blob *blob = find(b, id);

    if (!blob || !key || strlen(key) != strlen(blob->key) || CRYPTO_memcmp(key, blob->key, strlen(key)) != 0)
        return NULL;
    return blob;
}

/* An error that HTTP can tell. */
static int fail(struct err *err, int status, const char *text)
{
    err_set(err, 125, "%s", text);
    if (err)
        err->code = status;
    return -1;
}

uint64_t blobs_part_length(const struct blobs *b)
{
    return b->part_length;
}

int blobs_create(struct blobs *b, uint64_t length, const char **ret_id, const char **ret_key, size_t *ret_parts,
                 struct err *err)
{
    struct blob *blob;
    uint64_t parts = length > b->part_length ? (length + b->part_length - 1) / b->part_length : 1;

    if (length > BLOB_LENGTH || parts > BLOB_PARTS)
        return err_set(err, 125, "a blob of %llu bytes is too large", (unsigned long long)length);
    if (b->len >= BLOB_COUNT)
        return err_set(err, 125, "too many blobs are waiting to be used");
    blob = xcalloc(1, sizeof(*blob));
    blob->id = id_new("bl");
    blob->key = id_new("k");
    blob->path = xasprintf("%s/%s", b->dir, blob->id);
    blob->length = length;
    blob->created_at = unix_now();
    blob->in_parts = length > b->part_length;
    blob->parts_len = (size_t)parts;
    blob->parts = xcalloc(blob->parts_len, sizeof(*blob->parts));
    for (size_t i = 0; i < blob->parts_len; i++)
        blob->parts[i].length = i + 1 < blob->parts_len ? b->part_length : length - i * b->part_length;
    blob->next = b->all;
    b->all = blob;
    b->len++;
    *ret_id = blob->id;
    *ret_key = blob->key;
    *ret_parts = blob->in_parts ? blob->parts_len : 0;
    return 0;
}

int blobs_create_at_most(struct blobs *b, uint64_t length, const char **ret_id, const char **ret_key, struct err *err)
{
    size_t parts;

    if (blobs_create(b, length, ret_id, ret_key, &parts, err) < 0)
        return -1;
    b->all->at_most = true;
    return 0;
}

struct upload *blobs_upload(struct blobs *b, const char *id, const char *key, size_t part, struct err *err)
{
    struct blob *blob = find_with_key(b, id, key);
    struct upload *u;

    if (!blob || blob->complete || (part == 0) == blob->in_parts || part > blob->parts_len) {
        fail(err, 404, "there is no such upload");
        return NULL;
    }
    u = xcalloc(1, sizeof(*u));
    u->blobs = b;
    u->id = xstrdup(id);
    u->part = part;
    u->length = blob->parts[part ? part - 1 : 0].length;
    u->temp = xasprintf("%s.tmp-XXXXXX", blob->path);
    u->fd = mkostemp(u->temp, O_CLOEXEC);
    u->md5 = EVP_MD_CTX_new();
    if (u->fd < 0 || !u->md5 || EVP_DigestInit_ex(u->md5, EVP_md5(), NULL) != 1) {
        fail(err, 507, "the upload cannot be stored");
        upload_free(u);
        return NULL;
    }
    return u;
}

int upload_write(struct upload *u, const void *bytes, size_t len, struct err *err)
{
    const char *p = bytes;

    if (len > u->length - u->written)
        return fail(err, 413, "the upload is longer than announced");
    u->written += len;
    EVP_DigestUpdate(u->md5, bytes, len);
    while (len) {
        ssize_t n = write(u->fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, 507, "the upload cannot be stored");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

void upload_free(struct upload *u)
{
    if (!u)
        return;
    if (u->fd >= 0) {
        close(u->fd);
        unlink(u->temp);
    }
    EVP_MD_CTX_free(u->md5);
    free(u->temp);
    free(u->id);
    free(u);
}

static void hex(char *out, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* Puts a complete upload in its place. */
static int place(struct upload *u, const char *md5, struct err *err)
{
    struct blob *blob = find(u->blobs, u->id);
    cleanup_free char *path = NULL;
    struct part *part;

    if (!blob || blob->complete)
        return fail(err, 404, "there is no such upload any more");
    if (u->written != u->length && !blob->at_most)
        return fail(err, 400, "the upload is shorter than announced");
    path = u->part ? part_path(blob, u->part) : xstrdup(blob->path);
    if (rename(u->temp, path) < 0)
        return fail(err, 507, "the upload cannot be stored");
    part = &blob->parts[u->part ? u->part - 1 : 0];
    memcpy(part->md5, md5, sizeof(part->md5));
    blob->complete = u->part == 0;
    if (blob->at_most)
        blob->length = u->written;
    close(u->fd);
    u->fd = -1;
    return 0;
}

int upload_finish(struct upload *u, char ret_md5[33], struct err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char md5[33];
    int rc;

    EVP_DigestFinal_ex(u->md5, digest, NULL);
    hex(md5, digest, 16);
    rc = place(u, md5, err);
    if (rc == 0)
        memcpy(ret_md5, md5, sizeof(md5));
    upload_free(u);
    return rc;
}

/* True if the body names the ETag of each part, in order. */
static bool lists_parts(const struct blob *blob, const char *body)
{
    for (size_t i = 0; i < blob->parts_len; i++) {
        body = blob->parts[i].md5[0] ? strstr(body, blob->parts[i].md5) : NULL;
        if (!body)
            return false;
        body += 32;
    }
    return strstr(body, "<ETag>") == NULL;
}

/* Appends the part's bytes and removes it. */
static int append_part(const struct blob *blob, int to, size_t part)
{
    cleanup_free char *path = part_path(blob, part);
    cleanup_close int from = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t left = blob->parts[part - 1].length;

    while (from >= 0 && left) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, left < 1u << 30 ? (size_t)left : 1u << 30, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        left -= (uint64_t)n;
    }
    unlink(path);
    return from < 0 ? -1 : 0;
}

/* The digest of all parts' digests, as S3 makes it. */
static void combined_md5(const struct blob *blob, char out[33])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md5 = EVP_MD_CTX_new();

    EVP_DigestInit_ex(md5, EVP_md5(), NULL);
    for (size_t i = 0; i < blob->parts_len; i++) {
        unsigned char raw[16];

        for (size_t n = 0; n < sizeof(raw); n++) {
            char two[3] = {blob->parts[i].md5[2 * n], blob->parts[i].md5[2 * n + 1], '\0'};

            raw[n] = (unsigned char)strtoul(two, NULL, 16);
        }
        EVP_DigestUpdate(md5, raw, sizeof(raw));
    }
    EVP_DigestFinal_ex(md5, digest, NULL);
    EVP_MD_CTX_free(md5);
    hex(out, digest, 16);
}

int blobs_complete(struct blobs *b, const char *id, const char *key, const char *body, struct buf *answer,
                   struct err *err)
{
    struct blob *blob = find_with_key(b, id, key);
    cleanup_close int to = -1;
    char md5[33];

    if (!blob || !blob->in_parts)
        return fail(err, 404, "there is no such upload");
    if (!blob->complete && !lists_parts(blob, body))
        return fail(err, 400, "the list of parts does not match what was uploaded");
    if (!blob->complete) {
        to = open(blob->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        for (size_t i = 1; to >= 0 && i <= blob->parts_len; i++)
            if (append_part(blob, to, i) < 0)
                return fail(err, 507, "the parts cannot be joined");
        if (to < 0)
            return fail(err, 507, "the parts cannot be joined");
    }
    blob->complete = true;
    combined_md5(blob, md5);
    return buf_addf(answer, "<CompleteMultipartUploadResult><ETag>\"%s-%zu\"</ETag></CompleteMultipartUploadResult>\n",
                    md5, blob->parts_len);
}

const char *blobs_key(struct blobs *b, const char *id)
{
    const struct blob *blob = find(b, id);

    return blob && blob->complete ? blob->key : NULL;
}

const char *blobs_path(struct blobs *b, const char *id, struct err *err)
{
    const struct blob *blob = find(b, id);

    if (blob && blob->complete)
        return blob->path;
    fail(err, 404, "there is no such blob");
    return NULL;
}

int blobs_open(struct blobs *b, const char *id, const char *key, uint64_t *ret_length, struct err *err)
{
    const struct blob *blob = key ? find_with_key(b, id, key) : find(b, id);
    int fd = blob && blob->complete ? open(blob->path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return fail(err, 404, "there is no such blob");
    *ret_length = blob->length;
    return fd;
}

/* Takes *p out of its list. */
static void drop(struct blobs *b, struct blob **p)
{
    struct blob *blob = *p;

    *p = blob->next;
    b->len--;
    blob_free(blob);
}

void blobs_drop(struct blobs *b, const char *id)
{
    for (struct blob **p = &b->all; *p; p = &(*p)->next)
        if (strcmp((*p)->id, id) == 0) {
            drop(b, p);
            return;
        }
}

void blobs_sweep(struct blobs *b)
{
    double now = unix_now();

    for (struct blob **p = &b->all; *p;)
        if (now - (*p)->created_at > BLOB_LIFE)
            drop(b, p);
        else
            p = &(*p)->next;
}
