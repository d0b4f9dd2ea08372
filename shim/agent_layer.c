#include "shim/agent_layer.h"

#include "backends/grpc/frame.h"
#include "backends/modal/image.h"
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/beneath.h"
#include "shim/app.h"
#include "shim/catalog_private.h"
#include "shim/inquiry.h"
#include "shim/layer_tar.h"
#include "shim/sandbox.h"
#include "translate/image_config.h"
#include "translate/names.h"
#include "translate/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define LIFETIME    "3600" /* seconds: a whole image may come through it */
#define ALONE       "120"  /* seconds that it stays when its client was killed */
#define PATIENCE_MS 120000 /* for its agent to answer: the sandbox may be waiting for a machine */
#define LIST_MAX    (INT64_C(4) << 30)
#define PIECE       (64u << 10)
#define ENV_MAX     4096u

/* ---- a sandbox to look into an image ---- */

struct probe {
    struct app *app;
    struct state_container row; /* never in the state: an intent without a container is ended by who finds it */
    struct modal_task *task;
    bool borrowed; /* row and task are somebody's container */
    char *image;   /* the server's, with our agent on top; for this once */
};

/* The image is deleted, or nobody would ever: no name leads to it. */
static void probe_close(struct probe *p)
{
    if (p->borrowed)
        return;
    modal_task_free(p->task);
    if (p->row.sandbox_id)
        sandbox_end(p->app, &p->row);
    if (p->image)
        modal_image_delete(p->app->modal, p->image, NULL);
    free(p->image);
    state_container_clear(&p->row);
}

/* No network, nothing mounted, an hour at most. */
static int probe_spec(struct container_spec *ret, struct err *err)
{
    uint8_t random[32];

    spec_init(ret);
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_set_errno(err, 125, errno, "reading random bytes");
    container_id_make(random, ret->id);
    ret->network = NETWORK_NONE;
    if (modal_options_set(&ret->modal, MODAL_FROM_LABEL, "the layer's sandbox", "timeout", LIFETIME, err) < 0)
        return -1;
    return modal_options_set(&ret->modal, MODAL_FROM_LABEL, "the layer's sandbox", "orphan_grace", ALONE, err);
}

/* -1: nothing is left of it. */
static int probe_open(struct probe *p, struct app *app, const char *image, struct err *err)
{
    struct container_spec spec;
    int ret = -1;

    *p = (struct probe){.app = app};
    if (app_state(app, err) < 0 || app_modal(app, err) < 0)
        return -1;
    if (probe_spec(&spec, err) == 0) {
        for (int anew = 0; anew < 2 && ret < 0; anew++) {
            cleanup_free char *id = NULL;
            struct err why = ERR_INIT;

            p->row.id = xstrdup(spec.id);
            /* what is remembered of an earlier one was deleted */
            if (catalog_probe_image(app, image, /* anew= */ true, &id, &why) == 0)
                ret = sandbox_create(app, &spec, id, NULL, NULL, 0, &p->row, &p->task, &why);
            if (ret == 0) {
                p->image = steal(&id);
                break;
            }
            state_container_clear(&p->row);
            if (anew || why.code != GRPC_NOT_FOUND) {
                err_move(err, &why);
                break;
            }
            err_clear(&why);
        }
    }
    spec_clear(&spec);
    return ret;
}

/* ---- a question ---- */

/* What an answer's tree is for. */
struct asking {
    struct session *session; /* NULL: not now */
    int spool;               /* the list of the base, which is written or read; -1: none */
    int64_t at, size;        /* in it */
    struct layer_tar *tar;
    const struct strlist *closed; /* not for the layer; NULL: nothing */
    bool ended;
    bool wants_contents; /* the list must have them: files look the same and may not be */
    struct err err;
};

static void on_begun(void *arg, struct session *s)
{
    ((struct asking *)arg)->session = s;
}

static void on_over(void *arg)
{
    ((struct asking *)arg)->session = NULL;
}

static void give_up(struct asking *a)
{
    if (a->session)
        session_lost(a->session, a->err.msg);
}

static void on_end(void *arg)
{
    ((struct asking *)arg)->ended = true;
}

/* No error yet: it is asked again. */
static int refuse_for_contents(struct asking *a)
{
    a->wants_contents = true;
    return -1;
}

/* Asks; the answer's own words are the error. */
static int probe_ask(struct probe *p, uint8_t kind, uint8_t flags, const struct inquiry_tree *tree, struct asking *a,
                     struct buf *ret_text, struct err *err)
{
    struct inquiry q;
    int ret = 0;

