/*
 * docker inspect, docker container inspect, docker image inspect, docker network inspect, docker volume inspect: the
 * same but for where they look.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/json_text.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/container.h"
#include "shim/listing.h"
#include "shim/network.h"
#include "shim/pod.h"
#include "shim/volume.h"
#include "backends/state/volumes.h"

#include <stdio.h>
#include <string.h>

#define OUT_MAX (256u << 20) /* as LISTING_MAX: more than any objects of ours have */

enum kind { KIND_ANY, KIND_CONTAINER, KIND_IMAGE, KIND_NETWORK, KIND_VOLUME };

enum { INSPECT_NO_SUCH = 0x6301, INSPECT_INVALID = 0x6302 }; /* err->code: looking elsewhere may help */

struct inspect {
    struct app *app;
    enum kind kind;
    bool size;
    struct tmpl *tmpl; /* NULL: JSON */
    bool compact;      /* --format json */
    json_t *found;
    struct buf text;         /* of the template */
    struct strlist problems; /* told after what was found */
};

/* The type that --type names. */
static int read_type(const char *word, enum kind *ret, struct err *err)
{
    static const char *const types[] = {"config", "container", "image",   "network", "node",
                                        "plugin", "secret",    "service", "task",    "volume"};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i], word) != 0)
            continue;
        *ret = strcmp(word, "container") == 0 ? KIND_CONTAINER
               : strcmp(word, "image") == 0   ? KIND_IMAGE
               : strcmp(word, "network") == 0 ? KIND_NETWORK
               : strcmp(word, "volume") == 0  ? KIND_VOLUME
                                              : KIND_ANY;
        return *ret != KIND_ANY
                   ? 0
                   : err_set(err, 1, "docker inspect --type %s is refused by atp-docker: not carried out yet", word);
    }
    return err_set(err, 1,
                   "%s%s%s: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", "
                   "\"secret\", \"service\", \"task\", \"volume\"",
                   *word ? "unknown type: \"" : "type is empty", word, *word ? "\"" : "");
}

/* Which predefined network it is in, or where its neighbours reach it: the same in all its networks, which are one
 * sandbox. */
static void add_address(struct container *c, json_t *value)
{
    cleanup_free char *address = pod_address(c);
    json_t *networks = json_object_get(json_object_get(value, "NetworkSettings"), "Networks"), *one;
    struct state_network n = {0};
    const char *name = json_object_iter_key(json_object_iter(networks));

    if (!c->row.networks && name && container_may_run(c) && network_find(c->app, name, &n, NULL) == 0 &&
        network_is_predefined(&n))
        json_object_set_new(json_object_get(networks, name), "NetworkID", json_string(n.id));
    state_network_clear(&n);
    if (!address)
        return;
    json_object_foreach(networks, name, one) json_object_set_new(one, "IPAddress", json_string(address));
}

/* A container, its row made true first. */
static json_t *find_container(struct inspect *in, const char *word, struct err *err)
{
    struct container c;
    json_t *value = NULL;

    container_init(&c, in->app);
    if (container_find(&c, word, err) == 0 && container_refresh(&c, err) == 0)
        value = listing_container(in->app, &c.row, in->size);
    if (value)
        add_address(&c, value);
    container_clear(&c);
    return value;
}

/* What the daemon says about an image that is not there. */
static void no_such_image(const char *word, const struct image_ref *ref, struct err *err)
{
    cleanup_free char *familiar = ref->kind == IMAGE_MODAL_NAME  ? image_ref_familiar(ref)
                                  : ref->kind == IMAGE_REFERENCE ? reference_familiar(&ref->ref)
                                                                 : xstrdup(word);

    err_set(err, 1, "Error response from daemon: No such image: %s", familiar);
    if (err)
        err->code = INSPECT_NO_SUCH;
}

static json_t *find_image(struct inspect *in, const char *word, struct err *err)
{
    struct state_image image = {0};
    struct image_ref ref = {0};
    struct err why = ERR_INIT;
    json_t *value = NULL;
    int found;

    if (image_ref_parse(word, &ref, &why) < 0) {
        err_set(err, 1, "Error response from daemon: %s", why.msg);
        err_clear(&why);
        if (err)
            err->code = INSPECT_INVALID;
        return NULL;
    }
    found = catalog_find(in->app, &ref, &image, err);
    if (found > 0)
        value = listing_image(in->app, &image, err);
    else if (found == 0)
        no_such_image(word, &ref, err);
    state_image_clear(&image);
    image_ref_clear(&ref);
    return value;
}

static json_t *find_network(struct inspect *in, const char *word, struct err *err)
{
    struct state_network n = {0};
    json_t *value = NULL;

    if (network_find(in->app, word, &n, err) == 0)
        value = network_inspect(in->app, &n, err);
    state_network_clear(&n);
    return value;
}

static json_t *find_volume(struct inspect *in, const char *word, struct err *err)
{
    cleanup_with(state_volume_clear) struct state_volume v = {0};
    int got = volume_find(in->app, word, &v, err);

    if (got > 0)
        return volume_inspect(&v);
    if (got == 0) {
        err_set(err, 1, "Error response from daemon: get %s: no such volume", word);
        err->code = INSPECT_NO_SUCH;
    }
    return NULL;
}

/* Whether an error only says that it is to be looked for elsewhere. */
static bool elsewhere(const struct inspect *in, const struct err *err)
{
    return in->kind == KIND_ANY && (err->code == CONTAINER_NO_SUCH || err->code == INSPECT_NO_SUCH ||
                                    err->code == INSPECT_INVALID || err->code == NETWORK_NO_SUCH);
}

