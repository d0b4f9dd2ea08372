#include "backends/engine/img_internal.h"

#include "backends/engine/img_config.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "backends/engine/img_task.h"
#include "backends/engine/img_uploads.h"
#include "backends/engine/timer.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"
#include "translate/dockerfile/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ID_CHARS   22    /* behind "im-": as in Modal's own ids */
#define MAX_FAILED 200   /* failed builds that are remembered for those who ask for their log */
#define MAX_LOG    20000 /* pieces of one build: output beyond says nothing new */

static int no_such(const char *id, struct err *err)
{
    err_set(err, 0, "image %s not found", id);
    if (err)
        err->code = ENOENT;
    return -1;
}

struct image *img_find(struct images *im, const char *id)
{
    for (struct image *i = im->list; i; i = i->next) {
        if (!i->deleted && strcmp(i->id, id) == 0)
            return i;
    }
    return NULL;
}

static struct image *find_ready(struct images *im, const char *id)
{
    struct image *i = img_find(im, id);

    return i && i->state == IMAGES_READY ? i : NULL;
}

void img_image_free(struct image *image)
{
    timer_stop(&image->lonely);
    free(image->id);
    free(image->key);
    free(image->error);
    strlist_clear(&image->log);
    strlist_clear(&image->layers);
    img_image_config_clear(&image->config);
    free(image->oci);
    free(image);
}

static void unlink_image(struct images *im, struct image *image)
{
    for (struct image **p = &im->list; *p; p = &(*p)->next) {
        if (*p == image) {
            *p = image->next;
            break;
        }
    }
    img_image_free(image);
}

/* ---- the store ---- */

static void on_wake(uv_async_t *handle);

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

struct images *images_new(uv_loop_t *loop, const struct images_config *config, struct err *err)
{
    struct images *im = xcalloc(1, sizeof(*im));

    im->dir = xstrdup(config->dir);
    im->loop = loop;
    if (config->mirrors)
        strlist_copy(&im->mirrors, config->mirrors);
    img_locks_init(&im->locks);
    pthread_mutex_init(&im->lock, NULL);
    im->wake = xcalloc(1, sizeof(*im->wake));
    uv_async_init(loop, im->wake, on_wake);
    uv_unref((uv_handle_t *)im->wake);
    im->wake->data = im;
    if (img_store_open(im->dir, err) < 0 || img_record_load_all(im, err) < 0) {
        images_free(im);
        return NULL;
    }
    img_expire(im);
    img_sweep(im);
    return im;
}

static void run_free(struct build_run *run)
{
    if (run->done)
        run->done(run->arg);
    if (run->base)
        images_release(run->im, run->base->id);
    img_job_clear(&run->job);
    strlist_clear(&run->pending);
    err_clear(&run->err);
    free(run);
}

void images_stop(struct images *im)
{
    for (struct image *i = im->list; i; i = i->next) {
        if (i->run)
            atomic_store(&i->run->job.cancelled, true);
    }
    for (struct image *i = im->list; i; i = i->next) {
        if (!i->run)
            continue;
        pthread_join(i->run->thread, NULL);
        run_free(i->run);
        i->run = NULL;
        i->state = IMAGES_FAILED;
        i->error = xstrdup("the server is ending");
        if (--im->building == 0)
            uv_unref((uv_handle_t *)im->wake);
    }
}

void images_free(struct images *im)
{
    if (!im)
        return;
    images_stop(im);
    img_tasks_leave(im);
    timer_stop(&im->expiry);
    for (struct image *i = im->list, *next; i; i = next) {
        next = i->next;
        img_image_free(i);
    }
    uv_close((uv_handle_t *)im->wake, on_closed);
    img_locks_clear(&im->locks);
    pthread_mutex_destroy(&im->lock);
    strlist_clear(&im->mirrors);
    img_names_clear(im);
    free(im->dir);
    free(im);
}

