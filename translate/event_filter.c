#include "translate/event_filter.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS INT64_C(1000000000)

enum key {
    KEY_CONFIG,
    KEY_CONTAINER,
    KEY_DAEMON,
    KEY_EVENT,
    KEY_IMAGE,
    KEY_LABEL,
    KEY_NETWORK,
    KEY_NODE,
    KEY_PLUGIN,
    KEY_SCOPE,
    KEY_SECRET,
    KEY_SERVICE,
    KEY_TYPE,
    KEY_VOLUME,
    KEY_MAX
};

static const char *const key_names[KEY_MAX] = {"config", "container", "daemon", "event",  "image",   "label", "network",
                                               "node",   "plugin",    "scope",  "secret", "service", "type",  "volume"};

struct event_filter {
    struct strlist values[KEY_MAX];
};

void event_filter_free(struct event_filter *f)
{
    for (enum key k = 0; f && k < KEY_MAX; k++)
        strlist_clear(&f->values[k]);
    free(f);
}

/* docker's client takes the key in small letters and without blanks. */
static int read_word(struct event_filter *f, const char *word, struct err *err)
{
    size_t len = strcspn(word, "="), start = strspn(word, " ");
    cleanup_free char *name = xstrndup(word + (start < len ? start : len), start < len ? len - start : 0);
    const char *value = word + len + (word[len] != '\0');

    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    while (*name && name[strlen(name) - 1] == ' ')
        name[strlen(name) - 1] = '\0';
    for (enum key k = 0; k < KEY_MAX; k++)
        if (!strcmp(key_names[k], name)) {
            strlist_add(&f->values[k], value + strspn(value, " "));
            return 0;
        }
    return err_set(err, 1, "Error response from daemon: invalid filter '%s'", name);
}

struct event_filter *event_filter_new(const struct strlist *words, struct err *err)
{
    struct event_filter *f = xcalloc(1, sizeof(*f));

    for (size_t i = 0; i < words->len; i++)
        if (read_word(f, words->items[i], err) < 0) {
            event_filter_free(f);
            return NULL;
        }
    return f;
}

/* ---- matching; a key that nobody gave lets all pass ---- */

static bool exact(const struct event_filter *f, enum key k, const char *text)
{
    const struct strlist *values = &f->values[k];

    for (size_t i = 0; i < values->len; i++)
        if (text && !strcmp(values->items[i], text))
            return true;
    return values->len == 0;
}

static bool prefix(const struct event_filter *f, enum key k, const char *text)
{
    const struct strlist *values = &f->values[k];

    for (size_t i = 0; i < values->len; i++)
        if (text && !strncmp(values->items[i], text, strlen(values->items[i])))
            return true;
    return values->len == 0;
}

static const char *attribute(const struct event_shown *e, const char *name)
{
    const char *value = json_string_value(json_object_get(e->attributes, name));

    return value ? value : "";
}

static bool by_name(const struct event_filter *f, enum key k, const struct event_shown *e)
{
    return prefix(f, k, e->actor) || prefix(f, k, attribute(e, "name"));
}

/* Actions with words behind a colon are asked for by what is before it. */
static bool takes_action(const struct event_filter *f, const struct event_shown *e)
{
    static const char *const open_ended[] = {"health_status", "exec_create", "exec_start"};
    const struct strlist *values = &f->values[KEY_EVENT];

    for (size_t i = 0; i < values->len; i++)
        for (size_t o = 0; o < sizeof(open_ended) / sizeof(open_ended[0]); o++)
            if (!strcmp(values->items[i], open_ended[o]))
                return prefix(f, KEY_EVENT, e->action);
    return exact(f, KEY_EVENT, e->action);
}

static bool takes_labels(const struct event_filter *f, const struct event_shown *e)
{
    const struct strlist *values = &f->values[KEY_LABEL];

    for (size_t i = 0; i < values->len; i++) {
        size_t len = strcspn(values->items[i], "=");
        cleanup_free char *key = xstrndup(values->items[i], len);
        const char *value = json_string_value(json_object_get(e->attributes, key));

        if (!value || (values->items[i][len] && strcmp(values->items[i] + len + 1, value) != 0))
            return false;
    }
    return true;
}

