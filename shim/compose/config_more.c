/* Of `compose config`: the report, the variables, and images by their digests. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/catalog.h"
#include "shim/compose/compose.h"
#include "shim/compose/config.h"
#include "shim/compose/table.h"
#include "translate/compose/variables.h"
#include "translate/reference.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the report ---- */

static const char *verdict_word(enum compose_verdict verdict)
{
    switch (verdict) {
    case COMPOSE_CARRIED:
        return "carried out";
    case COMPOSE_APPROXIMATED:
        return "approximated";
    case COMPOSE_REFUSED:
        return "refused";
    case COMPOSE_NO_EFFECT:
        return "no effect";
    }
    return "";
}

int config_report(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    static const struct table_column columns[] = {
        {"Service", "SERVICE"}, {"Key", "KEY"}, {"Verdict", "VERDICT"}, {"Reason", "REASON"}, {NULL, NULL}};
    const char *format = *opt_str(opts, "format") ? opt_str(opts, "format") : "table";
    struct compose_finding *list;
    size_t len;
    json_t *rows = json_array();
    int r;

    (void)app;
    if (compose_report(p, &list, &len, err) < 0) {
        json_decref(rows);
        return -1;
    }
    for (size_t i = 0; i < len; i++) {
        json_t *row = json_object();

        json_object_set_new(row, "Service", json_string(list[i].service ? list[i].service : ""));
        json_object_set_new(row, "Key", json_string(list[i].key));
        json_object_set_new(row, "Verdict", json_string(verdict_word(list[i].verdict)));
        json_object_set_new(row, "Reason", json_string(list[i].reason ? list[i].reason : ""));
        json_array_append_new(rows, row);
    }
    compose_findings_free(list, len);
    r = table_print(rows, format, columns, err);
    json_decref(rows);
    return r;
}

/* ---- variables ---- */

static void print_variable_yaml(const char *name, const struct cnode *v)
{
    static const char *const keys[] = {"Name", "DefaultValue", "PresenceValue"};

    printf("%s:\n", name);
    for (size_t i = 0; i < 3; i++) {
        cleanup_buf struct buf line = BUF_INIT(1u << 20);
        struct cnode *one = cnode_string(cnode_str(v, keys[i]));

        compose_render_yaml(one, &line, NULL);
        cnode_free(one);
        printf("    %s: %s", i == 0 ? "name" : i == 1 ? "defaultvalue" : "presencevalue", line.data);
    }
    printf("    required: %s\n", cnode_str(v, "Required"));
}

static json_t *variable_row(const struct cnode *v)
{
    json_t *row = json_object();

    for (size_t i = 0; i < v->len; i++)
        json_object_set_new(row, v->keys[i],
                            v->items[i]->kind == CNODE_BOOL && strcmp(v->items[i]->text, "true") == 0 ? json_true()
                            : v->items[i]->kind == CNODE_BOOL                                         ? json_false()
                                                              : json_string(v->items[i]->text));
    return row;
}

static int print_variables(const struct cnode *variables, const char *format, struct err *err)
{
    static const struct table_column columns[] = {{"Name", "NAME"},
                                                  {"Required", "REQUIRED"},
                                                  {"DefaultValue", "DEFAULT VALUE"},
                                                  {"PresenceValue", "ALTERNATE VALUE"},
                                                  {NULL, NULL}};
    json_t *rows = json_array(), *named = json_object();
    int r = 0;

    for (size_t i = 0; i < variables->len; i++) {
        json_t *row = variable_row(variables->items[i]);

        json_object_set(named, variables->keys[i], row);
        if (strcmp(format, "table") == 0)
            json_object_set_new(row, "Required", json_string(cnode_str(variables->items[i], "Required")));
        json_array_append_new(rows, row);
    }
    if (strcmp(format, "json") == 0) {
        cleanup_free char *text = json_dumps(named, JSON_INDENT(4));

        printf("%s\n\n", text);
    } else {
        r = table_print(rows, format, columns, err);
    }
    json_decref(rows);
    json_decref(named);
    return r;
}

int config_variables(struct app *app, struct compose_project *p, const struct opt_parsed *opts, struct err *err)
{
    const char *format = *opt_str(opts, "format") ? opt_str(opts, "format") : "table";
    struct cnode *variables = compose_variables(p->model);
    int r = 0;

    (void)app;
    if (strcmp(format, "yaml") == 0)
        for (size_t i = 0; i < variables->len; i++)
            print_variable_yaml(variables->keys[i], variables->items[i]);
    else
        r = print_variables(variables, format, err);
    cnode_free(variables);
    return r;
}

/* ---- images ---- */

/* Owned by caller: "docker.io/library/x:1@sha256:..."; NULL with err. */
static char *pinned(struct app *app, const char *image, struct err *err)
{
    struct catalog_base base = {.config = NULL};
    struct reference ref;
    char *text = NULL;
    const char *digest;

    if (reference_parse(image, &ref, err) < 0)
        return NULL;
    if (!ref.tag && !ref.digest)
        reference_add_latest(&ref);
    if (ref.digest) {
        text = reference_string(&ref);
    } else if (catalog_base(app, image, NULL, /* pull= */ true, &base, err) == 0) {
        digest = base.from ? strchr(base.from, '@') : NULL;
        if (digest) {
            ref.digest = xstrdup(digest + 1);
            text = reference_string(&ref);
        } else {
            err_set(err, 1, "%s: no registry has it, so it has no digest", image);
        }
        catalog_base_clear(&base);
    }
    reference_clear(&ref);
    return text;
}

int config_pin_images(struct app *app, struct compose_project *p, struct err *err)
{
    struct cnode *services = cnode_get(p->model, "services");

    for (size_t i = 0; services && i < services->len; i++) {
        const char *image = cnode_str(services->items[i], "image");
        cleanup_free char *text = image ? pinned(app, image, err) : NULL;

        if (image && !text)
            return -1;
        if (image)
            cnode_set(services->items[i], "image", cnode_string(text));
    }
    return 0;
}

void config_images_only(struct compose_project *p)
{
    const struct cnode *services = cnode_get(p->model, "services");
    struct cnode *model = cnode_new(CNODE_MAP), *only = cnode_new(CNODE_MAP);

    for (size_t i = 0; services && i < services->len; i++) {
        struct cnode *one = cnode_new(CNODE_MAP);

        if (cnode_str(services->items[i], "image"))
            cnode_set(one, "image", cnode_string(cnode_str(services->items[i], "image")));
        cnode_set(only, services->keys[i], one);
    }
    cnode_set(model, "services", only);
    cnode_free(p->model);
    p->model = model;
}
