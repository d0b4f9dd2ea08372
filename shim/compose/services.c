#include "shim/compose/services.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More containers of one service than any sandbox can hold are a slip of the pen. */
#define SCALE_MAX 1000

void services_clear(struct services *s)
{
    for (size_t i = 0; i < s->len; i++) {
        free(s->items[i].image);
        free(s->items[i].image_id);
        free(s->items[i].hash);
        free(s->items[i].depends);
        strlist_clear(&s->items[i].networks);
    }
    free(s->items);
    *s = (struct services)SERVICES_INIT;
}

struct service *services_find(const struct services *s, const char *name)
{
    for (size_t i = 0; i < s->len; i++)
        if (!strcmp(s->items[i].name, name))
            return &s->items[i];
    return NULL;
}

char *service_container_name(struct app *app, const struct compose_project *p, const struct service *s, int number)
{
    const char *sep = compose_separator(app);

    return s->title ? xstrdup(s->title) : xasprintf("%s%s%s%s%d", p->name, sep, s->name, sep, number);
}

/* What it depends on, by the model's long form. */
static const struct cnode *depends_of(const struct cnode *service)
{
    const struct cnode *depends = cnode_get(service, "depends_on");

    return cnode_is(depends, CNODE_MAP) ? depends : NULL;
}

/* Adds the service and, with deps, all that it depends on. */
static int choose(const struct compose_project *p, const char *name, bool deps, struct strlist *ret, struct err *err)
{
    const struct cnode *service = cnode_get(cnode_get(p->model, "services"), name), *depends;

    if (!service)
        return err_set(err, 1, "no such service: %s", name);
    if (strlist_has(ret, name))
        return 0;
    strlist_add(ret, name);
    depends = deps ? depends_of(service) : NULL;
    for (size_t i = 0; depends && i < depends->len; i++) {
        const struct cnode *one = depends->items[i], *required = cnode_get(one, "required");

        if (required && !cnode_true(one, "required") && !cnode_get(cnode_get(p->model, "services"), depends->keys[i]))
            continue;
        if (choose(p, depends->keys[i], true, ret, err) < 0)
            return -1;
    }
    return 0;
}

static enum service_condition condition_of(const char *word)
{
    if (word && !strcmp(word, "service_healthy"))
        return CONDITION_HEALTHY;
    return word && !strcmp(word, "service_completed_successfully") ? CONDITION_COMPLETED : CONDITION_STARTED;
}

static int64_t scale_of(const struct cnode *service)
{
    const struct cnode *replicas = cnode_path(service, "deploy.replicas");

    if (cnode_get(service, "scale"))
        return cnode_number(service, "scale", 1);
    return replicas ? cnode_number(cnode_get(service, "deploy"), "replicas", 1) : 1;
}

static int read_one(struct app *app, const struct compose_project *p, const char *name, struct service *s,
                    struct err *err)
{
    s->node = cnode_get(cnode_get(p->model, "services"), name);
    s->title = cnode_str(s->node, "container_name");
    s->scale = scale_of(s->node);
    s->image = cnode_str(s->node, "image") ? xstrdup(cnode_str(s->node, "image"))
                                           : xasprintf("%s%s%s", p->name, compose_separator(app), name);
    s->hash = compose_hash(p, name, err);
    return s->hash ? 0 : -1;
}

static void read_depends(struct services *all, struct service *s)
{
    const struct cnode *depends = depends_of(s->node);

    for (size_t i = 0; depends && i < depends->len; i++) {
        const struct cnode *one = depends->items[i];
        const struct service *on = services_find(all, depends->keys[i]);

        s->depends = xreallocarray(s->depends, s->depends_len + 1, sizeof(*s->depends));
        s->depends[s->depends_len++] = (struct dependency){
            .name = depends->keys[i],
            .on = on ? (size_t)(on - all->items) : SERVICE_NONE,
            .condition = condition_of(cnode_str(one, "condition")),
            .required = !cnode_get(one, "required") || cnode_true(one, "required"),
            .restart = cnode_true(one, "restart"),
        };
    }
}

/* Without what it depends on, a service no longer says that it does. */
static void forget_others(struct cnode *service, const struct strlist *chosen)
{
    struct cnode *depends = cnode_get(service, "depends_on");

    for (size_t i = depends ? depends->len : 0; i-- > 0;)
        if (!strlist_has(chosen, depends->keys[i])) {
            cleanup_free char *key = xstrdup(depends->keys[i]);

            cnode_remove(depends, key);
        }
}

int services_read(struct app *app, const struct compose_project *p, const struct strlist *chosen, bool deps,
                  struct services *ret, struct err *err)
{
    const struct cnode *services = cnode_get(p->model, "services");
    cleanup_strlist struct strlist names = STRLIST_INIT;

    *ret = (struct services)SERVICES_INIT;
    for (size_t i = 0; chosen && i < chosen->len; i++)
        if (choose(p, chosen->items[i], deps, &names, err) < 0)
            return -1;
    ret->items = xcalloc((services ? services->len : 0) + 1, sizeof(*ret->items));
    for (size_t i = 0; services && i < services->len; i++) {
        struct service *s = &ret->items[ret->len];
        const char *name = services->keys[i];

        if (chosen && chosen->len && !strlist_has(&names, name))
            continue;
        if (chosen && chosen->len && !deps)
            forget_others(services->items[i], chosen);
        ret->len++;
        s->name = name;
        s->asked = !chosen || !chosen->len || strlist_has(chosen, name);
        if (read_one(app, p, name, s, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < ret->len; i++)
        read_depends(ret, &ret->items[i]);
    return 0;
}

int services_scale(struct services *s, const struct strlist *words, struct err *err)
{
    for (size_t i = 0; i < words->len; i++) {
        const char *word = words->items[i], *equals = strchr(word, '=');
        cleanup_free char *name = equals ? xstrndup(word, (size_t)(equals - word)) : NULL;
        struct service *one = name ? services_find(s, name) : NULL;
        char *end;
        long n;

        if (!equals || strchr(equals + 1, '='))
            return err_set(err, 1, "invalid --scale option \"%s\". Should be SERVICE=NUM", word);
        errno = 0;
        n = strtol(equals + 1, &end, 10);
        if (errno || end == equals + 1 || *end)
            return err_set(err, 1, "strconv.Atoi: parsing \"%s\": invalid syntax", equals + 1);
        if (!one)
            return err_set(err, 1, "no such service: %s: not found", name);
        if (n < 0 || n > SCALE_MAX)
            return err_set(err, 1, "invalid --scale option \"%s\": a service has 0 to %d containers", word, SCALE_MAX);
        one->scale = n;
    }
    return 0;
}
