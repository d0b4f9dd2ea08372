#include "shim/build/solve.h"

#include "backends/grpc/frame.h"
#include "backends/modal/client.h"
#include "backends/modal/engine_images.h"
#include "backends/modal/image.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/docker/units.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/build/board.h"
#include "shim/build/log.h"
#include "shim/build/plan.h"
#include "shim/build/request.h"
#include "shim/build/secret.h"
#include "shim/config_lines.h"
#include "shim/events.h"
#include "translate/config.h"
#include "translate/dockerfile/config.h"
#include "translate/reference.h"

#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#define TICK_MS 100

void build_result_clear(struct build_result *r)
{
    state_image_clear(&r->image);
    free(r->modal_id);
    *r = (struct build_result){0};
}

/* What one build needs on the server, and gives back. */
struct solving {
    struct app *app;
    struct build_plan *plan;
    struct board *board;
    struct build_log log;
    struct build_upload upload;
    bool engine;
    uint64_t missing; /* bytes that the server had to be sent */
    char *app_id, *mount_id, *registry_secret, *secret;
    struct modal_image_base *bases;
    struct strlist base_tags;
    struct modal_image_spec spec;
    struct loop_timer *timer;
};

static void solving_clear(struct solving *s)
{
    if (s->secret)
        modal_secret_delete(s->app->modal, s->secret, NULL);
    loop_timer_del(s->timer);
    build_log_clear(&s->log);
    build_upload_clear(&s->upload);
    modal_image_spec_clear(&s->spec);
    strlist_clear(&s->base_tags);
    free(s->bases);
    free(s->app_id);
    free(s->mount_id);
    free(s->registry_secret);
    free(s->secret);
}

static void on_tick(struct loop *loop, void *arg)
{
    struct solving *s = arg;

    (void)loop;
    board_tick(s->board);
    loop_timer_set(s->timer, TICK_MS);
}

/* The server is the embedded engine, with all that it knows beyond Modal's protocol. */
static int find_engine(struct solving *s, struct err *err)
{
    int got = engine_is_there(s->app->modal, err);

    s->engine = got > 0;
    if (got == 0 && s->plan->request->add_hosts.len)
        return err_set(err, 1, "--add-host is refused by atp-docker: this server's builder has no hosts of its own");
    return got < 0 ? -1 : 0;
}

/* ---- sending files ---- */

/* Whether the embedded engine, on this machine's disk, has room for what it lacks. */
static int on_missing(void *arg, uint64_t bytes, struct err *err)
{
    struct solving *s = arg;
    cleanup_free char *dir = fs_state_dir(), *need = NULL, *left = NULL;
    struct statvfs vfs;
    uint64_t room;

    s->missing = bytes;
    if (s->app->route->backend != BACKEND_LOCAL || statvfs(dir, &vfs) < 0)
        return 0;
    room = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    if (bytes <= room)
        return 0;
    need = units_size((double)bytes);
    left = units_size((double)room);
    return err_set(err, 1, "%s of the context have to be sent, and %s are left on the disk of %s", need, left, dir);
}

static int on_sent(void *arg, uint64_t bytes, struct err *err)
{
    struct solving *s = arg;
    cleanup_free char *size = units_size_digits((double)bytes, 4);
    cleanup_free char *text = xasprintf("transferring context: %s", size);

    if (build_cancelled)
        return build_signalled(err);
    if (s->plan->files_vertex != BUILD_NO_USE && bytes < s->missing)
        board_status(s->board, s->plan->files_vertex, text, false);
    return 0;
}

static int send_files(struct solving *s, struct err *err)
{
    const struct modal_mount_watch watch = {.begin = on_missing, .sent = on_sent, .arg = s};
    struct modal_client *c = s->app->modal;
    size_t v = s->plan->files_vertex;

    if (s->upload.len &&
        modal_mount_upload(c, s->app_id, s->upload.files, s->upload.len, &watch, &s->mount_id, err) < 0)
        return build_cancelled ? build_signalled(err) : err_wrap(err, "failed to solve");
    s->spec.context_mount_id = s->mount_id;
    if (v != BUILD_NO_USE && !board_ended(s->board, v)) {
        cleanup_free char *size = units_size_digits((double)s->missing, 4);
        cleanup_free char *text = xasprintf("transferring context: %s", size);

        board_status(s->board, v, text, true);
        board_end(s->board, v, false, NULL);
    }
    return 0;
}

