/* link: atp_images atp_registry atp_translate atp_dockerfile atp_sys atp_base */
/*
 * The image store and the registry client from a shell, for tests:
 *   image_store config REFERENCE             name, digest, manifest digest, config digest, layers
 *   image_store build DIR LINE...            builds; prints the log, then "ready ID", the layers topmost first, config
 *   image_store delete DIR ID | hold-delete DIR ID | list DIR
 *   image_store archive FILE [OUTDIR]        images of an archive; with OUTDIR the tars to ADD, numbered
 *   image_store import FILE OUT
 * Options before the word: -m A=B mirror, -u USER, -p PASSWORD, -d credentials folder, -c CONTEXT, -b BASE, -a K=V,
 * -f force, -n N (so many equal builds at once), -P OS/ARCH
 */
#include "backends/engine/images.h"
#include "backends/registry/archive.h"
#include "backends/registry/auth.h"
#include "backends/registry/client.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    struct strlist mirrors, args;
    const char *user, *password, *folder, *context, *base, *platform;
    bool force;
    int times;
} opt = {.times = 1};

static int fail(struct err *err)
{
    fprintf(stderr, "error: %s\n", err->msg ? err->msg : "(no text)");
    err_clear(err);
    return 1;
}

/* ---- a context folder becomes a mount ---- */

static struct images *store;
static struct images_mount_file *files;
static size_t files_len;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    struct buf text cleanup_buf = BUF_INIT(1u << 30);
    struct err err = ERR_INIT;
    char hex[DIGEST_HEX + 1];

    (void)ftw;
    if (type != FTW_F)
        return 0;
    if (fs_read_file(path, &text, &err) < 0)
        exit(fail(&err));
    digest_of(text.data, text.len, hex);
    if (!images_has_file(store, hex) && images_put_file(store, hex, text.data, text.len, &err) < 0)
        exit(fail(&err));
    files = xreallocarray(files, files_len + 1, sizeof(*files));
    files[files_len++] =
        (struct images_mount_file){xstrdup(path + strlen(opt.context)), xstrdup(hex), st->st_mode & 07777, 0};
    return 0;
}

static char *make_context(struct err *err)
{
    char *id = NULL;

    if (!opt.context)
        return NULL;
    nftw(opt.context, add_file, 16, FTW_PHYS);
    if (images_put_mount(store, files, files_len, &id, err) < 0)
        exit(fail(err));
    for (size_t i = 0; i < files_len; i++) {
        free((char *)files[i].filename);
        free((char *)files[i].sha256_hex);
    }
    free(files);
    return id;
}

/* ---- builds ---- */

static size_t shown;

static void on_change(const char *id, void *arg)
{
    const struct strlist *log = images_log(store, id);

    (void)arg;
    for (; log && shown < log->len; shown++)
        printf("log %s%s", log->items[shown] + 1, strchr(log->items[shown], '\n') ? "" : "\n");
}

static void print_list(const char *name, const struct strlist *l)
{
    printf("%s", name);
    for (size_t i = 0; i < l->len; i++)
        printf(" [%s]", l->items[i]);
    printf("\n");
}

static int print_image(const char *id)
{
    cleanup_strlist struct strlist dirs = STRLIST_INIT;
    const struct image_config *c = images_configuration(store, id);
    struct err err = ERR_INIT;

    printf("ready %s\n", id);
    if (images_layers(store, id, &dirs, &err) < 0)
        return fail(&err);
    for (size_t i = 0; i < dirs.len; i++)
        printf("layer %s\n", dirs.items[i]);
    print_list("entrypoint", &c->entrypoint);
    print_list("cmd", &c->cmd);
    print_list("env", &c->env);
    printf("workdir %s\nuser %s\nsize %lld\noci %s\n", c->workdir ? c->workdir : "-", c->user ? c->user : "-",
           (long long)images_size(store, id), images_oci_config(store, id));
    return 0;
}

static int build(uv_loop_t *loop, int argc, char **argv)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;
    struct err err = ERR_INIT;
    cleanup_free char *context = make_context(&err);
    cleanup_free char *id = NULL;
    struct images_base base = {"base", opt.base};
    struct images_build what = {.lines = &lines,
                                .bases = &base,
                                .bases_len = opt.base != NULL,
                                .context_mount = context,
                                .build_args = &opt.args,
                                .registry_user = opt.user,
                                .registry_password = opt.password,
                                .force = opt.force};
    enum images_state state;
    const char *why;

    for (int i = 0; i < argc; i++)
        strlist_add(&lines, argv[i]);
    images_on_change(store, on_change, NULL);
    for (int i = 0; i < opt.times; i++) {
        free(id);
        id = NULL;
        if (images_build(store, &what, &id, &err) < 0)
            return fail(&err);
        printf("id %s\n", id);
    }
    images_follow(store, id);
    while (images_state(store, id, &state, &why) == 0 && state == IMAGES_BUILDING) {
        uv_run(loop, UV_RUN_NOWAIT);
        usleep(2000);
    }
    if (state == IMAGES_READY)
        return print_image(id);
    printf("failed %s\n", why);
    return 2;
}

static void print_tag(const char *tag, const char *id, void *arg)
{
    (void)arg;
    printf("tag %s %s\n", tag, id);
}

