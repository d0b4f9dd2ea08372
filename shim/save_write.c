/* The archive of save: blobs as they come, then what names them. */
#include "backends/registry/digest.h"
#include "backends/registry/manifest_write.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/lib/archive.h"
#include "shim/app.h"
#include "shim/image_layers.h"
#include "shim/save.h"
#include "translate/reference.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#define BLOBS       "blobs/sha256/"
#define INDEX_TYPE  "application/vnd.oci.image.index.v1+json"
#define LAYOUT      "{\"imageLayoutVersion\": \"1.0.0\"}"
#define REF_NAME    "org.opencontainers.image.ref.name"
#define FULL_NAME   "io.containerd.image.name"
#define HEX(digest) ((digest) + strlen(DIGEST_PREFIX))

struct save_out {
    struct archive *archive;
    struct archive_entry *entry;
    struct strlist written; /* digests */
    int fd, errnum;         /* of the last write */
    json_t *index, *manifests, *repositories;
};

static void out_clear(struct save_out *o)
{
    if (o->archive) {
        archive_write_fail(o->archive); /* one that is complete was closed */
        archive_write_free(o->archive);
        archive_entry_free(o->entry);
    }
    strlist_clear(&o->written);
    json_decref(o->index);
    json_decref(o->manifests);
    json_decref(o->repositories);
}

static la_ssize_t on_write(struct archive *a, void *arg, const void *bytes, size_t len)
{
    struct save_out *o = arg;
    const char *at = bytes;

    (void)a;
    for (size_t left = len; left;) {
        ssize_t n = write(o->fd, at, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            o->errnum = errno;
            return -1;
        }
        at += n;
        left -= (size_t)n;
    }
    return (la_ssize_t)len;
}

static int fail(const struct save_out *o, struct err *err)
{
    const char *why = archive_error_string(o->archive);

    if (o->errnum)
        return err_set_errno(err, 1, o->errnum, "writing the archive");
    return err_set(err, 1, "writing the archive: %s", why ? why : "failed");
}

static int out_open(struct save_out *o, int fd, struct err *err)
{
    *o = (struct save_out){.fd = fd, .index = json_array(), .manifests = json_array(), .repositories = json_object()};
    if (lib_archive(err) < 0)
        return -1;
    o->entry = archive_entry_new();
    o->archive = archive_write_new();
    archive_write_set_format_pax_restricted(o->archive);
    archive_write_set_bytes_in_last_block(o->archive, 1);
    return archive_write_open(o->archive, o, NULL, on_write, NULL) == ARCHIVE_OK ? 0 : fail(o, err);
}

/* ---- entries ---- */

/* Nothing of today's: the same images make the same archive. */
static int put_header(struct save_out *o, const char *name, bool dir, int64_t size, struct err *err)
{
    struct archive_entry *e = archive_entry_clear(o->entry);

    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, dir ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(e, dir ? 0755 : 0644);
    archive_entry_set_uid(e, 0);
    archive_entry_set_gid(e, 0);
    archive_entry_set_mtime(e, 0, 0);
    archive_entry_set_size(e, size);
    return archive_write_header(o->archive, e) == ARCHIVE_OK ? 0 : fail(o, err);
}

static int put_bytes(const void *bytes, size_t len, void *arg, struct err *err)
{
    struct save_out *o = arg;

    return archive_write_data(o->archive, bytes, len) == (la_ssize_t)len ? 0 : fail(o, err);
}

static int put_text(struct save_out *o, const char *name, const char *text, struct err *err)
{
    return put_header(o, name, false, (int64_t)strlen(text), err) < 0 ? -1 : put_bytes(text, strlen(text), o, err);
}

/* The header of a blob: 1, or 0 when it is in the archive already. */
static int begin_blob(struct save_out *o, const char *digest, int64_t size, struct err *err)
{
    cleanup_free char *name = xasprintf(BLOBS "%s", HEX(digest));

    if (strlist_has(&o->written, digest))
        return 0;
    strlist_add(&o->written, digest);
    return put_header(o, name, false, size, err) < 0 ? -1 : 1;
}

/* A text as a blob; its digest is owned by caller. */
static char *put_text_blob(struct save_out *o, const char *text, struct err *err)
{
    char hex[DIGEST_HEX + 1];
    cleanup_free char *digest = NULL;
    int got;

    digest_of(text, strlen(text), hex);
    digest = xasprintf(DIGEST_PREFIX "%s", hex);
    got = begin_blob(o, digest, (int64_t)strlen(text), err);
    if (got < 0 || (got > 0 && put_bytes(text, strlen(text), o, err) < 0))
        return NULL;
    return steal(&digest);
}

/* ---- one image ---- */

/* The manifest that a registry or an archive had, or one of our own; owned by caller. */
static char *manifest_of(const struct image_layers *l, char **ret_type)
{
    struct registry_layer *layers = xcalloc(l->len + 1, sizeof(*layers));
    const char *type = NULL;
    char *text;

    for (size_t i = 0; i < l->len; i++)
        layers[i] = (struct registry_layer){l->items[i].digest, l->items[i].media_type, l->items[i].size};
    text = l->manifest ? xstrdup(l->manifest) : manifest_write(l->config, layers, l->len, &type);
    *ret_type = xstrdup(l->manifest ? l->manifest_type : type);
    free(layers);
    return text;
}

