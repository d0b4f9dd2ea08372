#include "shim/listing_filter.h"

#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/go_regex.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/container.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct item;

/* One container that is asked about. */
struct subject {
    const struct state_container *row;
    const json_t *inspect;
};

struct key {
    const char *name;
    bool all;                                                          /* every value must hold */
    int (*check)(struct app *app, struct item *item, struct err *err); /* NULL: every value will do */
    bool (*takes)(const struct item *item, const struct subject *s);
};

struct item {
    const struct key *key;
    char *value;
    char *image_id;      /* ancestor: what it names; "" = nothing */
    int64_t number;      /* exited: the code; before, since: when that one was created */
    int64_t first, last; /* expose, publish: the ports */
    char *protocol;
};

struct listing_filter {
    struct item *items;
    size_t len;
};

static int invalid(const struct item *item, const char *value, struct err *err)
{
    return err_set(err, 1, "Error response from daemon: invalid filter '%s=%s'", item->key->name, value);
}

/* ---- id, name, label ---- */

static bool takes_id(const struct item *item, const struct subject *s)
{
    return *item->value && strncmp(s->row->id, item->value, strlen(item->value)) == 0;
}

/* With and without Docker's slash. */
static bool takes_name(const struct item *item, const struct subject *s)
{
    cleanup_free char *slashed = xasprintf("/%s", s->row->name);

    return go_regex_finds(item->value, s->row->name) || go_regex_finds(item->value, slashed);
}

static bool takes_label(const struct item *item, const struct subject *s)
{
    const json_t *labels = json_object_get(json_object_get(s->inspect, "Config"), "Labels");
    size_t len = strcspn(item->value, "=");
    cleanup_free char *key = xstrndup(item->value, len);
    const char *value = json_string_value(json_object_get(labels, key));

    return value && (item->value[len] == '\0' || strcmp(item->value + len + 1, value) == 0);
}

/* ---- state ---- */

static int check_status(struct app *app, struct item *item, struct err *err)
{
    static const char *const words[] = {"created", "restarting", "running", "removing", "paused", "exited", "dead"};

    (void)app;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], item->value) == 0)
            return 0;
    return invalid(item, item->value, err);
}

static bool takes_status(const struct item *item, const struct subject *s)
{
    return strcmp(s->row->status, item->value) == 0;
}

static int check_exited(struct app *app, struct item *item, struct err *err)
{
    struct err why = ERR_INIT;

    (void)app;
    if (units_parse_int10(item->value, 64, &item->number, &why) == 0)
        return 0;
    err_clear(&why);
    return err_set(err, 1, "Error response from daemon: strconv.Atoi: parsing \"%s\": invalid syntax", item->value);
}

static bool takes_exited(const struct item *item, const struct subject *s)
{
    return s->row->exit_code == item->number && s->row->started_ns &&
           !json_is_true(json_object_get(json_object_get(s->inspect, "State"), "Running"));
}

static int check_health(struct app *app, struct item *item, struct err *err)
{
    static const char *const words[] = {"none", "healthy", "unhealthy", "starting"};

    (void)app;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], item->value) == 0)
            return 0;
    return err_set(err, 1, "Error response from daemon: Unrecognised filter value for health: %s", item->value);
}

static bool takes_health(const struct item *item, const struct subject *s)
{
    const json_t *health = json_object_get(json_object_get(s->inspect, "State"), "Health");
    const char *status = json_string_value(json_object_get(health, "Status"));

    return strcmp(item->value, status ? status : "none") == 0;
}

static int check_task(struct app *app, struct item *item, struct err *err)
{
    cleanup_free char *listed = xasprintf("[%s]", item->value);

    (void)app;
    if (strcmp(item->value, "0") == 0 || strcmp(item->value, "1") == 0 || strcmp(item->value, "true") == 0 ||
        strcmp(item->value, "false") == 0)
        return 0;
    return invalid(item, listed, err);
}

static bool takes_task(const struct item *item, const struct subject *s)
{
    (void)s;
    return *item->value == '0' || *item->value == 'f';
}

/* ---- other containers, images ---- */

