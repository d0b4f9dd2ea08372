/* What must fit together in a model before anything is done with it. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/settle.h"

#include <stdlib.h>
#include <string.h>

#define INVALID ": invalid compose project"

struct checked {
    const struct compose_project *p;
    const struct cnode *s;
    const char *name;
    struct err *err;
};

static size_t length(const struct cnode *n)
{
    return n ? n->len : 0;
}

static const struct cnode *service_of(const struct compose_project *p, const char *name)
{
    return cnode_get(cnode_get(p->model, "services"), name);
}

static int check_platform(const struct checked *c)
{
    const struct cnode *platforms = cnode_path(c->s, "build.platforms");
    const char *own = cnode_str(c->s, "platform");

    if (!own || length(platforms) == 0)
        return 0;
    for (size_t i = 0; i < platforms->len; i++)
        if (strcmp(platforms->items[i]->text, own) == 0)
            return 0;
    return err_set(c->err, 0, "service.build.platforms MUST include service.platform \"%s\"" INVALID, own);
}

static int check_build(const struct checked *c)
{
    const struct cnode *build = cnode_get(c->s, "build"), *contexts = cnode_get(build, "additional_contexts");

    if (!build && !cnode_str(c->s, "image") && !cnode_get(c->s, "provider"))
        return err_set(c->err, 0, "service \"%s\" has neither an image nor a build context specified" INVALID, c->name);
    if (cnode_str(build, "dockerfile") && cnode_str(build, "dockerfile_inline"))
        return err_set(c->err, 0, "service \"%s\" declares mutualy exclusive dockerfile and dockerfile_inline" INVALID,
                       c->name);
    for (size_t i = 0; i < length(contexts); i++) {
        const char *value = contexts->items[i]->text;

        if (strncmp(value, "service:", 8) != 0)
            continue;
        if (!service_of(c->p, value + 8))
            return err_set(c->err, 0, "service \"%s\" declares unknown service \"%s\" as additional contexts %s",
                           c->name, value + 8, contexts->keys[i]);
        if (!cnode_get(service_of(c->p, value + 8), "build"))
            return err_set(c->err, 0, "service \"%s\" declares non-buildable service \"%s\" as additional contexts %s",
                           c->name, value + 8, contexts->keys[i]);
    }
    return check_platform(c);
}

static int check_networks(const struct checked *c)
{
    const struct cnode *networks = cnode_get(c->s, "networks");
    const char *mode = cnode_str(c->s, "network_mode");

    if (mode && length(networks) > 0)
        return err_set(c->err, 0, "service %s declares mutually exclusive `network_mode` and `networks`" INVALID,
                       c->name);
    for (size_t i = 0; i < length(networks); i++)
        if (!cnode_get(cnode_get(c->p->model, "networks"), networks->keys[i]))
            return err_set(c->err, 0, "service \"%s\" refers to undefined network %s" INVALID, c->name,
                           networks->keys[i]);
    return 0;
}

static int check_dependencies(const struct checked *c)
{
    const struct cnode *test = cnode_path(c->s, "healthcheck.test"), *depends = cnode_get(c->s, "depends_on");
    const char *first = length(test) > 0 ? test->items[0]->text : NULL;
    const char *mode = cnode_str(c->s, "network_mode");

    if (first && strcmp(first, "CMD") != 0 && strcmp(first, "CMD-SHELL") != 0 && strcmp(first, "NONE") != 0)
        return err_set(c->err, 0, "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"");
    for (size_t i = 0; i < length(depends); i++) {
        const char *name = depends->keys[i];

        if (service_of(c->p, name) || (cnode_get(c->p->disabled, name) && !cnode_true(depends->items[i], "required")))
            continue;
        return err_set(c->err, 0, "service \"%s\" depends on undefined service \"%s\"" INVALID, c->name, name);
    }
    if (mode && strncmp(mode, "service:", 8) == 0 && !service_of(c->p, mode + 8))
        return err_set(c->err, 0, "service \"%s\" not found for network_mode 'service:%s'", mode + 8, mode + 8);
    return 0;
}

/* Every source of a list is declared in a section of the file. */
static int check_sources(const struct checked *c, const char *path, const char *section, const char *what)
{
    const struct cnode *list = cnode_path(c->s, path);

    for (size_t i = 0; i < length(list); i++) {
        const char *source = cnode_str(list->items[i], "source");

        if (!cnode_get(cnode_get(c->p->model, section), source ? source : ""))
            return err_set(c->err, 0, "service \"%s\" refers to undefined %s %s" INVALID, c->name, what,
                           source ? source : "");
    }
    return 0;
}

static int check_resources(const struct checked *c)
{
    const struct cnode *mounts = cnode_get(c->s, "volumes"), *models = cnode_get(c->s, "models");

    for (size_t i = 0; i < length(mounts); i++) {
        const char *type = cnode_str(mounts->items[i], "type"), *source = cnode_str(mounts->items[i], "source");

        if (type && source && strcmp(type, "volume") == 0 && !cnode_get(cnode_get(c->p->model, "volumes"), source))
            return err_set(c->err, 0, "service \"%s\" refers to undefined volume %s" INVALID, c->name, source);
    }
    if (check_sources(c, "build.secrets", "secrets", "build secret") ||
        check_sources(c, "configs", "configs", "config"))
        return -1;
    for (size_t i = 0; i < length(models); i++)
        if (!cnode_get(cnode_get(c->p->model, "models"), models->keys[i]))
            return err_set(c->err, 0, "service \"%s\" refers to undefined model %s" INVALID, c->name, models->keys[i]);
    return check_sources(c, "secrets", "secrets", "secret");
}