/* The object that a word names: container, image, network, volume, in this order. NULL: err says why. */
static json_t *find(struct inspect *in, const char *word, struct err *err)
{
    struct err why = ERR_INIT;
    json_t *value = NULL;

    if (*word == '\0') {
        err_set(err, 1, "invalid %s: value is empty",
                in->kind == KIND_IMAGE     ? "image name or ID"
                : in->kind == KIND_NETWORK ? "network name or ID"
                                           : "container name or ID");
        return NULL;
    }
    if (in->kind == KIND_ANY || in->kind == KIND_CONTAINER)
        value = find_container(in, word, &why);
    if (!value && (in->kind == KIND_IMAGE || (why.msg && elsewhere(in, &why)))) {
        err_clear(&why);
        value = find_image(in, word, &why);
        if (value && in->size && in->kind == KIND_ANY)
            fputs("WARNING: --size ignored for image\n", stderr);
    }
    if (!value && (in->kind == KIND_NETWORK || elsewhere(in, &why))) {
        err_clear(&why);
        value = find_network(in, word, &why);
    }
    if (!value && (in->kind == KIND_VOLUME || elsewhere(in, &why))) {
        err_clear(&why);
        value = find_volume(in, word, &why);
    }
    if (value)
        return value;
    if (elsewhere(in, &why)) {
        err_clear(&why);
        err_set(&why, 1, "Error: No such object: %s", word);
    }
    err_move(err, &why);
    return NULL;
}

/* Adds one object to what is printed at the end. */
static int add(struct inspect *in, json_t *value, struct err *err)
{
    const struct tmpl_options options = {.missing = TMPL_MISSING_ERROR, .absent = listing_absent};
    cleanup_buf struct buf text = BUF_INIT(OUT_MAX);

    if (!in->tmpl) {
        json_array_append(in->found, value);
        return 0;
    }
    if (tmpl_exec(in->tmpl, value, &options, &text, err) < 0)
        return err_wrap(err, "template parsing error");
    buf_add(&in->text, text.data, text.len);
    buf_addc(&in->text, '\n');
    return 0;
}

/* What was found, and an empty line or list when nothing was. */
static void print_found(struct inspect *in)
{
    if (in->tmpl && !in->text.len)
        buf_addc(&in->text, '\n');
    if (!in->tmpl) {
        json_text(&in->text, in->found, in->compact ? 0 : JSON_TEXT_INDENT);
        buf_addc(&in->text, '\n');
    }
    fwrite(in->text.data, 1, in->text.len, stdout);
    fflush(stdout);
}

static int inspect_all(struct inspect *in, const struct strlist *words, struct err *err)
{
    for (size_t i = 0; i < words->len; i++) {
        cleanup_err struct err why = ERR_INIT;
        json_t *value = find(in, words->items[i], &why);

        if (!value || add(in, value, &why) < 0)
            strlist_add(&in->problems, why.msg);
        json_decref(value);
    }
    print_found(in);
    if (!in->problems.len)
        return 0;
    err_set(err, 1, "%s", in->problems.items[0]);
    for (size_t i = 1; i < in->problems.len; i++) {
        cleanup_free char *before = xstrdup(err->msg);

        err_set(err, 1, "%s\n%s", before, in->problems.items[i]);
    }
    return -1;
}

static int run(struct app *app, const struct opt_parsed *opts, enum kind kind, bool size, struct err *err)
{
    struct inspect in = {.app = app, .kind = kind, .size = size, .found = json_array(), .text = BUF_INIT(OUT_MAX)};
    const char *format = opt_str(opts, "format"); /* as it is: no \t and \n as in lists */
    int ret = 0;

    in.compact = strcmp(format, "json") == 0;
    if (*format && !in.compact) {
        in.tmpl = tmpl_parse("", format, err);
        if (!in.tmpl) {
            err_wrap(err, "template parsing error");
            err->exit_code = 64;
            ret = -1;
        }
    }
    if (ret == 0)
        ret = app_config(app, err) < 0 || app_state(app, err) < 0 ? -1 : inspect_all(&in, opt_args(opts), err);
    tmpl_free(in.tmpl);
    json_decref(in.found);
    buf_clear(&in.text);
    strlist_clear(&in.problems);
    return ret;
}

static int inspect_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    enum kind kind = KIND_ANY;

    if (opt_given(opts, "type") && read_type(opt_str(opts, "type"), &kind, err) < 0)
        return -1;
    return run(app, opts, kind, opt_bool(opts, "size"), err);
}

static int container_inspect_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    return run(app, opts, KIND_CONTAINER, opt_bool(opts, "size"), err);
}

static int image_inspect_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    if (catalog_check_platform(opt_str(opts, "platform"), err) < 0)
        return -1;
    return run(app, opts, KIND_IMAGE, false, err);
}

static int network_inspect_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    return run(app, opts, KIND_NETWORK, false, err);
}

static int volume_inspect_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    return run(app, opts, KIND_VOLUME, false, err);
}

extern const struct cmd_def cmd_def_volume_inspect, cmd_def_network_inspect, cmd_def_inspect, cmd_def_container_inspect,
    cmd_def_image_inspect;

const struct command cmd_inspect = {.def = &cmd_def_inspect, .errors = ERROR_PLAIN, .run = inspect_run};
const struct command cmd_container_inspect = {
    .def = &cmd_def_container_inspect, .errors = ERROR_PLAIN, .run = container_inspect_run};
const struct command cmd_network_inspect = {
    .def = &cmd_def_network_inspect, .errors = ERROR_PLAIN, .run = network_inspect_run};
const struct command cmd_volume_inspect = {
    .def = &cmd_def_volume_inspect, .errors = ERROR_PLAIN, .run = volume_inspect_run};
const struct command cmd_image_inspect = {
    .def = &cmd_def_image_inspect, .errors = ERROR_PLAIN, .run = image_inspect_run};
