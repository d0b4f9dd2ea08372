#include "translate/modal_pod.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define HUB_PORT  10611 /* the agent's own there: backends/agent/agent.h */
#define VALUE_MAX (1u << 20)

static const enum modal_key port_keys[] = {MODAL_KEY_ENCRYPTED_PORTS, MODAL_KEY_H2_PORTS, MODAL_KEY_UNENCRYPTED_PORTS};

#define PORT_KEYS (sizeof(port_keys) / sizeof(port_keys[0]))

enum { RANK_NETWORK = 100 };

void modal_pod_init(struct modal_pod *p)
{
    *p = (struct modal_pod){0};
}

void modal_pod_clear(struct modal_pod *p)
{
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++) {
        free(p->values[key].text);
        free(p->values[key].who);
    }
    for (size_t i = 0; i < p->len; i++)
        free(p->ports[i].who);
    free(p->ports);
    modal_pod_init(p);
}

/* A label and the service's x-modal are both the service's own word. */
static int rank_of(enum modal_source source)
{
    return source == MODAL_FROM_LABEL ? MODAL_FROM_X_SERVICE : (int)source;
}

/* A value in one way of writing it, so that two can be compared. */
static char *plain_text(const struct modal_options *o, enum modal_key key)
{
    cleanup_buf struct buf b = BUF_INIT(VALUE_MAX);
    const struct strlist *list = modal_list(o, key);

    if (modal_keys[key].type == MODAL_TYPE_BOOL)
        return xstrdup(modal_bool(o, key) ? "true" : "false");
    if (list->len == 0)
        return xstrdup(modal_str(o, key));
    for (size_t i = 0; i < list->len; i++)
        buf_addf(&b, "%s%s", i ? "\n" : "", list->items[i]);
    return xstrdup(b.data ? b.data : "");
}

static void put(struct modal_pod_value *v, const char *text, const char *who, int rank)
{
    free(v->text);
    free(v->who);
    *v = (struct modal_pod_value){xstrdup(text), xstrdup(who), rank};
}

static void take_value(struct modal_pod *p, const struct modal_options *o, enum modal_key key, const char *who,
                       bool network)
{
    struct modal_pod_value *v = &p->values[key];
    int rank = network ? RANK_NETWORK : rank_of(o->values[key].source);
    cleanup_free char *text = NULL;

    if (modal_keys[key].pod == MODAL_POD_LONGEST) {
        bool longer = !v->text || strtoll(v->text, NULL, 10) < modal_int(o, key);

        if (network ? modal_given(o, key) : v->rank != RANK_NETWORK && longer)
            put(v, modal_str(o, key), who, rank);
        return;
    }
    if (!modal_given(o, key) || (v->text && rank <= v->rank))
        return;
    text = plain_text(o, key);
    put(v, text, who, rank);
}

static struct modal_pod_port *find_port(const struct modal_pod *p, uint16_t port)
{
    for (size_t i = 0; i < p->len; i++)
        if (p->ports[i].port == port)
            return &p->ports[i];
    return NULL;
}

static void add_port(struct modal_pod *p, uint16_t port, enum modal_key key, const char *who)
{
    if (find_port(p, port) || p->len >= MODAL_POD_PORTS_MAX || port == HUB_PORT)
        return;
    p->ports = xreallocarray(p->ports, p->len + 1, sizeof(*p->ports));
    p->ports[p->len++] = (struct modal_pod_port){port, key, xstrdup(who)};
}

static uint16_t port_at(const struct modal_options *o, enum modal_key key, size_t i)
{
    return (uint16_t)strtoul(modal_list(o, key)->items[i], NULL, 10);
}

void modal_pod_take(struct modal_pod *p, const struct modal_options *o, const char *who, bool network)
{
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++)
        if (modal_keys[key].pod == MODAL_POD_SAME || modal_keys[key].pod == MODAL_POD_LONGEST)
            take_value(p, o, key, who, network);
    for (size_t k = 0; k < PORT_KEYS && !network; k++)
        for (size_t i = 0; i < modal_list(o, port_keys[k])->len; i++)
            add_port(p, port_at(o, port_keys[k], i), port_keys[k], who);
}

/* ---- whether one can live there ---- */

#define TOO_LATE "stop the containers of its networks first (docker compose down), so that a new sandbox is made"

static int check_value(const struct modal_pod *p, const struct modal_options *o, enum modal_key key, const char *who,
                       struct err *err)
{
    const struct modal_pod_value *v = &p->values[key];
    int rank = rank_of(o->values[key].source);
    cleanup_free char *text = NULL;

    if (!modal_given(o, key))
        return 0;
    text = plain_text(o, key);
    if (!v->text)
        return err_set(err, 125,
                       "%s asks for %s (%s), but the sandbox that its networks have was made without: " TOO_LATE, who,
                       modal_keys[key].name, o->values[key].origin);
    if (strcmp(v->text, text) == 0 || (rank < MODAL_FROM_X_SERVICE && v->rank > rank))
        return 0;
    return err_set(
        err, 125,
        "%s asks for %s '%s' (%s) and %s for '%s', but their networks put them into one sandbox, which has one "
        "for all: give both the same, or " TOO_LATE,
        who, modal_keys[key].name, text, o->values[key].origin, v->who, v->text);
}

