/* `compose config`: the project as it is understood, or one thing of it. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/sys/fs.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/compose.h"
#include "shim/compose/config.h"
#include "translate/compose/render.h"
#include "translate/compose/settle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX (256u << 20)

/* One thing of the project that an option asks for. */
typedef int print_fn(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err);

static int print_names(const struct cnode *map)
{
    for (size_t i = 0; map && i < map->len; i++)
        puts(map->keys[i]);
    return 0;
}

/* Who is depended on comes first. */
static int print_services(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist order = STRLIST_INIT;

    (void)app;
    if (opt_bool(opts, "no-interpolate"))
        return print_names(cnode_get(p->model, "services"));
    if (compose_order(p, &order, err) < 0)
        return -1;
    for (size_t i = 0; i < order.len; i++)
        puts(order.items[i]);
    return 0;
}

static int print_volumes(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    (void)app, (void)opts, (void)err;
    return print_names(cnode_get(p->model, "volumes"));
}

static int print_networks(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    (void)app, (void)opts, (void)err;
    return print_names(cnode_get(p->model, "networks"));
}

static int print_models(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    const struct cnode *models = cnode_get(p->model, "models");

    (void)app, (void)opts, (void)err;
    for (size_t i = 0; models && i < models->len; i++)
        if (cnode_str(models->items[i], "model"))
            puts(cnode_str(models->items[i], "model"));
    return 0;
}

static int print_hashes(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    const struct cnode *services = cnode_get(p->model, "services");
    cleanup_strlist struct strlist names = STRLIST_INIT;
    bool all = strcmp(opt_str(opts, "hash"), "*") == 0;

    (void)app;
    if (!all)
        strlist_split(&names, opt_str(opts, "hash"), ',');
    for (size_t i = 0; services && all && i < services->len; i++)
        strlist_add(&names, services->keys[i]);
    strlist_sort(&names);
    for (size_t i = 0; i < names.len; i++) {
        cleanup_free char *hash = compose_hash(p, names.items[i], err);

        if (!hash)
            return -1;
        printf("%s %s\n", names.items[i], hash);
    }
    return 0;
}

static void add_profiles(const struct cnode *services, struct strlist *names)
{
    for (size_t i = 0; services && i < services->len; i++) {
        const struct cnode *own = cnode_get(services->items[i], "profiles");

        for (size_t k = 0; own && k < own->len; k++)
            if (cnode_text(own->items[k]) && !strlist_has(names, own->items[k]->text))
                strlist_add(names, own->items[k]->text);
    }
}

static int print_profiles(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;

    (void)app, (void)opts, (void)err;
    add_profiles(cnode_get(p->model, "services"), &names);
    add_profiles(p->disabled, &names);
    strlist_sort(&names);
    for (size_t i = 0; i < names.len; i++)
        puts(names.items[i]);
    return 0;
}

static int print_images(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    const struct cnode *services = cnode_get(p->model, "services");

    (void)opts, (void)err;
    for (size_t i = 0; services && i < services->len; i++) {
        const char *image = cnode_str(services->items[i], "image");

        if (image)
            puts(image);
        else
            printf("%s%s%s\n", p->name, compose_separator(app), services->keys[i]);
    }
    return 0;
}

static int print_environment(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist sorted = STRLIST_INIT;

    (void)app, (void)opts, (void)err;
    strlist_copy(&sorted, &p->environment);
    strlist_sort(&sorted);
    for (size_t i = 0; i < sorted.len; i++)
        puts(sorted.items[i]);
    return 0;
}

/* ---- the model ---- */

/* In a file that is read again a dollar sign is written twice. */
static int write_out(const struct buf *text, bool escape, const char *path, struct err *err)
{
    cleanup_buf struct buf out = BUF_INIT(OUTPUT_MAX);

    for (size_t i = 0; i < text->len; i++) {
        buf_addc(&out, text->data[i]);
        if (escape && text->data[i] == '$')
            buf_addc(&out, '$');
    }
    if (out.overflowed)
        return err_set(err, 1, "the model is too large to be printed");
    if (*path && out.len > 0)
        return fs_write_file(path, out.data, out.len, 0666, err);
    fwrite(out.data, 1, out.len, stdout);
    return 0;
}

