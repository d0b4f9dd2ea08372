#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/events.h"
#include "shim/progress.h"
#include "shim/push.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PLATFORM_NOTE                                                                                                  \
    "Using --platform pushes only the specified platform manifest of a multi-platform image index.\n"                  \
    "Other components, like attestations, will not be included.\n"                                                     \
    "To push the complete multi-platform image, remove the --platform flag.\n"

/* Docker's notes: a header, and its lines below one another. */
static void print_note(const char *text)
{
    bool fancy = tty_is(STDOUT_FILENO);
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    strlist_split(&lines, text, '\n');
    printf("\n%s", fancy ? "\033[1m\033[106m\033[30mi\033[0m \033[96mInfo \342\206\222 \033[0m" : " Info -> ");
    for (size_t i = 0; i < lines.len; i++)
        printf("%s%s%s%s\n", i ? "         " : "", fancy ? "\033[3m" : "", lines.items[i], fancy ? "\033[0m" : "");
}

/* An image of several platforms was pulled in part: what was pushed has another digest than its index. */
static void print_index_note(const struct pushed *pushed)
{
    cleanup_free char *text = xasprintf("Not all multiplatform-content is present and only the available "
                                        "single-platform image was pushed\n%s -> %s",
                                        pushed->was_index, pushed->digest);

    print_note(text);
}

/* One tag: Docker's line with the digest, and the note behind it. */
static int push_tag(struct app *app, const struct reference *ref, struct progress *progress, bool quiet,
                    struct err *err)
{
    cleanup_free char *full = reference_string(ref), *familiar = reference_familiar(ref), *name = NULL;
    struct reference bare = {0}; /* borrowed */
    struct state_image image = {0};
    struct pushed pushed = {0};
    int got = state_image_by_ref(app->state, full, &image, err);

    if (got == 0)
        got = err_set(err, 1, "tag does not exist: %s", familiar);
    if (got > 0)
        got = push_image(app, &image, ref, progress, &pushed, err);
    if (got == 0) {
        progress_line(progress, "%s: digest: %s size: %lld", ref->tag, pushed.digest, pushed.size);
        if (quiet)
            puts(full);
        bare.domain = ref->domain;
        bare.path = ref->path;
        name = reference_familiar(&bare);
        event_image(app, "push", familiar, name);
        if (pushed.was_index)
            print_index_note(&pushed);
    }
    pushed_clear(&pushed);
    state_image_clear(&image);
    return got;
}

/* The tags of the repository on this machine, as full references. */
static int find_tags(struct app *app, const struct reference *ref, struct strlist *ret, struct err *err)
{
    cleanup_free char *name = reference_name(ref);
    struct state_image *images = NULL;
    size_t len = 0;
    int got = state_image_list(app->state, &images, &len, err);

    for (size_t i = 0; got == 0 && i < len; i++) {
        cleanup_strlist struct strlist refs = STRLIST_INIT, digests = STRLIST_INIT;

        got = state_image_tags(app->state, images[i].id, &refs, &digests, err);
        for (size_t k = 0; got == 0 && k < refs.len; k++) {
            if (!strncmp(refs.items[k], name, strlen(name)) && refs.items[k][strlen(name)] == ':')
                strlist_add(ret, refs.items[k]);
        }
    }
    for (size_t i = 0; i < len; i++)
        state_image_clear(&images[i]);
    free(images);
    strlist_sort(ret);
    return got;
}

/* What there is to push, or Docker's sentence for nothing. */
static int choose(struct app *app, const struct reference *ref, bool all, struct strlist *ret, struct err *err)
{
    struct reference bare = {.domain = ref->domain, .path = ref->path};
    cleanup_free char *familiar = reference_familiar(&bare);

    if (find_tags(app, ref, ret, err) < 0)
        return -1;
    if (!ret->len)
        return err_set(err, 1, "An image does not exist locally with the tag: %s", familiar);
    if (!all) {
        strlist_clear(ret);
        strlist_add_owned(ret, reference_string(ref));
    }
    return 0;
}

static int push_reference(struct app *app, const struct opt_parsed *opts, const struct reference *ref, struct err *err)
{
    bool quiet = opt_bool(opts, "quiet"), all = opt_bool(opts, "all-tags");
    struct progress *progress = progress_new(quiet ? NULL : stdout);
    cleanup_strlist struct strlist tags = STRLIST_INIT;
    cleanup_free char *name = reference_name(ref);
    int ret;

    progress_line(progress, "The push refers to repository [%s]", name);
    ret = app_state(app, err);
    if (ret == 0)
        ret = choose(app, ref, all, &tags, err);
    for (size_t i = 0; ret == 0 && i < tags.len; i++) {
        struct reference tag = {0};

        ret = reference_parse(tags.items[i], &tag, err);
        if (ret == 0)
            ret = push_tag(app, &tag, progress, quiet && !all, err);
        reference_clear(&tag);
    }
    if (ret == 0 && quiet && all)
        puts(name);
    progress_free(progress);
    return ret;
}

static int push_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *platform = opt_str(opts, "platform");
    bool all = opt_bool(opts, "all-tags");
    struct reference ref = {0};
    int ret;

    if (!opt_bool(opts, "disable-content-trust"))
        return err_set(err, 125, "--disable-content-trust=false is refused by atp-docker: images are not signed");
    if (*platform) {
        if (catalog_check_platform(platform, err) < 0)
            return -1;
        print_note(PLATFORM_NOTE);
    }
    if (reference_parse(opt_args(opts)->items[0], &ref, err) < 0)
        return -1;
    if (all && (ref.tag || ref.digest)) {
        ret = err_set(err, 1, "tag can't be used with --all-tags/-a");
    } else if (ref.digest) {
        ret = err_set(err, 1, "cannot push a digest reference");
    } else {
        if (!all && !ref.tag && !opt_bool(opts, "quiet"))
            puts("Using default tag: latest");
        reference_add_latest(&ref);
        ret = push_reference(app, opts, &ref, err);
    }
    reference_clear(&ref);
    return ret;
}

extern const struct cmd_def cmd_def_push;

const struct command cmd_push = {.def = &cmd_def_push, .errors = ERROR_PLAIN, .run = push_run};
