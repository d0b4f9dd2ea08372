/* The short form of a mount: [SOURCE:]TARGET[:OPTIONS]. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "translate/compose/canonical.h"
#include "translate/compose/load.h"

#include <ctype.h>
#include <string.h>

#define SPEC_MAX 65536

/* Splits at colons that are neither a Windows drive's nor inside ${...}. */
static void split(const char *spec, struct strlist *parts)
{
    cleanup_buf struct buf part = BUF_INIT(SPEC_MAX);
    int depth = 0;

    for (const char *p = spec; *p; p++) {
        if (p[0] == '$' && p[1] == '{')
            depth++;
        else if (*p == '}' && depth > 0)
            depth--;
        else if (*p == ':' && depth == 0 && !(part.len == 1 && isalpha((unsigned char)part.data[0]))) {
            strlist_add(parts, part.data);
            buf_reset(&part);
            continue;
        }
        buf_addc(&part, *p);
    }
    strlist_add(parts, part.data);
}

/* ./x /x ~x \\pipe c:\x */
static bool is_path(const char *source)
{
    return (*source && strchr("./~", *source)) || strncmp(source, "\\\\", 2) == 0 ||
           (isalpha((unsigned char)source[0]) && source[1] == ':');
}

static struct cnode *inner(struct cnode *mount, const char *key)
{
    if (!cnode_get(mount, key))
        cnode_set(mount, key, cnode_new(CNODE_MAP));
    return cnode_get(mount, key);
}

static void add_options(struct cnode *mount, const char *text)
{
    static const char *const propagations[] = {"rprivate", "private", "rshared", "shared", "rslave", "slave"};
    cleanup_strlist struct strlist options = STRLIST_INIT;

    strlist_split(&options, text, ',');
    for (size_t i = 0; i < options.len; i++) {
        const char *o = options.items[i];

        if (strcmp(o, "ro") == 0)
            cnode_set(mount, "read_only", cnode_bool(true));
        else if (strcmp(o, "rw") == 0)
            cnode_remove(mount, "read_only");
        else if (strcmp(o, "nocopy") == 0)
            cnode_set(inner(mount, "volume"), "nocopy", cnode_bool(true));
        else if (strcmp(o, "z") == 0 || strcmp(o, "Z") == 0)
            cnode_set(inner(mount, "bind"), "selinux", cnode_string(o));
        for (size_t k = 0; k < sizeof(propagations) / sizeof(*propagations); k++)
            if (strcmp(o, propagations[k]) == 0)
                cnode_set(inner(mount, "bind"), "propagation", cnode_string(o));
    }
}

static void set_target(struct cnode *mount, const char *target)
{
    cleanup_free char *clean = path_join("", target);

    cnode_set(mount, "target", cnode_string(clean));
}

struct cnode *canonical_mount(const char *spec, struct err *err)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    struct cnode *mount;

    if (!*spec) {
        err_set(err, 0, "invalid empty volume spec");
        return NULL;
    }
    mount = canonical_map1("type", "volume");
    if (strlen(spec) <= 2) {
        set_target(mount, spec);
        return mount;
    }
    split(spec, &parts);
    for (size_t i = 0; i < parts.len; i++) {
        if (*parts.items[i] && i < 3)
            continue;
        err_set(err, 0, "invalid spec: %s: %s", spec,
                *parts.items[i] ? "too many colons" : "empty section between colons");
        cnode_free(mount);
        return NULL;
    }
    if (parts.len > 1)
        cnode_set(mount, "source", cnode_string(parts.items[0]));
    set_target(mount, parts.items[parts.len > 1]);
    if (parts.len > 2)
        add_options(mount, parts.items[2]);
    if (parts.len > 1 && is_path(parts.items[0])) {
        cnode_set(mount, "type", cnode_string("bind"));
        cnode_set(inner(mount, "bind"), "create_host_path", cnode_bool(true));
    } else {
        inner(mount, "volume");
    }
    return mount;
}
