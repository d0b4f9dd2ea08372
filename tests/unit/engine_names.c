/* link: atp_engine atp_grpc atp_proto atp_sys atp_base */
#include "tests/unit/engine_rig.h"

/* Named images as clients meet them: what may be a name, whose it is, its history, lists in pages, and the end. */

static struct engine_process *engine;

static int begin(void **state)
{
    (void)state;
    engine = engine_begin(NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (engine)
        engine_end(engine);
    return 0;
}

static void need_engine(void)
{
    if (!engine)
        skip();
}

/* A small image that differs by its text. */
static char *build(const char *text)
{
    Modal__Client__ImageGetOrCreateRequest request = MODAL__CLIENT__IMAGE_GET_OR_CREATE_REQUEST__INIT;
    Modal__Client__Image image = MODAL__CLIENT__IMAGE__INIT;
    cleanup_free char *line = xasprintf("LABEL text=%s", text), *id = NULL;
    char *lines[] = {TEXT("FROM scratch"), line};
    void *got = NULL;

    image.dockerfile_commands = lines;
    image.n_dockerfile_commands = 2;
    request.image = &image;
    for (int i = 0; i < 200; i++) {
        Modal__Client__ImageGetOrCreateResponse *response;
        bool ready;

        assert_int_equal(engine_call(engine, "ImageGetOrCreate", &request,
                                     &modal__client__image_get_or_create_response__descriptor, &got),
                         GRPC_OK);
        response = got;
        free(id);
        id = xstrdup(response->image_id);
        ready = response->result && (int)response->result->status == 1;
        modal__client__image_get_or_create_response__free_unpacked(response, NULL);
        if (ready)
            return steal(&id);
        engine_pause(20);
    }
    fail_msg("the image is not built");
    return NULL;
}

static int publish(const char *id, const char *tag, const char *environment, char **ret_revision)
{
    Modal__Client__ImagePublishRequest request = MODAL__CLIENT__IMAGE_PUBLISH_REQUEST__INIT;
    void *got = NULL;
    int status;

    request.image_id = TEXT(id);
    request.tag = TEXT(tag);
    request.environment_name = TEXT(environment);
    status = engine_call(engine, "ImagePublish", &request, &modal__client__image_publish_response__descriptor, &got);
    if (got && ret_revision)
        *ret_revision = xstrdup(((Modal__Client__ImagePublishResponse *)got)->revision_id);
    if (got)
        modal__client__image_publish_response__free_unpacked(got, NULL);
    return status;
}

/* What a tag means; NULL and the status. */
static char *by_tag(const char *tag, const char *environment, int *ret_status)
{
    Modal__Client__ImageGetByTagRequest request = MODAL__CLIENT__IMAGE_GET_BY_TAG_REQUEST__INIT;
    char *id = NULL;
    void *got = NULL;

    request.tag = TEXT(tag);
    request.environment_name = TEXT(environment);
    *ret_status =
        engine_call(engine, "ImageGetByTag", &request, &modal__client__image_get_by_tag_response__descriptor, &got);
    if (got) {
        id = xstrdup(((Modal__Client__ImageGetByTagResponse *)got)->image_id);
        modal__client__image_get_by_tag_response__free_unpacked(got, NULL);
    }
    return id;
}

static void assert_means(const char *tag, const char *environment, const char *id)
{
    int status;
    cleanup_free char *found = by_tag(tag, environment, &status);

    if (!id) {
        assert_null(found);
        assert_int_equal(status, GRPC_NOT_FOUND);
    } else {
        assert_non_null(found);
        assert_string_equal(found, id);
    }
}

static Modal__Client__ImageListTagsResponse *list(const char *prefix, const char *environment, unsigned max,
                                                  const char *page)
{
    Modal__Client__ImageListTagsRequest request = MODAL__CLIENT__IMAGE_LIST_TAGS_REQUEST__INIT;
    void *got = NULL;

    request.tag_prefix = TEXT(prefix);
    request.environment_name = TEXT(environment);
    request.has_max_objects = max > 0;
    request.max_objects = max;
    request.page_token = TEXT(page);
    assert_int_equal(
        engine_call(engine, "ImageListTags", &request, &modal__client__image_list_tags_response__descriptor, &got),
        GRPC_OK);
    return got;
}

static void delete_image(const char *id)
{
    Modal__Client__ImageDeleteRequest request = MODAL__CLIENT__IMAGE_DELETE_REQUEST__INIT;
    void *got = NULL;

    request.image_id = TEXT(id);
    assert_int_equal(engine_call(engine, "ImageDelete", &request, &modal__client__empty__descriptor, &got), GRPC_OK);
    modal__client__empty__free_unpacked(got, NULL);
}

/* ---- tests ---- */

static void what_a_name_may_be(void **state)
{
    static const char *const bad[] = {
        "",
        ":",
        ":tag",
        "name:",
        "a b:c",
        "a:b:c",
        "im-x:latest",
        "na/me/x/y:z",
        "name:t@g",
        "-\xc3\xa9:x",
        "/name:x",
        "//name:x",
        "main//name:x",
        "ap-0123456789abcdefghijkl:x",
        "00000000001111111111222222222233333333334444444444555555555566666:x",
        "x:00000000001111111111222222222233333333334444444444555555555566666",
    };
    cleanup_free char *id = NULL;

    (void)state;
    need_engine();
    id = build("names");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        int status = publish(id, bad[i], NULL, NULL);

        if (status != GRPC_INVALID_ARGUMENT && status != GRPC_NOT_FOUND)
            fail_msg("\"%s\": %s", bad[i], grpc_status_name(status));
    }
    assert_int_equal(publish(id, "other-workspace/main/name:x", NULL, NULL), GRPC_NOT_FOUND);
    assert_int_equal(publish(id, "main/name:x", "main", NULL), GRPC_INVALID_ARGUMENT);
    assert_int_equal(publish("im-0000000000000000000000", "name:x", NULL, NULL), GRPC_NOT_FOUND);
    assert_int_equal(publish(id, "A.b_c-1:2.0_x-Y", NULL, NULL), GRPC_OK);
    assert_int_equal(publish(id, "ap-short:x", NULL, NULL), GRPC_OK);
    assert_means("A.b_c-1:2.0_x-Y", NULL, id);
    delete_image(id);
    assert_means("A.b_c-1:2.0_x-Y", NULL, NULL);
}

