#include "backends/engine/img_store.h"

#include "backends/engine/img_uploads.h"
#include "backends/registry/digest.h"
#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_MOUNT_TEXT ((size_t)LIMIT_ENTRIES * 256) /* a million files with paths of ordinary length */
#define ID_DIGITS      22                            /* as many as Modal's own ids have behind the prefix */

static int by_name(const void *a, const void *b)
{
    const struct img_mount_entry *x = a, *y = b;

    return strcmp(x->name, y->name);
}

void img_mount_clear(struct img_mount *m)
{
    for (size_t i = 0; i < m->len; i++) {
        free(m->entries[i].name);
        free(m->entries[i].sha256_hex);
    }
    free(m->entries);
    *m = (struct img_mount){0};
}

const struct img_mount_entry *img_mount_find(const struct img_mount *m, const char *name)
{
    const struct img_mount_entry key = {.name = (char *)(uintptr_t)name};

    return m->len ? bsearch(&key, m->entries, m->len, sizeof(key), by_name) : NULL;
}

/* One file of the request, checked. */
static int take(const char *dir, const struct images_mount_file *f, struct img_mount_entry *ret, struct err *err)
{
    if (!digest_is_hex(f->sha256_hex))
        return err_set(err, 0, "mount file %s: invalid sha256", f->filename);
    if (!img_upload_exists(dir, f->sha256_hex))
        return err_set(err, 0, "mount file %s: its contents %s were not uploaded", f->filename, f->sha256_hex);
    if (tar_name(f->filename, &ret->name, err) < 0)
        return err_wrap(err, "mount file");
    ret->sha256_hex = xstrdup(f->sha256_hex);
    ret->mode = f->mode & 07777;
    ret->mtime_ns = f->mtime_ns;
    return *ret->name ? 0 : err_set(err, 0, "mount file \"%s\": not a file name", f->filename);
}

/* Whether a and b, neighbours in the sorted list, cannot both be there. */
static bool collide(const char *a, const char *b)
{
    size_t len = strlen(a);

    return strncmp(a, b, len) == 0 && (!b[len] || b[len] == '/');
}

/* Two files of one name, or a file that another needs as its directory. "a", "a.b", "a/c": neighbours are not enough.
 */
static int check_names(const struct img_mount *m, struct err *err)
{
    for (size_t i = 0; i < m->len; i++) {
        const char *name = m->entries[i].name;

        if (i && strcmp(m->entries[i - 1].name, name) == 0)
            return err_set(err, 0, "mount file /%s is listed twice", name);
        for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
            cleanup_free char *parent = xstrndup(name, (size_t)(slash - name));
            struct img_mount_entry key = {.name = parent};
            const struct img_mount_entry *hit = bsearch(&key, m->entries, m->len, sizeof(key), by_name);

            if (hit && collide(hit->name, name))
                return err_set(err, 0, "mount file /%s is a file and a directory", hit->name);
        }
    }
    return 0;
}

/* The list as JSON: one line for each file, so that equal lists are equal texts. */
static int print_mount(const struct img_mount *m, struct buf *out, struct err *err)
{
    buf_adds(out, "[");
    for (size_t i = 0; i < m->len; i++) {
        const struct img_mount_entry *e = &m->entries[i];
        json_t *item = json_pack("[s%,s,i]", e->name, strlen(e->name), e->sha256_hex, (int)e->mode);
        char *text = NULL;

        if (item && e->mtime_ns)
            json_array_append_new(item, json_integer(e->mtime_ns));
        if (item)
            text = json_dumps(item, JSON_COMPACT);
        json_decref(item);
        if (!text)
            return err_set(err, 0, "mount file /%s: the name is not UTF-8", e->name);
        buf_addf(out, "%s%s", i ? ",\n" : "\n", text);
        free(text);
    }
    buf_adds(out, "\n]\n");
    return out->overflowed ? err_set(err, 0, "the mount's list of files is too long") : 0;
}

int img_mount_put(const char *dir, const struct images_mount_file *files, size_t len, char **ret_id, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(MAX_MOUNT_TEXT);
    struct img_mount m = {.entries = xcalloc(len + 1, sizeof(*m.entries))};
    cleanup_free char *path = NULL;
    char hex[DIGEST_HEX + 1];
    int ret = 0;

    for (size_t i = 0; i < len && ret == 0; i++) {
        m.len = i + 1;
        ret = take(dir, &files[i], &m.entries[i], err);
    }
    if (ret == 0) {
        qsort(m.entries, m.len, sizeof(*m.entries), by_name);
        ret = check_names(&m, err);
    }
    if (ret == 0)
        ret = print_mount(&m, &text, err);
    img_mount_clear(&m);
    if (ret < 0)
        return -1;
    digest_of(text.data, text.len, hex);
    path = xasprintf("%s/mounts/mo-%.*s.json", dir, ID_DIGITS, hex);
    if (utimensat(AT_FDCWD, path, NULL, 0) < 0 && fs_write_file(path, text.data, text.len, 0600, err) < 0)
        return -1;
    *ret_id = xasprintf("mo-%.*s", ID_DIGITS, hex);
    return 0;
}

/* Ids come from outside: only what we could have made ourselves is looked up. */
static bool valid_id(const char *id)
{
    return strncmp(id, "mo-", 3) == 0 && strspn(id + 3, "0123456789abcdef") == ID_DIGITS && !id[3 + ID_DIGITS];
}

int img_mount_load(const char *dir, const char *id, struct img_mount *ret, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/mounts/%s.json", dir, id);

    if (valid_id(id))
        utimensat(AT_FDCWD, path, NULL, 0);
    return img_mount_read(dir, id, ret, err);
}

int img_mount_read(const char *dir, const char *id, struct img_mount *ret, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/mounts/%s.json", dir, id);
    struct buf text cleanup_buf = BUF_INIT(MAX_MOUNT_TEXT);
    struct img_mount m = {0};
    json_t *list, *item;
    size_t i;

    if (!valid_id(id) || !fs_exists(path))
        return err_set(err, 0, "mount %s not found", id);
    if (fs_read_file(path, &text, err) < 0)
        return -1;
    list = json_loadb(text.data, text.len, 0, NULL);
    if (!json_is_array(list)) {
        json_decref(list);
        return err_set(err, 0, "%s is damaged", path);
    }
    m.entries = xcalloc(json_array_size(list) + 1, sizeof(*m.entries));
    json_array_foreach(list, i, item)
    {
        struct img_mount_entry *e = &m.entries[m.len++];

        e->name = xstrdup(json_string_value(json_array_get(item, 0)));
        e->sha256_hex = xstrdup(json_string_value(json_array_get(item, 1)));
        e->mode = (mode_t)json_integer_value(json_array_get(item, 2));
        e->mtime_ns = json_integer_value(json_array_get(item, 3));
    }
    json_decref(list);
    *ret = m;
    return 0;
}
