#include "backends/registry/archive.h"

#include "backends/registry/archive_files.h"
#include "backends/registry/digest.h"
#include "backends/registry/flatten.h"
#include "backends/registry/manifest.h"
#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_IMAGES 1000 /* in one archive */
#define MAX_LAYERS 500  /* of one image: as in manifest.c */

struct one {
    struct archived_image image;
    struct strlist files; /* names of the layers in the archive, bottom first */
};

struct image_archive {
    struct archive_files *files;
    struct one *images;
    size_t len;
};

static void json_freep(json_t **j)
{
    json_decref(*j);
}

#define cleanup_json __attribute__((cleanup(json_freep)))

DEFINE_CLEANUP(struct image_archive *, image_archive_free)

void image_archive_free(struct image_archive *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->len; i++) {
        struct archived_image *image = &a->images[i].image;

        strlist_clear(&image->tags);
        strlist_clear(&image->layers);
        free(image->id);
        free(image->config);
        free(image->layer_sizes);
        free(image->manifest);
        free(image->manifest_type);
        strlist_clear(&a->images[i].files);
    }
    free(a->images);
    archive_files_free(a->files);
    free(a);
}

size_t image_archive_count(const struct image_archive *a)
{
    return a->len;
}

const struct archived_image *image_archive_get(const struct image_archive *a, size_t i)
{
    return &a->images[i].image;
}

static json_t *parse(const struct buf *text, const char *name, struct err *err)
{
    json_error_t why;
    json_t *j = json_loadb(text->data, text->len, 0, &why);

    if (!j)
        err_set(err, 0, "%s: %s", name, why.text);
    return j;
}

static json_t *read_json(struct image_archive *a, const char *name, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(LIMIT_MANIFEST);

    return archive_files_read(a->files, name, &text, err) < 0 ? NULL : parse(&text, name, err);
}

