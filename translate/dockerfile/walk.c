#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/config.h"
#include "translate/dockerfile/internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct df_walk {
    const struct df_build *b;
    size_t stage;
    struct df_eval eval;
    struct df_instruction *triggers; /* the base's ONBUILD lines */
    size_t triggers_len;
    size_t at;    /* the next instruction: triggers first */
    size_t spent; /* bytes of all steps so far: a few lines of variables can ask for very many */
};

/* ---- a step ---- */

static void clear_inlines(struct df_step *s)
{
    for (size_t i = 0; i < s->inlines_len; i++) {
        free(s->inlines[i].name);
        free(s->inlines[i].data);
    }
    free(s->inlines);
}

void df_step_clear(struct df_step *s)
{
    for (size_t i = 0; i < s->mounts_len; i++)
        df_mount_clear(&s->mounts[i]);
    free(s->mounts);
    clear_inlines(s);
    strlist_clear(&s->argv);
    strlist_clear(&s->env);
    strlist_clear(&s->sources);
    strlist_clear(&s->excludes);
    free(s->shown);
    free(s->created_by);
    free(s->user);
    free(s->workdir);
    free(s->network);
    free(s->security);
    free(s->dest);
    free(s->from);
    free(s->chown);
    free(s->chmod);
    free(s->checksum);
    *s = (struct df_step){0};
}

/* "copy a b" -> "COPY a b", variables put in where that is possible. */
static char *shown_text(struct df_eval *e, const struct df_instruction *in)
{
    char *text = NULL;

    if (df_eval_expand(e, in->text, &text, NULL) < 0)
        text = xstrdup(in->text);
    return text;
}

static void upper_first_word(char *text)
{
    for (; *text && *text != ' '; text++)
        *text = (char)toupper((unsigned char)*text);
}

/* ---- ARG ---- */

static const char *given_or_global(const struct df_eval *e, const char *name, bool has_default)
{
    const char *given = strlist_env_get(&e->build->build_args, name);

    if (given || has_default)
        return given;
    return strlist_env_get(&e->build->global_args, name);
}

/* One name of an ARG line; said is what history will say about it. */
static int eval_arg(struct df_eval *e, char *word, struct buf *said, struct err *err)
{
    char *equal = strchr(word, '=');
    cleanup_free char *expanded = NULL;
    const char *value;

    if (equal)
        *equal = '\0';
    value = given_or_global(e, word, equal != NULL);
    if (!value && equal) {
        if (df_eval_expand(e, equal + 1, &expanded, err) < 0)
            return -1;
        value = expanded;
    }
    buf_addc(said, ' ');
    buf_adds(said, word);
    if (value) {
        buf_addc(said, '=');
        buf_adds(said, value);
        strlist_addf(&e->args, "%s=%s", word, value);
        strlist_env_set(&e->env, word, value);
    } else {
        strlist_add(&e->args, word);
    }
    return 0;
}

static int eval_args(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    struct buf said cleanup_buf = BUF_INIT(2 * LIMIT_DOCKERFILE);

    buf_adds(&said, "ARG");
    df_words(in->rest, e->escape, &words);
    for (size_t i = 0; i < words.len; i++) {
        if (eval_arg(e, words.items[i], &said, err) < 0)
            return -1;
    }
    if (said.overflowed)
        return err_set(err, 1, "the line is too long once its variables are put in");
    step->kind = DF_CONFIG;
    step->empty_layer = true;
    step->created_by = buf_detach(&said);
    return 0;
}

/* ---- what a configuration starts as ---- */

/* Members that BuildKit does not keep: old fields of Docker's own, and what is there but empty. */
static void drop_old(json_t *config)
{
    static const char *const top[] = {"container", "container_config", "docker_version", "created", "id", "parent"};
    static const char *const inner[] = {
        "Hostname",  "Domainname", "AttachStdin",     "AttachStdout", "AttachStderr",   "Tty",         "OpenStdin",
        "StdinOnce", "Image",      "NetworkDisabled", "MacAddress",   "PublishService", "VolumeDriver"};
    json_t *c = json_object_get(config, "config"), *item;
    const char *key;
    void *next;

    for (size_t i = 0; i < sizeof(top) / sizeof(*top); i++)
        json_object_del(config, top[i]);
    for (size_t i = 0; i < sizeof(inner) / sizeof(*inner); i++)
        json_object_del(c, inner[i]);
    json_object_foreach_safe(c, next, key, item)
    {
        const char *text = json_string_value(item);

        if (json_is_null(item) || (json_is_array(item) && !json_array_size(item)) ||
            (json_is_object(item) && !json_object_size(item)) || (text && !*text))
            json_object_del(c, key);
    }
}

