/* volumes, secrets and configs as words. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/words.h"

#include <string.h>

#define MOUNT_MAX 65536

static size_t length(const struct cnode *n)
{
    return n ? n->len : 0;
}

/* One field of --mount, which is a line of CSV. */
static void add_field(struct buf *out, const char *key, const char *value)
{
    buf_adds(out, out->len ? "," : "");
    if (!value) {
        buf_adds(out, key);
        return;
    }
    if (!strpbrk(value, ",\"\n\r")) {
        buf_addf(out, "%s=%s", key, value);
        return;
    }
    buf_addf(out, "\"%s=", key);
    for (; *value; value++)
        buf_addf(out, *value == '"' ? "\"%c" : "%c", *value);
    buf_addc(out, '"');
}

static void add_mount(const struct words *w, const struct cnode *m, const char *type, const char *source)
{
    cleanup_buf struct buf out = BUF_INIT(MOUNT_MAX);
    const struct cnode *volume = cnode_get(m, "volume"), *tmpfs = cnode_get(m, "tmpfs");
    const char *target = cnode_str(m, "target"), *mode = cnode_str(tmpfs, "mode");

    add_field(&out, "type", type);
    if (source)
        add_field(&out, "source", source);
    add_field(&out, "target", target ? target : "");
    if (cnode_true(m, "read_only"))
        add_field(&out, "readonly", NULL);
    if (cnode_true(volume, "nocopy"))
        add_field(&out, "volume-nocopy", NULL);
    if (cnode_str(volume, "subpath"))
        add_field(&out, "volume-subpath", cnode_str(volume, "subpath"));
    if (cnode_str(tmpfs, "size"))
        add_field(&out, "tmpfs-size", cnode_str(tmpfs, "size"));
    if (mode) {
        cleanup_free char *octal = xasprintf("%llo", (unsigned long long)cnode_number(tmpfs, "mode", 0));

        add_field(&out, "tmpfs-mode", octal);
    }
    words_add(w, "--mount", "%s", out.data);
}

/* -v where it says the same: a folder that is not there is made by it, and by --mount it is not. */
static bool fits_short(const char *source, const char *target)
{
    return !strchr(source, ':') && target && *target == '/' && !strchr(target, ':');
}

static int add_bind(const struct words *w, const struct cnode *m, struct err *err)
{
    const char *source = cnode_str(m, "source"), *target = cnode_str(m, "target");
    bool made = cnode_true(cnode_get(m, "bind"), "create_host_path");

    if (!source)
        return err_set(err, 0, "invalid mount config for type \"bind\": field Source must not be empty");
    if (made && fits_short(source, target))
        words_add(w, "--volume", "%s:%s%s", source, target, cnode_true(m, "read_only") ? ":ro" : "");
    else
        add_mount(w, m, "bind", source);
    return 0;
}

static void add_volume(const struct words *w, const struct cnode *m)
{
    const char *key = cnode_str(m, "source"), *target = cnode_str(m, "target");
    const struct cnode *declared = key ? cnode_get(cnode_get(w->p->model, "volumes"), key) : NULL;
    const char *name = cnode_str(declared, "name");
    bool plain = length(cnode_get(m, "volume")) == 0;

    if (!key && plain && fits_short("", target) && !cnode_true(m, "read_only"))
        words_add(w, "--volume", "%s", target);
    else if (key && plain && fits_short(key, target))
        words_add(w, "--volume", "%s:%s%s", name ? name : key, target, cnode_true(m, "read_only") ? ":ro" : "");
    else
        add_mount(w, m, "volume", name ? name : key);
}

static int add_volumes(const struct words *w, struct err *err)
{
    const struct cnode *list = cnode_get(w->s, "volumes");

    for (size_t i = 0; i < length(list); i++) {
        const char *type = cnode_str(list->items[i], "type");

        if (!type || strcmp(type, "volume") == 0)
            add_volume(w, list->items[i]);
        else if (strcmp(type, "bind") == 0 && add_bind(w, list->items[i], err))
            return -1;
        else if (strcmp(type, "tmpfs") == 0)
            add_mount(w, list->items[i], "tmpfs", NULL);
        else if (strcmp(type, "bind") != 0)
            return err_set(err, 0, "service \"%s\": a volume of type %s is not carried out by atp-docker", w->name,
                           type);
    }
    return 0;
}

/* Where a secret or config stands in the container. Owned by caller. */
static char *file_target(const struct cnode *use, const char *folder)
{
    const char *source = cnode_str(use, "source"), *target = cnode_str(use, "target");

    if (!target)
        target = source ? source : "";
    return *target == '/' ? xstrdup(target) : xasprintf("%s%s", folder, target);
}

static int add_file(const struct words *w, const struct cnode *use, const char *section, struct err *err)
{
    bool secret = strcmp(section, "secrets") == 0;
    const char *key = cnode_str(use, "source");
    const struct cnode *object = cnode_get(cnode_get(w->p->model, section), key ? key : "");
    cleanup_free char *target = file_target(use, secret ? "/run/secrets/" : "/");
    cleanup_buf struct buf out = BUF_INIT(MOUNT_MAX);

    if (cnode_true(object, "external")) {
        if (!secret)
            return err_set(err, 0, "unsupported external config %s", key);
        return 0; /* words_modal() has it */
    }
    if (!cnode_str(object, "file"))
        return err_set(err, 0, "service \"%s\": %s %s: its text was not written to a file", w->name,
                       secret ? "secret" : "config", key);
    add_field(&out, "type", "bind");
    add_field(&out, "source", cnode_str(object, "file"));
    add_field(&out, "target", target);
    add_field(&out, "readonly", NULL);
    words_add(w, "--mount", "%s", out.data);
    return 0;
}

int words_mounts(const struct words *w, struct err *err)
{
    static const char *const sections[] = {"secrets", "configs"};

    if (add_volumes(w, err))
        return -1;
    for (size_t k = 0; k < 2; k++) {
        const struct cnode *list = cnode_get(w->s, sections[k]);

        for (size_t i = 0; i < length(list); i++)
            if (add_file(w, list->items[i], sections[k], err))
                return -1;
    }
    return 0;
}
