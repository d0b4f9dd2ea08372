#include "shim/build/request.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/csv.h"
#include "compat/docker/opt.h"
#include "compat/docker/units.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/build/secret.h"
#include "shim/catalog.h"
#include "translate/reference.h"

#include <stdio.h>
#include <string.h>

void build_request_clear(struct build_request *r)
{
    for (size_t i = 0; i < r->secrets.len; i++)
        explicit_bzero(r->secrets.items[i], strlen(r->secrets.items[i]));
    strlist_clear(&r->build_args);
    strlist_clear(&r->tags);
    strlist_clear(&r->labels);
    strlist_clear(&r->add_hosts);
    strlist_clear(&r->contexts);
    strlist_clear(&r->secrets);
    strlist_clear(&r->secret_ids);
    free(r->dest);
    free(r->platform);
    *r = (struct build_request){0};
}

static int refuse(struct err *err, const char *what, const char *why)
{
    return err_set(err, 1, "%s is refused by atp-docker: %s", what, why);
}

/* -t: a name that an image can have. */
static int read_tags(const struct opt_parsed *opts, struct build_request *r, struct err *err)
{
    const struct strlist *tags = opt_list(opts, "tag");

    for (size_t i = 0; i < tags->len; i++) {
        struct err why = ERR_INIT;
        struct reference ref = {0};
        char *name;

        if (reference_parse(tags->items[i], &ref, &why) < 0) {
            err_set(err, 125, "invalid argument \"%s\" for \"-t, --tag\" flag: %s", tags->items[i], why.msg);
            err_clear(&why);
            return -1;
        }
        if (ref.digest) {
            reference_clear(&ref);
            return err_set(err, 1, "invalid tag \"%s\": a name with a digest cannot be given", tags->items[i]);
        }
        reference_add_latest(&ref);
        name = reference_string(&ref);
        if (!strlist_has(&r->tags, name))
            strlist_add(&r->tags, name);
        free(name);
        reference_clear(&ref);
    }
    return 0;
}

/* --build-arg K=V; K alone takes the environment's value. */
static void read_build_args(const struct opt_parsed *opts, struct build_request *r)
{
    const struct strlist *args = opt_list(opts, "build-arg");

    for (size_t i = 0; i < args->len; i++) {
        const char *arg = args->items[i], *value = strchr(arg, '=') ? NULL : getenv(arg);

        if (value)
            strlist_addf(&r->build_args, "%s=%s", arg, value);
        else
            strlist_add(&r->build_args, arg);
    }
}

/* --label: K=V, or K for an empty value. */
static int read_labels(const struct opt_parsed *opts, struct build_request *r, struct err *err)
{
    const struct strlist *labels = opt_list(opts, "label");

    for (size_t i = 0; i < labels->len; i++) {
        const char *label = labels->items[i];

        if (!*label || *label == '=')
            return err_set(err, 125, "invalid label '%s': empty name", label);
        if (strpbrk(label, "\r\n"))
            return refuse(err, "a --label of several lines", "a Dockerfile's line cannot hold it");
        strlist_addf(&r->labels, "%s%s", label, strchr(label, '=') ? "" : "=");
    }
    return 0;
}

/* --build-context name=value */
static int read_contexts(const struct opt_parsed *opts, struct build_request *r, struct err *err)
{
    const struct strlist *contexts = opt_list(opts, "build-context");

    for (size_t i = 0; i < contexts->len; i++) {
        const char *equals = strchr(contexts->items[i], '=');

        if (!equals || equals == contexts->items[i])
            return err_set(err, 1, "invalid context value: %s, expected key=value", contexts->items[i]);
        strlist_add(&r->contexts, contexts->items[i]);
    }
    return 0;
}

/* The platform for which is built: the machine's alone is ours. Several, or another one, are a real builder's. */
static void read_platform(const struct opt_parsed *opts, struct build_request *r)
{
    const struct strlist *given = opt_list(opts, "platform");
    cleanup_strlist struct strlist list = STRLIST_INIT;
    const char *env = getenv("DOCKER_DEFAULT_PLATFORM");

    if (!given->len && *opt_str(opts, "platform"))
        strlist_split(&list, opt_str(opts, "platform"), ',');
    for (size_t i = 0; i < given->len; i++)
        strlist_split(&list, given->items[i], ',');
    if (!list.len && env && *env)
        strlist_add(&list, env);
    for (size_t i = 0; i < list.len; i++)
        if (catalog_check_platform(list.items[i], NULL) < 0 || (i && strcmp(list.items[i], list.items[0]))) {
            free(r->platform);
            r->platform = xstrdup(list.items[i]);
            r->foreign_platform = true;
        }
}

