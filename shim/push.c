#include "shim/push.h"

#include "backends/registry/auth.h"
#include "backends/registry/compress.h"
#include "backends/registry/digest.h"
#include "backends/registry/manifest_write.h"
#include "backends/registry/push.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"
#include "shim/app.h"
#include "shim/image_layers.h"
#include "shim/progress.h"
#include "translate/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REMEMBERED_SECS (366 * 24 * 3600) /* what a layer is called: it costs a line to remember, a push to forget */
#define UPLOADS         5                 /* at a time: Docker's */
#define MAX_PLACES      8                 /* repositories that are remembered to have a layer */

void pushed_clear(struct pushed *p)
{
    free(p->digest);
    free(p->was_index);
    *p = (struct pushed){0};
}

/* One layer on its way, and what is known of it. */
struct layer {
    const struct image_layer *item;
    struct registry_layer travels; /* digest NULL: not known yet */
    struct strlist places;         /* repositories, "docker.io/library/x" */
};

/* One upload under way, in a thread of its own. */
struct sending {
    struct push *push;
    struct layer *layer;
    int fd;
    pthread_t thread;
    int ret;
    struct err err;
};

struct push {
    struct app *app;
    const struct reference *ref;
    struct image_layers image;
    struct layer *layers;
    struct registry *registry;
    struct strlist mount_from; /* paths in this registry */
    char *name;                /* "docker.io/library/x" */
    struct progress *progress;
    struct sending sending[UPLOADS];
    size_t sending_len;
    atomic_bool cancelled;
};

/* ---- what is remembered of a layer ---- */

static char *memory_key(const struct layer *l)
{
    return xasprintf("layer/%s", l->item->diff_id);
}

static bool is_plain(const char *type)
{
    return !strstr(type, "gzip") && !strstr(type, "zstd");
}

/* Fills the layer from what is remembered; nothing, or damage, is no error. */
static void recall(struct push *p, struct layer *l)
{
    cleanup_free char *key = memory_key(l), *text = NULL;
    const json_t *place;
    const char *digest;
    json_t *j = NULL;
    size_t i;

    if (l->item->repository)
        strlist_add(&l->places, l->item->repository);
    if (!is_plain(l->item->media_type))
        l->travels = (struct registry_layer){xstrdup(l->item->digest), xstrdup(l->item->media_type), l->item->size};
    if (state_cache_get(p->app->state, key, &text, time(NULL), NULL) > 0)
        j = json_loads(text, 0, NULL);
    digest = json_string_value(json_object_get(j, "digest"));
    if (digest && digest_strip(digest) && !l->travels.digest)
        l->travels = (struct registry_layer){xstrdup(digest), xasprintf("%s.gzip", l->item->media_type),
                                             json_integer_value(json_object_get(j, "size"))};
    if (digest && l->travels.digest && strcmp(digest, l->travels.digest) == 0) {
        json_array_foreach(json_object_get(j, "places"), i, place)
        {
            if (json_is_string(place) && !strlist_has(&l->places, json_string_value(place)))
                strlist_add(&l->places, json_string_value(place));
        }
    }
    json_decref(j);
}

/* The repository has it now. */
static void remember(struct push *p, struct layer *l)
{
    cleanup_free char *key = memory_key(l), *text = NULL;
    json_t *places = json_array(), *j;

    if (!strlist_has(&l->places, p->name))
        strlist_insert(&l->places, 0, p->name);
    for (size_t i = 0; i < l->places.len && i < MAX_PLACES; i++)
        json_array_append_new(places, json_string(l->places.items[i]));
    j = json_pack("{s:s, s:I, s:o}", "digest", l->travels.digest, "size", (json_int_t)l->travels.size, "places",
                  places);
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    state_cache_put(p->app->state, key, text, time(NULL) + REMEMBERED_SECS, NULL);
}

/* ---- its bytes ---- */

static const char *id_of(const struct layer *l)
{
    return l->item->diff_id + strlen(DIGEST_PREFIX);
}

