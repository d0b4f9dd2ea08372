/*
 * What the containers of one sandbox ask of it together, by the column `pod` of modal_keys. It is settled when the
 * sandbox is made, from all containers that may come to live in it, and written down; whoever comes then has to be
 * content with it, because a sandbox cannot be changed.
 *
 *     modal_pod_take(&p, &options, "service web", true) ... the one that starts first
 *     modal_pod_apply(&p, &options)                     what the sandbox is asked for
 *     modal_pod_check(&p, &options, "service web", err) may it live there? Two that contradict each other: the second
 *
 * A port belongs to one service: replicas share it, and connections go to them in turns.
 */
#ifndef ATP_TRANSLATE_MODAL_POD_H
#define ATP_TRANSLATE_MODAL_POD_H

#include "translate/modal_options.h"

struct modal_pod_value {
    char *text; /* NULL: nobody asked */
    char *who;
    int rank;
};
struct modal_pod_port {
    uint16_t port;
    enum modal_key key; /* which of the three */
    char *who;
};

struct modal_pod {
    struct modal_pod_value values[MODAL_KEY_MAX]; /* SAME and LONGEST */
    struct modal_pod_port *ports;                 /* in the order in which they were asked for */
    size_t len;
};

#define MODAL_POD_PORTS_MAX 64 /* tunnels of one sandbox */

void modal_pod_init(struct modal_pod *p);
void modal_pod_clear(struct modal_pod *p);

/*
 * Adds what o asks for and nobody else did with a word as high: a service's own x-modal and labels are equally high, so
 * there the first stays. network: o is a network's own options, which are higher than all.
 */
void modal_pod_take(struct modal_pod *p, const struct modal_options *o, const char *who, bool network);

/* -1: a container would not get what it asks for; the line names it and who else asked. */
int modal_pod_check(const struct modal_pod *p, const struct modal_options *o, const char *who, struct err *err);

/* Into options that start from their defaults: values, lifetime. */
void modal_pod_apply(const struct modal_pod *p, struct modal_options *o);

/* As text and back (owned by caller); what cannot be read is an empty one. */
char *modal_pod_text(const struct modal_pod *p);
void modal_pod_read(struct modal_pod *p, const char *text);

/* Every port that o wants a tunnel for, as numbers; to is added to. */
void modal_ports(const struct modal_options *o, struct strlist *to);

#endif