    inquiry_init(&q, p->row.sandbox_id, kind);
    q.ask.flags = flags;
    q.task = p->task;
    q.patience_ms = PATIENCE_MS;
    q.quiet = q.alone = true;
    q.tree = tree;
    q.tree_arg = a;
    inquiry_run(p->app, &q, 1, 0);
    if (a && a->err.msg)
        ret = err_move(err, &a->err);
    else if (q.done && q.end == SESSION_REFUSED && q.code == WIRE_LAYER_CONTENTS && kind == WIRE_ASK_LAYER)
        ret = refuse_for_contents(a);
    else if (!q.done || q.end != SESSION_EXITED || q.code != 0)
        ret = err_set(err, 125, "%s", q.err.msg ? q.err.msg : "its agent did not answer");
    else if (tree && !a->ended)
        ret = err_set(err, 125, "its agent sent no end");
    else if (ret_text && q.out.overflowed)
        ret = err_set(err, 125, "its agent sent too much");
    else if (ret_text && buf_add(ret_text, q.out.data, q.out.len) < 0)
        ret = err_set(err, 125, "its agent sent too much");
    inquiry_clear(&q);
    return ret;
}

/* ---- the list of the base ---- */

static void on_list(void *arg, const void *bytes, size_t len)
{
    struct asking *a = arg;

    if (a->err.msg)
        return;
    if (a->size + (int64_t)len > LIST_MAX)
        err_set(&a->err, 125, "its agent sent too long a list of files");
    else if (pwrite(a->spool, bytes, len, a->size) != (ssize_t)len)
        err_set_errno(&a->err, 125, errno, "keeping the list of files");
    a->size += (int64_t)len;
    if (a->err.msg)
        give_up(a);
    else if (a->session)
        session_tree_taken(a->session, len);
}

static const struct inquiry_tree into_list = {.begun = on_begun, .over = on_over, .bytes = on_list, .end = on_end};

