#include "backends/registry/auth.h"
#include "backends/registry/base64.h"
#include "backends/registry/manifest.h"
#include "backends/registry/push.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "shim/app.h"
#include "shim/command.h"
#include "translate/reference.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define MAX_MANIFESTS 1000 /* of an index; those that exist name some twenty platforms */
#define MAX_OUTPUT    (256u << 20)
#define OCI           "application/vnd.oci.image."

struct inspection {
    struct registry *registry;
    char *name; /* docker.io/library/x:1 */
    bool verbose;
};

/* ---- text ---- */

/* A string of the text as it stands, with what Go's encoder escapes. Gives the first character behind it. */
static const char *copy_string(const char *p, const char *end, bool html, struct buf *out)
{
    buf_addc(out, *p++);
    while (p < end && *p != '"') {
        if (*p == '\\' && p + 1 < end)
            buf_addc(out, *p++);
        if (html && strchr("<>&", *p))
            buf_addf(out, "\\u%04x", (unsigned char)*p);
        else
            buf_addc(out, *p);
        p++;
    }
    buf_addc(out, '"');
    return p < end ? p + 1 : end;
}

static void new_line(struct buf *out, const char *unit, int depth)
{
    buf_addc(out, '\n');
    while (depth-- > 0)
        buf_adds(out, unit);
}

/* Valid JSON laid out anew as Go's json.Indent does it: numbers and strings stay as they are written. */
static void indent(const char *text, const char *unit, bool html, struct buf *out)
{
    const char *end = text + strlen(text);
    bool fresh = false; /* behind an opening bracket */
    int depth = 0;

    while (text < end) {
        char c = *text;

        if (strchr(" \t\r\n", c)) {
            text++;
            continue;
        }
        if (fresh && c != '}' && c != ']')
            new_line(out, unit, depth);
        if (c == '"') {
            text = copy_string(text, end, html, out);
            fresh = false;
            continue;
        }
        if (c == '}' || c == ']') {
            depth--;
            if (!fresh)
                new_line(out, unit, depth);
        }
        buf_addc(out, c);
        fresh = c == '{' || c == '[';
        depth += fresh;
        if (c == ',')
            new_line(out, unit, depth);
        else if (c == ':')
            buf_addc(out, ' ');
        text++;
    }
}

static int print(const struct buf *text, const char *unit, bool html, struct err *err)
{
    struct buf out cleanup_buf = BUF_INIT(MAX_OUTPUT);

    indent(text->data, unit, html, &out);
    if (text->overflowed || out.overflowed)
        return err_set(err, 1, "the manifest is larger than can be shown");
    puts(out.data);
    return 0;
}

static void add_json(struct buf *out, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    buf_adds(out, text ? text : "null");
    free(text);
}

/* "key":"value" */
static void add_text(struct buf *out, const char *key, const char *value)
{
    json_t *j = json_string(value);

    buf_addf(out, "\"%s\":", key);
    add_json(out, j);
    json_decref(j);
}

/* ---- one image ---- */

/* Architecture, system and variant as the image's configuration tells them; owned by caller. */
static json_t *platform_of(struct inspection *in, const struct registry_document *doc)
{
    struct registry_image image = REGISTRY_IMAGE_INIT;
    json_t *config, *platform = json_object();
    cleanup_free char *text = NULL;
    int64_t size = -1;

    if (manifest_parse(doc->text, strlen(doc->text), &image, &size, NULL) == 0)
        text = registry_small_blob(in->registry, image.config_digest, size, NULL);
    registry_image_clear(&image);
    config = text ? json_loads(text, 0, NULL) : NULL;
    for (size_t i = 0; i < 3; i++) {
        static const char *const keys[] = {"architecture", "os", "variant"};
        json_t *value = json_object_get(config, keys[i]);

        if (json_is_string(value) && *json_string_value(value))
            json_object_set(platform, keys[i], value);
    }
    json_decref(config);
    return platform;
}

/* What -v tells of one manifest. platform: borrowed. */
static void describe(const struct registry_document *doc, const char *ref, const json_t *platform, struct buf *out)
{
    cleanup_free char *raw = base64_encode(doc->text, strlen(doc->text));
    bool oci = strncmp(doc->media_type, OCI, strlen(OCI)) == 0;

    buf_addc(out, '{');
    add_text(out, "Ref", ref);
    buf_adds(out, ",\"Descriptor\":{");
    add_text(out, "mediaType", doc->media_type);
    buf_addf(out, ",\"digest\":\"%s\",\"size\":%zu,\"platform\":", doc->digest, strlen(doc->text));
    add_json(out, platform);
    buf_addf(out, "},\"Raw\":\"%s\",\"%s\":", raw, oci ? "OCIManifest" : "SchemaV2Manifest");
    buf_adds(out, doc->text);
    buf_addc(out, '}');
}

static int show_image(struct inspection *in, const struct registry_document *doc, struct err *err)
{
    struct buf out cleanup_buf = BUF_INIT(MAX_OUTPUT);
    json_t *platform;

    if (!in->verbose) {
        buf_adds(&out, doc->text);
        return print(&out, "\t", false, err);
    }
    platform = platform_of(in, doc);
    describe(doc, in->name, platform, &out);
    json_decref(platform);
    return print(&out, "\t", true, err);
}

/* ---- several ---- */

