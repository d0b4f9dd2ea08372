#include "backends/registry/auth.h"
#include "backends/registry/push.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/events.h"

#include <string.h>

/* The platform that was asked for, on the line or by DOCKER_DEFAULT_PLATFORM; NULL = the machine's. */
static const char *platform_of(const struct opt_parsed *opts)
{
    const char *platform = opt_str(opts, "platform");

    if (!*platform)
        platform = getenv("DOCKER_DEFAULT_PLATFORM");
    return platform && *platform ? platform : NULL;
}

/* One tag; *ret_news is set when anything changed. */
static int pull_one(struct app *app, const struct opt_parsed *opts, struct image_ref *ref, bool *ret_news,
                    struct err *err)
{
    bool quiet = opt_bool(opts, "quiet"), news = false;
    struct pull_request req = {.ref = ref, .platform = platform_of(opts), .progress = quiet ? NULL : stdout};
    cleanup_free char *digest = NULL;
    struct state_image image = {0};

    if (catalog_pull(app, &req, &image, &digest, &news, err) < 0)
        return -1;
    if (!quiet && digest) /* an image that the server has by name comes from no registry */
        printf("Digest: %s\n", digest);
    *ret_news |= news;
    state_image_clear(&image);
    return 0;
}

static void print_status(const struct opt_parsed *opts, bool news, const char *familiar, const char *full)
{
    if (!opt_bool(opts, "quiet"))
        printf("Status: %s for %s\n", news ? "Downloaded newer image" : "Image is up to date", familiar);
    puts(full);
}

static int pull_reference(struct app *app, const struct opt_parsed *opts, struct image_ref *ref, struct err *err)
{
    cleanup_free char *full = image_ref_name(ref), *familiar = image_ref_familiar(ref), *told_name = NULL;
    const char *slash = strrchr(familiar, '/'), *colon = strpbrk(slash ? slash : familiar, ":@");
    bool news = false;

    if (pull_one(app, opts, ref, &news, err) < 0)
        return -1;
    print_status(opts, news, familiar, full ? full : familiar);
    told_name = xstrndup(familiar, colon ? (size_t)(colon - familiar) : strlen(familiar));
    event_image(app, "pull", familiar, told_name);
    return 0;
}

/* What the registry has of the repository. */
static int list_tags(struct app *app, const char *name, struct strlist *ret, struct err *err)
{
    struct registry_options options = {.credentials = auth_find};
    struct registry *r;
    int got;

    if (app_config(app, err) < 0)
        return -1;
    options.mirrors = &app->config->mirrors;
    r = registry_open(name, &options, err);
    got = r ? registry_tags(r, ret, err) : -1;
    registry_free(r);
    if (got < 0)
        return err_wrap(err, "Error response from daemon");
    return ret->len ? 0
                    : err_set(err, 1, "Error response from daemon: manifest for %s not found: it has no tags", name);
}

/* -a: every tag of the repository, one after the other. */
static int pull_all(struct app *app, const struct opt_parsed *opts, const struct reference *ref, struct err *err)
{
    struct reference bare = {.domain = ref->domain, .path = ref->path};
    cleanup_free char *name = reference_name(ref), *familiar = reference_familiar(&bare);
    cleanup_strlist struct strlist tags = STRLIST_INIT;
    bool news = false;
    int ret = list_tags(app, name, &tags, err);

    for (size_t i = 0; ret == 0 && i < tags.len; i++) {
        cleanup_free char *word = xasprintf("%s:%s", name, tags.items[i]);
        struct image_ref one = {0};

        ret = image_ref_parse(word, &one, err);
        if (ret == 0)
            ret = pull_one(app, opts, &one, &news, err);
        image_ref_clear(&one);
    }
    if (ret == 0)
        print_status(opts, news, familiar, name);
    return ret;
}

static bool says_tag(const char *word)
{
    return strchr(strrchr(word, '/') ? strrchr(word, '/') : word, ':');
}

static int pull_word(struct app *app, const struct opt_parsed *opts, const char *word, struct image_ref *ref,
                     struct err *err)
{
    bool bare = ref->kind == IMAGE_REFERENCE && !ref->ref.digest && !says_tag(word);

    if (ref->kind == IMAGE_ID)
        return err_set(err, 1, "docker pull takes a name, not the image id %s", word);
    if (opt_bool(opts, "all-tags")) {
        if (!bare)
            return err_set(err, 1, "tag can't be used with --all-tags/-a");
        return pull_all(app, opts, &ref->ref, err);
    }
    if (bare && !opt_bool(opts, "quiet"))
        puts("Using default tag: latest");
    return pull_reference(app, opts, ref, err);
}

static int pull_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *word = opt_args(opts)->items[0];
    struct image_ref ref = {0};
    int ret;

    if (!opt_bool(opts, "disable-content-trust"))
        return err_set(err, 125,
                       "--disable-content-trust=false is refused by atp-docker: image signatures are not looked at");
    if (image_ref_parse(word, &ref, err) < 0)
        return -1;
    ret = pull_word(app, opts, word, &ref, err);
    image_ref_clear(&ref);
    return ret;
}

extern const struct cmd_def cmd_def_pull;

const struct command cmd_pull = {.def = &cmd_def_pull, .errors = ERROR_PLAIN, .run = pull_run};