void images_set_runner(struct images *im, images_run_fn *run, void *arg)
{
    im->run = run;
    im->run_arg = arg;
}

bool images_has_file(struct images *im, const char *sha256_hex)
{
    return digest_is_hex(sha256_hex) && img_upload_exists(im->dir, sha256_hex);
}

int images_open_file(struct images *im, const char *sha256_hex, struct err *err)
{
    cleanup_free char *path = digest_is_hex(sha256_hex) ? img_store_file(im->dir, sha256_hex) : NULL;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    return fd >= 0 ? fd : err_set(err, 0, "the file %s was not uploaded", sha256_hex);
}

/* A name that is no digest can never match its contents. */
static int check_hex(const char *sha256_hex, struct err *err)
{
    if (digest_is_hex(sha256_hex))
        return 0;
    err_set(err, 0, "invalid sha256");
    if (err)
        err->code = EBADMSG;
    return -1;
}

int images_put_file(struct images *im, const char *sha256_hex, const void *bytes, size_t len, struct err *err)
{
    return check_hex(sha256_hex, err) < 0 ? -1 : img_store_put(im->dir, sha256_hex, bytes, len, err);
}

int images_put_file_path(struct images *im, const char *sha256_hex, const char *path, struct err *err)
{
    return check_hex(sha256_hex, err) < 0 ? -1 : img_store_put_path(im->dir, sha256_hex, path, err);
}

int images_put_mount(struct images *im, const struct images_mount_file *files, size_t len, char **ret_id,
                     struct err *err)
{
    return img_mount_put(im->dir, files, len, ret_id, err);
}

int images_mount_dir(struct images *im, const char *mount_id, char **ret_dir, struct err *err)
{
    return img_mount_lay_out(im->dir, mount_id, ret_dir, err);
}

/* ---- builds ---- */

/* What is no UTF-8 cannot be a string in JSON, and may not be missing: other bytes are another definition. */
static json_t *bytes_of(const char *text)
{
    json_t *list = json_array();

    for (; *text; text++)
        json_array_append_new(list, json_integer((unsigned char)*text));
    return list;
}

static void add_strings(json_t *j, const char *key, const struct strlist *l)
{
    json_t *list = json_array();

    for (size_t i = 0; l && i < l->len; i++) {
        json_t *text = json_string(l->items[i]);

        json_array_append_new(list, text ? text : bytes_of(l->items[i]));
    }
    json_object_set_new(j, key, list);
}

/* What is built, as a digest: equal definitions have equal keys. Credentials are no part of it. */
static char *definition_key(const struct images_build *build)
{
    cleanup_strlist struct strlist args = STRLIST_INIT, bases = STRLIST_INIT, secrets = STRLIST_INIT;
    char hex[DIGEST_HEX + 1];
    json_t *j = json_object();
    char *text;

    if (build->build_args)
        strlist_copy(&args, build->build_args);
    strlist_sort(&args);
    for (size_t i = 0; i < build->bases_len; i++)
        strlist_addf(&bases, "%s %s", build->bases[i].id, build->bases[i].name);
    for (size_t i = 0; build->secrets && i < build->secrets->len; i++)
        strlist_add_owned(&secrets, xstrndup(build->secrets->items[i], strcspn(build->secrets->items[i], "=")));
    strlist_sort(&secrets);
    add_strings(j, "lines", build->lines);
    add_strings(j, "args", &args);
    add_strings(j, "bases", &bases);
    add_strings(j, "secrets", &secrets);
    add_strings(j, "hosts", build->add_hosts);
    if (build->labels && build->labels->len)
        add_strings(j, "labels", build->labels);
    json_object_set_new(j, "context", json_string(build->context_mount ? build->context_mount : ""));
    text = json_dumps(j, JSON_SORT_KEYS);
    digest_of(text, strlen(text), hex);
    json_decref(j);
    free(text);
    return xstrdup(hex);
}

