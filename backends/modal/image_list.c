/* Images that exist already: by id, by name, their list and their end (protocol 3.4). */
#include "backends/modal/image.h"

#include "backends/modal/internal.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 100u /* the server's own maximum */

static const struct modal_method image_from_id = {
    .path = MODAL_CONTROL(ImageFromId),
    .reply = &modal__client__image_from_id_response__descriptor,
};

static const struct modal_method image_get_by_tag = {
    .path = MODAL_CONTROL(ImageGetByTag),
    .reply = &modal__client__image_get_by_tag_response__descriptor,
};

static const struct modal_method image_publish = {
    .path = MODAL_CONTROL(ImagePublish),
    .reply = &modal__client__image_publish_response__descriptor,
};

static const struct modal_method image_delete = {
    .path = MODAL_CONTROL(ImageDelete),
    .reply = &modal__client__empty__descriptor,
};

static const struct modal_method image_list_tags = {
    .path = MODAL_CONTROL(ImageListTags),
    .reply = &modal__client__image_list_tags_response__descriptor,
};

int modal_image_from_id(struct modal_client *c, const char *id, struct modal_image *ret_image, struct err *err)
{
    Modal__Client__ImageFromIdRequest request = MODAL__CLIENT__IMAGE_FROM_ID_REQUEST__INIT;
    cleanup_message Modal__Client__ImageFromIdResponse *reply = NULL;
    const char *workdir;

    request.image_id = (char *)id;
    if (modal_call(c, &image_from_id, &request, &reply, err) < 0)
        return -1;
    workdir = reply->metadata ? reply->metadata->workdir : NULL;
    *ret_image =
        (struct modal_image){.id = xstrdup(reply->image_id ? reply->image_id : id), .workdir = xstrdup(workdir)};
    return 0;
}

int modal_image_by_tag(struct modal_client *c, const char *tag, struct modal_image *ret_image, struct err *err)
{
    Modal__Client__ImageGetByTagRequest request = MODAL__CLIENT__IMAGE_GET_BY_TAG_REQUEST__INIT;
    cleanup_message Modal__Client__ImageGetByTagResponse *reply = NULL;

    request.tag = (char *)tag;
    request.environment_name = strchr(tag, '/') ? (char *)"" : c->environment; /* it names one */
    if (modal_call(c, &image_get_by_tag, &request, &reply, err) < 0)
        return -1;
    if (!reply->image_id || !*reply->image_id)
        return err_set(err, 125, "the server gave no image id");
    *ret_image = (struct modal_image){.id = xstrdup(reply->image_id)};
    return 0;
}

int modal_image_publish(struct modal_client *c, const char *id, const char *tag, struct err *err)
{
    Modal__Client__ImagePublishRequest request = MODAL__CLIENT__IMAGE_PUBLISH_REQUEST__INIT;
    cleanup_message Modal__Client__ImagePublishResponse *reply = NULL;

    request.image_id = (char *)id;
    request.tag = (char *)tag;
    request.environment_name = c->environment;
    return modal_call(c, &image_publish, &request, &reply, err);
}

int modal_image_delete(struct modal_client *c, const char *id, struct err *err)
{
    Modal__Client__ImageDeleteRequest request = MODAL__CLIENT__IMAGE_DELETE_REQUEST__INIT;
    cleanup_message Modal__Client__Empty *reply = NULL;

    request.image_id = (char *)id;
    return modal_call(c, &image_delete, &request, &reply, err);
}

void modal_image_tags_clear(struct modal_image_tags *tags)
{
    for (size_t i = 0; i < tags->len; i++) {
        free(tags->items[i].tag);
        free(tags->items[i].id);
    }
    free(tags->items);
    *tags = (struct modal_image_tags)MODAL_IMAGE_TAGS_INIT;
}

int modal_image_list(struct modal_client *c, const char *prefix, struct modal_image_tags *ret_tags, struct err *err)
{
    struct modal_image_tags tags = MODAL_IMAGE_TAGS_INIT;
    char *page = NULL;

    do {
        Modal__Client__ImageListTagsRequest request = MODAL__CLIENT__IMAGE_LIST_TAGS_REQUEST__INIT;
        cleanup_message Modal__Client__ImageListTagsResponse *reply = NULL;

        request.environment_name = c->environment;
        request.tag_prefix = (char *)prefix;
        request.has_max_objects = 1;
        request.max_objects = PAGE;
        request.page_token = page;
        if (modal_call(c, &image_list_tags, &request, &reply, err) < 0) {
            free(page);
            modal_image_tags_clear(&tags);
            return -1;
        }
        tags.items = xreallocarray(tags.items, tags.len + reply->n_items + 1, sizeof(*tags.items));
        for (size_t i = 0; i < reply->n_items; i++) {
            const Modal__Client__ImageListTagsItem *item = reply->items[i];

            tags.items[tags.len++] = (struct modal_image_tag){
                .tag = xstrdup(item->tag ? item->tag : ""),
                .id = xstrdup(item->image_id ? item->image_id : ""),
                .created_at = item->created_at,
            };
        }
        free(page);
        /* A page that brings nothing is the last one whatever it says, or we would turn for ever. */
        page = reply->n_items && reply->next_page_token && *reply->next_page_token ? xstrdup(reply->next_page_token)
                                                                                   : NULL;
    } while (page);
    *ret_tags = tags;
    return 0;
}
