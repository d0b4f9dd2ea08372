/* Containers that run and that this state does not know: a deleted state folder, or a scope that several share. */
#include "backends/modal/sidecar.h"
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/inquiry.h"
#include "shim/make.h"
#include "shim/network.h"
#include "shim/pod.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECORD_MS   10000 /* an agent that lives answers within it */
#define RECOVER_MAX 128   /* asked at once: each may answer with INQUIRY_OUT_MAX */
#define SHORT_ID    12

static char *asked_key(const struct app *app)
{
    return xasprintf("recovered %s", app->server_key);
}

/* A scope that is given by name is shared on purpose: what others make is to be seen. */
static bool is_shared(void)
{
    const char *scope = getenv("ATP_DOCKER_SCOPE");

    return scope && *scope;
}

bool container_may_recover(struct app *app)
{
    cleanup_free char *key = NULL, *said = NULL;

    if (app_modal(app, NULL) < 0)
        return false;
    if (is_shared())
        return true;
    key = asked_key(app);
    return state_cache_get(app->state, key, &said, 0, NULL) == 0;
}

/* What the state knows already, or is about to forget. */
static bool is_known(struct app *app, const char *short_id)
{
    struct state_container row = {0};
    int got = state_container_find(app->state, short_id, &row, NULL);

    state_container_clear(&row);
    return got != 0;
}

/* Enters it. The name may have been given to another one meanwhile: then it gets its id behind it. */
static void enter(struct app *app, const struct state_container *row, const char *sandbox_name)
{
    const struct state_intent intent = {
        .container_id = row->id,
        .server = app->server_key,
        .app = (char *)"",
        .sandbox_name = (char *)sandbox_name,
        .sandbox_id = row->sandbox_id,
        .created = time(NULL),
    };
    struct state_container other = *row;

    if (state_container_add(app->state, row, NULL) < 0) {
        cleanup_free char *name = xasprintf("%s_%.12s", row->name, row->id);

        other.name = name;
        if (state_container_add(app->state, &other, NULL) < 0)
            return;
    }
    state_intent_add(app->state, &intent, NULL);
}

/* One container that the server knows: where it is, and who it says that it is. */
struct found {
    char *place, *short_id;
    char *intent; /* under which its place is remembered: the sandbox's name, or the sidecar's */
    char *pod;    /* NULL: a sandbox of its own */
};

struct found_list {
    struct found *items;
    size_t len;
};

static void found_clear(struct found_list *list)
{
    for (size_t i = 0; i < list->len; i++) {
        free(list->items[i].place);
        free(list->items[i].short_id);
        free(list->items[i].intent);
        free(list->items[i].pod);
    }
    free(list->items);
    *list = (struct found_list){0};
}

/* What is no short id is nothing of ours. Strings are taken. */
static void found_add(struct found_list *list, struct found item)
{
    list->items = xreallocarray(list->items, list->len + 1, sizeof(*list->items));
    list->items[list->len++] = item;
}

static bool is_short_id(const char *id)
{
    return id && strlen(id) == SHORT_ID && strspn(id, "0123456789abcdef") == SHORT_ID;
}

/* The networks of a container that was found: those that the state has lost are there again. */
static void find_networks(struct app *app, struct container_spec *spec)
{
    for (size_t i = 0; i < spec->networks.len; i++) {
        struct network_join *join = &spec->networks.items[i];
        struct state_network n = {
            .id = join->id,
            .name = join->name,
            .driver = (char *)"bridge",
            .labels = (char *)"[]",
            .options = (char *)"[]",
            .internal = join->internal,
            .created_ns = container_now_ns(),
        };

        if (join->id)
            state_network_add(app->state, &n, NULL); /* one of this name is not touched */
    }
}

/* The container that the agent's answer describes; what does not fit what the server says is left alone. */
static void take_record(struct app *app, const struct inquiry *q, const struct found *info)
{
    cleanup_with(process_clear) struct process_spec process = {0};
    cleanup_with(spec_clear) struct container_spec spec;
    cleanup_free char *image_id = NULL, *name = NULL, *command = NULL, *labels = NULL, *networks = NULL;
    int64_t created_ns = 0;

    spec_init(&spec);
    if (!q->done || q->end != SESSION_EXITED || q->code || !q->out.len || q->out.overflowed ||
        record_decode(q->out.data, &spec, &process, &image_id, &created_ns, NULL) < 0)
        return;
    if (strncmp(spec.id, info->short_id, SHORT_ID) != 0 || !spec.name || name_parse(spec.name, &name, NULL) < 0)
        return;
    command = making_json(&process.argv);
    labels = making_json(&spec.labels);
    if (info->pod) {
        find_networks(app, &spec);
        networks = network_ids(&spec.networks);
    }
    enter(app,
          &(struct state_container){
              .id = spec.id,
              .name = name,
              .image = spec.image.text,
              .image_id = image_id,
              .command = command,
              .labels = labels,
              .record = q->out.data,
              .status = (char *)(q->main_state == WIRE_MAIN_ENDED ? "exited" : "running"),
              .server = app->server_key,
              .sandbox_id = info->place,
              .pod = info->pod,
              .networks = networks,
              .auto_remove = spec.rm,
              .recovered = true,
              .exit_code = q->main_state == WIRE_MAIN_ENDED ? q->main_code : 0,
              .restarts = (int)q->restarts,
              .created_ns = created_ns,
              .started_ns = q->main_started_ns,
              .finished_ns = q->main_ended_ns,
          },
          info->intent);
}

