#include "shim/build/output.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/beneath.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"
#include "backends/registry/flatten.h"
#include "shim/app.h"
#include "shim/build/request.h"
#include "shim/build/solve.h"
#include "shim/build/source.h"
#include "shim/catalog.h"
#include "shim/image_layers.h"
#include "shim/output_file.h"
#include "shim/progress.h"
#include "shim/push.h"
#include "shim/save.h"
#include "translate/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --metadata-file, with what buildx writes for an image of the docker driver. */
static int write_metadata(const struct build_request *r, const struct build_result *result, const char *pushed,
                          struct err *err)
{
    cleanup_free char *text = NULL, *names = NULL;
    json_t *root = json_object();
    char random[26];
    int ret;

    for (size_t i = 0; i < r->tags.len; i++) {
        char *more = xasprintf("%s%s%s", names ? names : "", names ? "," : "", r->tags.items[i]);

        free(names);
        names = more;
    }
    if (random_hex(random, 25, err) < 0) {
        json_decref(root);
        return -1;
    }
    json_object_set_new(root, "buildx.build.ref", json_sprintf("default/default/%s", random));
    json_object_set_new(root, "containerimage.config.digest", json_string(result->image.id));
    json_object_set_new(root, "containerimage.digest", json_string(pushed ? pushed : result->image.id));
    if (names)
        json_object_set_new(root, "image.name", json_string(names));
    text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    ret = fs_write_file(r->metadata_file, text, strlen(text), 0644, err);
    return ret;
}

/* --push: every name. What docker push says goes where the build's progress went. */
static int push_all(struct app *app, const struct build_request *r, struct build_result *result, char **ret_digest,
                    struct err *err)
{
    struct progress *progress = progress_new(r->quiet ? NULL : stderr);
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < r->tags.len; i++) {
        struct reference ref = {0};
        struct pushed pushed = {0};

        ret = reference_parse(r->tags.items[i], &ref, err);
        if (ret == 0)
            ret = push_image(app, &result->image, &ref, progress, &pushed, err);
        if (ret == 0) {
            progress_line(progress, "%s: digest: %s size: %lld", ref.tag, pushed.digest, pushed.size);
            free(*ret_digest);
            *ret_digest = xstrdup(pushed.digest);
        }
        pushed_clear(&pushed);
        reference_clear(&ref);
    }
    progress_free(progress);
    return ret < 0 ? err_wrap(err, "failed to solve: failed to push") : 0;
}

/* --output type=docker,dest=: the archive of `docker save`. */
static int write_archive(struct app *app, const struct build_request *r, const struct build_result *result,
                         struct err *err)
{
    cleanup_with(output_file_clear) struct output_file out = OUTPUT_FILE_INIT;
    cleanup_with(save_list_clear) struct save_list list = SAVE_LIST_INIT;
    const char *dest = r->dest && strcmp(r->dest, "-") ? r->dest : "";

    if (output_file_open(dest, "save image", &out, err) < 0)
        return -1;
    for (size_t i = 0; i < r->tags.len; i++)
        if (save_list_add(app, &list, r->tags.items[i], err) < 0)
            return -1;
    if (!r->tags.len && save_list_add(app, &list, result->image.id, err) < 0)
        return -1;
    if (save_write(app, &list, out.fd, err) < 0)
        return -1;
    return output_file_commit(&out, err);
}

/* ---- the files alone: type=tar and type=local ---- */