/* Images of the server that names stand for. The first is "base". */
static void name_bases(struct solving *s)
{
    const struct build_plan *p = s->plan;
    size_t n = 0;

    s->bases = xcalloc(p->images_len + 1, sizeof(*s->bases));
    for (size_t i = 0; i < p->images_len; i++) {
        const struct build_image *image = &p->images[i];

        if (image->is_source || image->base.from)
            continue;
        if (!s->spec.base_image_id) {
            s->spec.base_image_id = image->base.modal_id;
            continue;
        }
        strlist_addf(&s->base_tags, "atp-base-%zu", i);
        s->bases[n].id = image->base.modal_id;
        s->bases[n].tag = s->base_tags.items[n];
        n++;
    }
    s->spec.bases = s->bases;
    s->spec.bases_len = n;
}

/* Whether both are pulled from one registry. */
static bool same_registry(const char *a, const char *b)
{
    size_t len = strcspn(a, "/");

    return strcspn(b, "/") == len && !strncmp(a, b, len);
}

/* The server has room for the credentials of one registry in a build, and would show them to all others. */
static bool several_registries(const struct build_plan *p)
{
    const char *first = NULL;

    for (size_t i = 0; i < p->images_len; i++) {
        const char *from = p->images[i].base.from;

        if (from && first && !same_registry(first, from))
            return true;
        first = first ? first : from;
    }
    return false;
}

/* Has the server pull a private image by itself: for the build it is then one that the server has. */
static int pull_apart(struct solving *s, struct build_image *image, const char *secret, struct err *err)
{
    struct modal_image_spec spec = {.app_id = s->app_id, .registry_secret_id = secret, .cancelled = &build_signal};
    struct modal_image built = MODAL_IMAGE_INIT;
    int ret;

    if (config_from_lines(image->base.from, image->base.config, &spec.commands))
        config_lines(image->base.config, CONFIG_LINES_SCRATCH, &spec.commands);
    modal_image_forget(s->app->modal, &spec);
    ret = modal_image_build(s->app->modal, &spec, NULL, NULL, &built, err);
    if (ret == 0) {
        free(steal(&image->base.from));
        free(image->base.modal_id);
        image->base.modal_id = steal(&built.id);
    }
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    return ret < 0 ? err_wrap(err, "failed to solve: %s", image->word) : 0;
}

/* Credentials for the registry that images come from; one of several registries is asked before the build. */
static int find_credentials(struct solving *s, struct err *err)
{
    bool several = several_registries(s->plan);

    for (size_t i = 0; i < s->plan->images_len && !s->registry_secret; i++) {
        struct build_image *image = &s->plan->images[i];
        cleanup_free char *secret = NULL;
        int got = image->base.from ? catalog_pull_secret(s->app, image->base.from, &secret, err) : 0;

        if (got < 0 || (got > 0 && several && pull_apart(s, image, secret, err) < 0))
            return -1;
        if (got > 0 && !several)
            s->registry_secret = steal(&secret);
    }
    s->spec.registry_secret_id = s->registry_secret;
    return 0;
}

static void wipe(struct strlist *list)
{
    for (size_t i = 0; i < list->len; i++)
        explicit_bzero(list->items[i], strlen(list->items[i]));
    strlist_clear(list);
}

static int send_secrets(struct solving *s, struct err *err)
{
    const struct strlist *given = &s->plan->request->secrets;
    cleanup_with(wipe) struct strlist secrets = STRLIST_INIT;

    if (!given->len || !s->plan->secrets.len)
        return 0;
    for (size_t i = 0; i < given->len; i++)
        strlist_addf(&secrets, "%s%s", s->engine ? BUILD_SECRET_PREFIX : BUILD_SECRET_SHOWN,
                     given->items[i] + strlen(BUILD_SECRET_PREFIX));
    if (modal_secret_create(s->app->modal, s->app_id, &secrets, &s->secret, err) < 0)
        return err_wrap(err, "failed to solve: handing over the secrets");
    strlist_add(&s->spec.secret_ids, s->secret);
    return 0;
}

