#include "shim/commit.h"

#include "backends/blobs/blobs.h"
#include "backends/modal/client.h"
#include "backends/modal/engine_images.h"
#include "backends/modal/image.h"
#include "backends/modal/task.h"
#include "backends/modal/task_snapshot.h"
#include "backends/registry/flatten.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/agent.h"
#include "shim/agent_layer.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/config_lines.h"
#include "shim/container.h"
#include "shim/events.h"
#include "shim/image_layers.h"
#include "shim/keep.h"
#include "shim/pod.h"
#include "translate/dockerfile/config.h"
#include "translate/reference.h"

#include <jansson.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DAEMON        "Error response from daemon: "
#define SNAPSHOT_SECS 86400 /* a commit that is killed leaves its snapshot to the server for a day at most */
#define TAR_BLOCK     512

DEFINE_CLEANUP(struct blob_writer *, blob_writer_free)

struct commit {
    struct app *app;
    const struct commit_request *req;
    struct container c;
    struct state_image parent;
    struct strlist closed; /* where something is mounted */
    json_t *config;
    char *snapshot; /* the server's id */
    bool plain;     /* the server tells nothing of its images: what is on top of the snapshot may as well stay there */
    bool stays;     /* the image stands on the snapshot */
    char *diff_id;  /* of the layer; NULL: nothing is different */
    char *layer;    /* its file */
    int64_t layer_size;
};

static void commit_clear(struct commit *m)
{
    if (m->snapshot && !m->stays)
        modal_image_delete(m->app->modal, m->snapshot, NULL);
    container_clear(&m->c);
    state_image_clear(&m->parent);
    strlist_clear(&m->closed);
    json_decref(m->config);
    free(m->snapshot);
    free(m->diff_id);
    free(m->layer);
}

/* ---- what it is made of ---- */

/* The image of the container, with its layers known: where nobody knew them they are made now. */
static int find_parent(struct commit *m, struct err *err)
{
    struct image_layers layers = IMAGE_LAYERS_INIT;
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    json_t *config;
    int got = state_image_kept(m->app->state, m->c.row.image_id ? m->c.row.image_id : "", &m->parent, err);

    if (got <= 0)
        return got < 0 ? -1 : err_set(err, 1, DAEMON "No such image: %s", m->c.row.image);
    config = df_config_load(m->parent.config, strlen(m->parent.config), err);
    if (!config)
        return -1;
    df_config_diff_ids(config, &ids);
    json_decref(config);
    if (ids.len || m->parent.pull)
        return 0;
    got = image_layers_open(m->app, &m->parent, &layers, err);
    image_layers_clear(&layers);
    return got;
}

static int find_all(struct commit *m, struct err *err)
{
    if (container_find(&m->c, m->req->container, err) < 0 || container_refresh(&m->c, err) < 0 ||
        container_load(&m->c, err) < 0)
        return -1;
    if (container_is(&m->c, "removing"))
        return err_set(err, 1, DAEMON "You cannot commit container %s which is being removed", m->c.row.id);
    if (find_parent(m, err) < 0)
        return -1;
    commit_closed(&m->c, &m->closed);
    m->config = commit_config(&m->c, m->parent.config, m->req, err);
    return m->config ? 0 : err_wrap(err, "Error response from daemon");
}

/* ---- the files ---- */

/* One that an image may come to stand on must not end by itself. */
static int64_t snapshot_ttl(const struct commit *m)
{
    return m->plain && !m->closed.len ? MODAL_SNAPSHOT_FOREVER : SNAPSHOT_SECS;
}

/* Of one that runs, as it is at this moment. 0 = it does not run. */
static int snapshot_running(struct commit *m, struct err *err)
{
    struct err why = ERR_INIT;

    if (!container_may_run(&m->c))
        return 0;
    if (container_open(&m->c, &why) < 0) {
        bool over = why.code == CONTAINER_NOT_RUNNING;

        if (!over)
            return err_move(err, &why);
        err_clear(&why);
        return 0;
    }
    if (pod_is_sidecar(&m->c.row))
        return pod_keep_files(&m->c, &m->snapshot, err) < 0 ? -1 : 1;
    return modal_task_snapshot(m->c.task, snapshot_ttl(m), &m->snapshot, err) < 0 ? -1 : 1;
}

/* Of one that does not: a sandbox on its files is there for a moment. */
static int snapshot_stopped(struct commit *m, struct err *err)
{
    int ret = container_wake(&m->c, err);

    if (ret == 0)
        ret = modal_task_snapshot(m->c.task, snapshot_ttl(m), &m->snapshot, err);
    if (container_sleep(&m->c, /* save= */ false, ret == 0 ? err : NULL) < 0)
        ret = -1;
    return ret;
}

