#include "translate/sync/diff.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"

#include <stdlib.h>
#include <string.h>

static void add_op(struct sync_diff *d, struct sync_op op)
{
    if (d->len == d->cap) {
        d->cap = d->cap ? d->cap + d->cap / 2 : 64;
        d->ops = xreallocarray(d->ops, d->cap, sizeof(*d->ops));
    }
    d->ops[d->len++] = op;
}

void sync_diff_clear(struct sync_diff *d)
{
    free(d->ops);
    *d = (struct sync_diff)SYNC_DIFF_INIT;
}

/* The entry that e is another name of; NULL for a plain file and for a group's first name. */
static const struct manifest_entry *other_name_of(const struct manifest *m, const struct manifest_entry *e)
{
    const struct manifest_entry *leader = manifest_leader(m, e);

    return leader == e ? NULL : leader;
}

static bool same_meta(const struct manifest_entry *a, const struct manifest_entry *b)
{
    return a->uid == b->uid && a->gid == b->gid && a->mtime == b->mtime &&
           (a->type == MANIFEST_SYMLINK || a->mode == b->mode);
}

/* True if the content of a file that is not another name of something must travel. */
static bool content_travels(const struct manifest *base, const struct manifest_entry *old,
                            const struct manifest_entry *now)
{
    return !old || !manifest_same_content(old, now) || other_name_of(base, old);
}

/* True if `now`, another name of leader, must be made one on the other side as well. */
static bool link_travels(const struct manifest *base, const struct manifest_entry *old,
                         const struct manifest_entry *now, const struct manifest_entry *leader)
{
    const struct manifest_entry *old_leader = old ? other_name_of(base, old) : NULL;

    if (!old_leader || !manifest_same_content(old, now) || strcmp(old_leader->path, leader->path) != 0)
        return true;
    /* A leader that is written anew becomes another inode there, so its names must follow. */
    return content_travels(base, manifest_find(base, leader->path), leader);
}

static uint8_t kind_of(const struct manifest *base, const struct manifest_entry *old, const struct manifest *m,
                       const struct manifest_entry *now)
{
    const struct manifest_entry *leader;

    switch (now->type) {
    case MANIFEST_DIR:
        return old && old->type == MANIFEST_DIR ? SYNC_OP_META : SYNC_OP_DIR;
    case MANIFEST_SYMLINK:
        return old && manifest_same_content(old, now) ? SYNC_OP_META : SYNC_OP_SYMLINK;
    default:
        leader = other_name_of(m, now);
        if (leader)
            return link_travels(base, old, now, leader) ? SYNC_OP_LINK : SYNC_OP_META;
        return content_travels(base, old, now) ? SYNC_OP_FILE : SYNC_OP_META;
    }
}

/* Adds the operation for an entry that is there now, if it needs one. */
static void diff_present(struct sync_diff *d, const struct manifest *base, const struct manifest_entry *old,
                         const struct manifest *m, const struct manifest_entry *now)
{
    struct sync_op op = {.old = old, .now = now, .kind = kind_of(base, old, m, now)};

    if (op.kind == SYNC_OP_META && same_meta(old, now))
        return;
    if (op.kind == SYNC_OP_LINK)
        op.leader = other_name_of(m, now)->path;
    if (old && old->ctime && now->ctime && old->ino && old->ino == now->ino && old->dev == now->dev)
        op.flags |= SYNC_OP_SAME_INODE;
    if ((old && old->flags & MANIFEST_CONTESTED) || now->flags & MANIFEST_CONTESTED)
        op.flags |= SYNC_OP_CONTESTED;
    add_op(d, op);
}

static void diff_gone(struct sync_diff *d, const struct manifest_entry *old)
{
    struct sync_op op = {.kind = SYNC_OP_DELETE, .old = old};

    /* A root directory is a mount point: what is in it goes, it stays. */
    if (!*old->path && old->type == MANIFEST_DIR)
        return;
    if (old->flags & MANIFEST_CONTESTED)
        op.flags |= SYNC_OP_CONTESTED;
    add_op(d, op);
}

void sync_diff_make(struct sync_diff *ret, const struct manifest *base, const struct manifest *now)
{
    static const struct manifest nothing = MANIFEST_INIT;
    struct sync_diff d = SYNC_DIFF_INIT;
    size_t i = 0, k = 0;

    if (!base)
        base = &nothing;
    while (i < base->len || k < now->len) {
        const struct manifest_entry *a = i < base->len ? &base->entries[i] : NULL;
        const struct manifest_entry *b = k < now->len ? &now->entries[k] : NULL;
        int order = !a ? 1 : !b ? -1 : manifest_path_cmp(a->path, b->path);

        if (order < 0)
            diff_gone(&d, a);
        else
            diff_present(&d, base, order == 0 ? a : NULL, now, b);
        i += order <= 0;
        k += order >= 0;
    }
    sync_diff_clear(ret);
    *ret = d;
}

void sync_diff_mark_untouched(struct sync_diff *d, const struct manifest *agreed)
{
    for (size_t i = 0; i < d->len; i++) {
        struct sync_op *op = &d->ops[i];
        const struct manifest_entry *e = op->now ? manifest_find(agreed, op->now->path) : NULL;

        if (e && !((e->flags | op->now->flags) & MANIFEST_CONTESTED) && manifest_same_content(e, op->now))
            op->flags |= SYNC_OP_UNTOUCHED;
    }
}

const char *sync_op_name(uint8_t kind)
{
    static const char *const names[] = {"?", "delete", "dir", "file", "symlink", "link", "meta"};

    return kind <= SYNC_OP_META ? names[kind] : names[0];
}

void sync_quote(struct buf *out, const char *path)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-=:,@%";
    bool control = false;

    if (*path && strspn(path, safe) == strlen(path)) {
        buf_adds(out, path);
        return;
    }
    for (const char *p = path; *p; p++)
        control |= (unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f;
    buf_adds(out, control ? "$'" : "'");
    for (const char *p = path; *p; p++) {
        unsigned char c = (unsigned char)*p;

        if (control && (c < 0x20 || c >= 0x7f))
            buf_addf(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\%03o", c);
        else if (control && (c == '\'' || c == '\\'))
            buf_addf(out, "\\%c", c);
        else if (c == '\'')
            buf_adds(out, "'\\''");
        else
            buf_addc(out, (char)c);
    }
    buf_addc(out, '\'');
}

void sync_diff_print(const struct sync_diff *d, struct buf *out)
{
    for (size_t i = 0; i < d->len; i++) {
        const struct sync_op *op = &d->ops[i];
        const struct manifest_entry *e = op->now ? op->now : op->old;

        buf_addf(out, "%s ", sync_op_name(op->kind));
        sync_quote(out, *e->path ? e->path : ".");
        if (op->kind == SYNC_OP_FILE) {
            buf_addf(out, " %llu", (unsigned long long)e->size);
        } else if (op->kind == SYNC_OP_SYMLINK || op->kind == SYNC_OP_LINK) {
            buf_adds(out, " -> ");
            sync_quote(out, op->leader ? op->leader : e->link);
        }
        buf_adds(out, op->flags & SYNC_OP_CONTESTED ? " contested\n" : "\n");
    }
}