static int prepare(struct solving *s, struct err *err)
{
    const struct build_request *r = s->plan->request;

    if (app_modal(s->app, err) < 0 || find_engine(s, err) < 0 ||
        modal_app_id(s->app->modal, AGENT_APP, &s->app_id, err) < 0 || find_credentials(s, err) < 0 ||
        build_upload_make(s->plan, s->engine, &s->upload, err) < 0)
        return -1;
    for (size_t i = 0; i < s->upload.notes.len; i++)
        board_note(s->board, s->upload.notes.items[i]);
    if (send_files(s, err) < 0 || send_secrets(s, err) < 0)
        return -1;
    name_bases(s);
    s->spec.app_id = s->app_id;
    s->spec.force_build = r->no_cache;
    s->spec.cancelled = &build_signal;
    strlist_copy(&s->spec.commands, &s->upload.lines);
    strlist_copy(&s->spec.add_hosts, &r->add_hosts);
    if (s->engine)
        strlist_copy(&s->spec.labels, &r->labels);
    for (size_t i = 0; i < r->build_args.len; i++)
        if (strchr(r->build_args.items[i], '='))
            strlist_add(&s->spec.build_args, r->build_args.items[i]);
    return 0;
}

/* Builds; a mount that the server has lost since we made it is sent once more. */
static int build(struct solving *s, struct modal_image *image, struct err *err)
{
    struct modal_client *c = s->app->modal;
    struct err why = ERR_INIT;
    int ret;

    modal_image_forget(c, &s->spec); /* what we remember may have been removed meanwhile; the server knows */
    ret = modal_image_build(c, &s->spec, build_log_piece, &s->log, image, &why);
    if (ret == 0)
        return 0;
    if (why.code != GRPC_NOT_FOUND || !s->mount_id || build_cancelled)
        return err_move(err, &why);
    err_clear(&why);
    modal_mount_forget(c, s->mount_id);
    free(steal(&s->mount_id));
    if (send_files(s, err) < 0)
        return -1;
    modal_image_forget(c, &s->spec);
    return modal_image_build(c, &s->spec, build_log_piece, &s->log, image, err);
}

/* BuildKit's words for a failure: the vertex, where it is in the file, the reason. */
static int failed(struct solving *s, struct err *err)
{
    const struct build_plan *p = s->plan;
    const struct build_step *step = NULL;
    cleanup_free char *excerpt = NULL;

    build_log_end(&s->log, build_cancelled ? "context canceled" : err->msg);
    if (s->log.failed != BUILD_NO_USE)
        step = &p->steps[s->log.failed];
    board_finish(s->board);
    if (build_cancelled)
        return build_signalled(err);
    if (step && !p->request->classic) {
        excerpt = build_plan_excerpt(p, step->line, step->last_line);
        board_note(s->board, excerpt);
    }
    return err_wrap(err, "failed to solve");
}

/* ---- what came out ---- */

static char *id_of(const char *config)
{
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    sha256(config, strlen(config), digest);
    sha256_hex(digest, hex);
    return xasprintf("sha256:%s", hex);
}

/* The image that the target's chain of stages stands on; NULL = scratch. */
static const struct build_image *root_image(const struct build_plan *p)
{
    size_t stage = p->target;

    while (p->file.stages[stage].base_stage != DF_NO_STAGE)
        stage = p->file.stages[stage].base_stage;
    for (size_t i = 0; i < p->images_len; i++)
        if (!strcmp(p->images[i].word, p->file.stages[stage].base))
            return &p->images[i];
    return NULL;
}

/* The walked configuration, for a server that tells none: the layers are made when somebody asks for them. */
static char *walked_config(const struct build_plan *p)
{
    json_t *config = p->configs[p->target];
    cleanup_free char *now = units_stamp((int64_t)time(NULL) * 1000000000);

    json_object_set_new(config, "created", json_string(now));
    for (size_t i = 0; i < p->request->labels.len; i++) {
        const char *item = p->request->labels.items[i], *equals = strchr(item, '=');
        cleanup_free char *key = xstrndup(item, (size_t)(equals - item));

        df_config_put(config, "Labels", key, equals + 1);
    }
    return df_config_text(config);
}

