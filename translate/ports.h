/*
 * Published and exposed ports: the words of -p, -P and --expose, what they ask for, and how Docker shows it.
 *
 * Pure: which port of this machine is free, and whether it has IPv6, only who binds the sockets knows (shim/forward.h).
 * What was asked for is a `struct ports` in the spec; what was bound is the JSON text of the row's `ports`, in the
 * words of NetworkSettings.Ports.
 */
#ifndef ATP_TRANSLATE_PORTS_H
#define ATP_TRANSLATE_PORTS_H

#include "compat/base/strlist.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

#define PORTS_MAX           65536 /* ports of one container that are exposed */
#define PORTS_PUBLISHED_MAX 2048  /* published: each is two sockets of this machine */

enum port_proto { PORT_TCP, PORT_UDP, PORT_SCTP, PORT_PROTO_MAX };

/* One -p, for one port of the container. */
struct port_binding {
    uint16_t target;
    enum port_proto proto;
    char *host_ip;     /* "" = all addresses; without brackets */
    uint16_t from, to; /* of the host: 0, 0 = any; from == to = this one; else the first free of the range */
};

struct ports {
    struct port_binding *items; /* by target, then protocol, in the order they were given */
    size_t len;
    struct strlist exposed; /* --expose and the targets of -p: "80/tcp", sorted, each once; the image's are not in it */
    bool publish_all;       /* -P: whatever is exposed, the image's too, gets any port */
};

void ports_clear(struct ports *p); /* {0} is a valid value */

/*
 * One -p or --expose: all forms of docker's client, with its own texts (exit code 125). Protocols that are no streams
 * are understood here and refused by ports_finish().
 */
int ports_publish(struct ports *p, const char *word, struct err *err);
int ports_expose(struct ports *p, const char *word, struct err *err);

/* After the last word: sorted; UDP and SCTP that are published are refused with the reason. */
int ports_finish(struct ports *p, struct err *err);

/* Both lists in one: the image's ports and the line's, sorted, each once. */
void ports_expose_all(struct strlist *ret, const struct strlist *image, const struct strlist *line);

/*
 * With -P: a binding for each of image_exposed and of those of --expose that have none yet. Called when the sockets are
 * bound; UDP and SCTP stay exposed only.
 */
void ports_publish_exposed(struct ports *p, const struct strlist *exposed);

/* "8080/tcp" -> port and protocol; -1: it is none. */
int port_parse(const char *text, uint16_t *ret_port, enum port_proto *ret_proto);
const char *port_proto_name(enum port_proto proto);

/* HostConfig.PortBindings, there and back; owned by caller. Reading checks everything: the text may be an agent's. */
json_t *ports_bindings_json(const struct ports *p);
int ports_bindings_read(struct ports *p, const json_t *bindings, struct err *err);

/* ---- what was bound ---- */

/* Adds one to an object in the words of NetworkSettings.Ports; what is only exposed is null in it. */
void ports_bound_add(json_t *bound, uint16_t target, enum port_proto proto, const char *host_ip, uint16_t host_port);
/* NetworkSettings.Ports: `bound` (NULL: nothing is) over the list of exposed ports; owned by caller. */
json_t *ports_settings_json(const json_t *bound, const struct strlist *exposed);

/* The PORTS column of ps: "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 443/tcp"; owned by caller. */
char *ports_column(const json_t *settings);
/*
 * The lines of `docker port`: all of them ("80/tcp -> 0.0.0.0:8080"), or with `private` ("80", "80/tcp") those of one
 * port without the arrow. -1: "No public port '80' published for NAME", or what is no port.
 */
int ports_lines(const json_t *settings, const char *private, const char *name, struct strlist *ret, struct err *err);

#endif
