/* Services that share no network: the platform keeps them apart only where nobody is in the networks of both. */
#include "shim/compose/team.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <string.h>

/* Whether two services are in a network together. */
static bool share_network(const struct service *a, const struct service *b)
{
    const struct cnode *networks = cnode_get(a->node, "networks"), *others = cnode_get(b->node, "networks");

    for (size_t i = 0; cnode_is(networks, CNODE_MAP) && cnode_is(others, CNODE_MAP) && i < networks->len; i++)
        for (size_t k = 0; k < others->len; k++)
            if (!strcmp(networks->keys[i], others->keys[k]))
                return true;
    return false;
}

/* All that share networks with the first one, in any number of steps: they are one sandbox. Owned by caller. */
static bool *sandbox_of(const struct services *s, size_t first)
{
    bool *in = xcalloc(s->len + 1, sizeof(*in));

    in[first] = true;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < s->len; i++)
            for (size_t k = 0; !in[i] && k < s->len; k++)
                if (in[k] && share_network(&s->items[i], &s->items[k]))
                    in[i] = more = true;
    }
    return in;
}

int team_check_company(const struct team *w, struct err *err)
{
    const struct services *s = &w->services;

    for (size_t i = 0; i < s->len; i++) {
        cleanup_free bool *in = sandbox_of(s, i);

        for (size_t k = i + 1; k < s->len; k++)
            if (in[k] && !share_network(&s->items[i], &s->items[k]))
                return err_set(err, 125,
                               "services \"%s\" and \"%s\" share no network and are refused by atp-docker: others are "
                               "in the networks of both, which makes all of them one sandbox, where these two could "
                               "reach each other; ATP_DOCKER_APPROXIMATE=all accepts that (names stay apart), a common "
                               "network says that they may",
                               s->items[i].name, s->items[k].name);
    }
    return 0;
}