/* The environment in the prefix, in the request, and the default; no tag means latest. */
static void whose_a_name_is(void **state)
{
    cleanup_free char *one = NULL, *two = NULL;

    (void)state;
    need_engine();
    one = build("one");
    two = build("two");
    assert_int_equal(publish(one, "app", NULL, NULL), GRPC_OK);
    assert_int_equal(publish(two, "app:latest", "dev", NULL), GRPC_OK);
    assert_means("app:latest", NULL, one);
    assert_means("app", "main", one);
    assert_means("main/app", NULL, one);
    assert_means("local/main/app:latest", NULL, one);
    assert_means("dev/app", NULL, two);
    assert_means("app", "dev", two);
    assert_means("app", "test", NULL);
    assert_means("app:other", NULL, NULL);
    delete_image(one);
    assert_means("app", NULL, NULL);
    assert_means("dev/app", NULL, two);
    delete_image(two);
}

static Modal__Client__ImageTagRevisionsResponse *history(const char *tag, unsigned max, const char *page)
{
    Modal__Client__ImageTagRevisionsRequest request = MODAL__CLIENT__IMAGE_TAG_REVISIONS_REQUEST__INIT;
    void *got = NULL;

    request.tag = TEXT(tag);
    request.has_max_objects = max > 0;
    request.max_objects = max;
    request.page_token = TEXT(page);
    assert_int_equal(engine_call(engine, "ImageTagRevisions", &request,
                                 &modal__client__image_tag_revisions_response__descriptor, &got),
                     GRPC_OK);
    return got;
}

