/* Containers that run and that this state does not know: a deleted state folder, or a scope that several share. */
#include "backends/modal/sandbox.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/inquiry.h"
#include "shim/make.h"

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

/* The container that the agent's answer describes; what does not fit what the server says is left alone. */
static void take_record(struct app *app, const struct inquiry *q, const struct modal_sandbox_info *info,
                        const char *short_id)
{
    cleanup_with(process_clear) struct process_spec process = {0};
    cleanup_with(spec_clear) struct container_spec spec;
    cleanup_free char *image_id = NULL, *name = NULL, *command = NULL, *labels = NULL;
    int64_t created_ns = 0;

    spec_init(&spec);
    if (!q->done || q->end != SESSION_EXITED || q->code || !q->out.len || q->out.overflowed ||
        record_decode(q->out.data, &spec, &process, &image_id, &created_ns, NULL) < 0)
        return;
    if (strncmp(spec.id, short_id, SHORT_ID) != 0 || !spec.name || name_parse(spec.name, &name, NULL) < 0)
        return;
    command = making_json(&process.argv);
    labels = making_json(&spec.labels);
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
              .sandbox_id = info->id,
              .auto_remove = spec.rm,
              .recovered = true,
              .exit_code = q->main_state == WIRE_MAIN_ENDED ? q->main_code : 0,
              .restarts = (int)q->restarts,
              .created_ns = created_ns,
              .started_ns = q->main_started_ns,
              .finished_ns = q->main_ended_ns,
          },
          info->name);
}

/* Asks those that are not known, RECOVER_MAX of them from `from` on; where to go on. */
static size_t ask_records(struct app *app, const struct modal_sandbox_list *list, size_t from)
{
    struct inquiry *questions = xcalloc(RECOVER_MAX, sizeof(*questions));
    const struct modal_sandbox_info *about[RECOVER_MAX];
    size_t n = 0, i;

    for (i = from; i < list->len && n < RECOVER_MAX; i++) {
        const char *id = strlist_env_get(&list->items[i].tags, "atp-id");

        if (!id || strlen(id) != SHORT_ID || strspn(id, "0123456789abcdef") != SHORT_ID || is_known(app, id))
            continue;
        inquiry_init(&questions[n], list->items[i].id, WIRE_ASK_RECORD);
        questions[n].quiet = true;
        about[n++] = &list->items[i];
    }
    if (n)
        inquiry_run(app, questions, n, RECORD_MS);
    for (size_t k = 0; k < n; k++) {
        take_record(app, &questions[k], about[k], strlist_env_get(&about[k]->tags, "atp-id"));
        inquiry_clear(&questions[k]);
    }
    free(questions);
    return i;
}

int container_recover(struct app *app, struct err *err)
{
    struct modal_sandbox_list list = MODAL_SANDBOX_LIST_INIT;
    cleanup_strlist struct strlist tags = STRLIST_INIT;
    cleanup_free char *key = NULL;

    if (app_modal(app, err) < 0)
        return -1;
    key = asked_key(app);
    strlist_addf(&tags, "atp-scope=%s", app_scope(app));
    strlist_add(&tags, "atp-kind=container");
    if (modal_sandbox_list(app->modal, "", &tags, /* finished= */ false, /* v1= */ false, &list, err) < 0)
        return -1;
    for (size_t at = 0; at < list.len;)
        at = ask_records(app, &list, at);
    modal_sandbox_list_clear(&list);
    state_cache_put(app->state, key, "yes", INT64_MAX, NULL);
    return 0;
}
