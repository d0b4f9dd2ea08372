/* link: atp_engine atp_registry atp_sys atp_base */
/*
 * An image store without an engine, for tests of what it keeps:
 *
 *   image_kept describe DIR ID           "config SHA256", "text ...", "layer DIFF DIGEST TYPE SIZE" for each
 *   image_kept layer DIR ID INDEX [FROM] its bytes to stdout
 *   image_kept usage DIR                 "images N BYTES", "cache N BYTES", "blobs BYTES"
 *   image_kept prune DIR [SECS [KEEP]]   "pruned N BYTES"
 *   image_kept sweep DIR                 only what the store does by itself
 *   image_kept pull DIR REFERENCE...     all at once; "ready ID" or "failed WHY" for each
 */
#include "backends/engine/images.h"
#include "backends/engine/img_export.h"
#include "backends/registry/digest.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct images *store;
static struct images_stream *stream;
static int result;

static void on_described(const struct images_description *d, const struct err *why, void *arg)
{
    char hex[DIGEST_HEX + 1];

    (void)arg;
    if (!d) {
        printf("error: %s\n", why->msg);
        result = 1;
        return;
    }
    digest_of(d->config, strlen(d->config), hex);
    printf("config %s\ntext %s\n", hex, d->config);
    for (size_t i = 0; i < d->len; i++)
        printf("layer %s %s %s %lld\n", d->layers[i].diff_id, d->layers[i].digest, d->layers[i].media_type,
               (long long)d->layers[i].size);
}

/* Takes what there is; at the end the stream is closed. */
static void on_bytes(void *arg)
{
    static char bytes[100000];
    struct err err = ERR_INIT;
    ssize_t n;

    (void)arg;
    while ((n = images_stream_read(stream, bytes, sizeof(bytes), &err)) > 0)
        fwrite(bytes, 1, (size_t)n, stdout);
    if (n == 0)
        return;
    images_stream_close(stream);
    if (err.msg) {
        fprintf(stderr, "error: %s\n", err.msg);
        result = 1;
    }
    err_clear(&err);
}

static void on_usage(const struct images_usage *u, void *arg)
{
    (void)arg;
    printf("images %lld %lld\ncache %lld %lld\nblobs %lld\n", (long long)u->images, (long long)u->image_bytes,
           (long long)u->cache_records, (long long)u->cache_bytes, (long long)u->blob_bytes);
}

static void on_pruned(int64_t records, int64_t bytes, void *arg)
{
    (void)arg;
    printf("pruned %lld %lld\n", (long long)records, (long long)bytes);
}

static int fail(struct err *err)
{
    printf("error: %s\n", err->msg);
    err_clear(err);
    return 1;
}

/* Starts a build of each and waits for all. */
static int pull(uv_loop_t *loop, int argc, char **argv)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    enum images_state state = IMAGES_READY;
    const char *why = NULL;
    struct err err = ERR_INIT;

    for (int i = 3; i < argc; i++) {
        cleanup_strlist struct strlist lines = STRLIST_INIT;
        const struct images_build build = {.lines = &lines};
        char *id = NULL;

        strlist_addf(&lines, "FROM %s", argv[i]);
        if (images_build(store, &build, &id, &err) < 0)
            return fail(&err);
        strlist_add_owned(&ids, id);
    }
    for (size_t i = 0; i < ids.len; i++) {
        while (images_state(store, ids.items[i], &state, &why) == 0 && state == IMAGES_BUILDING) {
            uv_run(loop, UV_RUN_NOWAIT);
            usleep(2000);
        }
        printf("%s %s\n", state == IMAGES_READY ? "ready" : "failed", state == IMAGES_READY ? ids.items[i] : why);
    }
    return 0;
}

static int start(int argc, char **argv, struct err *err)
{
    const char *word = argv[1];

    if (strcmp(word, "describe") == 0 && argc == 4)
        return images_describe(store, argv[3], on_described, NULL, err) ? 0 : fail(err);
    if (strcmp(word, "layer") == 0 && argc >= 5) {
        stream = images_stream_open(store, argv[3], strtoul(argv[4], NULL, 10),
                                    argc > 5 ? strtoll(argv[5], NULL, 10) : 0, on_bytes, NULL, err);
        if (!stream)
            return fail(err);
        on_bytes(NULL);
        return 0;
    }
    if (strcmp(word, "usage") == 0)
        images_usage(store, on_usage, NULL);
    else if (strcmp(word, "prune") == 0)
        images_prune(store, argc > 3 ? strtoll(argv[3], NULL, 10) : 0, argc > 4 ? atoll(argv[4]) : 0, on_pruned, NULL);
    else if (strcmp(word, "sweep") != 0)
        return 64;
    return 0;
}

int main(int argc, char **argv)
{
    struct images_config config = {.dir = argc > 2 ? argv[2] : ""};
    struct err err = ERR_INIT;
    uv_loop_t loop;

    if (argc < 3)
        return 64;
    uv_loop_init(&loop);
    store = images_new(&loop, &config, &err);
    if (!store)
        return fail(&err);
    uv_run(&loop, UV_RUN_DEFAULT); /* what the store does when it is opened */
    result = strcmp(argv[1], "pull") == 0 ? pull(&loop, argc, argv) : start(argc, argv, &err);
    if (result == 0)
        uv_run(&loop, UV_RUN_DEFAULT);
    images_free(store);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return result;
}