/* Newest first, in pages; the same image again is no revision; it survives the engine. */
static void history_of_a_name(void **state)
{
    cleanup_free char *one = NULL, *two = NULL, *first = NULL, *second = NULL, *third = NULL, *same = NULL;
    cleanup_free char *env = NULL;
    Modal__Client__ImageTagRevisionsResponse *h;
    Modal__Client__ImageListTagsResponse *l;

    (void)state;
    need_engine();
    one = build("old");
    two = build("new");
    assert_int_equal(publish(one, "past:1", NULL, &first), GRPC_OK);
    assert_int_equal(publish(one, "past:1", NULL, &same), GRPC_OK);
    assert_string_equal(first, same);
    assert_int_equal(publish(two, "past:1", NULL, &second), GRPC_OK);
    assert_int_equal(publish(one, "past:1", NULL, &third), GRPC_OK);
    assert_string_not_equal(first, third);
    assert_memory_equal(third, "ir-", 3);
    assert_int_equal(engine_kill(engine, SIGKILL) & 0x7f, SIGKILL);
    env = engine_path(engine, "env");
    unlink(env);
    assert_true(engine_launch(engine, NULL));
    h = history("local/main/past:1", 2, NULL);
    assert_int_equal(h->n_items, 2);
    assert_string_equal(h->items[0]->revision_id, third);
    assert_string_equal(h->items[1]->revision_id, second);
    assert_string_equal(h->items[1]->image_id, two);
    assert_true(h->items[0]->created_at >= h->items[1]->created_at && h->items[1]->created_at > 1e9);
    assert_string_equal(h->tag, "past:1");
    assert_string_equal(h->environment_name, "main");
    {
        Modal__Client__ImageTagRevisionsResponse *rest = history("past:1", 0, h->next_page_token);

        assert_int_equal(rest->n_items, 1);
        assert_string_equal(rest->items[0]->revision_id, first);
        assert_true(!rest->next_page_token || !*rest->next_page_token);
        modal__client__image_tag_revisions_response__free_unpacked(rest, NULL);
    }
    modal__client__image_tag_revisions_response__free_unpacked(h, NULL);
    l = list("past", NULL, 0, NULL);
    assert_int_equal(l->n_items, 1);
    assert_string_equal(l->items[0]->revision_id, third);
    assert_true(l->items[0]->created_at <= l->items[0]->updated_at);
    modal__client__image_list_tags_response__free_unpacked(l, NULL);
    delete_image(two); /* history only */
    assert_means("past:1", NULL, one);
    h = history("past:1", 0, NULL);
    assert_int_equal(h->n_items, 2);
    modal__client__image_tag_revisions_response__free_unpacked(h, NULL);
    delete_image(one);
    h = history("past:1", 0, NULL);
    assert_int_equal(h->n_items, 0);
    modal__client__image_tag_revisions_response__free_unpacked(h, NULL);
}

/* By bytes, in pages that stay whole while names come and go. */
static void lists_in_pages(void **state)
{
    Modal__Client__ImageListTagsRequest request = MODAL__CLIENT__IMAGE_LIST_TAGS_REQUEST__INIT;
    cleanup_free char *id = NULL, *page = NULL, *last = NULL;
    size_t seen = 0;

    (void)state;
    need_engine();
    id = build("listed");
    for (int i = 0; i < 25; i++) {
        cleanup_free char *tag = xasprintf("page-%02d:v1", i);

        assert_int_equal(publish(id, tag, NULL, NULL), GRPC_OK);
    }
    assert_int_equal(publish(id, "elsewhere:v1", NULL, NULL), GRPC_OK);
    assert_int_equal(publish(id, "page-99:v1", "dev", NULL), GRPC_OK);
    do {
        Modal__Client__ImageListTagsResponse *l = list("page-", NULL, 10, page);

        for (size_t i = 0; i < l->n_items; i++, seen++) {
            assert_true(!last || strcmp(last, l->items[i]->tag) < 0);
            assert_string_equal(l->items[i]->image_id, id);
            free(last);
            last = xstrdup(l->items[i]->tag);
        }
        assert_string_equal(l->environment_name, "main");
        free(page);
        page = xstrdup(l->next_page_token && *l->next_page_token ? l->next_page_token : NULL);
        modal__client__image_list_tags_response__free_unpacked(l, NULL);
    } while (page);
    assert_int_equal(seen, 25);
    request.has_max_objects = 1;
    request.max_objects = 101;
    assert_int_equal(
        engine_call(engine, "ImageListTags", &request, &modal__client__image_list_tags_response__descriptor, NULL),
        GRPC_INVALID_ARGUMENT);
    delete_image(id);
}

/* What a version without revisions left behind. */
static void old_names_open(void **state)
{
    cleanup_free char *id = NULL, *path = NULL, *old = NULL, *text = NULL;
    Modal__Client__ImageTagRevisionsResponse *h;

    (void)state;
    need_engine();
    id = build("ancient");
    path = xasprintf("%s/state/images/names.json", engine->dir);
    old = xasprintf("%s/state/images/tags.json", engine->dir);
    text = xasprintf("{\"main/old:1\": \"%s\", \"main/gone:1\": \"im-0000000000000000000000\"}", id);
    assert_int_equal(engine_kill(engine, SIGTERM), 0);
    unlink(path);
    assert_int_equal(fs_write_file(old, text, strlen(text), 0600, NULL), 0);
    assert_true(engine_launch(engine, NULL));
    assert_means("old:1", NULL, id);
    assert_means("gone:1", NULL, NULL);
    h = history("old:1", 0, NULL);
    assert_int_equal(h->n_items, 1);
    modal__client__image_tag_revisions_response__free_unpacked(h, NULL);
    delete_image(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_name_may_be), cmocka_unit_test(whose_a_name_is), cmocka_unit_test(history_of_a_name),
        cmocka_unit_test(lists_in_pages),     cmocka_unit_test(old_names_open),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
