#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"

#include <string.h>

/* The platform that was asked for, on the line or by DOCKER_DEFAULT_PLATFORM; NULL = the machine's. */
static const char *platform_of(const struct opt_parsed *opts)
{
    const char *platform = opt_str(opts, "platform");

    if (!*platform)
        platform = getenv("DOCKER_DEFAULT_PLATFORM");
    return platform && *platform ? platform : NULL;
}

/* Docker's lines around the progress, and the full reference at the end. */
static int pull_reference(struct app *app, const struct opt_parsed *opts, struct image_ref *ref, struct err *err)
{
    bool quiet = opt_bool(opts, "quiet"), news = false;
    struct pull_request req = {.ref = ref, .platform = platform_of(opts), .progress = quiet ? NULL : stdout};
    cleanup_free char *digest = NULL, *full = image_ref_name(ref), *familiar = image_ref_familiar(ref);
    struct state_image image = {0};

    if (catalog_pull(app, &req, &image, &digest, &news, err) < 0)
        return -1;
    if (!quiet && digest) /* an image that the server has by name comes from no registry */
        printf("Digest: %s\n", digest);
    if (!quiet)
        printf("Status: %s for %s\n", news ? "Downloaded newer image" : "Image is up to date", familiar);
    puts(full ? full : familiar);
    state_image_clear(&image);
    return 0;
}

static int pull_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *word = opt_args(opts)->items[0];
    struct image_ref ref = {0};
    int ret;

    if (image_ref_parse(word, &ref, err) < 0)
        return -1;
    if (ref.kind == IMAGE_ID) {
        image_ref_clear(&ref);
        return err_set(err, 1, "docker pull takes a name, not the image id %s", word);
    }
    if (ref.kind == IMAGE_REFERENCE && !ref.ref.digest &&
        !strchr(strrchr(word, '/') ? strrchr(word, '/') : word, ':') && !opt_bool(opts, "quiet"))
        puts("Using default tag: latest");
    ret = pull_reference(app, opts, &ref, err);
    image_ref_clear(&ref);
    return ret;
}

extern const struct cmd_def cmd_def_pull;

const struct command cmd_pull = {.def = &cmd_def_pull, .errors = ERROR_PLAIN, .run = pull_run};
