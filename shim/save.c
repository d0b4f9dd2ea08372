#include "shim/save.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"

#include <string.h>

#define DAEMON "Error response from daemon"

void save_list_clear(struct save_list *l)
{
    for (size_t i = 0; i < l->len; i++) {
        state_image_clear(&l->items[i].image);
        strlist_clear(&l->items[i].refs);
    }
    free(l->items);
    *l = (struct save_list)SAVE_LIST_INIT;
}

/* Takes the image; one that is there already only gets the name. ref: normalised, or NULL; an archive has no word for
 * modal://. */
static void add(struct save_list *l, struct state_image *image, const char *ref)
{
    size_t i = 0;

    while (i < l->len && strcmp(l->items[i].image.id, image->id) != 0)
        i++;
    if (i == l->len) {
        l->items = xreallocarray(l->items, l->len + 1, sizeof(*l->items));
        l->items[l->len++] = (struct save_item){.image = *image};
        *image = (struct state_image){0};
    }
    state_image_clear(image);
    if (ref && !image_name_is_modal(ref) && !strlist_has(&l->items[i].refs, ref))
        strlist_add(&l->items[i].refs, ref);
}

/* Adds the image under each of its tags in the repository: how many these are, -1. */
static int add_tags_of(struct app *app, struct save_list *l, const struct state_image *image, const char *repository,
                       struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT, digests = STRLIST_INIT;
    int count = 0;

    if (state_image_tags(app->state, image->id, &names, &digests, err) < 0)
        return -1;
    for (size_t i = 0; i < names.len; i++) {
        struct reference ref = {0};
        cleanup_free char *name = NULL;

        if (reference_parse(names.items[i], &ref, NULL) < 0)
            continue;
        name = reference_name(&ref);
        if (ref.tag && !ref.digest && !strcmp(name, repository)) {
            struct state_image copy = {0};

            if (state_image_by_id(app->state, image->id, &copy, NULL) > 0) {
                add(l, &copy, names.items[i]);
                count++;
            }
        }
        reference_clear(&ref);
    }
    return count;
}

/* All tags of a repository: how many, -1. */
static int add_repository(struct app *app, struct save_list *l, const char *repository, struct err *err)
{
    struct state_image *list = NULL;
    size_t len = 0;
    int ret = state_image_list(app->state, &list, &len, err), count = 0;

    for (size_t i = 0; i < len; i++) {
        if (ret >= 0)
            ret = add_tags_of(app, l, &list[i], repository, err);
        count += ret > 0 ? ret : 0;
        state_image_clear(&list[i]);
    }
    free(list);
    return ret < 0 ? -1 : count;
}

/* By id or its start. */
static int add_id(struct app *app, struct save_list *l, const char *word, struct err *err)
{
    struct state_image image = {0};
    int got = state_image_by_id(app->state, word, &image, err);

    if (got > 0)
        add(l, &image, NULL);
    return got == 0 ? err_set(err, 1, DAEMON ": No such image: %s", word) : got < 0 ? -1 : 0;
}

/* By a name that says its tag or digest. */
static int add_name(struct app *app, struct save_list *l, const char *name, bool tagged, struct err *err)
{
    struct state_image image = {0};
    int got = state_image_by_ref(app->state, name, &image, err);

    if (got > 0)
        add(l, &image, tagged ? name : NULL);
    return got == 0 ? err_set(err, 1, DAEMON ": reference does not exist") : got < 0 ? -1 : 0;
}

int save_list_add(struct app *app, struct save_list *l, const char *word, struct err *err)
{
    cleanup_free char *name = NULL;
    struct image_ref image = {0};
    struct reference ref = {0};
    bool by_id, name_only, tagged;
    int got;

    if (app_state(app, err) < 0)
        return -1;
    if (image_ref_parse(word, &image, err) < 0)
        return err_wrap(err, DAEMON);
    by_id = image.kind == IMAGE_ID;
    if (!by_id && image.kind != IMAGE_REFERENCE) {
        name = image_ref_name(&image);
        image_ref_clear(&image);
        return name ? add_name(app, l, name, true, err) : err_set(err, 1, DAEMON ": reference does not exist");
    }
    image_ref_clear(&image);
    if (by_id)
        return add_id(app, l, word, err);
    if (reference_parse(word, &ref, err) < 0)
        return err_wrap(err, DAEMON);
    name_only = !ref.tag && !ref.digest;
    tagged = ref.tag && !ref.digest;
    name = name_only ? reference_name(&ref) : reference_string(&ref);
    reference_clear(&ref);
    if (!name_only)
        return add_name(app, l, name, tagged, err);
    got = add_repository(app, l, name, err);
    return got == 0 ? add_id(app, l, word, err) : got < 0 ? -1 : 0;
}