struct image *img_find_key(struct images *im, const char *key)
{
    for (struct image *i = im->list; i; i = i->next) {
        if (!i->deleted && i->key && strcmp(i->key, key) == 0)
            return i;
    }
    return NULL;
}

static char *new_id(struct err *err)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char bytes[ID_CHARS];
    char id[3 + ID_CHARS + 1] = "im-";

    if (random_bytes(bytes, sizeof(bytes), err) < 0)
        return NULL;
    for (size_t i = 0; i < ID_CHARS; i++)
        id[3 + i] = letters[bytes[i] % (sizeof(letters) - 1)];
    id[3 + ID_CHARS] = '\0';
    return xstrdup(id);
}

int64_t img_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Puts a piece of output behind the last one of the same descriptor, which nobody has seen yet. */
static bool append(struct strlist *pending, const char *piece)
{
    char **last = pending->len ? &pending->items[pending->len - 1] : NULL;
    size_t have = last ? strlen(*last) : 0, more = strlen(piece + 1);

    if (!last || *piece == '3' || **last != *piece || have + more > LIMIT_BUILD_PIECE)
        return false;
    *last = xrealloc(*last, have + more + 1);
    memcpy(*last + have, piece + 1, more + 1);
    return true;
}

/* From the build's threads: a piece of the log for the loop to pick up. */
static void on_log(const char *piece, void *arg)
{
    struct build_run *run = arg;

    pthread_mutex_lock(&run->im->lock);
    if (!append(&run->pending, piece))
        strlist_add(&run->pending, piece);
    pthread_mutex_unlock(&run->im->lock);
    uv_async_send(run->im->wake);
}

static void *build_thread(void *arg)
{
    struct build_run *run = arg;
    int result = run->job.upper ? img_snapshot_run(&run->job, &run->err) : img_build_run(&run->job, &run->err);

    pthread_mutex_lock(&run->im->lock);
    run->result = result;
    run->finished = true;
    pthread_mutex_unlock(&run->im->lock);
    uv_async_send(run->im->wake);
    return NULL;
}

/* Copies what the build calls by name. */
static int fill_bases(struct images *im, const struct images_build *build, struct img_job *job, struct err *err)
{
    job->bases = xcalloc(build->bases_len + 1, sizeof(*job->bases));
    for (size_t i = 0; i < build->bases_len; i++) {
        const struct image *base = img_find(im, build->bases[i].id);
        struct img_named *to = &job->bases[job->bases_len];

        if (!base)
            return no_such(build->bases[i].id, err);
        if (base->state != IMAGES_READY)
            return err_set(err, 0, "base image %s is not built", build->bases[i].id);
        to->name = xstrdup(build->bases[i].name);
        strlist_copy(&to->layers, &base->layers);
        to->config = xstrdup(base->oci);
        job->bases_len++;
    }
    return 0;
}

/* Copies the definition for the thread. */
static int fill_job(struct images *im, const struct images_build *build, struct img_job *job, struct err *err)
{
    if (fill_bases(im, build, job, err) < 0)
        return -1;
    job->dir = xstrdup(im->dir);
    strlist_copy(&job->lines, build->lines);
    if (build->build_args)
        strlist_copy(&job->build_args, build->build_args);
    if (build->secrets)
        strlist_copy(&job->secrets, build->secrets);
    if (build->add_hosts)
        strlist_copy(&job->add_hosts, build->add_hosts);
    if (build->labels)
        strlist_copy(&job->labels, build->labels);
    job->context_mount = xstrdup(build->context_mount);
    job->user = xstrdup(build->registry_user);
    job->password = xstrdup(build->registry_password);
    job->force = build->force;
    job->mirrors = &im->mirrors;
    job->locks = &im->locks;
    job->run = im->run;
    job->run_arg = im->run_arg;
    job->log = on_log;
    return 0;
}

struct image *img_start(struct images *im, struct build_run *run, const char *key, struct err *err)
{
    struct image *image = xcalloc(1, sizeof(*image));

