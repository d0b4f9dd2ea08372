/* What RUN --mount means: where it comes from, and what of it belongs to the key of the layer. */
#include "backends/engine/img_run.h"

#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_KEY  "ATP_SECRET_"
#define SECRET_MAX  (512u << 10) /* BuildKit's own limit is 500 KiB */
#define RUN_SECRETS "/run/secrets/"

void img_run_key(struct img_running *r, const char *name, const char *value)
{
    buf_addf(&r->what, "%s %zu:%s\n", name, value ? strlen(value) : 0, value ? value : "");
}

static void key_number(struct img_running *r, const char *name, long long value)
{
    buf_addf(&r->what, "%s %lld\n", name, value);
}

static const char *keep(struct img_running *r, char *text)
{
    strlist_add_owned(&r->kept, text);
    return text;
}

static struct images_run_mount *add_mount(struct img_running *r, int kind, const char *target)
{
    struct images_run_mount *m = &r->mounts[r->mounts_len++];

    *m = (struct images_run_mount){.kind = kind, .target = target};
    return m;
}

/* ---- secrets ---- */

static int base64_value(char c)
{
    if (isupper((unsigned char)c))
        return c - 'A';
    if (islower((unsigned char)c))
        return c - 'a' + 26;
    if (isdigit((unsigned char)c))
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

static int decode(const char *text, struct buf *out, const char *id, struct err *err)
{
    unsigned bits = 0;
    int have = 0;

    for (; *text && *text != '='; text++) {
        int value = base64_value(*text);

        if (value < 0)
            return err_set(err, 1, "secret %s: not base64", id);
        bits = bits << 6 | (unsigned)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            if (buf_addc(out, (char)(bits >> have & 0xff)) < 0)
                return err_set(err, 1, "secret %s: too large, %u bytes are allowed", id, SECRET_MAX);
        }
    }
    return 0;
}

/* 1 and the bytes, 0 when nobody gave this secret, -1. */
static int find_secret(struct img_running *r, const char *id, struct buf **ret, struct err *err)
{
    struct buf key cleanup_buf = BUF_INIT(LIMIT_PATH);
    const char *text;
    struct buf *out;

    buf_adds(&key, SECRET_KEY);
    for (const char *p = id; *p; p++)
        buf_addf(&key, "%02x", (unsigned)(unsigned char)*p);
    text = strlist_env_get(&r->b->job->secrets, key.data);
    if (!text)
        return 0;
    out = &r->secrets[r->secrets_len++];
    buf_init(out, SECRET_MAX);
    if (decode(text, out, id, err) < 0)
        return -1;
    *ret = out;
    return 1;
}

static int mount_secret(struct img_running *r, const struct df_mount *m, struct err *err)
{
    const char *slash = m->target ? strrchr(m->target, '/') : NULL;
    const char *id = m->id ? m->id : slash ? slash + 1 : "";
    struct images_run_mount *mount;
    struct buf *bytes = NULL;
    int found = find_secret(r, id, &bytes, err);

    img_run_key(r, "secret", id);
    img_run_key(r, "target", m->target);
    img_run_key(r, "env", m->env);
    key_number(r, "required", m->required);
    key_number(r, "mode", m->mode);
    key_number(r, "uid", m->uid);
    key_number(r, "gid", m->gid);
    if (found <= 0)
        return found < 0 ? -1 : m->required ? err_set(err, 1, "secret %s: not found", id) : 0;
    if (m->env) {
        if (memchr(bytes->data, '\0', bytes->len))
            return err_set(err, 1, "secret %s: a variable cannot hold a NUL byte", id);
        strlist_env_set(&r->env, m->env, bytes->data);
    }
    if (m->env && !m->target)
        return 0;
    slash = strrchr(id, '/');
    mount = add_mount(r, IMAGES_RUN_FILE,
                      m->target ? m->target : keep(r, xasprintf(RUN_SECRETS "%s", slash ? slash + 1 : id)));
    mount->bytes = bytes->data;
    mount->len = bytes->len;
    mount->mode = m->mode >= 0 ? (mode_t)m->mode & 07777 : 0400;
    mount->uid = m->uid > 0 ? (uid_t)m->uid : 0;
    mount->gid = m->gid > 0 ? (gid_t)m->gid : 0;
    return 0;
}

/* ---- files ---- */

static int mount_bind(struct img_running *r, const struct df_mount *m, struct img_source *source, struct err *err)
{
    const struct img_tree *tree = NULL;
    cleanup_free char *path = img_absolute(NULL, m->source ? m->source : "/"), *real = NULL;
    struct images_run_mount *mount;
    char hex[DIGEST_HEX + 1], empty[DIGEST_HEX + 1];
    struct digest *d;
    struct stat st;
    int ret;

    if (m->from && img_from(r->b, m->from_stage, m->from, &tree, err) < 0)
        return -1;
    if ((tree ? img_source_layers(r->b->job, &tree->layers, source, err) : img_source_context(r->b->job, source, err)) <
            0 ||
        img_source_resolve(source, path, &real, &st, err) < 0)
        return -1;
    d = digest_new();
    ret = img_source_digest_tree(source, real, d, err);
    digest_hex(d, hex);
    digest_free(d);
    if (ret < 0)
        return -1;
    if (!source->dirs.len) { /* nothing at all is still a directory */
        if (img_empty_layer(r->b->job, empty, err) < 0)
            return -1;
        strlist_add_owned(&source->dirs, img_layer_dir(r->b->job->dir, empty));
    }
    img_run_key(r, "bind", m->target);
    img_run_key(r, "contents", hex);
    key_number(r, "rw", m->read_write);
    mount = add_mount(r, IMAGES_RUN_LAYERS, m->target);
    mount->lowers = &source->dirs;
    mount->source = keep(r, steal(&real));
    mount->read_write = m->read_write;
    return 0;
}

