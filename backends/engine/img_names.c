/* Names of images and who had them before, kept in names.json; tags.json is what earlier versions wrote. */
#include "backends/engine/img_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_REVISIONS  200u /* of one name that are remembered */
#define MAX_NAMES_FILE (64u << 20)

struct revision {
    char *image_id, *revision_id;
    int64_t made;
};

struct img_name { /* the list is in the order of tags */
    struct img_name *next;
    char *tag;
    struct revision *revisions; /* the newest last, at least one */
    size_t len;
};

static void revision_clear(struct revision *r)
{
    free(r->image_id);
    free(r->revision_id);
}

static void name_free(struct img_name *n)
{
    for (size_t i = 0; i < n->len; i++)
        revision_clear(&n->revisions[i]);
    free(n->revisions);
    free(n->tag);
    free(n);
}

void img_names_clear(struct images *im)
{
    while (im->names) {
        struct img_name *n = im->names;

        im->names = n->next;
        name_free(n);
    }
}

static struct img_name *find_name(const struct images *im, const char *tag)
{
    for (struct img_name *n = im->names; n; n = n->next) {
        if (strcmp(n->tag, tag) == 0)
            return n;
    }
    return NULL;
}

/* The name, made in its place when it is not there. */
static struct img_name *name_of(struct images *im, const char *tag)
{
    struct img_name *n = find_name(im, tag), **p = &im->names;

    if (n)
        return n;
    while (*p && strcmp((*p)->tag, tag) < 0)
        p = &(*p)->next;
    n = xcalloc(1, sizeof(*n));
    n->tag = xstrdup(tag);
    n->next = *p;
    *p = n;
    return n;
}

static void remove_revision(struct img_name *n, size_t at)
{
    revision_clear(&n->revisions[at]);
    memmove(&n->revisions[at], &n->revisions[at + 1], (n->len - at - 1) * sizeof(*n->revisions));
    n->len--;
}

static void add_revision(struct img_name *n, const char *image_id, const char *revision_id, int64_t made)
{
    if (n->len == MAX_REVISIONS)
        remove_revision(n, 0);
    n->revisions = xreallocarray(n->revisions, n->len + 1, sizeof(*n->revisions));
    n->revisions[n->len++] = (struct revision){xstrdup(image_id), xstrdup(revision_id), made};
}

/* Takes every name without a revision out of the list. */
static void drop_empty(struct images *im)
{
    for (struct img_name **p = &im->names; *p;) {
        struct img_name *n = *p;

        if (n->len) {
            p = &n->next;
            continue;
        }
        *p = n->next;
        name_free(n);
    }
}

/* ---- on the disk ---- */

static json_t *pack_name(const struct img_name *n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n->len; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "image", n->revisions[i].image_id, "revision",
                                              n->revisions[i].revision_id, "made", (json_int_t)n->revisions[i].made));
    return list;
}

static int save(struct images *im, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/names.json", im->dir);
    cleanup_free char *text = NULL;
    json_t *j = json_object();

    for (const struct img_name *n = im->names; n; n = n->next)
        json_object_set_new(j, n->tag, pack_name(n));
    text = json_dumps(j, JSON_INDENT(1));
    json_decref(j);
    return text ? fs_write_file(path, text, strlen(text), 0600, err) : err_set(err, 0, "%s: not UTF-8", path);
}

/* A name whose newest image is gone is none. */
static void load_name(struct images *im, const char *tag, const json_t *list)
{
    const json_t *item, *newest = json_array_get(list, json_array_size(list) - 1);
    const char *image = json_string_value(json_object_get(newest, "image"));
    struct img_name *n;
    size_t i;

    if (!image || !img_find(im, image))
        return;
    n = name_of(im, tag);
    json_array_foreach(list, i, item)
    {
        const char *id = json_string_value(json_object_get(item, "image"));
        const char *revision = json_string_value(json_object_get(item, "revision"));

        if (id && revision)
            add_revision(n, id, revision, json_integer_value(json_object_get(item, "made")));
    }
}

/* What a version without revisions wrote: "name:tag" -> image. */
static void load_old_name(struct images *im, const char *tag, const json_t *id)
{
    const struct image *image = json_is_string(id) ? img_find(im, json_string_value(id)) : NULL;
    cleanup_free char *revision = image ? xasprintf("ir-%s", image->id + 3) : NULL;

    if (image)
        add_revision(name_of(im, tag), image->id, revision, image->made);
}

void img_names_load(struct images *im)
{
    cleanup_free char *path = xasprintf("%s/names.json", im->dir), *old = xasprintf("%s/tags.json", im->dir);
    cleanup_buf struct buf text = BUF_INIT(MAX_NAMES_FILE);
    bool is_old = !fs_exists(path);
    const char *tag;
    json_t *j, *value;

    if (fs_read_file(is_old ? old : path, &text, NULL) < 0)
        return;
    j = json_loadb(text.data, text.len, 0, NULL);
    json_object_foreach(j, tag, value)
    {
        if (is_old)
            load_old_name(im, tag, value);
        else
            load_name(im, tag, value);
    }
    json_decref(j);
    drop_empty(im);
}

/* ---- asked and told ---- */

int images_publish(struct images *im, const char *id, const char *tag, struct err *err)
{
    const struct image *image = img_find(im, id);
    cleanup_free char *revision = NULL;
    struct img_name *n;
    char hex[25];

    if (!image || image->state != IMAGES_READY) {
        err_set(err, 0, "image %s not found", id);
        if (err)
            err->code = ENOENT;
        return -1;
    }
    if (!*tag)
        return err_set(err, 0, "invalid tag \"%s\"", tag);
    n = find_name(im, tag);
    if (n && strcmp(n->revisions[n->len - 1].image_id, id) == 0)
        return 0;
    if (random_hex(hex, sizeof(hex) - 1, err) < 0)
        return -1;
    revision = xasprintf("ir-%s", hex);
    add_revision(name_of(im, tag), id, revision, img_now());
    return save(im, err);
}

char *images_by_tag(struct images *im, const char *tag)
{
    const struct img_name *n = find_name(im, tag);

    return n ? xstrdup(n->revisions[n->len - 1].image_id) : NULL;
}

bool images_revision(struct images *im, const char *tag, size_t n, struct images_revision *ret)
{
    const struct img_name *name = find_name(im, tag);
    const struct revision *r;

    if (!name || n >= name->len)
        return false;
    r = &name->revisions[name->len - 1 - n];
    *ret = (struct images_revision){.image_id = r->image_id, .revision_id = r->revision_id, .made = r->made};
    return true;
}

void images_each_tag(struct images *im, void (*fn)(const char *tag, const char *id, void *arg), void *arg)
{
    for (const struct img_name *n = im->names; n; n = n->next)
        fn(n->tag, n->revisions[n->len - 1].image_id, arg);
}

void img_names_drop(struct images *im, const char *id)
{
    bool changed = false;

    for (struct img_name *n = im->names; n; n = n->next) {
        bool newest = strcmp(n->revisions[n->len - 1].image_id, id) == 0;

        for (size_t i = n->len; i-- > 0;) {
            if (!newest && strcmp(n->revisions[i].image_id, id) != 0)
                continue;
            remove_revision(n, i);
            changed = true;
        }
    }
    drop_empty(im);
    if (changed)
        save(im, NULL); /* a name of an image that is gone is dropped again at the next start */
}