    *image = (struct image){.state = IMAGES_BUILDING, .made = img_now(), .id = new_id(err)};
    run->im = im;
    run->job.log_arg = run;
    if (!image->id || pthread_create(&run->thread, NULL, build_thread, run) != 0) {
        if (image->id)
            err_set(err, 0, "no thread for the build");
        img_image_free(image);
        run_free(run);
        return NULL;
    }
    image->run = run;
    image->key = xstrdup(key);
    image->next = im->list;
    im->list = image;
    if (im->building++ == 0)
        uv_ref((uv_handle_t *)im->wake); /* only a build under way keeps the loop alive */
    return image;
}

/* ---- who waits for a build ---- */

static void on_lonely(void *arg)
{
    struct image *image = arg;

    if (image->run)
        atomic_store(&image->run->job.cancelled, true);
}

static void look_after(struct images *im, struct image *image)
{
    timer_stop(&image->lonely);
    if (image->state == IMAGES_BUILDING && !image->followers)
        timer_start(&image->lonely, im->loop, LIMIT_BUILD_LONELY, on_lonely, image);
}

bool images_follow(struct images *im, const char *id)
{
    struct image *image = img_find(im, id);
    bool first = image && !image->followed;

    if (!image)
        return false;
    image->followers++;
    image->followed = true;
    look_after(im, image);
    return first;
}

void images_unfollow(struct images *im, const char *id)
{
    struct image *image = img_find(im, id);

    if (!image || !image->followers)
        return;
    image->followers--;
    look_after(im, image);
}

int images_build(struct images *im, const struct images_build *build, char **ret_id, struct err *err)
{
    cleanup_free char *key = definition_key(build);
    struct image *old = img_find_key(im, key), *image;
    struct build_run *run;

    if (old && (!build->force || old->state == IMAGES_BUILDING)) {
        *ret_id = xstrdup(old->id);
        return 0;
    }
    run = xcalloc(1, sizeof(*run));
    if (fill_job(im, build, &run->job, err) < 0) {
        run_free(run);
        return -1;
    }
    image = img_start(im, run, key, err);
    if (!image)
        return -1;
    look_after(im, image);
    if (old) {
        /* The old image keeps its id; the definition now means the new one. */
        free(old->key);
        old->key = NULL;
    }
    *ret_id = xstrdup(image->id);
    return 0;
}

/* The oldest failed build is forgotten when there are too many; the list is newest first. */
static void forget_failures(struct images *im)
{
    struct image *oldest = NULL;
    size_t failed = 0;

    for (struct image *i = im->list; i; i = i->next) {
        if (i->state == IMAGES_FAILED) {
            failed++;
            oldest = i;
        }
    }
    if (failed > MAX_FAILED)
        unlink_image(im, oldest);
}

/* The build has come to its end: its results are the image's. */
static void finish_build(struct images *im, struct image *image)
{
    struct build_run *run = image->run;
    struct err err cleanup_err = ERR_INIT;

    pthread_join(run->thread, NULL);
    image->run = NULL;
    if (--im->building == 0)
        uv_unref((uv_handle_t *)im->wake);
    if (run->result == 0) {
        image->layers = run->job.layers;
        image->own = run->job.own;
        run->job.layers = (struct strlist)STRLIST_INIT;
        img_config_read(run->job.config, &image->config);
        image->oci = run->job.config_text ? steal(&run->job.config_text) : df_config_text(run->job.config);
        image->state = IMAGES_READY;
        if (img_record_save(im, image, &err) < 0)
            run->result = -1;
    } else {
        err_move(&err, &run->err);
    }
    if (run->result < 0) {
        image->state = IMAGES_FAILED;
        image->error = xstrdup(err.msg ? err.msg : "the build failed");
        free(image->key);
        image->key = NULL; /* the next build of this definition tries again */
    }
    run_free(run);
    img_sweep(im);
}

