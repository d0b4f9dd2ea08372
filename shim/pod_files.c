/*
 * The files of a sidecar, which the platform takes no snapshots of: what is different from its image, told by its
 * agent, as a layer on that image. A builder's ADD takes nothing away, so where something was deleted all of the files
 * are taken, onto nothing.
 */
#include "backends/modal/client.h"
#include "backends/modal/image.h"
#include "backends/registry/flatten.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/agent.h"
#include "shim/agent_layer.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/pod_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LAYER_REMOTE "/layer.tar"

/* A file for the layer, with a name that goes with it. */
static int open_spool(char **ret_path, struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    cleanup_free char *path = xasprintf("%s/atp-layer-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);

    if (fd < 0)
        return err_set_errno(err, 125, errno, "keeping a layer");
    *ret_path = steal(&path);
    return fd;
}

/* The image's id on the server, with the agent on top. */
static int find_base(struct container *c, char **ret, struct err *err)
{
    struct state_image image = {0};
    int got = state_image_kept(c->app->state, c->row.image_id ? c->row.image_id : "", &image, err);

    if (got == 0)
        err_set(err, 1, "its image %s is not known any more", c->row.image);
    if (got > 0)
        got = catalog_on_server(c->app, &image, NULL, ret, err) < 0 ? -1 : 1;
    state_image_clear(&image);
    return got > 0 ? 0 : -1;
}

/* The layer on what has the agent in it. */
static int build(struct container *c, const char *base, const char *path, char **ret_image, struct err *err)
{
    const struct modal_mount_file layer = {.remote = LAYER_REMOTE, .path = path, .mode = 0644};
    cleanup_free char *app_id = NULL, *mount_id = NULL;
    struct modal_image_spec spec = {.base_image_id = base};
    struct modal_image built = MODAL_IMAGE_INIT;
    int ret = modal_app_id(c->app->modal, AGENT_APP, &app_id, err);

    if (ret == 0)
        ret = modal_mount_create(c->app->modal, app_id, &layer, 1, &mount_id, err);
    if (ret == 0) {
        spec.app_id = app_id;
        spec.context_mount_id = mount_id;
        strlist_add(&spec.commands, "FROM base");
        strlist_add(&spec.commands, "ADD layer.tar /");
        /* the same files of two containers, or of two ends of one, are two images: each is deleted by itself */
        strlist_addf(&spec.commands, "LABEL atp.files=%.12s-%llx", c->row.id, (unsigned long long)container_now_ns());
        modal_image_forget(c->app->modal, &spec);
        ret = modal_image_build(c->app->modal, &spec, NULL, NULL, &built, err);
    }
    if (ret == 0)
        *ret_image = steal(&built.id);
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    return ret;
}

/* All of it, onto nothing but the agent. */
static int build_whole(struct container *c, int fd, const char *path, char **ret_image, struct err *err)
{
    cleanup_free char *hub = NULL;
    int64_t size = 0;

    if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return err_set_errno(err, 125, errno, "keeping a layer");
    if (agent_layer_make_running(c->app, NULL, c->task, c->row.sandbox_id, fd, &size, err) < 0 ||
        pod_hub_image(c->app, /* anew= */ false, &hub, err) < 0)
        return -1;
    return build(c, hub, path, ret_image, err);
}

int pod_keep_files(struct container *c, char **ret_image, struct err *err)
{
    cleanup_free char *base = NULL, *path = NULL;
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    cleanup_close int fd = -1;
    bool deletions = false;
    int64_t size = 0;
    int ret;

    if (find_base(c, &base, err) < 0)
        return -1;
    fd = open_spool(&path, err);
    if (fd < 0)
        return -1;
    strlist_add(&paths, path);
    ret = agent_layer_make_running(c->app, base, c->task, c->row.sandbox_id, fd, &size, err);
    if (ret == 0)
        ret = flatten_needed(&paths, &deletions, err);
    if (ret == 0)
        ret = deletions ? build_whole(c, fd, path, ret_image, err) : build(c, base, path, ret_image, err);
    unlink(path);
    return ret;
}
