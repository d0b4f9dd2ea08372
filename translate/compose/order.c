/* Who starts before whom. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/settle.h"

#include <stdlib.h>

#define CIRCLE_MAX 65536
#define CHAIN_MAX  10000 /* services that depend on one another in a row: bounds the stack */

enum state { NOT_SEEN, OPEN, DONE };

struct walk {
    const struct cnode *services;
    struct cnode *index; /* name -> position */
    unsigned char *state;
    size_t *path, depth;
    struct strlist *order;
};

/* "dependency cycle detected: a -> b -> a" */
static int circle(const struct walk *w, size_t at, struct err *err)
{
    cleanup_buf struct buf out = BUF_INIT(CIRCLE_MAX);
    size_t from = 0;

    while (w->path[from] != at)
        from++;
    for (; from < w->depth; from++)
        buf_addf(&out, "%s -> ", w->services->keys[w->path[from]]);
    return err_set(err, 0, "dependency cycle detected: %s%s", out.data, w->services->keys[at]);
}

/* Depth first; the depth is that of the longest chain of services. */
static int visit(struct walk *w, size_t at, struct err *err)
{
    const struct cnode *depends = cnode_get(w->services->items[at], "depends_on");

    if (w->state[at] == DONE)
        return 0;
    if (w->state[at] == OPEN)
        return circle(w, at, err);
    if (w->depth >= CHAIN_MAX)
        return err_set(err, 0, "more than %d services depend on one another in a row", CHAIN_MAX);
    w->state[at] = OPEN;
    w->path[w->depth++] = at;
    for (size_t i = 0; depends && depends->kind == CNODE_MAP && i < depends->len; i++) {
        int64_t next = cnode_number(w->index, depends->keys[i], -1);

        if (next >= 0 && visit(w, (size_t)next, err))
            return -1;
    }
    w->depth--;
    w->state[at] = DONE;
    strlist_add(w->order, w->services->keys[at]);
    return 0;
}

int compose_order(const struct compose_project *p, struct strlist *ret, struct err *err)
{
    const struct cnode *services = cnode_get(p->model, "services");
    size_t count = services ? services->len : 0;
    cleanup_free unsigned char *state = xcalloc(count + 1, 1);
    cleanup_free size_t *path = xcalloc(count + 1, sizeof(*path));
    struct walk w = {services, cnode_new(CNODE_MAP), state, path, 0, ret};
    int r = 0;

    for (size_t i = 0; i < count; i++)
        cnode_set(w.index, services->keys[i], cnode_int((int64_t)i));
    for (size_t i = 0; i < count && r == 0; i++)
        r = visit(&w, i, err);
    cnode_free(w.index);
    return r;
}