static int to_file(const void *bytes, size_t len, void *arg, struct err *err)
{
    const char *from = bytes;

    if (build_cancelled)
        return build_signalled(err);
    while (len) {
        ssize_t n = write(*(const int *)arg, from, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 1, errno, "writing a layer");
        from += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The image's layers as files of the folder. */
static int fetch_layers(struct app *app, struct state_image *image, const struct build_temp *temp,
                        struct strlist *ret_paths, struct err *err)
{
    struct image_layers layers = IMAGE_LAYERS_INIT;
    int ret = image_layers_open(app, image, &layers, err);

    for (size_t i = 0; ret == 0 && i < layers.len; i++) {
        cleanup_free char *path = xasprintf("%s/layer%zu", temp->path, i);
        cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        ret = fd < 0 ? err_set_errno(err, 1, errno, "%s", path) : image_layer_read(app, &layers, i, to_file, &fd, err);
        strlist_add(ret_paths, path);
    }
    image_layers_clear(&layers);
    return ret;
}

static int lay_out(const char *dest, int tar, struct err *err)
{
    const struct buf nothing = BUF_INIT(0);
    cleanup_close int root = -1;

    if (fs_mkdirs(dest, 0755, err) < 0)
        return -1;
    root = open(dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || lseek(tar, 0, SEEK_SET) < 0)
        return err_set_errno(err, 1, errno, "%s", dest);
    return build_unpack(tar, &nothing, root, err);
}

static int write_files(struct app *app, const struct build_request *r, struct build_result *result, struct err *err)
{
    cleanup_with(output_file_clear) struct output_file out = OUTPUT_FILE_INIT;
    cleanup_with(build_temp_clear) struct build_temp temp = BUILD_TEMP_INIT;
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    cleanup_close int tar = -1;
    bool local = r->output == BUILD_OUTPUT_LOCAL;

    if (!local && output_file_open(r->dest && strcmp(r->dest, "-") ? r->dest : "", "export files", &out, err) < 0)
        return -1;
    if (build_temp_new(&temp, err) < 0 || fetch_layers(app, &result->image, &temp, &paths, err) < 0)
        return -1;
    if (!local)
        return flatten_layers(&paths, out.fd, err) < 0 ? -1 : output_file_commit(&out, err);
    tar = beneath_unnamed_open(temp.dir);
    if (tar < 0)
        return err_set_errno(err, 1, errno, "%s", temp.path);
    return flatten_layers(&paths, tar, err) < 0 ? -1 : lay_out(r->dest, tar, err);
}

/* The image was wanted for its files: it goes, unless it was here before. */
static int bring_files(struct app *app, const struct build_request *r, struct build_result *result, struct err *err)
{
    int ret = write_files(app, r, result, err);

    if (!result->was_here) {
        struct catalog_gone gone = {0};

        catalog_remove_unused(app, result->image.id, &gone, NULL);
        catalog_gone_clear(&gone);
        catalog_sweep(app);
    }
    return ret < 0 && !build_cancelled ? err_wrap(err, "failed to solve") : ret;
}

/* The last lines on stdout: the id alone, or the classic builder's. */
static void print_result(const struct build_request *r, const struct build_result *result)
{
    if (r->quiet) {
        puts(result->image.id);
    } else if (r->classic) {
        printf(" ---> %.12s\nSuccessfully built %.12s\n", result->image.id + strlen("sha256:"),
               result->image.id + strlen("sha256:"));
        for (size_t i = 0; i < r->tags.len; i++) {
            struct reference ref = {0};
            char *familiar = NULL;

            if (reference_parse(r->tags.items[i], &ref, NULL) == 0)
                familiar = reference_familiar(&ref);
            printf("Successfully tagged %s\n", familiar ? familiar : r->tags.items[i]);
            free(familiar);
            reference_clear(&ref);
        }
    }
}

int build_output(struct app *app, const struct build_request *r, struct build_result *result, struct err *err)
{
    cleanup_free char *digest = NULL;

    if (r->output == BUILD_OUTPUT_TAR || r->output == BUILD_OUTPUT_LOCAL)
        return bring_files(app, r, result, err);
    if (r->output == BUILD_OUTPUT_DOCKER && write_archive(app, r, result, err) < 0)
        return -1;
    if (r->push && push_all(app, r, result, &digest, err) < 0)
        return -1;
    /* the image's id may have become another while its layers were made */
    if (r->iidfile && *r->iidfile &&
        fs_write_file(r->iidfile, result->image.id, strlen(result->image.id), 0644, err) < 0)
        return -1;
    if (r->metadata_file && *r->metadata_file && write_metadata(r, result, digest, err) < 0)
        return -1;
    print_result(r, result);
    return 0;
}