/* PATH is always set. */
static void need_path(struct df_eval *e)
{
    cleanup_strlist struct strlist env = STRLIST_INIT;

    if (strlist_env_get(&e->env, "PATH"))
        return;
    df_config_list(e->config, "Env", &env);
    strlist_env_set(&env, "PATH", DEFAULT_PATH);
    df_config_set_list(e->config, "Env", &env);
    strlist_env_set(&e->env, "PATH", DEFAULT_PATH);
}

/* ONBUILD lines become instructions in front of the stage's own. */
static int take_triggers(struct df_walk *w, struct err *err)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    df_config_list(w->eval.config, "OnBuild", &lines);
    df_config_set_list(w->eval.config, "OnBuild", NULL);
    w->triggers = xcalloc(lines.len + 1, sizeof(*w->triggers));
    for (size_t i = 0; i < lines.len; i++) {
        struct strlist one = {.items = &lines.items[i], .len = 1};
        struct df_instruction *in = &w->triggers[i];
        struct df_file file;

        if (df_parse(&one, &file, err) < 0)
            return -1;
        if (file.len == 1) {
            *in = file.items[0];
            file.len = 0;
            w->triggers_len++;
        }
        df_file_clear(&file);
        if (w->triggers_len != i + 1)
            return err_set(err, 1, "onbuild trigger should be a single expression");
        if (strcmp(in->word, "FROM") == 0 || strcmp(in->word, "ONBUILD") == 0 || strcmp(in->word, "MAINTAINER") == 0)
            return err_set(err, 1, "%s isn't allowed as an ONBUILD trigger", in->word);
        if (df_check(in, '\\', err) < 0)
            return -1;
    }
    return 0;
}

/* Puts every variable of env into the walk's, over what is there. */
static void take_env(struct df_walk *w, const struct strlist *env)
{
    for (size_t i = 0; i < env->len; i++) {
        const char *equal = strchr(env->items[i], '=');
        cleanup_free char *name = xstrndup(env->items[i], equal ? (size_t)(equal - env->items[i]) : 0);

        if (equal)
            strlist_env_set(&w->eval.env, name, equal + 1);
    }
}

/* A stage that stands on another one of the file goes on with its variables; what the image itself says wins. */
static void inherit(struct df_walk *w)
{
    size_t base = w->b->stages[w->stage].base_stage;
    const struct df_stage_end *end = base == DF_NO_STAGE ? NULL : &w->b->ends[base];
    cleanup_strlist struct strlist env = STRLIST_INIT;

    if (!end || !end->known)
        return;
    df_config_list(w->eval.config, "Env", &env);
    strlist_copy(&w->eval.args, &end->args);
    take_env(w, &end->env);
    take_env(w, &env);
}

struct df_walk *df_walk_new(const struct df_build *b, size_t stage, json_t *config, struct err *err)
{
    struct df_walk *w = xcalloc(1, sizeof(*w));

    w->b = b;
    w->stage = stage;
    drop_old(config);
    df_eval_init(&w->eval, config, b->file.escape);
    w->eval.build = b;
    w->eval.stage = stage;
    inherit(w);
    need_path(&w->eval);
    if (take_triggers(w, err) < 0) {
        df_wrap(&b->file.items[b->stages[stage].first - 1], err);
        df_walk_free(w);
        return NULL;
    }
    return w;
}

void df_walk_free(struct df_walk *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->triggers_len; i++)
        df_instruction_clear(&w->triggers[i]);
    free(w->triggers);
    df_eval_clear(&w->eval);
    free(w);
}

/* ---- walking ---- */