/* Whether a tar has no entry. */
static bool is_empty_tar(int fd)
{
    static const char zeros[TAR_BLOCK];
    char block[TAR_BLOCK];

    return pread(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block) || memcmp(block, zeros, sizeof(block)) == 0;
}

/* What the snapshot has that the image has not, kept on this machine. */
static int make_layer(struct commit *m, struct err *err)
{
    struct blobs *blobs = app_blobs(m->app, err);
    cleanup_with(blob_writer_freep) struct blob_writer *w = blobs ? blob_writer_new(blobs, err) : NULL;
    cleanup_free char *base = NULL;

    if (!w || catalog_on_server(m->app, &m->parent, NULL, &base, err) < 0 ||
        agent_layer_make_without(m->app, base, m->snapshot, &m->closed, blob_writer_fd(w), &m->layer_size, err) < 0)
        return -1;
    if (is_empty_tar(blob_writer_fd(w))) {
        m->layer_size = 0;
        return 0;
    }
    return keep_layer(m->app, w, m->layer_size, &m->diff_id, &m->layer, err);
}

/* A container that never ran, and into which nothing was copied, is as its image is. */
static int make_files(struct commit *m, struct err *err)
{
    int got;

    if (container_is(&m->c, "created") && !m->c.row.files && !m->c.row.sandbox_id)
        return 0;
    got = engine_is_there(m->app->modal, err);
    if (got < 0)
        return -1;
    m->plain = got == 0;
    got = snapshot_running(m, err);
    if (got == 0)
        got = snapshot_stopped(m, err) < 0 ? -1 : 1;
    return got < 0 ? -1 : make_layer(m, err);
}

/* ---- on the server ---- */

static int to_writer(const void *bytes, size_t len, void *arg, struct err *err)
{
    return blob_writer_add(arg, bytes, len, err);
}

/* A layer of the parent as a file of this machine. */
static int fetch_layer(struct commit *m, struct image_layers *l, size_t i, struct strlist *paths, struct err *err)
{
    struct blobs *blobs = app_blobs(m->app, err);
    cleanup_with(blob_writer_freep) struct blob_writer *w = NULL;

    if (blobs_size(blobs, l->items[i].digest) != l->items[i].size) {
        w = blob_writer_new(blobs, err);
        if (!w || image_layer_read(m->app, l, i, to_writer, w, err) < 0 ||
            blob_writer_commit(w, l->items[i].digest, NULL, err) < 0)
            return -1;
    }
    strlist_add_owned(paths, blobs_file(blobs, l->items[i].digest));
    return 0;
}

/*
 * All layers as one tar: a builder's ADD takes nothing away, so where the layer does, nothing less will do. Where only
 * the agent looks into images the snapshot will, which has the agent in it besides: nothing has to travel.
 */
static int merge_layers(struct commit *m, char **ret_path, struct err *err)
{
    struct blobs *blobs = app_blobs(m->app, err);
    cleanup_with(blob_writer_freep) struct blob_writer *w = blob_writer_new(blobs, err);
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    struct image_layers l = IMAGE_LAYERS_INIT;
    cleanup_free char *digest = NULL;
    int ret = w ? image_layers_open(m->app, &m->parent, &l, err) : -1;

    for (size_t i = 0; ret == 0 && i < l.len; i++)
        ret = fetch_layer(m, &l, i, &paths, err);
    image_layers_clear(&l);
    strlist_add(&paths, m->layer);
    if (ret < 0 || flatten_layers(&paths, blob_writer_fd(w), err) < 0 || blob_writer_commit(w, NULL, &digest, err) < 0)
        return -1;
    *ret_path = blobs_file(blobs, digest);
    return 0;
}

/*
 * FROM what: the parent as the server knows it without the agent. 0 and *ret_base (NULL: it is pulled); *ret_copied: it
 * has triggers, and only its files are taken.
 */
static int parent_line(struct commit *m, struct modal_image_spec *spec, char **ret_base, char **ret_secret,
                       bool *ret_copied, struct err *err)
{
    int got = catalog_base_id(m->app, m->parent.id, ret_base, err);

    if (got == 0 && !m->parent.pull)
        return err_set(err, 1, "the image %s is not on this server", m->parent.id);
    if (got == 0 && catalog_pull_secret(m->app, m->parent.pull, ret_secret, err) < 0)
        return -1;
    if (got < 0)
        return -1;
    *ret_copied = config_from_lines(got > 0 ? "base" : m->parent.pull, m->parent.config, &spec->commands);
    spec->base_image_id = *ret_base;
    spec->registry_secret_id = *ret_secret;
    return 0;
}

