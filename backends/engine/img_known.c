#include "backends/engine/img_known.h"

#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "backends/registry/digest.h"
#include "backends/registry/manifest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"
#include "translate/reference.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (8u * LIMIT_MANIFEST) /* two documents, with what JSON escapes of them */

static char *folder(const char *dir)
{
    return xasprintf("%s/known", dir);
}

/* Where an image of that name and digest is remembered; owned by caller. */
static char *path_of(const char *dir, const struct reference *ref, const char *digest)
{
    cleanup_free char *name = reference_name(ref), *all = xasprintf("%s@%s", name, digest);
    char hex[DIGEST_HEX + 1];

    digest_of(all, strlen(all), hex);
    return xasprintf("%s/known/%s", dir, hex);
}

static json_t *read_file(const char *path)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_MAX);

    return fs_read_file(path, &text, NULL) < 0 ? NULL : json_loadb(text.data, text.len, 0, NULL);
}

/* ---- finding ---- */

static bool is_of(const char *text, const char *digest)
{
    char hex[DIGEST_HEX + 1];

    digest_of(text, strlen(text), hex);
    return digest && digest_strip(digest) && !strcmp(digest_strip(digest), hex);
}

static char *word_of(const json_t *j, const char *name)
{
    return xstrdup(json_string_value(json_object_get(j, name)));
}

/* Fills image from the file; false when it is none, or damaged. */
static bool fill(const json_t *j, struct registry_image *image)
{
    int64_t config_size;

    image->digest = word_of(j, "digest");
    image->manifest_digest = word_of(j, "manifest_digest");
    image->manifest_type = word_of(j, "manifest_type");
    image->manifest = word_of(j, "manifest");
    image->config = word_of(j, "config");
    return image->digest && image->manifest && image->config && is_of(image->manifest, image->manifest_digest) &&
           manifest_parse(image->manifest, strlen(image->manifest), image, &config_size, NULL) == 0 &&
           is_of(image->config, image->config_digest);
}

int img_known_find(const char *dir, const char *reference, struct registry_image *ret)
{
    cleanup_with(reference_clear) struct reference ref = {0};
    struct registry_image image = REGISTRY_IMAGE_INIT;
    cleanup_free char *path = NULL;
    json_auto_t *j = NULL;

    if (reference_parse(reference, &ref, NULL) < 0 || !ref.digest)
        return 0;
    path = path_of(dir, &ref, ref.digest);
    j = read_file(path);
    if (!fill(j, &image)) {
        registry_image_clear(&image);
        return 0;
    }
    image.name = reference_familiar(&ref);
    *ret = image;
    return 1;
}

/* ---- keeping ---- */

/* Written in tmp/, which is emptied, and moved: a file that is there is whole. */
static void write_file(const char *dir, const char *path, const char *text)
{
    cleanup_free char *tmp = img_store_tmp(dir, NULL);

    if (tmp && fs_write_file(tmp, text, strlen(text), 0600, NULL) == 0 && rename(tmp, path) < 0)
        unlink(tmp);
}

void img_known_keep(const char *dir, const char *reference, const struct registry_image *image, const char *top)
{
    cleanup_with(reference_clear) struct reference ref = {0};
    json_auto_t *j = json_pack("{s:s, s:s, s:s, s:s*, s:s, s:s}", "top", top, "digest", image->digest,
                               "manifest_digest", image->manifest_digest, "manifest_type", image->manifest_type,
                               "manifest", image->manifest, "config", image->config);
    cleanup_free char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    cleanup_free char *known = folder(dir), *path = NULL, *of_manifest = NULL;

    if (!text || reference_parse(reference, &ref, NULL) < 0 || fs_mkdirs(known, 0700, NULL) < 0)
        return;
    path = path_of(dir, &ref, image->digest);
    write_file(dir, path, text);
    if (!strcmp(image->digest, image->manifest_digest))
        return;
    /* One of an index is had by its own digest as well; what the reference names is that one then. */
    json_object_set_new(j, "digest", json_string(image->manifest_digest));
    free(text);
    text = json_dumps(j, JSON_COMPACT);
    of_manifest = path_of(dir, &ref, image->manifest_digest);
    if (text)
        write_file(dir, of_manifest, text);
}

/* ---- throwing away ---- */

void img_known_sweep(const char *dir)
{
    cleanup_free char *known = folder(dir);
    cleanup_dir DIR *d = opendir(known);
    const struct dirent *e;

    while (d && (e = readdir(d))) {
        cleanup_free char *path = xasprintf("%s/%s", known, e->d_name), *top = NULL;
        json_auto_t *j = NULL;
        struct timespec used;

        if (e->d_name[0] == '.')
            continue;
        j = read_file(path);
        top = word_of(j, "top");
        if (!top || !digest_is_hex(top) || img_layer_used(dir, top, &used) < 0)
            unlink(path);
    }
}
