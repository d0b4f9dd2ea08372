/* What changes in a pod while a container of it runs: the networks that it is in, and by them its names. */
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "shim/app.h"
#include "shim/inquiry.h"
#include "shim/pod_private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_MS 5000 /* for an agent to say where it is */

int pod_tell_names(struct container *c, struct err *err)
{
    cleanup_with(wire_names_clear) struct wire_names names = {0};
    cleanup_free char *text = NULL;
    struct wire_ask ask = {.kind = WIRE_ASK_NAMES};
    int code = 0;

    if (container_load(c, err) < 0)
        return -1;
    if (!pod_names(c, &names))
        return 0;
    ask.text = text = wire_names_text(&names);
    return container_ask(c, &ask, /* with_mounts= */ false, &code, err);
}

/* ---- networks ---- */

static int refuse_two_pods(const struct container *c, const struct state_network *n, struct err *err)
{
    return err_set(err, 125,
                   "network connect is not carried out by atp-docker while %s runs: containers of network %s run in "
                   "another sandbox; stop %s and those, connect it, and start them again",
                   c->row.name, n->name, c->row.name);
}

/* Its pod has the network from here on, unless another one has it. */
static int claim_network(struct container *c, const struct state_network *n, struct err *err)
{
    cleanup_close int lock = pods_lock(err);
    struct state_pod *list = NULL, *own = NULL;
    cleanup_strlist struct strlist all = STRLIST_INIT;
    size_t len = 0;
    int ret = 0;

    if (lock < 0 || state_pod_list(c->app->state, c->app->server_key, &list, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len && ret == 0; i++) {
        cleanup_strlist struct strlist theirs = STRLIST_INIT;

        pod_ids_read(list[i].networks, &theirs);
        if (!strcmp(list[i].id, c->row.pod))
            own = &list[i];
        else if (strlist_has(&theirs, n->id))
            ret = refuse_two_pods(c, n, err);
    }
    if (ret == 0 && !own)
        ret = err_set(err, 125, "the sandbox of %s is not known any more", c->row.name);
    if (ret == 0) {
        pod_ids_read(own->networks, &all);
        if (!strlist_has(&all, n->id))
            strlist_add(&all, n->id);
        free(own->networks);
        own->networks = pod_ids_text(&all);
        ret = state_pod_put(c->app->state, own, err);
    }
    for (size_t i = 0; i < len; i++)
        state_pod_clear(&list[i]);
    free(list);
    return ret;
}

int pod_connect(struct container *c, const struct state_network *n, struct err *err)
{
    return claim_network(c, n, err) < 0 ? -1 : pod_tell_names(c, err);
}

/* Whether one of the pod's other containers is in the network; who cannot be asked may be. */
static bool others_have(const struct container *c, const char *network)
{
    struct state_container *rows = NULL;
    size_t len = 0;
    bool found = false;

    if (state_container_list(c->app->state, &rows, &len, NULL) < 0)
        return true;
    for (size_t i = 0; i < len; i++) {
        cleanup_strlist struct strlist theirs = STRLIST_INIT;

        pod_ids_read(rows[i].networks, &theirs);
        found |= rows[i].pod && !strcmp(rows[i].pod, c->row.pod) && strcmp(rows[i].id, c->row.id) != 0 &&
                 strlist_has(&theirs, network);
        state_container_clear(&rows[i]);
    }
    free(rows);
    return found;
}

/* A network that nobody of the pod is in any more may be had by another pod. */
static void release_network(struct container *c, const char *network)
{
    cleanup_close int lock = pods_lock(NULL);
    struct state_pod p = {0};

    if (lock >= 0 && !others_have(c, network) && state_pod_find(c->app->state, c->row.pod, &p, NULL) > 0) {
        cleanup_strlist struct strlist all = STRLIST_INIT, rest = STRLIST_INIT;

        pod_ids_read(p.networks, &all);
        for (size_t i = 0; i < all.len; i++)
            if (strcmp(all.items[i], network) != 0)
                strlist_add(&rest, all.items[i]);
        free(p.networks);
        p.networks = pod_ids_text(&rest);
        state_pod_put(c->app->state, &p, NULL);
    }
    state_pod_clear(&p);
}

int pod_disconnect(struct container *c, const struct state_network *n, struct err *err)
{
    cleanup_free char *other = NULL;
    int got = pod_stranger(c, c->row.pod, &other, err);

    if (got > 0)
        return err_set(
            err, 125,
            "network disconnect is not carried out by atp-docker while %s runs: it and %s are in one sandbox "
            "and would still reach each other (ATP_DOCKER_APPROXIMATE=all accepts that)",
            c->row.name, other);
    if (got < 0 || pod_tell_names(c, err) < 0)
        return -1;
    release_network(c, n->id);
    return 0;
}

/* ---- addresses ---- */

/* "PLACE ADDRESS": of a life that is over it is nobody's any more. */
static char *read_address(const struct container *c, const char *path)
{
    cleanup_buf struct buf text = BUF_INIT(4096);
    size_t len = strlen(c->row.sandbox_id);
    struct in_addr address;

    if (fs_read_file(path, &text, NULL) < 0 || text.len <= len + 1 || strncmp(text.data, c->row.sandbox_id, len) != 0 ||
        text.data[len] != ' ' || inet_pton(AF_INET, text.data + len + 1, &address) != 1)
        return NULL;
    return xstrdup(text.data + len + 1);
}

/* What an agent says is checked: it is the container's. */
static char *ask_address(struct container *c)
{
    cleanup_with(inquiry_clear) struct inquiry q;
    char *address = NULL;
    struct in_addr checked;

    inquiry_init(&q, c->row.sandbox_id, WIRE_ASK_NAMES);
    q.quiet = true;
    inquiry_run(c->app, &q, 1, ADDRESS_MS);
    if (q.done && q.end == SESSION_EXITED && q.out.len) {
        address = xstrndup(q.out.data, strcspn(q.out.data, "\n"));
        if (inet_pton(AF_INET, address, &checked) != 1)
            free(steal(&address));
    }
    return address;
}

char *pod_address(struct container *c)
{
    cleanup_free char *path = container_path(c->row.id, "address"), *address = NULL, *text = NULL;

    if (!container_may_run(c) || !pod_is_sidecar(&c->row))
        return NULL;
    address = read_address(c, path);
    if (address || container_reach(c, NULL) < 0)
        return steal(&address);
    address = ask_address(c);
    if (!address)
        return NULL;
    text = xasprintf("%s %s", c->row.sandbox_id, address);
    if (container_dir_make(c->row.id, NULL) == 0)
        fs_write_file(path, text, strlen(text), 0600, NULL);
    return steal(&address);
}
