/*
 * For tests of Dockerfiles: what a build asks for, as text.
 *
 *     config: {...}                       the target's configuration, members by name
 *     history: "RUN x # buildkit"         with "(empty)" behind lines without a layer
 *     run: ["/bin/sh" "-c" "x"] ...       each step that has to be carried out
 */
#ifndef TESTS_UNIT_DOCKERFILE_RIG_H
#define TESTS_UNIT_DOCKERFILE_RIG_H

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/config.h"
#include "translate/dockerfile/stages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What every image is. */
#define RIG_BASE                                                                                                       \
    "{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2020-01-01T00:00:00Z\",\"config\":{"                   \
    "\"Env\":[\"PATH=/bin\",\"BASE=1\"],\"Cmd\":[\"/bin/sh\"],\"Labels\":{\"l\":\"b\"},\"Image\":\"\"},"               \
    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]},\"history\":[{\"created_by\":\"base\"}]}"

#define RIG_STAGES 64

static inline void rig_quote(struct buf *out, const char *before, const char *s)
{
    buf_adds(out, before);
    if (s)
        quote_go(out, s, strlen(s));
    else
        buf_addc(out, '-');
}

static inline void rig_list(struct buf *out, const char *before, const struct strlist *l)
{
    buf_adds(out, before);
    buf_addc(out, '[');
    for (size_t i = 0; i < l->len; i++)
        rig_quote(out, i ? " " : "", l->items[i]);
    buf_addc(out, ']');
}

static inline void rig_mount(struct buf *out, const struct df_mount *m)
{
    static const char *const types[] = {"bind", "cache", "tmpfs", "secret", "ssh"};
    static const char *const sharing[] = {"", " private", " locked"};

    buf_addf(out, "  mount %s%s%s", types[m->type], m->read_write ? " rw" : "", m->required ? " required" : "");
    buf_adds(out, sharing[m->sharing]);
    rig_quote(out, " target=", m->target);
    if (m->id)
        rig_quote(out, " id=", m->id);
    if (m->source)
        rig_quote(out, " source=", m->source);
    if (m->from)
        rig_quote(out, " from=", m->from);
    if (m->from_stage != DF_NO_STAGE)
        buf_addf(out, " stage=%zu", m->from_stage);
    if (m->env)
        rig_quote(out, " env=", m->env);
    if (m->mode >= 0)
        buf_addf(out, " mode=%o", (unsigned)m->mode);
    if (m->uid >= 0 || m->gid >= 0)
        buf_addf(out, " owner=%lld:%lld", (long long)m->uid, (long long)m->gid);
    if (m->size)
        buf_addf(out, " size=%lld", (long long)m->size);
    buf_addc(out, '\n');
}

static inline void rig_run(struct buf *out, struct df_step *s)
{
    strlist_sort(&s->env);
    rig_list(out, "run: ", &s->argv);
    rig_list(out, " env=", &s->env);
    if (strcmp(s->workdir, "/") != 0)
        rig_quote(out, " in=", s->workdir);
    if (s->user)
        rig_quote(out, " user=", s->user);
    if (strcmp(s->network, "default") != 0)
        rig_quote(out, " network=", s->network);
    if (strcmp(s->security, "sandbox") != 0)
        rig_quote(out, " security=", s->security);
    buf_addc(out, '\n');
    for (size_t i = 0; i < s->mounts_len; i++)
        rig_mount(out, &s->mounts[i]);
}

static inline void rig_copy(struct buf *out, const struct df_step *s)
{
    rig_list(out, s->kind == DF_ADD ? "add: " : "copy: ", &s->sources);
    rig_quote(out, " -> ", s->dest);
    if (strcmp(s->workdir, "/") != 0)
        rig_quote(out, " in=", s->workdir);
    if (s->from)
        rig_quote(out, " from=", s->from);
    if (s->from_stage != DF_NO_STAGE)
        buf_addf(out, " stage=%zu", s->from_stage);
    if (s->chown)
        rig_quote(out, " chown=", s->chown);
    if (s->chmod)
        rig_quote(out, " chmod=", s->chmod);
    if (s->checksum)
        rig_quote(out, " checksum=", s->checksum);
    if (s->excludes.len)
        rig_list(out, " exclude=", &s->excludes);
    buf_addf(out, "%s%s%s%s\n", s->link ? " link" : "", s->parents ? " parents" : "",
             s->keep_git_dir ? " keep-git-dir" : "", s->unpack < 0 ? "" : (s->unpack ? " unpack" : " no-unpack"));
}