static const char *member(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

/* A new image at the end of the list. */
static struct one *add_image(struct image_archive *a, struct err *err)
{
    if (a->len >= MAX_IMAGES) {
        err_set(err, 0, "more than %d images in one archive", MAX_IMAGES);
        return NULL;
    }
    a->images = xreallocarray(a->images, a->len + 1, sizeof(*a->images));
    a->images[a->len] = (struct one){0};
    return &a->images[a->len++];
}

/* Tags are kept in familiar form; what is no reference is an error, as for Docker. */
static int add_tag(struct one *one, const char *text, struct err *err)
{
    struct reference ref = {0};

    if (reference_parse(text, &ref, err) < 0)
        return err_wrap(err, "invalid tag \"%.200s\"", text);
    reference_add_latest(&ref);
    if (ref.tag)
        strlist_add_owned(&one->image.tags, reference_familiar(&ref));
    reference_clear(&ref);
    return 0;
}

/* How many entries of the history say that they made a layer. */
static size_t history_layers(const json_t *config)
{
    const json_t *history = json_object_get(config, "history"), *entry;
    size_t i, count = 0;

    json_array_foreach(history, i, entry) count += !json_is_true(json_object_get(entry, "empty_layer"));
    return count;
}

/* With configuration and layer names known: checks every layer against its diff id. */
static int complete(struct image_archive *a, struct one *one, const struct buf *config, struct err *err)
{
    cleanup_json json_t *j = parse(config, "image configuration", err);
    const json_t *ids = json_object_get(json_object_get(j, "rootfs"), "diff_ids"), *id;
    char hex[DIGEST_HEX + 1];
    size_t i;

    if (!j)
        return -1;
    if (json_array_size(ids) != one->files.len)
        return err_set(err, 0, "invalid manifest, layers length mismatch: expected %zu, got %zu", json_array_size(ids),
                       one->files.len);
    if (history_layers(j) > one->files.len)
        return err_set(err, 0, "too many non-empty layers in History section");
    one->image.layer_sizes = xcalloc(one->files.len + 1, sizeof(*one->image.layer_sizes));
    json_array_foreach(ids, i, id)
    {
        const char *want = json_string_value(id);
        int64_t size;

        if (archive_files_diff_id(a->files, one->files.items[i], hex, &size, err) < 0)
            return -1;
        if (!want || !digest_strip(want) || strcmp(digest_strip(want), hex) != 0)
            return err_set(err, 0, "layer %s has the diff id sha256:%s, not %.100s", one->files.items[i], hex,
                           want ? want : "(none)");
        strlist_add(&one->image.layers, want);
        one->image.layer_sizes[i] = size;
        one->image.size += size;
    }
    digest_of(config->data, config->len, hex);
    one->image.id = xasprintf(DIGEST_PREFIX "%s", hex);
    one->image.config = xstrndup(config->data, config->len);
    return 0;
}

/* ---- docker save: manifest.json ---- */

static int read_docker_image(struct image_archive *a, const json_t *item, struct err *err)
{
    struct buf config cleanup_buf = BUF_INIT(LIMIT_MANIFEST);
    const char *config_name = member(item, "Config");
    const json_t *layers = json_object_get(item, "Layers"), *s;
    struct one *one = add_image(a, err);
    size_t i;

    if (!one)
        return -1;
    if (!config_name || json_array_size(layers) > MAX_LAYERS)
        return err_set(err, 0, "invalid manifest.json");
    if (archive_files_read(a->files, config_name, &config, err) < 0)
        return -1;
    json_array_foreach(layers, i, s)
    {
        if (!json_is_string(s))
            return err_set(err, 0, "invalid manifest.json");
        strlist_add(&one->files, json_string_value(s));
    }
    json_array_foreach(json_object_get(item, "RepoTags"), i, s)
    {
        if (!json_is_string(s) || add_tag(one, json_string_value(s), err) < 0)
            return err && err->msg ? -1 : err_set(err, 0, "invalid manifest.json");
    }
    return complete(a, one, &config, err);
}

static int read_docker(struct image_archive *a, struct err *err)
{
    cleanup_json json_t *j = read_json(a, "manifest.json", err);
    const json_t *item;
    size_t i;

    if (!j)
        return -1;
    if (!json_is_array(j) || !json_array_size(j))
        return err_set(err, 0, "invalid manifest.json");
    json_array_foreach(j, i, item)
    {
        if (read_docker_image(a, item, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- OCI layout: index.json ---- */

/* blobs/sha256/<hex>; owned by caller, NULL when digest is none. */
static char *blob_name(const char *digest)
{
    const char *hex = digest_strip(digest);

    return hex ? xasprintf("blobs/sha256/%s", hex) : NULL;
}

/* Whether the manifest is of this very image, and names the very files that it is made of. */
static bool is_manifest_of(const struct one *one, const struct registry_image *manifest)
{
    if (one->image.manifest || !one->image.id || strcmp(manifest->config_digest, one->image.id) != 0 ||
        manifest->layers_len != one->files.len)
        return false;
    for (size_t i = 0; i < one->files.len; i++) {
        cleanup_free char *name = blob_name(manifest->layers[i].digest);

        if (!name || strcmp(name, one->files.items[i]) != 0)
            return false;
    }
    return true;
}

/* The manifest is kept for the images of which it is. */
static void keep_manifest(struct image_archive *a, const struct buf *text, const char *type)
{
    struct registry_image manifest = REGISTRY_IMAGE_INIT;
    cleanup_err struct err why = ERR_INIT;
    int64_t size;

    if (manifest_parse(text->data, text->len, &manifest, &size, &why) == 0) {
        for (size_t i = 0; i < a->len; i++) {
            struct archived_image *image = &a->images[i].image;

            if (!is_manifest_of(&a->images[i], &manifest))
                continue;
            image->manifest = xstrndup(text->data, text->len);
            image->manifest_type = manifest_type_of(text->data, text->len, type);
        }
    }
    registry_image_clear(&manifest);
}

/* Reads a blob and checks it against its digest. */
static int read_blob(struct image_archive *a, const char *digest, struct buf *out, struct err *err)
{
    cleanup_free char *name = blob_name(digest);
    char hex[DIGEST_HEX + 1];

    if (!name)
        return err_set(err, 0, "invalid digest in the layout");
    if (archive_files_read(a->files, name, out, err) < 0)
        return -1;
    digest_of(out->data, out->len, hex);
    return strcmp(hex, digest_strip(digest)) == 0 ? 0 : err_set(err, 0, "%s does not have that digest", name);
}

/* The name that an index entry gives its image, if it is more than a bare tag. */
static int read_oci_tag(struct one *one, const json_t *entry, struct err *err)
{
    const json_t *annotations = json_object_get(entry, "annotations");
    const char *full = member(annotations, "io.containerd.image.name");
    const char *name = member(annotations, "org.opencontainers.image.ref.name");

    if (full)
        return add_tag(one, full, err);
    return name && strpbrk(name, ":/") ? add_tag(one, name, err) : 0;
}

static int read_oci_image(struct image_archive *a, const json_t *entry, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(LIMIT_MANIFEST);
    struct buf config cleanup_buf = BUF_INIT(LIMIT_MANIFEST);
    struct registry_image manifest = REGISTRY_IMAGE_INIT;
    cleanup_free char *digest = xstrdup(member(entry, "digest"));
    enum manifest_kind kind = MANIFEST_INDEX;
    struct one *one = add_image(a, err);
    int64_t size;
    int ret = one ? 0 : -1;

    for (int depth = 0; depth < 3 && ret == 0 && kind == MANIFEST_INDEX; depth++) {
        buf_reset(&text);
        ret = read_blob(a, digest, &text, err);
        if (ret == 0)
            ret = manifest_kind_of(text.data, text.len, NULL, &kind, err);
        if (ret == 0 && kind == MANIFEST_INDEX) {
            free(steal(&digest));
            ret = manifest_choose(text.data, text.len, NULL, &digest, err);
        }
    }
    if (ret == 0)
        ret = manifest_parse(text.data, text.len, &manifest, &size, err);
    if (ret == 0)
        ret = read_blob(a, manifest.config_digest, &config, err);
    for (size_t i = 0; i < manifest.layers_len && ret == 0; i++)
        strlist_add_owned(&one->files, blob_name(manifest.layers[i].digest));
    if (ret == 0)
        ret = read_oci_tag(one, entry, err);
    if (ret == 0)
        ret = complete(a, one, &config, err);
    if (ret == 0)
        keep_manifest(a, &text, member(entry, "mediaType"));
    registry_image_clear(&manifest);
    return ret;
}

static int read_oci(struct image_archive *a, struct err *err)
{
    cleanup_json json_t *j = read_json(a, "index.json", err);
    const json_t *entry;
    size_t i;

    if (!j)
        return -1;
    if (!json_array_size(json_object_get(j, "manifests")))
        return err_set(err, 0, "invalid index.json: no manifests");
    json_array_foreach(json_object_get(j, "manifests"), i, entry)
    {
        if (read_oci_image(a, entry, err) < 0)
            return -1;
    }
    return 0;
}

/* An archive of docker save may be a layout besides: its manifests, where they can be used. */
static void add_manifests(struct image_archive *a)
{
    cleanup_err struct err why = ERR_INIT;
    cleanup_json json_t *j = archive_files_has(a->files, "index.json") ? read_json(a, "index.json", &why) : NULL;
    const json_t *entry;
    size_t i;

    json_array_foreach(json_object_get(j, "manifests"), i, entry)
    {
        struct buf text cleanup_buf = BUF_INIT(LIMIT_MANIFEST);
        const char *digest = member(entry, "digest");

        if (i >= MAX_IMAGES || !digest || read_blob(a, digest, &text, &why) < 0)
            continue;
        keep_manifest(a, &text, member(entry, "mediaType"));
    }
}

/* ---- before Docker 1.10: repositories, <id>/json, <id>/layer.tar ---- */

/* The layers from an id down to its last ancestor, bottom first, with their diff ids. */
static int legacy_layers(struct image_archive *a, struct one *one, const char *id, json_t *diff_ids, struct err *err)
{
    cleanup_free char *at = xstrdup(id);
    char hex[DIGEST_HEX + 1];

    while (at) {
        cleanup_free char *json_name = xasprintf("%s/json", at);
        cleanup_json json_t *j = read_json(a, json_name, err);

        if (!j)
            return -1;
        if (one->files.len >= MAX_LAYERS)
            return err_set(err, 0, "max depth exceeded");
        strlist_insert(&one->files, 0, "");
        free(one->files.items[0]);
        one->files.items[0] = xasprintf("%s/layer.tar", at);
        if (archive_files_diff_id(a->files, one->files.items[0], hex, NULL, err) < 0)
            return -1;
        json_array_insert_new(diff_ids, 0, json_sprintf(DIGEST_PREFIX "%s", hex));
        free(at);
        at = xstrdup(member(j, "parent"));
    }
    return 0;
}

/* A configuration of today's form from an image's old one. */
static int legacy_config(struct image_archive *a, const char *id, json_t *diff_ids, struct buf *out, struct err *err)
{
    static const char *const kept[] = {"architecture", "os", "config", "created", "author"};
    cleanup_free char *name = xasprintf("%s/json", id);
    cleanup_json json_t *old = read_json(a, name, err);
    cleanup_json json_t *config = json_object();
    char *text;

    if (!old)
        return -1;
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
        if (json_object_get(old, kept[i]))
            json_object_set(config, kept[i], json_object_get(old, kept[i]));
    }
    json_object_set_new(config, "rootfs", json_pack("{s:s, s:O}", "type", "layers", "diff_ids", diff_ids));
    text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
    buf_adds(out, text);
    free(text);
    return out->overflowed ? err_set(err, 0, "%s is too large", name) : 0;
}

static int read_legacy_image(struct image_archive *a, const char *repository, const char *tag, const char *id,
                             struct err *err)
{
    cleanup_free char *reference = xasprintf("%s:%s", repository, tag);
    struct buf config cleanup_buf = BUF_INIT(LIMIT_MANIFEST);
    cleanup_json json_t *diff_ids = json_array();
    struct one *one = add_image(a, err);

    if (!one || legacy_layers(a, one, id, diff_ids, err) < 0 || legacy_config(a, id, diff_ids, &config, err) < 0 ||
        add_tag(one, reference, err) < 0)
        return -1;
    return complete(a, one, &config, err);
}

static int read_legacy(struct image_archive *a, struct err *err)
{
    cleanup_json json_t *j = read_json(a, "repositories", err);
    const char *repository, *tag;
    json_t *tags, *id;

    if (!j)
        return -1;
    json_object_foreach(j, repository, tags)
    {
        json_object_foreach(tags, tag, id)
        {
            if (!json_is_string(id))
                return err_set(err, 0, "invalid repositories file");
            if (read_legacy_image(a, repository, tag, json_string_value(id), err) < 0)
                return -1;
        }
    }
    return 0;
}

/* ---- the whole ---- */

struct image_archive *image_archive_read(int fd, const char *tmpdir, struct err *err)
{
    cleanup_with(image_archive_freep) struct image_archive *a = xcalloc(1, sizeof(*a));
    int ret;

    a->files = archive_files_spool(fd, tmpdir, err);
    if (!a->files)
        return NULL;
    if (archive_files_has(a->files, "manifest.json"))
        ret = read_docker(a, err);
    else if (archive_files_has(a->files, "index.json"))
        ret = read_oci(a, err);
    else
        ret = read_legacy(a, err);
    if (ret == 0)
        add_manifests(a);
    return ret < 0 ? NULL : steal(&a);
}

int image_archive_layer(struct image_archive *a, size_t i, size_t k, struct archived_layer *ret, struct err *err)
{
    static const char *const types[] = {
        [ARCHIVE_PLAIN] = "application/vnd.oci.image.layer.v1.tar",
        [ARCHIVE_GZIP] = "application/vnd.oci.image.layer.v1.tar+gzip",
        [ARCHIVE_ZSTD] = "application/vnd.oci.image.layer.v1.tar+zstd",
    };
    enum archive_form form;
    char hex[DIGEST_HEX + 1];

    if (archive_files_own(a->files, a->images[i].files.items[k], &ret->path, hex, &ret->size, &form, err) < 0)
        return -1;
    snprintf(ret->digest, sizeof(ret->digest), DIGEST_PREFIX "%s", hex);
    ret->media_type = types[form];
    return 0;
}

/* One merged tar of all layers. */
static int merge(struct image_archive *a, const struct strlist *paths, struct strlist *ret_paths, struct err *err)
{
    cleanup_free char *path = archive_files_new(a->files);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set_errno(err, 0, errno, "creating %s", path);
    if (flatten_layers(paths, fd, err) < 0)
        return -1;
    strlist_add_owned(ret_paths, steal(&path));
    return 0;
}

int image_archive_layers(struct image_archive *a, size_t i, struct strlist *ret_paths, struct err *err)
{
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    const struct one *one = &a->images[i];
    bool needed;

    for (size_t k = 0; k < one->files.len; k++) {
        char *path;

        if (archive_files_plain(a->files, one->files.items[k], &path, err) < 0)
            return -1;
        strlist_add_owned(&paths, path);
    }
    if (flatten_needed(&paths, &needed, err) < 0)
        return -1;
    if (needed)
        return merge(a, &paths, ret_paths, err);
    strlist_copy(ret_paths, &paths);
    return 0;
}

DEFINE_CLEANUP(struct tar_reader *, tar_close)

/* Reads the written tar once: damage is told now and not when a container is to start. */
static int check_tar(int fd, struct err *err)
{
    cleanup_with(tar_closep) struct tar_reader *t = NULL;
    struct archive_entry *e;
    int r;

    if (lseek(fd, 0, SEEK_SET) < 0)
        return err_set_errno(err, 0, errno, "reading");
    t = tar_open(fd, err);
    if (!t)
        return -1;
    while ((r = tar_next(t, &e, err)) > 0)
        ;
    return r;
}

int image_archive_import(int fd, int out, char **ret_diff_id, int64_t *ret_size, struct err *err)
{
    char hex[DIGEST_HEX + 1];
    int64_t size;

    if (tar_uncompress(fd, out, hex, &size, err) < 0 || check_tar(out, err) < 0)
        return -1;
    *ret_diff_id = xasprintf(DIGEST_PREFIX "%s", hex);
    *ret_size = size;
    return 0;
}
