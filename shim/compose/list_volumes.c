/* compose volumes: what `docker volume ls` says of a project's volumes, or of those that services have mounted. */
#include "backends/state/volumes.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/jobs.h"
#include "shim/compose/team.h"
#include "shim/listing.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* The words of `docker volume ls`; key: of one volume of the file, NULL for all of the project's. */
static void fill_words(const struct opt_parsed *opts, const char *project, const char *key, struct strlist *words)
{
    if (opt_bool(opts, "quiet"))
        strlist_add(words, "-q");
    else if (opt_given(opts, "format"))
        strlist_addf(words, "--format=%s", opt_str(opts, "format"));
    strlist_addf(words, "--filter=label=" LABEL_PROJECT "=%s", project);
    if (key)
        strlist_addf(words, "--filter=label=" LABEL_VOLUME "=%s", key);
}

/* Names of the volumes that running containers of the services have mounted. */
static void mounted(struct app *app, const struct members *list, struct strlist *ret)
{
    for (size_t i = 0; i < list->len; i++) {
        json_auto_t *inspect = listing_container(app, &list->items[i].row, false);
        const json_t *mount;
        size_t m;

        json_array_foreach(json_object_get(inspect, "Mounts"), m, mount)
        {
            const char *name = json_string_value(json_object_get(mount, "Name"));

            if (name && !strlist_has(ret, name))
                strlist_add(ret, name);
        }
    }
}

/* The keys of those of them that are the project's, by name. */
static int keys_of(struct app *app, const struct strlist *names, const char *project, struct strlist *ret,
                   struct err *err)
{
    struct state_volume *list = NULL;
    size_t len = 0;

    if (app_state(app, err) < 0 || state_volume_list(app->state, &list, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_strlist struct strlist labels = STRLIST_INIT;
        const char *owner, *key;

        labels_read(list[i].labels, &labels);
        owner = strlist_env_get(&labels, LABEL_PROJECT);
        key = strlist_env_get(&labels, LABEL_VOLUME);
        if (strlist_has(names, list[i].name) && owner && key && !strcmp(owner, project))
            strlist_add(ret, key);
        state_volume_clear(&list[i]);
    }
    free(list);
    return 0;
}

/* One table: that of the first volume, and the others' without their headers. */
static int print_each(struct app *app, const struct opt_parsed *opts, const char *project, const struct strlist *keys,
                      struct err *err)
{
    bool table = !opt_bool(opts, "quiet") && !strncmp(opt_str(opts, "format"), "table", 5);

    for (size_t i = 0; i < keys->len; i++) {
        cleanup_strlist struct strlist words = STRLIST_INIT;
        cleanup_free char *text = NULL;
        const char *from;

        fill_words(opts, project, keys->items[i], &words);
        if (jobs_command(app, "volume ls", &words, &text, err) != 0)
            return -1;
        from = table && i && text ? strchr(text, '\n') : text;
        if (from && *from)
            puts(from == text ? text : from + 1);
    }
    return 0;
}

static int list_some(struct team *w, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT, keys = STRLIST_INIT, words = STRLIST_INIT;

    if (team_look(w, opt_args(opts), MEMBERS_ONEOFF | MEMBERS_RUNNING, err) < 0)
        return -1;
    mounted(w->app, &w->members, &names);
    if (keys_of(w->app, &names, w->name, &keys, err) < 0)
        return -1;
    if (keys.len)
        return print_each(w->app, opts, w->name, &keys, err);
    fill_words(opts, w->name, "", &words); /* no volume has that name: the header alone */
    return command_call(w->app, "volume ls", &words, err);
}

static int volumes_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_with(team_clear) struct team w;

    team_init(&w, app);
    if (team_load_or_name(&w, opt_args(opts), err) < 0)
        return -1;
    for (size_t i = 0; w.loaded && i < opt_args(opts)->len; i++)
        if (!services_find(&w.services, opt_args(opts)->items[i]))
            return err_set(err, 1, "no such service: %s", opt_args(opts)->items[i]);
    if (opt_args(opts)->len)
        return list_some(&w, opts, err);
    fill_words(opts, w.name, NULL, &words);
    return command_call(app, "volume ls", &words, err);
}

extern const struct cmd_def cmd_def_compose_volumes;

const struct command cmd_compose_volumes = {.def = &cmd_def_compose_volumes, .errors = ERROR_PLAIN, .run = volumes_run};