/* One line of index.json for each name, or one without a name. */
static void note_index(struct save_out *o, const struct save_item *item, const char *type, const char *digest,
                       size_t size)
{
    for (size_t i = 0; i < item->refs.len || i == 0; i++) {
        json_t *entry = json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size", (json_int_t)size);
        const char *name = item->refs.len ? item->refs.items[i] : NULL;

        if (name)
            json_object_set_new(entry, "annotations",
                                json_pack("{s:s, s:s}", FULL_NAME, name, REF_NAME, strrchr(name, ':') + 1));
        json_array_append_new(o->index, entry);
    }
}

/* A name's line in the file of before Docker 1.10. */
static void note_repository(struct save_out *o, const char *familiar, const char *top)
{
    const char *colon = strrchr(familiar, ':');
    cleanup_free char *repository = xstrndup(familiar, (size_t)(colon - familiar));
    json_t *tags = json_object_get(o->repositories, repository);

    if (!tags) {
        tags = json_object();
        json_object_set_new(o->repositories, repository, tags);
    }
    json_object_set_new(tags, colon + 1, json_string(HEX(top)));
}

/* What a layer is, in OCI's words, whatever its manifest calls it. */
static const char *layer_type(const char *type)
{
    if (strstr(type, "zstd"))
        return "application/vnd.oci.image.layer.v1.tar+zstd";
    return strstr(type, "gzip") ? "application/vnd.oci.image.layer.v1.tar+gzip"
                                : "application/vnd.oci.image.layer.v1.tar";
}

/* What manifest.json and repositories say of it. */
static int note_image(struct save_out *o, const struct save_item *item, const struct image_layers *l,
                      const char *config_digest, struct err *err)
{
    json_t *tags = item->refs.len ? json_array() : json_null(), *layers = json_array(), *sources = json_object();
    cleanup_free char *config = xasprintf(BLOBS "%s", HEX(config_digest));

    for (size_t i = 0; i < item->refs.len; i++) {
        struct reference ref = {0};
        cleanup_free char *familiar = NULL;

        if (reference_parse(item->refs.items[i], &ref, err) < 0)
            return -1;
        familiar = reference_familiar(&ref);
        reference_clear(&ref);
        json_array_append_new(tags, json_string(familiar));
        if (l->len)
            note_repository(o, familiar, l->items[l->len - 1].digest);
    }
    for (size_t i = 0; i < l->len; i++) {
        const struct image_layer *layer = &l->items[i];

        json_array_append_new(layers, json_sprintf(BLOBS "%s", HEX(layer->digest)));
        json_object_set_new(sources, layer->diff_id,
                            json_pack("{s:s, s:I, s:s}", "mediaType", layer_type(layer->media_type), "size",
                                      (json_int_t)layer->size, "digest", layer->digest));
    }
    json_array_append_new(o->manifests, json_pack("{s:s, s:o, s:o, s:o}", "Config", config, "RepoTags", tags, "Layers",
                                                  layers, "LayerSources", sources));
    return 0;
}

static int put_image(struct app *app, struct save_out *o, const struct save_item *item, struct image_layers *l,
                     struct err *err)
{
    cleanup_free char *type = NULL, *manifest = manifest_of(l, &type), *digest = NULL, *config = NULL;

    config = put_text_blob(o, l->config, err);
    if (!config)
        return -1;
    for (size_t i = 0; i < l->len; i++) {
        int got = begin_blob(o, l->items[i].digest, l->items[i].size, err);

        if (got < 0 || (got > 0 && image_layer_read(app, l, i, put_bytes, o, err) < 0))
            return -1;
    }
    digest = put_text_blob(o, manifest, err);
    if (!digest)
        return -1;
    note_index(o, item, type, digest, strlen(manifest));
    return note_image(o, item, l, config, err);
}

/* ---- all of it ---- */

static int put_json(struct save_out *o, const char *name, const json_t *j, size_t flags, struct err *err)
{
    cleanup_free char *text = json_dumps(j, JSON_COMPACT | flags);

    return put_text(o, name, text, err);
}

static int put_names(struct save_out *o, struct err *err)
{
    json_auto_t *index =
        json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", INDEX_TYPE, "manifests", o->index);

    if (put_json(o, "index.json", index, 0, err) < 0 || put_json(o, "manifest.json", o->manifests, 0, err) < 0 ||
        put_text(o, "oci-layout", LAYOUT, err) < 0)
        return -1;
    if (json_object_size(o->repositories) && put_json(o, "repositories", o->repositories, JSON_SORT_KEYS, err) < 0)
        return -1;
    return archive_write_close(o->archive) == ARCHIVE_OK ? 0 : fail(o, err);
}

static int write_all(struct app *app, struct save_list *l, struct image_layers *layers, int fd, struct err *err)
{
    cleanup_with(out_clear) struct save_out o = {0};

    if (out_open(&o, fd, err) < 0 || put_header(&o, "blobs/", true, 0, err) < 0 ||
        put_header(&o, BLOBS, true, 0, err) < 0)
        return -1;
    for (size_t i = 0; i < l->len; i++)
        if (put_image(app, &o, &l->items[i], &layers[i], err) < 0)
            return -1;
    return put_names(&o, err);
}

/* Where all layers are is found out before the first byte is written. */
int save_write(struct app *app, struct save_list *l, int fd, struct err *err)
{
    struct image_layers *layers = xcalloc(l->len + 1, sizeof(*layers));
    size_t opened = 0;
    int ret = 0;

    while (ret == 0 && opened < l->len) {
        ret = image_layers_open(app, &l->items[opened].image, &layers[opened], err);
        opened += ret == 0;
    }
    if (ret == 0)
        ret = write_all(app, l, layers, fd, err);
    while (opened > 0)
        image_layers_clear(&layers[--opened]);
    free(layers);
    return ret;
}
