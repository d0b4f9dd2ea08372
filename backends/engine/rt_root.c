/* A container's root: the overlay over its layers, and the files below /etc that every container gets made for it. */
#include "backends/engine/rt_internal.h"

#include "backends/engine/rootless.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define OVERLAY_LAYERS  500  /* the kernel's own limit */
#define OVERLAY_OPTIONS 4000 /* mount(2) takes a page */

/* What keeps the upper layer plain (no redirects, no half-copied files) and spares a sandbox the disk's sync. */
static const char overlay_extra[] = ",index=off,metacopy=off,redirect_dir=off,volatile";
/* Without root: notes in attributes that a user may set. The kernel then takes no other word about redirects. */
static const char overlay_rootless[] = ",index=off,metacopy=off,redirect_dir=nofollow,volatile";

/* ---- name servers ---- */

/* Whether a name server can be reached from a container, which has IPv4 only. */
static bool usable_server(const char *address)
{
    struct in_addr in;

    return inet_pton(AF_INET, address, &in) == 1 && (ntohl(in.s_addr) >> 24) != 127;
}

static void filter_resolv(const char *path, struct buf *out, struct strlist *servers)
{
    struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    if (fs_read_file(path, &text, NULL) == 0)
        strlist_split(&lines, text.data, '\n');
    buf_clear(&text);
    for (size_t i = 0; i < lines.len; i++) {
        char *line = lines.items[i], address[64];

        if (sscanf(line, " nameserver %63s", address) == 1) {
            if (!usable_server(address))
                continue;
            strlist_add(servers, address);
        }
        buf_addf(out, "%s\n", line);
    }
}

void rt_resolv_conf(const char *path, const char *stub_path, struct buf *ret_text, struct strlist *ret_servers)
{
    static const char *const fallback[] = {"8.8.8.8", "8.8.4.4"};

    filter_resolv(path, ret_text, ret_servers);
    if (ret_servers->len == 0) {
        buf_reset(ret_text);
        filter_resolv(stub_path, ret_text, ret_servers);
    }
    if (ret_servers->len)
        return;
    for (size_t i = 0; i < sizeof(fallback) / sizeof(*fallback); i++) {
        buf_addf(ret_text, "nameserver %s\n", fallback[i]);
        strlist_add(ret_servers, fallback[i]);
    }
}

char *rt_root_hosts(const char *hostname, const char *address)
{
    return xasprintf("127.0.0.1\tlocalhost\n"
                     "::1\tlocalhost ip6-localhost ip6-loopback\n"
                     "fe00::\tip6-localnet\n"
                     "ff00::\tip6-mcastprefix\n"
                     "ff02::1\tip6-allnodes\n"
                     "ff02::2\tip6-allrouters\n"
                     "%s\t%s\n",
                     *address ? address : "127.0.0.1", hostname);
}

int rt_root_etc(const char *dir, const char *hostname, const char *resolv, const char *hosts, struct err *err)
{
    cleanup_free char *hosts_path = xasprintf("%s/hosts", dir);
    cleanup_free char *name_path = xasprintf("%s/hostname", dir);
    cleanup_free char *resolv_path = xasprintf("%s/resolv.conf", dir);
    cleanup_free char *name = xasprintf("%s\n", hostname);

    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return err_set_errno(err, 125, errno, "%s", dir);
    if (rt_write_text(hosts_path, hosts, 0644, err) < 0 || rt_write_text(name_path, name, 0644, err) < 0)
        return -1;
    return rt_write_text(resolv_path, resolv, 0644, err);
}

/* ---- the overlay ---- */

/* Adds "lowerdir=" with each layer once: a repeat further down changes nothing, and the kernel refuses it. */
static void lower_option(struct buf *out, const struct strlist *layers, bool by_link)
{
    buf_adds(out, "lowerdir=");
    for (size_t i = 0; i < layers->len; i++) {
        buf_adds(out, i ? ":" : "");
        if (by_link)
            buf_addf(out, "l/%zu", i);
        else
            buf_adds(out, layers->items[i]);
    }
}

static void once_each(struct strlist *out, const struct strlist *lowers)
{
    for (size_t i = 0; i < lowers->len; i++)
        if (!strlist_has(out, lowers->items[i]))
            strlist_add(out, lowers->items[i]);
}

/* Many layers, or names with the option's own separators, go by short links beside the root. */
static bool needs_links(const struct strlist *layers)
{
    size_t len = 0;

    for (size_t i = 0; i < layers->len; i++) {
        len += strlen(layers->items[i]) + 1;
        if (strpbrk(layers->items[i], ":,\\\""))
            return true;
    }
    return len + 100 > OVERLAY_OPTIONS;
}

static int make_links(const struct strlist *layers, struct err *err)
{
    if (mkdir("l", 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, 125, errno, "links to layers");
    for (size_t i = 0; i < layers->len; i++) {
        char name[32];

        snprintf(name, sizeof(name), "l/%zu", i);
        if (symlink(layers->items[i], name) < 0)
            return err_set_errno(err, 125, errno, "links to layers");
    }
    return 0;
}

/* The root folder of the container is the upper one: it looks like that of the topmost layer. */
static int make_folders(const char *like, struct err *err)
{
    struct stat st;

    if (stat(like, &st) < 0)
        return err_set_errno(err, 125, errno, "layer %s", like);
    if (mkdir("upper", 0755) < 0 || mkdir("work", 0700) < 0 || mkdir("root", 0755) < 0)
        return err_set_errno(err, 125, errno, "folders of the container");
    if (chown("upper", st.st_uid, st.st_gid) < 0 || chmod("upper", st.st_mode & 07777) < 0)
        return err_set_errno(err, 125, errno, "folders of the container");
    return 0;
}

int rt_root_mount(const char *dir, const struct strlist *lowers, struct err *err)
{
    cleanup_strlist struct strlist layers = STRLIST_INIT;
    cleanup_buf struct buf options = BUF_INIT(2 * OVERLAY_OPTIONS);
    bool by_link;
    size_t plain;

    once_each(&layers, lowers);
    if (layers.len > OVERLAY_LAYERS)
        return err_set(err, 125, "the image has %zu layers, overlay takes %d", layers.len, OVERLAY_LAYERS);
    if (chdir(dir) < 0)
        return err_set_errno(err, 125, errno, "%s", dir);
    if (make_folders(layers.items[0], err) < 0)
        return -1;
    by_link = needs_links(&layers);
    if (by_link && make_links(&layers, err) < 0)
        return -1;
    lower_option(&options, &layers, by_link);
    buf_adds(&options, ",upperdir=upper,workdir=work");
    if (rootless())
        buf_adds(&options, ",userxattr");
    plain = options.len;
    buf_adds(&options, rootless() ? overlay_rootless : overlay_extra);
    if (mount("overlay", "root", "overlay", 0, options.data) == 0)
        return 0;
    buf_truncate(&options, plain); /* a kernel that does not know one of the extras */
    if (mount("overlay", "root", "overlay", 0, options.data) == 0)
        return 0;
    return err_set_errno(
        err, 125, errno,
        "mounting the container's root in %s (the engine's state folder may not itself be on an overlay "
        "or a network file system)",
        dir);
}
