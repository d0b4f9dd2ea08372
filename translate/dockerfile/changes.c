#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/dockerfile/config.h"
#include "translate/dockerfile/internal.h"

#include <stdlib.h>
#include <string.h>

static bool may_change(const char *word)
{
    static const char *const words[] = {"CMD",     "ENTRYPOINT", "ENV",  "EXPOSE", "HEALTHCHECK", "LABEL",
                                        "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",     NULL};

    for (const char *const *w = words; *w; w++) {
        if (strcmp(*w, word) == 0)
            return true;
    }
    return false;
}

static int change_one(struct df_eval *e, const struct df_instruction *in, struct err *err)
{
    struct df_step step = {0};
    int ret = df_check(in, e->escape, err);

    if (ret == 0)
        ret = df_eval_config(e, in, &step, err) < 0 ? -1 : 0;
    df_step_clear(&step);
    return ret;
}

static int change_all(json_t *config, const struct df_file *file, struct err *err)
{
    struct df_eval e;
    int ret = 0;

    for (size_t i = 0; i < file->len; i++) {
        const char *text = file->items[i].text;

        if (!may_change(file->items[i].word))
            return err_set(err, 1, "%.*s is not a valid change command", (int)strcspn(text, " \t\v\f\r\n"), text);
    }
    df_eval_init(&e, config, file->escape);
    for (size_t i = 0; i < file->len && ret == 0; i++)
        ret = change_one(&e, &file->items[i], err);
    df_eval_clear(&e);
    return ret;
}

int df_config_changes(json_t *config, const struct strlist *lines, struct err *err)
{
    json_t *copy = NULL;
    struct df_file file;
    int ret;

    if (!lines->len)
        return 0;
    if (df_parse(lines, &file, err) < 0)
        return -1;
    copy = json_deep_copy(config);
    ret = change_all(copy, &file, err);
    if (ret == 0) {
        json_object_clear(config);
        json_object_update(config, copy);
    }
    json_decref(copy);
    df_file_clear(&file);
    return ret;
}

int df_config_change(json_t *config, const char *line, struct err *err)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    strlist_add(&lines, line);
    return df_config_changes(config, &lines, err);
}