static void mount_cache(struct img_running *r, const struct df_mount *m)
{
    struct images_run_mount *mount;

    img_run_key(r, "cache", m->target);
    img_run_key(r, "id", m->id);
    img_run_key(r, "from", m->from);
    img_run_key(r, "source", m->source);
    key_number(r, "rw", m->read_write);
    mount = add_mount(r, IMAGES_RUN_DIR, m->target);
    mount->read_write = m->read_write;
}

static int mount_one(struct img_running *r, const struct df_mount *m, struct img_source *source, struct err *err)
{
    if (m->target && strcmp(m->target, "/") == 0)
        return err_set(err, 1, "invalid mount target \"/\"");
    switch (m->type) {
    case DF_MOUNT_BIND:
        return mount_bind(r, m, source, err);
    case DF_MOUNT_CACHE:
        mount_cache(r, m);
        return 0;
    case DF_MOUNT_TMPFS:
        img_run_key(r, "tmpfs", m->target);
        key_number(r, "size", m->size);
        add_mount(r, IMAGES_RUN_TMPFS, m->target)->size = m->size > 0 ? (uint64_t)m->size : 0;
        return 0;
    case DF_MOUNT_SECRET:
        return mount_secret(r, m, err);
    default:
        return err_set(err, 1, "RUN --mount=type=ssh is not supported: this builder reaches no SSH agent");
    }
}

/* A script that is a here-document of its own stands in a file. */
static void mount_scripts(struct img_running *r)
{
    for (size_t i = 0; i < r->step->inlines_len; i++) {
        const struct df_inline *in = &r->step->inlines[i];
        struct images_run_mount *m = add_mount(r, IMAGES_RUN_FILE, keep(r, xasprintf("/dev/pipes/%s", in->name)));

        m->bytes = in->data;
        m->len = strlen(in->data);
        m->mode = 0755;
        img_run_key(r, "script", in->name);
        img_run_key(r, "text", in->data);
    }
}

/* Where a mount will make something that is not there: that, and the directories above it that are missing too. */
static int add_stubs(struct img_running *r, const char *target, struct err *err)
{
    cleanup_free char *real = NULL;
    char *slash;

    if (img_view_resolve(r->view, target, &real, err) < 0)
        return -1;
    for (; *real; *slash = '\0') {
        struct stat st;
        int found = img_view_look(r->view, real, &st, NULL, NULL, err);

        if (found)
            return found < 0 ? -1 : 0;
        strlist_add(&r->stubs, real);
        slash = strrchr(real, '/');
        if (!slash)
            break;
    }
    return 0;
}

int img_run_mounts(struct img_running *r, struct err *err)
{
    const struct df_step *s = r->step;

    r->mounts = xcalloc(s->mounts_len + s->inlines_len + 1, sizeof(*r->mounts));
    r->sources = xcalloc(s->mounts_len + 1, sizeof(*r->sources));
    r->caches = xcalloc(s->mounts_len + 1, sizeof(*r->caches));
    r->secrets = xcalloc(s->mounts_len + 1, sizeof(*r->secrets));
    for (size_t i = 0; i < s->mounts_len; i++) {
        if (mount_one(r, &s->mounts[i], &r->sources[i], err) < 0)
            return -1;
    }
    mount_scripts(r);
    if (add_stubs(r, "/etc/resolv.conf", err) < 0 || add_stubs(r, "/etc/hosts", err) < 0)
        return -1;
    for (size_t i = 0; i < r->mounts_len; i++) {
        if (add_stubs(r, r->mounts[i].target, err) < 0)
            return -1;
    }
    return 0;
}

int img_run_caches(struct img_running *r, struct err *err)
{
    size_t at = 0;

    for (size_t i = 0; i < r->step->mounts_len; i++) {
        const struct df_mount *m = &r->step->mounts[i];
        const struct img_tree *from = NULL;
        struct img_cache *cache = &r->caches[r->caches_len];

        if (m->type != DF_MOUNT_CACHE)
            continue;
        if (m->from && img_from(r->b, m->from_stage, m->from, &from, err) < 0)
            return -1;
        if (img_cache_open(r->b, m, from, cache, err) < 0)
            return -1;
        r->caches_len++;
        while (r->mounts[at].kind != IMAGES_RUN_DIR)
            at++;
        r->mounts[at++].source = cache->dir;
    }
    return 0;
}

void img_run_release(struct img_running *r)
{
    for (size_t i = 0; i < r->caches_len; i++)
        img_cache_close(r->b, &r->caches[i]);
    for (size_t i = 0; r->sources && i < r->step->mounts_len; i++)
        img_source_clear(&r->sources[i]);
    for (size_t i = 0; i < r->secrets_len; i++) {
        explicit_bzero(r->secrets[i].data, r->secrets[i].len);
        buf_clear(&r->secrets[i]);
    }
    free(r->caches);
    free(r->sources);
    free(r->secrets);
    free(r->mounts);
    img_view_free(r->view);
    strlist_clear(&r->lowers);
    strlist_clear(&r->env);
    strlist_clear(&r->kept);
    strlist_clear(&r->stubs);
    buf_clear(&r->what);
}