/* The same build again gives the same image: its time is that of the first. 1, 0 = this is the first. */
static int built_before(struct solving *s, const char *modal_id, struct state_image *ret)
{
    struct state_image known = {0};
    int got = catalog_named_known(s->app, modal_id, &known, NULL);

    if (got > 0 && !strcmp(known.source, "build")) {
        ret->config = steal(&known.config);
        ret->layers = steal(&known.layers);
        ret->size = known.size;
    } else {
        got = 0;
    }
    state_image_clear(&known);
    return got > 0;
}

static int describe(struct solving *s, const char *modal_id, struct state_image *ret, struct err *err)
{
    struct engine_image told = ENGINE_IMAGE_INIT;
    const struct build_image *root = root_image(s->plan);
    int got = engine_image_describe(s->app->modal, modal_id, &told, err);

    if (got < 0)
        return -1;
    *ret = (struct state_image){.source = xstrdup("build"), .added = time(NULL)};
    if (got > 0) {
        cleanup_free int64_t *sizes = xcalloc(told.len + 1, sizeof(*sizes));

        ret->config = xstrdup(told.config);
        for (size_t i = 0; i < told.len; i++) {
            sizes[i] = told.layers[i].shown;
            ret->size += sizes[i];
        }
        ret->layers = catalog_layer_sizes(sizes, told.len);
    } else if (!built_before(s, modal_id, ret)) {
        ret->config = walked_config(s->plan);
    }
    engine_image_clear(&told);
    ret->id = id_of(ret->config);
    if (got == 0)
        catalog_named_note(s->app, modal_id, ret->id);
    ret->parent = root ? xstrdup(root->base.parent) : NULL;
    ret->created = catalog_created(ret->config);
    return 0;
}

/* Names it here and on the server, and says so. */
static int export_image(struct solving *s, struct build_result *r, struct err *err)
{
    const struct build_request *q = s->plan->request;
    size_t v = board_add(s->board, "exporting to image");
    cleanup_free char *line = NULL;
    struct state_image before = {0};
    const struct strlist no_tags = STRLIST_INIT;
    bool files_only = q->output == BUILD_OUTPUT_TAR || q->output == BUILD_OUTPUT_LOCAL;

    board_status(s->board, v, "exporting layers", true);
    if (describe(s, r->modal_id, &r->image, err) < 0)
        return err_wrap(err, "failed to solve");
    if (state_image_by_id(s->app->state, r->image.id, &before, NULL) > 0)
        r->was_here = true;
    state_image_clear(&before);
    if (q->output != BUILD_OUTPUT_NONE &&
        catalog_made(s->app, &r->image, files_only ? &no_tags : &q->tags, r->modal_id, err) < 0)
        return err_wrap(err, "failed to solve");
    line = xasprintf("writing image %s", r->image.id);
    board_status(s->board, v, line, true);
    for (size_t i = 0; !files_only && i < q->tags.len; i++) {
        cleanup_free char *naming = xasprintf("naming to %s", q->tags.items[i]);
        cleanup_free char *familiar = image_name_familiar(q->tags.items[i]);

        board_status(s->board, v, naming, true);
        if (q->output != BUILD_OUTPUT_NONE)
            event_image(s->app, "tag", r->image.id, familiar);
    }
    board_end(s->board, v, false, NULL);
    return 0;
}

static int solve(struct solving *s, struct build_result *r, struct err *err)
{
    struct modal_image image = MODAL_IMAGE_INIT;
    int ret;

    if (prepare(s, err) < 0)
        return -1;
    s->timer = loop_timer_add(s->app->loop, TICK_MS, on_tick, s);
    if (build(s, &image, err) < 0)
        return failed(s, err);
    build_log_end(&s->log, NULL);
    r->modal_id = steal(&image.id);
    modal_image_clear(&image);
    ret = build_cancelled ? build_signalled(err) : export_image(s, r, err);
    board_finish(s->board);
    return ret;
}

int build_solve(struct app *app, struct build_plan *p, struct board *board, struct build_result *ret, struct err *err)
{
    struct solving s = {.app = app, .plan = p, .board = board};
    struct build_result r = {0};
    int got;

    build_log_init(&s.log, board, p);
    got = solve(&s, &r, err);
    solving_clear(&s);
    if (got < 0)
        build_result_clear(&r);
    else
        *ret = r;
    return got;
}
