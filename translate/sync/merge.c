#include "translate/sync/merge.h"

#include "compat/base/limits.h"

static bool same(const struct manifest_entry *a, const struct manifest_entry *b)
{
    return a && b && manifest_same_content(a, b);
}

/* The peer no longer has it. */
static enum merge_verdict decide_deletion(const struct merge_input *in, const struct manifest_entry *ancestor)
{
    if (!in->local && !in->local_special)
        return MERGE_SAME;
    if (in->replace || same(ancestor, in->local))
        return MERGE_TAKE;
    return MERGE_KEEP;
}

enum merge_verdict merge_decide(const struct merge_input *in)
{
    /* What the peer made without knowing the ancestor is measured against nothing. */
    const struct manifest_entry *ancestor = in->contested ? NULL : in->ancestor;

    if (!in->incoming)
        return decide_deletion(in, ancestor);
    if (same(in->local, in->incoming))
        return MERGE_META;
    if (in->replace)
        return MERGE_TAKE;
    if (!in->local && !in->local_special)
        return same(ancestor, in->incoming) ? MERGE_KEEP : MERGE_TAKE;
    if (same(ancestor, in->local))
        return MERGE_TAKE;
    if (same(ancestor, in->incoming))
        return in->local && in->local->type == in->incoming->type ? MERGE_META : MERGE_KEEP;
    return MERGE_CONFLICT;
}

struct merge_meta merge_meta(const struct merge_input *in, const struct merge_meta *wanted)
{
    const struct manifest_entry *a = in->contested ? NULL : in->ancestor, *l = in->local, *i = in->incoming;
    struct merge_meta m = {.mode = l->mode, .uid = l->uid, .gid = l->gid, .mtime = l->mtime};

    if (in->replace)
        return *wanted;
    if (!a || a->type != l->type)
        return m;
    if (l->mode == a->mode && i->mode != a->mode)
        m.mode = wanted->mode;
    if (l->uid == a->uid && i->uid != a->uid)
        m.uid = wanted->uid;
    if (l->gid == a->gid && i->gid != a->gid)
        m.gid = wanted->gid;
    if (i->mtime != a->mtime && (l->mtime == a->mtime || i->mtime > l->mtime))
        m.mtime = wanted->mtime;
    return m;
}

bool merge_bulk_deletion(size_t entries, size_t deletions, size_t left)
{
    /* One file that was all there was is a plain rm, not a bulk. */
    if (left == 0 && deletions > 1)
        return true;
    return deletions > LIMIT_SYNC_BULK && deletions > entries / 2;
}