/* Asks those that are not known, RECOVER_MAX of them from `from` on; where to go on. */
static size_t ask_records(struct app *app, const struct found_list *list, size_t from)
{
    struct inquiry *questions = xcalloc(RECOVER_MAX, sizeof(*questions));
    const struct found *about[RECOVER_MAX];
    size_t n = 0, i;

    for (i = from; i < list->len && n < RECOVER_MAX; i++) {
        if (is_known(app, list->items[i].short_id))
            continue;
        inquiry_init(&questions[n], list->items[i].place, WIRE_ASK_RECORD);
        questions[n].quiet = true;
        about[n++] = &list->items[i];
    }
    if (n)
        inquiry_run(app, questions, n, RECORD_MS);
    for (size_t k = 0; k < n; k++) {
        take_record(app, &questions[k], about[k]);
        inquiry_clear(&questions[k]);
    }
    free(questions);
    return i;
}

/* The sandboxes of this scope of one kind. */
static int list_kind(struct app *app, const char *kind, struct modal_sandbox_list *ret, struct err *err)
{
    cleanup_strlist struct strlist tags = STRLIST_INIT;

    strlist_addf(&tags, "atp-scope=%s", app_scope(app));
    strlist_addf(&tags, "atp-kind=%s", kind);
    return modal_sandbox_list(app->modal, "", &tags, /* finished= */ false, /* v1= */ false, ret, err);
}

static int find_alone(struct app *app, struct found_list *ret, struct err *err)
{
    struct modal_sandbox_list list = MODAL_SANDBOX_LIST_INIT;

    if (list_kind(app, "container", &list, err) < 0)
        return -1;
    for (size_t i = 0; i < list.len; i++) {
        const char *id = strlist_env_get(&list.items[i].tags, "atp-id");

        if (is_short_id(id))
            found_add(ret, (struct found){.place = xstrdup(list.items[i].id),
                                          .short_id = xstrdup(id),
                                          .intent = xstrdup(list.items[i].name)});
    }
    modal_sandbox_list_clear(&list);
    return 0;
}

/* The containers of one pod, which its worker knows. */
static void find_in_pod(struct app *app, const struct modal_sandbox_info *info, const char *pod, struct found_list *ret)
{
    struct modal_sidecar_list list = {0};
    struct modal_task *task = NULL;

    if (modal_task_open(app->modal, info->id, RECORD_MS, &task, NULL) == 0 &&
        modal_sidecar_list(task, /* terminated= */ false, &list, NULL) == 0)
        for (size_t i = 0; i < list.len; i++)
            if (is_short_id(list.items[i].name) && !list.items[i].ending.finished)
                found_add(ret, (struct found){.place = modal_place_make(info->id, list.items[i].id),
                                              .short_id = xstrdup(list.items[i].name),
                                              .intent = xasprintf("%s/%s-found", pod, list.items[i].name),
                                              .pod = xstrdup(pod)});
    modal_sidecar_list_clear(&list);
    modal_task_free(task);
}

static int find_pods(struct app *app, struct found_list *ret, struct err *err)
{
    struct modal_sandbox_list list = MODAL_SANDBOX_LIST_INIT;

    if (list_kind(app, "pod", &list, err) < 0)
        return -1;
    for (size_t i = 0; i < list.len; i++) {
        const char *pod = strlist_env_get(&list.items[i].tags, "atp-pod"),
                   *token = strlist_env_get(&list.items[i].tags, "atp-token");

        if (pod && token && pod_found(app, pod, token, &list.items[i]) == 0)
            find_in_pod(app, &list.items[i], pod, ret);
    }
    modal_sandbox_list_clear(&list);
    return 0;
}

int container_recover(struct app *app, struct err *err)
{
    cleanup_with(found_clear) struct found_list list = {0};
    cleanup_free char *key = NULL;

    if (app_modal(app, err) < 0)
        return -1;
    key = asked_key(app);
    if (find_alone(app, &list, err) < 0 || find_pods(app, &list, err) < 0)
        return -1;
    for (size_t at = 0; at < list.len;)
        at = ask_records(app, &list, at);
    pod_found_networks(app);
    state_cache_put(app->state, key, "yes", INT64_MAX, NULL);
    return 0;
}