static int check_lifetime(const struct modal_pod *p, const struct modal_options *o, enum modal_key key, const char *who,
                          struct err *err)
{
    const struct modal_pod_value *v = &p->values[key];

    if (!v->text || modal_int(o, key) <= strtoll(v->text, NULL, 10) ||
        (v->rank == RANK_NETWORK && !modal_given(o, key)))
        return 0;
    return err_set(
        err, 125,
        "%s asks for %s %lld, but the sandbox that its networks have was made for %s seconds by %s: " TOO_LATE, who,
        modal_keys[key].name, (long long)modal_int(o, key), v->text, v->who);
}

static int check_port(const struct modal_pod *p, uint16_t port, enum modal_key key, const char *who, struct err *err)
{
    const struct modal_pod_port *found = find_port(p, port);

    if (port == HUB_PORT)
        return err_set(err, 125, "%s asks for a tunnel to port %u, which is the hub's own in a sandbox of several", who,
                       port);
    if (!found)
        return err_set(err, 125,
                       "%s asks for a tunnel to port %u (%s), but the sandbox that its networks have was made without: "
                       "ports are opened when a sandbox is made; " TOO_LATE,
                       who, port, modal_keys[key].name);
    if (found->key == key && strcmp(found->who, who) == 0)
        return 0;
    if (strcmp(found->who, who) != 0)
        return err_set(err, 125,
                       "%s (%s) and %s (%s) ask both for a tunnel to port %u, but their networks put them into one "
                       "sandbox: give one of them another port",
                       who, modal_keys[key].name, found->who, modal_keys[found->key].name, port);
    return err_set(
        err, 125, "%s asks for port %u in %s, but the sandbox that its networks have was made with it in %s: " TOO_LATE,
        who, port, modal_keys[key].name, modal_keys[found->key].name);
}

int modal_pod_check(const struct modal_pod *p, const struct modal_options *o, const char *who, struct err *err)
{
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++) {
        if (modal_keys[key].pod == MODAL_POD_SAME && check_value(p, o, key, who, err) < 0)
            return -1;
        if (modal_keys[key].pod == MODAL_POD_LONGEST && check_lifetime(p, o, key, who, err) < 0)
            return -1;
        if (modal_keys[key].pod == MODAL_POD_NEVER && modal_given(o, key))
            return err_set(err, 125, "%s asks for %s (%s), which only a sandbox's main container can have", who,
                           modal_keys[key].name, o->values[key].origin);
    }
    for (size_t k = 0; k < PORT_KEYS; k++)
        for (size_t i = 0; i < modal_list(o, port_keys[k])->len; i++)
            if (check_port(p, port_at(o, port_keys[k], i), port_keys[k], who, err) < 0)
                return -1;
    return 0;
}

void modal_pod_apply(const struct modal_pod *p, struct modal_options *o)
{
    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++)
        if (p->values[key].text)
            modal_options_set(o, MODAL_FROM_DOCKER, p->values[key].who, modal_keys[key].name, p->values[key].text,
                              NULL);
}

/* ---- as text ---- */

char *modal_pod_text(const struct modal_pod *p)
{
    json_auto_t *root = json_object();
    json_t *values = json_object(), *ports = json_array();

    for (enum modal_key key = 0; key < MODAL_KEY_MAX; key++)
        if (p->values[key].text)
            json_object_set_new(values, modal_keys[key].name,
                                json_pack("{s:s, s:s, s:i}", "value", p->values[key].text, "who", p->values[key].who,
                                          "rank", p->values[key].rank));
    for (size_t i = 0; i < p->len; i++)
        json_array_append_new(ports, json_pack("{s:i, s:s, s:s}", "port", p->ports[i].port, "key",
                                               modal_keys[p->ports[i].key].name, "who", p->ports[i].who));
    json_object_set_new(root, "values", values);
    json_object_set_new(root, "ports", ports);
    return json_dumps(root, JSON_COMPACT);
}

void modal_pod_read(struct modal_pod *p, const char *text)
{
    json_auto_t *root = text ? json_loads(text, 0, NULL) : NULL;
    const json_t *one;
    const char *name;
    size_t i;

    modal_pod_init(p);
    json_object_foreach(json_object_get(root, "values"), name, one)
    {
        const char *value = json_string_value(json_object_get(one, "value"));
        const char *who = json_string_value(json_object_get(one, "who"));
        enum modal_key key = modal_key_find(name);

        if (value && who && key != MODAL_KEY_MAX)
            put(&p->values[key], value, who, (int)json_integer_value(json_object_get(one, "rank")));
    }
    json_array_foreach(json_object_get(root, "ports"), i, one)
    {
        const char *key = json_string_value(json_object_get(one, "key"));
        const char *who = json_string_value(json_object_get(one, "who"));
        json_int_t port = json_integer_value(json_object_get(one, "port"));

        if (key && who && port > 0 && port <= UINT16_MAX && modal_key_find(key) != MODAL_KEY_MAX)
            add_port(p, (uint16_t)port, modal_key_find(key), who);
    }
}

void modal_ports(const struct modal_options *o, struct strlist *to)
{
    for (size_t k = 0; k < PORT_KEYS; k++)
        for (size_t i = 0; i < modal_list(o, port_keys[k])->len; i++)
            strlist_add(to, modal_list(o, port_keys[k])->items[i]);
}