static int print_model(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    const char *format = *opt_str(opts, "format") ? opt_str(opts, "format") : "yaml";
    cleanup_buf struct buf text = BUF_INIT(OUTPUT_MAX);
    bool raw = opt_bool(opts, "no-interpolate");

    if ((opt_bool(opts, "resolve-image-digests") || opt_bool(opts, "lock-image-digests")) &&
        config_pin_images(app, p, err) < 0)
        return -1;
    if (opt_bool(opts, "lock-image-digests"))
        config_images_only(p);
    if (opt_bool(opts, "lock-image-digests") && !strcmp(format, "json"))
        cnode_set(p->model, "name", cnode_string("")); /* compose's encoder leaves no name out */
    if (strcmp(format, "yaml") == 0) {
        if (compose_render_yaml(p->model, &text, err) < 0)
            return -1;
    } else if (strcmp(format, "json") != 0) {
        return err_set(err, 1, "unsupported format \"%s\"", format);
    } else if (raw) {
        json_sort(p->model);
        json_node(&text, p->model, 0);
    } else if (compose_render_json(p->model, &text, err) < 0) {
        return -1;
    }
    return opt_bool(opts, "quiet") ? 0 : write_out(&text, !raw, opt_str(opts, "output"), err);
}

/* ---- the verb ---- */

/* In the order in which docker compose looks at them; the first that is given is carried out. */
static const struct {
    const char *option;
    print_fn *print;
    bool words, raw, no_env; /* the services named count; variables stay; env files are not read */
} things[] = {
    {"x-modal-report", config_report, true, false, true}, {"services", print_services, false, false, true},
    {"volumes", print_volumes, false, false, true},       {"networks", print_networks, false, false, true},
    {"models", print_models, false, false, true},         {"hash", print_hashes, false, false, true},
    {"profiles", print_profiles, true, false, true},      {"images", print_images, true, false, true},
    {"variables", config_variables, true, true, true},    {"environment", print_environment, true, false, false}};

/* Two services cannot have one container. */
static int check_names(const struct compose_project *p, struct err *err)
{
    const struct cnode *services = cnode_get(p->model, "services");

    for (size_t i = 0; services && i < services->len; i++) {
        const char *name = cnode_str(services->items[i], "container_name");

        for (size_t k = 0; name && k < i; k++) {
            const char *other = cnode_str(services->items[k], "container_name");

            if (other && strcmp(name, other) == 0)
                return err_set(err, 1, "services.%s: container name \"%s\" is already in use by service %s\"",
                               services->keys[i], name, services->keys[k]);
        }
    }
    return 0;
}

static bool all_resources(const struct app *app)
{
    return app->group && opt_bool(app->group, "all-resources");
}

static int config_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    /* --no-env-resolution changes nothing in docker compose either: the loader has read the files by then. */
    struct compose_how how = {.no_normalize = opt_bool(opts, "no-normalize"),
                              .no_consistency = opt_bool(opts, "no-consistency"),
                              .no_path_resolution = opt_bool(opts, "no-path-resolution"),
                              .no_interpolate = opt_bool(opts, "no-interpolate")};
    struct strlist none = STRLIST_INIT;
    struct compose_project p;
    print_fn *print = print_model;
    bool words = true;
    int r;

    for (size_t i = 0; i < sizeof(things) / sizeof(*things); i++) {
        if (!opt_bool(opts, things[i].option) && !(strcmp(things[i].option, "hash") == 0 && *opt_str(opts, "hash")))
            continue;
        print = things[i].print;
        words = things[i].words;
        how.no_interpolate |= things[i].raw;
        how.no_env_resolution |= things[i].no_env;
        break;
    }
    how.services = words ? opt_args(opts) : &none;
    if (compose_open(app, &how, &p, err) < 0)
        return -1;
    r = how.no_interpolate ? 0 : compose_select(&p, how.services, err);
    if (r == 0 && print == print_model && !how.no_interpolate && !how.no_consistency)
        r = check_names(&p, err);
    if (r == 0 && words && how.services->len > 0 && !how.no_interpolate && !all_resources(app))
        compose_drop_unused(&p);
    if (r == 0)
        r = print(app, &p, opts, err);
    compose_project_clear(&p);
    return r;
}

extern const struct cmd_def cmd_def_compose_config;

const struct command cmd_compose_config = {.def = &cmd_def_compose_config, .errors = ERROR_PLAIN, .run = config_run};