/* What every step has: where it stands, who runs it and where. */
static void begin_step(struct df_walk *w, const struct df_instruction *in, struct df_step *step)
{
    const struct df_stage *s = &w->b->stages[w->stage];
    const struct df_instruction *shown = in;
    const char *user = df_config_get(w->eval.config, "User");

    *step = (struct df_step){.from_stage = DF_NO_STAGE, .unpack = -1};
    step->onbuild = w->at < w->triggers_len;
    step->instruction = step->onbuild ? s->first - 1 : s->first + w->at - w->triggers_len;
    if (step->onbuild)
        shown = &w->b->file.items[s->first - 1];
    step->line = shown->line;
    step->last_line = shown->last_line;
    step->user = user && *user ? xstrdup(user) : NULL;
    step->workdir = df_eval_workdir(&w->eval);
    step->shown = shown_text(&w->eval, in);
}

static int eval_any(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err)
{
    int ret = df_eval_config(e, in, step, err);

    if (ret)
        return ret < 0 ? -1 : 0;
    if (strcmp(in->word, "ARG") == 0)
        return eval_args(e, in, step, err);
    if (strcmp(in->word, "RUN") == 0)
        return df_eval_run(e, in, step, err);
    return df_eval_copy(e, in, step, err);
}

/* A stage is built after the ones that it copies from. */
static int check_order(const struct df_walk *w, const struct df_step *step, struct err *err)
{
    cleanup_free char *label = NULL;
    cleanup_free char *from = NULL;

    if (step->from_stage != DF_NO_STAGE && step->from_stage >= w->stage) {
        label = df_stage_label(w->b, w->stage);
        from = quote_go_str(step->from);
        return err_set(err, 1, "cannot copy from stage %s, it needs to be defined before current stage \"%s\"", from,
                       label);
    }
    for (size_t i = 0; i < step->mounts_len; i++) {
        const struct df_mount *m = &step->mounts[i];

        if (m->from_stage == DF_NO_STAGE || m->from_stage < w->stage)
            continue;
        from = quote_go_str(m->from);
        label = quote_go_str(m->target);
        return err_set(err, 1, "cannot mount from stage %s to %s, stage needs to be defined before current command",
                       from, label);
    }
    return 0;
}

static size_t list_size(const struct strlist *l)
{
    size_t size = 0;

    for (size_t i = 0; i < l->len; i++)
        size += strlen(l->items[i]) + 1;
    return size;
}

/* What a caller who keeps all steps would keep. */
static int check_size(struct df_walk *w, const struct df_step *s, struct err *err)
{
    w->spent += list_size(&s->argv) + list_size(&s->env) + list_size(&s->sources) + strlen(s->shown);
    w->spent += s->created_by ? strlen(s->created_by) : 0;
    for (size_t i = 0; i < s->inlines_len; i++)
        w->spent += strlen(s->inlines[i].data);
    if (w->spent > LIMIT_BUILD_TEXT)
        return err_set(err, 1, "the stage is too long once its variables are put in");
    return 0;
}

/* The stage that stands on this one will ask. */
static void keep_end(struct df_walk *w)
{
    struct df_stage_end *end = &w->b->ends[w->stage];

    strlist_clear(&end->env);
    strlist_clear(&end->args);
    strlist_copy(&end->env, &w->eval.env);
    strlist_copy(&end->args, &w->eval.args);
    end->known = true;
}

int df_walk_next(struct df_walk *w, struct df_step *ret, struct err *err)
{
    const struct df_stage *s = &w->b->stages[w->stage];

    while (w->at < w->triggers_len + s->count) {
        bool trigger = w->at < w->triggers_len;
        const struct df_instruction *in =
            trigger ? &w->triggers[w->at] : &w->b->file.items[s->first + w->at - w->triggers_len];
        struct df_step step;

        begin_step(w, in, &step);
        w->at++;
        if (eval_any(&w->eval, in, &step, err) < 0 || check_order(w, &step, err) < 0 || check_size(w, &step, err) < 0) {
            df_wrap(trigger ? &w->b->file.items[s->first - 1] : in, err);
            df_step_clear(&step);
            return -1;
        }
        /* ONBUILD leaves nothing but its line in the configuration. */
        if (!step.created_by) {
            df_step_clear(&step);
            continue;
        }
        upper_first_word(step.shown);
        *ret = step;
        return 1;
    }
    keep_end(w);
    return 0;
}

void df_walk_done(struct df_walk *w, const struct df_step *s, const char *created)
{
    df_config_add_history(w->eval.config, s->created_by, created, s->empty_layer);
}
