#include "shim/modal_words.h"

#include "backends/grpc/frame.h"
#include "backends/modal/image.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>

const struct modal_pty modal_words_pty = {.rows = 24, .cols = 80};

enum modal_network modal_words_network(const struct modal_options *o, struct strlist *cidrs, struct strlist *domains)
{
    if (!modal_given(o, MODAL_KEY_CIDR_ALLOWLIST) && !modal_given(o, MODAL_KEY_DOMAIN_ALLOWLIST))
        return MODAL_NETWORK_OPEN;
    strlist_copy(cidrs, modal_list(o, MODAL_KEY_CIDR_ALLOWLIST));
    strlist_copy(domains, modal_list(o, MODAL_KEY_DOMAIN_ALLOWLIST));
    return MODAL_NETWORK_ALLOWLIST;
}

struct modal_port *modal_words_ports(const struct modal_options *o, size_t *ret_len)
{
    static const struct {
        enum modal_key key;
        enum modal_port_kind kind;
    } kinds[] = {{MODAL_KEY_ENCRYPTED_PORTS, MODAL_PORT_ENCRYPTED},
                 {MODAL_KEY_H2_PORTS, MODAL_PORT_H2},
                 {MODAL_KEY_UNENCRYPTED_PORTS, MODAL_PORT_UNENCRYPTED}};
    struct modal_port *ports = NULL;

    *ret_len = 0;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        for (size_t i = 0; i < modal_list(o, kinds[k].key)->len; i++) {
            ports = xreallocarray(ports, *ret_len + 1, sizeof(*ports));
            ports[(*ret_len)++] =
                (struct modal_port){(uint16_t)strtoul(modal_list(o, kinds[k].key)->items[i], NULL, 10), kinds[k].kind};
        }
    return ports;
}

bool modal_words_env(const struct modal_options *o, struct strlist *env)
{
    strlist_copy(env, modal_list(o, MODAL_KEY_SANDBOX_ENV));
    return modal_given(o, MODAL_KEY_SANDBOX_ENV) || modal_given(o, MODAL_KEY_SECRETS);
}

int modal_words_secrets(struct modal_client *c, const struct modal_options *o, struct strlist *ret_ids, struct err *err)
{
    const struct strlist *names = modal_list(o, MODAL_KEY_SECRETS);

    for (size_t i = 0; i < names->len; i++) {
        cleanup_free char *id = NULL;
        struct err why = ERR_INIT;

        if (modal_secret_named(c, names->items[i], &id, &why) == 0) {
            strlist_add(ret_ids, id);
            continue;
        }
        if (why.code != GRPC_NOT_FOUND)
            return err_move(err, &why);
        err_clear(&why);
        return err_set(err, 125, "there is no Modal secret %s (%s)", names->items[i],
                       o->values[MODAL_KEY_SECRETS].origin);
    }
    return 0;
}