/* A file without a name, below $TMPDIR. */
static int open_spool(struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    cleanup_close int dir = open(tmp && *tmp ? tmp : "/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = dir < 0 ? -1 : beneath_unnamed_open(dir);

    return fd < 0 ? err_set_errno(err, 125, errno, "keeping the list of files") : fd;
}

/* contents: with their digests, for which all of the image is read. */
static int list_of(struct app *app, const char *image, bool contents, struct asking *ret, struct err *err)
{
    struct probe p;
    int status;

    ret->size = 0;
    ret->ended = false;
    if (ret->spool < 0)
        ret->spool = open_spool(err);
    if (ret->spool < 0 || probe_open(&p, app, image, err) < 0)
        return -1;
    status = probe_ask(&p, WIRE_ASK_LIST, contents ? WIRE_ASK_CONTENTS : 0, &into_list, ret, NULL, err);
    probe_close(&p);
    return status;
}

/* ---- the layer ---- */

static void on_layer(void *arg, const void *bytes, size_t len)
{
    struct asking *a = arg;

    if (a->err.msg)
        return;
    if (layer_tar_feed(a->tar, bytes, len, &a->err) < 0)
        give_up(a);
    else if (a->session)
        session_tree_taken(a->session, len);
}

/* Sends the base's list while the agent takes it. */
static void push_list(void *arg)
{
    struct asking *a = arg;

    while (a->session && !a->err.msg && a->at < a->size) {
        char piece[PIECE];
        ssize_t n = pread(a->spool, piece, sizeof(piece), a->at);
        size_t taken;

        if (n <= 0) {
            err_set_errno(&a->err, 125, n < 0 ? errno : EIO, "reading the list of files");
            give_up(a);
            return;
        }
        taken = session_tree(a->session, piece, (size_t)n);
        a->at += (int64_t)taken;
        if (taken < (size_t)n)
            return; /* until it is ready again */
    }
    if (a->session && !a->err.msg)
        session_tree_end(a->session);
}

static const struct inquiry_tree into_layer = {
    .begun = on_begun, .over = on_over, .bytes = on_layer, .end = on_end, .ready = push_list};

/* What the layer leads to: an image, or a container that runs. */
struct goal {
    const char *image; /* NULL: the container */
    struct modal_task *task;
    const char *place;
};

static int goal_open(struct probe *p, struct app *app, const struct goal *goal, struct err *err)
{
    if (goal->image)
        return probe_open(p, app, goal->image, err);
    *p = (struct probe){.app = app, .row = {.sandbox_id = (char *)goal->place}, .task = goal->task, .borrowed = true};
    return 0;
}

/* The layer that leads from the list to the goal. */
static int layer_of(struct app *app, const struct goal *goal, struct asking *a, int fd, int64_t *ret_size,
                    struct err *err)
{
    struct probe p;
    int status = -1;

    a->ended = a->wants_contents = false;
    a->at = 0;
    layer_tar_free(a->tar);
    a->tar = layer_tar_new(fd, err);
    if (a->tar && a->closed)
        layer_tar_leave_out(a->tar, a->closed);
    if (!a->tar || goal_open(&p, app, goal, err) < 0)
        return -1;
    if (probe_ask(&p, WIRE_ASK_LAYER, 0, &into_layer, a, NULL, err) == 0)
        status = layer_tar_finish(a->tar, ret_size, err);
    probe_close(&p);
    return status;
}

static int make(struct app *app, const char *base, const struct goal *goal, const struct strlist *closed, int fd,
                int64_t *ret_size, struct err *err)
{
    struct asking a = {.spool = -1, .closed = closed};
    off_t start = lseek(fd, 0, SEEK_CUR);
    int ret = base ? list_of(app, base, /* contents= */ false, &a, err) : 0;

    if (ret == 0)
        ret = layer_of(app, goal, &a, fd, ret_size, err);
    if (ret < 0 && a.wants_contents) {
        ret = list_of(app, base, /* contents= */ true, &a, err);
        if (ret == 0 && (ftruncate(fd, start) < 0 || lseek(fd, start, SEEK_SET) < 0))
            ret = err_set_errno(err, 125, errno, "writing the layer");
        if (ret == 0)
            ret = layer_of(app, goal, &a, fd, ret_size, err);
        if (ret < 0 && a.wants_contents)
            err_set(err, 125, "its agent wants what it has got");
    }
    layer_tar_free(a.tar);
    if (a.spool >= 0)
        close(a.spool);
    err_clear(&a.err);
    return ret < 0 ? err_wrap(err, "making a layer of %s", goal->image ? goal->image : goal->place) : 0;
}

int agent_layer_make(struct app *app, const char *base, const char *image, int fd, int64_t *ret_size, struct err *err)
{
    return agent_layer_make_without(app, base, image, /* closed= */ NULL, fd, ret_size, err);
}

int agent_layer_make_without(struct app *app, const char *base, const char *image, const struct strlist *closed, int fd,
                             int64_t *ret_size, struct err *err)
{
    return make(app, base, &(struct goal){.image = image}, closed, fd, ret_size, err);
}

int agent_layer_make_running(struct app *app, const char *base, struct modal_task *task, const char *place, int fd,
                             int64_t *ret_size, struct err *err)
{
    return make(app, base, &(struct goal){.task = task, .place = place}, /* closed= */ NULL, fd, ret_size, err);
}

/* ---- the configuration ---- */

/* Nobody else's is the same: the server's id is in it. */
static char *whole_config(json_t *config, const char *image)
{
    json_auto_t *all = json_pack("{s:s, s:o, s:O, s:s, s:{s:s, s:[]}}", "architecture", "amd64", "comment",
                                 json_sprintf("Modal image %s", image), "config", config, "os", "linux", "rootfs",
                                 "type", "layers", "diff_ids");

    return json_dumps(all, JSON_COMPACT | JSON_PRESERVE_ORDER);
}

/* Published images hold the whole configuration, ones that an agent was laid upon only its inner part. */
static int shape_config(const char *text, const char *image, char **ret_config, struct err *err)
{
    json_auto_t *root = json_loads(text, 0, NULL);
    struct oci_config checked = {0};

    if (!json_is_object(root) || oci_config_parse(text, strlen(text), &checked, NULL) < 0)
        return err_set(err, 125, "its /.atp/<version>/image.json is damaged");
    oci_config_clear(&checked);
    if (json_is_object(json_object_get(root, "config"))) {
        *ret_config = xstrdup(text);
        return 0;
    }
    json_object_del(root, "os");
    json_object_del(root, "architecture");
    json_object_del(root, "variant");
    *ret_config = whole_config(root, image);
    return *ret_config ? 0 : err_set(err, 125, "the image's id is not text");
}

/* What the platform adds to the environment of every process, and what a shell makes itself. */
static bool is_of_platform(const char *entry)
{
    static const char *const names[] = {"HOME=", "HOSTNAME=", "PWD=", "OLDPWD=", "SHLVL=", "TERM=", "_="};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    return strncmp(entry, "MODAL_", 6) == 0 || !strchr(entry, '=');
}

/* The working directory and the environment, each with a NUL byte behind. */
static int guess_config(const struct buf *text, const char *image, char **ret_config, struct err *err)
{
    const char *at = text->data, *end = at + text->len;
    json_auto_t *config = json_object(), *env = json_array();

    if (!text->len || end[-1] != '\0' || *at != '/')
        return err_set(err, 125, "its agent sent no configuration");
    if (at[1])
        json_object_set_new(config, "WorkingDir", json_string(at));
    while ((at += strlen(at) + 1) < end)
        if (!is_of_platform(at) && json_array_size(env) < ENV_MAX)
            json_array_append_new(env, json_string(at)); /* what is no UTF-8 is not taken */
    json_object_set(config, "Env", env);
    *ret_config = whole_config(config, image);
    return *ret_config ? 0 : err_set(err, 125, "the image's id is not text");
}

int agent_layer_config(struct app *app, const char *image, char **ret_config, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(INQUIRY_OUT_MAX);
    struct probe p;
    int status;

    if (probe_open(&p, app, image, err) < 0)
        return -1;
    status = probe_ask(&p, WIRE_ASK_CONFIG, 0, NULL, NULL, &text, err);
    probe_close(&p);
    if (status < 0)
        return -1;
    if (text.data[0] == '/')
        return guess_config(&text, image, ret_config, err);
    return shape_config(text.data, image, ret_config, err) < 0 ? -1 : 1;
}