/* --network: what steps reach. A host's own network is not to be had, the platform's is less. */
static int read_network(const struct opt_parsed *opts, struct build_request *r, struct err *err)
{
    const char *network = opt_str(opts, "network");

    r->no_network = !strcmp(network, "none");
    r->host_network = !strcmp(network, "host") || opt_list(opts, "allow")->len; /* read_single knows one word only */
    if (!*network || !strcmp(network, "default") || !strcmp(network, "host") || !strcmp(network, "bridge") ||
        r->no_network)
        return 0;
    return err_set(err, 1, "network mode \"%s\" not supported by buildkit", network);
}

/* One record of --output or the like: the value of a key, owned by caller; NULL = it says nothing. */
static char *field(const struct strlist *fields, const char *key)
{
    size_t len = strlen(key);

    for (size_t i = 0; i < fields->len; i++)
        if (!strncmp(fields->items[i], key, len) && fields->items[i][len] == '=')
            return xstrdup(fields->items[i] + len + 1);
    return NULL;
}

static const struct {
    const char *type;
    enum build_output output;
} outputs[] = {
    {"image", BUILD_OUTPUT_IMAGE}, {"registry", BUILD_OUTPUT_IMAGE}, {"docker", BUILD_OUTPUT_IMAGE},
    {"tar", BUILD_OUTPUT_TAR},     {"local", BUILD_OUTPUT_LOCAL},    {"cacheonly", BUILD_OUTPUT_NONE},
};

/* --output: "type=docker,dest=x.tar", or a path alone: "-" is a tar, others are directories. */
static int read_output(const char *text, struct build_request *r, struct err *err)
{
    cleanup_strlist struct strlist fields = STRLIST_INIT;
    cleanup_free char *type = NULL, *push = NULL, *name = NULL;
    struct reference ref = {0};

    if (csv_fields(text, &fields, err) < 0)
        return err_wrap(err, "invalid output \"%s\"", text);
    if (fields.len == 1 && !strchr(fields.items[0], '=')) {
        r->output = !strcmp(text, "-") ? BUILD_OUTPUT_TAR : BUILD_OUTPUT_LOCAL;
        r->dest = xstrdup(text);
        return 0;
    }
    type = field(&fields, "type");
    for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++)
        if (type && !strcmp(type, outputs[i].type)) {
            r->output = outputs[i].output;
            r->dest = field(&fields, "dest");
            push = field(&fields, "push");
            name = field(&fields, "name");
            if (!strcmp(type, "registry") || (push && !strcmp(push, "true")))
                r->push = true;
            if (!strcmp(type, "docker") && r->dest)
                r->output = BUILD_OUTPUT_DOCKER;
            if (r->output == BUILD_OUTPUT_LOCAL && !r->dest)
                return err_set(err, 1, "dest is required for local output");
            if (!name)
                return 0;
            if (reference_parse(name, &ref, err) < 0)
                return -1;
            reference_add_latest(&ref);
            strlist_add_owned(&r->tags, reference_string(&ref));
            reference_clear(&ref);
            return 0;
        }
    if (!type)
        return err_set(err, 1, "type is required for output \"%s\"", text);
    return err_set(err, 1,
                   "--output type=%s is refused by atp-docker: an image is built here (docker, image, "
                   "registry), or its files are brought (tar, local)",
                   type);
}

static int read_outputs(const struct opt_parsed *opts, struct build_request *r, struct err *err)
{
    const struct strlist *given = opt_list(opts, "output");

    if (given->len > 1)
        return refuse(err, "more than one --output", "a build brings one result");
    if (given->len && read_output(given->items[0], r, err) < 0)
        return -1;
    if (opt_bool(opts, "push")) {
        if (given->len && r->output != BUILD_OUTPUT_IMAGE)
            return err_set(err, 1, "push and %s may not be set together", given->items[0]);
        r->push = true;
    }
    if (r->push && !r->tags.len)
        return err_set(err, 1, "tag is needed when pushing to registry");
    if (opt_bool(opts, "load") && (r->output == BUILD_OUTPUT_TAR || r->output == BUILD_OUTPUT_LOCAL))
        return err_set(err, 1, "load and %s may not be set together", given->items[0]);
    return 0;
}

