/* What the Modal options of a container or a pod (translate/modal_options.h) mean to a sandbox's definition. */
#ifndef ATP_SHIM_MODAL_WORDS_H
#define ATP_SHIM_MODAL_WORDS_H

#include "backends/modal/sandbox.h"
#include "translate/modal_options.h"

struct err;
struct modal_client;
struct strlist;

/* modal.pty: of a size that nobody looks at, as no resize exists (protocol 6.7). */
extern const struct modal_pty modal_words_pty;

/* Open, or what modal.cidr_allowlist and modal.domain_allowlist let through: they are added to the lists. */
enum modal_network modal_words_network(const struct modal_options *o, struct strlist *cidrs, struct strlist *domains);

/* The tunnels that are asked for, owned by caller; NULL: none. */
struct modal_port *modal_words_ports(const struct modal_options *o, size_t *ret_len);

/*
 * modal.sandbox_env is added to env. True: there are variables, of it or of secrets, that the container's processes are
 * to get from the first one (agent init --own-env).
 */
bool modal_words_env(const struct modal_options *o, struct strlist *env);

/* The ids of modal.secrets. One that the server does not have is an error with a name, and no GRPC_NOT_FOUND. */
int modal_words_secrets(struct modal_client *c, const struct modal_options *o, struct strlist *ret_ids,
                        struct err *err);

#endif