/* Without its tag; owned by caller. */
static char *stripped(const char *image)
{
    const char *slash = strrchr(image, '/'), *colon = strchr(slash ? slash : image, ':');

    return colon ? xstrndup(image, (size_t)(colon - image)) : xstrdup(image);
}

static bool takes_image(const struct event_filter *f, const struct event_shown *e)
{
    const char *name = attribute(e, strcmp(e->type, "image") == 0 ? "name" : "image");
    cleanup_free char *bare_id = stripped(e->actor), *bare_name = stripped(name);

    return exact(f, KEY_IMAGE, e->actor) || exact(f, KEY_IMAGE, name) || exact(f, KEY_IMAGE, bare_id) ||
           exact(f, KEY_IMAGE, bare_name);
}

bool event_filter_takes(const struct event_filter *f, const struct event_shown *e)
{
    static const enum key named[] = {KEY_CONFIG, KEY_CONTAINER, KEY_DAEMON,  KEY_NETWORK, KEY_NODE,
                                     KEY_PLUGIN, KEY_SECRET,    KEY_SERVICE, KEY_VOLUME};

    if (!takes_action(f, e) || !exact(f, KEY_TYPE, e->type) || !exact(f, KEY_SCOPE, "local"))
        return false;
    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
        if (!by_name(f, named[i], e))
            return false;
    return takes_image(f, e) && takes_labels(f, e);
}

/* ---- showing ---- */

json_t *event_json(const struct event_shown *e)
{
    bool container = strcmp(e->type, "container") == 0, old = container || strcmp(e->type, "image") == 0;
    json_t *object = json_object();

    if (old) {
        json_object_set_new(object, "status", json_string(e->action));
        json_object_set_new(object, "id", json_string(e->actor));
    }
    if (container)
        json_object_set_new(object, "from", json_string(attribute(e, "image")));
    json_object_set_new(object, "Type", json_string(e->type));
    json_object_set_new(object, "Action", json_string(e->action));
    json_object_set_new(object, "Actor",
                        json_pack("{s:s, s:o}", "ID", e->actor, "Attributes", json_deep_copy(e->attributes)));
    json_object_set_new(object, "scope", json_string("local"));
    json_object_set_new(object, "time", json_integer(e->time_ns / NS));
    json_object_set_new(object, "timeNano", json_integer(e->time_ns));
    return object;
}

json_t *event_absent(const json_t *object, const char *name)
{
    static const struct {
        const char *go, *json;
    } fields[] = {{"Status", "status"}, {"ID", "id"},     {"From", "from"},
                  {"Scope", "scope"},   {"Time", "time"}, {"TimeNano", "timeNano"}};

    if (!json_object_get(object, "timeNano"))
        return NULL;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (!strcmp(fields[i].go, name)) {
            json_t *value = json_object_get(object, fields[i].json);

            return value ? json_incref(value) : json_string("");
        }
    return NULL;
}

/* Nine digits, and the zone as +hh:mm or Z. */
static void add_time(struct buf *out, int64_t ns)
{
    time_t at = (time_t)(ns / NS);
    char text[40], zone[8];
    struct tm tm;

    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", localtime_r(&at, &tm));
    strftime(zone, sizeof(zone), "%z", &tm);
    buf_addf(out, "%s.%09lld", text, (long long)(ns % NS));
    if (tm.tm_gmtoff == 0)
        buf_addc(out, 'Z');
    else
        buf_addf(out, "%.3s:%s", zone, zone + 3);
}

void event_line(const struct event_shown *e, struct buf *out)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    json_t *map = (json_t *)e->attributes;

    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at))
        strlist_add(&words, json_object_iter_key(at));
    strlist_sort(&words);
    add_time(out, e->time_ns);
    buf_addf(out, " %s %s %s", e->type, e->action, e->actor);
    for (size_t i = 0; i < words.len; i++)
        buf_addf(out, "%s%s=%s", i ? ", " : " (", words.items[i], attribute(e, words.items[i]));
    buf_adds(out, words.len ? ")\n" : "\n");
}
