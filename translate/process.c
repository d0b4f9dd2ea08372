/*
 * The second half of spec.h: what the container's process gets.
 */
#include "translate/spec.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "translate/env.h"
#include "translate/health.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_PATH         "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define DEFAULT_STOP_TIMEOUT 10 /* seconds; the daemon's */

static void config_clear(struct config_spec *c)
{
    strlist_clear(&c->entrypoint);
    strlist_clear(&c->cmd);
    strlist_clear(&c->env);
    strlist_clear(&c->labels);
    strlist_clear(&c->volumes);
    strlist_clear(&c->exposed_ports);
    strlist_clear(&c->shell);
    free(c->workdir);
    free(c->healthcheck);
    free(c->stop_signal);
}

void process_clear(struct process_spec *p)
{
    config_clear(&p->config);
    strlist_clear(&p->argv);
    strlist_clear(&p->env);
    free(p->workdir);
    free(p->user);
    free(p->hostname);
    free(p->stop_signal);
    *p = (struct process_spec){0};
}

/*
 * argv = entrypoint + command. A command on the line replaces the image's CMD; --entrypoint, even an empty one, takes
 * both of the image's away.
 */
static int fill_argv(const struct container_spec *s, const struct oci_config *image, struct process_spec *p,
                     struct err *err)
{
    strlist_copy(&p->config.entrypoint, s->entrypoint_set ? &s->entrypoint : &image->entrypoint);
    if (s->cmd.len > 0)
        strlist_copy(&p->config.cmd, &s->cmd);
    else if (!s->entrypoint_set)
        strlist_copy(&p->config.cmd, &image->cmd);
    strlist_copy(&p->argv, &p->config.entrypoint);
    strlist_copy(&p->argv, &p->config.cmd);
    if (p->argv.len == 0)
        return err_set(err, 125, "Error response from daemon: No command specified");
    return 0;
}

/* Whether the person said anything about the variable of this "K=V". */
static bool overridden(const struct strlist *env, const char *entry)
{
    cleanup_free char *key = xstrndup(entry, strcspn(entry, "="));

    return strlist_env_get(env, key) != NULL;
}

/*
 * The daemon's order: PATH, HOSTNAME and TERM, which keep their place when they are set by somebody; the person's
 * variables; the image's that the person left alone.
 */
static void fill_env(const struct container_spec *s, const struct oci_config *image, const char *hostname,
                     struct strlist *env, struct strlist *shown)
{
    cleanup_strlist struct strlist from_image = STRLIST_INIT;

    strlist_add(env, "PATH=" DEFAULT_PATH);
    strlist_addf(env, "HOSTNAME=%s", hostname);
    if (s->tty)
        strlist_add(env, "TERM=xterm");
    for (size_t i = 0; i < image->env.len; i++)
        if (strchr(image->env.items[i], '=') && !overridden(&s->env, image->env.items[i]))
            strlist_add(&from_image, image->env.items[i]);
    env_merge(env, &s->env);
    env_merge(env, &from_image);
    env_merge(shown, &s->env);
    env_merge(shown, &from_image);
}

/* The first that says something, else the default; owned by caller. */
static char *first_of(const char *a, const char *b, const char *fallback)
{
    if (a && *a)
        return xstrdup(a);
    return xstrdup(b && *b ? b : fallback);
}

/* "a=..." comes before "a-b=...", whatever their bytes. */
static int by_key(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    size_t x_len = strcspn(x, "="), y_len = strcspn(y, "=");
    int order = memcmp(x, y, x_len < y_len ? x_len : y_len);

    return order ? order : (x_len > y_len) - (x_len < y_len);
}

/* The image's labels under the person's, sorted by key as the daemon prints a map. */
static void fill_labels(const struct container_spec *s, const struct oci_config *image, struct strlist *labels)
{
    strlist_copy(labels, &image->labels);
    env_merge(labels, &s->labels);
    if (labels->len > 1)
        qsort(labels->items, labels->len, sizeof(*labels->items), by_key);
}

/* A copy, or NULL when both are empty; owned by caller. */
static char *either(const char *a, const char *b)
{
    return a && *a ? xstrdup(a) : b && *b ? xstrdup(b) : NULL;
}

/* What is shown of the image's other settings. */
static void fill_config(const struct container_spec *s, const struct oci_config *image, struct config_spec *c)
{
    fill_labels(s, image, &c->labels);
    strlist_copy(&c->volumes, &image->volumes);
    ports_expose_all(&c->exposed_ports, &image->exposed_ports, &s->ports.exposed);
    c->workdir = first_of(s->workdir, image->workdir, "");
    c->healthcheck = health_merge(s->healthcheck, image->healthcheck);
    strlist_copy(&c->shell, &image->shell);
    c->stop_signal = either(s->stop_signal, image->stop_signal);
    c->stop_timeout = s->stop_timeout;
}

int process_from_spec(const struct container_spec *s, const struct oci_config *image, struct process_spec *ret,
                      struct err *err)
{
    struct process_spec p = {.tty = s->tty, .open_stdin = s->interactive};
    char short_id[CONTAINER_SHORT_ID_LEN + 1], *clean;

    if (fill_argv(s, image, &p, err) < 0) {
        process_clear(&p);
        return -1;
    }
    memcpy(short_id, s->id, CONTAINER_SHORT_ID_LEN);
    short_id[CONTAINER_SHORT_ID_LEN] = '\0';
    p.hostname = first_of(s->hostname, NULL, short_id);
    fill_env(s, image, p.hostname, &p.env, &p.config.env);
    fill_config(s, image, &p.config);
    p.workdir = first_of(s->workdir, image->workdir, "/");
    clean = path_absolute("/", p.workdir); /* an image's relative WORKDIR counts from the root */
    free(p.workdir);
    p.workdir = clean;
    p.user = first_of(s->user, image->user, "");
    p.stop_signal = first_of(p.config.stop_signal, NULL, "SIGTERM");
    p.stop_timeout = s->stop_timeout != STOP_TIMEOUT_UNSET ? s->stop_timeout : DEFAULT_STOP_TIMEOUT;
    *ret = p;
    return 0;
}