/* --progress, -q, BUILDKIT_PROGRESS and DOCKER_BUILDKIT. */
static int read_look(const struct opt_parsed *opts, struct build_request *r, struct err *err)
{
    static const struct {
        const char *word;
        enum board_look look;
    } looks[] = {{"plain", BOARD_PLAIN},     {"tty", BOARD_TTY},    {"quiet", BOARD_QUIET},
                 {"rawjson", BOARD_RAWJSON}, {"none", BOARD_QUIET}, {"auto", BOARD_PLAIN}};
    const char *word = opt_str(opts, "progress"), *env = getenv("BUILDKIT_PROGRESS"), *kit = getenv("DOCKER_BUILDKIT");
    bool on = true, known = false;

    if (!opt_given(opts, "progress") && env && *env)
        word = env;
    if (kit && *kit && units_parse_bool(kit, &on, NULL) < 0)
        return err_set(err, 125,
                       "DOCKER_BUILDKIT environment variable expects boolean value: strconv.ParseBool: "
                       "parsing \"%s\": invalid syntax",
                       kit);
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
        if (!strcmp(word, looks[i].word)) {
            r->look = looks[i].look;
            known = true;
        }
    if (!known)
        return err_set(err, 1, "invalid progress mode %s", word);
    if (!strcmp(word, "auto") && tty_is(STDERR_FILENO))
        r->look = BOARD_TTY;
    r->quiet = opt_bool(opts, "quiet") || !strcmp(word, "quiet");
    if (opt_bool(opts, "quiet") && opt_given(opts, "progress") && strcmp(word, "quiet") && strcmp(word, "none"))
        return err_set(err, 1, "progress=%s and quiet cannot be used together", word);
    r->classic = !on && strcmp(opt_command(opts)->path, "buildx build") && !opt_given(opts, "progress");
    if (r->quiet)
        r->look = BOARD_QUIET;
    else if (r->classic)
        r->look = BOARD_CLASSIC;
    return 0;
}

/* Words that switch off what is not here anyway. */
static int read_attestations(const struct opt_parsed *opts, struct err *err)
{
    static const char *const names[] = {"provenance", "sbom"};
    const struct strlist *attest = opt_list(opts, "attest");

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        bool on = true;

        if (!opt_given(opts, names[i]))
            continue;
        if (units_parse_bool(opt_str(opts, names[i]), &on, NULL) == 0 && !on)
            continue;
        return err_set(err, 1, "--%s=%s is refused by atp-docker: images are kept without attestations (--%s=false)",
                       names[i], opt_str(opts, names[i]), names[i]);
    }
    for (size_t i = 0; i < attest->len; i++)
        if (!strstr(attest->items[i], "disabled=true"))
            return refuse(err, "--attest", "images are kept without attestations");
    return 0;
}

/* Options whose values are few, and of which one alone is carried out. */
static int read_single(const struct opt_parsed *opts, struct err *err)
{
    const char *builder = opt_str(opts, "builder"), *isolation = opt_str(opts, "isolation"),
               *call = opt_str(opts, "call");
    const struct strlist *allow = opt_list(opts, "allow");

    if (*builder && strcmp(builder, "default"))
        return err_set(err, 1, "no builder \"%s\" found", builder);
    if (*isolation && strcmp(isolation, "default"))
        return err_set(err, 1, "--isolation %s is refused by atp-docker: isolation is the platform's", isolation);
    for (size_t i = 0; i < allow->len; i++)
        if (strcmp(allow->items[i], "network.host"))
            return err_set(err, 1,
                           "--allow %s is refused by atp-docker: a step's powers are the platform's and cannot "
                           "be changed",
                           allow->items[i]);
    if (*call && strcmp(call, "build"))
        return err_set(err, 1, "--call=%s is refused by atp-docker: it builds, and looks for no more than errors",
                       call);
    if (opt_given(opts, "disable-content-trust") && !opt_bool(opts, "disable-content-trust"))
        return refuse(err, "--disable-content-trust=false", "signatures are not checked");
    return 0;
}

int build_request_read(struct app *app, const struct opt_parsed *opts, struct build_request *r, struct err *err)
{
    (void)app;
    r->context = opt_args(opts)->items[0];
    r->file = opt_str(opts, "file");
    r->target = opt_str(opts, "target");
    r->iidfile = opt_str(opts, "iidfile");
    r->metadata_file = opt_str(opts, "metadata-file");
    r->pull = opt_bool(opts, "pull");
    /* stages cannot be told from each other in a request to the server: all of it is done anew, which is no less */
    r->no_cache = opt_bool(opts, "no-cache") || opt_list(opts, "no-cache-filter")->len;
    r->caches = opt_list(opts, "cache-from")->len || opt_list(opts, "cache-to")->len;
    strlist_copy(&r->add_hosts, opt_list(opts, "add-host"));
    read_build_args(opts, r);
    read_platform(opts, r);
    if (read_tags(opts, r, err) < 0 || read_labels(opts, r, err) < 0 || read_contexts(opts, r, err) < 0 ||
        read_network(opts, r, err) < 0 || read_outputs(opts, r, err) < 0 || read_look(opts, r, err) < 0 ||
        read_attestations(opts, err) < 0 || read_single(opts, err) < 0)
        return -1;
    if (!strcmp(r->context, "-") && !strcmp(r->file, "-"))
        return err_set(err, 1, "invalid argument: can't use stdin for both build context and dockerfile");
    return build_secrets_read(opt_list(opts, "secret"), &r->secrets, &r->secret_ids, err);
}