/* Moves new lines to the image; true when there is news. */
static bool collect(struct images *im, struct image *image)
{
    struct build_run *run = image->run;
    struct strlist lines;
    bool finished, news;

    pthread_mutex_lock(&im->lock);
    lines = run->pending;
    run->pending = (struct strlist)STRLIST_INIT;
    finished = run->finished;
    pthread_mutex_unlock(&im->lock);
    news = lines.len > 0 || finished;
    for (size_t i = 0; i < lines.len; i++) {
        if (image->log.len < MAX_LOG || *lines.items[i] == '3')
            strlist_add(&image->log, lines.items[i]);
    }
    strlist_clear(&lines);
    if (finished)
        finish_build(im, image);
    return news;
}

static void on_wake(uv_async_t *handle)
{
    struct images *im = handle->data;
    cleanup_strlist struct strlist changed = STRLIST_INIT;

    for (struct image *i = im->list; i; i = i->next) {
        if (i->run && collect(im, i))
            strlist_add(&changed, i->id);
    }
    forget_failures(im);
    /* By id: a callback may delete images. */
    for (size_t i = 0; i < changed.len && im->on_change; i++)
        im->on_change(changed.items[i], im->on_change_arg);
}

/* ---- questions ---- */

int images_state(struct images *im, const char *id, enum images_state *ret, const char **ret_error)
{
    struct image *i = img_find(im, id);

    if (!i)
        return -1;
    *ret = i->state;
    if (ret_error)
        *ret_error = i->state == IMAGES_FAILED ? i->error : NULL;
    return 0;
}

const struct strlist *images_log(struct images *im, const char *id)
{
    struct image *i = img_find(im, id);

    return i ? &i->log : NULL;
}

void images_on_change(struct images *im, void (*fn)(const char *image_id, void *arg), void *arg)
{
    im->on_change = fn;
    im->on_change_arg = arg;
}

int images_layers(struct images *im, const char *id, struct strlist *ret_dirs, struct err *err)
{
    struct image *i = find_ready(im, id);

    if (!i)
        return no_such(id, err);
    for (size_t k = i->layers.len; k-- > 0;)
        strlist_add_owned(ret_dirs, img_layer_dir(im->dir, i->layers.items[k]));
    return 0;
}

const struct image_config *images_configuration(struct images *im, const char *id)
{
    struct image *i = find_ready(im, id);

    return i ? &i->config : NULL;
}

const char *images_oci_config(struct images *im, const char *id)
{
    struct image *i = find_ready(im, id);

    return i ? i->oci : NULL;
}

int64_t images_size(struct images *im, const char *id)
{
    struct image *i = find_ready(im, id);
    int64_t sum = 0;

    if (!i)
        return -1;
    for (size_t k = 0; k < i->layers.len; k++) {
        int64_t size = img_layer_size(im->dir, i->layers.items[k]);

        sum += size > 0 ? size : 0;
    }
    return sum;
}

/* ---- the end of images ---- */

int images_delete(struct images *im, const char *id, struct err *err)
{
    struct image *i = img_find(im, id);

    if (!i)
        return no_such(id, err);
    if (i->state == IMAGES_BUILDING)
        return err_set(err, 0, "image %s is being built", id);
    img_names_drop(im, id);
    img_record_remove(im, id);
    i->deleted = true;
    if (!i->holds) {
        unlink_image(im, i);
        img_sweep(im);
    }
    return 0;
}

int images_hold(struct images *im, const char *id, struct err *err)
{
    struct image *i = find_ready(im, id);

    if (!i)
        return no_such(id, err);
    i->holds++;
    return 0;
}

void images_release(struct images *im, const char *id)
{
    for (struct image *i = im->list; i; i = i->next) {
        if (strcmp(i->id, id) != 0 || !i->holds)
            continue;
        if (--i->holds == 0 && i->deleted) {
            unlink_image(im, i);
            img_sweep(im);
        }
        return;
    }
}