static int check_neighbour(struct app *app, struct item *item, struct err *err)
{
    struct container c;
    int ret;

    container_init(&c, app);
    ret = container_find(&c, item->value, err);
    if (ret == 0)
        item->number = c.row.created_ns;
    container_clear(&c);
    return ret;
}

static bool takes_before(const struct item *item, const struct subject *s)
{
    return s->row->created_ns < item->number;
}

static bool takes_since(const struct item *item, const struct subject *s)
{
    return s->row->created_ns > item->number;
}

/* An image that there is not has no descendants; that is no error. */
static int check_ancestor(struct app *app, struct item *item, struct err *err)
{
    struct state_image image = {0};
    struct image_ref ref = {0};
    int found;

    item->image_id = xstrdup("");
    if (image_ref_parse(item->value, &ref, NULL) < 0)
        return 0;
    found = catalog_find(app, &ref, &image, err);
    if (found > 0) {
        free(item->image_id);
        item->image_id = xstrdup(image.id);
    }
    state_image_clear(&image);
    image_ref_clear(&ref);
    return found < 0 ? -1 : 0;
}

static bool takes_ancestor(const struct item *item, const struct subject *s)
{
    return *item->image_id && s->row->image_id && strcmp(item->image_id, s->row->image_id) == 0;
}

/* ---- mounts, networks, ports ---- */

static bool takes_volume(const struct item *item, const struct subject *s)
{
    static const char *const fields[] = {"Name", "Source", "Destination"};
    const json_t *mounts = json_object_get(s->inspect, "Mounts"), *mount;
    size_t i;

    json_array_foreach(mounts, i, mount)
    {
        for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
            const char *text = json_string_value(json_object_get(mount, fields[f]));

            if (text && strcmp(text, item->value) == 0)
                return true;
        }
    }
    return false;
}

static bool takes_network(const struct item *item, const struct subject *s)
{
    const json_t *settings = json_object_get(s->inspect, "NetworkSettings");

    return json_object_get(json_object_get(settings, "Networks"), item->value) != NULL;
}

/* strconv.ParseUint(word, 10, 16) */
static int read_port(const char *word, int64_t *ret, struct err *err)
{
    size_t len = strlen(word);

    if (!len || strspn(word, "0123456789") != len)
        return err_set(err, 0, "strconv.ParseUint: parsing \"%s\": invalid syntax", word);
    *ret = len > 9 ? 65536 : strtoll(word, NULL, 10);
    if (*ret > 65535)
        return err_set(err, 0, "strconv.ParseUint: parsing \"%s\": value out of range", word);
    return 0;
}

static int read_ports(struct item *item, const char *ports, struct err *err)
{
    const char *dash = strchr(ports, '-');
    cleanup_free char *first = xstrndup(ports, strcspn(ports, "-"));

    if (!*ports)
        return err_set(err, 0, "empty string specified for ports");
    if (read_port(first, &item->first, err) < 0 || read_port(dash ? dash + 1 : first, &item->last, err) < 0)
        return -1;
    return item->last < item->first ? err_set(err, 0, "invalid range specified for the port: %s", ports) : 0;
}