static int with_store(int argc, char **argv)
{
    struct images_config config = {.dir = argv[1], .mirrors = &opt.mirrors};
    struct err err = ERR_INIT;
    uv_loop_t loop;
    int ret = 0;

    uv_loop_init(&loop);
    store = images_new(&loop, &config, &err);
    if (!store)
        return fail(&err);
    if (strcmp(argv[0], "build") == 0)
        ret = build(&loop, argc - 2, argv + 2);
    else if (strcmp(argv[0], "delete") == 0)
        ret = images_delete(store, argv[2], &err) < 0 ? fail(&err) : 0;
    else if (strcmp(argv[0], "tag") == 0)
        ret = images_publish(store, argv[2], argv[3], &err) < 0 ? fail(&err) : 0;
    else if (strcmp(argv[0], "show") == 0)
        ret = print_image(argv[2]);
    else
        images_each_tag(store, print_tag, NULL);
    images_free(store);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    err_clear(&err);
    return ret;
}

/* ---- registries and archives ---- */

static int show_config(const char *reference)
{
    struct registry_options options = {.mirrors = &opt.mirrors,
                                       .user = opt.user,
                                       .password = opt.password,
                                       .credentials = opt.folder ? auth_find : NULL,
                                       .credentials_arg = (char *)opt.folder};
    cleanup_free char *os = opt.platform ? xstrndup(opt.platform, strcspn(opt.platform, "/")) : NULL;
    struct registry_platform platform = {os, os ? strchr(opt.platform, '/') + 1 : NULL, NULL};
    struct registry_image image = REGISTRY_IMAGE_INIT;
    struct err err = ERR_INIT;

    if (registry_image_config(reference, os ? &platform : NULL, &options, &image, &err) < 0)
        return fail(&err);
    printf("name %s\ndigest %s\nmanifest %s\nconfig %s\nsize %lld\n", image.name, image.digest, image.manifest_digest,
           image.config_digest, (long long)image.size);
    for (size_t i = 0; i < image.layers_len; i++)
        printf("layer %s %lld %s\n", image.layers[i].digest, (long long)image.layers[i].size,
               image.layers[i].media_type);
    printf("json %s\n", image.config);
    registry_image_clear(&image);
    return 0;
}

static int show_archive(const char *path, const char *out)
{
    cleanup_close int fd = open(path, O_RDONLY);
    struct err err = ERR_INIT;
    struct image_archive *a = image_archive_read(fd, getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", &err);

    if (!a)
        return fail(&err);
    for (size_t i = 0; i < image_archive_count(a); i++) {
        const struct archived_image *image = image_archive_get(a, i);
        cleanup_strlist struct strlist paths = STRLIST_INIT;

        printf("image %s\n", image->id);
        print_list("tags", &image->tags);
        print_list("layers", &image->layers);
        printf("size %lld\njson %s\n", (long long)image->size, image->config);
        if (out && image_archive_layers(a, i, &paths, &err) < 0) {
            image_archive_free(a);
            return fail(&err);
        }
        for (size_t k = 0; k < paths.len; k++) {
            cleanup_free char *command = xasprintf("%s/%zu-%zu.tar", out, i, k);
            struct buf text cleanup_buf = BUF_INIT(1u << 30);

            fs_read_file(paths.items[k], &text, NULL);
            fs_write_file(command, text.data, text.len, 0644, NULL);
            printf("tar %s\n", command);
        }
    }
    image_archive_free(a);
    return 0;
}

static int import(const char *from, const char *to)
{
    cleanup_close int fd = open(from, O_RDONLY), out = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600);
    cleanup_free char *diff = NULL;
    struct err err = ERR_INIT;
    int64_t size;

    if (image_archive_import(fd, out, &diff, &size, &err) < 0) {
        unlink(to);
        return fail(&err);
    }
    printf("diff %s\n", diff);
    return 0;
}

int main(int argc, char **argv)
{
    int c;

    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((c = getopt(argc, argv, "+m:u:p:d:c:b:a:fn:P:")) != -1) {
        switch (c) {
        case 'm':
            strlist_add(&opt.mirrors, optarg);
            break;
        case 'u':
            opt.user = optarg;
            break;
        case 'p':
            opt.password = optarg;
            break;
        case 'd':
            opt.folder = optarg;
            break;
        case 'c':
            opt.context = optarg;
            break;
        case 'b':
            opt.base = optarg;
            break;
        case 'a':
            strlist_add(&opt.args, optarg);
            break;
        case 'f':
            opt.force = true;
            break;
        case 'n':
            opt.times = (int)strtol(optarg, NULL, 10);
            break;
        case 'P':
            opt.platform = optarg;
            break;
        default:
            return 64;
        }
    }
    argc -= optind;
    argv += optind;
    if (argc >= 2 && strcmp(argv[0], "config") == 0)
        return show_config(argv[1]);
    if (argc >= 2 && strcmp(argv[0], "archive") == 0)
        return show_archive(argv[1], argv[2]);
    if (argc >= 3 && strcmp(argv[0], "import") == 0)
        return import(argv[1], argv[2]);
    if (argc >= 2)
        return with_store(argc, argv);
    return 64;
}