/* The platform in the order in which Docker writes it. */
static void add_platform(struct buf *out, const json_t *platform)
{
    static const char *const keys[] = {"architecture", "os", "os.version", "os.features", "variant", "features"};
    const char *comma = "";

    buf_addc(out, '{');
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const json_t *value = json_object_get(platform, keys[i]);

        if (!value || (json_is_string(value) && !*json_string_value(value) && i > 1))
            continue;
        buf_addf(out, "%s\"%s\":", comma, keys[i]);
        add_json(out, value);
        comma = ",";
    }
    buf_addc(out, '}');
}

/* The list in Docker's form: of each entry what it is, its size, digest and platform. */
static int show_list(const json_t *entries, struct err *err)
{
    struct buf out cleanup_buf = BUF_INIT(MAX_OUTPUT);
    const char *first = json_string_value(json_object_get(json_array_get(entries, 0), "mediaType"));
    bool oci = first && strncmp(first, OCI, strlen(OCI)) == 0;
    const json_t *entry;
    size_t i;

    buf_addf(&out, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[",
             oci ? "application/vnd.oci.image.index.v1+json"
                 : "application/vnd.docker.distribution.manifest.list.v2+json");
    json_array_foreach(entries, i, entry)
    {
        const char *type = json_string_value(json_object_get(entry, "mediaType"));
        const char *digest = json_string_value(json_object_get(entry, "digest"));

        buf_adds(&out, i ? ",{" : "{");
        add_text(&out, "mediaType", type ? type : "");
        buf_addf(&out, ",\"size\":%lld,", (long long)json_integer_value(json_object_get(entry, "size")));
        add_text(&out, "digest", digest ? digest : "");
        buf_adds(&out, ",\"platform\":");
        add_platform(&out, json_object_get(entry, "platform"));
        buf_addc(&out, '}');
    }
    buf_adds(&out, "]}");
    return print(&out, "   ", false, err);
}

/* Every manifest of the list is fetched. */
static int show_all(struct inspection *in, const json_t *entries, struct err *err)
{
    struct buf out cleanup_buf = BUF_INIT(MAX_OUTPUT);
    const json_t *entry;
    int ret = 0;
    size_t i;

    buf_addc(&out, '[');
    json_array_foreach(entries, i, entry)
    {
        const char *digest = json_string_value(json_object_get(entry, "digest"));
        cleanup_free char *ref = xasprintf("%s@%s", in->name, digest ? digest : "");
        struct registry_document doc = {0};

        ret = registry_manifest(in->registry, digest ? digest : "", &doc, err);
        if (ret < 0)
            break;
        buf_adds(&out, i ? "," : "");
        describe(&doc, ref, json_object_get(entry, "platform"), &out);
        registry_document_clear(&doc);
    }
    buf_addc(&out, ']');
    return ret < 0 ? -1 : print(&out, "\t", true, err);
}

static int show(struct inspection *in, const struct registry_document *doc, struct err *err)
{
    enum manifest_kind kind;
    const json_t *entries;
    json_t *j;
    int ret;

    if (manifest_kind_of(doc->text, strlen(doc->text), doc->media_type, &kind, err) < 0)
        return -1;
    if (kind == MANIFEST_IMAGE)
        return show_image(in, doc, err);
    j = json_loads(doc->text, 0, NULL);
    entries = json_object_get(j, "manifests");
    if (json_array_size(entries) > MAX_MANIFESTS)
        ret = err_set(err, 1, "the list has more than %d manifests", MAX_MANIFESTS);
    else
        ret = in->verbose ? show_all(in, entries, err) : show_list(entries, err);
    json_decref(j);
    return ret;
}

static int inspect(struct inspection *in, const struct reference *ref, bool insecure, struct err *err)
{
    cleanup_strlist struct strlist hosts = STRLIST_INIT;
    const struct registry_options options = {.credentials = auth_find, .insecure = &hosts};
    cleanup_free char *familiar = reference_familiar(ref);
    struct registry_document doc = {0};
    struct err why cleanup_err = ERR_INIT;
    int ret;

    if (insecure)
        strlist_add(&hosts, ref->domain);
    in->registry = registry_open(in->name, &options, err);
    if (!in->registry)
        return -1;
    ret = registry_manifest(in->registry, NULL, &doc, &why);
    if (ret < 0 && why.code == REGISTRY_NOT_FOUND)
        ret = err_set(err, 1, "no such manifest: %s", familiar);
    else
        ret = ret < 0 ? err_move(err, &why) : show(in, &doc, err);
    registry_document_clear(&doc);
    registry_free(in->registry);
    return ret;
}

static int manifest_inspect_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct inspection in = {.verbose = opt_bool(opts, "verbose")};
    struct reference ref = {0};
    int ret;

    /* A list that `docker manifest create` keeps on this machine. */
    if (opt_args(opts)->len > 1) {
        app_hand_over(app, err);
        return err_wrap(err, "lists on this machine are the real docker's");
    }
    if (reference_parse(opt_args(opts)->items[0], &ref, err) < 0)
        return -1;
    reference_add_latest(&ref);
    in.name = reference_string(&ref);
    ret = inspect(&in, &ref, opt_bool(opts, "insecure"), err);
    free(in.name);
    reference_clear(&ref);
    return ret;
}

extern const struct cmd_def cmd_def_manifest_inspect;

const struct command cmd_manifest_inspect = {
    .def = &cmd_def_manifest_inspect, .errors = ERROR_PLAIN, .run = manifest_inspect_run};