/* A file without a name below the state folder; where the file system has none, its name goes at once. */
static int open_spool(struct err *err)
{
    cleanup_free char *state = fs_state_dir(), *path = xasprintf("%s/push-XXXXXX", state ? state : "/tmp");
    int fd = open(state ? state : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, 0, errno, "%s", path);
    unlink(path);
    return fd;
}

struct spool {
    int fd;
    struct gzip_file *gzip; /* NULL: as it comes */
};

static int on_bytes(const void *bytes, size_t len, void *arg, struct err *err)
{
    struct spool *s = arg;
    const char *p = bytes;

    if (s->gzip)
        return gzip_file_add(s->gzip, bytes, len, err);
    while (len) {
        ssize_t n = write(s->fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 0, errno, "keeping a layer that is to be pushed");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The layer's bytes as they will travel, into the file. */
static int fetch_layer(struct push *p, struct layer *l, int fd, struct err *err)
{
    cleanup_with(gzip_file_freep) struct gzip_file *gzip = NULL;
    struct spool spool = {.fd = fd};
    char *digest = NULL;

    if (is_plain(l->item->media_type)) {
        gzip = spool.gzip = gzip_file_new(fd, err);
        if (!gzip)
            return -1;
    }
    if (image_layer_read(p->app, &p->image, (size_t)(l->item - p->image.items), on_bytes, &spool, err) < 0)
        return -1;
    if (!gzip)
        return 0;
    free(l->travels.digest);
    free(l->travels.media_type);
    l->travels = (struct registry_layer){0};
    if (gzip_file_end(gzip, &digest, &l->travels.size, err) < 0)
        return -1;
    l->travels.digest = digest;
    l->travels.media_type = xasprintf("%s.gzip", l->item->media_type);
    return 0;
}

/* ---- uploads ---- */

static void on_sent(int64_t total, void *arg)
{
    const struct sending *s = arg;

    progress_bytes(s->push->progress, id_of(s->layer), "Pushing", total, s->layer->travels.size);
}

static void *upload(void *arg)
{
    struct sending *s = arg;
    const struct registry_layer *travels = &s->layer->travels;
    const struct registry_upload blob = {
        .digest = travels->digest, .size = travels->size, .fd = s->fd, .sent = on_sent, .sent_arg = s};

    on_sent(0, s);
    s->ret = registry_upload_blob(s->push->registry, &blob, &s->err);
    if (s->ret == 0)
        progress_state(s->push->progress, id_of(s->layer), "Pushed");
    return NULL;
}

static int end_upload(struct sending *s, struct err *err)
{
    pthread_join(s->thread, NULL);
    close(s->fd);
    if (s->ret < 0)
        return err_move(err, &s->err);
    remember(s->push, s->layer);
    return 0;
}

/* Waits for uploads until at most so many are under way. */
static int await_uploads(struct push *p, size_t most, struct err *err)
{
    while (p->sending_len > most) {
        int ret;

        /* A thread knows its own place: nothing moves while others run. */
        ret = end_upload(&p->sending[--p->sending_len], err);
        if (ret < 0)
            return -1;
    }
    return 0;
}

/* fd is the upload's from here on. */
static int begin_upload(struct push *p, struct layer *l, int fd, struct err *err)
{
    struct sending *s;
    int failed;

    if (p->sending_len == UPLOADS && await_uploads(p, UPLOADS - 1, err) < 0) {
        close(fd);
        return -1;
    }
    s = &p->sending[p->sending_len];
    *s = (struct sending){.push = p, .layer = l, .fd = fd};
    failed = pthread_create(&s->thread, NULL, upload, s);
    if (failed) {
        close(fd);
        return err_set_errno(err, 0, failed, "starting an upload");
    }
    p->sending_len++;
    return 0;
}

/* ---- one layer ---- */

/* Takes the blob from another repository of the registry. 1, 0 = nobody there has it, -1. */
static int mount_layer(struct push *p, struct layer *l, struct err *err)
{
    for (size_t i = 0; i < l->places.len; i++) {
        cleanup_free char *state = NULL;
        struct reference from = {0};
        int got = 0;

        if (strcmp(l->places.items[i], p->name) != 0 && reference_parse(l->places.items[i], &from, NULL) == 0 &&
            strcmp(from.domain, p->ref->domain) == 0)
            got = registry_mount_blob(p->registry, l->travels.digest, from.path, err);
        if (got > 0)
            state = xasprintf("Mounted from %s", from.path);
        reference_clear(&from);
        if (got > 0)
            progress_state(p->progress, id_of(l), state);
        if (got != 0)
            return got;
    }
    return 0;
}

/* Whether there is nothing to send: 1, 0, -1. */
static int is_there(struct push *p, struct layer *l, struct err *err)
{
    int got;

    if (!l->travels.digest)
        return 0;
    got = registry_has_blob(p->registry, l->travels.digest, err);
    if (got > 0)
        progress_state(p->progress, id_of(l), "Layer already exists");
    return got;
}

/* Has the bytes ready and sends them, if nobody has them. */
static int send_layer(struct push *p, struct layer *l, struct err *err)
{
    bool asked = l->travels.digest != NULL;
    cleanup_close int fd = open_spool(err);
    int got = 0;

    if (fd < 0 || fetch_layer(p, l, fd, err) < 0)
        return -1;
    if (!asked)
        got = is_there(p, l, err);
    if (got > 0)
        remember(p, l);
    return got != 0 ? (got < 0 ? -1 : 0) : begin_upload(p, l, steal_fd(&fd), err);
}

static int push_layer(struct push *p, struct layer *l, struct err *err)
{
    int got;

    if (strstr(l->item->media_type, "foreign") || strstr(l->item->media_type, "nondistributable")) {
        progress_state(p->progress, id_of(l), "Skipped foreign layer");
        return 0;
    }
    got = is_there(p, l, err);
    if (got == 0 && l->travels.digest)
        got = mount_layer(p, l, err);
    if (got > 0)
        remember(p, l);
    return got != 0 ? (got < 0 ? -1 : 0) : send_layer(p, l, err);
}

/* ---- the image ---- */

/* The paths of the registry's repositories that layers may be taken from. */
static void find_mounts(struct push *p)
{
    for (size_t i = 0; i < p->image.len; i++) {
        const struct strlist *places = &p->layers[i].places;

        for (size_t k = 0; k < places->len; k++) {
            struct reference from = {0};

            if (strcmp(places->items[k], p->name) != 0 && reference_parse(places->items[k], &from, NULL) == 0 &&
                strcmp(from.domain, p->ref->domain) == 0 && !strlist_has(&p->mount_from, from.path) &&
                p->mount_from.len < MAX_PLACES)
                strlist_add(&p->mount_from, from.path);
            reference_clear(&from);
        }
    }
}

/* Opens the registry with the right to write. */
static int open_registry(struct push *p, struct err *err)
{
    const struct registry_options options = {
        .credentials = auth_find, .push = true, .mount_from = &p->mount_from, .cancelled = &p->cancelled};

    p->registry = registry_open(p->name, &options, err);
    return p->registry ? registry_ping(p->registry, err) : -1;
}

static int push_config(struct push *p, struct err *err)
{
    struct registry_upload blob = {.bytes = p->image.config, .size = (int64_t)strlen(p->image.config), .fd = -1};
    cleanup_free char *digest = NULL;
    char hex[DIGEST_HEX + 1];
    int got;

    digest_of(p->image.config, strlen(p->image.config), hex);
    blob.digest = digest = xasprintf(DIGEST_PREFIX "%s", hex);
    got = registry_has_blob(p->registry, digest, err);
    if (got != 0)
        return got < 0 ? -1 : 0;
    return registry_upload_blob(p->registry, &blob, err);
}

/* The manifest as it was pulled, else one of what was sent. */
static int push_manifest(struct push *p, struct pushed *ret, struct err *err)
{
    cleanup_free struct registry_layer *layers = xcalloc(p->image.len + 1, sizeof(*layers));
    cleanup_free char *made = NULL;
    const char *text = p->image.manifest, *type = p->image.manifest_type;

    if (!text) {
        for (size_t i = 0; i < p->image.len; i++)
            layers[i] = p->layers[i].travels;
        text = made = manifest_write(p->image.config, layers, p->image.len, &type);
    }
    ret->size = (long long)strlen(text);
    return registry_put_manifest(p->registry, p->ref->tag, text, type, &ret->digest, err);
}

/* The same layer may be there more than once (empty ones): it is sent once. */
static bool is_repeated(const struct push *p, size_t i)
{
    for (size_t k = i + 1; k < p->image.len; k++) {
        if (strcmp(p->image.items[i].diff_id, p->image.items[k].diff_id) == 0 &&
            strcmp(p->image.items[i].digest, p->image.items[k].digest) == 0)
            return true;
    }
    return false;
}

/* All layers from the top down, as Docker lists them, then what refers to them. */
static int push_all(struct push *p, struct pushed *ret, struct err *err)
{
    p->layers = xcalloc(p->image.len + 1, sizeof(*p->layers));
    for (size_t i = 0; i < p->image.len; i++) {
        p->layers[i].item = &p->image.items[i];
        recall(p, &p->layers[i]);
    }
    find_mounts(p);
    if (open_registry(p, err) < 0)
        return -1;
    for (size_t i = p->image.len; i-- > 0;)
        progress_state(p->progress, id_of(&p->layers[i]), "Preparing");
    for (size_t i = p->image.len; i-- > 0;) {
        if (!is_repeated(p, i) && push_layer(p, &p->layers[i], err) < 0)
            return -1;
    }
    if (await_uploads(p, 0, err) < 0)
        return -1;
    for (size_t i = 0; i < p->image.len; i++) {
        struct layer *l = &p->layers[i];

        for (size_t k = i + 1; k < p->image.len && !l->travels.digest; k++) {
            if (p->layers[k].travels.digest && strcmp(l->item->diff_id, p->layers[k].item->diff_id) == 0)
                l->travels =
                    (struct registry_layer){xstrdup(p->layers[k].travels.digest),
                                            xstrdup(p->layers[k].travels.media_type), p->layers[k].travels.size};
        }
    }
    if (push_config(p, err) < 0)
        return -1;
    return push_manifest(p, ret, err);
}

static void push_clear(struct push *p)
{
    atomic_store(&p->cancelled, true);
    while (p->sending_len) {
        struct sending *s = &p->sending[--p->sending_len];

        pthread_join(s->thread, NULL);
        close(s->fd);
        err_clear(&s->err);
    }
    for (size_t i = 0; p->layers && i < p->image.len; i++) {
        free(p->layers[i].travels.digest);
        free(p->layers[i].travels.media_type);
        strlist_clear(&p->layers[i].places);
    }
    free(p->layers);
    free(p->name);
    strlist_clear(&p->mount_from);
    registry_free(p->registry);
    image_layers_clear(&p->image);
}

/* The index that the image was pulled from: a digest of one of its names that is not its manifest's. */
static char *find_index(struct push *p, const struct state_image *image, const char *manifest)
{
    cleanup_strlist struct strlist refs = STRLIST_INIT, digests = STRLIST_INIT;

    if (!p->image.manifest || state_image_tags(p->app->state, image->id, &refs, &digests, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < digests.len; i++) {
        if (*digests.items[i] && strcmp(digests.items[i], manifest) != 0)
            return xstrdup(digests.items[i]);
    }
    return NULL;
}

int push_image(struct app *app, struct state_image *image, const struct reference *ref, struct progress *progress,
               struct pushed *ret, struct err *err)
{
    struct push p = {.app = app, .ref = ref, .image = IMAGE_LAYERS_INIT, .progress = progress};
    cleanup_free char *full = reference_string(ref);
    int result;

    p.name = reference_name(ref);
    result = image_layers_open(app, image, &p.image, err);
    if (result == 0)
        result = push_all(&p, ret, err);
    if (result == 0) {
        ret->was_index = find_index(&p, image, ret->digest);
        result = state_image_put(app->state, image, full, ret->digest, err);
    }
    push_clear(&p);
    if (result < 0)
        pushed_clear(ret);
    return result;
}