/* deploy.replicas and scale say the same. */
static int check_scale(const struct checked *c)
{
    const struct cnode *deploy = cnode_get(c->s, "deploy");
    int64_t scale = cnode_number(c->s, "scale", INT64_MIN), replicas = cnode_number(deploy, "replicas", INT64_MIN);

    if (scale != INT64_MIN && replicas != INT64_MIN && scale != replicas)
        return err_set(c->err, 0, "services.%s: can't set distinct values on 'scale' and 'deploy.replicas'" INVALID,
                       c->name);
    if (scale != INT64_MIN && scale < 0)
        return err_set(c->err, 0, "services.%s.scale: must be greater than or equal to 0", c->name);
    if (replicas != INT64_MIN && replicas < 0)
        return err_set(c->err, 0, "services.%s.deploy.replicas: must be greater than or equal to 0", c->name);
    if ((scale > 1 || (scale == INT64_MIN && replicas > 1)) && cnode_str(c->s, "container_name"))
        return err_set(c->err, 0,
                       "services.%s: can't set container_name and %s as container name must be unique" INVALID,
                       scale == INT64_MIN ? "deploy.replicas" : "scale", c->name);
    return 0;
}

/* The old spelling and the one of deploy must not differ. */
static int check_limits(const struct checked *c)
{
    static const struct {
        const char *key, *section, *part;
    } pairs[] = {{"cpus", "limits", "cpus"},
                 {"mem_limit", "limits", "memory"},
                 {"mem_reservation", "reservations", "memory"},
                 {"pids_limit", "limits", "pids"}};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        cleanup_free char *path = xasprintf("deploy.resources.%s", pairs[i].section);
        const struct cnode *section = cnode_path(c->s, path);
        const char *old = cnode_str(c->s, pairs[i].key), *new = cnode_str(section, pairs[i].part);

        if (old && section && strcmp(old, new ? new : "0") != 0)
            return err_set(c->err, 0, "services.%s: can't set distinct values on '%s' and '%s.%s'" INVALID, c->name,
                           pairs[i].key, path, pairs[i].part);
    }
    return 0;
}

/* No two things at one place in the container. */
static int check_targets(const struct checked *c)
{
    const struct cnode *tmpfs = cnode_get(c->s, "tmpfs"), *mounts = cnode_get(c->s, "volumes");
    struct cnode *taken = cnode_new(CNODE_MAP);
    int r = 0;

    for (size_t i = 0; i < length(tmpfs) + length(mounts) && r == 0; i++) {
        bool is_tmpfs = i < length(tmpfs);
        size_t at = is_tmpfs ? i : i - length(tmpfs);
        const char *text = is_tmpfs ? tmpfs->items[at]->text : cnode_str(mounts->items[at], "target");
        cleanup_free char *target =
            xstrndup(text ? text : "", is_tmpfs ? strcspn(text, ":") : strlen(text ? text : ""));
        cleanup_free char *where = xasprintf("services.%s.%s[%zu]", c->name, is_tmpfs ? "tmpfs" : "volumes", at);

        if (cnode_get(taken, target))
            r = err_set(c->err, 0, "%s: target %s already mounted as %s", where, target, cnode_str(taken, target));
        else
            cnode_set(taken, target, cnode_string(where));
    }
    cnode_free(taken);
    return r;
}

static int check_watch(const struct checked *c)
{
    const struct cnode *list = cnode_path(c->s, "develop.watch");

    for (size_t i = 0; i < length(list); i++) {
        const char *target = cnode_str(list->items[i], "target"), *action = cnode_str(list->items[i], "action");

        if (!target && action && strcmp(action, "rebuild") != 0 && strcmp(action, "restart") != 0)
            return err_set(c->err, 0, "services.%s.develop.watch: target is required for non-rebuild actions" INVALID,
                           c->name);
    }
    return 0;
}

static int check_secrets(const struct compose_project *p, struct err *err)
{
    const struct cnode *secrets = cnode_get(p->model, "secrets");

    for (size_t i = 0; i < length(secrets); i++) {
        const struct cnode *s = secrets->items[i];

        if (!cnode_true(s, "external") && !cnode_str(s, "file") && !cnode_str(s, "environment"))
            return err_set(err, 0, "secret \"%s\" must declare either `file` or `environment`" INVALID,
                           secrets->keys[i]);
    }
    return 0;
}

int compose_consistent(const struct compose_project *p, struct err *err)
{
    const struct cnode *services = cnode_get(p->model, "services");
    cleanup_strlist struct strlist order = STRLIST_INIT;

    for (size_t i = 0; i < length(services); i++) {
        struct checked c = {p, services->items[i], services->keys[i], err};

        if (check_build(&c) || check_networks(&c) || check_dependencies(&c) || check_resources(&c) || check_scale(&c) ||
            check_limits(&c) || check_watch(&c) || check_targets(&c))
            return -1;
    }
    return check_secrets(p, err) ? -1 : compose_order(p, &order, err);
}
