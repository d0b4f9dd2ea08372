/*
 * A Dockerfile carried out: the stages that the last one needs, one after the other, each instruction in its turn. What
 * instructions mean is translate/dockerfile's business; here are the log, the layers and the finished configuration.
 */
#include "backends/engine/img_step.h"

#include "backends/engine/img_layer.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/dockerfile/config.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PLATFORM "linux/amd64"

/* What progress says of the stage at work. */
struct progress {
    char *label; /* "" = there is one stage only */
    size_t step, steps;
    bool triggers; /* the base has some */
    struct timespec begun;
};

/* ---- the log ---- */

static void begin(struct img_build *b, struct progress *p, const char *shown, bool carried_out)
{
    img_log(b->job, "=> Step %zu: %s", b->number++, shown);
    if (!carried_out)
        return;
    p->step++;
    if (p->step > p->steps)
        p->steps = p->step;
    img_log(b->job, " => [%s%s%zu/%zu] %s", p->label, *p->label ? " " : "", p->step, p->steps, shown);
    clock_gettime(CLOCK_MONOTONIC, &p->begun);
}

static void finish(struct img_build *b, const struct progress *p, bool cached, int result, const struct err *err)
{
    struct timespec now;
    double secs;

    clock_gettime(CLOCK_MONOTONIC, &now);
    secs = (double)(now.tv_sec - p->begun.tv_sec) + (double)(now.tv_nsec - p->begun.tv_nsec) / 1e9;
    if (result < 0)
        img_log(b->job, " => ERROR %s", err && err->msg ? err->msg : "");
    else if (cached)
        img_log(b->job, " => CACHED");
    else
        img_log(b->job, " => DONE %.1fs", secs);
}

/* ---- steps ---- */

static int carry_out(struct img_build *b, struct progress *p, const struct df_step *s, struct err *err)
{
    struct img_job *job = b->job;
    size_t before = job->layers.len;
    bool work = s->kind != DF_CONFIG && !(s->kind == DF_WORKDIR && s->empty_layer), cached = false;
    int ret = 0;

    if (img_cancelled(job, err) < 0)
        return -1;
    begin(b, p, s->shown, s->kind != DF_CONFIG);
    if (work && s->kind == DF_RUN)
        ret = img_run(b, s, &cached, err);
    else if (work && s->kind == DF_WORKDIR)
        ret = img_workdir(b, s, &cached, err);
    else if (work)
        ret = img_copy(b, s, &cached, err);
    if (s->kind != DF_CONFIG)
        finish(b, p, cached, ret, err);
    if (ret == 0 && (job->layers.len > before) == s->empty_layer)
        ret = err_set(err, 0, "%s: the history and the layers of the image differ", s->shown);
    return ret;
}

/* Times of history: RFC 3339, owned by caller; NULL = not known. */
static char *time_of_layer(const struct img_job *job, const char *key)
{
    struct timespec when;
    char text[32];
    struct tm tm;

    if (img_layer_created(job->dir, key, &when) < 0 || !gmtime_r(&when.tv_sec, &tm))
        return NULL;
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    return xasprintf("%s.%09ldZ", text, when.tv_nsec);
}

static int walk_steps(struct img_build *b, struct progress *p, struct df_walk *w, struct err *err)
{
    struct img_job *job = b->job;
    struct df_step s;
    int r;

    while ((r = df_walk_next(w, &s, err)) > 0) {
        cleanup_free char *created = NULL;

        r = carry_out(b, p, &s, err);
        if (r == 0 && !s.empty_layer)
            created = time_of_layer(job, job->layers.items[job->layers.len - 1]);
        if (r == 0)
            df_walk_done(w, &s, created);
        df_step_clear(&s);
        if (r < 0)
            return -1;
    }
    return r;
}

/* ---- stages ---- */

static int check_platform(const struct df_stage *stage, struct err *err)
{
    if (!stage->platform || strcmp(stage->platform, PLATFORM) == 0)
        return 0;
    return err_set(err, 1, "platform %s is not supported: images are " PLATFORM, stage->platform);
}

/* What the stage begins with becomes the job's own. */
static int start_stage(struct img_build *b, struct progress *p, size_t stage, struct err *err)
{
    const struct df_stage *s = &b->file.stages[stage];
    bool scratch = s->base_stage == DF_NO_STAGE && strcmp(s->base, "scratch") == 0;
    bool image = s->base_stage == DF_NO_STAGE && !scratch;
    cleanup_free char *shown = xasprintf("FROM %s", s->base);
    const struct img_tree *from = NULL;
    struct img_tree tree = {0};
    int ret = 0;

    begin(b, p, shown, image);
    if (check_platform(s, err) < 0)
        ret = -1;
    else if (scratch)
        tree.config = df_config_new();
    else
        ret = img_from(b, s->base_stage, s->base, &from, err);
    if (image)
        finish(b, p, false, ret, err);
    if (ret < 0)
        return -1;
    if (from)
        img_tree_copy(&tree, from);
    b->job->layers = tree.layers;
    b->job->config = tree.config;
    b->job->config_text = tree.text;
    return 0;
}

static bool makes_a_step(const char *trigger)
{
    static const char *const words[] = {"RUN", "COPY", "ADD", "WORKDIR"};
    size_t len = strcspn(trigger, " \t");

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strlen(words[i]) == len && strncasecmp(trigger, words[i], len) == 0)
            return true;
    }
    return false;
}