/* PORT[-PORT][/PROTOCOL] */
static int check_ports(struct app *app, struct item *item, struct err *err)
{
    const char *slash = strchr(item->value, '/');
    cleanup_free char *ports = xstrndup(item->value, strcspn(item->value, "/"));
    cleanup_err struct err why = ERR_INIT;

    (void)app;
    if (strchr(item->value, ':'))
        return err_set(err, 1, "Error response from daemon: filter for '%s' should not contain ':': %s",
                       item->key->name, item->value);
    item->protocol = xstrdup(slash && slash[1] ? slash + 1 : "tcp");
    for (char *p = item->protocol; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (read_ports(item, ports, &why) == 0)
        return 0;
    return err_set(err, 1, "Error response from daemon: error while looking up for %s %s: %s", item->key->name,
                   item->value, why.msg);
}

static bool takes_expose(const struct item *item, const struct subject *s)
{
    json_t *exposed = json_object_get(json_object_get(s->inspect, "Config"), "ExposedPorts");

    for (void *at = json_object_iter(exposed); at; at = json_object_iter_next(exposed, at)) {
        const char *text = json_object_iter_key(at), *slash = strchr(text, '/');
        int64_t port = strtoll(text, NULL, 10);

        if (port >= item->first && port <= item->last && strcmp(slash ? slash + 1 : "tcp", item->protocol) == 0)
            return true;
    }
    return false;
}

/* By the number on the host. */
static bool takes_publish(const struct item *item, const struct subject *s)
{
    json_t *ports = json_object_get(json_object_get(s->inspect, "NetworkSettings"), "Ports");

    for (void *at = json_object_iter(ports); at; at = json_object_iter_next(ports, at)) {
        const char *slash = strchr(json_object_iter_key(at), '/');
        const json_t *host;
        size_t i;

        if (strcmp(slash ? slash + 1 : "tcp", item->protocol) != 0)
            continue;
        json_array_foreach(json_object_iter_value(at), i, host)
        {
            const char *text = json_string_value(json_object_get(host, "HostPort"));
            int64_t port = strtoll(text ? text : "-1", NULL, 10);

            if (port >= item->first && port <= item->last)
                return true;
        }
    }
    return false;
}

static bool takes_every(const struct item *item, const struct subject *s)
{
    (void)item;
    (void)s;
    return true;
}

static const struct key keys[] = {
    {"ancestor", false, check_ancestor, takes_ancestor},
    {"before", true, check_neighbour, takes_before},
    {"exited", false, check_exited, takes_exited},
    {"expose", false, check_ports, takes_expose},
    {"health", false, check_health, takes_health},
    {"id", false, NULL, takes_id},
    {"is-task", false, check_task, takes_task},
    {"isolation", false, NULL, takes_every}, /* of Windows */
    {"label", true, NULL, takes_label},
    {"name", false, NULL, takes_name},
    {"network", false, NULL, takes_network},
    {"publish", false, check_ports, takes_publish},
    {"since", true, check_neighbour, takes_since},
    {"status", false, check_status, takes_status},
    {"volume", false, NULL, takes_volume},
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* "Key =value": docker's client takes the key in small letters and without blanks. */
static int read_word(struct app *app, struct item *item, const char *word, struct err *err)
{
    size_t len = strcspn(word, "="), start = strspn(word, " ");
    cleanup_free char *name = xstrndup(word + (start < len ? start : len), start < len ? len - start : 0);
    const char *value = word + len + (word[len] != '\0');

    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    while (*name && name[strlen(name) - 1] == ' ')
        name[strlen(name) - 1] = '\0';
    for (size_t i = 0; i < KEYS; i++) {
        if (strcmp(keys[i].name, name) != 0)
            continue;
        item->key = &keys[i];
        item->value = xstrdup(value + strspn(value, " "));
        return item->key->check ? item->key->check(app, item, err) : 0;
    }
    return err_set(err, 1, "Error response from daemon: invalid filter '%s'", name);
}

struct listing_filter *listing_filter_new(struct app *app, const struct strlist *words, struct err *err)
{
    struct listing_filter *f = xcalloc(1, sizeof(*f));

    f->items = xcalloc(words->len + 1, sizeof(*f->items));
    for (; f->len < words->len; f->len++) {
        if (read_word(app, &f->items[f->len], words->items[f->len], err) < 0) {
            f->len++;
            listing_filter_free(f);
            return NULL;
        }
    }
    return f;
}

void listing_filter_free(struct listing_filter *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->len; i++) {
        free(f->items[i].value);
        free(f->items[i].image_id);
        free(f->items[i].protocol);
    }
    free(f->items);
    free(f);
}

bool listing_filter_has(const struct listing_filter *f, const char *key)
{
    for (size_t i = 0; i < f->len; i++)
        if (strcmp(f->items[i].key->name, key) == 0)
            return true;
    return false;
}

bool listing_filter_takes(const struct listing_filter *f, const struct state_container *row, const json_t *inspect)
{
    const struct subject subject = {row, inspect};

    for (size_t k = 0; k < KEYS; k++) {
        size_t asked = 0, held = 0;

        for (size_t i = 0; i < f->len; i++) {
            if (f->items[i].key != &keys[k])
                continue;
            asked++;
            held += keys[k].takes(&f->items[i], &subject);
        }
        if (asked && (keys[k].all ? held < asked : held == 0))
            return false;
    }
    return true;
}
