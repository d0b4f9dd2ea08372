#include "backends/engine/img_internal.h"

#include "backends/engine/img_config.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"
#include "translate/dockerfile/config.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *strings(const struct strlist *l)
{
    json_t *j = json_array();

    for (size_t i = 0; i < l->len; i++)
        json_array_append_new(j, json_string(l->items[i]));
    return j;
}

int img_record_save(struct images *im, const struct image *image, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/images/%s.json", im->dir, image->id);
    json_t *j = json_pack("{s:s, s:s*, s:I, s:I, s:I, s:o, s:s}", "id", image->id, "key", image->key, "made",
                          (json_int_t)image->made, "expires", (json_int_t)image->expires, "own", (json_int_t)image->own,
                          "layers", strings(&image->layers), "oci", image->oci);
    char *text = json_dumps(j, JSON_INDENT(1));
    int ret = text ? fs_write_file(path, text, strlen(text), 0600, err) : err_set(err, 0, "%s: not UTF-8", path);

    json_decref(j);
    free(text);
    return ret;
}

void img_record_remove(struct images *im, const char *id)
{
    cleanup_free char *path = xasprintf("%s/images/%s.json", im->dir, id);

    remove(path);
}

/* One record; NULL when it is damaged or a layer of it is gone. */
static struct image *load_record(const struct images *im, const char *path)
{
    struct buf text cleanup_buf = BUF_INIT(2 * (size_t)LIMIT_MANIFEST);
    struct image *image = xcalloc(1, sizeof(*image));
    json_t *j = NULL, *oci = NULL, *item;
    bool good;
    size_t i;

    if (fs_read_file(path, &text, NULL) == 0)
        j = json_loadb(text.data, text.len, 0, NULL);
    image->state = IMAGES_READY;
    image->id = xstrdup(json_string_value(json_object_get(j, "id")));
    image->key = xstrdup(json_string_value(json_object_get(j, "key")));
    image->oci = xstrdup(json_string_value(json_object_get(j, "oci")));
    image->made = json_integer_value(json_object_get(j, "made"));
    image->expires = json_integer_value(json_object_get(j, "expires"));
    image->own = (size_t)json_integer_value(json_object_get(j, "own"));
    good = image->id && image->oci;
    json_array_foreach(json_object_get(j, "layers"), i, item)
    {
        good = good && json_is_string(item) && img_layer_exists(im->dir, json_string_value(item));
        if (good)
            strlist_add(&image->layers, json_string_value(item));
    }
    if (good)
        oci = df_config_load(image->oci, strlen(image->oci), NULL);
    if (oci)
        img_config_read(oci, &image->config);
    good = good && oci && image->layers.len && image->own <= image->layers.len;
    json_decref(oci);
    json_decref(j);
    if (good)
        return image;
    img_image_free(image);
    return NULL;
}

/* Two records of one key: the older one keeps its id only. */
static void settle_keys(struct images *im)
{
    for (struct image *a = im->list; a; a = a->next) {
        for (struct image *b = im->list; b && a->key; b = b->next) {
            if (a == b || !b->key || strcmp(a->key, b->key) != 0 || a->made > b->made)
                continue;
            free(a->key);
            a->key = NULL;
        }
    }
}

int img_record_load_all(struct images *im, struct err *err)
{
    cleanup_free char *folder = xasprintf("%s/images", im->dir);
    cleanup_dir DIR *d = opendir(folder);
    struct dirent *e;

    if (!d)
        return err_set_errno(err, 0, errno, "opening %s", folder);
    while ((e = readdir(d))) {
        size_t len = strlen(e->d_name);
        cleanup_free char *path = xasprintf("%s/%s", folder, e->d_name);
        struct image *image;

        if (len < 6 || strcmp(e->d_name + len - 5, ".json") != 0)
            continue;
        image = load_record(im, path);
        if (!image) {
            remove(path); /* what it described cannot be run any more */
            continue;
        }
        image->next = im->list;
        im->list = image;
    }
    settle_keys(im);
    img_names_load(im);
    return 0;
}