/* The base's own triggers are steps as well. */
static void count_triggers(const struct img_job *job, struct progress *p)
{
    cleanup_strlist struct strlist triggers = STRLIST_INIT;

    df_config_list(job->config, "OnBuild", &triggers);
    p->triggers = triggers.len > 0;
    for (size_t i = 0; i < triggers.len; i++)
        p->steps += makes_a_step(triggers.items[i]);
}

static int build_stage(struct img_build *b, size_t stage, struct err *err)
{
    struct progress p = {.label = df_stage_label(&b->file, stage), .steps = df_stage_steps(&b->file, stage)};
    struct img_job *job = b->job;
    struct df_walk *w = NULL;
    int ret = start_stage(b, &p, stage, err);

    if (ret == 0) {
        count_triggers(job, &p);
        if (p.triggers || b->file.stages[stage].count) { /* it becomes another configuration */
            free(job->config_text);
            job->config_text = NULL;
        }
        w = df_walk_new(&b->file, stage, job->config, err);
        ret = w ? walk_steps(b, &p, w, err) : -1;
    }
    df_walk_free(w);
    free(p.label);
    if (ret < 0)
        return -1;
    b->stages[stage] = (struct img_tree){job->layers, job->config, job->config_text};
    job->layers = (struct strlist)STRLIST_INIT;
    job->config = NULL;
    job->config_text = NULL;
    return 0;
}

/* ---- the whole ---- */

/*
 * Lines of history without a time get that of the layer before them, those before the first new layer that of it, as
 * BuildKit has it; the image itself is as old as its last line.
 */
static void date_history(json_t *config)
{
    json_t *history = json_object_get(config, "history"), *line;
    cleanup_free char *created = NULL;
    bool undated = false;
    size_t i;

    json_array_foreach(history, i, line)
    {
        const char *when = json_string_value(json_object_get(line, "created"));

        undated = undated || !when;
        if (!when)
            continue;
        free(created);
        created = xstrdup(when);
        if (undated)
            break;
    }
    undated = false;
    json_array_foreach(history, i, line)
    {
        const char *when = json_string_value(json_object_get(line, "created"));

        if (!when) {
            undated = true;
            if (created)
                json_object_set_new(line, "created", json_string(created));
        } else if (undated) {
            free(created);
            created = xstrdup(when);
        }
    }
    line = json_array_get(history, json_array_size(history) - 1);
    if (json_object_get(line, "created"))
        json_object_set(config, "created", json_object_get(line, "created"));
    else
        json_object_del(config, "created");
}

/* The digests of exactly the layers that there are. */
static int list_diff_ids(const struct img_job *job, struct err *err)
{
    json_t *ids = json_array();

    json_object_set_new(job->config, "rootfs", json_pack("{s:s, s:o}", "type", "layers", "diff_ids", ids));
    for (size_t i = 0; i < job->layers.len; i++) {
        cleanup_free char *id = NULL;

        if (img_layer_diff_id(job->dir, job->layers.items[i], &job->cancelled, &id, err) < 0)
            return -1;
        json_array_append_new(ids, json_string(id));
    }
    return 0;
}

/* Labels of the command line; the configuration is then one of our own. */
static void add_labels(struct img_job *job)
{
    for (size_t i = 0; i < job->labels.len; i++) {
        const char *item = job->labels.items[i], *equals = strchr(item, '=');
        cleanup_free char *key = xstrndup(item, equals ? (size_t)(equals - item) : strlen(item));

        df_config_put(job->config, "Labels", key, equals ? equals + 1 : "");
        free(job->config_text);
        job->config_text = NULL;
    }
}

static int finish_image(struct img_build *b, size_t target, struct err *err)
{
    struct img_job *job = b->job;
    struct img_tree result = {0};
    char empty[65];

    img_tree_copy(&result, &b->stages[target]);
    job->layers = result.layers;
    job->config = result.config;
    job->config_text = result.text;
    add_labels(job);
    if (!job->config_text) {
        date_history(job->config);
        if (list_diff_ids(job, err) < 0)
            return -1;
    }
    if (job->layers.len)
        return 0;
    if (img_empty_layer(job, empty, err) < 0)
        return -1;
    strlist_add(&job->layers, empty);
    return 0;
}

static int build_stages(struct img_build *b, struct err *err)
{
    cleanup_free bool *needed = xcalloc(b->file.len + 1, sizeof(*needed));
    size_t target;

    if (df_build_target(&b->file, NULL, &target, err) < 0 || df_build_needed(&b->file, target, needed, err) < 0)
        return -1;
    for (size_t i = 0; i <= target; i++) {
        if (needed[i] && build_stage(b, i, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < b->file.unused_args.len; i++)
        img_log(b->job, "[Warning] One or more build-args [%s] were not consumed", b->file.unused_args.items[i]);
    return finish_image(b, target, err);
}

int img_build_run(struct img_job *job, struct err *err)
{
    struct img_build b = {.job = job};
    int ret;

    if (df_build_open(&job->lines, &job->build_args, &b.file, err) < 0)
        return -1;
    b.stages = xcalloc(b.file.len + 1, sizeof(*b.stages));
    ret = build_stages(&b, err);
    for (size_t i = 0; i < b.file.len; i++)
        img_tree_clear(&b.stages[i]);
    free(b.stages);
    for (struct img_pulled *p = b.pulled, *next; p; p = next) {
        next = p->next;
        img_tree_clear(&p->tree);
        free(p->name);
        free(p);
    }
    df_build_clear(&b.file);
    return ret;
}