/* The lines, and the file that they add (owned by caller, NULL: none). */
static int write_lines(struct commit *m, const char *config, struct modal_image_spec *spec, char **ret_base,
                       char **ret_secret, char **ret_file, struct err *err)
{
    cleanup_strlist struct strlist paths = STRLIST_INIT;
    bool merged = false, copied = false;

    if (m->layer) {
        strlist_add(&paths, m->layer);
        if (flatten_needed(&paths, &merged, err) < 0)
            return -1;
    }
    if (merged && m->plain && !m->closed.len) {
        m->stays = true;
        strlist_add(&spec->commands, "FROM base");
        spec->base_image_id = m->snapshot;
        merged = false;
    } else if (merged) {
        strlist_add(&spec->commands, "FROM scratch");
        if (merge_layers(m, ret_file, err) < 0)
            return -1;
    } else {
        *ret_file = xstrdup(m->layer);
        if (parent_line(m, spec, ret_base, ret_secret, &copied, err) < 0)
            return -1;
    }
    if (*ret_file)
        strlist_add(&spec->commands, "ADD layer.tar /");
    config_lines(config, merged || copied ? CONFIG_LINES_SCRATCH : CONFIG_LINES_OVER, &spec->commands);
    return 0;
}

/* The image on the server, without the agent. */
static int put_on_server(struct commit *m, const char *config, char **ret_modal_id, struct err *err)
{
    cleanup_free char *base = NULL, *secret = NULL, *file = NULL, *app_id = NULL, *mount_id = NULL;
    struct modal_image_spec spec = {0};
    struct modal_image built = MODAL_IMAGE_INIT;
    int ret = write_lines(m, config, &spec, &base, &secret, &file, err);
    const struct modal_mount_file layer = {.remote = "/layer.tar", .path = file, .mode = 0644};

    if (ret == 0)
        ret = modal_app_id(m->app->modal, AGENT_APP, &app_id, err);
    if (ret == 0 && file)
        ret = modal_mount_create(m->app->modal, app_id, &layer, 1, &mount_id, err);
    if (ret == 0) {
        spec.app_id = app_id;
        spec.context_mount_id = mount_id;
        modal_image_forget(m->app->modal, &spec); /* it may have been removed meanwhile */
        ret = modal_image_build(m->app->modal, &spec, NULL, NULL, &built, err);
    }
    if (ret == 0)
        *ret_modal_id = steal(&built.id);
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    return ret;
}

/* ---- the image ---- */

/* The sizes of the parent's layers, and of the new one; owned by caller. */
static char *sizes_with(const struct commit *m)
{
    json_auto_t *sizes = m->parent.layers ? json_loads(m->parent.layers, 0, NULL) : NULL;

    if (!json_is_array(sizes))
        return NULL;
    if (m->diff_id)
        json_array_append_new(sizes, json_integer(m->layer_size));
    return json_dumps(sizes, JSON_COMPACT);
}

/* The events, in Docker's order. */
static void tell(struct commit *m, const char *id)
{
    cleanup_free char *name = m->req->name ? image_name_familiar(m->req->name) : xstrdup("");

    if (*name)
        event_image(m->app, "tag", id, name);
    event_container(&m->c, "commit", "comment", m->req->message ? m->req->message : "", "imageID", id, "imageRef", name,
                    NULL);
}

static int make_image(struct commit *m, char **ret_id, struct err *err)
{
    cleanup_free char *config = commit_config_text(m->config, &m->c, m->req, m->diff_id), *id = keep_image_id(config);
    cleanup_free char *sizes = sizes_with(m), *modal_id = NULL;
    cleanup_strlist struct strlist names = STRLIST_INIT;
    const struct state_image image = {
        .id = id,
        .config = config,
        .source = (char *)"commit",
        .layers = sizes,
        .parent = m->parent.id,
        .size = m->parent.size + m->layer_size,
        .created = time(NULL),
        .added = time(NULL),
    };

    if (m->req->name)
        strlist_add(&names, m->req->name);
    if (put_on_server(m, config, &modal_id, err) < 0 || catalog_made(m->app, &image, &names, modal_id, err) < 0) {
        m->stays = false;
        return -1;
    }
    if (m->stays && state_server_image_put(m->app->state, m->app->server_key, id, "snapshot", m->snapshot, err) < 0)
        return -1;
    tell(m, id);
    *ret_id = steal(&id);
    return 0;
}

int commit_container(struct app *app, const struct commit_request *req, char **ret_id, struct err *err)
{
    cleanup_with(commit_clear) struct commit m = {.app = app, .req = req};

    container_init(&m.c, app);
    if (find_all(&m, err) < 0)
        return -1;
    if (app_modal(app, err) < 0 || make_files(&m, err) < 0 || make_image(&m, ret_id, err) < 0)
        return err_wrap(err, "Error response from daemon");
    return 0;
}
