#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/events.h"

#include <string.h>

#define DAEMON "Error response from daemon: "

/* Docker's client looks at both words before it asks anybody. */
static int bad_word(const char *word, struct err *err)
{
    cleanup_free char *quoted = quote_go_str(word);

    return err_wrap(err, "Error parsing reference: %s is not a valid repository/tag", quoted);
}

/* The name that is to be given, normalised; owned by caller. */
static char *parse_target(const char *word, struct err *err)
{
    struct reference ref = {0};
    char *name = NULL;

    if (reference_parse(word, &ref, err) < 0) {
        bad_word(word, err);
        return NULL;
    }
    if (ref.digest) {
        err_set(err, 1, "refusing to create a tag with a digest reference");
    } else {
        reference_add_latest(&ref);
        name = reference_string(&ref);
    }
    reference_clear(&ref);
    return name;
}

static int tag_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *source = opt_args(opts)->items[0], *target = opt_args(opts)->items[1];
    struct state_image image = {0};
    struct image_ref ref = {0};
    cleanup_free char *name = NULL;
    int ret;

    if (image_ref_parse(source, &ref, err) < 0)
        return bad_word(source, err);
    image_ref_clear(&ref);
    name = parse_target(target, err);
    if (!name || catalog_find_word(app, source, &image, err) < 0)
        return -1;
    if (!strncmp(name, "docker.io/library/sha256:", strlen("docker.io/library/sha256:")))
        ret = err_set(err, 1, DAEMON "refusing to create an ambiguous tag using digest algorithm as name");
    else
        ret = state_image_tag(app->state, image.id, name, err);
    if (ret >= 0) {
        cleanup_free char *familiar = image_name_familiar(name);

        event_image(app, "tag", image.id, familiar);
    }
    state_image_clear(&image);
    return ret;
}

extern const struct cmd_def cmd_def_tag;

const struct command cmd_tag = {.def = &cmd_def_tag, .errors = ERROR_PLAIN, .run = tag_run};