static inline void rig_step(struct buf *out, struct df_step *s)
{
    if (s->kind == DF_RUN)
        rig_run(out, s);
    else if (s->kind == DF_COPY || s->kind == DF_ADD)
        rig_copy(out, s);
    else if (s->kind == DF_WORKDIR)
        rig_quote(out, "mkdir: ", s->workdir), buf_addf(out, "%s%s\n", s->user ? " user=" : "", s->user ? s->user : "");
    for (size_t i = 0; i < s->inlines_len; i++) {
        rig_quote(out, "  file ", s->inlines[i].name);
        rig_quote(out, " ", s->inlines[i].data);
        buf_addc(out, '\n');
    }
    if (s->kind != DF_CONFIG)
        buf_addf(out, "  shown: %s%s\n", s->onbuild ? "ONBUILD " : "", s->shown);
}

static inline int rig_walk(struct df_build *b, size_t stage, json_t *config, struct buf *out, struct err *err)
{
    struct df_walk *w = df_walk_new(b, stage, config, err);
    struct df_step step;
    int ret = -1;

    while (w && (ret = df_walk_next(w, &step, err)) > 0) {
        df_walk_done(w, &step, NULL);
        rig_step(out, &step);
        df_step_clear(&step);
    }
    df_walk_free(w);
    return ret;
}

static inline void rig_config(struct buf *out, const json_t *config)
{
    char *text = json_dumps(json_object_get(config, "config"), JSON_COMPACT | JSON_SORT_KEYS);
    const json_t *line;
    size_t i;

    buf_addf(out, "config: %s\n", text);
    free(text);
    json_array_foreach(json_object_get(config, "history"), i, line)
    {
        rig_quote(out, "history: ", json_string_value(json_object_get(line, "created_by")));
        buf_addf(out, "%s\n", json_is_true(json_object_get(line, "empty_layer")) ? " (empty)" : "");
    }
}

static inline int rig_stages(struct df_build *b, const char *target, struct buf *out, struct err *err)
{
    json_t *configs[RIG_STAGES] = {NULL};
    bool needed[RIG_STAGES];
    size_t last = 0;
    int ret = 0;

    if (b->len > RIG_STAGES || df_build_target(b, target, &last, err) < 0 || df_build_needed(b, last, needed, err) < 0)
        return -1;
    for (size_t i = 0; i <= last && ret == 0; i++) {
        const struct df_stage *s = &b->stages[i];

        if (!needed[i])
            continue;
        if (s->base_stage != DF_NO_STAGE)
            configs[i] = json_deep_copy(configs[s->base_stage]);
        else if (strcmp(s->base, "scratch") == 0)
            configs[i] = df_config_new();
        else
            configs[i] = df_config_load(RIG_BASE, strlen(RIG_BASE), err);
        ret = rig_walk(b, i, configs[i], out, err);
    }
    if (ret == 0)
        rig_config(out, configs[last]);
    for (size_t i = 0; i < b->len; i++)
        json_decref(configs[i]);
    return ret;
}

/* args: "K=V" lines, "@target=x" among them perhaps; may be NULL. Owned by caller. */
static inline char *rig_build(const struct strlist *lines, const char *args)
{
    struct buf out cleanup_buf = BUF_INIT(16u << 20);
    cleanup_strlist struct strlist list = STRLIST_INIT, given = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    const char *target = NULL;
    struct df_build b;

    if (args)
        strlist_split(&list, args, '\n');
    for (size_t i = 0; i < list.len; i++) {
        if (strncmp(list.items[i], "@target=", 8) == 0)
            target = list.items[i] + 8;
        else
            strlist_add(&given, list.items[i]);
    }
    if (df_build_open_for(lines, &given, target, &b, &err) == 0) {
        if (rig_stages(&b, target, &out, &err) < 0)
            buf_reset(&out);
        df_build_clear(&b);
    }
    return err.msg ? xasprintf("error: %s", err.msg) : buf_detach(&out);
}

static inline char *rig_text(const char *text, const char *args)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;

    if (df_lines(text, strlen(text), &lines, &err) < 0)
        return xasprintf("error: %s", err.msg);
    return rig_build(&lines, args);
}

#endif
