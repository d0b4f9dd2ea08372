/* Symbolic and hard links: made last, so that nothing that follows in the stream could go through them. */
#include "backends/tree/writer_impl.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/tree/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int writer_add_link(struct tree_writer *w, const struct tree_entry *e, const char *path, struct err *err)
{
    struct late_link *link;
    bool hard = e->type == TREE_HARDLINK;
    const char *name;
    int dir = writer_parent(w, path, &name, err);

    if (dir < 0 || writer_refuse_dir(w, dir, name, path, err) < 0)
        return -1;
    if (!hard && place_check_link(w->dest.shown, path, e->link, err) < 0)
        return -1;
    if (writer_keep_names(w, strlen(path) + strlen(e->link) + sizeof(*link), err) < 0)
        return -1;
    if (w->links_len == w->links_cap) {
        w->links_cap = w->links_cap ? w->links_cap * 2 : 32;
        w->links = xreallocarray(w->links, w->links_cap, sizeof(*w->links));
    }
    link = &w->links[w->links_len++];
    *link = (struct late_link){.hard = hard, .path = xstrdup(path), .uid = e->uid, .gid = e->gid, .mtime = e->mtime};
    writer_owner(w, &link->uid, &link->gid);
    link->text = hard && w->dest.name ? xasprintf("%s/%s", w->dest.name, e->link) : xstrdup(e->link);
    return 0;
}

/* A symbolic link under a temporary name, as it shall be. */
static int make_symlink(const struct tree_writer *w, const struct late_link *link, int dir, char temp[BENEATH_TEMP_MAX])
{
    int guard = beneath_temp_symlink(link->text, dir, temp);

    if (guard < 0)
        return -1;
    if (w->dest.owners || w->dest.one_owner)
        beneath_link_chown(dir, temp, link->uid, link->gid);
    beneath_link_set_mtime(dir, temp, link->mtime);
    close(guard);
    return 0;
}

/* Another name of a file, under a temporary one. */
static int make_hard_link(struct tree_writer *w, const struct late_link *link, int dir, char temp[BENEATH_TEMP_MAX],
                          struct err *err)
{
    cleanup_close int held = dup(dir);
    const char *name;
    int from = writer_parent(w, link->text, &name, err);

    if (from < 0)
        return -1;
    beneath_temp_name(temp);
    return held < 0 || beneath_link(from, name, held, temp) < 0 ? writer_fail(w, link->path, err) : 0;
}

static int make_link(struct tree_writer *w, const struct late_link *link, struct err *err)
{
    char temp[BENEATH_TEMP_MAX];
    const char *name;
    int status, dir = writer_parent(w, link->path, &name, err);
    cleanup_close int held = dir < 0 ? -1 : dup(dir); /* the first name may lie in another directory */

    if (held < 0 || writer_refuse_dir(w, held, name, link->path, err) < 0)
        return -1;
    if (link->hard)
        status = make_hard_link(w, link, held, temp, err);
    else
        status = make_symlink(w, link, held, temp) < 0 ? writer_fail(w, link->path, err) : 0;
    if (status < 0)
        return -1;
    status = beneath_rename(held, temp, held, name) < 0 ? writer_fail(w, link->path, err) : 0;
    beneath_unlink(held, temp); /* a rename onto another name of the same file does nothing */
    return status;
}

int writer_make_links(struct tree_writer *w, struct err *err)
{
    for (size_t i = 0; i < w->links_len; i++)
        if (make_link(w, &w->links[i], err) < 0)
            return -1;
    return 0;
}

void writer_drop_links(struct tree_writer *w)
{
    for (size_t i = 0; i < w->links_len; i++) {
        free(w->links[i].path);
        free(w->links[i].text);
    }
    free(w->links);
}
