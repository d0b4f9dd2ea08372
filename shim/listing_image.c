#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/json_text.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/listing.h"
#include "translate/record.h"

#include <string.h>

#define NS INT64_C(1000000000)

/* The text at the top of a configuration, "" when it does not say. */
static const char *text_of(const json_t *config, const char *key)
{
    const char *text = json_string_value(json_object_get(config, key));

    return text ? text : "";
}

static bool has_text(const json_t *list, const char *text)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item) if (!strcmp(json_string_value(item), text)) return true;
    return false;
}

/* "docker.io/library/x:1" as RepoTags has it, and with a digest as RepoDigests has it. */
static void add_names(const char *name, const char *digest, json_t *tags, json_t *digests)
{
    struct reference ref = {0};
    cleanup_free char *tag = NULL, *repository = NULL;

    if (image_name_is_modal(name))
        json_array_append_new(tags, json_string(name));
    if (reference_parse(name, &ref, NULL) < 0)
        return;
    if (ref.tag) {
        free(steal(&ref.digest));
        tag = reference_familiar(&ref);
        json_array_append_new(tags, json_string(tag));
    }
    if (*digest) {
        free(steal(&ref.tag));
        free(ref.digest);
        ref.digest = xstrdup(digest);
        repository = reference_familiar(&ref);
        if (!has_text(digests, repository)) /* several tags of a repository have it in common */
            json_array_append_new(digests, json_string(repository));
    }
    reference_clear(&ref);
}

static int put_names(struct app *app, const struct state_image *image, json_t *root, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT, found = STRLIST_INIT;
    json_t *tags = json_array(), *digests = json_array();

    json_object_set_new(root, "RepoTags", tags);
    json_object_set_new(root, "RepoDigests", digests);
    if (state_image_tags(app->state, image->id, &names, &found, err) < 0)
        return -1;
    for (size_t i = 0; i < names.len; i++)
        add_names(names.items[i], found.items[i], tags, digests);
    return 0;
}

/*
 * Config: Docker 28 shows these eight always, and what else the image has, in the order of their names.
 */
static json_t *config_json(const json_t *blob)
{
    static const struct {
        const char *key;
        enum { NIL_LIST, NIL_MAP, NO_TEXT } kind;
    } usual[] = {
        {"Cmd", NIL_LIST},     {"Entrypoint", NIL_LIST}, {"Env", NIL_LIST},    {"Labels", NIL_MAP},
        {"OnBuild", NIL_LIST}, {"User", NO_TEXT},        {"Volumes", NIL_MAP}, {"WorkingDir", NO_TEXT},
    };
    static const char *const others[] = {"ArgsEscaped", "ExposedPorts", "Healthcheck", "Shell", "StopSignal"};
    const json_t *from = json_object_get(blob, "config");
    json_t *all = json_object(), *config = json_object();
    cleanup_free struct json_member *members = NULL;
    size_t len;

    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
        json_t *value = json_object_get(from, usual[i].key);

        if (value && !json_is_null(value))
            json_object_set(all, usual[i].key, value);
        else if (usual[i].kind == NO_TEXT)
            json_object_set_new(all, usual[i].key, json_string(""));
        else
            json_object_set(all, usual[i].key, usual[i].kind == NIL_LIST ? json_nil_list() : json_nil_map());
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        json_t *value = json_object_get(from, others[i]);

        if (value && !json_is_null(value))
            json_object_set(all, others[i], value);
    }
    members = json_sorted(all, &len);
    for (size_t i = 0; i < len; i++)
        json_object_set(config, members[i].key, members[i].value);
    json_decref(all);
    return config;
}

/* The digests of the layers, from the configuration. */
static json_t *layers_json(const json_t *blob)
{
    json_t *ids = json_object_get(json_object_get(blob, "rootfs"), "diff_ids");

    return json_is_array(ids) ? json_incref(ids) : json_array();
}

/* What commit was told; images of today say it in their history alone. */
static const char *comment_of(const json_t *blob)
{
    const json_t *history = json_object_get(blob, "history");
    size_t len = json_array_size(history);

    if (*text_of(blob, "comment") || !len)
        return text_of(blob, "comment");
    return text_of(json_array_get(history, len - 1), "comment");
}

/* The image that it was committed from; what a build stands on is not told, as BuildKit has it. */
static const char *parent_of(const struct state_image *image)
{
    return image->parent && !strcmp(image->source, "commit") ? image->parent : "";
}

json_t *listing_image(struct app *app, const struct state_image *image, struct err *err)
{
    json_auto_t *blob = json_loads(image->config, 0, NULL);
    cleanup_free char *created = units_stamp(image->created * NS);
    const char *exact = text_of(blob, "created");
    json_t *root;

    if (!json_is_object(blob)) {
        err_set(err, 1, "the configuration of image %s is not JSON", image->id);
        return NULL;
    }
    root = json_pack("{s:s}", "Id", image->id);
    if (put_names(app, image, root, err) < 0) {
        json_decref(root);
        return NULL;
    }
    json_object_set_new(root, "Parent", json_string(parent_of(image)));
    json_object_set_new(root, "Comment", json_string(comment_of(blob)));
    json_object_set_new(root, "Created", json_string(*exact ? exact : created));
    json_object_set_new(root, "DockerVersion", json_string(text_of(blob, "docker_version")));
    json_object_set_new(root, "Author", json_string(text_of(blob, "author")));
    json_object_set_new(root, "Config", config_json(blob));
    json_object_set_new(root, "Architecture", json_string(text_of(blob, "architecture")));
    if (*text_of(blob, "variant"))
        json_object_set_new(root, "Variant", json_string(text_of(blob, "variant")));
    json_object_set_new(root, "Os", json_string(text_of(blob, "os")));
    json_object_set_new(root, "Size", json_integer(image->size));
    json_object_set_new(root, "GraphDriver", json_pack("{s:O, s:s}", "Data", json_nil_map(), "Name", RECORD_DRIVER));
    json_object_set_new(root, "RootFS", json_pack("{s:s, s:o}", "Type", "layers", "Layers", layers_json(blob)));
    json_object_set_new(root, "Metadata", json_pack("{s:s}", "LastTagTime", "0001-01-01T00:00:00Z"));
    return root;
}
