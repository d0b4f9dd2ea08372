/* What the sandbox of a pod is asked for with options that only Modal has: by its networks and its containers. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/pod_private.h"
#include "translate/modal_pod.h"
#include "translate/record.h"

#include <stdlib.h>
#include <string.h>

#define SERVICE_LABEL "com.docker.compose.service="

/* How a line names it: replicas of one service are one. Owned by caller. */
static char *who(const struct container_spec *spec)
{
    for (size_t i = 0; i < spec->labels.len; i++)
        if (strncmp(spec->labels.items[i], SERVICE_LABEL, strlen(SERVICE_LABEL)) == 0)
            return xasprintf("service %s", spec->labels.items[i] + strlen(SERVICE_LABEL));
    return xasprintf("container %s", spec->name);
}

/* network create -o modal.KEY=VALUE */
static int take_networks(struct app *app, const struct strlist *ids, struct modal_pod *ret, struct err *err)
{
    for (size_t i = 0; i < ids->len; i++) {
        cleanup_strlist struct strlist words = STRLIST_INIT;
        cleanup_with(modal_options_clear) struct modal_options options;
        cleanup_free char *name = NULL;
        struct state_network n = {0};
        int got = state_network_find(app->state, ids->items[i], &n, err);

        if (got < 0)
            return -1;
        modal_options_init(&options);
        if (got > 0) {
            pod_ids_read(n.options, &words);
            name = xasprintf("network %s", n.name);
            got = modal_options_from_labels(&options, &words, err);
            state_network_clear(&n);
            if (got < 0)
                return -1;
            modal_pod_take(ret, &options, name, /* network= */ true);
        }
    }
    return 0;
}

static void take_row(const struct state_container *row, struct modal_pod *ret)
{
    cleanup_with(process_clear) struct process_spec process = {0};
    cleanup_with(spec_clear) struct container_spec spec;
    cleanup_free char *image_id = NULL, *name = NULL;
    int64_t created_ns = 0;

    spec_init(&spec);
    if (!row->record || record_decode(row->record, &spec, &process, &image_id, &created_ns, NULL) < 0)
        return;
    name = who(&spec);
    modal_pod_take(ret, &spec.modal, name, /* network= */ false);
}

/* Every container that its networks have: those that are to start after this one find what they need. */
static int take_others(struct app *app, const struct strlist *ids, const char *but, struct modal_pod *ret,
                       struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    if (state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_strlist struct strlist theirs = STRLIST_INIT;
        bool meets = false;

        pod_ids_read(rows[i].networks, &theirs);
        for (size_t k = 0; k < theirs.len; k++)
            meets |= strlist_has(ids, theirs.items[k]);
        if (meets && strcmp(rows[i].id, but) != 0)
            take_row(&rows[i], ret);
        state_container_clear(&rows[i]);
    }
    free(rows);
    return 0;
}

static int settle(const struct container *c, struct state_pod *p, const char *name, struct err *err)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    cleanup_with(modal_pod_clear) struct modal_pod asked;

    modal_pod_init(&asked);
    pod_ids_read(p->networks, &ids);
    if (take_networks(c->app, &ids, &asked, err) < 0)
        return -1;
    modal_pod_take(&asked, &c->spec.modal, name, /* network= */ false);
    if (take_others(c->app, &ids, c->row.id, &asked, err) < 0)
        return -1;
    free(p->modal);
    p->modal = modal_pod_text(&asked);
    return 0;
}

int pod_modal_check(const struct container *c, struct state_pod *p, struct err *err)
{
    cleanup_free char *name = who(&c->spec);
    cleanup_with(modal_pod_clear) struct modal_pod asked;

    if (!p->sandbox_id && settle(c, p, name, err) < 0)
        return -1;
    modal_pod_read(&asked, p->modal);
    return modal_pod_check(&asked, &c->spec.modal, name, err);
}
