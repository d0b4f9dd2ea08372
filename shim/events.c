#include "shim/events.h"

#include "backends/state/events.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/sys/random.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/network.h"
#include "translate/record_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define EXEC_WORDS_MAX (16u << 10) /* of a command line: an event is no place for a script */

/* Takes attributes. */
static void put(struct app *app, const char *type, const char *action, const char *actor, json_t *attributes,
                const char *once)
{
    cleanup_free char *text = json_dumps(attributes, JSON_COMPACT | JSON_SORT_KEYS);
    cleanup_err struct err err = ERR_INIT;
    const struct state_event e = {
        .time_ns = container_now_ns(),
        .type = (char *)type,
        .action = (char *)action,
        .actor = (char *)actor,
        .attributes = text ? text : (char *)"{}",
    };

    json_decref(attributes);
    if (app_state(app, &err) == 0 && state_event_add(app->state, &e, once, &err) < 0)
        app_trace(app, "the event %s %s is lost: %s", type, action, err.msg);
}

/* The labels, then image and name, as Docker has them in one map. */
static json_t *attributes_of(const struct container *c)
{
    json_auto_t *labels = c->row.labels ? json_loads(c->row.labels, 0, NULL) : NULL;
    json_t *map = json_object(), *label;
    size_t i;

    json_array_foreach(labels, i, label)
    {
        const char *text = json_string_value(label), *mark = text ? strchr(text, '=') : NULL;
        cleanup_free char *key = mark ? xstrndup(text, (size_t)(mark - text)) : NULL;

        if (key)
            json_object_set_new(map, key, json_string(mark + 1));
    }
    json_object_set_new(map, "image", record_shown(c->row.image));
    json_object_set_new(map, "name", record_shown(c->row.name));
    return map;
}

static void add_pairs(json_t *map, va_list ap)
{
    const char *name;

    while ((name = va_arg(ap, const char *)))
        json_object_set_new(map, name, record_shown(va_arg(ap, const char *)));
}

void event_container(struct container *c, const char *action, ...)
{
    json_t *map = attributes_of(c);
    va_list ap;

    va_start(ap, action);
    add_pairs(map, ap);
    va_end(ap);
    put(c->app, "container", action, c->row.id, map, NULL);
}

/* What is written once in a life; owned by caller. */
static char *once_of(const struct container *c, const char *action)
{
    return xasprintf("%s %s %" PRId64, action, c->row.id, c->row.started_ns);
}

void event_container_once(struct container *c, const char *action, ...)
{
    cleanup_free char *once = once_of(c, action);
    json_t *map = attributes_of(c);
    va_list ap;

    va_start(ap, action);
    add_pairs(map, ap);
    va_end(ap);
    put(c->app, "container", action, c->row.id, map, once);
}

static void put_bridge(struct container *c, const char *action)
{
    cleanup_free char *once = once_of(c, action);
    struct state_network bridge = {0};

    if (network_find(c->app, "bridge", &bridge, NULL) < 0)
        return;
    put(c->app, "network", action, bridge.id,
        json_pack("{s:s, s:s, s:s}", "name", "bridge", "type", "bridge", "container", c->row.id), once);
    state_network_clear(&bridge);
}

/* Once in a life and for each target. */
static void put_volumes(struct container *c, const char *action)
{
    for (size_t i = 0; i < c->spec.mounts.len; i++) {
        const struct mount *m = &c->spec.mounts.items[i];
        bool begins = !strcmp(action, "mount");
        cleanup_free char *what = xasprintf("%s %s", action, m->target), *once = once_of(c, what);
        json_t *map;

        if (m->type != MOUNT_VOLUME || !m->source)
            continue;
        map = json_pack("{s:s, s:s}", "driver", "local", "container", c->row.id);
        if (begins) {
            json_object_set_new(map, "propagation", json_string(""));
            json_object_set_new(map, "read/write", json_string(m->readonly ? "false" : "true"));
            json_object_set_new(map, "destination", record_shown(m->target));
        }
        put(c->app, "volume", action, m->source, map, once);
    }
}

void event_joins(struct container *c)
{
    if (c->spec.network == NETWORK_DEFAULT || c->spec.network == NETWORK_BRIDGE)
        put_bridge(c, "connect");
    put_volumes(c, "mount");
}

void event_died(struct container *c)
{
    cleanup_free char *code = xasprintf("%d", c->row.exit_code), *duration = NULL, *start = once_of(c, "start");
    cleanup_free char *joined = once_of(c, "connect");
    int64_t ended = c->row.finished_ns ? c->row.finished_ns : container_now_ns();

    /* one that could not be started never died */
    if (!c->row.started_ns || app_state(c->app, NULL) < 0 || state_event_has(c->app->state, start, NULL) <= 0)
        return;
    duration = xasprintf("%" PRId64, ended > c->row.started_ns ? (ended - c->row.started_ns) / 1000000000 : 0);
    event_container_once(c, "die", "exitCode", code, "execDuration", duration, NULL);
    if (state_event_has(c->app->state, joined, NULL) > 0)
        put_bridge(c, "disconnect");
    if (container_load(c, NULL) == 0)
        put_volumes(c, "unmount");
}

void event_kill(struct container *c, int signo)
{
    cleanup_free char *number = xasprintf("%d", signo);

    event_container(c, "kill", "signal", number, NULL);
}

void event_exec_id(char ret[EVENT_EXEC_ID_MAX])
{
    if (random_hex(ret, EVENT_EXEC_ID_MAX - 1, NULL) < 0)
        *ret = '\0';
}

void event_exec_started(struct container *c, const struct strlist *argv, const char *id)
{
    static const char *const actions[] = {"exec_create", "exec_start"};
    cleanup_buf struct buf words = BUF_INIT(EXEC_WORDS_MAX);

    for (size_t i = 0; i < argv->len; i++)
        buf_addf(&words, i ? " %s" : "%s", argv->items[i]);
    if (argv->len == 1)
        buf_addc(&words, ' '); /* Docker's join of a command and its arguments */
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        cleanup_free char *action = xasprintf("%s: %s", actions[i], words.data);

        event_container(c, action, "execID", id, NULL);
    }
}

void event_exec_died(struct container *c, const char *id, int code)
{
    cleanup_free char *text = xasprintf("%d", code);

    event_container(c, "exec_die", "execID", id, "exitCode", text, NULL);
}

void event_image(struct app *app, const char *action, const char *id, const char *name)
{
    put(app, "image", action, id, json_pack("{s:s}", "name", name ? name : id), NULL);
}

void event_network(struct app *app, const char *action, const char *id, const char *name, const char *container)
{
    json_t *map = json_pack("{s:s, s:s}", "name", name, "type", "bridge");

    if (container)
        json_object_set_new(map, "container", json_string(container));
    put(app, "network", action, id, map, NULL);
}

void event_volume(struct app *app, const char *action, const char *name, const char *container, const char *target,
                  int writable)
{
    json_t *map = json_pack("{s:s}", "driver", "local");

    if (container) {
        json_object_set_new(map, "container", json_string(container));
        json_object_set_new(map, "propagation", json_string(""));
        json_object_set_new(map, "read/write", json_string(writable ? "true" : "false"));
    }
    if (container && target)
        json_object_set_new(map, "destination", record_shown(target));
    put(app, "volume", action, name, map, NULL);
}
