#include "shim/tunnels.h"

#include "backends/modal/task.h"
#include "backends/modal/tunnel.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "shim/app.h"
#include "shim/container.h"
#include "translate/modal_pod.h"
#include "translate/ports.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TUNNELS_SECS  50    /* the SDKs' patience */
#define REMEMBER_SECS 86400 /* a sandbox's longest life */
#define HTTPS_PORT    443

static const struct {
    enum modal_key key;
    const char *kind;
} kinds[] = {
    {MODAL_KEY_ENCRYPTED_PORTS, "encrypted"}, {MODAL_KEY_H2_PORTS, "h2"}, {MODAL_KEY_UNENCRYPTED_PORTS, "unencrypted"}};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* By sandbox: what the server said. Owned by caller. */
static char *cache_key(const char *place)
{
    cleanup_free char *sandbox = modal_place_sandbox(place);

    return xasprintf("tunnels %s", sandbox);
}

static char *url_of(const struct modal_tunnel *t)
{
    if (t->raw_host)
        return xasprintf("%s:%u", t->raw_host, t->raw_port);
    return t->port == HTTPS_PORT ? xasprintf("https://%s", t->host) : xasprintf("https://%s:%u", t->host, t->port);
}

void tunnels_remember(struct container *c)
{
    cleanup_strlist struct strlist ports = STRLIST_INIT;
    cleanup_free char *key = NULL, *sandbox = NULL, *text = NULL;
    cleanup_with(modal_tunnels_clear) struct modal_tunnels tunnels = {0};
    json_auto_t *urls = json_object();

    modal_ports(&c->spec.modal, &ports);
    if (ports.len == 0 || !c->row.sandbox_id || app_modal(c->app, NULL) < 0)
        return;
    sandbox = modal_place_sandbox(c->row.sandbox_id);
    if (modal_sandbox_tunnels(c->app->modal, sandbox, TUNNELS_SECS, &tunnels, NULL) < 0)
        return;
    for (size_t i = 0; i < tunnels.len; i++) {
        cleanup_free char *port = xasprintf("%u", tunnels.items[i].container_port), *url = url_of(&tunnels.items[i]);

        json_object_set_new(urls, port, json_string(url));
    }
    key = cache_key(c->row.sandbox_id);
    text = json_dumps(urls, JSON_COMPACT);
    state_cache_put(c->app->state, key, text, time(NULL) + REMEMBER_SECS, NULL);
}

void tunnels_learn(struct container *c)
{
    cleanup_free char *key = c->row.sandbox_id ? cache_key(c->row.sandbox_id) : NULL, *said = NULL;

    if (key && state_cache_get(c->app->state, key, &said, time(NULL), NULL) == 0 && container_load(c, NULL) == 0)
        tunnels_remember(c);
}

/* Those of one key, as the record says it: text as a person wrote it. */
static void show_kind(const json_t *asked, const char *kind, const json_t *urls, json_t *ret)
{
    const char *text = json_string_value(json_object_get(asked, "Value"));

    while (text && *text) {
        size_t len = strspn(text, "0123456789");
        cleanup_free char *port = xstrndup(text, len);
        const char *url = len ? json_string_value(json_object_get(urls, port)) : NULL;

        if (url)
            json_array_append_new(ret, json_pack("{s:I, s:s, s:s}", "Port", (json_int_t)strtol(port, NULL, 10), "Kind",
                                                 kind, "Url", url));
        text += len ? len : 1;
    }
}

void tunnels_show(struct app *app, const struct state_container *row, json_t *record)
{
    json_t *atp = json_object_get(record, "Atp"), *modal = json_object_get(atp, "Modal"), *list;
    cleanup_free char *key = row->sandbox_id ? cache_key(row->sandbox_id) : NULL, *said = NULL;
    json_auto_t *urls = NULL;
    bool any = false;

    for (size_t i = 0; i < KINDS; i++)
        any |= json_object_get(modal, modal_keys[kinds[i].key].name) != NULL;
    if (!any || !key || state_cache_get(app->state, key, &said, time(NULL), NULL) <= 0)
        return;
    urls = json_loads(said, 0, NULL);
    list = json_array();
    for (size_t i = 0; i < KINDS; i++)
        show_kind(json_object_get(modal, modal_keys[kinds[i].key].name), kinds[i].kind, urls, list);
    json_object_set_new(atp, "Tunnels", list);
}

void tunnels_lines(const json_t *record, const char *private, struct strlist *ret)
{
    const json_t *list = json_object_get(json_object_get(record, "Atp"), "Tunnels"), *one;
    enum port_proto proto = PORT_TCP;
    uint16_t wanted = 0;
    size_t i;

    if (private && port_parse(private, &wanted, &proto) < 0)
        return;
    json_array_foreach(list, i, one)
    {
        json_int_t port = json_integer_value(json_object_get(one, "Port"));
        const char *url = json_string_value(json_object_get(one, "Url"));

        if (private && (port != wanted || proto != PORT_TCP))
            continue;
        if (private)
            strlist_add(ret, url);
        else
            strlist_addf(ret, "%lld/tcp -> %s", (long long)port, url);
    }
}
