/* Lists and tags of sandboxes (protocol 5.8). */
#include "backends/modal/sandbox.h"

#include "backends/modal/ending.h"
#include "backends/modal/sandbox_spec.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define SANDBOXES_MAX 100000u /* of one list: a server that pages in circles must end */

static const struct modal_method list_v1 = {
    .path = MODAL_CONTROL(SandboxList),
    .reply = &modal__client__sandbox_list_response__descriptor,
};

static const struct modal_method list_v2 = {
    .path = MODAL_CONTROL(SandboxListV2),
    .reply = &modal__client__sandbox_list_response__descriptor,
    .auth = true,
};

static const struct modal_method tags_get = {
    .path = MODAL_CONTROL(SandboxTagsGet),
    .reply = &modal__client__sandbox_tags_get_response__descriptor,
};

static const struct modal_method tags_get_v2 = {
    .path = MODAL_CONTROL(SandboxTagsGetV2),
    .reply = &modal__client__sandbox_tags_get_response__descriptor,
    .auth = true,
};

static const struct modal_method tags_set = {
    .path = MODAL_CONTROL(SandboxTagsSet),
    .reply = &modal__client__empty__descriptor,
};

static const struct modal_method tags_set_v2 = {
    .path = MODAL_CONTROL(SandboxTagsSetV2),
    .reply = &modal__client__empty__descriptor,
    .auth = true,
};

static void add_tags(struct strlist *to, size_t n, Modal__Client__SandboxTag **tags)
{
    for (size_t i = 0; i < n; i++)
        strlist_addf(to, "%s=%s", tags[i]->tag_name ? tags[i]->tag_name : "",
                     tags[i]->tag_value ? tags[i]->tag_value : "");
}

static char *text(const char *s)
{
    return xstrdup(s ? s : "");
}

static void take_info(struct modal_sandbox_info *to, const Modal__Client__SandboxInfo *from)
{
    *to = (struct modal_sandbox_info){
        .id = text(from->id),
        .name = text(from->name),
        .app_id = text(from->app_id),
        .image_id = text(from->image_id),
        .created_at = from->created_at,
        .started_at = from->task_info ? from->task_info->started_at : 0,
        .timeout_s = from->timeout_secs,
    };
    add_tags(&to->tags, from->n_tags, from->tags);
    modal_ending_take(&to->ending, from->task_info ? from->task_info->result : NULL);
}

void modal_sandbox_list_clear(struct modal_sandbox_list *list)
{
    for (size_t i = 0; i < list->len; i++) {
        struct modal_sandbox_info *info = &list->items[i];

        free(info->id);
        free(info->name);
        free(info->app_id);
        free(info->image_id);
        strlist_clear(&info->tags);
        modal_ending_clear(&info->ending);
    }
    free(list->items);
    *list = (struct modal_sandbox_list)MODAL_SANDBOX_LIST_INIT;
}

/* Adds one page. 0: it was the last one, 1: there may be more, and *before says from where. */
static int add_page(struct modal_sandbox_list *list, const Modal__Client__SandboxListResponse *page, double *before)
{
    double oldest = *before;

    if (!page->n_sandboxes || list->len + page->n_sandboxes > SANDBOXES_MAX)
        return 0;
    list->items = xreallocarray(list->items, list->len + page->n_sandboxes, sizeof(*list->items));
    for (size_t i = 0; i < page->n_sandboxes; i++)
        take_info(&list->items[list->len++], page->sandboxes[i]);
    *before = page->sandboxes[page->n_sandboxes - 1]->created_at;
    return *before > 0 && (oldest == 0 || *before < oldest);
}

int modal_sandbox_list(struct modal_client *c, const char *app_id, const struct strlist *tags, bool finished, bool v1,
                       struct modal_sandbox_list *ret_list, struct err *err)
{
    struct modal_sandbox_list list = MODAL_SANDBOX_LIST_INIT;
    struct tag_messages wanted;
    double before = 0;
    int more = 1;

    tag_messages_make(&wanted, tags);
    while (more > 0) {
        Modal__Client__SandboxListRequest request = MODAL__CLIENT__SANDBOX_LIST_REQUEST__INIT;
        cleanup_message Modal__Client__SandboxListResponse *page = NULL;

        request.app_id = *app_id ? (char *)app_id : NULL;
        request.environment_name = v1 || !*app_id ? c->environment : NULL;
        request.has_before_timestamp = before > 0;
        request.before_timestamp = before;
        request.has_include_finished = finished;
        request.include_finished = finished;
        request.n_tags = wanted.len;
        request.tags = wanted.pointers;
        more = modal_call(c, v1 ? &list_v1 : &list_v2, &request, &page, err) < 0 ? -1 : add_page(&list, page, &before);
    }
    tag_messages_clear(&wanted);
    if (more < 0) {
        modal_sandbox_list_clear(&list);
        return -1;
    }
    *ret_list = list;
    return 0;
}

int modal_sandbox_tags_get(struct modal_client *c, const char *id, struct strlist *ret_tags, struct err *err)
{
    Modal__Client__SandboxTagsGetRequest request = MODAL__CLIENT__SANDBOX_TAGS_GET_REQUEST__INIT;
    cleanup_message Modal__Client__SandboxTagsGetResponse *reply = NULL;

    request.sandbox_id = (char *)id;
    if (modal_call(c, modal_sandbox_id_is_v1(id) ? &tags_get : &tags_get_v2, &request, &reply, err) < 0)
        return -1;
    add_tags(ret_tags, reply->n_tags, reply->tags);
    return 0;
}

int modal_sandbox_tags_set(struct modal_client *c, const char *id, const struct strlist *tags, struct err *err)
{
    Modal__Client__SandboxTagsSetRequest request = MODAL__CLIENT__SANDBOX_TAGS_SET_REQUEST__INIT;
    cleanup_message Modal__Client__Empty *reply = NULL;
    bool v1 = modal_sandbox_id_is_v1(id);
    struct tag_messages messages;
    int ret;

    tag_messages_make(&messages, tags);
    request.sandbox_id = (char *)id;
    request.environment_name = v1 ? c->environment : NULL;
    request.n_tags = messages.len;
    request.tags = messages.pointers;
    ret = modal_call(c, v1 ? &tags_set : &tags_set_v2, &request, &reply, err);
    tag_messages_clear(&messages);
    return ret;
}
